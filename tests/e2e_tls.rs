//! TLS against other implementations: OpenSSL, GnuTLS, curl, wrk, nginx, as
//! clients of the services (as image and on Linux), and as servers of our client,
//! over a TAP in a network namespace. What is not installed is skipped aloud.

#[path = "e2e_tls/client.rs"]
mod client;
#[path = "e2e/host.rs"]
#[expect(dead_code, reason = "a part of what e2e.rs uses")]
mod host;
#[path = "common/iproute.rs"]
mod iproute;
#[path = "e2e/namespace.rs"]
mod namespace;
#[path = "../tls/tests/common/pki.rs"]
mod pki;
#[path = "e2e_tls/rsa.rs"]
mod rsa;
#[path = "e2e_tls/server.rs"]
mod server;

use host::Host;
use namespace::{isolated, need};

#[test]
fn services_speak_tls_with_curl_openssl_and_gnutls() {
    isolated("services_speak_tls_with_curl_openssl_and_gnutls", || {
        for host in Host::all() {
            let _running = host.services()?;
            println!("{host}:");
            for check in [server::curl, server::openssl, server::gnutls] {
                skipping(check());
            }
        }
        Ok(())
    });
}

#[test]
fn https_with_wrk() {
    isolated("https_with_wrk", || {
        need("wrk")?;
        for host in Host::all() {
            let _running = host.services()?;
            println!("{host}: {}", server::wrk(200));
        }
        Ok(())
    });
}

#[test]
fn two_hundred_handshakes_with_h2load() {
    isolated("two_hundred_handshakes_with_h2load", || {
        need("h2load")?;
        for host in Host::all() {
            let _running = host.services()?;
            println!("{host}: {}", server::h2load());
        }
        Ok(())
    });
}

#[test]
fn certificates_with_rsa_keys() {
    isolated("certificates_with_rsa_keys", || {
        need("openssl")?;
        rsa::served();
        rsa::shown();
        Ok(())
    });
}

#[test]
fn our_client_speaks_with_openssl() {
    isolated("our_client_speaks_with_openssl", || {
        need("openssl")?;
        client::openssl();
        Ok(())
    });
}

#[test]
fn our_client_speaks_with_gnutls() {
    isolated("our_client_speaks_with_gnutls", || {
        need("gnutls-serv")?;
        client::gnutls();
        Ok(())
    });
}

#[test]
fn our_client_speaks_with_nginx() {
    isolated("our_client_speaks_with_nginx", || {
        need("nginx")?;
        client::nginx();
        Ok(())
    });
}

/// Says what a check could not do, and goes on.
fn skipping(checked: Result<(), namespace::Skip>) {
    if let Err(namespace::Skip(why)) = checked {
        println!("skipped: {why}");
    }
}
