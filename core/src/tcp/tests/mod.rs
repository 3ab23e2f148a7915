//! TCP by the rule, each test named by RFC and section.

mod acks;
mod buffers;
mod close;
mod congestion;
mod cookies;
mod data;
mod dsack;
mod ecn;
mod episode;
mod half_open;
mod handshake;
mod open;
mod path_mtu;
mod predict;
mod probe;
mod prr;
mod rack;
mod recovery;
mod robust;
mod rto;
mod runs;
mod script;
mod states;
mod time_wait;
mod timers;
mod undo;
