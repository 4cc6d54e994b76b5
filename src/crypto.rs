//! The cryptography under TLS: one provider for all that speaks it here, but librdkafka, which brings
//! OpenSSL. Libraries are given it by name, because one that is left to choose takes what a feature
//! of another library has turned on, and whichever set itself up first would be everybody's.

use std::fmt;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use ureq::tls::{PemItem, RootCerts, TlsConfig, TlsConfigBuilder, parse_pem};

static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

/// The provider: aws-lc-rs, which also takes keys on P-521 and, with a peer that can, agrees on a
/// secret that a quantum computer does not find out (X25519MLKEM768).
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::clone(&PROVIDER)
}

/// What an HTTP request made here goes through TLS with: to whomever the system's authorities vouch
/// for, among which an operator may have put one of his own.
#[must_use]
pub fn requests() -> TlsConfigBuilder {
    TlsConfig::builder()
        .unversioned_rustls_crypto_provider(provider())
        .root_certs(RootCerts::PlatformVerifier)
}

/// A file of certificate authorities, which has been checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorities {
    /// What it holds, PEM.
    pub pem: String,
    /// When the last of them expires.
    pub until: Timestamp,
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "until {}", self.until)
    }
}

/// The same, to whomever these authorities vouch for; the system's, where none.
#[must_use]
pub fn requests_to(authorities: Option<&Authorities>) -> TlsConfig {
    let Some(authorities) = authorities else {
        return requests().build();
    };
    let items = parse_pem(authorities.pem.as_bytes()).flatten();
    let certificates = items.filter_map(|item| match item {
        PemItem::Certificate(certificate) => Some(certificate),
        _ => None,
    });
    requests().root_certs(certificates.into()).build()
}
