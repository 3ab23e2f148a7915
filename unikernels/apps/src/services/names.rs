//! A small DNS server (UDP 53): the addresses of a few names, given as arguments.
//!
//! It is there for networks that have no other, as a wire between two guests:
//! it recurses for nobody, knows no zones, and answers what it does not know with
//! "no such name".

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

use pollwire_args::{Matches, Opt, Stop};
use pollwire_core::{Error, Net, UdpSocket};

use super::any;

/// Names to answer for.
pub const NAME: Opt = Opt::values(
    "name",
    "NAME=ADDRESS,...",
    "answer DNS questions (UDP 53) for these addresses of NAME; several add up",
);

/// Addresses of one name at most: an answer fits into 512 bytes.
const MAX_ADDRESSES: usize = 8;
/// Bytes of a message's header (RFC 1035, 4.1.1).
const HEADER: usize = 12;
/// How long an answer may be kept, in seconds.
const TTL: u32 = 60;

const A: u16 = 1;
const AAAA: u16 = 28;
const ANY: u16 = 255;

/// A name and its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// In lower case, without a dot at the end.
    name: String,
    addresses: Vec<IpAddr>,
}

/// The text is no name with addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotNamed;

impl fmt::Display for NotNamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a name and 1 to {MAX_ADDRESSES} addresses")
    }
}

impl core::error::Error for NotNamed {}

impl FromStr for Named {
    type Err = NotNamed;

    fn from_str(text: &str) -> Result<Self, NotNamed> {
        let (name, addresses) = text.split_once('=').ok_or(NotNamed)?;
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let labels = name.split('.');
        let fits = name.len() < 254 && labels.map(str::len).all(|len| (1..64).contains(&len));
        let addresses = addresses.split(',').map(str::parse);
        let addresses: Vec<IpAddr> = addresses.collect::<Result<_, _>>().map_err(|_| NotNamed)?;
        if !fits || addresses.len() > MAX_ADDRESSES {
            return Err(NotNamed);
        }
        Ok(Self { name, addresses })
    }
}

/// Reads the names from the arguments.
///
/// # Errors
/// [`Stop::Usage`] when one of them makes no sense.
pub fn from_matches(matches: &Matches<'_>) -> Result<Vec<Named>, Stop> {
    matches.values(&NAME)
}

/// Starts to answer for `names`, if there are any.
///
/// # Errors
/// [`Error::Misuse`] when the port is taken.
pub fn start(net: Net<'_>, names: Vec<Named>) -> Result<(), Error> {
    if names.is_empty() {
        return Ok(());
    }
    let socket = UdpSocket::bind(net, any(53))?;
    net.spawn(async move {
        loop {
            let (query, from) = match socket.recv_frame_from().await {
                Ok(received) => received,
                Err(error) => return log::error!("DNS: {error}"),
            };
            let Some(answer) = answer(&query, &names) else {
                continue;
            };
            drop(query);
            if let Err(error) = socket.send_to(&answer, from).await {
                log::debug!("DNS: {error}");
            }
        }
    })
    .detach();
    Ok(())
}

/// The answer to a query; `None` to what is none (RFC 1035, 4.1).
fn answer(query: &[u8], names: &[Named]) -> Option<Vec<u8>> {
    let header: &[u8; HEADER] = query.first_chunk()?;
    let is_query = header[2] & 0xf8 == 0;
    let one_question = header[4..6] == [0, 1];
    if !is_query || !one_question {
        return None;
    }
    let (name, rest) = question_name(query.get(HEADER..)?)?;
    let (kind, rest) = rest.split_first_chunk()?;
    let (class, rest) = rest.split_first_chunk()?;
    let question = query.get(HEADER..query.len().checked_sub(rest.len())?)?;
    let (kind, class) = (u16::from_be_bytes(*kind), u16::from_be_bytes(*class));

    let known = names
        .iter()
        .filter(|known| known.name == name && class == 1);
    let exists = known.clone().next().is_some();
    let addresses = known.flat_map(|known| &known.addresses);
    let records = addresses.filter(|address| {
        let own = if address.is_ipv4() { A } else { AAAA };
        kind == own || kind == ANY
    });
    let records: Vec<&IpAddr> = records.take(MAX_ADDRESSES).collect();

    let mut answer = Vec::with_capacity(512);
    // QR, AA and RA; RD as it came; "no such name" is code 3.
    let code = if exists { 0 } else { 3 };
    answer.extend([header[0], header[1], 0x84 | header[2] & 1, 0x80 | code]);
    let count = u8::try_from(records.len()).unwrap_or(0);
    answer.extend([0, 1, 0, count, 0, 0, 0, 0]);
    answer.extend(question);
    for address in records {
        // The name is that of the question, at the header's end.
        answer.extend([0xc0, HEADER as u8]);
        let (kind, len) = if address.is_ipv4() {
            (A, 4)
        } else {
            (AAAA, 16)
        };
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1]);
        answer.extend(TTL.to_be_bytes());
        answer.extend([0, len]);
        match address {
            IpAddr::V4(v4) => answer.extend(v4.octets()),
            IpAddr::V6(v6) => answer.extend(v6.octets()),
        }
    }
    Some(answer)
}

/// The name at the beginning of `bytes`, in lower case, and what comes behind it.
/// A question's name is never compressed.
fn question_name(mut bytes: &[u8]) -> Option<(String, &[u8])> {
    let mut name = String::new();
    loop {
        let (len, rest) = bytes.split_first()?;
        if *len == 0 {
            return Some((name, rest));
        }
        let label = rest.get(..usize::from(*len)).filter(|_| *len < 64)?;
        if !name.is_empty() {
            name.push('.');
        }
        name.extend(
            label
                .iter()
                .map(|byte| char::from(byte.to_ascii_lowercase())),
        );
        if name.len() > 254 {
            return None;
        }
        bytes = rest.get(usize::from(*len)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    fn names() -> Vec<Named> {
        let text = ["www.Example.=10.0.0.2,2001:db8::9", "www.example=10.0.0.3"];
        text.iter()
            .map(|text| text.parse().expect("names"))
            .collect()
    }

    fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut query = Vec::from([7, 8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1]);
        for label in name.split('.') {
            query.push(label.len() as u8);
            query.extend(label.as_bytes());
        }
        query.push(0);
        query.extend(kind.to_be_bytes());
        query.extend([0, 1]);
        // EDNS, which is not understood and not answered.
        query.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
        query
    }

    #[test]
    fn questions_are_answered_letter_by_letter() {
        let answer = answer(&query("wWw.eXample", A), &names()).expect("an answer");
        assert_eq!(answer[..12], [7, 8, 0x85, 0x80, 0, 1, 0, 2, 0, 0, 0, 0]);
        assert_eq!(&answer[12..29], b"\x03wWw\x07eXample\0\0\x01\0\x01");
        let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, 2];
        assert_eq!(answer[29..45], record);
        assert_eq!(answer.len(), 29 + 2 * 16);
    }

    #[test]
    fn other_types_and_names_have_nothing() {
        let code = |name, kind| {
            let answer = answer(&query(name, kind), &names()).expect("an answer");
            (answer[3] & 15, answer[7])
        };
        assert_eq!(code("www.example", AAAA), (0, 1));
        assert_eq!(code("www.example", ANY), (0, 3));
        assert_eq!(code("www.example", 65), (0, 0));
        assert_eq!(code("other.example", A), (3, 0));
    }

    #[test]
    fn what_is_no_query_is_not_answered() {
        let good = query("www.example", A);
        for end in 0..good.len() - 11 {
            assert_eq!(answer(&good[..end], &names()), None, "{end}");
        }
        for (at, byte) in [(2, 0x80), (2, 0x08), (5, 2), (12, 0xc0)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(answer(&bad, &names()), None, "{at}");
        }
    }

    #[test]
    fn names_that_make_no_sense_are_refused() {
        let long = format!("{}.example=10.0.0.2", "a".repeat(64));
        for text in [
            "www.example",
            "=10.0.0.2",
            "a..b=10.0.0.2",
            "a=",
            "a=b",
            &long,
        ] {
            assert_eq!(text.parse::<Named>(), Err(NotNamed), "{text}");
        }
    }
}
