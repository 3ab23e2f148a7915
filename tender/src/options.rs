//! The command line: Solo5's options, and a few more.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::net::Source;

/// Shown by `--help`.
pub(crate) const USAGE: &str = "\
usage: pollwire-tender [OPTIONS] [--] IMAGE [ARGUMENTS]
       pollwire-tender set-abi hvt|spt IMAGE OUTPUT

Runs a Solo5 image, hvt or spt as its note says. As with Solo5's tenders:
  --mem=MB                 guest memory, default 512
  --net:NAME=IFACE         attach the TAP interface IFACE as network NAME
  --net-mac:NAME=MAC       set its Ethernet address (default: random)
Beyond Solo5:
  --net:NAME=wire:PATH     a wire to another guest, no root needed: give both
                           the same PATH, which the first creates
  --net:NAME=fd:N          the open descriptor N: a TAP, or one end of a
                           SOCK_SEQPACKET socket pair
  --no-ring                hvt: offer hypercalls only, as tenders before 0.11 did

set-abi writes a copy of IMAGE for the other tender.";

/// Most guest memory, in MiB: an hvt guest's addresses have 32 bits.
const MOST_MEMORY: u64 = 4096;

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Bytes.
    pub(crate) memory: u64,
    pub(crate) nets: Vec<(String, Source)>,
    pub(crate) macs: Vec<(String, [u8; 6])>,
    pub(crate) ring: bool,
    pub(crate) image: PathBuf,
    /// The guest's command line: its arguments joined by spaces.
    pub(crate) cmdline: String,
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    SetAbi {
        abi: String,
        image: PathBuf,
        output: PathBuf,
    },
    Run(Options),
}

/// Understands `arguments`, the program's name not among them.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Command, String> {
    let mut words = arguments
        .map(|word| {
            word.into_string()
                .map_err(|word| format!("argument {word:?} is not UTF-8"))
        })
        .collect::<Result<Vec<_>, _>>()?
        .into_iter();
    let mut options = Options {
        memory: 512 << 20,
        nets: Vec::new(),
        macs: Vec::new(),
        ring: true,
        image: PathBuf::new(),
        cmdline: String::new(),
    };
    loop {
        let word = words.next().ok_or("no image given; see --help")?;
        match word.as_str() {
            "--help" => return Ok(Command::Help),
            "set-abi" => return set_abi(&words.collect::<Vec<_>>()),
            "--" => {
                options.image = words.next().ok_or("no image after --")?.into();
                break;
            }
            option if option.starts_with('-') => options.apply(option)?,
            image => {
                options.image = image.into();
                break;
            }
        }
    }
    options.cmdline = words.collect::<Vec<_>>().join(" ");
    Ok(Command::Run(options))
}

fn set_abi(words: &[String]) -> Result<Command, String> {
    let [abi, image, output] = words else {
        return Err("set-abi takes an ABI, an image and an output file".to_owned());
    };
    Ok(Command::SetAbi {
        abi: abi.clone(),
        image: image.into(),
        output: output.into(),
    })
}

impl Options {
    fn apply(&mut self, option: &str) -> Result<(), String> {
        let unknown = || format!("unknown option '{option}'; see --help");
        if option == "--no-ring" {
            self.ring = false;
            return Ok(());
        }
        let (key, value) = option.split_once('=').ok_or_else(unknown)?;
        if key == "--mem" {
            self.memory = memory(value)?;
        } else if let Some(name) = key.strip_prefix("--net:") {
            self.nets.push((name.to_owned(), Source::parse(value)?));
        } else if let Some(name) = key.strip_prefix("--net-mac:") {
            self.macs.push((name.to_owned(), mac(value)?));
        } else {
            return Err(unknown());
        }
        Ok(())
    }
}

fn memory(value: &str) -> Result<u64, String> {
    match value.parse::<u64>() {
        Ok(megabytes) if (2..=MOST_MEMORY).contains(&megabytes) => Ok(megabytes << 20),
        _ => Err(format!(
            "--mem={value}: a number of megabytes from 2 to {MOST_MEMORY} is needed"
        )),
    }
}

fn mac(value: &str) -> Result<[u8; 6], String> {
    let error = || format!("'{value}' is not an Ethernet address such as 02:00:00:00:00:01");
    let bytes = value
        .split(':')
        .map(|byte| {
            let valid = byte.len() == 2;
            u8::from_str_radix(byte, 16).ok().filter(|_| valid)
        })
        .collect::<Option<Vec<_>>>()
        .ok_or_else(error)?;
    let mac: [u8; 6] = bytes.try_into().map_err(|_| error())?;
    if mac[0] & 1 == 1 {
        return Err(format!(
            "{value} is a group address; a device needs its own"
        ));
    }
    Ok(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(words: &[&str]) -> Result<Command, String> {
        parse(words.iter().map(OsString::from))
    }

    #[test]
    fn options_then_image_then_arguments() {
        let Ok(Command::Run(options)) = run(&[
            "--mem=64",
            "--net:service=tap0",
            "--net:other=wire:/tmp/w",
            "--net-mac:service=02:00:00:00:00:0a",
            "--",
            "image.spt",
            "--ipv4=10.0.0.2/24",
            "x",
        ]) else {
            panic!("must parse");
        };
        assert_eq!(options.memory, 64 << 20);
        assert_eq!(options.image, PathBuf::from("image.spt"));
        assert_eq!(options.cmdline, "--ipv4=10.0.0.2/24 x");
        assert_eq!(options.macs, [("service".to_owned(), [2, 0, 0, 0, 0, 10])]);
        let sources: Vec<_> = options.nets.into_iter().map(|(_, source)| source).collect();
        assert_eq!(
            sources,
            [
                Source::Tap("tap0".to_owned()),
                Source::Wire("/tmp/w".into())
            ]
        );
    }

    #[test]
    fn bad_options_are_named() {
        for (words, part) in [
            (&[][..], "no image"),
            (&["--mem=0", "i"], "--mem=0"),
            (&["--mem=x", "i"], "--mem=x"),
            (&["--frob", "i"], "--frob"),
            (&["--frob=1", "i"], "--frob"),
            (&["--net-mac:a=1:2", "i"], "Ethernet"),
            (&["--net-mac:a=01:00:00:00:00:00", "i"], "group"),
            (&["--net:a=fd:x", "i"], "fd:x"),
            (&["--net:a=", "i"], "interface"),
            (&["--net:a=averyveryverylongname", "i"], "interface"),
            (&["--"], "after --"),
            (&["set-abi", "hvt"], "set-abi"),
        ] {
            let error = run(words).expect_err("must be refused");
            assert!(error.contains(part), "{words:?}: {error}");
        }
    }
}
