//! A delivery that is known to be its provider's: the common part of the two proofs, a signature
//! ([`Verified`](super::Verified)) and an authenticated answer of the provider's API
//! ([`RecoveredDelivery`](super::RecoveredDelivery)). Nothing else makes one.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::condition_templates::ConditionTemplates;
use super::configured::Source;
use super::form;
use super::head::HeadValues;
use super::inbound::Inbound;
use super::origin::EventOrigin;
use super::provider::Provider;
use crate::name::SourceName;

/// An authentic delivery of a source.
#[derive(Debug)]
pub struct AuthenticDelivery {
    source: SourceName,
    uri: Arc<str>,
    provider: Arc<Provider>,
    inbound: Inbound,
    head: HeadValues,
    forwarded: ForwardedHeaders,
    conditions: Arc<ConditionTemplates>,
    received_at: Timestamp,
    origin: EventOrigin,
}

/// What travels with the message, so that a consumer can verify the delivery again, and what the
/// source asks for besides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ForwardedHeaders {
    /// The signature header's value, as received.
    pub signature: Option<String>,
    /// Headers under their own names, in lower case: those that the signature covers, and those that
    /// the source copies.
    pub headers: Vec<(String, String)>,
    /// The URL that the signature covers.
    pub url: Option<String>,
}

impl AuthenticDelivery {
    /// One whose signature was proven.
    pub(super) fn webhook(
        source: &Source,
        (head, inbound): (HeadValues, Inbound),
        forwarded: ForwardedHeaders,
        received_at: Timestamp,
    ) -> Self {
        Self {
            source: source.name.clone(),
            uri: Arc::clone(&source.uri),
            provider: Arc::clone(&source.provider),
            inbound,
            head,
            forwarded,
            conditions: Arc::clone(&source.conditions),
            received_at,
            origin: EventOrigin::Webhook,
        }
    }

    /// One that stood in an authenticated answer: without a head, and without a signature.
    pub(super) fn backfill(source: &Source, inbound: Inbound, received_at: Timestamp) -> Self {
        let request = (HeadValues::default(), inbound);
        Self {
            origin: EventOrigin::Backfill,
            ..Self::webhook(source, request, ForwardedHeaders::default(), received_at)
        }
    }

    /// The source's name.
    #[must_use]
    pub fn source(&self) -> &SourceName {
        &self.source
    }

    /// The CloudEvents `source` of its event.
    #[must_use]
    pub fn uri(&self) -> &Arc<str> {
        &self.uri
    }

    /// Whose webhook it is.
    #[must_use]
    pub fn provider(&self) -> &Provider {
        &self.provider
    }

    /// What its head says.
    #[must_use]
    pub fn head(&self) -> &HeadValues {
        &self.head
    }

    /// What came with the request besides its head.
    #[must_use]
    pub fn inbound(&self) -> &Inbound {
        &self.inbound
    }

    /// The body, as received.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.inbound.body
    }

    /// What a repeated delivery is known by where that is not its id: the body. Where the parameters of
    /// a form are signed it is what was signed, because one form can be written in many ways.
    #[must_use]
    pub fn replay_bytes(&self) -> Cow<'_, [u8]> {
        let scheme = &self.provider.signature;
        let of_form = || {
            let sorted_form = form::sorted(self.body())?;
            let parts = scheme.signed_parts(&self.head, self.body(), &sorted_form)?;
            let parts: Vec<&[u8]> = parts.iter().map(AsRef::as_ref).collect();
            Some(parts.concat())
        };
        let signed = scheme.signs_form().then(of_form).flatten();
        signed.map_or(Cow::Borrowed(self.body().as_ref()), Cow::Owned)
    }

    /// What the conditions of the source's routes ask for.
    #[must_use]
    pub fn conditions(&self) -> &ConditionTemplates {
        &self.conditions
    }

    /// When it was proven.
    #[must_use]
    pub fn received_at(&self) -> Timestamp {
        self.received_at
    }

    /// How it came in.
    #[must_use]
    pub fn origin(&self) -> EventOrigin {
        self.origin
    }

    /// Takes it apart for the event: what came with the request, and what of its head travels along.
    #[must_use]
    pub fn into_parts(self) -> (Inbound, ForwardedHeaders) {
        (self.inbound, self.forwarded)
    }
}
