//! Nameservers that answer late: real ones, with something between that waits.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use super::dns::{dnsmasq, resolve, unbound};
use super::host::{Host, THEIRS};
use super::namespace::isolated;

/// Serves at `address` what 10.0.0.1 serves at `port` over TCP, everything `late`.
pub(crate) fn slow_stream(address: SocketAddr, port: u16, late: Duration) {
    let listener = TcpListener::bind(address).expect("a port is free");
    thread::spawn(move || {
        for outside in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                thread::sleep(late);
                let Ok(inside) = TcpStream::connect((THEIRS, port)) else {
                    return;
                };
                let pair = [&outside, &inside].map(TcpStream::try_clone);
                let [Ok(mut from), Ok(mut to)] = pair else {
                    return;
                };
                thread::spawn(move || {
                    let _ended = io::copy(&mut from, &mut to);
                    let _closed = to.shutdown(Shutdown::Write);
                });
                let _ended = io::copy(&mut &inside, &mut &outside);
                let _closed = outside.shutdown(Shutdown::Write);
            });
        }
    });
}

/// Gives at `port` the answers that 10.0.0.1 gives to questions over UDP, each
/// `late`.
fn slow_datagrams(port: u16, late: Duration) {
    let outside = UdpSocket::bind((THEIRS, port)).expect("a port is free");
    thread::spawn(move || {
        let mut question = [0; 512];
        loop {
            let (len, asking) = outside.recv_from(&mut question).expect("a question");
            let (question, outside) = (question, outside.try_clone().expect("a descriptor"));
            thread::spawn(move || {
                let inside = UdpSocket::bind((THEIRS, 0)).expect("a port is free");
                inside.connect((THEIRS, 53)).expect("an address");
                inside.send(&question[..len]).expect("sent");
                let mut answer = [0; 2048];
                let len = inside.recv(&mut answer).expect("an answer");
                thread::sleep(late);
                // Who asked may have its answer already, and be gone.
                let _late = outside.send_to(&answer[..len], asking);
            });
        }
    });
}

/// Looks `www.example` up; gives who answered, and after how many milliseconds.
fn look_up(host: &Host, servers: &str) -> (String, u64) {
    let arguments = ["--host=www.example", "--type=A", "--json"];
    let (code, text) = resolve(host, servers, &arguments);
    assert_eq!(code, Some(0), "{host} {servers}: {text}");
    let told: serde_json::Value = serde_json::from_str(text.trim()).expect(&text);
    let lookup = &told["lookups"][0];
    assert_eq!(lookup["records"][0]["data"], "198.51.100.1", "{text}");
    let millis = told["elapsed_us"].as_u64().expect("a number") / 1000;
    let source = lookup["source"].as_str().expect("a source").to_owned();
    println!("{host}: {servers}: {source} after {millis} ms");
    (source, millis)
}

/// The first wait is a second, that for an answer over TCP four. What a slow
/// machine adds is not judged, only who answered, and that it was waited for.
#[test]
fn slow_nameservers() {
    isolated("slow::slow_nameservers", || {
        slow_datagrams(5301, Duration::from_millis(500));
        slow_datagrams(5302, Duration::from_millis(1200));
        slow_stream((THEIRS, 5303).into(), 53, Duration::from_millis(4500));
        for software in ["unbound", "dnsmasq"] {
            let _server = match software {
                "unbound" => unbound(ZONE)?,
                _ => dnsmasq(&[])?,
            };
            for host in Host::all() {
                // Asked twice, and the first answer is taken.
                let (source, millis) = look_up(&host, "udp:10.0.0.1:5302");
                assert_eq!(source, "10.0.0.1:5302", "{host} {software}");
                assert!(millis >= 1200, "{host} {software}: {millis} ms");
            }
        }
        let _server = unbound(ZONE)?;
        for host in Host::all() {
            // Nobody has the first address.
            let (source, millis) = look_up(&host, "udp:10.0.0.9,udp:10.0.0.1:5301");
            assert_eq!(source, "10.0.0.1:5301", "{host}");
            assert!(millis >= 1500, "{host}: {millis} ms");
            // Slower than the first wait, but nobody else answers.
            let (source, millis) = look_up(&host, "udp:10.0.0.1:5302,udp:10.0.0.9");
            assert_eq!(source, "10.0.0.1:5302", "{host}");
            assert!(millis >= 1200, "{host}: {millis} ms");
            // The second server is quicker.
            let (_, millis) = look_up(&host, "udp:10.0.0.1:5302,udp:10.0.0.1");
            assert!(millis >= 1000, "{host}: {millis} ms");
        }
        // Slower than an attempt over TCP.
        let (source, millis) = look_up(&Host::Linux, "tcp:10.0.0.1:5303");
        assert_eq!(source, "10.0.0.1:5303");
        assert!(millis >= 4500, "{millis} ms");
        // What the TAP was told by the one program does not outlive it.
        let (_, millis) = look_up(&Host::bundled_tender(), "udp:10.0.0.1:5301");
        assert!(millis >= 500, "{millis} ms");
        Ok(())
    });
}

const ZONE: &str = r#"
    local-zone: "example." static
    local-data: "www.example. 300 A 198.51.100.1"
"#;
