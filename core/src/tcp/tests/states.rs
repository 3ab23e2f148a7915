//! The state machine's transition table, as it is: every event in every state,
//! tried, and written down. `docs/tcp-states.md` must say the same; with
//! `POLLWIRE_BLESS=1` the test writes it.

use std::fmt::Write;
use std::format;
use std::string::String;
use std::vec::Vec;

use super::script::{Script, seg};
use crate::wire::tcp::{ACK, FIN, PSH, RST, SYN};
use crate::{Shutdown, TcpOptions};

const STATES: [&str; 11] = [
    "LISTEN",
    "SYN-SENT",
    "SYN-RECEIVED, passive",
    "SYN-RECEIVED, active",
    "ESTABLISHED",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "CLOSE-WAIT",
    "CLOSING",
    "LAST-ACK",
    "TIME-WAIT",
];

const EVENTS: [&str; 12] = [
    "SYN",
    "SYN, ACK",
    "ACK of all we sent",
    "ACK with data",
    "FIN, our FIN not acknowledged",
    "FIN, all acknowledged",
    "RST, exact",
    "RST, in window",
    "shut down writing",
    "close",
    "abort",
    "ten minutes of silence",
];

/// A connection in a state; what was sent on the way there is forgotten.
fn reach(state: &str) -> Script {
    let shut = |s: &mut Script| {
        let flow = s.flow.unwrap();
        s.stack.tcp_shutdown(flow, Shutdown::Write).unwrap();
        s.run();
    };
    let mut s = match state {
        "LISTEN" | "SYN-RECEIVED, passive" => {
            let mut s = Script::new();
            s.listen(TcpOptions::DEFAULT);
            s
        }
        "SYN-SENT" | "SYN-RECEIVED, active" => {
            let mut s = Script::new();
            s.connect(TcpOptions::DEFAULT);
            s
        }
        _ => Script::plain(),
    };
    match state {
        "SYN-RECEIVED, passive" => {
            s.inject(seg().syn().no_ack().mss(1000));
            s.iss = s.next().seq;
        }
        "SYN-RECEIVED, active" => s.inject(seg().syn().no_ack().mss(1000)),
        "FIN-WAIT-1" => shut(&mut s),
        "FIN-WAIT-2" => {
            shut(&mut s);
            s.inject(seg().seq(1).ack(2));
        }
        "CLOSE-WAIT" => s.inject(seg().fin().seq(1).ack(1)),
        "CLOSING" => {
            shut(&mut s);
            s.inject(seg().fin().seq(1).ack(1));
        }
        "LAST-ACK" => {
            s.inject(seg().fin().seq(1).ack(1));
            shut(&mut s);
        }
        "TIME-WAIT" => {
            shut(&mut s);
            s.inject(seg().fin().seq(1).ack(2));
        }
        _ => {}
    }
    s.skip();
    let got = observe(&mut s);
    assert!(state.starts_with(&got), "{state}: {got}");
    s
}

fn observe(s: &mut Script) -> String {
    if s.stack.time_waits() > 0 {
        return "TIME-WAIT".into();
    }
    if s.stack.handshakes() > 0 {
        return "SYN-RECEIVED".into();
    }
    if s.flow.is_none()
        && let Some(listener) = s.listener
        && let Ok(flow) = s.stack.tcp_try_accept(listener)
    {
        s.flow = Some(flow);
    }
    let Some(flow) = s.flow else {
        return "LISTEN".into();
    };
    // The handle may be stale by now; what it stood for is not.
    let state = s.stack.tcp.hot(flow.index).unwrap().state;
    let name = format!("{state:?}");
    let mut out = String::new();
    for (at, letter) in name.chars().enumerate() {
        if at > 0 && (letter.is_ascii_uppercase() || letter.is_ascii_digit()) {
            out.push('-');
        }
        out.push(letter.to_ascii_uppercase());
    }
    out
}

fn apply(s: &mut Script, state: &str, event: &str) {
    let synchronized = !matches!(state, "LISTEN" | "SYN-SENT") && !state.contains("SYN-RECEIVED");
    let fin_sent = matches!(
        state,
        "FIN-WAIT-1" | "FIN-WAIT-2" | "CLOSING" | "LAST-ACK" | "TIME-WAIT"
    );
    let fin_seen = matches!(state, "CLOSE-WAIT" | "CLOSING" | "LAST-ACK" | "TIME-WAIT");
    let seq = u32::from(state != "LISTEN" && state != "SYN-SENT") + u32::from(fin_seen);
    let all = 1 + u32::from(fin_sent);
    let flow = s.flow;
    match event {
        "SYN" => {
            let again = if synchronized { seq } else { 0 };
            s.inject(seg().syn().no_ack().seq(again).mss(1000));
        }
        "SYN, ACK" => s.inject(seg().syn().seq(seq.saturating_sub(1)).ack(1).mss(1000)),
        "ACK of all we sent" => s.inject(seg().seq(seq).ack(all)),
        "ACK with data" => s.inject(seg().seq(seq).ack(all).data(b"data")),
        "FIN, our FIN not acknowledged" => {
            s.inject(seg().fin().seq(seq - u32::from(fin_seen)).ack(1));
        }
        "FIN, all acknowledged" => s.inject(seg().fin().seq(seq - u32::from(fin_seen)).ack(all)),
        "RST, exact" => s.inject(seg().rst().seq(seq).ack(1)),
        "RST, in window" => s.inject(seg().rst().seq(seq + 10).no_ack()),
        "shut down writing" => {
            if let Some(flow) = flow {
                let _ = s.stack.tcp_shutdown(flow, Shutdown::Write);
            }
        }
        "close" => flow.into_iter().for_each(|flow| s.stack.tcp_close(flow)),
        "abort" => flow.into_iter().for_each(|flow| s.stack.tcp_abort(flow)),
        _ => s.advance(600_000),
    }
    s.run();
}

/// What was sent, each kind once.
fn sent(s: &mut Script) -> String {
    let mut kinds: Vec<String> = Vec::new();
    for one in s.all_sent() {
        let mut kind = String::new();
        for (flag, name) in [(SYN, "SYN"), (FIN, "FIN"), (RST, "RST"), (ACK, "ACK")] {
            if one.flags & !PSH & flag != 0 {
                let _ = write!(kind, "{}{name}", if kind.is_empty() { "" } else { "," });
            }
        }
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds.join(" ")
}

/// One cell: the state afterwards, if another, and what was sent.
fn cell(state: &str, event: &str) -> String {
    let mut s = reach(state);
    let passive = s.flow.is_none();
    if passive && matches!(event, "shut down writing" | "close" | "abort") {
        // There is no handle yet.
        s.finish();
        return String::from(" ");
    }
    let before = observe(&mut s);
    apply(&mut s, state, event);
    let sent = sent(&mut s);
    let after = observe(&mut s);
    let mut text = match (after == before, sent.is_empty()) {
        (true, true) => String::from("·"),
        (true, false) => String::new(),
        (false, _) => format!("**{after}**"),
    };
    if !sent.is_empty() {
        if !text.is_empty() {
            text.push(' ');
        }
        let _ = write!(text, "`{sent}`");
    }
    if event == "close" || event == "abort" {
        s.flow = None;
    }
    s.skip();
    s.finish();
    text
}

fn table() -> String {
    let mut out = String::from(
        "# TCP's state machine\n\n\
         What happens to a connection in each state of RFC 9293, 3.3.2, at each event: the\n\
         state that it enters, if another, and the segments that are sent. A dot: nothing.\n\
         Written by a test that tries it (`core/src/tcp/tests/states.rs`), which fails when\n\
         this page is not what happens.\n\n\
         Segments arrive in order. \"SYN\" is the peer's first one again before the\n\
         connection is open, and lies in the window after. \"Close\" gives the handle up,\n\
         \"abort\" as well; an orderly close begins with \"shut down writing\". Ten minutes of\n\
         silence include retransmissions: what was sent meanwhile is named once. A passive\n\
         connection has no handle before it is open.\n\n",
    );
    let _ = write!(out, "| event |");
    for state in STATES {
        let _ = write!(out, " {state} |");
    }
    let _ = write!(out, "\n|---|");
    for _ in STATES {
        out.push_str("---|");
    }
    out.push('\n');
    for event in EVENTS {
        let _ = write!(out, "| {event} |");
        for state in STATES {
            let _ = write!(out, " {} |", cell(state, event).trim());
        }
        out.push('\n');
    }
    out
}

#[test]
fn rfc9293_3_3_2_the_table_in_the_docs_is_what_happens() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/tcp-states.md");
    let table = table();
    if std::env::var_os("POLLWIRE_BLESS").is_some() {
        std::fs::write(path, &table).expect("the page can be written");
    }
    match std::fs::read_to_string(path) {
        Ok(page) => assert!(page == table, "docs/tcp-states.md differs:\n{table}"),
        // A crate of its own, without the pages.
        Err(error) => std::println!("skipped: {path}: {error}"),
    }
}
