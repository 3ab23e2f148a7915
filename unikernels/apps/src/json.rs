//! JSON as the programs print it with `--json`: one object on one line.

use alloc::format;
use alloc::string::String;
use core::fmt::{self, Write as _};

use pollwire_core::Net;

/// An object or array under construction.
#[derive(Debug)]
pub(crate) struct Json {
    text: String,
    close: char,
}

impl Json {
    pub(crate) fn object() -> Self {
        Self {
            text: "{".into(),
            close: '}',
        }
    }

    pub(crate) fn array() -> Self {
        Self {
            text: "[".into(),
            close: ']',
        }
    }

    fn separate(&mut self) {
        if self.text.len() > 1 {
            self.text.push(',');
        }
    }

    /// Adds a member with a value that is JSON already: a number, a truth value,
    /// `null`, or what [`finish`](Self::finish) gave.
    pub(crate) fn raw(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.separate();
        self.text.push_str(&format!("{}:{value}", quoted(name)));
        self
    }

    /// Adds a member with a string.
    pub(crate) fn text(self, name: &str, value: impl fmt::Display) -> Self {
        let value = quoted(&format!("{value}"));
        self.raw(name, value)
    }

    /// Adds a member with a string, or `null`.
    pub(crate) fn maybe(self, name: &str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self.raw(name, "null"),
        }
    }

    /// Adds an element that is JSON already.
    pub(crate) fn item(mut self, value: impl fmt::Display) -> Self {
        self.separate();
        self.text.push_str(&format!("{value}"));
        self
    }

    /// The whole of it.
    pub(crate) fn finish(mut self) -> String {
        self.text.push(self.close);
        self.text
    }
}

/// An array of strings.
pub(crate) fn list(items: impl IntoIterator<Item = impl fmt::Display>) -> String {
    let items = items.into_iter().map(|item| quoted(&format!("{item}")));
    items.fold(Json::array(), Json::item).finish()
}

/// What DHCP gave, or `null`.
pub(crate) fn lease(net: Net<'_>) -> String {
    let now = net.now();
    net.with_stack(|stack| {
        let Some(lease) = stack.dhcp_lease() else {
            return "null".into();
        };
        let left = lease.expires_at.since(now).as_secs();
        Json::object()
            .text("address", lease.address)
            .text("server", lease.server)
            .raw("routers", list(&lease.routers))
            .raw("dns", list(&lease.dns_servers))
            .text("domain", &lease.domain)
            .raw("seconds_left", left)
            .finish()
    })
}

/// `text` as a JSON string (RFC 8259, 7).
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c < ' ' => {
                // Writing to a string does not fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_a_parser_reads() {
        let list = Json::array().item(quoted("a")).item(2).finish();
        let object = Json::object()
            .text("say \"hi\"", "a\\b\n\u{1}\u{e9}")
            .raw("list", list)
            .maybe("none", None::<u8>)
            .finish();
        assert_eq!(
            object,
            "{\"say \\\"hi\\\"\":\"a\\\\b\\n\\u0001\u{e9}\",\"list\":[\"a\",2],\"none\":null}"
        );
        assert_eq!(Json::object().finish(), "{}");
    }
}
