//! X25519MLKEM768 (draft-ietf-tls-ecdhe-mlkem): a key exchange that stays secret
//! when either X25519 or ML-KEM-768 (FIPS 203) does, and so against who records
//! now and has a quantum computer later.
//!
//! ML-KEM is RustCrypto's, for ring has none; X25519 is ring's.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ml_kem::array::Array;
use ml_kem::ml_kem_768::{Ciphertext, DecapsulationKey, EncapsulationKey};
use ml_kem::{B32, Decapsulate, KeyExport, Seed};
use rustls::crypto::ring::kx_group::X25519;
use rustls::crypto::{
    ActiveKeyExchange, CompletedKeyExchange, SecureRandom, SharedSecret, SupportedKxGroup,
};
use rustls::{Error, NamedGroup, PeerMisbehaved, ProtocolVersion};

/// Bytes of an ML-KEM-768 public key (FIPS 203, table 3).
const PUBLIC_KEY: usize = 1184;
/// Bytes of its ciphertext.
const CIPHERTEXT: usize = 1088;

/// The group, for the list of a provider.
pub(super) static X25519_MLKEM768: &dyn SupportedKxGroup = &Hybrid;

#[derive(Debug)]
struct Hybrid;

fn bad_share() -> Error {
    PeerMisbehaved::InvalidKeyShare.into()
}

fn random() -> &'static dyn SecureRandom {
    rustls::crypto::ring::default_provider().secure_random
}

/// ML-KEM's part first, whatever the group's name says.
fn joined(post_quantum: &[u8], classical: &[u8]) -> Vec<u8> {
    [post_quantum, classical].concat()
}

impl SupportedKxGroup for Hybrid {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let classical = X25519.start()?;
        let mut seed = Seed::default();
        random().fill(&mut seed)?;
        let key = Box::new(DecapsulationKey::from_seed(seed));
        let public = joined(&key.encapsulation_key().to_bytes(), classical.pub_key());
        Ok(Box::new(Active {
            classical,
            key,
            public,
        }))
    }

    /// The server's side, whose answer to ML-KEM is not a key of its own but a
    /// ciphertext.
    fn start_and_complete(&self, peer_pub_key: &[u8]) -> Result<CompletedKeyExchange, Error> {
        let (post_quantum, classical) = peer_pub_key
            .split_at_checked(PUBLIC_KEY)
            .ok_or_else(bad_share)?;
        let key = Array::try_from(post_quantum).map_err(|_| bad_share())?;
        // FIPS 203, 7.2: checks the modulus.
        let key = EncapsulationKey::new(&key).map_err(|_| bad_share())?;
        let mut seed = B32::default();
        random().fill(&mut seed)?;
        let (ciphertext, secret) = key.encapsulate_deterministic(&seed);
        let ours = X25519.start_and_complete(classical)?;
        Ok(CompletedKeyExchange {
            group: self.name(),
            pub_key: joined(&ciphertext, &ours.pub_key),
            secret: SharedSecret::from(joined(&secret, ours.secret.secret_bytes())),
        })
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        version == ProtocolVersion::TLSv1_3
    }
}

/// The client's side, waiting for the server's share.
struct Active {
    classical: Box<dyn ActiveKeyExchange>,
    key: Box<DecapsulationKey>,
    public: Vec<u8>,
}

impl ActiveKeyExchange for Active {
    fn complete(self: Box<Self>, peer_pub_key: &[u8]) -> Result<SharedSecret, Error> {
        let (post_quantum, classical) = peer_pub_key
            .split_at_checked(CIPHERTEXT)
            .ok_or_else(bad_share)?;
        let ciphertext = Ciphertext::try_from(post_quantum).map_err(|_| bad_share())?;
        let secret = self.key.decapsulate(&ciphertext);
        let classical = self.classical.complete(classical)?;
        Ok(SharedSecret::from(joined(
            &secret,
            classical.secret_bytes(),
        )))
    }

    /// So that the client offers its X25519 share alone, too: to a server that
    /// does not know the hybrid, no round trip is lost.
    fn hybrid_component(&self) -> Option<(NamedGroup, &[u8])> {
        Some((self.classical.group(), self.classical.pub_key()))
    }

    fn complete_hybrid_component(
        self: Box<Self>,
        peer_pub_key: &[u8],
    ) -> Result<SharedSecret, Error> {
        self.classical.complete(peer_pub_key)
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519MLKEM768
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_come_to_the_same_secret() {
        let client = X25519_MLKEM768.start().expect("entropy");
        assert_eq!(client.pub_key().len(), 1184 + 32);
        let server = X25519_MLKEM768.start_and_complete(client.pub_key());
        let server = server.expect("a good share");
        assert_eq!(server.pub_key.len(), 1088 + 32);
        let secret = client.complete(&server.pub_key).expect("a good share");
        assert_eq!(secret.secret_bytes().len(), 64);
        assert_eq!(secret.secret_bytes(), server.secret.secret_bytes());
    }

    /// Both roles against another implementation of ML-KEM, libcrux's: the bytes on
    /// the wire mean the same to both (draft-ietf-tls-ecdhe-mlkem, 3.1: ML-KEM's
    /// part comes first in shares and secret).
    #[test]
    fn another_ml_kem_comes_to_the_same_secret() {
        use libcrux_ml_kem::mlkem768::{self, MlKem768Ciphertext, MlKem768PublicKey};

        for round in 0..8_u8 {
            // Our client, their server.
            let client = X25519_MLKEM768.start().expect("entropy");
            let (key, classical) = client.pub_key().split_at(PUBLIC_KEY);
            let key = MlKem768PublicKey::try_from(key).expect("its length");
            assert!(mlkem768::validate_public_key(&key));
            let (ciphertext, secret) = mlkem768::encapsulate(&key, [round; 32]);
            let theirs = X25519.start_and_complete(classical).expect("a good share");
            let share = joined(ciphertext.as_slice(), &theirs.pub_key);
            let ours = client.complete(&share).expect("a good share");
            let expected = joined(&secret, theirs.secret.secret_bytes());
            assert_eq!(ours.secret_bytes(), expected);

            // Their client, our server.
            let pair = mlkem768::generate_key_pair([round; 64]);
            let classical = X25519.start().expect("entropy");
            let share = joined(pair.pk(), classical.pub_key());
            let server = X25519_MLKEM768.start_and_complete(&share);
            let server = server.expect("a good share");
            let (ciphertext, ours) = server.pub_key.split_at(CIPHERTEXT);
            let ciphertext = MlKem768Ciphertext::try_from(ciphertext).expect("its length");
            let secret = mlkem768::decapsulate(pair.private_key(), &ciphertext);
            let classical = classical.complete(ours).expect("a good share");
            let expected = joined(&secret, classical.secret_bytes());
            assert_eq!(server.secret.secret_bytes(), expected);
        }
    }

    #[test]
    fn bad_shares_are_refused() {
        let good = X25519_MLKEM768.start().expect("entropy").pub_key().to_vec();
        for length in [0, 32, 1183, 1184, 1215, 1217] {
            let mut share = good.clone();
            share.resize(length, 0);
            assert!(X25519_MLKEM768.start_and_complete(&share).is_err());
            let client = X25519_MLKEM768.start().expect("entropy");
            assert!(client.complete(&share).is_err(), "{length}");
        }
        // Coefficients of 4095, above the modulus.
        let mut share = good;
        share[..3].fill(0xff);
        assert!(X25519_MLKEM768.start_and_complete(&share).is_err());
    }

    #[test]
    fn an_altered_ciphertext_gives_another_secret() {
        let client = X25519_MLKEM768.start().expect("entropy");
        let server = X25519_MLKEM768.start_and_complete(client.pub_key());
        let mut server = server.expect("a good share");
        server.pub_key[100] ^= 1;
        // FIPS 203, 6.3: rejection is implicit.
        let secret = client.complete(&server.pub_key).expect("no error");
        assert_ne!(secret.secret_bytes(), server.secret.secret_bytes());
    }
}
