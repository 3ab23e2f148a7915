//! A certificate that the `openssl` program makes.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::host::temporary;
use super::namespace::{Skip, need};

/// For whom it is, in the form of the program's own configuration.
const SETTINGS: &str = "\
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = www.example
[extensions]
subjectAltName = DNS:www.example, DNS:slow.example, DNS:far.example
basicConstraints = critical, CA:FALSE
";

/// A self-signed certificate for `www.example`, `slow.example` and `far.example`.
pub(crate) struct Certificate {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

impl Certificate {
    pub(crate) fn new() -> Result<Self, Skip> {
        need("openssl")?;
        let settings = temporary("settings");
        fs::write(&settings, SETTINGS).expect("writable");
        let (chain, key) = (temporary("chain.pem"), temporary("key.pem"));
        let output = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "30"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .arg("-config")
            .arg(settings)
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&chain)
            .output()
            .expect("openssl runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
        Ok(Self { chain, key })
    }

    /// What a shell makes of the certificate on its standard input.
    fn through(&self, pipeline: &str) -> String {
        let file = fs::File::open(&self.chain).expect("readable");
        let output = Command::new("sh")
            .args(["-c", pipeline])
            .stdin(file)
            .stderr(Stdio::inherit())
            .output()
            .expect("a shell runs");
        assert!(output.status.success(), "{pipeline}");
        let text = String::from_utf8(output.stdout).expect("text");
        text.trim().to_owned()
    }

    /// The certificate in Base64.
    pub(crate) fn base64(&self) -> String {
        self.through("openssl x509 -outform der | openssl base64 -A")
    }

    /// The SHA-256 of its public key in Base64.
    pub(crate) fn key_hash(&self) -> String {
        self.through(
            "openssl x509 -pubkey -noout | openssl pkey -pubin -outform der \
             | openssl dgst -sha256 -binary | openssl base64 -A",
        )
    }
}
