//! Developer commands: `cargo xtask --help`.
#![forbid(unsafe_code)]

mod bench;
mod check;
mod demo;
mod image;
mod process;
mod run;
mod table;
mod test;
mod tools;

use std::process::ExitCode;

use lexopt::prelude::*;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  demo                     boot two unikernels on a wire and put them to work
  test [--quick] [--verbose]
                           run every check; --quick leaves out images,
                           end-to-end tests and instruction counts; --verbose
                           shows what they print (target/test.log has it, too)
  image NAME --abi ABI     build unikernels/NAME; ABI is spt, hvt or unikraft
                           (for Unikraft: the program, for Unikraft's build)
  run NAME --abi ABI [--tap=TAP] [--image=FILE] [-- ARGUMENT...]
                           boot it on a TAP device (tap0) with those arguments:
                           under the bundled tender, or in QEMU with Unikraft
  bench [--gate] [--plot]  compare with smoltcp; --gate only counts
                           instructions against their limits, --plot draws SVG
  check                    the house limits: sizes, marks, counters, links";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    Help,
    Demo,
    Test { quick: bool, verbose: bool },
    Image { name: String, abi: image::Abi },
    Run(run::Run),
    Bench(bench::Mode),
    Check,
}

fn main() -> ExitCode {
    let command = match parse(lexopt::Parser::from_env()) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("cargo xtask: {error}\n\n{USAGE}");
            return ExitCode::from(64);
        }
    };
    let done = match command {
        Command::Help => {
            println!("{USAGE}");
            Ok(true)
        }
        Command::Demo => demo::run(),
        Command::Test { quick, verbose } => test::run(quick, verbose),
        Command::Image { name, abi } => image::build(&name, abi).map(|path| {
            println!("{}", path.display());
            true
        }),
        Command::Run(run) => run.run().map(|code| code == 0),
        Command::Bench(mode) => bench::run(mode),
        Command::Check => check::run(),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut parser: lexopt::Parser) -> Result<Command, lexopt::Error> {
    let mut name = None;
    let mut operands = Vec::new();
    let mut abi = None;
    let (mut tap, mut file, mut words) = (None, None, Vec::new());
    let (mut quick, mut verbose, mut gate, mut plot) = (false, false, false, false);
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help),
            Long("quick") if name.as_deref() == Some("test") => quick = true,
            Long("verbose") if name.as_deref() == Some("test") => verbose = true,
            Long("gate") if name.as_deref() == Some("bench") => gate = true,
            Long("plot") if name.as_deref() == Some("bench") => plot = true,
            Long("abi") if matches!(name.as_deref(), Some("image" | "run")) => {
                abi = Some(parser.value()?.parse()?);
            }
            Long("tap") if name.as_deref() == Some("run") => tap = Some(parser.value()?.string()?),
            Long("image") if name.as_deref() == Some("run") => {
                file = Some(parser.value()?.into());
            }
            Value(value) if name.as_deref() == Some("run") && !operands.is_empty() => {
                words.push(value.string()?);
                for rest in parser.raw_args()? {
                    words.push(rest.string()?);
                }
            }
            Value(value) if name.is_none() => name = Some(value.string()?),
            Value(value) => operands.push(value.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    let name = name.ok_or("no command given")?;
    if !matches!(name.as_str(), "image" | "run")
        && let Some(operand) = operands.first()
    {
        return Err(format!("{name} takes no argument {operand:?}").into());
    }
    match name.as_str() {
        "help" => Ok(Command::Help),
        "demo" => Ok(Command::Demo),
        "test" => Ok(Command::Test { quick, verbose }),
        "check" => Ok(Command::Check),
        "bench" => Ok(Command::Bench(match (gate, plot) {
            (false, plot) => bench::Mode::Compare { plot },
            (true, false) => bench::Mode::Gate,
            (true, true) => return Err("--gate and --plot exclude each other".into()),
        })),
        "image" => match (operands.as_slice(), abi) {
            ([image], Some(abi)) => Ok(Command::Image {
                name: image.clone(),
                abi,
            }),
            (_, None) => Err("image needs --abi spt, --abi hvt or --abi unikraft".into()),
            _ => Err("image needs exactly one name".into()),
        },
        "run" => match (operands.as_slice(), abi) {
            ([name], Some(abi)) => Ok(Command::Run(run::Run {
                name: name.clone(),
                abi,
                tap: tap.unwrap_or_else(|| "tap0".to_owned()),
                file,
                words,
            })),
            (_, None) => Err("run needs --abi spt, --abi hvt or --abi unikraft".into()),
            _ => Err("run needs a name".into()),
        },
        other => Err(format!("there is no command {other:?}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(words: &[&str]) -> Result<Command, lexopt::Error> {
        parse(lexopt::Parser::from_args(words))
    }

    #[test]
    fn understands_its_commands() {
        assert_eq!(
            parse_words(&["test", "--quick"]).unwrap(),
            Command::Test {
                quick: true,
                verbose: false
            }
        );
        assert_eq!(
            parse_words(&["image", "echo", "--abi", "hvt"]).unwrap(),
            Command::Image {
                name: "echo".into(),
                abi: image::Abi::Hvt
            },
        );
        let words = [
            "run",
            "fetch",
            "--abi=unikraft",
            "--",
            "--ipv4=10.0.0.2/24",
            "http://a/",
        ];
        let Command::Run(run) = parse_words(&words).unwrap() else {
            panic!("not run");
        };
        assert_eq!((run.abi, run.tap.as_str()), (image::Abi::Unikraft, "tap0"));
        assert_eq!(run.words, words[4..]);
        assert_eq!(
            parse_words(&["bench", "--plot"]).unwrap(),
            Command::Bench(bench::Mode::Compare { plot: true }),
        );
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for words in [
            &["nothing"][..],
            &[],
            &["test", "--plot"],
            &["test", "more"],
            &["image", "echo"],
            &["image", "echo", "--abi", "xen"],
            &["image", "--abi", "spt"],
            &["run", "--abi", "spt"],
            &["run", "echo"],
            &["run", "echo", "--abi", "spt", "--ipv4=10.0.0.2/24"],
            &["bench", "--gate", "--plot"],
        ] {
            assert!(parse_words(words).is_err(), "{words:?}");
        }
    }
}
