//! Happy Eyeballs against what goes wrong with real addresses: each case with the
//! time until the connection was there.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use serde_json::Value;

use super::certificate::Certificate;
use super::dns::unbound;
use super::fetch::{fetch, nginx};
use super::host::Host;
use super::iproute::ip;
use super::namespace::{Skip, isolated};
use super::slow::slow_stream;

/// Names for [`unbound`]. 10.0.0.1 serves. Nobody has 2001:db8::9 and 10.0.0.11 to
/// 10.0.0.19; 2001:db8::1 is this machine's; Linux says that it cannot reach
/// 2001:db8:1::/48, and drops what goes to 2001:db8:2::/48.
const NAMES: &str = r#"
    local-zone: "example." static
    local-data: "absent.example. AAAA 2001:db8::9"
    local-data: "absent.example. A 10.0.0.1"
    local-data: "unreachable.example. AAAA 2001:db8:1::1"
    local-data: "unreachable.example. A 10.0.0.1"
    local-data: "hole.example. AAAA 2001:db8:2::1"
    local-data: "hole.example. A 10.0.0.1"
    local-data: "six.example. AAAA 2001:db8::1"
    local-data: "six.example. A 10.0.0.1"
"#;

const SIX: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

/// Linux's side of IPv6, as [`NAMES`] needs it.
fn ipv6() -> Result<(), Skip> {
    for arguments in [
        "-6 address add 2001:db8::1/64 dev tap0 nodad",
        "-6 route add unreachable 2001:db8:1::/48",
        "-6 route add blackhole 2001:db8:2::/48",
    ] {
        ip(arguments).map_err(|why| Skip(format!("no IPv6: {why}")))?;
    }
    let forwarding = "/proc/sys/net/ipv6/conf/all/forwarding";
    std::fs::write(forwarding, "1").map_err(|error| Skip(format!("{forwarding}: {error}")))
}

/// Serves at `port` of 2001:db8::1 what 10.0.0.1 serves at 443, everything `late`.
fn slow_server(port: u16, late: Duration) {
    slow_stream(SocketAddr::new(IpAddr::V6(SIX), port), 443, late);
}

/// Fetches from `url`; gives the winner and the milliseconds from the first
/// attempt to the open TLS session.
fn race(host: &Host, url: &str) -> (String, u64) {
    let arguments = [
        "--ipv6=2001:db8::2/64",
        "--ipv6-gateway=2001:db8::1",
        "--ipv6-no-dad",
        "--insecure",
        "--json",
        url,
    ];
    let (code, text) = fetch(host, &arguments);
    assert_eq!(code, Some(0), "{host} {url}: {text}");
    let told: Value = serde_json::from_str(text.trim()).expect(&text);
    let times = &told["times"];
    let at = |step: &str| times[step].as_u64().expect("a number");
    let millis = (at("secured_us") - at("resolved_us")) / 1000;
    let winner = told["winner"].as_str().expect("a winner").to_owned();
    let tried: Vec<String> = told["attempts"]
        .as_array()
        .expect("attempts")
        .iter()
        .map(|attempt| format!("{} {}", attempt["address"], attempt["outcome"]))
        .collect();
    println!(
        "{host}: {url}: {millis} ms to {winner}: {}",
        tried.join(", ")
    );
    (winner, millis)
}

/// How often a race is run that another won, or that took too long: a busy
/// machine makes races longer, and none shorter.
const TRIES: usize = 5;

/// Fetches from `url` until `winner` wins within `millis`.
fn expect(host: &Host, url: &str, winner: &str, millis: Range<u64>) {
    let mut outcomes = Vec::new();
    for _ in 0..TRIES {
        let (found, took) = race(host, url);
        assert!(
            found != winner || took >= millis.start,
            "{host} {url}: {took} ms"
        );
        if found == winner && took < millis.end {
            return;
        }
        outcomes.push((found, took));
    }
    panic!("{host} {url}: not {winner} within {millis:?} ms: {outcomes:?}");
}

#[test]
fn broken_slow_refused_and_black_holed_ipv6() {
    isolated("races::broken_slow_refused_and_black_holed_ipv6", || {
        ipv6()?;
        let certificate = Certificate::new()?;
        let _names = unbound(NAMES)?;
        let _pages = nginx(&certificate)?;
        slow_server(8443, Duration::from_millis(100));
        slow_server(9443, Duration::from_millis(600));
        for host in Host::all() {
            for (url, winner, least, most) in [
                // Nobody there: the delay between attempts.
                ("https://absent.example/page", "10.0.0.1:443", 250, 800),
                // A router says so: at once.
                ("https://unreachable.example/page", "10.0.0.1:443", 0, 240),
                ("https://hole.example/page", "10.0.0.1:443", 250, 800),
                // Linux refuses: at once.
                ("https://six.example/page", "10.0.0.1:443", 0, 240),
            ] {
                expect(&host, url, winner, least..most);
            }
            // Slow, but not so slow that another is tried and wins.
            let url = "https://six.example:8443/page";
            expect(&host, url, "[2001:db8::1]:8443", 100..800);
            // Too slow: nginx serves at the same port over IPv4.
            let url = "https://six.example:9443/page";
            expect(&host, url, "10.0.0.1:9443", 250..600);
        }
        Ok(())
    });
}

#[test]
fn one_of_ten_addresses_is_alive() {
    isolated("races::one_of_ten_addresses_is_alive", || {
        let certificate = Certificate::new()?;
        let dead =
            (11..=19).map(|last| format!("    local-data: \"ten.example. A 10.0.0.{last}\"\n"));
        let zone = "    local-zone: \"example.\" static\n".to_owned()
            + &dead.collect::<String>()
            + "    local-data: \"ten.example. A 10.0.0.1\"\n";
        let _names = unbound(&zone)?;
        let _pages = nginx(&certificate)?;
        for host in Host::all() {
            // The order is the nameserver's: the worst is nine delays.
            let url = "https://ten.example/page";
            expect(&host, url, "10.0.0.1:443", 0..9 * 250 + 1000);
        }
        Ok(())
    });
}
