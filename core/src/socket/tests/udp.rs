//! Datagrams.

use super::world::{LEFT, RIGHT, World, at, copied, hosts, ms};
use crate::{Error, Misuse, UdpSocket};

#[test]
fn datagrams_are_echoed_in_their_own_frames() {
    let (hosts, left, right) = hosts();
    let mut world = World::new(&hosts, left, right);
    let (here, there) = world.nets();
    let server = UdpSocket::bind(there, at(RIGHT, 7)).expect("free");
    let echo = there.spawn(async move {
        loop {
            let (frame, from) = server.recv_frame_from().await?;
            if frame.is_empty() {
                return Ok::<_, Error>(());
            }
            server.send_frame_to(frame, from).await?;
        }
    });
    let client = here.spawn(async move {
        let socket = UdpSocket::bind(here, at(LEFT, 0))?;
        for len in [1, 100, 1472] {
            let fill = |bytes: &mut [u8]| bytes.fill(9);
            socket.send_with(len, at(RIGHT, 7), fill).await?;
            let (frame, from) = socket.recv_frame_from().await?;
            assert_eq!((frame.len(), from), (len, at(RIGHT, 7)));
            assert!(frame.iter().all(|&byte| byte == 9));
        }
        socket.send_to(b"", at(RIGHT, 7)).await
    });
    assert_eq!(world.finish(client), Ok(()));
    assert_eq!(world.finish(echo), Ok(()));
    assert_eq!((copied(here), copied(there)), (0, 0));
    world.check_empty();
}

#[test]
fn slices_are_cut_to_the_buffer_but_told_in_full() {
    let (hosts, left, right) = hosts();
    let mut world = World::new(&hosts, left, right);
    let (here, there) = world.nets();
    let server = UdpSocket::bind(there, at(RIGHT, 7)).expect("free");
    assert_eq!(server.try_recv_from(&mut [0; 4]), Err(Error::WouldBlock));
    let got = there.spawn(async move {
        let mut buffer = [0; 4];
        let (len, _) = server.recv_from(&mut buffer).await?;
        Ok::<_, Error>((len, buffer))
    });
    let socket = UdpSocket::bind(here, at(LEFT, 5000)).expect("free");
    assert_eq!(socket.try_send_to(b"datagram", at(RIGHT, 7)), Ok(()));
    assert_eq!(world.finish(got), Ok((8, *b"data")));
    let long = socket.try_send_to(&[0; 65_508], at(RIGHT, 7));
    assert_eq!(long, Err(Error::Misuse(Misuse::TooLong)));
    let taken = UdpSocket::bind(here, at(LEFT, 5000)).err();
    assert_eq!(taken, Some(Error::Misuse(Misuse::AddressInUse)));
    drop(socket);
    world.check_empty();
}

#[test]
fn a_cancelled_receive_loses_nothing_and_a_dropped_socket_frees_its_queue() {
    let (hosts, left, right) = hosts();
    let mut world = World::new(&hosts, left, right);
    let (here, there) = world.nets();
    let server = UdpSocket::bind(there, at(RIGHT, 7)).expect("free");
    let socket = UdpSocket::bind(here, at(LEFT, 0)).expect("free");
    let receive = there.spawn(async move {
        let given_up = there.timeout(ms(5), server.recv_frame_from()).await;
        assert!(given_up.is_err());
        there.sleep(ms(20)).await;
        let (frame, _) = server.try_recv_frame_from()?;
        Ok::<_, Error>((frame.len(), server))
    });
    let send = here.spawn(async move {
        here.sleep(ms(10)).await;
        // Only a few datagrams wait for the neighbour's address: learn it first.
        socket.send_to(&[0; 1], at(RIGHT, 7)).await?;
        here.sleep(ms(1)).await;
        for len in 2..10 {
            socket.send_to(&[0; 16][..len], at(RIGHT, 7)).await?;
        }
        Ok::<_, Error>(())
    });
    assert_eq!(world.finish(send), Ok(()));
    let (first, server) = world.finish(receive).expect("works");
    assert_eq!(first, 1);
    there.with_stack(|stack| assert!(stack.pool().in_use() > 0, "eight wait"));
    drop(server);
    world.check_empty();
}
