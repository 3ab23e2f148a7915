//! The record layer of an open connection (RFC 8446, 5; RFC 5246, 6): records
//! are sealed and opened where they lie.
//!
//! The ciphers are ring's. Opening goes through rustls's own decrypters, which
//! work in place; its encrypters allocate and copy, so sealing is done here.

use alloc::boxed::Box;
use core::ops::Range;

use ring::aead;
use rustls::crypto::cipher::{
    InboundOpaqueMessage, Iv, MessageDecrypter, NONCE_LEN, Nonce, make_tls12_aad, make_tls13_aad,
};
use rustls::{ConnectionTrafficSecrets, ContentType, Error, ProtocolVersion, SupportedCipherSuite};

/// Bytes of a record's header.
pub(crate) const HEADER: usize = 5;
/// Most plaintext that one record carries.
pub(crate) const MAX_PLAINTEXT: usize = 1 << 14;
/// Most bytes behind a header: RFC 5246, 6.2.3 (RFC 8446 allows less, which the
/// decrypter checks).
const MAX_BODY: usize = MAX_PLAINTEXT + 2048;
/// Bytes of the authentication tag of every suite.
const TAG: usize = 16;
/// Bytes of the nonce that TLS 1.2's GCM sends along (RFC 5288, 3).
const EXPLICIT_NONCE: usize = 8;

/// What is wrong with a record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadHeader {
    /// Not TLS.
    NotTls,
    /// Longer than a record may be.
    TooLong,
}

/// The length of the record that `bytes` begin with, its header included;
/// `None` while too few bytes of the header are there.
pub(crate) fn length(bytes: &[u8]) -> Result<Option<usize>, BadHeader> {
    let Some(&[kind, major, _, high, low]) = bytes.first_chunk::<HEADER>() else {
        return match bytes {
            [kind, ..] if !(20..=23).contains(kind) => Err(BadHeader::NotTls),
            _ => Ok(None),
        };
    };
    // "MUST be ignored for all purposes" says RFC 8446, 5.1 of the record's
    // version; the major number still tells TLS from what is none.
    if !(20..=23).contains(&kind) || major != 3 {
        return Err(BadHeader::NotTls);
    }
    let body = usize::from(u16::from_be_bytes([high, low]));
    if body > MAX_BODY {
        return Err(BadHeader::TooLong);
    }
    Ok(Some(HEADER + body))
}

/// Where a suite puts its nonce and its authenticated header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// RFC 8446, 5.2 and 5.3.
    Tls13,
    /// RFC 5288.
    Tls12Gcm,
    /// RFC 7905.
    Tls12ChaCha,
}

/// Bytes of a record around its plaintext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overhead {
    /// Before it: the header, and TLS 1.2's explicit nonce.
    pub front: usize,
    /// Behind it: TLS 1.3's inner type, and the tag.
    pub back: usize,
}

impl Overhead {
    /// Both together.
    #[must_use]
    pub const fn total(self) -> usize {
        self.front + self.back
    }
}

/// Key, nonce base and algorithm out of what rustls extracts.
fn parts(
    secrets: ConnectionTrafficSecrets,
) -> Result<
    (
        &'static aead::Algorithm,
        rustls::crypto::cipher::AeadKey,
        Iv,
    ),
    Error,
> {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv } => Ok((&aead::AES_128_GCM, key, iv)),
        ConnectionTrafficSecrets::Aes256Gcm { key, iv } => Ok((&aead::AES_256_GCM, key, iv)),
        ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
            Ok((&aead::CHACHA20_POLY1305, key, iv))
        }
        _ => Err(Error::General("a cipher that ring has not".into())),
    }
}

/// Protects what is sent, under one key.
pub(crate) struct Sealer {
    key: aead::LessSafeKey,
    iv: Iv,
    shape: Shape,
    seq: u64,
    /// Records that the key may protect.
    limit: u64,
}

impl Sealer {
    pub(crate) fn new(
        suite: SupportedCipherSuite,
        seq: u64,
        secrets: ConnectionTrafficSecrets,
    ) -> Result<Self, Error> {
        let (algorithm, key, iv) = parts(secrets)?;
        let key = aead::UnboundKey::new(algorithm, key.as_ref())
            .map_err(|_| Error::General("a key of the wrong length".into()))?;
        let (shape, limit) = match suite {
            SupportedCipherSuite::Tls13(suite) => {
                (Shape::Tls13, suite.common.confidentiality_limit)
            }
            SupportedCipherSuite::Tls12(suite) => {
                let gcm = algorithm != &aead::CHACHA20_POLY1305;
                let shape = if gcm {
                    Shape::Tls12Gcm
                } else {
                    Shape::Tls12ChaCha
                };
                (shape, suite.common.confidentiality_limit)
            }
        };
        Ok(Self {
            key: aead::LessSafeKey::new(key),
            iv,
            shape,
            seq,
            // Far from where the sequence number would wrap.
            limit: limit.min(u64::MAX >> 1),
        })
    }

    pub(crate) fn overhead(&self) -> Overhead {
        let (front, back) = match self.shape {
            Shape::Tls13 => (HEADER, 1 + TAG),
            Shape::Tls12Gcm => (HEADER + EXPLICIT_NONCE, TAG),
            Shape::Tls12ChaCha => (HEADER, TAG),
        };
        Overhead { front, back }
    }

    /// Whether the key has protected nearly all that it may.
    pub(crate) fn is_worn(&self) -> bool {
        self.seq >= self.limit
    }

    /// Seals the record of type `kind` in `record`, whose plaintext lies
    /// between [`overhead`](Self::overhead)'s two parts.
    pub(crate) fn seal(&mut self, kind: ContentType, record: &mut [u8]) -> Result<(), Error> {
        const FAILED: Error = Error::EncryptError;
        let Overhead { front, back } = self.overhead();
        let plain = record
            .len()
            .checked_sub(front + back)
            .filter(|&plain| plain <= MAX_PLAINTEXT)
            .ok_or(FAILED)?;
        let body = record.len() - HEADER;
        let nonce = Nonce::new(&self.iv, self.seq).0;
        self.seq = self.seq.checked_add(1).ok_or(FAILED)?;
        let (head, rest) = record.split_at_mut_checked(front).ok_or(FAILED)?;
        let (shown, version) = (ContentType::ApplicationData, ProtocolVersion::TLSv1_2);
        let (shown, sealed) = match self.shape {
            Shape::Tls13 => (shown, plain + 1),
            Shape::Tls12Gcm | Shape::Tls12ChaCha => (kind, plain),
        };
        let header = [
            u8::from(shown),
            3,
            3,
            u8::try_from(body >> 8).unwrap_or(0xff),
            u8::try_from(body & 0xff).unwrap_or(0xff),
        ];
        for (to, byte) in head.iter_mut().zip(header.iter().chain(&nonce[4..])) {
            *to = *byte;
        }
        let (inner, tag_space) = rest.split_at_mut_checked(sealed).ok_or(FAILED)?;
        if let (Shape::Tls13, Some(last)) = (self.shape, inner.last_mut()) {
            *last = u8::from(kind);
        }
        let unique = aead::Nonce::assume_unique_for_key(nonce);
        let tag = match self.shape {
            Shape::Tls13 => {
                let aad = aead::Aad::from(make_tls13_aad(body));
                self.key.seal_in_place_separate_tag(unique, aad, inner)
            }
            Shape::Tls12Gcm | Shape::Tls12ChaCha => {
                // The number before the one that was just taken.
                let aad = make_tls12_aad(self.seq - 1, kind, version, plain);
                self.key
                    .seal_in_place_separate_tag(unique, aead::Aad::from(aad), inner)
            }
        }
        .map_err(|_| FAILED)?;
        for (to, byte) in tag_space.iter_mut().zip(tag.as_ref()) {
            *to = *byte;
        }
        Ok(())
    }
}

/// Opens what is received, under one key.
pub(crate) struct Opener {
    decrypter: Box<dyn MessageDecrypter>,
    tls13: bool,
    seq: u64,
}

impl Opener {
    pub(crate) fn new(
        suite: SupportedCipherSuite,
        seq: u64,
        secrets: ConnectionTrafficSecrets,
    ) -> Result<Self, Error> {
        let (algorithm, key, iv) = parts(secrets)?;
        let decrypter = match suite {
            SupportedCipherSuite::Tls13(suite) => suite.aead_alg.decrypter(key, iv),
            SupportedCipherSuite::Tls12(suite) => {
                let gcm = algorithm != &aead::CHACHA20_POLY1305;
                let fixed = if gcm { 4 } else { NONCE_LEN };
                let iv = iv.as_ref().get(..fixed).unwrap_or_default();
                suite.aead_alg.decrypter(key, iv)
            }
        };
        Ok(Self {
            decrypter,
            tls13: matches!(suite, SupportedCipherSuite::Tls13(_)),
            seq,
        })
    }

    /// Opens the one record that `record` is. Gives the type inside, and where
    /// the plaintext lies now.
    pub(crate) fn open(&mut self, record: &mut [u8]) -> Result<(ContentType, Range<usize>), Error> {
        let Some((header, body)) = record.split_first_chunk_mut::<HEADER>() else {
            return Err(Error::DecryptError);
        };
        let kind = ContentType::from(header[0]);
        // RFC 8446, 5.2: "The outer opaque_type field of a TLSCiphertext record
        // is always set to the value 23".
        if self.tls13 && kind != ContentType::ApplicationData {
            return Err(Error::InappropriateMessage {
                expect_types: alloc::vec![ContentType::ApplicationData],
                got_type: kind,
            });
        }
        let version = ProtocolVersion::from(u16::from_be_bytes([header[1], header[2]]));
        let body_at = body.as_ptr().addr();
        let sealed = InboundOpaqueMessage::new(kind, version, body);
        let plain = self.decrypter.decrypt(sealed, self.seq)?;
        let start = HEADER + plain.payload.as_ptr().addr().saturating_sub(body_at);
        let (kind, end) = (plain.typ, start + plain.payload.len());
        self.seq = self.seq.checked_add(1).ok_or(Error::DecryptError)?;
        Ok((kind, start..end))
    }
}
