//! Certificates with RSA keys, which many servers still show: OpenSSL makes one.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use pollwire::host::MonotonicClock;
use pollwire::rings::tap::{Offloads, Tap};
use pollwire::rings::{NetDevice, local_mac};
use pollwire::{Config, NetCell, Runtime, Stack, TcpListener};
use pollwire_tls::{ClientConfig, Roots, ServerConfig, TlsFlow};

use super::client::{BOTH, NAME, Server, clock, fetch, path};
use super::host::{self, patience, temporary};

/// A self-signed certificate for [`NAME`], and its key.
fn certificate() -> (PathBuf, PathBuf) {
    let (chain, key) = (temporary("rsa.pem"), temporary("rsa-key.pem"));
    let output = Command::new("openssl")
        .args([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
        ])
        .args(["-subj", &format!("/CN={NAME}")])
        .args(["-addext", &format!("subjectAltName=DNS:{NAME}")])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", path(&key), "-out", path(&chain)])
        .output()
        .expect("openssl runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    (chain, key)
}

/// OpenSSL serves, our client verifies.
pub(crate) fn served() {
    let (chain, key) = certificate();
    let pem = fs::read(&chain).expect("readable");
    let arguments = [
        "s_server",
        "-accept",
        "4433",
        "-www",
        "-cert",
        path(&chain),
        "-key",
        path(&key),
    ];
    let _server = Server::start("openssl", &arguments, vec![chain.clone(), key.clone()]);
    for (versions, version) in BOTH {
        let roots = Roots::empty().with_pem(&pem).expect("parses");
        let config = ClientConfig::builder(clock())
            .roots(roots)
            .versions(versions)
            .build()
            .expect("fine");
        let (info, page) = fetch(&config, "/").expect("works");
        assert_eq!(info.version, version);
        assert!(page.starts_with("HTTP/1.0 200 ok"), "{page}");
        println!("openssl s_server with an RSA key: {info}");
    }
}

/// Our server shows it, OpenSSL's client verifies.
pub(crate) fn shown() {
    let (chain, key) = certificate();
    let [chain_pem, key_pem] = [&chain, &key].map(|file| fs::read(file).expect("readable"));
    let config = ServerConfig::builder(clock())
        .identity_pem(&chain_pem, &key_pem)
        .expect("parses")
        .build()
        .expect("fine");
    for version in ["-tls1_3", "-tls1_2"] {
        let device = Tap::open(host::TAP, local_mac(7), Offloads::ALL).expect("a TAP");
        let address = "10.0.0.2/24".parse().expect("an address");
        let seed = pollwire::host::entropy().expect("entropy");
        let stack = Config::new(address, seed);
        let cell = NetCell::new(Stack::on_heap::<1024, 16, 2048>(&stack, device.caps()));
        let mut runtime = Runtime::new(&cell, device, MonotonicClock::new());
        let client = Command::new("timeout")
            .args(["60", "openssl", "s_client", "-connect", "10.0.0.2:4433"])
            .args(["-brief", "-verify_return_error", version])
            .args(["-servername", NAME, "-verify_hostname", NAME])
            .args(["-CAfile", path(&chain)])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("timeout runs");
        runtime.block_on(async |net| {
            let listener = TcpListener::bind(net, "0.0.0.0:4433".parse().expect("an address"));
            let listener = listener.expect("a free port");
            let serving = async {
                let flow = TlsFlow::accept(listener.accept().await?, &config).await?;
                while flow.recv().await?.is_some() {}
                flow.close().await
            };
            let served = net.timeout(patience(), serving).await;
            served.expect("an end").expect("a handshake");
        });
        let output = client.wait_with_output().expect("a child");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{version}: {text}");
        assert!(text.contains("Verification: OK"), "{version}: {text}");
        assert!(text.contains("Signature type: RSA"), "{version}: {text}");
    }
    for file in [chain, key] {
        let _gone = fs::remove_file(file);
    }
}
