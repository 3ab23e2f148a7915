//! What flows keep of trouble: taken at its first sign, given back, done without.

use std::vec;

use super::script::{Script, seg};
use crate::wire::tcp::{ACK, PSH};
use crate::{Counter, DropReason, TcpOptions};

fn opened() -> Script {
    let mut s = Script::accepted_over(TcpOptions::DEFAULT, seg().mss(1000).sack_ok(), 40);
    assert_eq!(s.stack.tcp.nodes.episodes.taken(), 0);
    s.write(&[7; 100]);
    s.skip();
    s.inject(seg().seq(1).ack(101).data(b"in order"));
    assert_eq!(s.read(), b"in order");
    assert_eq!(s.stack.tcp.nodes.episodes.taken(), 0, "nothing happened");
    s.all_sent();
    s
}

fn counted(s: &Script, counter: Counter) -> u64 {
    s.stack.counters().get(counter)
}

#[test]
fn a_flow_keeps_what_it_learnt_until_it_ends() {
    let mut s = opened();
    s.inject(seg().seq(19).ack(101).data(b"later"));
    assert_eq!(s.stack.tcp.nodes.episodes.taken(), 1);
    s.inject(seg().seq(9).ack(101).data(b"sooner ..."));
    assert_eq!(s.text(), "sooner ...later");
    assert_eq!(s.stack.tcp.nodes.episodes.taken(), 1);
    s.finish();
}

#[test]
fn when_few_are_left_flows_in_order_give_theirs_back() {
    let mut s = opened();
    s.inject(seg().seq(19).ack(101).data(b"later"));
    let others = s.stack.tcp.nodes.episodes.hoard();
    // Still out of order: it stays.
    s.inject(seg().seq(24).ack(101).data(b"still"));
    assert_eq!(s.stack.tcp.nodes.episodes.taken(), others.len() + 1);
    s.inject(seg().seq(9).ack(101).data(b"sooner ..."));
    assert_eq!(s.text(), "sooner ...laterstill");
    s.inject(seg().seq(29).ack(101).flags(ACK | PSH).win(100));
    assert_eq!(s.stack.tcp.nodes.episodes.taken(), others.len());
    for episode in others {
        s.stack.tcp.nodes.episodes.put_back(episode);
    }
    s.finish();
}

#[test]
fn without_one_losses_are_repaired_by_the_timer() {
    let mut s = opened();
    let others = s.stack.tcp.nodes.episodes.hoard();
    s.write(&vec![1; 5000]);
    assert_eq!(s.all_sent().len(), 5);
    s.advance(40);
    for end in [2101, 3101, 4101, 5101] {
        s.inject(seg().seq(9).ack(101).sacks(&[(1101, end)]));
    }
    s.expect_quiet();
    assert!(counted(&s, Counter::TcpNoEpisode) > 0);
    assert_eq!(counted(&s, Counter::TcpFastRecoveries), 0);
    s.advance(1000);
    let again = s.all_sent();
    assert!(again.iter().all(|sent| !sent.data.is_empty()));
    assert!(!again.is_empty());
    s.inject(seg().seq(9).ack(5101));
    s.expect_quiet();
    s.write(&vec![2; 2000]);
    assert_eq!(s.all_sent().len(), 2, "the connection goes on");
    s.inject(seg().seq(9).ack(7101));
    for episode in others {
        s.stack.tcp.nodes.episodes.put_back(episode);
    }
    s.finish();
}

#[test]
fn without_one_duplicate_acknowledgements_do_nothing() {
    let mut s = Script::accepted_over(TcpOptions::DEFAULT, seg().mss(1000), 40);
    let others = s.stack.tcp.nodes.episodes.hoard();
    s.write(&vec![1; 5000]);
    assert_eq!(s.all_sent().len(), 5);
    for _ in 0..4 {
        s.inject(seg().seq(1).ack(1));
    }
    assert_eq!(counted(&s, Counter::TcpFastRecoveries), 0);
    s.advance(1500);
    assert!(counted(&s, Counter::TcpTimeouts) > 0);
    assert!(!s.all_sent().is_empty());
    s.inject(seg().seq(1).ack(5001));
    s.expect_quiet();
    for episode in others {
        s.stack.tcp.nodes.episodes.put_back(episode);
    }
    s.finish();
}

#[test]
fn without_one_data_is_taken_in_order_only() {
    let mut s = opened();
    let others = s.stack.tcp.nodes.episodes.hoard();
    s.inject(seg().seq(14).ack(101).data(b"later"));
    s.expect(seg().seq(101).ack(9).sack(&[]));
    assert_eq!(s.stack.counters().dropped(DropReason::TcpNoMemory), 1);
    s.inject(seg().seq(14).ack(101).fin());
    s.all_sent();
    s.inject(seg().seq(9).ack(101).data(b"first"));
    s.inject(seg().seq(14).ack(101).data(b"later"));
    assert_eq!(s.text(), "firstlater");
    // The same once more: nobody is told that it came twice.
    s.inject(seg().seq(14).ack(101).data(b"later"));
    s.all_sent();
    assert_eq!(counted(&s, Counter::TcpDsacksOut), 0);
    s.inject(seg().seq(19).ack(101).fin());
    for episode in others {
        s.stack.tcp.nodes.episodes.put_back(episode);
    }
    s.finish();
}
