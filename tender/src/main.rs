//! `pollwire-tender`: see [`options::USAGE`].

mod hvt;
mod memory;
mod net;
mod options;
mod spt;

use std::path::Path;
use std::process::ExitCode;
use std::{env, fs};

use options::{Command, Options};
use pollwire_tender::image::{self, Abi, Image};

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(message) => {
            eprintln!("pollwire-tender: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, String> {
    match options::parse(env::args_os().skip(1))? {
        Command::Help => {
            println!("{}", options::USAGE);
            Ok(ExitCode::SUCCESS)
        }
        Command::SetAbi { abi, image, output } => set_abi(&abi, &image, &output),
        Command::Run(options) => boot(&options),
    }
}

fn set_abi(abi: &str, image: &Path, output: &Path) -> Result<ExitCode, String> {
    let mut bytes = read(image)?;
    image::set_abi(&mut bytes, abi.parse()?)
        .map_err(|error| format!("{}: {error}", image.display()))?;
    fs::write(output, bytes).map_err(|error| format!("{}: {error}", output.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn boot(options: &Options) -> Result<ExitCode, String> {
    let name = options.image.display();
    let image = Image::parse(read(&options.image)?).map_err(|error| format!("{name}: {error}"))?;
    if image.end() > options.memory {
        return Err(format!(
            "{name} needs more than {} MB of memory: raise --mem",
            options.memory >> 20
        ));
    }
    let mut manifest = image.manifest().to_vec();
    let devices = net::attach(&mut manifest, options)?;
    let code = match image.abi() {
        Abi::Spt => spt::run(&image, &manifest, &devices, options)?,
        Abi::Hvt => hvt::run(&image, &manifest, &devices, options)?,
    };
    Ok(ExitCode::from(code))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}
