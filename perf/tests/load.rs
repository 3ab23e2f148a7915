//! The load generator against small services of the host's own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Output};
use std::thread;

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pollwire-perf"))
        .args(args)
        .output()
        .unwrap()
}

/// Serves each connection by `serve`, on a thread of its own.
fn tcp_service(serve: fn(TcpStream)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            thread::spawn(move || serve(stream));
        }
    });
    address.to_string()
}

/// Echoes; if `wrong`, one byte some way in comes back changed.
fn echo(mut stream: TcpStream, wrong: bool) {
    let (mut buffer, mut seen) = ([0; 4096], 0);
    while let Ok(len) = stream.read(&mut buffer) {
        if wrong && (seen..seen + len).contains(&5000) {
            buffer[5000 - seen] ^= 1;
        }
        seen += len;
        if len == 0 || stream.write_all(&buffer[..len]).is_err() {
            return;
        }
    }
}

fn json(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(text.starts_with('{') && text.ends_with("}\n"), "{text}");
    text
}

#[test]
fn tcp_echo_counts_and_verifies() {
    let address = tcp_service(|stream| echo(stream, false));
    let args = [
        "tcp-echo",
        &address,
        "--connections",
        "4",
        "--size",
        "100",
        "--count",
        "50",
        "--json",
    ];
    let output = run(&args);
    assert!(output.status.success(), "{output:?}");
    let text = json(&output);
    assert!(text.contains("\"operations\":200,"), "{text}");
    assert!(text.contains("\"bytes\":20000,"), "{text}");
    assert!(text.contains("\"failed\":0,\"error\":null"), "{text}");
}

#[test]
fn wrong_data_fails() {
    let address = tcp_service(|stream| echo(stream, true));
    for command in [["tcp-echo", "--count"], ["bulk", "--bytes"]] {
        let output = run(&[command[0], &address, command[1], "10000", "--json"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let text = json(&output);
        assert!(text.contains("first at byte 5000"), "{text}");
    }
}

#[test]
fn bulk_moves_every_byte() {
    let address = tcp_service(|stream| echo(stream, false));
    let output = run(&[
        "bulk",
        &address,
        "--bytes",
        "3M",
        "--connections",
        "2",
        "--json",
    ]);
    assert!(output.status.success(), "{output:?}");
    assert!(json(&output).contains("\"bytes\":6291456,"));
}

#[test]
fn bulk_notices_a_short_stream() {
    let address = tcp_service(|stream| {
        let mut part = [0; 1000];
        let _ = (&stream).read_exact(&mut part);
        let _ = (&stream).write_all(&part);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = std::io::copy(&mut &stream, &mut std::io::sink());
    });
    let output = run(&["bulk", &address, "--bytes", "100K", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(json(&output).contains("after 1000 of 102400 bytes"));
}

fn udp_service(answer: bool) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((len, peer)) = socket.recv_from(&mut buffer) {
            if answer {
                socket.send_to(&buffer[..len], peer).unwrap();
            }
        }
    });
    address
}

#[test]
fn udp_echo_and_loss() {
    let address = udp_service(true).to_string();
    let output = run(&["udp-echo", &address, "--count", "100", "--json"]);
    assert!(output.status.success(), "{output:?}");
    assert!(json(&output).contains("\"operations\":100,"));

    let address = udp_service(false).to_string();
    let output = run(&[
        "udp-echo",
        &address,
        "--count",
        "2",
        "--timeout",
        "0.05",
        "--json",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(json(&output).contains("\"lost\":2,"));
}

fn web(stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|len| len > 0) {
        if line == "\r\n" {
            let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
            (&stream).write_all(reply).unwrap();
        }
        line.clear();
    }
}

#[test]
fn http_with_pipelining() {
    let address = tcp_service(web);
    let args = [
        "http",
        &address,
        "--connections",
        "3",
        "--depth",
        "8",
        "--count",
        "40",
        "--json",
    ];
    let output = run(&args);
    assert!(output.status.success(), "{output:?}");
    let text = json(&output);
    assert!(text.contains("\"operations\":120,"), "{text}");
    assert!(text.contains("\"bytes\":600,"), "{text}");
}

#[test]
fn runs_for_a_duration_and_prints_for_people() {
    let address = tcp_service(|stream| echo(stream, false));
    let output = run(&["tcp-echo", &address, "--duration", "0.1"]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("p99.9"), "{text}");
}

#[test]
fn refused_connections_and_bad_usage() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let output = run(&["tcp-echo", &closed.to_string(), "--count", "1"]);
    assert_eq!(output.status.code(), Some(1));

    let bad: [&[&str]; 6] = [
        &[],
        &["tcp-echo"],
        &["ping", "127.0.0.1:7"],
        &["tcp-echo", "127.0.0.1:7", "--size", "0"],
        &["http", "127.0.0.1:80", "--path", "/ x"],
        &["bulk", "127.0.0.1:7", "--duration", "-1"],
    ];
    for args in bad {
        let output = run(args);
        assert_eq!(output.status.code(), Some(64), "{args:?}");
        assert!(!output.stderr.is_empty());
    }
    assert!(run(&["--help"]).status.success());
}
