//! Connections that begin and end, well and badly, and operations cancelled
//! half-way.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::time::Duration;

use super::world::{NOBODY, RIGHT, World, at, hosts, ms};
use crate::{
    ConnError, Error, ListenOptions, Misuse, Net, Shutdown, TcpFlow, TcpListener, TcpOptions,
    TimedOut,
};

fn listen(net: Net<'_>) -> TcpListener<'_> {
    TcpListener::bind(net, at(RIGHT, 7)).expect("free")
}

#[test]
fn nobody_listening_refuses() {
    let (hosts, left, right) = hosts();
    let mut world = World::new(&hosts, left, right);
    let (here, _) = world.nets();
    let client = here.spawn(async move { TcpFlow::connect(here, at(RIGHT, 9)).await.err() });
    let refused = Some(Error::Conn(ConnError::Refused));
    assert_eq!(world.finish(client), refused);
    world.check_empty();
}

#[test]
fn nobody_at_all_is_unreachable_in_the_end() {
    let (hosts, left, right) = hosts();
    let mut world = World::new(&hosts, left, right);
    let (here, _) = world.nets();
    let client = here.spawn(async move { TcpFlow::connect(here, at(NOBODY, 9)).await.err() });
    assert!(matches!(
        world.finish(client),
        Some(Error::Conn(
            ConnError::HostUnreachable | ConnError::TimedOut
        ))
    ));
    world.check_empty();
}

#[test]
fn a_cancelled_connect_leaves_nothing() {
    let (hosts, left, right) = hosts();
    let mut world = World::new(&hosts, left, right);
    let (here, _) = world.nets();
    let client = here.spawn(async move {
        let attempt = TcpFlow::connect(here, at(NOBODY, 9));
        here.timeout(ms(100), attempt).await.map(drop)
    });
    assert_eq!(world.finish(client), Err(TimedOut));
    here.with_stack(|stack| assert_eq!(stack.flows_in_use(), 0));
    world.check_empty();
}

#[test]
fn a_cancelled_read_loses_no_data() {
    let (hosts, left, right) = hosts();
    let mut world = World::new(&hosts, left, right);
    let (here, there) = world.nets();
    let listener = listen(there);
    let server = there.spawn(async move {
        let flow = listener.accept().await?;
        for _ in 0..10 {
            there.sleep(ms(7)).await;
            flow.write_all(b"tick").await?;
        }
        flow.close().await
    });
    let client = here.spawn(async move {
        let flow = TcpFlow::connect(here, at(RIGHT, 7)).await?;
        let (mut got, mut cancelled, mut buffer) = (Vec::new(), 0, [0; 64]);
        loop {
            match here.timeout(ms(2), flow.read(&mut buffer)).await {
                Err(TimedOut) => cancelled += 1,
                Ok(Ok(0)) => return Ok::<_, Error>((got, cancelled)),
                Ok(count) => got.extend_from_slice(&buffer[..count?]),
            }
        }
    });
    let (got, cancelled) = world.finish(client).expect("works");
    assert_eq!(got, b"tick".repeat(10));
    assert!(cancelled >= 20, "{cancelled}");
    assert_eq!(world.finish(server), Ok(()));
    world.check_empty();
}

#[test]
fn a_cancelled_accept_loses_no_connection() {
    let (hosts, left, right) = hosts();
    let mut world = World::new(&hosts, left, right);
    let (here, there) = world.nets();
    let listener = listen(there);
    let server = there.spawn(async move {
        let mut cancelled = 0;
        let flow = loop {
            match there.timeout(ms(5), listener.accept()).await {
                Ok(flow) => break flow?,
                Err(TimedOut) => cancelled += 1,
            }
        };
        Ok::<_, Error>((flow.peer_addr()?, cancelled))
    });
    let client = here.spawn(async move {
        here.sleep(ms(52)).await;
        let flow = TcpFlow::connect(here, at(RIGHT, 7)).await?;
        let local = flow.local_addr()?;
        flow.shutdown(Shutdown::Write)?;
        while flow.recv().await?.is_some() {}
        Ok::<_, Error>(local)
    });
    let local = world.finish(client).expect("works");
    assert_eq!(world.finish(server), Ok((local, 10)));
    world.check_empty();
}

#[test]
fn a_dropped_flow_still_delivers_what_was_written() {
    let (hosts, left, right) = hosts();
    let mut world = World::new(&hosts, left, right);
    let (here, there) = world.nets();
    let listener = listen(there);
    let server = there.spawn(async move {
        let flow = listener.accept().await?;
        let mut got = Vec::new();
        while let Some(frame) = flow.recv().await? {
            got.extend_from_slice(&frame);
        }
        Ok::<_, Error>(got)
    });
    let client = here.spawn(async move {
        let flow = TcpFlow::connect(here, at(RIGHT, 7)).await?;
        flow.write_all(b"last words").await
    });
    assert_eq!(world.finish(client), Ok(()));
    assert_eq!(world.finish(server), Ok(b"last words".to_vec()));
    world.check_empty();
}

#[test]
fn an_abort_resets_the_peer() {
    let (hosts, left, right) = hosts();
    let mut world = World::new(&hosts, left, right);
    let (here, there) = world.nets();
    let listener = listen(there);
    let server = there.spawn(async move { listener.accept().await?.recv().await.map(drop) });
    let client = here.spawn(async move {
        let flow = TcpFlow::connect(here, at(RIGHT, 7)).await?;
        here.sleep(ms(1)).await;
        flow.abort();
        Ok::<_, Error>(())
    });
    assert_eq!(world.finish(client), Ok(()));
    let reset = Err(Error::Conn(ConnError::Reset));
    assert_eq!(world.finish(server), reset);
    world.check_empty();
}

#[test]
fn aborting_a_task_closes_its_connection() {
    let (hosts, left, right) = hosts();
    let mut world = World::new(&hosts, left, right);
    let (here, there) = world.nets();
    let listener = listen(there);
    let server = there.spawn(async move { listener.accept().await?.recv().await.map(drop) });
    let client = here.spawn(async move {
        let flow = TcpFlow::connect(here, at(RIGHT, 7)).await?;
        flow.recv().await.map(drop)
    });
    world.pass(ms(10));
    client.abort();
    assert_eq!(world.finish(server), Ok(()), "end of stream");
    world.check_empty();
}

#[test]
fn close_waits_for_the_peer_to_have_everything() {
    let (hosts, mut left, right) = hosts();
    left.impair(
        pollwire_rings::memory::Impairments {
            delay: ms(30),
            ..pollwire_rings::memory::Impairments::NONE
        }
        .seeded(1),
    );
    let mut world = World::new(&hosts, left, right);
    let (here, there) = world.nets();
    let arrived = Rc::new(Cell::new(0));
    let (listener, count) = (listen(there), arrived.clone());
    let server = there.spawn(async move {
        let flow = listener.accept().await?;
        while let Some(frame) = flow.recv().await? {
            count.set(count.get() + frame.len());
        }
        flow.close().await
    });
    let client = here.spawn(async move {
        let flow = TcpFlow::connect(here, at(RIGHT, 7)).await?;
        flow.write_all(&[1; 5000]).await?;
        flow.close().await
    });
    assert_eq!(world.finish(client), Ok(()));
    assert_eq!(arrived.get(), 5000);
    assert_eq!(world.finish(server), Ok(()));
    world.check_empty();
}

#[test]
fn a_storm_of_connections_is_served_through_a_short_queue() {
    const CLIENTS: usize = 300;
    let (hosts, left, right) = hosts();
    let mut world = World::new(&hosts, left, right);
    let (here, there) = world.nets();
    let options = ListenOptions {
        backlog: 64,
        ..ListenOptions::DEFAULT
    };
    let listener = TcpListener::bind_with(there, at(RIGHT, 7), options).expect("free");
    let server = there.spawn(async move {
        for _ in 0..CLIENTS {
            let flow = listener.accept().await?;
            there
                .spawn(async move {
                    while let Some(frame) = flow.recv().await? {
                        flow.send(frame).await?;
                    }
                    flow.close().await
                })
                .detach();
        }
        Ok::<_, Error>(())
    });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            here.spawn(async move {
                let flow = TcpFlow::connect(here, at(RIGHT, 7)).await?;
                flow.write_all(b"hello").await?;
                let mut back = [0; 5];
                flow.read_exact(&mut back).await.expect("an echo");
                flow.close().await?;
                Ok::<_, Error>(back)
            })
        })
        .collect();
    for client in clients {
        assert_eq!(world.finish(client), Ok(*b"hello"));
    }
    assert_eq!(world.finish(server), Ok(()));
    world.check_empty();
}

#[test]
fn a_listener_that_goes_resets_those_that_wait() {
    let (hosts, left, right) = hosts();
    let mut world = World::new(&hosts, left, right);
    let (here, there) = world.nets();
    let listener = listen(there);
    let client = here.spawn(async move {
        let flow = TcpFlow::connect(here, at(RIGHT, 7)).await?;
        flow.recv().await.map(drop)
    });
    world.pass(ms(10));
    drop(listener);
    let reset = Err(Error::Conn(ConnError::Reset));
    assert_eq!(world.finish(client), reset);
    drop(listen(there));
    world.check_empty();
}

#[test]
fn options_are_kept_and_changed() {
    let (hosts, left, right) = hosts();
    let mut world = World::new(&hosts, left, right);
    let (here, there) = world.nets();
    let listener = listen(there);
    let client = here.spawn(async move {
        let options = TcpOptions {
            keepalive: Some(Duration::from_secs(5)),
            ..TcpOptions::DEFAULT
        };
        let flow = TcpFlow::connect_with(here, at(RIGHT, 7), options).await?;
        assert_eq!(flow.options()?.keepalive, options.keepalive);
        flow.set_nodelay(true)?;
        assert!(flow.options()?.nodelay);
        assert_eq!(flow.peer_addr()?, at(RIGHT, 7));
        Ok::<_, Error>(())
    });
    assert_eq!(world.finish(client), Ok(()));
    let taken = TcpListener::bind(there, at(RIGHT, 7)).err();
    assert_eq!(taken, Some(Error::Misuse(Misuse::AddressInUse)));
    assert_eq!(listener.local_addr(), Ok(at(RIGHT, 7)));
    assert!(listener.try_accept().is_ok());
    let nobody = listener.try_accept().err();
    assert_eq!(nobody, Some(Error::WouldBlock));
    drop(listener);
    world.check_empty();
}

#[test]
fn a_silent_peer_is_given_up_by_keepalive() {
    let (hosts, left, right) = hosts();
    let mut world = World::new(&hosts, left, right);
    let (here, there) = world.nets();
    let listener = listen(there);
    let server = there.spawn(async move {
        let flow = listener.accept().await?;
        let keepalive = Some(Duration::from_secs(10));
        flow.set_options(TcpOptions {
            keepalive,
            ..flow.options()?
        })?;
        flow.recv().await.map(drop)
    });
    let client = here.spawn(async move { TcpFlow::connect(here, at(RIGHT, 7)).await });
    let flow = world.finish(client).expect("works");
    world.pass(Duration::from_secs(100));
    assert!(!server.is_finished(), "answered probes keep it alive");
    // The left host falls silent: only the right one has turns.
    let mut waited = 0;
    while !server.is_finished() && waited < 100_000 {
        waited += 1;
        if !world.right.turn() {
            let next = world.right.deadline().expect("a timer");
            world.wire.advance(next);
        }
    }
    let lost = Err(Error::Conn(ConnError::KeepaliveTimedOut));
    assert_eq!(world.finish(server), lost);
    drop(flow);
    world.check_empty();
}
