//! Moving data.

use alloc::vec;
use alloc::vec::Vec;

use super::world::{RIGHT, World, at, copied, hosts, hosts_with, ms};
use crate::{Error, Net, Shutdown, TcpFlow, TcpListener, TcpOptions, join};

/// Serves one connection, frame by frame.
async fn echo_once(net: Net<'_>) -> Result<(), Error> {
    let listener = TcpListener::bind(net, at(RIGHT, 7))?;
    let flow = listener.accept().await?;
    while let Some(frame) = flow.recv().await? {
        flow.send(frame).await?;
    }
    flow.close().await
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

#[test]
fn frames_are_echoed_without_a_copy() {
    let (hosts, left, right) = hosts();
    let mut world = World::new(&hosts, left, right);
    let (here, there) = world.nets();
    there.spawn(echo_once(there)).detach();
    let client = here.spawn(async move {
        let flow = TcpFlow::connect(here, at(RIGHT, 7)).await?;
        let mut back = Vec::new();
        for round in 0..20_u8 {
            let mut frame = flow.alloc_frame().await;
            frame.set_len(1460);
            frame.fill(round);
            flow.send(frame).await?;
            let before = back.len();
            while back.len() < before + 1460 {
                let frame = flow.recv().await?.expect("not closed yet");
                back.extend_from_slice(&frame);
            }
        }
        flow.close().await?;
        Ok::<_, Error>(back)
    });
    let back = world.finish(client).expect("works");
    let sent: Vec<u8> = (0..20).flat_map(|round| [round; 1460]).collect();
    assert_eq!(back, sent);
    assert_eq!((copied(here), copied(there)), (0, 0));
    world.check_empty();
}

#[test]
fn reading_and_writing_slices_moves_a_megabyte_intact() {
    let data = pattern(1 << 20);
    let (hosts, left, right) = hosts();
    let mut world = World::new(&hosts, left, right);
    let (here, there) = world.nets();
    there.spawn(echo_once(there)).detach();
    let expected = &data;
    let client = here.spawn(async move {
        let mut flow = TcpFlow::connect(here, at(RIGHT, 7)).await?;
        let (mut reader, mut writer) = flow.split();
        let mut back = vec![0; expected.len()];
        let (wrote, read) = join(
            async {
                writer.write_all(expected).await?;
                writer.flush().await?;
                writer.shutdown()
            },
            reader.read_exact(&mut back),
        )
        .await;
        wrote?;
        read.expect("all of it");
        assert_eq!(reader.read(&mut [0; 1]).await?, 0, "the end");
        flow.close().await?;
        Ok::<_, Error>(back)
    });
    assert!(world.finish(client).expect("works") == data);
    world.check_empty();
}

#[test]
fn half_closed_connections_still_carry_the_other_direction() {
    let (hosts, left, right) = hosts();
    let mut world = World::new(&hosts, left, right);
    let (here, there) = world.nets();
    let server = there.spawn(async move {
        let listener = TcpListener::bind(there, at(RIGHT, 7))?;
        let flow = listener.accept().await?;
        let mut got = Vec::new();
        while let Some(frame) = flow.recv().await? {
            got.extend_from_slice(&frame);
        }
        there.sleep(ms(50)).await;
        flow.write_all(b"answer").await?;
        flow.close().await?;
        Ok::<_, Error>(got)
    });
    let client = here.spawn(async move {
        let flow = TcpFlow::connect(here, at(RIGHT, 7)).await?;
        flow.write_all(b"question").await?;
        flow.shutdown(Shutdown::Write)?;
        assert!(matches!(flow.write(b"more").await, Err(Error::Conn(_))));
        let mut answer = [0; 6];
        flow.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(flow.recv().await.map(|end| end.is_none()), Ok(true));
        Ok::<_, Error>(answer)
    });
    assert_eq!(world.finish(client), Ok(*b"answer"));
    assert_eq!(world.finish(server), Ok(b"question".to_vec()));
    world.check_empty();
}

#[test]
fn a_slow_reader_holds_the_writer_back() {
    const LEN: usize = 2 << 20;
    let (hosts, left, right) = hosts();
    let mut world = World::new(&hosts, left, right);
    let (here, there) = world.nets();
    let server = there.spawn(async move {
        let listener = TcpListener::bind(there, at(RIGHT, 7))?;
        let flow = listener.accept().await?;
        let (mut count, mut buffer) = (0, vec![0; 10_000]);
        loop {
            there.sleep(ms(3)).await;
            match flow.read(&mut buffer).await? {
                0 => return Ok::<_, Error>(count),
                got => count += got,
            }
        }
    });
    let client = here.spawn(async move {
        let options = TcpOptions {
            send_buffer: 32 * 1024,
            ..TcpOptions::DEFAULT
        };
        let flow = TcpFlow::connect_with(here, at(RIGHT, 7), options).await?;
        flow.write_all(&vec![7; LEN]).await?;
        flow.close().await
    });
    world.pass(ms(100));
    assert!(!client.is_finished(), "the writer waits");
    assert_eq!(world.finish(server), Ok(LEN));
    assert_eq!(world.finish(client), Ok(()));
    world.check_empty();
}

#[test]
fn tasks_wait_for_frames_and_go_on_when_some_are_free() {
    let (hosts, left, right) = hosts_with::<64, 16>();
    let mut world = World::new(&hosts, left, right);
    let (here, _) = world.nets();
    let mut hoard = Vec::new();
    while let Some(frame) = here.try_alloc_frame() {
        hoard.push(frame);
    }
    let waits = here.spawn(async move { here.alloc_frame().await.len() });
    world.pass(ms(20));
    assert!(!waits.is_finished());
    drop(hoard);
    assert_eq!(world.finish(waits), 0);
    world.check_empty();
}
