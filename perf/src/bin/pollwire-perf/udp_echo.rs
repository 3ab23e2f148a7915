//! `udp-echo`: one datagram in flight per socket.

use crate::options::Options;
use crate::report::Report;
use crate::work;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Instant;

fn open(options: &Options) -> io::Result<UdpSocket> {
    let any: SocketAddr = match options.address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(options.address)?;
    socket.set_read_timeout(Some(options.timeout))?;
    Ok(socket)
}

pub(crate) fn run(options: &Options) -> Report {
    work::run(options, open, |options, socket, seed, mut limit, tally| {
        let mut request = vec![0; options.size];
        let mut reply = vec![0; 65536];
        let mut offset = 0;
        while limit.goes_on() {
            work::fill(&mut request, seed, offset);
            let start = Instant::now();
            socket.send(&request)?;
            match socket.recv(&mut reply) {
                Ok(len) => {
                    tally.latency.record(start.elapsed().as_nanos() as u64);
                    work::verify(&reply[..len], &request, offset)?;
                    tally.bytes += len as u64;
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    tally.lost += 1;
                }
                Err(error) => return Err(error),
            }
            offset += options.size as u64;
        }
        Ok(())
    })
}
