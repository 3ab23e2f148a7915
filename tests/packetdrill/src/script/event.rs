//! What a script consists of.

/// A script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Script {
    /// `--name=value` lines at its top.
    pub(crate) options: Vec<(String, String)>,
    pub(crate) events: Vec<Event>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) line: usize,
    pub(crate) time: Time,
    pub(crate) action: Action,
}

/// When an event happens, microseconds. Relative times count from the event
/// before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    Any,
    At { relative: bool, micros: i64 },
    Within { relative: bool, from: i64, to: i64 },
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A packet to the stack.
    Inbound(Packet),
    /// A packet of the stack's.
    Outbound(Packet),
    Call(Call),
    Assert(Vec<Condition>),
}

/// A TCP segment, in the script's own numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Packet {
    /// The peer's port and ours, where the script names them.
    pub(crate) ports: Option<(u16, u16)>,
    pub(crate) flags: u8,
    pub(crate) seq: u32,
    pub(crate) len: u32,
    pub(crate) ack: Option<u32>,
    pub(crate) window: Option<u16>,
    /// `None`: any options will do.
    pub(crate) options: Option<Vec<Opt>>,
    /// The two ECN bits, where the script names them.
    pub(crate) ecn: Option<u8>,
}

/// A TCP option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Opt {
    Nop,
    End,
    Mss(u16),
    WindowScale(u8),
    SackPermitted,
    Sack(Vec<(u32, u32)>),
    Timestamps { value: u32, echo: u32 },
}

/// A system call and its expected outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) arguments: Vec<Expr>,
    pub(crate) result: Expr,
    pub(crate) errno: Option<String>,
    /// When a call that waits returns, microseconds: counted as its event's
    /// time is.
    pub(crate) ends: Option<i64>,
}

/// An argument or a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expr {
    Ellipsis,
    Number(i64),
    Word(String),
    Or(Box<Expr>, Box<Expr>),
    List(Vec<Expr>),
    Fields(Vec<(String, Expr)>),
}

/// `assert NAME OPERATOR NUMBER` on a value of `TCP_INFO`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) name: String,
    pub(crate) operator: String,
    pub(crate) value: i64,
}
