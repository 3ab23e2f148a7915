//! TLS 1.3 and 1.2 over pollwire's TCP connections.
//!
//! [`TlsFlow`] reads and writes as [`TcpFlow`](pollwire_core::TcpFlow) does,
//! and opens and seals records in the frames in which they travel.
//! [`Engine`](engine::Engine) is the same without a network: records in,
//! records out.
//!
//! The protocol is rustls's, the cryptography ring's; their names appear in
//! `engine` and `config` only.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod config;
pub mod engine;
mod error;
mod flow;
mod info;

pub use config::{
    ClientCertificates, ClientConfig, ClientConfigBuilder, Fingerprint, Roots, ServerConfig,
    ServerConfigBuilder, Versions, WallClock,
};
pub use error::{Alert, CertificateFault, TlsError};
pub use flow::{Plaintext, ReadHalf, TlsFlow, WriteHalf};
pub use info::{CipherSuite, ConnectionInfo, KeyExchange, Version};
pub use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

/// Formats of certificates and keys.
pub use rustls_pki_types as pki_types;

/// Runs the README's example as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
