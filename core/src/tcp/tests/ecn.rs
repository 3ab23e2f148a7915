//! Explicit congestion notification (RFC 3168).

use std::vec::Vec;

use super::script::{Script, Sent, seg};
use crate::wire::tcp::{ACK, CWR, ECE, PSH, SYN};
use crate::{Counter, Ecn, Handshake, TcpOptions};

const ECT_0: u8 = 2;
const CE: u8 = 3;

fn options(ecn: Ecn) -> TcpOptions {
    TcpOptions {
        handshake: Handshake {
            ecn,
            ..Handshake::DEFAULT
        },
        ..TcpOptions::DEFAULT
    }
}

/// An open connection that uses ECN, asked for by the peer.
fn capable() -> Script {
    let mut s = Script::accepted(TcpOptions::DEFAULT, seg().mss(1000).sack_ok().ece().cwr());
    assert!(s.stack.tcp_info(s.flow.unwrap()).unwrap().ecn);
    s.skip();
    s
}

fn data(sent: &[Sent]) -> Vec<(u32, u8, u8)> {
    let base = sent[0].seq;
    sent.iter()
        .map(|s| (s.seq.wrapping_sub(base), s.flags & (ECE | CWR), s.tos))
        .collect()
}

#[test]
fn rfc3168_6_1_1_asked_for_it_is_accepted() {
    let mut s = Script::new();
    s.listen(TcpOptions::DEFAULT);
    s.inject(seg().syn().no_ack().mss(1000).ece().cwr());
    let answer = s.next();
    assert_eq!(answer.flags, SYN | ACK | ECE);
    assert_eq!(answer.tos, 0, "6.1.1: not on a SYN-ACK");
    s.finish();
}

#[test]
fn rfc3168_6_1_1_unasked_or_unwanted_it_is_not_used() {
    for (ecn, syn) in [
        (Ecn::Accept, seg()),
        (Ecn::Accept, seg().ece()),
        (Ecn::Accept, seg().cwr()),
        (Ecn::Off, seg().ece().cwr()),
    ] {
        let mut s = Script::new();
        s.listen(options(ecn));
        s.inject(syn.syn().no_ack().mss(1000));
        assert_eq!(s.next().flags, SYN | ACK);
        s.finish();
    }
}

#[test]
fn rfc3168_6_1_1_syn_asks_when_wanted() {
    for (ecn, answer, agreed) in [
        (Ecn::Request, seg().ece(), true),
        (Ecn::Request, seg(), false),
        (Ecn::Request, seg().ece().cwr(), false),
        (Ecn::Accept, seg().ece(), false),
    ] {
        let mut s = Script::new();
        let syn = s.connect(options(ecn));
        let asks = ecn == Ecn::Request;
        assert_eq!(syn.flags, if asks { SYN | ECE | CWR } else { SYN });
        assert_eq!(syn.tos, 0);
        s.inject(answer.syn().ack(1).mss(1000));
        s.expect(seg().seq(1).ack(1));
        assert_eq!(s.stack.tcp_info(s.flow.unwrap()).unwrap().ecn, agreed);
        s.write(b"data");
        assert_eq!(s.next().tos, if agreed { ECT_0 } else { 0 });
        s.finish();
    }
}

#[test]
fn rfc3168_6_1_1_1_an_unanswered_syn_is_repeated_without() {
    let mut s = Script::new();
    s.connect(options(Ecn::Request));
    s.advance(1100);
    assert_eq!(s.next().flags, SYN);
    s.inject(seg().syn().ack(1).mss(1000).ece());
    assert!(!s.stack.tcp_info(s.flow.unwrap()).unwrap().ecn);
    s.finish();
}

#[test]
fn rfc3168_6_1_2_new_data_is_capable_and_nothing_else() {
    let mut s = capable();
    s.inject(seg().seq(1).ack(1).data(b"request"));
    s.advance(50);
    assert_eq!(s.next().tos, 0, "6.1.4: a bare ACK");
    s.write(&[1; 3000]);
    assert!(s.all_sent().iter().all(|s| s.tos == ECT_0));
    s.advance(300);
    assert_eq!(s.next().tos, 0, "6.1.5: a retransmission");
    s.finish();
}

#[test]
fn rfc3168_6_1_3_a_mark_is_echoed_until_the_peer_reacts() {
    let mut s = capable();
    s.inject(seg().seq(1).ack(1).data(&[1; 100]).tos(ECT_0));
    s.skip();
    s.inject(seg().seq(101).ack(1).data(&[1; 100]).tos(CE));
    s.expect(seg().seq(1).ack(201).ece());
    // Not only the next: every segment, data too, until CWR comes.
    s.inject(seg().seq(201).ack(1).data(&[1; 1000]).tos(ECT_0));
    s.inject(seg().seq(1201).ack(1).data(&[1; 1000]).tos(ECT_0));
    assert!(s.all_sent().iter().all(|s| s.flags & ECE != 0));
    s.write(b"reply");
    assert_eq!(s.next().flags, ACK | PSH | ECE);
    s.inject(seg().seq(2201).ack(6).data(&[1; 10]).cwr().tos(ECT_0));
    s.expect(seg().seq(6).ack(2211));
    // CWR and a new mark at once: the mark is newer.
    s.inject(seg().seq(2211).ack(6).data(&[1; 10]).cwr().tos(CE));
    s.expect(seg().seq(6).ack(2221).ece());
    assert_eq!(s.stack.counters().get(Counter::TcpEcnMarks), 2);
    s.finish();
}

#[test]
fn rfc3168_6_1_5_marks_out_of_the_window_or_unagreed_are_ignored() {
    let mut s = capable();
    s.inject(seg().seq(1).ack(1).data(&[1; 100]));
    s.advance(50);
    s.skip();
    s.inject(seg().seq(1).ack(1).data(&[1; 100]).tos(CE));
    s.expect(seg().seq(1).ack(101));
    s.finish();
    let mut s = Script::plain();
    s.inject(seg().seq(1).ack(1).data(&[1; 100]).tos(CE));
    s.advance(50);
    s.expect(seg().seq(1).ack(101));
    s.finish();
}

#[test]
fn rfc3168_6_1_2_an_echo_shrinks_the_window_once_a_round_trip() {
    let mut s = capable();
    s.write(&[1; 20_000]);
    assert_eq!(s.all_sent().len(), 10);
    s.inject(seg().seq(1).ack(1001).ece());
    let info = s.stack.tcp_info(s.flow.unwrap()).unwrap();
    assert_eq!((info.cwnd, info.ssthresh), (7000, Some(7000)), "CUBIC: 0.7");
    s.expect_quiet();
    s.inject(seg().seq(1).ack(2001).ece());
    s.inject(seg().seq(1).ack(3001).ece());
    s.expect_quiet();
    s.inject(seg().seq(1).ack(5001).ece());
    // Two segments have room; the first of them tells of the reduction.
    let sent = s.all_sent();
    assert_eq!(data(&sent), [(0, CWR, ECT_0), (1000, 0, ECT_0)]);
    assert_eq!(s.stack.counters().get(Counter::TcpEcnReductions), 1);
    // What was sent after it is marked again: another reduction.
    s.inject(seg().seq(1).ack(11_001).ece());
    assert_eq!(s.stack.counters().get(Counter::TcpEcnReductions), 2);
    s.finish();
}

#[test]
fn rfc3168_6_1_2_a_loss_in_the_same_window_does_not_reduce_again() {
    let mut s = capable();
    s.write(&[1; 10_000]);
    s.skip();
    let base = s.iss;
    let sack = |from: u32, to: u32| [(base.wrapping_add(from), base.wrapping_add(to))];
    s.inject(seg().seq(1).ack(1001).ece());
    let cwnd = s.stack.tcp_info(s.flow.unwrap()).unwrap().ssthresh;
    s.inject(seg().seq(1).ack(1001).ece().sack(&sack(2001, 6001)));
    let info = s.stack.tcp_info(s.flow.unwrap()).unwrap();
    assert_eq!(s.stack.counters().get(Counter::TcpFastRecoveries), 1);
    assert_eq!(info.ssthresh, cwnd);
    s.finish();
}

#[test]
fn rfc9438_4_6_echoes_bring_the_window_down_to_a_segment() {
    let mut s = capable();
    let mut acked = 1;
    s.write(&[1; 60_000]);
    for _ in 0..10 {
        acked += s
            .all_sent()
            .iter()
            .map(|s| s.data.len() as u32)
            .sum::<u32>();
        s.inject(seg().seq(1).ack(acked).ece());
    }
    assert_eq!(s.stack.tcp_info(s.flow.unwrap()).unwrap().cwnd, 1000);
    s.finish();
}

#[test]
fn rfc3168_6_1_2_an_echo_at_one_segment_waits_for_the_timer() {
    let mut s = capable();
    s.write(&[1; 60_000]);
    let mut acked = 1;
    while s.sent_any() {
        let sent = s.all_sent();
        acked += sent.iter().map(|s| s.data.len() as u32).sum::<u32>();
        s.inject(seg().seq(1).ack(acked).ece());
    }
    s.advance(199);
    s.expect_quiet();
    s.advance(2);
    let sent = s.all_sent();
    assert_eq!(data(&sent), [(0, CWR, ECT_0)]);
    assert_eq!(sent[0].seq, s.iss.wrapping_add(acked));
    // Without a further mark it goes on.
    s.inject(seg().seq(1).ack(acked + 1000));
    assert!(s.sent_any());
    assert_eq!(s.stack.counters().get(Counter::TcpWindowProbes), 0);
    s.finish();
}
