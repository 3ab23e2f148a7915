//! Data over TLS connections: copies, losses, half-closes, ends.

mod common;

use std::time::Duration;

use common::pki::Authority;
use common::*;
use embedded_io_async::ReadExactError;
use pollwire_core::{ConnError, Error, Net, Shutdown, TcpFlow, join};
use pollwire_rings::Caps;
use pollwire_rings::memory::Impairments;
use pollwire_tls::{ClientConfig, ServerConfig, TlsError, TlsFlow, Versions};

const NAME: &str = "server.test";

fn configs(versions: Versions) -> (ClientConfig, ServerConfig) {
    let authority = Authority::new("test");
    let identity = authority.server(NAME);
    let client = ClientConfig::builder(clock())
        .roots(authority.roots())
        .versions(versions);
    let server = ServerConfig::builder(clock()).identity(identity.chain(), identity.key());
    (client.build().expect("fine"), server.build().expect("fine"))
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at * 7 % 251) as u8).collect()
}

/// Runs both sides over an open TLS connection, to the end.
fn run<'n, S, C, SF, CF, T, U>(
    hosts: &'n mut Hosts<'n>,
    versions: Versions,
    serve: S,
    ask: C,
) -> (Result<T, TlsError>, Result<U, TlsError>)
where
    S: FnOnce(TlsFlow<'n>) -> SF + 'n,
    C: FnOnce(TlsFlow<'n>) -> CF + 'n,
    SF: Future<Output = Result<T, TlsError>> + 'n,
    CF: Future<Output = Result<U, TlsError>> + 'n,
    T: 'n,
    U: 'n,
{
    let devices = hosts.take_devices();
    let mut world = World::new(hosts, devices);
    let (there, here) = world.nets();
    let (client, server) = configs(versions);
    let listener = listen(there);
    let serving = there.spawn(async move { serve(accept(&listener, &server).await?).await });
    let asking = here.spawn(async move { ask(connect(here, &client, NAME).await?).await });
    let asked = world.finish(asking);
    let served = world.finish(serving);
    world.check_empty();
    (served, asked)
}

fn both(test: impl Fn(Versions)) {
    for versions in [Versions::Tls13, Versions::Tls12] {
        test(versions);
    }
}

/// Bytes that a host copies while `work` runs.
async fn counting<T>(net: Net<'_>, work: impl Future<Output = T>) -> (T, u64) {
    let before = copied(net);
    (work.await, copied(net) - before)
}

#[test]
fn frames_are_echoed_without_a_copy() {
    both(|versions| {
        let mut hosts = Hosts::new();
        let (served, asked) = run(
            &mut hosts,
            versions,
            |flow| async move {
                let net = flow.net();
                let (result, copied) = counting(net, echo(flow)).await;
                result.map(|()| copied)
            },
            |flow| async move {
                let net = flow.net();
                let work = async {
                    for round in 0..100_u8 {
                        let mut frame = flow.alloc_frame().await;
                        frame.extend_from_slice(&[round; 900]);
                        flow.send(frame).await?;
                        let back = flow.recv().await?.expect("an echo");
                        assert_eq!(back[..], [round; 900]);
                        assert!(back.into_frame().is_ok(), "in its frame");
                    }
                    flow.shutdown(Shutdown::Write).await?;
                    assert!(flow.recv().await?.is_none());
                    Ok(())
                };
                let (result, copied) = counting(net, work).await;
                result.map(|()| copied)
            },
        );
        let (served, asked) = (served.expect("works"), asked.expect("works"));
        // Closing alerts are written as bytes; tickets and alerts of a few bytes
        // are received by copy.
        assert!(served < 400 && asked < 400, "{served} {asked}");
    });
}

#[test]
fn bulk_in_full_frames_costs_no_copy() {
    const FRAMES: usize = 500;
    both(|versions| {
        let mut hosts = Hosts::new();
        let (served, asked) = run(
            &mut hosts,
            versions,
            |flow| async move {
                let net = flow.net();
                let work = async {
                    let mut count = 0;
                    while let Some(data) = flow.recv().await? {
                        count += data.len();
                    }
                    flow.close().await?;
                    Ok(count)
                };
                let (count, copied) = counting(net, work).await;
                assert!(copied < 400, "{copied} bytes copied");
                count
            },
            |flow| async move {
                let (net, mss) = (flow.net(), flow.mss()?);
                let work = async {
                    for _ in 0..FRAMES {
                        let mut frame = flow.alloc_frame().await;
                        assert!(frame.set_len(mss));
                        flow.send(frame).await?;
                    }
                    flow.close().await?;
                    Ok(FRAMES * mss)
                };
                let (count, copied) = counting(net, work).await;
                assert!(copied < 400, "{copied} bytes copied");
                count
            },
        );
        assert_eq!(served, asked);
        assert!(served.is_ok());
    });
}

/// Moves 2 MiB by `write_all` and `recv`, over devices that `change` says of what
/// they can. Gives the largest record, and how many bytes the writer and the reader
/// copied for each 100 of data. The writer holds `held` large frames meanwhile.
fn bulk(versions: Versions, change: impl Fn(&mut Caps), held: usize) -> (usize, [u64; 2]) {
    const LENGTH: usize = 2 << 20;
    let mut hosts = Hosts::with(change);
    let (served, asked) = run(
        &mut hosts,
        versions,
        |flow| async move {
            let net = flow.net();
            let work = async {
                let (mut all, mut largest) = (Vec::new(), 0);
                while let Some(data) = flow.recv().await? {
                    largest = largest.max(data.len());
                    all.extend_from_slice(&data);
                }
                flow.close().await?;
                assert!(all == bytes(LENGTH), "what came is not what was sent");
                Ok(largest)
            };
            let (largest, copied) = counting(net, work).await;
            largest.map(|largest| (largest, copied))
        },
        |flow| async move {
            let net = flow.net();
            let held: Vec<_> = (0..held)
                .map_while(|_| net.with_stack(|stack| stack.alloc_large()))
                .collect();
            let data = bytes(LENGTH);
            let work = async {
                flow.write_all(&data).await?;
                flow.close().await
            };
            let (done, copied) = counting(net, work).await;
            drop(held);
            done.map(|()| copied)
        },
    );
    let ((largest, read), written) = (served.expect("works"), asked.expect("works"));
    let per_hundred = |copied: u64| copied.div_ceil(LENGTH as u64 / 100);
    (largest, [per_hundred(written), per_hundred(read)])
}

/// One copy per byte on each side: into the record, which is sealed there and cut
/// into segments there, and out of the frames. The rest is what TLS itself says.
#[test]
fn bulk_in_large_records_costs_one_copy_on_each_side() {
    both(|versions| {
        for segments in [false, true] {
            let change = |caps: &mut Caps| {
                caps.tx_checksum = segments;
                caps.tso4 = segments;
            };
            let (largest, [written, read]) = bulk(versions, change, 0);
            assert!((15_000..=16_384).contains(&largest), "{largest}");
            assert!(written <= 101 && read <= 101, "{written} {read}");
        }
    });
}

/// Where the device would copy what does not lie in one piece, or no large frame
/// is left, records are copied into frames of their own segments.
#[test]
fn bulk_costs_one_copy_more_where_packets_must_lie_in_one_piece() {
    both(|versions| {
        let joins = |caps: &mut Caps| caps.gathers = false;
        for (largest, [written, read]) in
            [bulk(versions, joins, 0), bulk(versions, |_| {}, usize::MAX)]
        {
            assert_eq!(largest, 16_384, "records grow in bulk");
            assert!((150..=202).contains(&written), "{written}");
            assert!(read <= 101, "{read}");
        }
    });
}

/// What was gathered is sealed where it lies: one copy in, one out. In TLS 1.2
/// that is so for ChaCha20-Poly1305 only: rustls moves what it opens with AES-GCM
/// over the nonce before it, where the next nonce would have to stand.
#[test]
fn large_records_are_echoed_with_one_copy_each_way() {
    const LENGTH: usize = 2 << 20;
    both(|versions| {
        let most = if versions == Versions::Tls13 {
            204
        } else {
            306
        };
        let mut hosts = Hosts::new();
        let (served, asked) = run(
            &mut hosts,
            versions,
            |flow| async move {
                let net = flow.net();
                let (result, copied) = counting(net, echo(flow)).await;
                assert!(copied <= LENGTH as u64 * most / 100, "{copied} copied");
                result
            },
            |flow| async move {
                let data = bytes(LENGTH);
                let write = async {
                    flow.write_all(&data).await?;
                    flow.shutdown(Shutdown::Write).await
                };
                let (written, back) = join(write, read_all(&flow)).await;
                written?;
                back.map(|back| back == data)
            },
        );
        assert_eq!(served, Ok(()));
        assert_eq!(asked, Ok(true));
    });
}

#[test]
fn records_are_one_segment_at_the_start_and_after_idle() {
    let mut hosts = Hosts::new();
    let (served, asked) = run(
        &mut hosts,
        Versions::Both,
        |flow| async move {
            let mut sizes = Vec::new();
            while let Some(data) = flow.recv().await? {
                sizes.push(data.len());
            }
            flow.close().await?;
            Ok(sizes)
        },
        |flow| async move {
            let mss = flow.mss()?;
            flow.write_all(&bytes(200_000)).await?;
            flow.net().sleep(Duration::from_secs(2)).await;
            flow.write_all(&bytes(10_000)).await?;
            flow.close().await?;
            Ok(mss)
        },
    );
    let (sizes, mss) = (served.expect("works"), asked.expect("works"));
    assert!(sizes[..40].iter().all(|&size| size == mss), "{sizes:?}");
    assert!(sizes.iter().any(|size| *size > 15_000), "{sizes:?}");
    let last = &sizes[sizes.len() - 7..];
    assert!(last[..6].iter().all(|&size| size == mss), "{last:?}");
}

/// Sends and receives at the same time.
async fn exchange(mut flow: TlsFlow<'_>) -> Result<bool, TlsError> {
    let data = bytes(500_000);
    let (mut reader, mut writer) = flow.split();
    let sending = async {
        writer.write_all(&data).await?;
        writer.shutdown().await
    };
    let receiving = async {
        let (mut all, mut buffer) = (Vec::new(), [0; 3000]);
        loop {
            match reader.read(&mut buffer).await? {
                0 => return Ok::<_, TlsError>(all),
                count => all.extend_from_slice(&buffer[..count]),
            }
        }
    };
    let (sent, received) = join(sending, receiving).await;
    sent?;
    flow.close().await?;
    Ok(received? == data)
}

#[test]
fn data_goes_both_ways_at_once() {
    both(|versions| {
        let mut hosts = Hosts::new();
        let (served, asked) = run(&mut hosts, versions, exchange, exchange);
        assert_eq!((served, asked), (Ok(true), Ok(true)));
    });
}

#[test]
fn losses_reorderings_and_duplicates_change_nothing() {
    both(|versions| {
        let impairments = Impairments {
            loss: 0.03,
            duplicate: 0.01,
            reorder: 0.03,
            reorder_by: Duration::from_millis(2),
            delay: Duration::from_millis(5),
            ..Impairments::NONE
        };
        let mut hosts = Hosts::impaired(impairments);
        let (served, asked) = run(
            &mut hosts,
            versions,
            |flow| async move {
                let all = read_all(&flow).await?;
                flow.write_all(&all).await?;
                flow.close().await
            },
            |flow| async move {
                flow.write_all(&bytes(300_000)).await?;
                flow.shutdown(Shutdown::Write).await?;
                let all = read_all(&flow).await?;
                flow.close().await?;
                Ok(all == bytes(300_000))
            },
        );
        assert_eq!((served, asked), (Ok(()), Ok(true)));
    });
}

#[test]
fn rfc8446_6_1_an_end_without_close_notify_is_truncation() {
    both(|versions| {
        let mut hosts = Hosts::new();
        let (served, asked) = run(
            &mut hosts,
            versions,
            |flow| async move {
                flow.write_all(b"the beginning").await?;
                flow.flush().await?;
                // As somebody in between would do it.
                flow.tcp().shutdown(Shutdown::Write)?;
                read_all(&flow).await
            },
            |flow| async move {
                let data = flow.recv().await?.expect("data");
                assert_eq!(&data[..], b"the beginning");
                assert_eq!(flow.recv().await.err(), Some(TlsError::Truncated));
                assert_eq!(flow.try_recv().err(), Some(TlsError::Truncated));
                flow.close().await
            },
        );
        assert_eq!((served, asked), (Ok(Vec::new()), Ok(())));
    });
}

#[test]
fn a_reset_is_seen_as_one() {
    let mut hosts = Hosts::new();
    let (served, asked) = run(
        &mut hosts,
        Versions::Both,
        |flow| async move {
            flow.abort();
            Ok(())
        },
        |flow| async move { read_all(&flow).await },
    );
    assert_eq!(served, Ok(()));
    let reset = Err(TlsError::Net(Error::Conn(ConnError::Reset)));
    assert_eq!(asked, reset);
}

#[test]
fn a_dropped_connection_says_close_notify() {
    both(|versions| {
        let mut hosts = Hosts::new();
        let (served, asked) = run(
            &mut hosts,
            versions,
            |flow| async move { flow.write_all(b"last words").await },
            |flow| async move { read_all(&flow).await },
        );
        assert_eq!((served, asked), (Ok(()), Ok(b"last words".to_vec())));
    });
}

#[test]
fn a_half_closed_connection_goes_on_in_the_other_direction() {
    both(|versions| {
        let mut hosts = Hosts::new();
        let (served, asked) = run(
            &mut hosts,
            versions,
            |flow| async move {
                flow.shutdown(Shutdown::Write).await?;
                let closed = Err(TlsError::Net(Error::Conn(ConnError::Closed)));
                assert_eq!(flow.write(b"more").await, closed);
                read_all(&flow).await
            },
            |flow| async move {
                assert!(flow.recv().await?.is_none());
                assert!(flow.recv().await?.is_none(), "and it stays so");
                flow.write_all(&bytes(50_000)).await?;
                flow.close().await
            },
        );
        assert!(served.expect("works") == bytes(50_000));
        assert_eq!(asked, Ok(()));
    });
}

#[test]
fn a_cancelled_read_loses_no_data() {
    let mut hosts = Hosts::new();
    let (served, asked) = run(
        &mut hosts,
        Versions::Both,
        |flow| async move {
            for _ in 0..10 {
                flow.net().sleep(Duration::from_millis(7)).await;
                flow.write_all(b"tick").await?;
            }
            flow.close().await
        },
        |flow| async move {
            let (mut got, mut cancelled, mut buffer) = (Vec::new(), 0, [0; 3]);
            loop {
                let read = flow.read(&mut buffer);
                match flow.net().timeout(Duration::from_millis(2), read).await {
                    Err(_) => cancelled += 1,
                    Ok(Ok(0)) => return Ok((got, cancelled)),
                    Ok(count) => got.extend_from_slice(&buffer[..count?]),
                }
            }
        },
    );
    assert_eq!(served, Ok(()));
    let (got, cancelled) = asked.expect("works");
    assert_eq!(got, b"tick".repeat(10));
    assert!(cancelled >= 20, "{cancelled}");
}

#[test]
fn keys_change_while_data_flows() {
    let mut hosts = Hosts::new();
    let (served, asked) = run(
        &mut hosts,
        Versions::Tls13,
        |flow| async move { echo(flow).await },
        |flow| async move {
            for round in 0..50_u8 {
                flow.update_key()?;
                flow.write_all(&[round; 5000]).await?;
                let mut back = [0; 5000];
                flow.read_exact(&mut back)
                    .await
                    .map_err(|error| match error {
                        ReadExactError::UnexpectedEof => TlsError::Truncated,
                        ReadExactError::Other(error) => error,
                    })?;
                assert_eq!(back, [round; 5000]);
            }
            flow.close().await
        },
    );
    assert_eq!((served, asked), (Ok(()), Ok(())));
}

#[test]
fn a_cancelled_handshake_leaves_nothing() {
    let mut hosts = Hosts::new();
    let devices = hosts.take_devices();
    let mut world = World::new(&hosts, devices);
    let (there, here) = world.nets();
    let (client, _) = configs(Versions::Both);
    let listener = listen(there);
    let silent = there.spawn(async move {
        let tcp = listener.accept().await?;
        while tcp.recv().await?.is_some() {}
        Ok::<_, Error>(())
    });
    let asking = here.spawn(async move {
        let attempt = connect(here, &client, NAME);
        here.timeout(Duration::from_secs(3), attempt).await.is_err()
    });
    assert!(world.finish(asking), "timed out");
    assert_eq!(world.finish(silent), Ok(()));
    world.check_empty();
}

#[test]
fn a_hundred_connections_at_once() {
    let mut hosts = Hosts::new();
    let devices = hosts.take_devices();
    let mut world = World::new(&hosts, devices);
    let (there, here) = world.nets();
    let (client, server) = configs(Versions::Both);
    let listener = listen(there);
    there
        .spawn(async move {
            for _ in 0..100 {
                let (tcp, server) = (listener.accept().await?, server.clone());
                let serving = async move { echo(TlsFlow::accept(tcp, &server).await?).await };
                there.spawn(serving).detach();
            }
            Ok::<_, Error>(())
        })
        .detach();
    let clients: Vec<_> = (0..100_u8)
        .map(|number| {
            let client = client.clone();
            here.spawn(async move {
                let flow = connect(here, &client, NAME).await?;
                flow.write_all(&[number; 3000]).await?;
                flow.shutdown(Shutdown::Write).await?;
                let back = read_all(&flow).await?;
                flow.close().await?;
                Ok::<_, TlsError>(back == [number; 3000])
            })
        })
        .collect();
    for client in clients {
        assert_eq!(world.finish(client), Ok(true));
    }
    world.check_empty();
}

#[test]
fn plain_bytes_on_a_tls_port_end_in_an_alert() {
    let mut hosts = Hosts::new();
    let devices = hosts.take_devices();
    let mut world = World::new(&hosts, devices);
    let (there, here) = world.nets();
    let (_, server) = configs(Versions::Both);
    let listener = listen(there);
    let serving = there.spawn(async move { accept(&listener, &server).await.err() });
    let asking = here.spawn(async move {
        let tcp = TcpFlow::connect(here, (SERVER, PORT).into()).await?;
        tcp.write_all(&[22, 3, 1, 0, 5, 1, 0, 0, 1, 0]).await?;
        let mut alert = [0; 7];
        tcp.read_exact(&mut alert)
            .await
            .map(|()| alert)
            .map_err(|_| ConnError::Closed.into())
    });
    let alert: Result<_, Error> = world.finish(asking);
    assert_eq!(alert.map(|alert| alert[0]), Ok(21));
    assert!(world.finish(serving).is_some());
    world.check_empty();
}
