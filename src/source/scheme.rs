//! How a provider's deliveries are proven, and how its secrets are written.

/// How deliveries are proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// An HMAC (RFC 2104) under a shared secret.
    Hmac(Hash),
    /// An Ed25519 signature (RFC 8032), with the sender's public key.
    Ed25519,
    /// An ECDSA signature over P-256 and SHA-256 (FIPS 186-5), in ASN.1 DER.
    EcdsaP256,
    /// A shared secret in a header of each request.
    Token,
    /// A shared secret in the path of the URL.
    Url,
}

impl Scheme {
    /// Whether a signature covers what is sent, so that a consumer can verify it again.
    #[must_use]
    pub fn signs(self) -> bool {
        !matches!(self, Self::Token | Self::Url)
    }

    /// The bytes that a signature can have; a truncated one is as malformed as any other text.
    #[must_use]
    pub fn has_length(self, length: usize) -> bool {
        match self {
            Self::Hmac(hash) => length == hash.bytes(),
            Self::Ed25519 => length == 64,
            // A sequence of two numbers of up to 33 bytes, each with its tag and its length.
            Self::EcdsaP256 => (8..=72).contains(&length),
            Self::Token | Self::Url => length > 0,
        }
    }
}

/// The hash function of an HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hash {
    /// SHA-1: not broken in an HMAC, and what older senders have.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Hash {
    /// Bytes of its output.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// What tells a repeated delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// The event's id.
    Id,
    /// The bytes of the body: the id is not signed, so anybody could send them under another one.
    Body,
}

/// How the key of a secret is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyForm {
    /// The text is the key.
    #[default]
    Text,
    /// Base64 of the key's bytes.
    Base64,
    /// Hex of the key's bytes.
    Hex,
    /// PEM (RFC 7468) of a public key.
    Pem,
}

/// How a provider's secrets are written, and what they are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretForm {
    /// What they prove.
    pub scheme: Scheme,
    /// How the key is written.
    pub key: KeyForm,
    /// What may stand before it, such as `whsec_`.
    pub prefix: String,
}

impl Default for SecretForm {
    /// A text that is the key of an HMAC-SHA256.
    fn default() -> Self {
        Self {
            scheme: Scheme::Hmac(Hash::Sha256),
            key: KeyForm::Text,
            prefix: String::new(),
        }
    }
}
