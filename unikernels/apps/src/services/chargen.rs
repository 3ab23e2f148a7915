//! RFC 864: lines of 72 printable characters, each shifted by one, for as long
//! as the peer takes them.

use pollwire_core::{Error, TcpFlow};

const FIRST: u8 = b' ';
/// Printable ASCII characters, the space included.
const PRINTABLE: usize = 95;
const WIDTH: usize = 72;
const LINE: usize = WIDTH + 2;
/// The text repeats after one line for each first character.
const PERIOD: usize = PRINTABLE * LINE;

static TEXT: [u8; PERIOD] = text();

const fn text() -> [u8; PERIOD] {
    let mut text = [0; PERIOD];
    let mut at = 0;
    while at < PERIOD {
        let (line, column) = (at / LINE, at % LINE);
        text[at] = match column {
            WIDTH => b'\r',
            column if column > WIDTH => b'\n',
            #[expect(clippy::cast_possible_truncation, reason = "below 95")]
            column => FIRST + ((line + column) % PRINTABLE) as u8,
        };
        at += 1;
    }
    text
}

pub(super) async fn serve(flow: &TcpFlow<'_>) -> Result<(), Error> {
    let mut at = 0;
    loop {
        let mut frame = flow.alloc_frame().await;
        // One segment's worth; the stack cuts what is longer.
        let room = frame.tailroom().min(1460);
        while frame.len() < room {
            let rest = TEXT.get(at..).unwrap_or_default();
            let part = rest.get(..room - frame.len()).unwrap_or(rest);
            at = (at + frame.extend_from_slice(part)) % PERIOD;
        }
        flow.send(frame).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_the_rfc() {
        let mut lines = TEXT.chunks(LINE);
        let first = lines.next().expect("a line");
        assert!(first.starts_with(b" !\"#$%&'()*+,-./0123456789:;<=>?@ABC"));
        assert!(first.ends_with(b"cdefg\r\n"));
        assert!(lines.next().expect("a line").starts_with(b"!\"#"));
        assert_eq!(lines.count(), PRINTABLE - 2);
        assert!(
            TEXT.iter()
                .all(|&b| b == b'\r' || b == b'\n' || (b' '..=b'~').contains(&b))
        );
    }
}
