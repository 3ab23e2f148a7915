//! Our client, others' servers.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use pollwire::host::{MonotonicClock, wall_clock};
use pollwire::rings::tap::{Offloads, Tap};
use pollwire::rings::{NetDevice, local_mac};
use pollwire::{Config, NetCell, Runtime, Stack, TcpFlow};
use pollwire_tls::{
    Alert, CertificateFault, ClientConfig, ClientConfigBuilder, ConnectionInfo, Fingerprint,
    ServerName, TlsError, TlsFlow, Version, Versions, WallClock,
};

use super::host::{self, THEIRS, patience, temporary};
use super::pki::{Authority, Identity, Wanted};

const PORT: u16 = 4433;
pub(crate) const NAME: &str = "server.test";

/// A server as it runs; killed when dropped.
pub(crate) struct Server {
    child: Child,
    files: Vec<PathBuf>,
}

impl Server {
    pub(crate) fn start(program: &str, arguments: &[&str], files: Vec<PathBuf>) -> Self {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let server = Self { child, files };
        let start = Instant::now();
        while TcpStream::connect((THEIRS, PORT)).is_err() {
            assert!(start.elapsed() < patience(), "{program} is up");
            thread::sleep(Duration::from_millis(5));
        }
        server
    }

    /// OpenSSL's, which answers HTTP with facts about the connection.
    fn openssl(identity: &Identity, more: &[&str]) -> Self {
        let (certificate, key) = files(identity);
        let port = PORT.to_string();
        let mut arguments = vec![
            "s_server",
            "-accept",
            &port,
            "-www",
            "-cert",
            path(&certificate),
        ];
        arguments.extend(["-key", path(&key)]);
        arguments.extend(more);
        Self::start(
            "openssl",
            &arguments,
            vec![certificate.clone(), key.clone()],
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _status = self.child.wait();
        for file in &self.files {
            let _gone = fs::remove_file(file);
        }
    }
}

pub(crate) fn path(file: &Path) -> &str {
    file.to_str().expect("UTF-8")
}

/// The certificate and the key, as PEM files.
fn files(identity: &Identity) -> (PathBuf, PathBuf) {
    let (certificate, key) = (temporary("cert.pem"), temporary("key.pem"));
    fs::write(&certificate, identity.certificate_pem()).expect("writable");
    fs::write(&key, identity.key_pem()).expect("writable");
    (certificate, key)
}

/// The connection's facts and the answer to a request for `page`.
pub(crate) fn fetch(
    config: &ClientConfig,
    page: &str,
) -> Result<(ConnectionInfo, String), TlsError> {
    ask(config, &format!("GET {page} HTTP/1.0\r\n\r\n"), || {})
}

/// Our side: over the TAP, in this process; calls `asked` when the request is
/// sent.
fn ask(
    config: &ClientConfig,
    request: &str,
    asked: impl FnOnce(),
) -> Result<(ConnectionInfo, String), TlsError> {
    let device = Tap::open(host::TAP, local_mac(7), Offloads::ALL).expect("a TAP");
    let address = "10.0.0.2/24".parse().expect("an address");
    let seed = pollwire::host::entropy().expect("entropy");
    let stack = Config::new(address, seed);
    let cell = NetCell::new(Stack::on_heap::<1024, 16, 2048>(&stack, device.caps()));
    let mut runtime = Runtime::new(&cell, device, MonotonicClock::new());
    runtime.block_on(async |net| {
        let exchange = async {
            let tcp = TcpFlow::connect(net, (THEIRS, PORT).into()).await?;
            let name = ServerName::try_from(NAME).expect("a name");
            let flow = TlsFlow::connect(tcp, config, name).await?;
            let info = flow.info().clone();
            flow.write_all(request.as_bytes()).await?;
            asked();
            let mut answer = Vec::new();
            while let Some(data) = flow.recv().await? {
                answer.extend_from_slice(&data);
            }
            flow.close().await?;
            Ok((info, String::from_utf8_lossy(&answer).into_owned()))
        };
        net.timeout(patience(), exchange).await.expect("an end")
    })
}

pub(crate) fn clock() -> WallClock {
    WallClock::new(wall_clock(), pollwire::Instant::ZERO)
}

fn trusting(authority: &Authority) -> ClientConfigBuilder {
    ClientConfig::builder(clock()).roots(authority.roots())
}

pub(crate) const BOTH: [(Versions, Version); 2] = [
    (Versions::Tls13, Version::Tls13),
    (Versions::Tls12, Version::Tls12),
];

pub(crate) fn openssl() {
    let authority = Authority::new("test");
    let identity = authority.server(NAME);
    {
        let _server = Server::openssl(&identity, &[]);
        for (versions, version) in BOTH {
            let config = trusting(&authority)
                .versions(versions)
                .build()
                .expect("fine");
            let (info, page) = fetch(&config, "/").expect("works");
            assert_eq!(info.version, version);
            assert!(page.starts_with("HTTP/1.0 200 ok"), "{page}");
            let (info, _) = fetch(&config, "/").expect("works");
            assert!(info.resumed, "{version}");
            println!("openssl s_server: {info}");
        }
        refusals(&authority, &identity);
    }
    verified_clients(&authority, &identity);
    bad_certificates(&authority);
    truncated(&authority, &identity);
}

/// What our client must not accept of a good server.
fn refusals(authority: &Authority, identity: &Identity) {
    let stranger = Authority::new("stranger");
    let untrusting = trusting(&stranger).build().expect("fine");
    let refused = |fault| Err(TlsError::Certificate(fault));
    let unknown = fetch(&untrusting, "/").map(drop);
    assert_eq!(unknown, refused(CertificateFault::UnknownIssuer));
    let pin = Fingerprint::of_key(&identity.certificate).expect("parses");
    let pinned = ClientConfig::builder(clock()).key_pin(pin);
    fetch(&pinned.build().expect("fine"), "/").expect("the pinned key");
    let other = Fingerprint::of_key(&authority.server(NAME).certificate).expect("parses");
    let pinned = ClientConfig::builder(clock()).key_pin(other);
    let wrong = fetch(&pinned.build().expect("fine"), "/").map(drop);
    assert_eq!(wrong, refused(CertificateFault::WrongPin));
}

fn verified_clients(authority: &Authority, identity: &Identity) {
    let roots = temporary("roots.pem");
    fs::write(&roots, authority.pem()).expect("writable");
    let more = [
        "-Verify",
        "1",
        "-verify_return_error",
        "-CAfile",
        path(&roots),
    ];
    let _server = Server::openssl(identity, &more);
    let known = authority.client("someone");
    for (versions, version) in BOTH {
        let config = trusting(authority)
            .versions(versions)
            .identity(known.chain(), known.key())
            .build()
            .expect("fine");
        let (info, _) = fetch(&config, "/").expect("a known client");
        assert_eq!(info.version, version);
        let config = trusting(authority)
            .versions(versions)
            .build()
            .expect("fine");
        let alert = match version {
            Version::Tls13 => Alert::CERTIFICATE_REQUIRED,
            Version::Tls12 => Alert::HANDSHAKE_FAILURE,
        };
        let nobody = fetch(&config, "/").map(drop);
        assert_eq!(nobody, Err(TlsError::AlertReceived(alert)));
    }
    let _gone = fs::remove_file(roots);
}

fn bad_certificates(authority: &Authority) {
    let expired = Wanted {
        names: &[NAME],
        until: 2025,
        client: false,
    };
    for (identity, fault) in [
        (authority.issue(&expired), CertificateFault::Expired),
        (authority.server("other.test"), CertificateFault::WrongName),
    ] {
        let _server = Server::openssl(&identity, &[]);
        let config = trusting(authority).build().expect("fine");
        let refused = fetch(&config, "/").map(drop);
        assert_eq!(refused, Err(TlsError::Certificate(fault)));
    }
}

/// The server dies in the middle: its kernel ends TCP, nobody says
/// `close_notify`.
fn truncated(authority: &Authority, identity: &Identity) {
    let mut server = Server::openssl(identity, &[]);
    let config = trusting(authority).build().expect("fine");
    let killed = thread::scope(|scope| {
        let (asked, wait) = mpsc::channel();
        let config = &config;
        let tell = move || asked.send(()).expect("somebody waits");
        let client = scope.spawn(move || ask(config, "GET /", tell).map(drop));
        wait.recv().expect("a request");
        // What the server has not read would make a reset of its end.
        thread::sleep(Duration::from_secs(1));
        server.child.kill().expect("running");
        client.join().expect("no panic")
    });
    assert_eq!(killed, Err(TlsError::Truncated));
}

pub(crate) fn gnutls() {
    let authority = Authority::new("test");
    let identity = authority.server(NAME);
    let (certificate, key) = files(&identity);
    let port = PORT.to_string();
    let arguments = [
        "--http",
        "--quiet",
        "-p",
        &port,
        "--x509certfile",
        path(&certificate),
        "--x509keyfile",
        path(&key),
    ];
    let _server = Server::start(
        "gnutls-serv",
        &arguments,
        vec![certificate.clone(), key.clone()],
    );
    for (versions, version) in BOTH {
        let config = trusting(&authority)
            .versions(versions)
            .build()
            .expect("fine");
        for resumed in [false, true] {
            let (info, page) = fetch(&config, "/").expect("works");
            assert_eq!((info.version, info.resumed), (version, resumed));
            assert!(page.starts_with("HTTP/1.0 200 OK"), "{page}");
            println!("gnutls-serv: {info}");
        }
    }
}

/// A file of some megabytes, in nginx's large records.
pub(crate) fn nginx() {
    const LENGTH: usize = 8 << 20;
    let authority = Authority::new("test");
    let identity = authority.server(NAME);
    let (certificate, key) = files(&identity);
    let folder = temporary("nginx");
    fs::create_dir_all(&folder).expect("writable");
    let body: String = ('a'..='z').cycle().take(LENGTH).collect();
    fs::write(folder.join("big"), &body).expect("writable");
    let root = path(&folder);
    let configuration = folder.join("nginx.conf");
    let (certificate_path, key_path) = (path(&certificate), path(&key));
    let text = format!(
        "daemon off; master_process off; pid {root}/pid; error_log /dev/null;\n\
         events {{ }}\n\
         http {{ access_log off; client_body_temp_path {root}/a; proxy_temp_path {root}/b;\n\
         fastcgi_temp_path {root}/c; uwsgi_temp_path {root}/d; scgi_temp_path {root}/e;\n\
         server {{ listen {THEIRS}:{PORT} ssl; root {root};\n\
         ssl_certificate {certificate_path}; ssl_certificate_key {key_path};\n\
         ssl_protocols TLSv1.2 TLSv1.3; }} }}\n"
    );
    fs::write(&configuration, text).expect("writable");
    let arguments = ["-p", root, "-c", path(&configuration)];
    let files = vec![certificate.clone(), key.clone()];
    let server = Server::start("nginx", &arguments, files);
    for (versions, version) in BOTH {
        let config = trusting(&authority)
            .versions(versions)
            .build()
            .expect("fine");
        let start = Instant::now();
        let (info, answer) = fetch(&config, "/big").expect("works");
        assert_eq!(info.version, version);
        let (head, got) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        assert!(got == body, "another body");
        println!("nginx: {info}: {LENGTH} bytes in {:?}", start.elapsed());
    }
    drop(server);
    let _gone = fs::remove_dir_all(folder);
}
