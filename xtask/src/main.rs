//! Developer commands: `cargo xtask --help`.
#![forbid(unsafe_code)]

mod bench;
mod check;
mod demo;
mod image;
mod process;
mod table;
mod test;
mod tools;

use std::process::ExitCode;

use lexopt::prelude::*;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  demo                     boot two unikernels on a wire and put them to work
  test [--quick]           run every check; --quick leaves out images,
                           end-to-end tests and instruction counts
  image NAME --abi ABI     build unikernels/NAME; ABI is spt or hvt
  bench [--gate] [--plot]  compare with smoltcp; --gate only counts
                           instructions against their limits, --plot draws SVG
  check                    the house limits: sizes, marks, counters, links";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    Help,
    Demo,
    Test { quick: bool },
    Image { name: String, abi: image::Abi },
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
        Command::Test { quick } => test::run(quick),
        Command::Image { name, abi } => image::build(&name, abi).map(|path| {
            println!("{}", path.display());
            true
        }),
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
    let (mut quick, mut gate, mut plot) = (false, false, false);
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help),
            Long("quick") if name.as_deref() == Some("test") => quick = true,
            Long("gate") if name.as_deref() == Some("bench") => gate = true,
            Long("plot") if name.as_deref() == Some("bench") => plot = true,
            Long("abi") if name.as_deref() == Some("image") => abi = Some(parser.value()?.parse()?),
            Value(value) if name.is_none() => name = Some(value.string()?),
            Value(value) => operands.push(value.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    let name = name.ok_or("no command given")?;
    if name != "image"
        && let Some(operand) = operands.first()
    {
        return Err(format!("{name} takes no argument {operand:?}").into());
    }
    match name.as_str() {
        "help" => Ok(Command::Help),
        "demo" => Ok(Command::Demo),
        "test" => Ok(Command::Test { quick }),
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
            (_, None) => Err("image needs --abi spt or --abi hvt".into()),
            _ => Err("image needs exactly one name".into()),
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
            Command::Test { quick: true }
        );
        assert_eq!(
            parse_words(&["image", "echo", "--abi", "hvt"]).unwrap(),
            Command::Image {
                name: "echo".into(),
                abi: image::Abi::Hvt
            },
        );
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
            &["bench", "--gate", "--plot"],
        ] {
            assert!(parse_words(words).is_err(), "{words:?}");
        }
    }
}
