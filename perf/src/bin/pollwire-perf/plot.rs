//! Draws a connection's event log as a time-sequence plot, as tcptrace does.
//!
//! A line of the log: microseconds, kind, flags, bytes, `seq`, `value`; see
//! `TcpEvent` of `pollwire-core`.

use std::fmt::Write;

const WIDTH: f64 = 1000.0;
/// Where the axes stand.
const LEFT: f64 = 80.0;
const RIGHT: f64 = 980.0;
const SEQUENCE: (f64, f64) = (50.0, 470.0);
const WINDOW: (f64, f64) = (520.0, 680.0);
const HEIGHT: f64 = 720.0;

const INK: &str = "#1b3a57";
const SENT: &str = "#1b6ca8";
const AGAIN: &str = "#c0392b";
const ACKED: &str = "#2e8b57";
const OFFERED: &str = "#d9a400";
const THRESHOLD: &str = "#9aa3ab";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sent,
    SentAgain,
    Received,
    Acknowledged,
    Window,
    Timer,
}

#[derive(Clone, Copy, Debug)]
struct Event {
    /// Seconds.
    at: f64,
    kind: Kind,
    len: f64,
    /// From the first byte of the stream on; the SYN stands before it.
    seq: f64,
    value: f64,
}

/// Follows a counter modulo 2^32 past its wraps.
#[derive(Default)]
struct Unwrap(i64);

impl Unwrap {
    fn next(&mut self, raw: u32) -> i64 {
        #[expect(clippy::cast_possible_truncation, reason = "modulo 2^32 is meant")]
        let step = raw.wrapping_sub(self.0 as u32).cast_signed();
        self.0 += i64::from(step);
        self.0
    }
}

fn parse(text: &str) -> Result<Vec<Event>, String> {
    let (mut clock, mut ours, mut theirs) = Default::default();
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|(number, line)| {
            event(line, &mut clock, &mut ours, &mut theirs)
                .ok_or_else(|| format!("line {}: no event: {line}", number + 1))
        })
        .collect()
}

fn event(line: &str, clock: &mut Unwrap, ours: &mut Unwrap, theirs: &mut Unwrap) -> Option<Event> {
    let mut words = line.split_ascii_whitespace();
    let micros = words.next()?.parse().ok()?;
    let kind = match words.next()? {
        "sent" => Kind::Sent,
        "sent-again" => Kind::SentAgain,
        "received" => Kind::Received,
        "acknowledged" => Kind::Acknowledged,
        "window" => Kind::Window,
        "timer" => Kind::Timer,
        _ => return None,
    };
    let mut number = || words.next()?.parse::<u32>().ok();
    let (_flags, len, seq, value) = (number()?, number()?, number()?, number()?);
    let seq = match kind {
        Kind::Window => i64::from(seq),
        Kind::Received => theirs.next(seq),
        _ => ours.next(seq),
    };
    Some(Event {
        at: clock.next(micros) as f64 / 1e6,
        kind,
        len: f64::from(len),
        seq: seq as f64,
        value: f64::from(value),
    })
}

/// One axis: what it shows, and where.
struct Axis {
    from: f64,
    to: f64,
    low: f64,
    high: f64,
}

impl Axis {
    fn at(&self, value: f64) -> f64 {
        let part = (value - self.low) / (self.high - self.low).max(f64::MIN_POSITIVE);
        self.from + part * (self.to - self.from)
    }

    /// A few round values within it.
    fn ticks(&self) -> Vec<f64> {
        let rough = (self.high - self.low) / 6.0;
        if !(rough > 0.0 && rough.is_finite()) {
            return vec![self.low];
        }
        let scale = 10f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * scale);
        let step = steps.into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        let first = (self.low / step).ceil() * step;
        (0..20)
            .map(|index| first + f64::from(index) * step)
            .take_while(|tick| *tick <= self.high)
            .collect()
    }
}

/// The drawing, as SVG.
///
/// # Errors
/// A line that is no event, or a log without any.
pub(crate) fn draw(text: &str, title: &str) -> Result<String, String> {
    let events = parse(text)?;
    let (Some(first), Some(last)) = (events.first(), events.last()) else {
        return Err("the log is empty".into());
    };
    let time = Axis {
        from: LEFT,
        to: RIGHT,
        low: first.at,
        high: last.at.max(first.at + 1e-6),
    };
    let mut out = String::new();
    let _ = writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12" fill="{INK}">"#
    );
    let _ = writeln!(out, r##"<rect width="100%" height="100%" fill="#fff"/>"##);
    label(&mut out, LEFT, 24.0, "start", &escaped(title));
    legend(&mut out);
    sequence(&mut out, &time, &events);
    window(&mut out, &time, &events);
    out.push_str("</svg>\n");
    Ok(out)
}

fn legend(out: &mut String) {
    let marks = [
        (SENT, "sent"),
        (AGAIN, "sent again"),
        (ACKED, "acknowledged"),
        (OFFERED, "offered window"),
    ];
    for (index, (colour, name)) in (0..).zip(marks) {
        let x = 480.0 + 125.0 * f64::from(index);
        let _ = writeln!(
            out,
            r#"<rect x="{x}" y="15" width="10" height="10" fill="{colour}"/>"#
        );
        label(out, x + 15.0, 24.0, "start", name);
    }
}

fn sequence(out: &mut String, time: &Axis, events: &[Event]) {
    let ours = |event: &&Event| {
        matches!(
            event.kind,
            Kind::Sent | Kind::SentAgain | Kind::Acknowledged
        )
    };
    let reach = |event: &Event| match event.kind {
        Kind::Acknowledged => event.seq,
        _ => event.seq + event.len,
    };
    let own = || events.iter().filter(ours);
    let low = own().map(|event| event.seq).fold(f64::INFINITY, f64::min);
    let high = own().map(reach).fold(low + 1.0, f64::max);
    let axis = Axis {
        from: SEQUENCE.1,
        to: SEQUENCE.0,
        low: low.min(high),
        high: high + (high - low) * 0.05,
    };
    frame(out, time, &axis, "sequence number, bytes");
    let (mut acked, mut offered) = (Vec::new(), Vec::new());
    // Above all else: they are few, and what people look for.
    let mut again = String::new();
    for event in events {
        let x = time.at(event.at);
        match event.kind {
            Kind::Sent if event.len > 0.0 => {
                segment(out, x, &axis, event, SENT, 1.6);
            }
            Kind::SentAgain if event.len > 0.0 => {
                segment(&mut again, x, &axis, event, AGAIN, 3.0);
            }
            Kind::Acknowledged => {
                acked.push((x, axis.at(event.seq)));
                let edge = (event.seq + event.value).min(axis.high);
                offered.push((x, axis.at(edge)));
            }
            Kind::Timer => {
                let y = SEQUENCE.1;
                let _ = writeln!(
                    out,
                    r#"<path d="M{x:.2} {y}l-4 7h8z" fill="{AGAIN}"><title>timer</title></path>"#
                );
            }
            _ => {}
        }
    }
    steps(out, &offered, OFFERED);
    steps(out, &acked, ACKED);
    out.push_str(&again);
}

/// A segment as a vertical stroke, long enough to be seen.
fn segment(out: &mut String, x: f64, axis: &Axis, event: &Event, colour: &str, width: f64) {
    let (from, to) = (axis.at(event.seq), axis.at(event.seq + event.len));
    let to = to.min(from - 1.5 * width);
    let _ = writeln!(
        out,
        r#"<path d="M{x:.2} {from:.2}V{to:.2}" stroke="{colour}" stroke-width="{width}"/>"#
    );
}

fn window(out: &mut String, time: &Axis, events: &[Event]) {
    let windows: Vec<(f64, f64)> = events
        .iter()
        .filter(|event| matches!(event.kind, Kind::Sent | Kind::SentAgain | Kind::Window))
        .map(|event| (event.at, event.value))
        .collect();
    let most = windows.iter().map(|&(_, value)| value).fold(1.0, f64::max);
    let axis = Axis {
        from: WINDOW.1,
        to: WINDOW.0,
        low: 0.0,
        high: most * 1.1,
    };
    frame(
        out,
        time,
        &axis,
        "congestion window, bytes; grey: slow start threshold",
    );
    let thresholds: Vec<(f64, f64)> = events
        .iter()
        .filter(|event| event.kind == Kind::Window && event.seq < f64::from(u32::MAX))
        .map(|event| (time.at(event.at), axis.at(event.seq.min(axis.high))))
        .collect();
    steps(out, &thresholds, THRESHOLD);
    let windows: Vec<(f64, f64)> = windows
        .into_iter()
        .map(|(at, value)| (time.at(at), axis.at(value)))
        .collect();
    steps(out, &windows, SENT);
}

/// A panel's frame, ticks and title.
fn frame(out: &mut String, time: &Axis, axis: &Axis, title: &str) {
    let (top, height) = (axis.to, axis.from - axis.to);
    let width = RIGHT - LEFT;
    let _ = writeln!(
        out,
        r##"<rect x="{LEFT}" y="{top}" width="{width}" height="{height}" fill="none" stroke="#c8d0d8"/>"##
    );
    for tick in axis.ticks() {
        let y = axis.at(tick);
        let _ = writeln!(
            out,
            r##"<path d="M{LEFT} {y:.2}H{RIGHT}" stroke="#eef1f4"/>"##
        );
        label(out, LEFT - 6.0, y + 4.0, "end", &short(tick));
    }
    for tick in time.ticks() {
        let x = time.at(tick);
        let text = format!("{} s", (tick * 1e6).round() / 1e6);
        label(out, x, axis.from + 20.0, "middle", &text);
    }
    label(out, LEFT + 6.0, top + 16.0, "start", title);
}

/// A line that stays at a value until the next.
fn steps(out: &mut String, points: &[(f64, f64)], colour: &str) {
    let Some(((x, y), rest)) = points.split_first() else {
        return;
    };
    let mut path = format!("M{x:.2} {y:.2}");
    let mut last = *y;
    for (x, y) in rest {
        if (y - last).abs() > 0.001 {
            let _ = write!(path, "H{x:.2}V{y:.2}");
            last = *y;
        }
    }
    if let Some((x, _)) = rest.last() {
        let _ = write!(path, "H{x:.2}");
    }
    let _ = writeln!(out, r#"<path d="{path}" fill="none" stroke="{colour}"/>"#);
}

fn label(out: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let _ = writeln!(
        out,
        r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#
    );
}

fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{} M", (value / 1e4).round() / 100.0),
        size if size >= 1e3 => format!("{} K", (value / 10.0).round() / 100.0),
        _ => format!("{value}"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
# a comment
0 sent 2 0 4294967295 14600
1000 acknowledged 18 0 0 65535
1100 sent 24 1460 0 14600
1200 sent 24 1460 1460 14600
2000 window 0 1 7300 8760
2500 sent-again 24 1460 0 7300
3000 received 24 10 0 10
4000 timer 0 0 0 1
5000 acknowledged 16 0 2920 65535
";

    #[test]
    fn draws_each_kind() {
        let svg = draw(LOG, "a < b").expect("a log");
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("a &lt; b"));
        // Segments that carry data, and one sent again; the legend has one more
        // of each colour.
        let drawn = |colour: &str| {
            svg.matches(&format!(r#"stroke="{colour}" stroke-width"#))
                .count()
        };
        assert_eq!((drawn(SENT), drawn(AGAIN)), (2, 1));
        assert_eq!(svg.matches("<title>timer</title>").count(), 1);
        for colour in [ACKED, OFFERED, THRESHOLD] {
            assert!(svg.contains(&format!(r#"stroke="{colour}""#)), "{colour}");
        }
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn sequence_numbers_and_time_go_on_past_their_wraps() {
        let mut counter = Unwrap::default();
        assert_eq!(counter.next(u32::MAX), -1);
        assert_eq!(counter.next(5), 5);
        assert_eq!(counter.next(2_000_000_000), 2_000_000_000);
        assert_eq!(counter.next(4_000_000_000), 4_000_000_000);
        assert_eq!(counter.next(100), (1 << 32) + 100);
    }

    #[test]
    fn what_is_no_log_is_refused_by_line() {
        assert_eq!(
            draw("0 sent 0 0 0 0\nrubbish\n", "").unwrap_err(),
            "line 2: no event: rubbish"
        );
        assert_eq!(draw("", "").unwrap_err(), "the log is empty");
        assert!(draw("0 sent 0 0 0", "").is_err());
    }
}
