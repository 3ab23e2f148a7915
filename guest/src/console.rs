//! The console, and `log` output on it.

use core::fmt::{self, Write};

use log::{LevelFilter, Log, Metadata, Record};
use pollwire_rings::Clock;

use crate::{GuestClock, platform};

const BUFFER: usize = 512;

/// Collects formatted text and writes it out in as few calls as it fits in; the
/// rest when it drops.
#[derive(Debug)]
pub struct Console {
    buffer: [u8; BUFFER],
    len: usize,
}

impl Console {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            buffer: [0; BUFFER],
            len: 0,
        }
    }

    fn flush(&mut self) {
        let text = self.buffer.get(..self.len).unwrap_or_default();
        if !text.is_empty() {
            platform::write(text);
        }
        self.len = 0;
    }
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for chunk in text.as_bytes().chunks(BUFFER) {
            if self.len + chunk.len() > BUFFER {
                self.flush();
            }
            if let Some(place) = self.buffer.get_mut(self.len..self.len + chunk.len()) {
                place.copy_from_slice(chunk);
                self.len += chunk.len();
            }
        }
        Ok(())
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.flush();
    }
}

/// How much to log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogSettings {
    pub(crate) level: LevelFilter,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            level: LevelFilter::Info,
        }
    }
}

struct Logger;

static LOGGER: Logger = Logger;

pub(crate) fn install_logger(settings: LogSettings) {
    if log::set_logger(&LOGGER).is_ok() {
        log::set_max_level(settings.level);
    }
}

impl Log for Logger {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let micros = GuestClock::new().now().as_micros();
        let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
        crate::println!(
            "[{seconds:5}.{micros:06}] {:5} {}: {}",
            record.level(),
            record.target(),
            record.args()
        );
    }

    fn flush(&self) {}
}
