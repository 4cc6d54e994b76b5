//! Sources of webhooks: providers and their signature schemes as data, and the one way to make a
//! [`Verified`] delivery.
//!
//! A delivery is checked in two steps, because the cheap one comes before the body is read:
//! [`Source::read_signature`] takes the head, [`Claim::verify`] takes the bytes.

pub mod api_proxy;
mod authentic;
mod condition_templates;
mod configured;
mod encoding;
pub mod form;
mod generated_key;
mod handshake;
mod head;
mod inbound;
mod origin;
mod proof_label;
mod provider;
mod provider_api;
mod public_key;
mod recovered_delivery;
mod rejection;
mod sample;
mod scheme;
mod secret;
mod secret_text;
mod signature;
mod signer;
mod template;
mod time_unit;
mod verified;

pub use authentic::{AuthenticDelivery, ForwardedHeaders};
pub use condition_templates::ConditionTemplates;
pub use configured::{DEFAULT_TOLERANCE, DeduplicationWindow, MAX_SECRETS, Source};
pub use encoding::Encoding;
pub use generated_key::GeneratedKey;
pub use handshake::{HandshakeRefused, HandshakeReply};
pub use head::{DeliveryHead, HeadValues, HeaderValue, RequestHead};
pub use inbound::Inbound;
pub use origin::EventOrigin;
pub use proof_label::ProofLabel;
pub use provider::*;
pub use provider_api::{
    API_DEADLINE, ApiConventions, ApiError, ApiKey, ApiKeyError, ApiRequest, ApiResponse,
    ApiSettings, ProviderApi,
};
pub use recovered_delivery::{NotRecoverable, RecoveredDelivery};
pub use rejection::Rejection;
pub use sample::{Sample, SampleValues};
pub use scheme::{Hash, KeyForm, Replay, Scheme, SecretForm};
pub use secret::Secret;
pub use secret_text::{SecretDoubt, SecretError, doubt, secret_text, without_name, without_quotes};
pub use signature::{MAX_SIGNATURES, SignatureHeader, SignatureScheme};
pub use signer::{SigningKey, with_query};
pub use template::{FieldTemplate, FieldTemplateError, TemplatePart, Variable, is_header_name};
pub use time_unit::TimeUnit;
pub use verified::{Claim, SignedDelivery, Verified};
