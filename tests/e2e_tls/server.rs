//! Others' clients, our server.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::host::{OURS, patience, temporary};
use super::namespace::{Skip, need};

/// What the services show.
pub(crate) const CERTIFICATE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/unikernels/services/tls/cert.pem"
);

/// Runs `program`, giving it `input`.
fn run(program: &str, arguments: &[&str], input: &[u8]) -> Output {
    let limit = (2 * patience().as_secs()).to_string();
    let mut child = Command::new("timeout")
        .args([&*limit, program])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("timeout runs");
    let mut stdin = child.stdin.take().expect("piped");
    // It may have ended without reading.
    let _broken = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().expect("a child")
}

fn text(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    let err = String::from_utf8_lossy(&output.stderr);
    format!("{out}{err}")
}

/// The page over either version, on a persistent connection; who asks for
/// another name, or trusts others, is not served.
pub(crate) fn curl() -> Result<(), Skip> {
    need("curl")?;
    let page = format!("https://{OURS}/");
    let missing = format!("{page}missing");
    let limit = patience().as_secs().to_string();
    for (newest, version) in [("1.3", "TLSv1.3"), ("1.2", "TLSv1.2")] {
        let each = "\n%{http_code} %{num_connects}\n";
        let arguments = [
            "-sS",
            "-v",
            "-m",
            &limit,
            "--tls-max",
            newest,
            "--cacert",
            CERTIFICATE,
            "-w",
            each,
            &page,
            &missing,
        ];
        let output = run("curl", &arguments, b"");
        let text = text(&output);
        assert!(output.status.success(), "{text}");
        for part in ["<h1>pollwire</h1>", "\n200 1\n", "\n404 0\n", version] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    }
    let elsewhere = format!("elsewhere.test:443:{OURS}");
    let arguments = [
        "-sS",
        "-m",
        &limit,
        "--cacert",
        CERTIFICATE,
        "--resolve",
        &elsewhere,
        "https://elsewhere.test/",
    ];
    // 60: the certificate is refused.
    assert_eq!(run("curl", &arguments, b"").status.code(), Some(60));
    let untrusting = run("curl", &["-sS", "-m", &limit, &page], b"");
    assert_eq!(untrusting.status.code(), Some(60), "{}", text(&untrusting));
    let again = run("curl", &["-sSk", "-m", &limit, &page], b"");
    assert!(again.status.success(), "still there: {}", text(&again));
    Ok(())
}

/// Echo, and a session that is resumed, in both versions; suites and groups one
/// by one.
pub(crate) fn openssl() -> Result<(), Skip> {
    need("openssl")?;
    let address = format!("{OURS}:4433");
    let client = |more: &[&str]| {
        let mut arguments = vec![
            "s_client",
            "-connect",
            &address,
            "-CAfile",
            CERTIFICATE,
            "-verify_return_error",
            "-no_ign_eof",
        ];
        arguments.extend(more);
        let output = run("openssl", &arguments, b"");
        let text = text(&output);
        assert!(text.contains("Verify return code: 0"), "{more:?}: {text}");
        text
    };
    for version in ["-tls1_3", "-tls1_2"] {
        let session = temporary("session");
        let file = session.to_str().expect("UTF-8");
        // The tickets of TLS 1.3 come behind the handshake: there must be
        // something to read until then.
        resumable(&address, version, file);
        let text = client(&[version, "-sess_in", file]);
        assert!(text.contains("Reused, "), "{version}: {text}");
        let _gone = fs::remove_file(session);
    }
    for suite in [
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
    ] {
        let text = client(&["-tls1_3", "-ciphersuites", suite]);
        assert!(text.contains(&format!("Cipher is {suite}")), "{text}");
    }
    for suite in [
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
    ] {
        let text = client(&["-tls1_2", "-cipher", suite]);
        assert!(text.contains(&format!("Cipher is {suite}")), "{text}");
    }
    for group in ["X25519", "P-256", "P-384"] {
        client(&["-groups", group]);
    }
    let old = ["s_client", "-connect", &address, "-tls1_1"];
    assert!(!run("openssl", &old, b"").status.success(), "TLS 1.1");
    Ok(())
}

/// A connection that echoes a line and leaves its session in `file`.
fn resumable(address: &str, version: &str, file: &str) {
    let limit = (2 * patience().as_secs()).to_string();
    let mut child = Command::new("timeout")
        .args([&*limit, "openssl", "s_client", "-connect", address, version])
        .args([
            "-CAfile",
            CERTIFICATE,
            "-sess_out",
            file,
            "-quiet",
            "-no_ign_eof",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("timeout runs");
    let mut stdin = child.stdin.take().expect("piped");
    let mut stdout = child.stdout.take().expect("piped");
    stdin.write_all(b"an echo\n").expect("writable");
    let mut line = [0; 8];
    std::io::Read::read_exact(&mut stdout, &mut line).expect("an echo");
    assert_eq!(&line, b"an echo\n");
    drop(stdin);
    child.wait().expect("a child");
}

/// Either version.
pub(crate) fn gnutls() -> Result<(), Skip> {
    need("gnutls-cli")?;
    let address = OURS.to_string();
    for (priority, version) in [
        ("NORMAL:-VERS-ALL:+VERS-TLS1.3", "TLS1.3"),
        ("NORMAL:-VERS-ALL:+VERS-TLS1.2", "TLS1.2"),
    ] {
        let arguments = [
            "--x509cafile",
            CERTIFICATE,
            "--priority",
            priority,
            "-p",
            "443",
            &address,
        ];
        let output = run("gnutls-cli", &arguments, b"GET / HTTP/1.0\r\n\r\n");
        let text = text(&output);
        for part in ["The certificate is trusted.", version] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
        assert!(output.status.success(), "{text}");
    }
    Ok(())
}

/// Four seconds of wrk with so many connections.
pub(crate) fn wrk(connections: usize) -> String {
    let page = format!("https://{OURS}/");
    let connected = format!("-c{connections}");
    let arguments = [
        "-t1",
        &connected,
        "-d4s",
        "--timeout",
        "60s",
        "--latency",
        &page,
    ];
    let output = run("wrk", &arguments, b"");
    let text = text(&output);
    for trouble in ["Socket errors", "Non-2xx"] {
        assert!(!text.contains(trouble), "{text}");
    }
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key));
        line.unwrap_or_else(|| panic!("no {key} in {text}")).trim()
    };
    let (rate, p50, p99) = (value("Requests/sec:"), value("50%"), value("99%"));
    format!("wrk: {rate} HTTPS requests/s over {connections} connections, p50 {p50}, p99 {p99}")
}

/// h2load: 200 connections at once, each with a handshake of its own and a hundred
/// requests; every one of them must succeed, and nothing may be left of them.
pub(crate) fn h2load() -> String {
    let page = format!("https://{OURS}/");
    let arguments = ["--h1", "-t1", "-c200", "-n20000", &page];
    let output = run("h2load", &arguments, b"");
    let text = text(&output);
    let all = "20000 total, 20000 started, 20000 done, 20000 succeeded, 0 failed, 0 errored, \
               0 timeout";
    assert!(text.contains(all), "{text}");
    assert!(text.contains("20000 2xx, 0 3xx, 0 4xx, 0 5xx"), "{text}");
    assert!(text.contains("TLS Protocol: TLSv1.3"), "{text}");
    let start = Instant::now();
    // One flow asks.
    while counter("flows-in-use") > 1 || counter("frames-in-use") > 4 {
        assert!(start.elapsed() < patience(), "flows are left");
        thread::sleep(Duration::from_millis(50));
    }
    let line = text.lines().find(|line| line.starts_with("finished in"));
    let connect = text
        .lines()
        .find(|line| line.starts_with("time for connect:"));
    let [line, connect] = [line, connect].map(|line| line.unwrap_or_default().trim());
    format!("h2load, 200 TLS connections: {line}; {connect}")
}

/// What the services say of `name` in their counters.
fn counter(name: &str) -> u64 {
    let mut flow = TcpStream::connect((OURS, 80)).expect("connects");
    flow.write_all(b"GET /counters HTTP/1.1\r\nConnection: close\r\n\r\n")
        .expect("writable");
    let mut text = String::new();
    flow.read_to_string(&mut text).expect("readable");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    value
        .trim_start_matches(':')
        .trim()
        .parse()
        .expect("a number")
}
