//! Secrets for Wireshark, on request.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::{self, Write};

use rustls::KeyLog;

/// Takes lines in the format of NSS's key log.
pub(super) type Sink = Arc<dyn Fn(&str) + Send + Sync>;

pub(super) struct Lines(pub(super) Sink);

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lines")
    }
}

impl KeyLog for Lines {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line = String::from(label);
        for bytes in [client_random, secret] {
            line.push(' ');
            for byte in bytes {
                // Writing to a string does not fail.
                let _infallible = write!(line, "{byte:02x}");
            }
        }
        (self.0)(&line);
    }
}
