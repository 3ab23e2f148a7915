//! Wall time, by criterion.

use std::fs;
use std::path::Path;

use super::Compared;
use crate::process::{self, cargo, target_dir};

/// What criterion's groups are called, and what one element of them is.
const GROUPS: [(&str, &str); 4] = [
    ("bulk", "bulk, 1460-byte segment, software checksums"),
    ("ping-pong", "64-byte request and reply, software checksums"),
    (
        "udp-echo",
        "64-byte UDP echo, per packet, software checksums",
    ),
    ("connect-close", "connect and close, software checksums"),
];

/// Runs the wall-time benches; medians in nanoseconds per unit.
pub(crate) fn measure() -> Result<Vec<Compared>, String> {
    let outcome = process::show(&mut cargo("bench --package pollwire-benches --bench wall"))
        .map_err(|error| error.to_string())?;
    if !outcome.success {
        return Err("the wall-time benches failed".into());
    }
    let criterion = target_dir().join("criterion");
    GROUPS
        .iter()
        .map(|(group, title)| {
            Ok(Compared {
                title: (*title).into(),
                pollwire: median(&criterion.join(group).join("pollwire"))?,
                smoltcp: median(&criterion.join(group).join("smoltcp"))?,
            })
        })
        .collect()
}

/// Nanoseconds per unit from what criterion wrote into `directory`.
fn median(directory: &Path) -> Result<f64, String> {
    let read = |file: &str| {
        let path = directory.join("new").join(file);
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        serde_json::from_str::<serde_json::Value>(&text)
            .map_err(|error| format!("{}: {error}", path.display()))
    };
    let nanos = read("estimates.json")?["median"]["point_estimate"].as_f64();
    let units = read("benchmark.json")?["throughput"]["Elements"].as_f64();
    match (nanos, units) {
        (Some(nanos), Some(units)) if units > 0.0 => Ok(nanos / units),
        _ => Err(format!("{}: no median of criterion's", directory.display())),
    }
}
