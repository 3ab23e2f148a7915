//! Certificates for tests.

use pollwire_tls::{CertificateDer, PrivateKeyDer, Roots};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// An authority.
pub(crate) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

/// A certificate and its key.
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

impl Identity {
    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.clone()]
    }

    pub(crate) fn certificate_pem(&self) -> &str {
        &self.pem
    }

    pub(crate) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).expect("a key")
    }
}

/// How a certificate is to be.
pub(crate) struct Wanted<'a> {
    pub(crate) names: &'a [&'a str],
    pub(crate) until: i32,
    pub(crate) client: bool,
}

impl Authority {
    pub(crate) fn new(common_name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2040, 1, 1);
        let key = KeyPair::generate().expect("entropy");
        let certificate = params.self_signed(&key).expect("signed");
        let issuer = Issuer::new(params, key);
        Self {
            pem: certificate.pem(),
            issuer,
            certificate: certificate.der().clone(),
        }
    }

    /// It, as PEM file.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// It alone, to be trusted.
    pub(crate) fn roots(&self) -> Roots {
        Roots::empty().with(self.certificate.clone()).expect("fine")
    }

    pub(crate) fn issue(&self, wanted: &Wanted<'_>) -> Identity {
        let names: Vec<_> = wanted.names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.not_before = date_time_ymd(2025, 1, 1);
        params.not_after = date_time_ymd(wanted.until, 1, 1);
        params.extended_key_usages = vec![if wanted.client {
            ExtendedKeyUsagePurpose::ClientAuth
        } else {
            ExtendedKeyUsagePurpose::ServerAuth
        }];
        let key = KeyPair::generate().expect("entropy");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        Identity {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            key,
        }
    }

    /// A server's, valid in 2026.
    pub(crate) fn server(&self, name: &str) -> Identity {
        self.issue(&Wanted {
            names: &[name],
            until: 2030,
            client: false,
        })
    }

    pub(crate) fn client(&self, name: &str) -> Identity {
        self.issue(&Wanted {
            names: &[name],
            until: 2030,
            client: true,
        })
    }
}
