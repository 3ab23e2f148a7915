//! `cargo xtask demo`: two unikernels on a wire, put to work.
//!
//! Needs no root and no KVM: the images run as ordinary processes under
//! seccomp, and the wire between them is a pair of sockets.

mod guest;
mod page;
mod report;

use std::fs;
use std::time::{Duration, Instant};

use self::guest::Guest;
use self::report::{Record, Report};
use crate::image::{self, Abi};

/// The image that both guests run at first.
const IMAGE: &str = "echo";
/// Those of the last act: server and client.
const PAGE: [&str; 2] = ["services", "fetch"];
/// Longest that the whole work may take, once the images are built.
const DEADLINE: Duration = Duration::from_secs(300);
/// How long the server may take to end by itself after the client has ended.
const GRACE: Duration = Duration::from_secs(5);

const SERVER: [&str; 4] = ["server", "--ipv4=10.0.0.2/24", "--port=9000", "--limit=3"];
const CLIENT: [&str; 3] = ["measure", "--ipv4=10.0.0.1/24", "10.0.0.2:9000"];

/// Runs the demo; true when all data came through intact, and the page as well.
pub(crate) fn run() -> Result<bool, String> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err("the demo runs its images as processes of Linux on x86-64".into());
    }
    let [server, client] = PAGE;
    println!("building the tender and the images {IMAGE}, {server} and {client} ...");
    let tender = image::tender()?;
    image::prepare(&[IMAGE, server, client])?;
    let image = image::build(IMAGE, Abi::Spt)?;
    let pages = [
        image::build(server, Abi::Spt)?,
        image::build(client, Abi::Spt)?,
    ];

    // Paths of sockets must be short, so the wire does not lie in the target directory.
    let directory = std::env::temp_dir().join(format!("pollwire-demo-{}", std::process::id()));
    fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let wire = format!("--net:service=wire:{}", directory.join("wire").display());

    println!("booting two unikernels on a wire ...");
    let result = Guest::boot("server", &tender, &wire, &image, &SERVER).and_then(|server| {
        let client = Guest::boot("client", &tender, &wire, &image, &CLIENT)?;
        work(server, client)
    });
    let page = result.as_ref().ok().map(|_| {
        println!("\nfetching a page over TLS, by a name whose first address is dead ...");
        let page = page::fetch(&tender, &directory, &pages[0], &pages[1])?;
        print!("{}", page.timeline());
        Ok::<_, String>(page)
    });
    // What is left in the temporary directory harms nobody.
    let _left = fs::remove_dir_all(&directory);
    let report = result?;
    println!("\n{}", report.table());
    let mut troubles = report.troubles();
    match page {
        Some(Ok(page)) => troubles.extend(page.troubles()),
        Some(Err(error)) => troubles.push(error),
        None => {}
    }
    for trouble in &troubles {
        println!("demo: {trouble}");
    }
    Ok(troubles.is_empty())
}

/// Follows both guests to their ends.
fn work(mut server: Guest, mut client: Guest) -> Result<Report, String> {
    let start = Instant::now();
    let mut report = Report::default();
    while let Some(line) = client.next_line(DEADLINE.saturating_sub(start.elapsed()))? {
        match Record::parse(&line) {
            Some(record) => {
                if let Some(progress) = report.client(&record, client.age()) {
                    println!("{progress}");
                }
            }
            None => println!("client: {line}"),
        }
    }
    report.ended("client", client.wait(GRACE)?);
    // A client that failed leaves a server that waits for more.
    if let Err(error) = follow_server(&mut server, &mut report) {
        report.trouble(error);
    }
    Ok(report)
}

fn follow_server(server: &mut Guest, report: &mut Report) -> Result<(), String> {
    while let Some(line) = server.next_line(GRACE)? {
        match Record::parse(&line) {
            Some(record) => report.server(&record),
            None => println!("server: {line}"),
        }
    }
    report.ended("server", server.wait(GRACE)?);
    Ok(())
}
