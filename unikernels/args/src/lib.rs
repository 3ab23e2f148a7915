//! Boot arguments: `--name=value`, `--name value`, flags and words, with
//! `--help` made of the same table that the parser follows.
//!
//! ```
//! use pollwire_args::{Opt, Program, Stop};
//!
//! const PORT: Opt = Opt::value("port", "PORT", "where to listen (default 9000)");
//! const PROGRAM: Program = Program {
//!     name: "echo",
//!     about: "Sends back what it gets.",
//!     usage: "server [--port=PORT]",
//!     options: &[&[PORT]],
//! };
//!
//! let matches = PROGRAM.parse(["server", "--port=7"])?;
//! assert_eq!(matches.word(0), Some("server"));
//! assert_eq!(matches.value::<u16>(&PORT)?, Some(7));
//!
//! let stop = PROGRAM.parse(["--prot=7"]).unwrap_err();
//! assert_eq!(stop.to_string(), "echo: there is no option --prot; see --help");
//! assert_eq!(stop.exit_code(), 64);
//! # Ok::<(), Stop>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod ipv6;
mod network;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

pub use ipv6::{Ipv6, Ipv6Source, NoSecret, Secret};
pub use network::{Ipv4Source, Network};

/// The exit code of a program that was started wrongly (`EX_USAGE`).
pub const EXIT_USAGE: u8 = 64;

/// An option that a program knows.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    name: &'static str,
    /// What stands for the value in the help; `None` for a flag.
    value: Option<&'static str>,
    /// It may be given several times.
    many: bool,
    help: &'static str,
}

impl Opt {
    /// An option with a value.
    #[must_use]
    pub const fn value(name: &'static str, value: &'static str, help: &'static str) -> Self {
        Self {
            name,
            value: Some(value),
            many: false,
            help,
        }
    }

    /// An option with a value that may be given several times: the values add
    /// up.
    #[must_use]
    pub const fn values(name: &'static str, value: &'static str, help: &'static str) -> Self {
        Self {
            many: true,
            ..Self::value(name, value, help)
        }
    }

    /// An option that is given or not. One of a single letter is given as `-x`.
    #[must_use]
    pub const fn flag(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            value: None,
            many: false,
            help,
        }
    }
}

const HELP: Opt = Opt::flag("help", "print this and exit");

/// A program's command line.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// What it does, in a sentence or some.
    pub about: &'static str,
    /// The arguments beside the options, as the help's first line shows them.
    pub usage: &'static str,
    /// The options, in groups.
    pub options: &'static [&'static [Opt]],
}

/// Why a program ends before it begins. Prints as what to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Help was asked for.
    Help(String),
    /// The arguments were wrong: what, and how.
    Usage(String),
}

impl Stop {
    /// 0 after help, [`EXIT_USAGE`] after a mistake.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Help(_) => 0,
            Self::Usage(_) => EXIT_USAGE,
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Help(text) | Self::Usage(text) => f.write_str(text),
        }
    }
}

impl core::error::Error for Stop {}

impl Program {
    fn find(&self, name: &str) -> Option<Opt> {
        let mut all = self.options.iter().copied().flatten().chain([&HELP]);
        all.find(|option| option.name == name).copied()
    }

    /// A mistake in the arguments, under the program's name.
    #[must_use]
    pub fn mistake(&self, what: impl fmt::Display) -> Stop {
        Stop::Usage(format!("{}: {what}; see --help", self.name))
    }

    /// Sorts the arguments into options and words.
    ///
    /// # Errors
    /// [`Stop::Help`] when `--help` is among them; [`Stop::Usage`] for an
    /// option that is unknown, given twice, or with or without a value against
    /// its nature.
    pub fn parse<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Result<Matches<'a>, Stop> {
        let mut matches = Matches {
            program: *self,
            values: Vec::new(),
            words: Vec::new(),
        };
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let option = match (arg.strip_prefix("--"), arg.strip_prefix('-')) {
                (Some(option), _) => option,
                (None, Some(letter)) if letter.len() == 1 && self.find(letter).is_some() => letter,
                (None, Some(rest)) if !rest.is_empty() => {
                    return Err(self.mistake(format_args!("there is no option {arg}")));
                }
                _ => {
                    matches.words.push(arg);
                    continue;
                }
            };
            let (name, given) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (option, None),
            };
            let Some(option) = self.find(name) else {
                return Err(self.mistake(format_args!("there is no option --{name}")));
            };
            if option.name == HELP.name {
                return Err(Stop::Help(self.help()));
            }
            let value = match (option.value, given) {
                (None, None) => "",
                (None, Some(_)) => {
                    return Err(self.mistake(format_args!("--{name} takes no value")));
                }
                (Some(_), Some(value)) => value,
                (Some(what), None) => args
                    .next()
                    .ok_or_else(|| self.mistake(format_args!("--{name} needs a value: {what}")))?,
            };
            if !option.many && matches.raw(&option).is_some() {
                return Err(self.mistake(format_args!("--{name} is given twice")));
            }
            matches.values.push((option.name, value));
        }
        Ok(matches)
    }

    fn help(&self) -> String {
        let mut text = format!("{}\n\nUsage: {} {}\n", self.about, self.name, self.usage);
        for group in self.options.iter().copied().chain([&[HELP][..]]) {
            text.push('\n');
            for option in group {
                let shown = match option.value {
                    None if option.name.len() == 1 => format!("-{}", option.name),
                    Some(value) => format!("--{}={value}", option.name),
                    None => format!("--{}", option.name),
                };
                text.push_str(&format!("  {shown:<28} {}\n", option.help));
            }
        }
        text.pop();
        text
    }
}

/// The arguments of a program, sorted.
#[derive(Clone, Debug)]
pub struct Matches<'a> {
    program: Program,
    values: Vec<(&'static str, &'a str)>,
    words: Vec<&'a str>,
}

impl<'a> Matches<'a> {
    fn raw(&self, option: &Opt) -> Option<&'a str> {
        self.values
            .iter()
            .find(|(name, _)| *name == option.name)
            .map(|(_, value)| *value)
    }

    /// Whether the flag was given.
    #[must_use]
    pub fn flag(&self, option: &Opt) -> bool {
        self.raw(option).is_some()
    }

    /// The option's value, if it was given.
    ///
    /// # Errors
    /// [`Stop::Usage`] when it does not parse.
    pub fn value<T: FromStr>(&self, option: &Opt) -> Result<Option<T>, Stop>
    where
        T::Err: fmt::Display,
    {
        self.raw(option)
            .map(|value| self.parse_value(option, value))
            .transpose()
    }

    /// All values of an option that may be given [several times](Opt::values),
    /// in order.
    ///
    /// # Errors
    /// [`Stop::Usage`] when one of them does not parse.
    pub fn values<T: FromStr>(&self, option: &Opt) -> Result<Vec<T>, Stop>
    where
        T::Err: fmt::Display,
    {
        self.values
            .iter()
            .filter(|(name, _)| *name == option.name)
            .map(|(_, value)| self.parse_value(option, value))
            .collect()
    }

    fn parse_value<T: FromStr>(&self, option: &Opt, value: &str) -> Result<T, Stop>
    where
        T::Err: fmt::Display,
    {
        value
            .parse()
            .map_err(|error| self.mistake(format_args!("--{}={value}: {error}", option.name)))
    }

    /// The option's value, which must be given.
    ///
    /// # Errors
    /// [`Stop::Usage`] when it is missing or does not parse.
    pub fn required<T: FromStr>(&self, option: &Opt) -> Result<T, Stop>
    where
        T::Err: fmt::Display,
    {
        self.value(option)?.ok_or_else(|| self.missing(option))
    }

    /// The mistake that an option is missing.
    #[must_use]
    pub fn missing(&self, option: &Opt) -> Stop {
        self.mistake(format_args!(
            "--{}={} is needed",
            option.name,
            option.value.unwrap_or_default()
        ))
    }

    /// The word at `index`, counted from 0, options aside.
    #[must_use]
    pub fn word(&self, index: usize) -> Option<&'a str> {
        self.words.get(index).copied()
    }

    /// Refuses more than `count` words.
    ///
    /// # Errors
    /// [`Stop::Usage`] naming the first one too many.
    pub fn at_most(&self, count: usize) -> Result<(), Stop> {
        match self.word(count) {
            Some(extra) => Err(self.mistake(format_args!("unexpected argument {extra}"))),
            None => Ok(()),
        }
    }

    /// A mistake in the arguments, under the program's name.
    #[must_use]
    pub fn mistake(&self, what: impl fmt::Display) -> Stop {
        self.program.mistake(what.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const PORT: Opt = Opt::value("port", "PORT", "a port");
    const QUIET: Opt = Opt::flag("quiet", "say less");
    const FOUR: Opt = Opt::flag("4", "only IPv4");
    const PEER: Opt = Opt::values("peer", "NAME", "a peer");
    const PROGRAM: Program = Program {
        name: "test",
        about: "About.",
        usage: "[WORD]",
        options: &[&[PORT], &[QUIET], &[FOUR, PEER]],
    };

    fn usage(args: &[&str]) -> String {
        let stop = PROGRAM
            .parse(args.iter().copied())
            .and_then(|matches| matches.value::<u16>(&PORT).map(|_| matches))
            .and_then(|matches| matches.at_most(1))
            .unwrap_err();
        assert_eq!(stop.exit_code(), 64);
        stop.to_string()
    }

    #[test]
    fn takes_values_flags_and_words_in_any_order() {
        for args in [
            vec!["word", "--port=7", "--quiet"],
            vec!["--port", "7", "word", "--quiet"],
        ] {
            let matches = PROGRAM.parse(args).expect("fine");
            assert_eq!(matches.word(0), Some("word"));
            assert_eq!(matches.value(&PORT), Ok(Some(7u16)));
            assert_eq!(matches.required::<u16>(&PORT), Ok(7));
            assert!(matches.flag(&QUIET));
        }
        let matches = PROGRAM.parse(["-4"]).expect("fine");
        assert!(matches.flag(&FOUR) && matches.word(0).is_none());
        let matches = PROGRAM.parse([]).expect("fine");
        assert_eq!(matches.value::<u16>(&PORT), Ok(None));
        assert!(!matches.flag(&QUIET) && matches.word(0).is_none());
    }

    #[test]
    fn values_of_some_options_add_up() {
        let matches = PROGRAM.parse(["--peer=a", "--peer", "b"]).expect("fine");
        let peers: Vec<String> = matches.values(&PEER).expect("names");
        assert_eq!(peers, ["a", "b"]);
        let wrong = PROGRAM.parse(["--peer=1", "--peer=x"]).expect("fine");
        assert!(wrong.values::<u16>(&PEER).is_err());
        assert_eq!(
            PROGRAM.parse([]).expect("fine").values::<u16>(&PEER),
            Ok(vec![])
        );
    }

    #[test]
    fn says_what_is_wrong() {
        let tail = "; see --help";
        for (args, message) in [
            (vec!["--colour"], "test: there is no option --colour"),
            (vec!["-p"], "test: there is no option -p"),
            (vec!["--port"], "test: --port needs a value: PORT"),
            (vec!["--quiet=1"], "test: --quiet takes no value"),
            (vec!["--port=1", "--port=2"], "test: --port is given twice"),
            (vec!["a", "b"], "test: unexpected argument b"),
        ] {
            assert_eq!(usage(&args).strip_suffix(tail), Some(message));
        }
        assert!(usage(&["--port=70000"]).starts_with("test: --port=70000: number too large"));
        let matches = PROGRAM.parse([]).expect("fine");
        let missing = matches.required::<u16>(&PORT).unwrap_err();
        assert_eq!(
            missing.to_string(),
            "test: --port=PORT is needed; see --help"
        );
    }

    #[test]
    fn help_shows_every_option() {
        let stop = PROGRAM.parse(["--port=1", "--help"]).unwrap_err();
        assert_eq!(stop.exit_code(), 0);
        let text = stop.to_string();
        for line in [
            "About.",
            "Usage: test [WORD]",
            "--port=PORT",
            "--quiet",
            "  -4 ",
            "--help",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
