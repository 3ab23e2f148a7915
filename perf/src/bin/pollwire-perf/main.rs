//! A load generator for echo and HTTP services: it drives them from the host's
//! own stack, verifies what comes back, and reports latency and throughput. It
//! draws event logs of connections as well.
#![forbid(unsafe_code)]

mod bulk;
mod http;
mod options;
mod plot;
mod report;
mod tcp_echo;
mod udp_echo;
mod work;

use options::{Asked, Command};
use std::process::ExitCode;

fn main() -> ExitCode {
    let options = match options::parse(lexopt::Parser::from_env()) {
        Ok(Asked::Run(options)) => options,
        Ok(Asked::Plot(path)) => return plot(&path),
        Ok(Asked::Help) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("pollwire-perf: {error}\nTry --help.");
            return ExitCode::from(64); // EX_USAGE of sysexits.h
        }
    };
    let report = match options.command {
        Command::TcpEcho => tcp_echo::run(&options),
        Command::Bulk => bulk::run(&options),
        Command::UdpEcho => udp_echo::run(&options),
        Command::Http => http::run(&options),
    };
    if options.json {
        println!("{}", report.json());
    } else {
        println!("{report}");
    }
    if report.is_success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Draws the event log at `path`.
fn plot(path: &std::path::Path) -> ExitCode {
    let drawn = std::fs::read_to_string(path)
        .map_err(|error| error.to_string())
        .and_then(|text| {
            let title = path.file_stem().unwrap_or_default();
            plot::draw(&text, &title.to_string_lossy())
        });
    match drawn {
        Ok(svg) => {
            print!("{svg}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("pollwire-perf: {}: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}
