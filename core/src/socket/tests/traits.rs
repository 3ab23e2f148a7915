//! Code that knows only the `embedded-*` traits.

use embedded_io_async::{ErrorKind, Read, Write};
use embedded_nal_async::{ConnectedUdp, TcpConnect, UdpStack, UnconnectedUdp};

use super::world::{LEFT, RIGHT, World, at, hosts};
use crate::{Error, TcpListener};

/// A client as one finds them on crates.io.
async fn shout<N: TcpConnect>(stack: &N, text: &[u8]) -> Result<[u8; 5], N::Error> {
    let mut connection = stack.connect(at(RIGHT, 7)).await?;
    connection.write_all(text).await?;
    connection.flush().await?;
    let mut reply = [0; 5];
    connection.read_exact(&mut reply).await.ok();
    Ok(reply)
}

async fn copy<R: Read, W: Write<Error = R::Error>>(mut from: R, mut to: W) -> Result<(), R::Error> {
    let mut buffer = [0; 512];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return to.flush().await;
        }
        to.write_all(&buffer[..count]).await?;
    }
}

#[test]
fn generic_clients_and_servers_talk() {
    let (hosts, left, right) = hosts();
    let mut world = World::new(&hosts, left, right);
    let (here, there) = world.nets();
    let listener = TcpListener::bind(there, at(RIGHT, 7)).expect("free");
    let server = there.spawn(async move {
        let mut flow = listener.accept().await?;
        let (reader, writer) = flow.split();
        copy(reader, writer).await
    });
    let client = here.spawn(async move { shout(&here, b"hello").await });
    assert_eq!(world.finish(client), Ok(*b"hello"));
    assert_eq!(world.finish(server), Ok(()));
    world.check_empty();
}

#[test]
fn errors_have_their_kinds() {
    let (hosts, left, right) = hosts();
    let mut world = World::new(&hosts, left, right);
    let (here, _) = world.nets();
    let client = here.spawn(async move { shout(&here, b"hello").await });
    let error = world.finish(client).expect_err("nobody listens");
    let kind = embedded_io_async::Error::kind(&error);
    assert_eq!(kind, ErrorKind::ConnectionRefused);
    world.check_empty();
}

#[test]
fn datagrams_by_trait() {
    let (hosts, left, right) = hosts();
    let mut world = World::new(&hosts, left, right);
    let (here, there) = world.nets();
    let server = there.spawn(async move {
        let mut socket = there.bind_multiple(at([0, 0, 0, 0].into(), 7)).await?;
        let mut buffer = [0; 64];
        let (len, local, remote) = UnconnectedUdp::receive_into(&mut socket, &mut buffer).await?;
        UnconnectedUdp::send(&mut socket, local, remote, &buffer[..len]).await
    });
    let client = here.spawn(async move {
        let (local, mut socket) = UdpStack::connect(&here, at(RIGHT, 7)).await?;
        assert_eq!(local.ip(), LEFT);
        socket.send(b"ping").await?;
        let mut buffer = [0; 64];
        let len = socket.receive_into(&mut buffer).await?;
        assert_eq!(&buffer[..len], b"ping");
        let (single, bound) = here.bind_single(at([0, 0, 0, 0].into(), 0)).await?;
        assert_eq!(single.ip(), LEFT);
        drop(bound);
        Ok::<_, Error>(())
    });
    assert_eq!(world.finish(client), Ok(()));
    assert_eq!(world.finish(server), Ok(()));
    world.check_empty();
}
