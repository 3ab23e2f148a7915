//! System calls of a script.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::task::Poll;

use super::event::{Call as Spec, Expr};
use super::symbols;
use super::wire::{OURS, PEERS};
use crate::call::{Call, PollItem};
use crate::engine::Engine;
use crate::errno::Answer;

/// The port that `bind(fd, ..., ...)` takes, and that `connect` goes to.
pub(crate) const PORT: u16 = 8080;

/// Descriptors: the script's and the engine's.
#[derive(Debug, Default)]
pub(crate) struct Descriptors {
    live: BTreeMap<i64, i32>,
    last: i32,
}

impl Descriptors {
    fn next(&mut self) -> i32 {
        self.last += 1;
        1000 + self.last
    }

    pub(crate) fn live(&self, script: i64) -> Result<i32, String> {
        let found = self.live.get(&script).copied();
        found.ok_or_else(|| format!("no descriptor {script}"))
    }
}

/// How a call goes on.
pub(crate) enum Step {
    /// It is over.
    Done(Answer<i64>),
    /// It waits.
    Waits(Call),
}

/// Arguments, by position.
struct Arguments<'a>(&'a [Expr], &'a Descriptors);

impl Arguments<'_> {
    fn get(&self, index: usize) -> Result<&Expr, String> {
        self.0
            .get(index)
            .ok_or_else(|| format!("argument {index} is missing"))
    }

    fn int(&self, index: usize) -> Result<i32, String> {
        let value = number(self.get(index)?)?;
        i32::try_from(value).map_err(|_| format!("{value} is too large"))
    }

    fn fd(&self, index: usize) -> Result<i32, String> {
        self.1.live(number(self.get(index)?)?)
    }

    fn size(&self, index: usize) -> Result<usize, String> {
        let value = number(self.get(index)?)?;
        usize::try_from(value).map_err(|_| format!("{value} is no size"))
    }

    /// `[1]`, `4` or `{onoff=1, linger=0}` as bytes.
    fn value(&self, index: usize) -> Result<Vec<u8>, String> {
        let ints: Vec<i64> = match self.get(index)? {
            Expr::List(items) => items.iter().map(number).collect::<Result<_, _>>()?,
            Expr::Fields(fields) => {
                let values = fields.iter().map(|(_, value)| number(value));
                values.collect::<Result<_, _>>()?
            }
            other => vec![number(other)?],
        };
        let bytes = |value: &i64| i32::try_from(*value).unwrap_or(-1).to_ne_bytes();
        Ok(ints.iter().flat_map(bytes).collect())
    }
}

/// The number that an expression stands for.
pub(crate) fn number(expr: &Expr) -> Result<i64, String> {
    match expr {
        Expr::Number(value) => Ok(*value),
        Expr::Word(word) => symbols::value(word).ok_or_else(|| format!("{word} is unknown")),
        Expr::Or(left, right) => Ok(number(left)? | number(right)?),
        Expr::List(items) => match items.as_slice() {
            [one] => number(one),
            _ => Err("one number expected".into()),
        },
        Expr::Ellipsis | Expr::Fields(_) => Err("a number expected".into()),
    }
}

/// Makes the call as far as it goes now.
pub(crate) fn begin(
    engine: &mut Engine,
    fds: &mut Descriptors,
    spec: &Spec,
) -> Result<Step, String> {
    let new = fds.next();
    let a = Arguments(&spec.arguments, fds);
    let peer = SocketAddr::new(IpAddr::V4(PEERS), PORT);
    let unit = |answer: Answer<()>| answer.map(|()| 0);
    let done = match spec.name.as_str() {
        "socket" => {
            let domain = match a.get(0)? {
                Expr::Ellipsis => libc::AF_INET,
                _ => a.int(0)?,
            };
            let answer = engine.socket(new, domain, a.int(1)?, a.int(2)?);
            answer.map(|()| i64::from(new))
        }
        "bind" => unit(engine.bind(a.fd(0)?, SocketAddr::new(IpAddr::V4(OURS), PORT))),
        "listen" => unit(engine.listen(a.fd(0)?, a.int(1)?)),
        "close" => unit(engine.close(a.fd(0)?)),
        "shutdown" => unit(engine.shutdown(a.fd(0)?, a.int(1)?)),
        "setsockopt" => unit(engine.set_option(a.fd(0)?, a.int(1)?, a.int(2)?, &a.value(3)?)),
        "getsockopt" => {
            let wanted = a.value(3)?;
            let answer = engine.option(a.fd(0)?, a.int(1)?, a.int(2)?, wanted.len());
            match answer {
                Ok(value) if value != wanted => {
                    return Err(format!("getsockopt gave {value:?}, expected {wanted:?}"));
                }
                other => other.map(|_| 0),
            }
        }
        "fcntl" => {
            let argument = if spec.arguments.len() > 2 {
                a.int(2)?
            } else {
                0
            };
            let answer = engine.fcntl(a.fd(0)?, a.int(1)?, i64::from(argument));
            answer.map(i64::from)
        }
        "ioctl" => {
            let request = u64::try_from(number(a.get(1)?)?).map_err(|e| e.to_string())?;
            let wanted = number(a.get(2)?)?;
            match engine.ioctl(a.fd(0)?, request) {
                Ok(value) if i64::from(value) != wanted => {
                    return Err(format!("ioctl gave {value}, expected {wanted}"));
                }
                other => other.map(|_| 0),
            }
        }
        _ => return waiting(engine, &a, spec, new, peer),
    };
    Ok(Step::Done(done))
}

fn waiting(
    engine: &mut Engine,
    a: &Arguments<'_>,
    spec: &Spec,
    new: i32,
    peer: SocketAddr,
) -> Result<Step, String> {
    let flags = |index: usize| {
        if spec.arguments.len() > index {
            a.int(index)
        } else {
            Ok(0)
        }
    };
    let mut call = match spec.name.as_str() {
        "accept" => Call::Accept {
            fd: a.fd(0)?,
            new,
            peer: None,
        },
        "connect" => Call::Connect {
            fd: a.fd(0)?,
            to: peer,
            begun: false,
        },
        "read" | "recv" => Call::Read {
            fd: a.fd(0)?,
            out: vec![0; a.size(2)?],
            done: 0,
            flags: flags(3)?,
        },
        "write" | "send" => Call::Write {
            fd: a.fd(0)?,
            data: vec![0; a.size(2)?],
            done: 0,
            flags: flags(3)?,
        },
        "poll" => poll(engine, a)?,
        name => return Err(format!("system call {name} is unknown")),
    };
    Ok(match call.attempt(engine) {
        Poll::Ready(answer) => Step::Done(finish(&call, spec, a.1, answer)?),
        Poll::Pending => Step::Waits(call),
    })
}

fn poll(engine: &Engine, a: &Arguments<'_>) -> Result<Call, String> {
    let Expr::List(list) = a.get(0)? else {
        return Err("a list of {fd=, events=, revents=} expected".into());
    };
    let mut items = Vec::new();
    for entry in list {
        items.push(PollItem {
            fd: a.1.live(field(entry, "fd")?)?,
            events: i16::try_from(field(entry, "events")?).unwrap_or(0),
            revents: 0,
        });
    }
    let millis = number(a.get(2)?)?;
    let until = u64::try_from(millis).ok();
    Ok(Call::Poll {
        items,
        until: until.map(|millis| engine.now().plus_nanos(millis * 1_000_000)),
    })
}

fn field(entry: &Expr, name: &str) -> Result<i64, String> {
    let Expr::Fields(fields) = entry else {
        return Err("{fd=, events=, revents=} expected".into());
    };
    let found = fields.iter().find(|(known, _)| known == name);
    let (_, value) = found.ok_or_else(|| format!("{name}= is missing"))?;
    match value {
        Expr::Number(0) => Ok(0),
        other => number(other),
    }
}

/// What a call answered, its output checked.
pub(crate) fn finish(
    call: &Call,
    spec: &Spec,
    fds: &Descriptors,
    answer: Answer<usize>,
) -> Result<Answer<i64>, String> {
    if let Call::Poll { items, .. } = call {
        let a = Arguments(&spec.arguments, fds);
        if let Expr::List(list) = a.get(0)? {
            for (entry, item) in list.iter().zip(items) {
                let wanted = field(entry, "revents")?;
                if wanted != i64::from(item.revents) {
                    let got = item.revents;
                    return Err(format!("poll gave revents {got:#x}, expected {wanted:#x}"));
                }
            }
        }
    }
    Ok(answer.map(|count| i64::try_from(count).unwrap_or(i64::MAX)))
}

/// Compares an answer with what the script expects, and remembers a new
/// descriptor.
pub(crate) fn check(fds: &mut Descriptors, spec: &Spec, answer: Answer<i64>) -> Result<(), String> {
    let wanted = number(&spec.result)?;
    let makes_descriptor = matches!(spec.name.as_str(), "socket" | "accept");
    match answer {
        Ok(value) if makes_descriptor && wanted >= 0 => {
            let live = i32::try_from(value).unwrap_or(-1);
            fds.live.insert(wanted, live);
            Ok(())
        }
        Ok(value) if value == wanted && spec.errno.is_none() => Ok(()),
        Ok(value) => Err(format!("{} gave {value}", spec.name)),
        Err(error) => {
            let name = symbols::error_name(error.0);
            let right = wanted == -1 && spec.errno.as_ref() == Some(&name);
            if right {
                Ok(())
            } else {
                Err(format!("{} failed with {name}", spec.name))
            }
        }
    }
}
