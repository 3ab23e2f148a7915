//! Whole fetches by name: unbound tells the address, nginx has the page.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::certificate::Certificate;
use super::dns::unbound;
use super::host::{Host, Running, THEIRS, patience, temporary};
use super::namespace::{Skip, isolated, need};

/// Names for [`unbound`]: `slow` has an address of which nobody answers, and it
/// comes first; `six` one that cannot be reached from here.
pub(crate) const NAMES: &str = r#"
    local-zone: "example." static
    local-data: "www.example. A 10.0.0.1"
    local-data: "other.example. A 10.0.0.1"
    local-data: "slow.example. A 10.0.0.9"
    local-data: "slow.example. A 10.0.0.1"
    local-data: "www.example. AAAA 2001:db8::1"
    local-data: "far.example. AAAA 2001:db8:77::1"
    local-data: "svc.example. HTTPS 1 pool.example. alpn=h2 port=8443 ipv4hint=10.0.0.1"
    local-data: "svc.example. HTTPS 2 . alpn=h2"
    local-data: "svc.example. A 10.0.0.9"
    local-data: "pool.example. A 10.0.0.1"
    local-data: "apex.example. HTTPS 0 svc.example."
    local-data: "other-only.example. HTTPS 1 . alpn=h3 no-default-alpn port=8444"
    local-data: "other-only.example. A 10.0.0.1"
    local-data: "_8443._https.www.example. HTTPS 1 www.example. port=443"
"#;

/// nginx, and what it serves.
pub(crate) struct Pages {
    _server: Running,
    root: PathBuf,
    page: Vec<u8>,
}

impl Pages {
    /// Fetches the page by name over HTTPS and HTTP, and by address.
    fn fetched_by(&self, host: &Host, trust: &str) {
        for url in [
            "https://www.example/page",
            "http://www.example/page",
            "http://10.0.0.1/page",
        ] {
            self.came(host, url, fetch(host, &[trust, url]));
        }
    }

    /// That it came is what the program's exit code and text say.
    pub(crate) fn came(&self, host: &Host, url: &str, (code, text): (Option<i32>, String)) {
        let hash = sha256(&self.page);
        assert_eq!(code, Some(0), "{host} {url}: {text}");
        assert!(
            text.contains("status 200, 3000000 bytes"),
            "{host} {url}: {text}"
        );
        assert!(text.contains(&hash), "{host} {url}: {text}");
        assert_eq!(text.contains("TLS 1.3"), url.starts_with("https"), "{text}");
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.root);
    }
}

/// nginx with a large page over HTTP and HTTPS.
pub(crate) fn nginx(certificate: &Certificate) -> Result<Pages, Skip> {
    nginx_at(certificate, "")
}

/// The same, which listens at `more` too, in the form of its configuration.
pub(crate) fn nginx_at(certificate: &Certificate, more: &str) -> Result<Pages, Skip> {
    need("nginx")?;
    let root = temporary("root");
    fs::create_dir(&root).expect("writable");
    let page: Vec<u8> = (0..3_000_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    fs::write(root.join("page"), &page).expect("writable");
    let settings = format!(
        "daemon off; user root; pid {root}/pid; error_log stderr;
         events {{}}
         http {{
           access_log off; default_type application/octet-stream;
           client_body_temp_path {root}/a; proxy_temp_path {root}/b; fastcgi_temp_path {root}/c;
           uwsgi_temp_path {root}/d; scgi_temp_path {root}/e;
           server {{
             listen 10.0.0.1:80; listen 10.0.0.1:443 ssl; listen 10.0.0.1:8443 ssl; listen 10.0.0.1:9443 ssl;
             {more}
             ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate {chain}; ssl_certificate_key {key};
             root {root};
           }}
         }}",
        root = root.display(),
        chain = certificate.chain.display(),
        key = certificate.key.display(),
    );
    let path = temporary("nginx");
    fs::write(&path, settings).expect("writable");
    let mut command = Command::new("nginx");
    command.arg("-c").arg(&path);
    let server = Running::start(command);
    let start = Instant::now();
    while TcpStream::connect((THEIRS, 443)).is_err() {
        assert!(start.elapsed() < patience(), "{}", server.text());
        thread::sleep(Duration::from_millis(10));
    }
    Ok(Pages {
        _server: server,
        root,
        page,
    })
}

pub(crate) fn fetch(host: &Host, arguments: &[&str]) -> (Option<i32>, String) {
    let fixed = ["--ipv4=10.0.0.2/24", "--nameserver=10.0.0.1", "--log=error"];
    host.run("fetch", &[&fixed, arguments].concat()).finish()
}

/// The SHA-256 of `bytes`, as another program computes it.
fn sha256(bytes: &[u8]) -> String {
    let path = temporary("hashed");
    fs::write(&path, bytes).expect("writable");
    sha256_of(&path)
}

fn sha256_of(path: &Path) -> String {
    let output = Command::new("sha256sum")
        .arg(path)
        .output()
        .expect("sha256sum runs");
    let text = String::from_utf8(output.stdout).expect("text");
    text.split(' ').next().expect("a word").to_owned()
}

fn number(json: &str, name: &str) -> u64 {
    let (_, rest) = json.split_once(&format!("\"{name}\":")).expect(json);
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

/// A whole fetch by name, over HTTPS and without.
pub(crate) fn pages(host: &Host) -> Result<(), Skip> {
    let certificate = Certificate::new()?;
    let _names = unbound(NAMES)?;
    let trust = format!("--cacert={}", certificate.base64());
    nginx(&certificate)?.fetched_by(host, &trust);
    Ok(())
}

#[test]
fn pages_by_name() {
    isolated("fetch::pages_by_name", || {
        let certificate = Certificate::new()?;
        let _names = unbound(NAMES)?;
        let pages = nginx(&certificate)?;
        let trust = format!("--cacert={}", certificate.base64());
        for host in Host::all() {
            pages.fetched_by(&host, &trust);
            let (code, text) = fetch(&host, &[&trust, "https://www.example/nowhere"]);
            assert_eq!(code, Some(2), "{host}: {text}");
            assert!(text.contains("status 404"), "{host}: {text}");
            let (code, text) = fetch(&host, &[&trust, "https://nobody.example/"]);
            assert_eq!(code, Some(1), "{host}: {text}");
            assert!(text.contains("no such name"), "{host}: {text}");
            let (code, text) = fetch(&host, &["http://10.0.0.1:81/"]);
            assert_eq!(code, Some(1), "{host}: {text}");
            assert!(text.contains("connection refused"), "{host}: {text}");
            let (code, text) = fetch(&host, &["-6", &trust, "https://www.example/page"]);
            assert_eq!(code, Some(1), "{host}: {text}");
            assert!(!text.contains("10.0.0.1:443"), "{host}: {text}");
        }
        Ok(())
    });
}

#[test]
fn who_is_believed() {
    isolated("fetch::who_is_believed", || {
        let certificate = Certificate::new()?;
        let _names = unbound(NAMES)?;
        let _pages = nginx(&certificate)?;
        let trust = format!("--cacert={}", certificate.base64());
        let pin = format!("--ca-pin=key-fp:sha256:{}", certificate.key_hash());
        let wrong = "--ca-pin=key-fp:sha256:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        for host in Host::all() {
            for (whom, name, code) in [
                (&*trust, "www.example", 0),
                (&trust, "other.example", 1),
                (&pin, "other.example", 0),
                (wrong, "www.example", 1),
                ("--insecure", "other.example", 0),
                // Mozilla knows nobody of that name.
                ("--timeout=20", "www.example", 1),
            ] {
                let url = format!("https://{name}/page");
                let (found, text) = fetch(&host, &[whom, &url]);
                assert_eq!(found, Some(code), "{host} {whom} {name}: {text}");
            }
        }
        Ok(())
    });
}

/// RFC 9460: HTTPS records as unbound tells of them.
#[test]
fn https_records_lead_to_the_page() {
    isolated("fetch::https_records_lead_to_the_page", || {
        let certificate = Certificate::new()?;
        let _names = unbound(NAMES)?;
        let _pages = nginx(&certificate)?;
        for host in Host::all() {
            for (url, winner, via) in [
                // The host's own address is dead: its service is elsewhere.
                ("https://svc.example/page", "10.0.0.1:8443", "service"),
                ("https://apex.example/page", "10.0.0.1:8443", "service"),
                // HTTP/3 is not spoken here.
                ("https://other-only.example/page", "10.0.0.1:443", "host"),
                ("https://www.example:8443/page", "10.0.0.1:443", "service"),
            ] {
                let (code, text) = fetch(&host, &["--json", "--insecure", url]);
                assert_eq!(code, Some(0), "{host} {url}: {text}");
                let winner = format!("\"winner\":\"{winner}\"");
                assert!(text.contains(&winner), "{host} {url}: {text}");
                let attempts = format!("\"via\":\"{via}\"");
                assert!(text.contains(&attempts), "{host} {url}: {text}");
            }
        }
        Ok(())
    });
}

#[test]
fn a_dead_address_costs_a_quarter_of_a_second() {
    isolated("fetch::a_dead_address_costs_a_quarter_of_a_second", || {
        let certificate = Certificate::new()?;
        let _names = unbound(NAMES)?;
        let _pages = nginx(&certificate)?;
        let trust = format!("--cacert={}", certificate.base64());
        for host in Host::all() {
            // unbound may turn the addresses: only the dead one first is told.
            let mut slow = Vec::new();
            for _ in 0..4 {
                let arguments = ["--json", &*trust, "https://slow.example/page"];
                let (code, text) = fetch(&host, &arguments);
                assert_eq!(code, Some(0), "{host}: {text}");
                assert!(
                    text.contains("\"winner\":\"10.0.0.1:443\""),
                    "{host}: {text}"
                );
                let connected = number(&text, "connected_us") - number(&text, "resolved_us");
                println!("{host}: connected after {connected} us");
                if text.contains("\"outcome\":\"given-up\"") {
                    assert!(connected >= 250_000, "{host}: {text}");
                    slow.push(connected);
                }
            }
            println!("{host}: the dead address came first {} times", slow.len());
            // A machine that is busy elsewhere is late now and then.
            let quickest = slow.iter().min().copied().unwrap_or_default();
            assert!(quickest < 1_000_000, "{host}: {slow:?}");
        }
        Ok(())
    });
}
