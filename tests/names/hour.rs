//! An hour of virtual time on a bad network: names asked for over UDP, addresses
//! raced, pages fetched over TLS, again and again, by several clients at once.
//! Nothing may be left of it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use pollwire::dns::{Counter as DnsCounter, Resolver};
use pollwire::he::{HappyEyeballs, Report};
use pollwire::rings::memory::Impairments;
use pollwire::{Counter, Instant, Net};
use pollwire_tls::{ClientConfig, Roots, TlsFlow};

use super::random::Random;
use super::world::{CERTIFICATE, World, cell, devices, serve};

const HOUR: Duration = Duration::from_secs(3600);
/// Clients at once.
const CLIENTS: u64 = 4;
/// The longest that one of them rests between two pages.
const REST_MS: u64 = 10_000;

/// The page's name: nobody has the first address of either family.
const NAME: &str = "unikernel.test=2001:db8::9,2001:db8::2,10.0.0.9,10.0.0.2";
const ALIVE: [&str; 2] = ["[2001:db8::2]:443", "10.0.0.2:443"];

/// What the clients have seen.
#[derive(Debug, Default)]
struct Seen {
    pages: u32,
    failures: u32,
    attempts: usize,
    resumed: u32,
}

/// A page over TLS, and how it was connected.
async fn page(
    eyes: &HappyEyeballs<'_>,
    config: &ClientConfig,
) -> Result<(Report, bool), Box<dyn std::error::Error>> {
    let connected = eyes.connect_https("unikernel.test", 443, config).await?;
    let flow: TlsFlow<'_> = connected.flow;
    let request = b"GET / HTTP/1.1\r\nHost: unikernel.test\r\nConnection: close\r\n\r\n";
    flow.write_all(request).await?;
    let mut answer = Vec::new();
    while let Some(data) = flow.recv().await? {
        answer.extend_from_slice(&data);
    }
    let resumed = flow.info().resumed;
    flow.close().await?;
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    assert!(answer.ends_with(b"</html>\n"), "the page is whole");
    Ok((connected.report, resumed))
}

/// One client: pages and rests, for an hour.
async fn browse(
    net: Net<'_>,
    eyes: Rc<HappyEyeballs<'_>>,
    config: ClientConfig,
    seed: u64,
    seen: Rc<RefCell<Seen>>,
) {
    let mut random = Random::new(seed);
    while net.now() < Instant::ZERO + HOUR {
        match page(&eyes, &config).await {
            Ok((report, resumed)) => {
                let mut seen = seen.borrow_mut();
                seen.pages += 1;
                seen.attempts += report.attempts.len();
                seen.resumed += u32::from(resumed);
                let winner = report.winner().map(|won| won.address.to_string());
                let winner = winner.unwrap_or_default();
                assert!(ALIVE.contains(&&*winner), "{report}");
            }
            Err(_) => seen.borrow_mut().failures += 1,
        }
        let rest = random.next_u64() % REST_MS;
        net.sleep(Duration::from_millis(rest)).await;
    }
}

#[test]
fn an_hour_of_names_races_and_tls_on_a_bad_network_leaves_nothing() {
    const SEED: u64 = 0x0d15_ea5e;
    println!("seed {SEED:#x}");
    let impairments = Impairments {
        delay: Duration::from_millis(5),
        jitter: Duration::from_millis(1),
        loss: 0.05,
        duplicate: 0.02,
        reorder: 0.05,
        reorder_by: Duration::from_millis(3),
        corrupt: 0.01,
        ..Impairments::NONE
    };
    let devices = devices(impairments, SEED);
    let cells = (cell(1, &devices.0), cell(2, &devices.1));
    let mut world = World::new(&cells, devices);
    let (net, far) = (world.client.net(), world.server.net());
    let clock = serve(far, NAME);
    let serving = far.task_count();

    let resolver = Resolver::new(
        net,
        pollwire::dns::Config::new(["10.0.0.2".parse().expect("a nameserver")]),
    );
    let roots = Roots::empty().with_pem(CERTIFICATE).expect("fine");
    let config = ClientConfig::builder(clock).roots(roots).build();
    let config = config.expect("fine");
    let seen = Rc::new(RefCell::new(Seen::default()));
    let eyes = Rc::new(HappyEyeballs::new(resolver.clone()));
    let browsing: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (eyes, config) = (eyes.clone(), config.clone());
            net.spawn(browse(net, eyes, config, SEED ^ number, seen.clone()))
        })
        .collect();
    world.run_until(Instant::ZERO + HOUR + Duration::from_secs(60));
    drop(eyes);
    for mut client in browsing {
        client.try_take().expect("every client has ended");
    }

    let asked = resolver.counters();
    let lost = net.with_stack(|stack| stack.counters().get(Counter::TcpRetransmits));
    let seen = seen.borrow();
    println!("{seen:?}, {lost} segments sent again");
    println!("{asked:?}");
    assert!(seen.pages > 2000, "{seen:?}");
    // Five in a hundred packets are lost; no page may be, but for the rare
    // connection whose handshake takes longer than all attempts may.
    assert!(seen.failures * 500 < seen.pages, "{seen:?}");
    assert!(seen.attempts > seen.pages as usize, "nothing was raced");
    assert!(seen.resumed > seen.pages / 2, "sessions are not resumed");
    assert!(lost > 100, "the network was not bad");
    assert!(asked.get(DnsCounter::UdpQueries) > 1000, "{asked:?}");
    assert!(asked.get(DnsCounter::TimedOut) > 0, "{asked:?}");
    drop(resolver);

    world.check_empty();
    assert_eq!(far.task_count(), serving, "tasks of connections are left");
}
