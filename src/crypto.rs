//! The cryptography under TLS: one provider for all that speaks it here, but librdkafka, which brings
//! OpenSSL. Libraries are given it by name, because one that is left to choose takes what a feature
//! of another library has turned on, and whichever set itself up first would be everybody's.

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use ureq::tls::{RootCerts, TlsConfig, TlsConfigBuilder};

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
