//! What `fetch` and `resolve` print with `--json`, as a parser reads it.

use std::time::Duration;

use pollwire::rings::memory::Impairments;
use pollwire_apps::{Finished, fetch, resolve};
use serde_json::{Value, json};

use super::world::{CERTIFICATE, World, cell, devices, serve};

const NAME: &str = "unikernel.test=2001:db8::9,10.0.0.2";
const NETWORK: [&str; 2] = ["--ipv4=10.0.0.1/24", "--nameserver=10.0.0.2"];

/// Runs a program on the client's host, once IPv6 is up.
fn run(program: &str, arguments: &[&str]) -> (Value, u8) {
    let devices = devices(Impairments::NONE, 1);
    let cells = (cell(1, &devices.0), cell(2, &devices.1));
    let mut world = World::new(&cells, devices);
    let net = world.client.net();
    let clock = serve(world.server.net(), NAME);
    let arguments = NETWORK.iter().chain(arguments).copied();
    let arguments = arguments.chain(["--json"]);
    let task = if program == "fetch" {
        let (_, request) = fetch::arguments(&fetch::PROGRAM, arguments).expect("fine");
        net.spawn(async move {
            net.sleep(Duration::from_secs(3)).await;
            fetch::run(net, request, clock).await
        })
    } else {
        let (_, question) = resolve::arguments(&resolve::PROGRAM, arguments).expect("fine");
        net.spawn(async move { resolve::run(net, question, clock).await })
    };
    let Finished { text, exit_code } = world.finish(task);
    world.check_empty();
    assert!(!text.contains('\n'), "one line: {text}");
    let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (value, exit_code)
}

#[test]
fn fetch_tells_lookups_attempts_winner_tls_page_and_times() {
    let pem = String::from_utf8_lossy(CERTIFICATE);
    let base64 = pem.lines().filter(|line| !line.starts_with('-'));
    let authority = format!("--cacert={}", base64.collect::<String>());
    let (told, code) = run("fetch", &[&authority, "https://unikernel.test/"]);
    assert_eq!(code, 0, "{told}");
    assert_eq!(told["url"], "https://unikernel.test/");
    assert_eq!(told["error"], Value::Null);
    assert_eq!(told["status"], 200);
    assert_eq!(told["sha256"].as_str().map(str::len), Some(64));
    assert_eq!(told["winner"], "10.0.0.2:443");
    let lookups = told["lookups"].as_array().expect("lookups");
    let of = |kind: &str| {
        let found = lookups.iter().find(|lookup| lookup["type"] == kind);
        found.unwrap_or_else(|| panic!("no {kind} in {told}"))
    };
    assert_eq!(of("A")["addresses"], json!(["10.0.0.2"]));
    assert_eq!(of("AAAA")["addresses"], json!(["2001:db8::9"]));
    assert_eq!(of("HTTPS")["error"], "no records of that type");
    let attempts = told["attempts"].as_array().expect("attempts");
    assert_eq!(attempts.len(), 2, "{told}");
    assert_eq!(attempts[0]["address"], "[2001:db8::9]:443");
    assert_eq!(attempts[0]["outcome"], "given-up");
    assert_eq!(attempts[1]["address"], "10.0.0.2:443");
    assert_eq!(attempts[1]["outcome"], "connected");
    assert_eq!(attempts[1]["via"], "host");
    let micros = |value: &Value| value.as_u64().expect("microseconds");
    assert!(micros(&attempts[1]["start_us"]) >= 250_000);
    assert!(micros(&attempts[1]["end_us"]) >= micros(&attempts[1]["start_us"]));
    let tls = &told["tls"];
    assert_eq!(tls["version"], "TLS 1.3");
    assert_eq!(tls["alpn"], "http/1.1");
    assert_eq!(tls["resumed"], false);
    assert_eq!(tls["certificates"], 1);
    for fact in ["suite", "key_exchange", "certificate_sha256"] {
        assert!(tls[fact].is_string(), "{fact} in {told}");
    }
    assert_eq!(told["lease"], Value::Null, "the address was given");
    let times = &told["times"];
    let mut last = 0;
    for step in ["resolved", "connected", "secured", "first_byte", "done"] {
        let at = micros(&times[format!("{step}_us")]);
        assert!(at >= last, "{step} in {told}");
        last = at;
    }
}

#[test]
fn fetch_tells_why_nothing_came() {
    let (told, code) = run("fetch", &["https://unikernel.test/"]);
    assert_eq!(code, 1, "{told}");
    assert!(told["error"].is_string());
    assert_eq!(told["tls"], Value::Null);
    assert_eq!(told["winner"], Value::Null);
    assert_eq!(told["attempts"][1]["outcome"], "failed");
    assert!(told["attempts"][1]["cause"].is_string(), "{told}");
    let (told, code) = run("fetch", &["https://nobody.test/"]);
    assert_eq!(code, 1, "{told}");
    assert_eq!(told["error"], "no address: no such name");
}

#[test]
fn resolve_tells_answers() {
    let (told, code) = run("resolve", &["--host=Unikernel.test"]);
    assert_eq!(code, 0, "{told}");
    assert_eq!(told["host"], "Unikernel.test");
    assert!(told["elapsed_us"].is_u64());
    assert_eq!(told["lease"], Value::Null);
    let first = &told["lookups"][0];
    assert_eq!(first["type"], "A");
    assert_eq!(first["error"], Value::Null);
    assert_eq!(first["source"], "10.0.0.2:53");
    assert_eq!(first["authentic"], false);
    let record = json!({
        "name": "unikernel.test.", "ttl": 60, "type": "A", "data": "10.0.0.2",
    });
    assert_eq!(first["records"], json!([record]));
    assert_eq!(told["lookups"][1]["records"][0]["data"], "2001:db8::9");
    let (told, code) = run("resolve", &["--host=nobody.test", "--type=mx"]);
    assert_eq!(code, 2, "{told}");
    assert_eq!(told["lookups"][0]["error"], "no such name");
}
