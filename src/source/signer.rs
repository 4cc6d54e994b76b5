//! The sender's side of a signature scheme: the headers that sign a delivery. Used by `send`, `demo`,
//! `explain` and tests.

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use jiff::Timestamp;
use x509_parser::pem::parse_x509_pem;

use super::encoding::Encoding;
use super::head::{DeliveryHead, HeadValues};
use super::provider::Provider;
use super::scheme::{Scheme, SecretForm};
use super::secret::Secret;
use super::secret_text::{SecretError, secret_text};
use super::signature::SignatureScheme;
use super::template::Variable;

/// What a sender signs with.
#[derive(Clone)]
pub enum SigningKey {
    /// A shared secret.
    Hmac(Secret),
    /// An Ed25519 private key.
    Ed25519(Arc<Ed25519KeyPair>),
    /// A private key over P-256.
    EcdsaP256(Arc<EcdsaKeyPair>),
    /// A token, which is sent as it is.
    Token(String),
}

impl SigningKey {
    /// Takes the key as it lies in a file: a secret in the form that the provider writes it, or a
    /// private key as PKCS #8 in PEM (RFC 5958, RFC 7468).
    ///
    /// # Errors
    /// When there is none, or it is not of this form.
    pub fn read(
        bytes: &[u8],
        form: &SecretForm,
        encoding: Option<Encoding>,
    ) -> Result<Self, SecretError> {
        let rejected = |_| SecretError::NotPrivateKey;
        match form.scheme {
            Scheme::Hmac(_) => Secret::read(bytes, form, encoding).map(Self::Hmac),
            Scheme::Token | Scheme::Url => Ok(Self::Token(secret_text(bytes)?.to_owned())),
            Scheme::Ed25519 => {
                let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8(bytes)?);
                Ok(Self::Ed25519(Arc::new(key.map_err(rejected)?)))
            }
            Scheme::EcdsaP256 => {
                let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
                let key = EcdsaKeyPair::from_pkcs8(algorithm, &pkcs8(bytes)?);
                Ok(Self::EcdsaP256(Arc::new(key.map_err(rejected)?)))
            }
        }
    }

    fn sign(&self, parts: &[&[u8]], scheme: &SignatureScheme) -> String {
        let signature = match self {
            Self::Token(token) => return token.clone(),
            Self::Hmac(secret) => secret.sign(parts),
            Self::Ed25519(key) => key.sign(&parts.concat()).as_ref().to_vec(),
            Self::EcdsaP256(key) => {
                let signature = key.sign(&SystemRandom::new(), &parts.concat());
                signature
                    .expect("the system has random numbers")
                    .as_ref()
                    .to_vec()
            }
        };
        scheme.encode(&signature)
    }
}

fn pkcs8(bytes: &[u8]) -> Result<Vec<u8>, SecretError> {
    let (_, pem) = parse_x509_pem(bytes).map_err(|_| SecretError::NotPrivateKey)?;
    Ok(pem.contents)
}

impl Provider {
    /// The headers that sign a delivery as of `now`, those of `head` among them: a signed header that
    /// it lacks is made up. `url` is where it goes, without its query. A secret that belongs into the
    /// URL is in none of them.
    #[must_use]
    pub fn sign(
        &self,
        key: &SigningKey,
        head: DeliveryHead,
        (url, body): (&str, &[u8]),
        now: Timestamp,
    ) -> Vec<(String, String)> {
        let scheme = &self.signature;
        let mut head = head;
        for name in scheme.signed_headers() {
            if !head.headers.iter().any(|(of, _)| of == name) {
                let is_time = matches!(&scheme.timestamp, Some(Variable::Header(of)) if of == name);
                let value = if is_time {
                    scheme.unit.write(now)
                } else {
                    format!("msg_{:016x}", rand::random::<u64>())
                };
                head.headers.push((name.to_owned(), value));
            }
        }
        let mut values = HeadValues::take(&head, scheme.signed.variables());
        values.set_url(with_query(url, head.query.as_deref()));
        let value = scheme.sign_values(values, body, now, &|parts| key.sign(parts, scheme));
        let mut headers = head.headers;
        if let Some(name) = scheme.headers.first() {
            headers.push((name.clone(), value));
        }
        headers
    }

    /// The head of a delivery that a shared secret signs as of `now`, without anything else in it.
    #[must_use]
    pub fn signed_head(&self, secret: &Secret, body: &[u8], now: Timestamp) -> DeliveryHead {
        let key = SigningKey::Hmac(secret.clone());
        let headers = self.sign(&key, DeliveryHead::default(), ("", body), now);
        DeliveryHead::of(headers)
    }
}

impl SignatureScheme {
    /// The header's value that signs `body` at `now`, for a scheme that covers no header besides its
    /// own.
    #[must_use]
    pub fn sign(&self, secret: &Secret, body: &[u8], now: Timestamp) -> String {
        let sign = |parts: &[&[u8]]| self.encode(&secret.sign(parts));
        self.sign_values(HeadValues::default(), body, now, &sign)
    }

    fn sign_values(
        &self,
        mut values: HeadValues,
        body: &[u8],
        now: Timestamp,
        sign: &dyn Fn(&[&[u8]]) -> String,
    ) -> String {
        let mut items = Vec::new();
        if let Some(Variable::Item(name)) = &self.timestamp {
            items.push((name.clone(), self.unit.write(now)));
        }
        values.set_items(items.clone());
        let sorted_form = super::form::sorted(body).unwrap_or_default();
        let parts = self
            .signed_parts(&values, body, &sorted_form)
            .unwrap_or_default();
        let parts: Vec<&[u8]> = parts.iter().map(AsRef::as_ref).collect();
        let named: Vec<(&str, &str)> = items
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        self.write(&named, &sign(&parts))
    }
}

/// A URL with a query behind it.
#[must_use]
pub fn with_query(url: &str, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("{url}?{query}"),
        None => url.to_owned(),
    }
}
