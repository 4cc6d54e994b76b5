//! Public keys of senders that sign with a private one: Ed25519 (RFC 8032) and ECDSA over P-256
//! (FIPS 186-5).

use std::sync::Arc;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, ParsedPublicKey, UnparsedPublicKey, VerificationAlgorithm,
};
use x509_parser::pem::parse_x509_pem;

use super::scheme::Scheme;
use super::secret_text::SecretError;

/// A sender's public key.
#[derive(Clone)]
pub(super) struct PublicKey(Arc<ParsedPublicKey>);

impl PublicKey {
    /// Reads a key from its bytes: a raw one, a `SubjectPublicKeyInfo` (RFC 5280) in DER, or that in
    /// PEM.
    ///
    /// # Errors
    /// When it is none, or of another algorithm.
    pub fn parse(bytes: &[u8], scheme: Scheme) -> Result<Self, SecretError> {
        let pem = bytes.trim_ascii_start().starts_with(b"-----BEGIN ");
        let decoded = match pem {
            true => Some(from_pem(bytes)?),
            false => None,
        };
        let algorithm: &'static dyn VerificationAlgorithm = match scheme {
            Scheme::Ed25519 => &ED25519,
            _ => &ECDSA_P256_SHA256_ASN1,
        };
        let key = UnparsedPublicKey::new(algorithm, decoded.as_deref().unwrap_or(bytes));
        let parsed = key.parse().map_err(|_| SecretError::NotPublicKey)?;
        Ok(Self(Arc::new(parsed)))
    }

    /// Whether it verifies this signature of the message.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify_sig(message, signature).is_ok()
    }
}

fn from_pem(bytes: &[u8]) -> Result<Vec<u8>, SecretError> {
    let (_, pem) = parse_x509_pem(bytes).map_err(|_| SecretError::NotPublicKey)?;
    match pem.label.as_str() {
        "PUBLIC KEY" => Ok(pem.contents),
        "PRIVATE KEY" | "EC PRIVATE KEY" => Err(SecretError::PrivateKey),
        _ => Err(SecretError::NotPublicKey),
    }
}
