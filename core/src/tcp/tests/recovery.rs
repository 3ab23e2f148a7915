//! Loss: timeouts, fast retransmit, NewReno, SACK.

use super::script::{PEER_ISS, Script, seg};
use crate::{Counter, TcpOptions, TcpState};

fn sack_script() -> Script {
    Script::accepted(TcpOptions::DEFAULT, seg().mss(1000).sack_ok())
}

#[test]
fn rfc6298_5_lost_segment_is_sent_again_with_back_off() {
    let mut s = Script::plain();
    s.write(b"data");
    s.expect(seg().seq(1).ack(1).data(b"data"));
    s.advance(190);
    s.expect_quiet();
    s.advance(20);
    s.expect(seg().seq(1).ack(1).data(b"data"));
    s.advance(380);
    s.expect_quiet();
    s.advance(20);
    s.expect(seg().seq(1).ack(1).data(b"data"));
    assert_eq!(s.stack.counters().get(Counter::TcpTimeouts), 2);
    s.inject(seg().seq(1).ack(5));
    s.advance(10_000);
    s.expect_quiet();
    s.finish();
}

#[test]
fn rfc6298_5_3_every_ack_of_new_data_restarts_the_timer() {
    let mut s = Script::plain();
    s.write(&[1; 3000]);
    s.skip();
    s.advance(150);
    s.inject(seg().seq(1).ack(1001));
    s.skip();
    s.advance(150);
    s.inject(seg().seq(1).ack(2001));
    s.skip();
    s.advance(150);
    s.expect_quiet();
    s.finish();
}

#[test]
fn rfc5681_3_2_third_duplicate_ack_retransmits() {
    let mut s = Script::plain();
    s.write(&[1; 5000]);
    assert_eq!(s.all_sent().len(), 5);
    s.inject(seg().seq(1).ack(1));
    s.inject(seg().seq(1).ack(1));
    s.expect_quiet();
    s.inject(seg().seq(1).ack(1));
    s.expect(seg().seq(1).ack(1).data(&[1; 1000]));
    assert_eq!(s.stack.counters().get(Counter::TcpFastRecoveries), 1);
    s.finish();
}

#[test]
fn rfc6582_3_2_partial_ack_retransmits_the_next_hole() {
    let mut s = Script::plain();
    s.write(&[1; 5000]);
    s.skip();
    for _ in 0..3 {
        s.inject(seg().seq(1).ack(1));
    }
    s.expect(seg().seq(1).ack(1).data(&[1; 1000]));
    s.skip();
    s.inject(seg().seq(1).ack(2001));
    s.expect(seg().seq(2001).ack(1).data(&[1; 1000]));
    s.inject(seg().seq(1).ack(5001));
    s.expect_quiet();
    s.finish();
}

#[test]
fn nonsense_blocks_are_ignored() {
    let mut s = sack_script();
    s.write(&[1; 3000]);
    s.skip();
    for blocks in [
        [(0, 0)],
        [(5, 1)],
        [(u32::MAX, 77)],
        [(PEER_ISS, PEER_ISS + 9)],
    ] {
        s.inject(seg().seq(1).ack(1).sack(&blocks));
    }
    s.skip();
    s.inject(seg().seq(1).ack(3001));
    assert_eq!(s.stack.tcp_try_flush(s.flow.unwrap()), Ok(()));
    s.finish();
}

#[test]
fn rfc5681_3_1_a_timeout_leaves_one_segment() {
    let mut s = Script::plain();
    s.write(&[1; 8000]);
    assert_eq!(s.all_sent().len(), 8);
    s.advance(210);
    assert_eq!(s.all_sent().len(), 1);
    s.inject(seg().seq(1).ack(1001));
    assert_eq!(s.all_sent().len(), 2, "slow start");
    s.finish();
}

#[test]
fn hopeless_retransmission_ends_the_connection() {
    let mut s = Script::plain();
    s.write(b"x");
    s.advance(2_000_000);
    assert_eq!(s.state(), TcpState::Closed);
    s.skip();
    s.finish();
}

#[test]
fn headers_of_a_frame_in_the_ring_are_not_rewritten() {
    let mut s = Script::plain();
    s.stack.tcp_try_write(s.flow.unwrap(), b"held").unwrap();
    let mut tx = pollwire_rings::TxBurst::new();
    s.stack.output(s.now, &mut tx);
    let first: std::vec::Vec<u8> = tx.get(0).unwrap().pieces[0].to_vec();
    // The ring keeps the first transmission while the timer fires.
    s.inject(seg().seq(1).ack(1).data(b"changes our ACK number"));
    s.advance(1200);
    assert_eq!(tx.get(0).unwrap().pieces[0][..], first[..]);
    let again = s
        .all_sent()
        .into_iter()
        .find(|sent| !sent.data.is_empty())
        .unwrap();
    assert_eq!(again.data, b"held");
    drop(tx);
    s.read();
    s.finish();
}

#[test]
fn a_lost_tail_with_its_fin_is_recovered_by_timeout() {
    let mut s = Script::plain();
    s.write(&[1; 1500]);
    s.stack
        .tcp_shutdown(s.flow.unwrap(), crate::Shutdown::Write)
        .unwrap();
    s.run();
    assert_eq!(s.all_sent().len(), 2);
    s.advance(210);
    s.expect(seg().seq(1).ack(1).data(&[1; 1000]));
    s.inject(seg().seq(1).ack(1001));
    s.expect(seg().fin().seq(1001).ack(1).data(&[1; 500]));
    s.inject(seg().seq(1).ack(1502));
    assert_eq!(s.state(), TcpState::FinWait2);
    s.finish();
}
