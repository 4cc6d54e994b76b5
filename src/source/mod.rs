//! Sources of webhooks: providers and their signature schemes as data, and the one way to make a
//! [`Verified`] delivery.
//!
//! A delivery is checked in two steps, because the cheap one comes before the body is read:
//! [`Source::read_signature`] takes the header, [`Claim::verify`] takes the bytes.

mod encoding;
mod provider;
mod rejection;
mod secret;
mod secret_text;
mod signature;
mod verified;

pub use encoding::Encoding;
pub use provider::{BodyFormat, ONE_CODEX, PROVIDERS, Provider};
pub use rejection::Rejection;
pub use secret::Secret;
pub use secret_text::{SecretDoubt, SecretError, doubt, secret_text, without_name, without_quotes};
pub use signature::{MAX_SIGNATURES, SignatureHeader, SignatureScheme};
pub use verified::{Claim, DeduplicationWindow, Inbound, MAX_SECRETS, Source, Verified};
