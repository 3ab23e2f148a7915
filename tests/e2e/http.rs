//! HTTP as curl, wrk and we ourselves speak it.

use std::io::{Read, Write};
use std::process::Command;

use super::host::{OURS, connect, patience};

/// Fetches `path` over a connection of its own.
fn get(path: &str) -> String {
    let mut flow = connect(80);
    write!(flow, "GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n").expect("writable");
    let mut answer = String::new();
    flow.read_to_string(&mut answer).expect("an answer");
    answer
}

/// What the program's stack has counted.
pub(crate) struct Counters(Vec<(String, u64)>);

impl Counters {
    pub(crate) fn now() -> Self {
        let page = get("/counters");
        let (head, body) = page.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        let lines = body.lines().filter_map(|line| line.split_once(' '));
        let entry =
            |(name, value): (&str, &str)| (name.to_owned(), value.parse().expect("a number"));
        Self(lines.map(entry).collect())
    }

    /// What stands under `name`: 0 when nothing.
    pub(crate) fn get(&self, name: &str) -> u64 {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map_or(0, |&(_, value)| value)
    }

    /// What has grown since `earlier`, for a message.
    pub(crate) fn since(&self, earlier: &Self) -> String {
        let grown = |(name, value): &(String, u64)| {
            let more = value
                .checked_sub(earlier.get(name))
                .filter(|&more| more > 0)?;
            Some(format!("{name} {more}"))
        };
        self.0
            .iter()
            .filter_map(grown)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// What the program's stack has counted under `name`: 0 when nothing.
pub(crate) fn counter(name: &str) -> u64 {
    Counters::now().get(name)
}

/// Requests one behind the other on one connection, then many at once.
pub(crate) fn keep_alive_and_pipelining() {
    const PIPELINED: usize = 200;
    let mut flow = connect(80);
    let mut page = [0; 4096];
    for _ in 0..3 {
        flow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .expect("writable");
        let count = flow.read(&mut page).expect("an answer");
        let page = String::from_utf8_lossy(&page[..count]);
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
        assert!(page.ends_with("</html>\n"), "{page}");
    }
    let mut requests = "GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(PIPELINED);
    requests += "GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    flow.write_all(requests.as_bytes()).expect("writable");
    let mut answers = String::new();
    flow.read_to_string(&mut answers).expect("answers");
    assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), PIPELINED);
    assert_eq!(answers.matches("</html>\n").count(), PIPELINED);
    assert_eq!(answers.matches("HTTP/1.1 404 Not Found\r\n").count(), 1);
}

/// Runs `program`; its standard output, when it succeeds.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {text}{errors}");
    text
}

/// Three requests of curl, which reuses the first one's connection.
pub(crate) fn curl() {
    let page = format!("http://{OURS}/");
    let counters = format!("{page}counters");
    let missing = format!("{page}missing");
    let each = "\n%{http_code} %{num_connects} %{content_type}\n";
    let limit = patience().as_secs().to_string();
    let curl = |arguments: &[&str]| output("curl", &[&["-sS", "-m", &limit], arguments].concat());
    let text = curl(&["-w", each, &page, &counters, &missing]);
    for part in [
        "<h1>pollwire</h1>",
        "\n200 1 text/html; charset=utf-8\n",
        "frames-in-use ",
        "\n200 0 text/plain; charset=utf-8\n",
        "nothing here\n",
        "\n404 0 text/plain; charset=utf-8\n",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    let head = curl(&["--head", &page]);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let post = curl(&["--data", "x=1", &page]);
    assert_eq!(post, "GET and HEAD only\n");
}

/// Two seconds of wrk with 50 connections: requests per second, and latency.
pub(crate) fn wrk() -> String {
    let page = format!("http://{OURS}/");
    let arguments = [
        "-t1",
        "-c50",
        "-d2s",
        "--timeout",
        "60s",
        "--latency",
        &page,
    ];
    let text = output("wrk", &arguments);
    for trouble in ["Socket errors", "Non-2xx"] {
        assert!(!text.contains(trouble), "{text}");
    }
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key));
        line.unwrap_or_else(|| panic!("no {key} in {text}")).trim()
    };
    let (rate, p50, p99) = (value("Requests/sec:"), value("50%"), value("99%"));
    assert!(!rate.starts_with("0."), "{text}");
    format!("wrk: {rate} requests/s over 50 connections, p50 {p50}, p99 {p99}")
}
