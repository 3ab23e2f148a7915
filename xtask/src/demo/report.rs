//! What the images say of themselves.
//!
//! An image prints records on its console, one per line, among other lines:
//!
//! ```text
//! @pollwire what=connected
//! @pollwire what=progress phase=bulk done=52428800 total=104857600
//! @pollwire what=echo bytes=1048576 nanos=0 intact=1
//! @pollwire what=ping-pong rounds=100000 p50_ns=9800 p99_ns=14000 p999_ns=21000
//! @pollwire what=bulk bytes=104857600 nanos=410000000 intact=1
//! @pollwire what=counters payload_bytes=209715200 copied_bytes=0 retransmits=0 drop.no-socket=1
//! ```
//!
//! `payload_bytes` are those that the peer acknowledged, so that the sum over
//! both guests counts each byte on the wire once.

use std::collections::BTreeMap;
use std::process::ExitStatus;
use std::time::Duration;

use crate::table;

/// Begins a record's line.
const MARK: &str = "@pollwire ";

/// A record: keys and values.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    what: String,
    values: BTreeMap<String, String>,
}

impl Record {
    /// The record in `line`, if it holds one.
    pub(super) fn parse(line: &str) -> Option<Self> {
        // The console may have put a prefix before it.
        let (_, rest) = line.split_once(MARK)?;
        let mut values: BTreeMap<String, String> = rest
            .split_whitespace()
            .map(|pair| {
                let (key, value) = pair.split_once('=')?;
                Some((key.to_owned(), value.to_owned()))
            })
            .collect::<Option<_>>()?;
        Some(Self {
            what: values.remove("what")?,
            values,
        })
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.values.get(key)?.parse().ok()
    }

    /// The value of `key`, which the record must have.
    fn need(&self, key: &str) -> Result<u64, String> {
        self.number(key)
            .ok_or_else(|| format!("the record {} has no number {key}", self.what))
    }
}

/// All that was said.
#[derive(Debug, Default)]
pub(super) struct Report {
    boot: Option<Duration>,
    echoed: Option<u64>,
    rounds: Option<[u64; 4]>,
    bulk: Option<(u64, u64)>,
    payload: u64,
    copied: u64,
    retransmits: u64,
    counted: [bool; 2],
    drops: BTreeMap<String, u64>,
    wrong: Vec<String>,
}

impl Report {
    /// Takes a record of the client, which began to boot `since` ago; returns
    /// what to show now.
    pub(super) fn client(&mut self, record: &Record, since: Duration) -> Option<String> {
        match self.take(record, 0, since) {
            Ok(shown) => shown,
            Err(error) => {
                self.wrong.push(error);
                None
            }
        }
    }

    /// Takes a record of the server.
    pub(super) fn server(&mut self, record: &Record) {
        if record.what == "counters"
            && let Err(error) = self.take(record, 1, Duration::ZERO)
        {
            self.wrong.push(error);
        }
    }

    fn take(
        &mut self,
        record: &Record,
        guest: usize,
        since: Duration,
    ) -> Result<Option<String>, String> {
        match record.what.as_str() {
            "connected" => {
                self.boot = Some(since);
                let shown = time(nanos(since));
                Ok(Some(format!("first connection {shown} after boot began")))
            }
            "progress" => {
                let (done, total) = (record.need("done")?, record.need("total")?.max(1));
                let phase = record.values.get("phase").map_or("work", String::as_str);
                Ok(Some(format!(
                    "{phase:<10} {:>3} %",
                    done.saturating_mul(100) / total
                )))
            }
            "echo" => {
                self.intact("echo", record)?;
                self.echoed = Some(record.need("bytes")?);
                Ok(Some("echo        all bytes came back, hashes equal".into()))
            }
            "ping-pong" => {
                self.rounds = Some([
                    record.need("rounds")?,
                    record.need("p50_ns")?,
                    record.need("p99_ns")?,
                    record.need("p999_ns")?,
                ]);
                Ok(None)
            }
            "bulk" => {
                self.intact("bulk", record)?;
                self.bulk = Some((record.need("bytes")?, record.need("nanos")?.max(1)));
                Ok(None)
            }
            "counters" => {
                self.payload += record.need("payload_bytes")?;
                self.copied += record.need("copied_bytes")?;
                self.retransmits += record.need("retransmits")?;
                self.counted[guest] = true;
                for key in record.values.keys() {
                    if let Some(name) = key.strip_prefix("drop.") {
                        *self.drops.entry(name.to_owned()).or_default() += record.need(key)?;
                    }
                }
                Ok(None)
            }
            other => Err(format!("there is no record {other:?}")),
        }
    }

    fn intact(&self, phase: &str, record: &Record) -> Result<(), String> {
        if record.need("intact")? == 1 {
            Ok(())
        } else {
            Err(format!(
                "{phase}: the data that came back differs from the data sent"
            ))
        }
    }

    /// Takes a guest's exit status.
    pub(super) fn ended(&mut self, name: &str, status: ExitStatus) {
        if !status.success() {
            self.wrong.push(format!("the {name} ended with {status}"));
        }
    }

    /// Notes what else went wrong.
    pub(super) fn trouble(&mut self, what: String) {
        self.wrong.push(what);
    }

    /// Why this run does not count as a success; empty when it does.
    pub(super) fn troubles(&self) -> Vec<String> {
        let said = [
            ("a connection", self.boot.is_some()),
            ("the echo", self.echoed.is_some()),
            ("the ping-pong", self.rounds.is_some()),
            ("the bulk transfer", self.bulk.is_some()),
            ("the client's counters", self.counted[0]),
            ("the server's counters", self.counted[1]),
        ];
        let silent = said
            .iter()
            .filter(|(_, said)| !said)
            .map(|(what, _)| format!("nothing was heard of {what}"));
        self.wrong.iter().cloned().chain(silent).collect()
    }

    /// The closing table.
    pub(super) fn table(&self) -> String {
        let mut rows = vec![["measured", "value"].map(str::to_owned).to_vec()];
        let mut row = |name: &str, value: Option<String>| {
            rows.push(vec![name.to_owned(), value.unwrap_or_else(|| "-".into())]);
        };
        let boot = self.boot.map(|since| time(nanos(since)));
        row("boot to first connection", boot);
        row(
            "echoed and hashed",
            self.echoed
                .map(|bytes| format!("{} bytes", table::grouped(bytes))),
        );
        row(
            "round trip, 64 bytes, p50",
            self.rounds.map(|rounds| time(rounds[1])),
        );
        row(
            "round trip, 64 bytes, p99",
            self.rounds.map(|rounds| time(rounds[2])),
        );
        row(
            "round trip, 64 bytes, p99.9",
            self.rounds.map(|rounds| time(rounds[3])),
        );
        row(
            "throughput each way, one connection",
            self.bulk.map(|(bytes, nanos)| throughput(bytes, nanos)),
        );
        let copied = self
            .counted
            .contains(&true)
            .then(|| format!("{:.6}", self.copied as f64 / self.payload.max(1) as f64));
        row("copied bytes per payload byte", copied);
        let retransmits = table::grouped(self.retransmits);
        row(
            "segments sent again",
            self.counted[0].then_some(retransmits),
        );
        for (name, count) in &self.drops {
            row(&format!("dropped: {name}"), Some(table::grouped(*count)));
        }
        if self.drops.is_empty() {
            row("dropped", self.counted.contains(&true).then(|| "0".into()));
        }
        let table = table::render(&rows, false);
        format!(
            "{table}\nspt images on a wire of sockets on this machine: MTU 1500, no offloads, a\n\
             system call per frame; boot counts from the start of the tender's process\n"
        )
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds, in a unit that suits them.
fn time(nanos: u64) -> String {
    match nanos {
        0..10_000 => format!("{nanos} ns"),
        10_000..1_000_000 => format!("{:.1} us", nanos as f64 / 1e3),
        _ => format!("{:.1} ms", nanos as f64 / 1e6),
    }
}

fn throughput(bytes: u64, nanos: u64) -> String {
    format!("{:.2} Gbit/s", bytes as f64 * 8.0 / nanos as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
        hello\n\
        @pollwire what=connected\n\
        @pollwire what=progress phase=bulk done=50 total=200\n\
        @pollwire what=echo bytes=1048576 intact=1\n\
        [info] @pollwire what=ping-pong rounds=1000 p50_ns=9800 p99_ns=14000 p999_ns=21000\n\
        @pollwire what=bulk bytes=125000000 nanos=500000000 intact=1\n\
        @pollwire what=counters payload_bytes=1000000 copied_bytes=500 retransmits=1 drop.no-socket=2\n";

    fn report(client: &str) -> Report {
        let mut report = Report::default();
        for record in client.lines().filter_map(Record::parse) {
            report.client(&record, Duration::from_micros(4100));
        }
        let counters = "@pollwire what=counters payload_bytes=0 copied_bytes=0 \
                        retransmits=0 drop.no-socket=1";
        report.server(&Record::parse(counters).unwrap());
        report
    }

    #[test]
    fn a_good_run_has_no_troubles() {
        let report = report(GOOD);
        assert_eq!(report.troubles(), Vec::<String>::new());
        let table = report.table();
        for part in [
            "4.1 ms",
            "1,048,576 bytes",
            "9800 ns",
            "21.0 us",
            "2.00 Gbit/s",
            "0.000500",
        ] {
            assert!(table.contains(part), "{part} in {table}");
        }
        assert!(table.contains("dropped: no-socket"));
    }

    #[test]
    fn spoilt_or_missing_data_is_trouble() {
        let spoilt = GOOD.replace("nanos=500000000 intact=1", "nanos=500000000 intact=0");
        assert_eq!(report(&spoilt).troubles().len(), 2);
        assert_eq!(report("").troubles().len(), 5);
        let odd = GOOD.replace("p99_ns=14000", "p99_ns=fast");
        assert_eq!(report(&odd).troubles().len(), 2);
    }

    #[test]
    fn lines_that_are_no_records_are_left_alone() {
        for line in [
            "",
            "hello",
            "@pollwire",
            "@pollwire what",
            "@pollwire boot_ns=1",
        ] {
            assert_eq!(Record::parse(line), None, "{line:?}");
        }
    }
}
