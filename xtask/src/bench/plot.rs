//! Small SVG drawings of the comparisons.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::Compared;
use crate::table::grouped;

const POLLWIRE: &str = "#1b6ca8";
const SMOLTCP: &str = "#b0b7bf";
const WIDTH: f64 = 860.0;
/// Where bars begin: right of their titles.
const LEFT: f64 = 330.0;
/// What bars leave for the figure behind them.
const RIGHT: f64 = 90.0;

/// Pairs of bars, one pair per line, each pair on its own scale: its longer bar
/// is full.
pub(super) fn bars(path: &Path, unit: &str, lines: &[Compared]) -> Result<(), String> {
    let mut body = legend();
    let mut y = 60.0;
    for line in lines {
        let most = line.pollwire.max(line.smoltcp).max(1.0);
        text(&mut body, 10.0, y + 18.0, &line.title);
        for (value, colour) in [(line.pollwire, POLLWIRE), (line.smoltcp, SMOLTCP)] {
            let length = value / most * (WIDTH - LEFT - RIGHT);
            let _ = writeln!(
                body,
                r#"<rect x="{LEFT}" y="{y:.0}" width="{length:.1}" height="12" fill="{colour}"/>"#
            );
            text(
                &mut body,
                LEFT + length + 6.0,
                y + 11.0,
                &grouped(value as u64),
            );
            y += 14.0;
        }
        y += 14.0;
    }
    text(
        &mut body,
        10.0,
        y + 8.0,
        &format!("{unit}; shorter is better"),
    );
    save(path, y + 20.0, &body)
}

/// Cost of a round trip over the number of idle connections, both axes
/// logarithmic.
pub(super) fn idle(path: &Path, points: &[(usize, u64, Option<u64>)]) -> Result<(), String> {
    const BOTTOM: f64 = 340.0;
    const TOP: f64 = 50.0;
    const FIRST: f64 = 70.0;
    let counts: Vec<u64> = points
        .iter()
        .flat_map(|(_, a, b)| [Some(*a), *b])
        .flatten()
        .collect();
    let least = (counts.iter().min().copied().unwrap_or(1).max(1) as f64)
        .log10()
        .floor();
    let most = (counts.iter().max().copied().unwrap_or(10) as f64)
        .log10()
        .ceil()
        .max(least + 1.0);
    let widest = (points.iter().map(|point| point.0).max().unwrap_or(10) as f64)
        .log10()
        .max(1.0);
    let x = |idle: usize| FIRST + (idle.max(1) as f64).log10() / widest * (WIDTH - FIRST - 60.0);
    let y = |count: u64| {
        BOTTOM - ((count.max(1) as f64).log10() - least) / (most - least) * (BOTTOM - TOP)
    };
    let mut body = legend();
    for power in (least as u32)..=(most as u32) {
        let value = 10_u64.pow(power);
        let _ = writeln!(
            body,
            r##"<line x1="{FIRST}" x2="{WIDTH}" y1="{0:.1}" y2="{0:.1}" stroke="#ddd"/>"##,
            y(value)
        );
        text(&mut body, 4.0, y(value) + 4.0, &grouped(value));
    }
    for (count, ..) in points {
        text(
            &mut body,
            x(*count) - 8.0,
            BOTTOM + 20.0,
            &grouped(*count as u64),
        );
    }
    let pollwire = points.iter().map(|(idle, count, _)| (*idle, Some(*count)));
    let smoltcp = points.iter().map(|(idle, _, count)| (*idle, *count));
    for (colour, line) in [
        (SMOLTCP, smoltcp.collect::<Vec<_>>()),
        (POLLWIRE, pollwire.collect()),
    ] {
        let path: Vec<String> = line
            .iter()
            .filter_map(|(idle, count)| Some(format!("{:.1},{:.1}", x(*idle), y((*count)?))))
            .collect();
        let _ = writeln!(
            body,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="3"/>"#,
            path.join(" ")
        );
    }
    text(
        &mut body,
        10.0,
        BOTTOM + 42.0,
        "instructions per round trip over idle connections",
    );
    save(path, BOTTOM + 54.0, &body)
}

fn legend() -> String {
    let mut body = String::new();
    for (x, colour, name) in [
        (10.0, POLLWIRE, "pollwire"),
        (110.0, SMOLTCP, "smoltcp 0.14"),
    ] {
        let _ = writeln!(
            body,
            r#"<rect x="{x}" y="14" width="14" height="14" fill="{colour}"/>"#
        );
        text(&mut body, x + 20.0, 26.0, name);
    }
    body
}

fn text(body: &mut String, x: f64, y: f64, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(body, r#"<text x="{x:.1}" y="{y:.1}">{words}</text>"#);
}

fn save(path: &Path, height: f64, body: &str) -> Result<(), String> {
    let svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{body}</svg>\n"
    );
    let wrong = |error| format!("{}: {error}", path.display());
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(wrong)?;
    }
    fs::write(path, svg).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_what_it_is_given() {
        let directory = std::env::temp_dir().join(format!("pollwire-plot-{}", std::process::id()));
        let (bar, line) = (directory.join("bars.svg"), directory.join("idle.svg"));
        let compared = Compared {
            title: "a < b".into(),
            pollwire: 500.0,
            smoltcp: 1000.0,
        };
        bars(&bar, "instructions", &[compared]).unwrap();
        idle(
            &line,
            &[
                (1, 2000, Some(6000)),
                (1000, 2000, Some(700_000)),
                (10_000, 2000, None),
            ],
        )
        .unwrap();
        let drawn = fs::read_to_string(&bar).unwrap();
        assert!(
            drawn.contains("a &lt; b") && drawn.contains("width=\"440.0\""),
            "{drawn}"
        );
        assert!(drawn.contains("width=\"220.0\""), "{drawn}");
        assert_eq!(
            fs::read_to_string(&line)
                .unwrap()
                .matches("<polyline")
                .count(),
            2
        );
        fs::remove_dir_all(&directory).unwrap();
    }
}
