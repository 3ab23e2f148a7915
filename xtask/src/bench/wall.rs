//! Wall time, by criterion.

use std::fs;
use std::path::Path;

use super::Compared;
use crate::process::{self, cargo, target_dir};
use crate::table;

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

/// Groups that measure a part by itself: whose, or doing what, then among how
/// many or over how many bytes.
const PARTS: [&str; 3] = ["checksum", "flow-lookup", "timer-wheel"];

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

/// What [`measure`] has measured of the parts, as a table.
pub(crate) fn parts() -> Result<String, String> {
    let mut rows = vec![["part", "size", "time"].map(str::to_owned).to_vec()];
    for group in PARTS {
        let directory = target_dir().join("criterion").join(group);
        for what in subdirectories(&directory)? {
            let mut sizes: Vec<(u64, f64)> = Vec::new();
            let directory = directory.join(&what);
            for size in subdirectories(&directory)? {
                if let Ok(number) = size.parse() {
                    sizes.push((number, estimate(&directory.join(&size))?));
                }
            }
            sizes.sort_by_key(|&(size, _)| size);
            for (size, nanos) in sizes {
                let part = format!("{group}, {what}");
                rows.push(vec![part, table::grouped(size), format!("{nanos:.1}")]);
            }
        }
    }
    Ok(table::render(&rows, false))
}

/// Names of the directories in `directory`, in order.
fn subdirectories(directory: &Path) -> Result<Vec<String>, String> {
    let entries =
        fs::read_dir(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().is_dir() && entry.file_name() != "report")
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}

/// Nanoseconds per unit from what criterion wrote into `directory`.
fn median(directory: &Path) -> Result<f64, String> {
    let nanos = estimate(directory)?;
    let units = read(directory, "benchmark.json")?["throughput"]["Elements"].as_f64();
    match units {
        Some(units) if units > 0.0 => Ok(nanos / units),
        _ => Err(format!("{}: no count of criterion's", directory.display())),
    }
}

/// Median of one iteration in nanoseconds.
fn estimate(directory: &Path) -> Result<f64, String> {
    read(directory, "estimates.json")?["median"]["point_estimate"]
        .as_f64()
        .ok_or_else(|| format!("{}: no median of criterion's", directory.display()))
}

fn read(directory: &Path, file: &str) -> Result<serde_json::Value, String> {
    let path = directory.join("new").join(file);
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}
