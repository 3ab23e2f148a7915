//! Exact instruction counts: the difference of two runs that differ only in how
//! often the work is done.

use std::path::PathBuf;

use crate::process;

/// Callgrind counts each byte that `rep movsb` moves as an instruction; this
/// keeps the C library from using it.
const NO_REP_MOVSB: (&str, &str) = (
    "GLIBC_TUNABLES",
    "glibc.cpu.x86_rep_movsb_threshold=1000000000",
);

/// A work of the bin `workload`, and how often it is done in the two runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    pub(crate) title: &'static str,
    name: &'static str,
    offloads: &'static str,
    over_ipv6: bool,
    /// Units in each repetition: a UDP round is two packets.
    units: u64,
    runs: [u64; 2],
}

impl Work {
    const fn new(
        title: &'static str,
        name: &'static str,
        offloads: &'static str,
        units: u64,
        runs: [u64; 2],
    ) -> Self {
        Self {
            title,
            name,
            offloads,
            over_ipv6: false,
            units,
            runs,
        }
    }

    /// The same over IPv6, which pollwire alone can do here.
    pub(crate) const fn over_ipv6(self) -> Self {
        Self {
            over_ipv6: true,
            ..self
        }
    }

    pub(crate) const BULK: Self = Self::new(
        "bulk, 1460-byte segment, software checksums",
        "bulk",
        "none",
        1,
        [2000, 10_000],
    );
    pub(crate) const BULK_OFFLOADED: Self = Self::new(
        "bulk, 1460-byte segment, checksums offloaded",
        "bulk",
        "checksum",
        1,
        [2000, 10_000],
    );
    pub(crate) const PING_PONG: Self = Self::new(
        "64-byte request and reply, software checksums",
        "ping-pong",
        "none",
        1,
        [200, 1200],
    );
    const PING_PONG_OFFLOADED: Self = Self::new(
        "64-byte request and reply, checksums offloaded",
        "ping-pong",
        "checksum",
        1,
        [200, 1200],
    );
    const UDP_ECHO: Self = Self::new(
        "64-byte UDP echo, per packet, software checksums",
        "udp-echo",
        "none",
        2,
        [200, 1200],
    );
    const CONNECT_CLOSE: Self = Self::new(
        "connect and close, software checksums",
        "connect-close",
        "none",
        1,
        [100, 600],
    );

    /// All that are compared.
    pub(crate) const ALL: [Self; 6] = [
        Self::BULK,
        Self::BULK_OFFLOADED,
        Self::PING_PONG,
        Self::PING_PONG_OFFLOADED,
        Self::UDP_ECHO,
        Self::CONNECT_CLOSE,
    ];
}

/// Counts the work of one program.
#[derive(Debug)]
pub(crate) struct Counter {
    program: PathBuf,
}

impl Counter {
    pub(crate) fn new(program: PathBuf) -> Self {
        Self { program }
    }

    /// Instructions per unit of `work` on `stack` beside `idle` connections,
    /// rounded up.
    pub(crate) fn per_unit(&self, stack: &str, work: &Work, idle: usize) -> Result<u64, String> {
        let [few, many] = work.runs;
        let less = self.total(stack, work, few, idle)?;
        let more = self.total(stack, work, many, idle)?;
        let units = (many - few) * work.units;
        Ok(more.saturating_sub(less).div_ceil(units))
    }

    fn total(&self, stack: &str, work: &Work, count: u64, idle: usize) -> Result<u64, String> {
        let version = if work.over_ipv6 { "6" } else { "" };
        let mut valgrind = process::command("valgrind");
        valgrind
            .env(NO_REP_MOVSB.0, NO_REP_MOVSB.1)
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(&self.program)
            .args([
                stack,
                work.offloads,
                &format!("{}{version}", work.name),
                &count.to_string(),
                &idle.to_string(),
            ]);
        let outcome = process::quiet(&mut valgrind).map_err(|error| error.to_string())?;
        match outcome.lines.iter().find_map(|line| collected(line)) {
            Some(total) if outcome.success => Ok(total),
            _ => Err(format!(
                "{valgrind:?} failed:\n{}",
                outcome.lines.join("\n")
            )),
        }
    }
}

/// The count in callgrind's line `==1== Collected : 123`.
fn collected(line: &str) -> Option<u64> {
    let (_, count) = line.split_once("Collected :")?;
    count.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_callgrinds_total() {
        assert_eq!(collected("==14259== Collected : 7640799"), Some(7_640_799));
        assert_eq!(collected("==14259== I   refs:      7,640,799"), None);
    }
}
