//! Which names to try for the one that was given.

use alloc::vec::Vec;

use hickory_proto::rr::Name;

use crate::{DnsError, special};

/// The absolute names to try for `text`, in order.
///
/// A name that ends with a dot is tried alone. One with at least `ndots` dots
/// is tried as it is, then below each domain of `search`; one with fewer the
/// other way round.
///
/// # Errors
/// [`DnsError::BadName`] when `text` is no domain name.
pub fn candidates(text: &str, search: &[Name], ndots: u8) -> Result<Vec<Name>, DnsError> {
    let mut name = Name::from_utf8(text).map_err(|_| DnsError::BadName)?;
    if text.is_empty() {
        return Err(DnsError::BadName);
    }
    if name.is_fqdn() {
        return Ok(Vec::from([name]));
    }
    if special::is_special(&name) {
        name.set_fqdn(true);
        return Ok(Vec::from([name]));
    }
    let dots = name.num_labels().saturating_sub(1);
    let below = |domain: &Name| {
        let mut full = name.clone().append_domain(domain).ok()?;
        full.set_fqdn(true);
        Some(full)
    };
    let mut names: Vec<Name> = search.iter().filter_map(below).collect();
    name.set_fqdn(true);
    let place = if dots >= ndots { 0 } else { names.len() };
    names.retain(|other| *other != name);
    names.insert(place.min(names.len()), name);
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};
    use alloc::vec;

    fn tried(text: &str, ndots: u8) -> Vec<String> {
        let search = ["lan.", "corp.example."].map(|name| Name::from_ascii(name).expect("a name"));
        let names = candidates(text, &search, ndots).expect("a name");
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn dots_decide_the_order() {
        assert_eq!(tried("www", 1), ["www.lan.", "www.corp.example.", "www."]);
        assert_eq!(tried("a.b", 1), ["a.b.", "a.b.lan.", "a.b.corp.example."]);
        assert_eq!(tried("a.b", 2), ["a.b.lan.", "a.b.corp.example.", "a.b."]);
        assert_eq!(tried("a.b.", 2), ["a.b."]);
        assert_eq!(tried("Localhost", 2), ["localhost."]);
    }

    #[test]
    fn names_that_would_get_too_long_are_left_out() {
        let long = vec!["a123456789"; 22].join(".");
        assert_eq!(tried(&long, 1).len(), 2);
        for text in ["", "a..b", &"a".repeat(64), &vec!["a"; 200].join(".")] {
            assert_eq!(candidates(text, &[], 1), Err(DnsError::BadName), "{text}");
        }
    }

    #[test]
    fn international_names_are_written_in_ascii() {
        let names = candidates("b\u{fc}cher.example", &[], 1).expect("a name");
        assert_eq!(
            names.first().map(Name::to_ascii).as_deref(),
            Some("xn--bcher-kva.example.")
        );
    }
}
