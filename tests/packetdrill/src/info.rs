//! `TCP_INFO` in Linux's layout: bytes and durations become segments and
//! microseconds.

use std::time::Duration;

use pollwire::{LossState, TcpInfo, TcpState};

/// Bits of `tcpi_options`.
const TIMESTAMPS: u8 = 1;
const SACK: u8 = 2;
const WINDOW_SCALE: u8 = 4;
/// Longer than the structure of any kernel yet: callers take what they know.
const SIZE: usize = 512;
/// Linux's slow start threshold while there is none.
const NO_THRESHOLD: u32 = 0x7fff_ffff;

/// Values of a connection, named as in Linux, without `tcpi_`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LinuxInfo {
    pub(crate) state: u8,
    pub(crate) ca_state: u8,
    pub(crate) backoff: u8,
    pub(crate) options: u8,
    pub(crate) snd_wscale: u8,
    pub(crate) rcv_wscale: u8,
    pub(crate) rto: u32,
    pub(crate) snd_mss: u32,
    pub(crate) rcv_mss: u32,
    pub(crate) unacked: u32,
    pub(crate) sacked: u32,
    pub(crate) lost: u32,
    pub(crate) retrans: u32,
    pub(crate) rtt: u32,
    pub(crate) rttvar: u32,
    pub(crate) snd_ssthresh: u32,
    pub(crate) snd_cwnd: u32,
    pub(crate) advmss: u32,
    pub(crate) notsent_bytes: u32,
    pub(crate) snd_wnd: u32,
    pub(crate) rcv_wnd: u32,
}

impl LinuxInfo {
    /// The values of a connection; of a closed or listening socket without one.
    pub(crate) fn new(info: Option<TcpInfo>, listens: bool) -> Self {
        let Some(info) = info else {
            return Self {
                state: if listens { 10 } else { 7 },
                ..Self::default()
            };
        };
        let segments = |bytes: u32| bytes.div_ceil(u32::from(info.send_mss).max(1));
        let micros = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        let bit = |on: bool, bit: u8| if on { bit } else { 0 };
        let (snd_wscale, rcv_wscale) = info.window_scale.unwrap_or_default();
        Self {
            state: state_number(info.state),
            ca_state: match info.loss {
                LossState::Open => 0,
                LossState::Disorder => 1,
                LossState::Recovery => 3,
                LossState::Loss => 4,
            },
            backoff: info.backoff,
            options: bit(info.timestamps, TIMESTAMPS)
                | bit(info.sack, SACK)
                | bit(info.window_scale.is_some(), WINDOW_SCALE),
            snd_wscale,
            rcv_wscale,
            rto: micros(info.rto),
            snd_mss: u32::from(info.send_mss),
            rcv_mss: u32::from(info.recv_mss),
            unacked: segments(info.in_flight),
            sacked: segments(info.sacked),
            lost: segments(info.lost),
            retrans: segments(info.retransmitted),
            rtt: micros(info.srtt),
            rttvar: micros(info.rttvar),
            snd_ssthresh: info.ssthresh.map_or(NO_THRESHOLD, segments),
            snd_cwnd: info.cwnd / u32::from(info.send_mss).max(1),
            advmss: u32::from(info.advertised_mss),
            notsent_bytes: info.unsent,
            snd_wnd: info.send_window,
            rcv_wnd: info.recv_window,
        }
    }

    /// A value by Linux's name, `tcpi_` included.
    pub(crate) fn named(&self, name: &str) -> Option<u32> {
        Some(match name.strip_prefix("tcpi_")? {
            "state" => u32::from(self.state),
            "ca_state" => u32::from(self.ca_state),
            "backoff" => u32::from(self.backoff),
            "options" => u32::from(self.options),
            "snd_wscale" => u32::from(self.snd_wscale),
            "rcv_wscale" => u32::from(self.rcv_wscale),
            "rto" => self.rto,
            "snd_mss" => self.snd_mss,
            "rcv_mss" => self.rcv_mss,
            "unacked" => self.unacked,
            "sacked" => self.sacked,
            "lost" => self.lost,
            "retrans" => self.retrans,
            "rtt" => self.rtt,
            "rttvar" => self.rttvar,
            "snd_ssthresh" => self.snd_ssthresh,
            "snd_cwnd" => self.snd_cwnd,
            "advmss" => self.advmss,
            "notsent_bytes" => self.notsent_bytes,
            "snd_wnd" => self.snd_wnd,
            "rcv_wnd" => self.rcv_wnd,
            _ => return None,
        })
    }
}

/// The bytes of Linux's `struct tcp_info`; what is not known is zero.
pub(crate) fn bytes(info: Option<TcpInfo>, listens: bool) -> Vec<u8> {
    let info = LinuxInfo::new(info, listens);
    let mut out = vec![0; SIZE];
    let mut put = |at: usize, value: u32| {
        if let Some(field) = out.get_mut(at..at + 4) {
            field.copy_from_slice(&value.to_ne_bytes());
        }
    };
    for (at, value) in [
        (8, info.rto),
        (16, info.snd_mss),
        (20, info.rcv_mss),
        (24, info.unacked),
        (28, info.sacked),
        (32, info.lost),
        (36, info.retrans),
        (68, info.rtt),
        (72, info.rttvar),
        (76, info.snd_ssthresh),
        (80, info.snd_cwnd),
        (84, info.advmss),
        (144, info.notsent_bytes),
        (228, info.snd_wnd),
        (232, info.rcv_wnd),
    ] {
        put(at, value);
    }
    let scales = info.snd_wscale | info.rcv_wscale << 4;
    let front = [
        info.state,
        info.ca_state,
        info.backoff,
        0,
        info.backoff,
        info.options,
        scales,
    ];
    if let Some(place) = out.get_mut(..front.len()) {
        place.copy_from_slice(&front);
    }
    out
}

/// Linux's numbers (`TCP_ESTABLISHED` is 1).
fn state_number(state: TcpState) -> u8 {
    match state {
        TcpState::Established => 1,
        TcpState::SynSent => 2,
        TcpState::SynReceived => 3,
        TcpState::FinWait1 => 4,
        TcpState::FinWait2 => 5,
        TcpState::TimeWait => 6,
        TcpState::Closed => 7,
        TcpState::CloseWait => 8,
        TcpState::LastAck => 9,
        TcpState::Closing => 11,
    }
}
