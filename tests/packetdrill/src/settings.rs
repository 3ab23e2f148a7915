//! What the stack under test is told by `--so_flags`.

use std::net::Ipv4Addr;

use pollwire::{CongestionControl, Ecn, TcpOptions};

/// Where the time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockMode {
    /// Time stands still while packetdrill works, and jumps where it waits.
    Virtual,
    /// The host's monotonic clock.
    Real,
}

/// The stack under test, before a script asks for anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Options of every connection.
    pub tcp: TcpOptions,
    /// Where the time comes from.
    pub clock: ClockMode,
    /// This host's address; `None` takes the one that the script binds to.
    pub local: Option<Ipv4Addr>,
    /// Longest IP packet, bytes.
    pub mtu: u16,
    /// The link cuts long packets into segments, as Linux's does: packetdrill
    /// sees them whole.
    pub segmentation: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tcp: TcpOptions::DEFAULT,
            clock: ClockMode::Virtual,
            local: None,
            mtu: 1500,
            segmentation: false,
        }
    }
}

impl Settings {
    /// Parses `key=value` pairs, parted by commas. An empty text is the
    /// defaults.
    ///
    /// # Errors
    /// A sentence that names the pair that makes no sense.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut settings = Self::default();
        for pair in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, "on"));
            settings
                .set(key, value)
                .map_err(|why| format!("so_flags: {pair}: {why}"))?;
        }
        Ok(settings)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let handshake = &mut self.tcp.handshake;
        match key {
            "wscale" => handshake.window_scale = Some(number(value, 0, 14)?),
            "mss" => handshake.max_segment = Some(number(value, 88, u16::MAX)?),
            "iw" => handshake.initial_window = Some(number(value, 1, u8::MAX)?),
            "sack" => handshake.sack = switch(value)?,
            "timestamps" => handshake.timestamps = switch(value)?,
            "rcvbuf" => self.tcp.recv_buffer = number(value, 2048, 1 << 30)?,
            "sndbuf" => self.tcp.send_buffer = number(value, 2048, 1 << 30)?,
            "nodelay" => self.tcp.nodelay = switch(value)?,
            "mtu" => self.mtu = number(value, 128, 1900)?,
            "local" => {
                let address = value.parse().map_err(|_| "not an IPv4 address")?;
                self.local = Some(address);
            }
            "clock" => {
                self.clock = match value {
                    "virtual" => ClockMode::Virtual,
                    "real" => ClockMode::Real,
                    _ => return Err("virtual or real".into()),
                }
            }
            "ecn" => {
                handshake.ecn = match value {
                    "on" => Ecn::Request,
                    "accept" => Ecn::Accept,
                    "off" => Ecn::Off,
                    _ => return Err("on, accept or off".into()),
                }
            }
            "cc" => {
                self.tcp.congestion = match value {
                    "cubic" => CongestionControl::Cubic,
                    "newreno" => CongestionControl::NewReno,
                    _ => return Err("cubic or newreno".into()),
                }
            }
            "tso" => self.segmentation = switch(value)?,
            _ => return Err("unknown".into()),
        }
        Ok(())
    }
}

fn switch(value: &str) -> Result<bool, String> {
    match value {
        "on" | "1" => Ok(true),
        "off" | "0" => Ok(false),
        _ => Err("on or off".into()),
    }
}

fn number<T: TryFrom<u64> + PartialOrd + std::fmt::Display + Copy>(
    value: &str,
    least: T,
    most: T,
) -> Result<T, String> {
    value
        .parse::<u64>()
        .ok()
        .and_then(|number| T::try_from(number).ok())
        .filter(|number| *number >= least && *number <= most)
        .ok_or_else(|| format!("a number from {least} to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_parsed() {
        let settings =
            Settings::parse("wscale=8, iw=2,sack=off,local=10.0.0.9,clock=real").unwrap();
        let handshake = settings.tcp.handshake;
        assert_eq!(handshake.window_scale, Some(8));
        assert_eq!(handshake.initial_window, Some(2));
        assert!(!handshake.sack && handshake.timestamps);
        assert_eq!(settings.local, Some(Ipv4Addr::new(10, 0, 0, 9)));
        assert_eq!(settings.clock, ClockMode::Real);
        assert_eq!(Settings::parse("").unwrap(), Settings::default());
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for text in [
            "wscale=15",
            "mss=1",
            "speed=9",
            "sack=maybe",
            "cc=vegas",
            "ecn=2",
        ] {
            let error = Settings::parse(text).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }
}
