//! The resolver against more real servers: BIND, Knot and Knot Resolver.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::certificate::Certificate;
use super::dns::{MANY, questions, resolve, start};
use super::host::{Host, Running, temporary};
use super::namespace::{Skip, isolated, need};

/// The zone `example` as a file has it; `big` does not fit into a datagram.
const ZONE: &str = r#"$TTL 300
@ SOA ns.example. admin.example. 1 2 3 4 60
@ NS ns.example.
@ MX 10 mail.example.
ns A 10.0.0.1
www A 198.51.100.1
www AAAA 2001:db8::1
www HTTPS 1 . alpn=h2
alias CNAME www
text TXT "say \"hi\"" "twice"
_http._tcp SRV 1 2 80 www.example.
"#;

const REVERSE: &str = "$TTL 300
@ SOA ns.example. admin.example. 1 2 3 4 60
@ NS ns.example.
1 PTR www.example.
";

/// An empty directory.
fn folder(name: &str) -> PathBuf {
    let folder = temporary(name).with_extension("d");
    // One of an earlier run may be there.
    let _gone = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).expect("writable");
    folder
}

/// A new directory with both zones, and a file that is none.
fn zones() -> PathBuf {
    let folder = folder("zones");
    let many = (1..=MANY).map(|last| format!("big A 198.51.100.{last}\n"));
    let zone = ZONE.to_owned() + &many.collect::<String>();
    for (name, text) in [("example", &*zone), ("reverse", REVERSE), ("broken", "?\n")] {
        fs::write(folder.join(name), text).expect("writable");
    }
    folder
}

/// Writes `text` as the file `name` of `folder`.
fn settings(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).expect("writable");
    path.display().to_string()
}

/// BIND, with DNS over TLS; `broken.example.org` fails.
fn bind(certificate: &Certificate) -> Result<Running, Skip> {
    need("named")?;
    let folder = zones();
    let text = format!(
        r#"
        tls dot {{ cert-file "{chain}"; key-file "{key}"; }};
        options {{
            directory "{folder}";
            pid-file none; session-keyfile none;
            listen-on port 53 {{ 10.0.0.1; }};
            listen-on port 853 tls dot {{ 10.0.0.1; }};
            listen-on-v6 {{ none; }};
            recursion no; dnssec-validation no; notify no;
            max-udp-size 512; tcp-idle-timeout 50; tcp-keepalive-timeout 50;
        }};
        controls {{ }};
        zone "example" {{ type primary; file "example"; }};
        zone "100.51.198.in-addr.arpa" {{ type primary; file "reverse"; }};
        zone "broken.example.org" {{ type primary; file "broken"; }};
        "#,
        folder = folder.display(),
        chain = certificate.chain.display(),
        key = certificate.key.display(),
    );
    let path = settings(&folder, "named.conf", &text);
    let arguments = ["-g", "-n", "1", "-c", &path].map(String::from);
    Ok(start(Command::new("named"), &arguments))
}

/// Knot, which answers from zones only, at `address`, as `ADDRESS@PORT`.
fn knot(address: &str) -> Result<Running, Skip> {
    need("knotd")?;
    let folder = zones();
    let text = format!(
        "server:\n    rundir: {folder}\n    listen: {address}\n    udp-max-payload: 1220\n\
         log:\n  - target: stderr\n    any: info\n\
         database:\n    storage: {folder}/db\n\
         template:\n  - id: default\n    storage: {folder}\n    journal-content: none\n    \
         zonefile-load: whole\n    zonefile-sync: -1\n\
         zone:\n  - domain: example\n    file: example\n  \
         - domain: 100.51.198.in-addr.arpa\n    file: reverse\n",
        folder = folder.display(),
    );
    let path = settings(&folder, "knot.conf", &text);
    let mut command = Command::new("knotd");
    command.args(["-c", &path]);
    Ok(Running::start(command))
}

/// Knot Resolver before [`knot`] on another port, with DNS over TLS.
fn kresd(certificate: &Certificate) -> Result<Running, Skip> {
    need("kresd")?;
    let folder = folder("kresd");
    let text = format!(
        r#"
        net.ipv6 = false
        net.listen('10.0.0.1', 53, {{ kind = 'dns' }})
        net.listen('10.0.0.1', 853, {{ kind = 'tls' }})
        net.tls('{chain}', '{key}')
        net.bufsize(4096, 512)
        cache.size = 10 * MB
        trust_anchors.remove('.')
        modules.unload('priming')
        modules.unload('detect_time_skew')
        local zones = policy.todnames({{ 'example.', '100.51.198.in-addr.arpa.' }})
        policy.add(policy.suffix(policy.STUB('10.0.0.1@5353'), zones))
        policy.add(policy.suffix(policy.REFUSE, policy.todnames({{ 'refused.example.org.' }})))
        "#,
        chain = certificate.chain.display(),
        key = certificate.key.display(),
    );
    let path = settings(&folder, "kresd.conf", &text);
    let arguments = ["-n", "-c", &path, &folder.display().to_string()].map(String::from);
    Ok(start(Command::new("kresd"), &arguments))
}

/// Whom the resolver believes over TLS, the server having `certificate`.
fn over_tls(host: &Host, certificate: &Certificate) {
    let pin = certificate.key_hash();
    for (server, code) in [
        ("tls:10.0.0.1!none".to_owned(), 0),
        (format!("tls:10.0.0.1!key-fp:sha256:{pin}"), 0),
        ("tls:10.0.0.1!www.example".to_owned(), 1),
        (format!("tls:10.0.0.1!cert-fp:sha256:{pin}"), 1),
    ] {
        let arguments = ["--host=www.example", "--type=A"];
        let (found, text) = resolve(host, &server, &arguments);
        assert_eq!(found, Some(code), "{host} {server}: {text}");
    }
}

fn https_record(host: &Host) {
    let arguments = ["--host=www.example", "--type=https"];
    let (code, text) = resolve(host, "10.0.0.1", &arguments);
    assert_eq!(code, Some(0), "{host}: {text}");
    assert!(text.contains(" HTTPS 1 . alpn="), "{host}: {text}");
}

#[test]
fn names_from_bind() {
    isolated("peers::names_from_bind", || {
        let certificate = Certificate::new()?;
        let _server = bind(&certificate)?;
        for host in Host::all() {
            questions(&host);
            over_tls(&host, &certificate);
            https_record(&host);
            for (name, says) in [
                ("a.broken.example.org", "failed: Server Failure"),
                ("elsewhere.org", "failed: Query Refused"),
            ] {
                let (code, text) = resolve(&host, "10.0.0.1", &[&format!("--host={name}")]);
                assert_eq!(code, Some(1), "{host}: {text}");
                assert!(text.contains(says), "{host}: {text}");
            }
        }
        Ok(())
    });
}

#[test]
fn names_from_knot() {
    isolated("peers::names_from_knot", || {
        let server = knot("10.0.0.1@53")?;
        server.wait_for("server started");
        for host in Host::all() {
            questions(&host);
            https_record(&host);
            let (code, text) = resolve(&host, "10.0.0.1", &["--host=elsewhere.org"]);
            assert_eq!(code, Some(1), "{host}: {text}");
            assert!(text.contains("failed: Query Refused"), "{host}: {text}");
        }
        Ok(())
    });
}

#[test]
fn names_from_knot_resolver() {
    isolated("peers::names_from_knot_resolver", || {
        let certificate = Certificate::new()?;
        let zones = knot("10.0.0.1@5353")?;
        zones.wait_for("server started");
        let _server = kresd(&certificate)?;
        for host in Host::all() {
            questions(&host);
            over_tls(&host, &certificate);
            https_record(&host);
            let arguments = ["--host=a.refused.example.org"];
            let (code, text) = resolve(&host, "10.0.0.1", &arguments);
            assert_eq!(code, Some(1), "{host}: {text}");
            assert!(text.contains("failed: Query Refused"), "{host}: {text}");
        }
        Ok(())
    });
}
