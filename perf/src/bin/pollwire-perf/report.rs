//! What came out, for people and for programs.

use pollwire_perf::Histogram;
use std::fmt;
use std::time::Duration;

/// What one connection did, and in the end what all did.
#[derive(Default)]
pub(crate) struct Tally {
    /// Nanoseconds per operation.
    pub(crate) latency: Box<Histogram>,
    /// Payload bytes that came back and were verified.
    pub(crate) bytes: u64,
    /// Datagrams without a reply in time.
    pub(crate) lost: u64,
    /// Connections that failed, and the first reason.
    pub(crate) failed: u64,
    pub(crate) first_error: Option<String>,
}

impl Tally {
    pub(crate) fn merge(&mut self, other: Tally) {
        self.latency.merge(&other.latency);
        self.bytes += other.bytes;
        self.lost += other.lost;
        self.failed += other.failed;
        if self.first_error.is_none() {
            self.first_error = other.first_error;
        }
    }
}

pub(crate) struct Report {
    pub(crate) command: &'static str,
    pub(crate) connections: usize,
    pub(crate) elapsed: Duration,
    pub(crate) tally: Tally,
}

impl Report {
    pub(crate) fn is_success(&self) -> bool {
        self.tally.failed == 0 && self.tally.latency.count() > 0
    }

    fn per_second(&self, amount: u64) -> f64 {
        amount as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// One line; every value is a number but `command` and `error`.
    pub(crate) fn json(&self) -> String {
        let (tally, latency) = (&self.tally, &self.tally.latency);
        let numbers = [
            ("connections", self.connections as f64),
            ("seconds", self.elapsed.as_secs_f64()),
            ("operations", latency.count() as f64),
            ("operations_per_second", self.per_second(latency.count())),
            ("bytes", tally.bytes as f64),
            ("bytes_per_second", self.per_second(tally.bytes)),
            ("min_ns", latency.min() as f64),
            ("mean_ns", latency.mean() as f64),
            ("p50_ns", latency.quantile(500) as f64),
            ("p99_ns", latency.quantile(990) as f64),
            ("p999_ns", latency.quantile(999) as f64),
            ("max_ns", latency.max() as f64),
            ("lost", tally.lost as f64),
            ("failed", tally.failed as f64),
        ];
        let mut json = format!("{{\"command\":\"{}\"", self.command);
        for (name, value) in numbers {
            json += &format!(",\"{name}\":{value}");
        }
        let error = tally.first_error.as_deref().map_or("null".into(), quote);
        json + ",\"error\":" + &error + "}"
    }
}

/// A JSON string.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c < ' ' => quoted += &format!("\\u{:04x}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tally, latency) = (&self.tally, &self.tally.latency);
        let micros = |ns: u64| ns as f64 / 1000.0;
        writeln!(
            f,
            "{}: {} connections, {:.2} s",
            self.command,
            self.connections,
            self.elapsed.as_secs_f64()
        )?;
        writeln!(
            f,
            "  {} operations, {:.0}/s; {} bytes verified, {:.1} MB/s",
            latency.count(),
            self.per_second(latency.count()),
            tally.bytes,
            self.per_second(tally.bytes) / 1e6
        )?;
        write!(
            f,
            "  latency in us: min {:.1}  p50 {:.1}  p99 {:.1}  p99.9 {:.1}  max {:.1}",
            micros(latency.min()),
            micros(latency.quantile(500)),
            micros(latency.quantile(990)),
            micros(latency.quantile(999)),
            micros(latency.max())
        )?;
        if tally.lost > 0 {
            write!(f, "\n  {} datagrams lost", tally.lost)?;
        }
        if let Some(error) = &tally.first_error {
            write!(f, "\n  {} failed; first: {error}", tally.failed)?;
        }
        Ok(())
    }
}
