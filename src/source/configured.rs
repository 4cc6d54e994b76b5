//! A configured source: a provider, its secrets, and what is asked of its deliveries.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::condition_templates::ConditionTemplates;
use super::head::HeadValues;
use super::inbound::Inbound;
use super::provider::Provider;
use super::secret::Secret;
use crate::name::SourceName;

/// The most secrets a source may have at once: each costs a signature over the body per delivery.
pub const MAX_SECRETS: usize = 4;

/// How far a signature's timestamp may be from now unless the configuration says otherwise.
pub const DEFAULT_TOLERANCE: Duration = Duration::from_secs(300);

/// A configured source: its provider, its secrets, its tolerance.
#[derive(Debug, Clone)]
pub struct Source {
    /// The name, as in the webhook URL.
    pub name: SourceName,
    /// Whose webhooks these are.
    pub provider: Arc<Provider>,
    /// The CloudEvents `source` of its events.
    pub uri: Arc<str>,
    /// The secrets a delivery may be signed with, at most [`MAX_SECRETS`].
    pub secrets: Vec<Secret>,
    /// How far the signature's timestamp may be from now, on both sides.
    pub tolerance: Duration,
    /// For how long a delivery may be late besides; no longer than `tolerance`, where none.
    pub deduplication: Option<DeduplicationWindow>,
    /// Whether what a consumer needs to verify again travels with the event.
    pub forward_signature: bool,
    /// The webhook's URL as its sender knows it, where that is signed.
    pub url: Option<String>,
    /// The headers that travel with the event besides, by their names in lower case.
    pub headers: Vec<String>,
    /// What a handshake is compared with.
    pub verify: Option<Secret>,
    /// What the conditions of its routes ask for.
    pub conditions: Arc<ConditionTemplates>,
}

/// How long events are remembered: for as long a late delivery is let in, because a second copy of
/// it is known as such.
#[derive(Debug, Clone, Copy)]
pub struct DeduplicationWindow {
    /// How long after an event's own time its id is remembered; where it has none, after it came.
    pub window: Duration,
    /// Reads that time from a delivery.
    pub own_time: fn(&Source, &HeadValues, &Inbound) -> Option<Timestamp>,
}

impl Source {
    /// A source whose other settings have their defaults.
    #[must_use]
    pub fn new(name: SourceName, provider: Arc<Provider>, secrets: Vec<Secret>) -> Self {
        Self {
            name,
            uri: provider.uri.as_str().into(),
            provider,
            secrets,
            tolerance: DEFAULT_TOLERANCE,
            deduplication: None,
            forward_signature: true,
            url: None,
            headers: Vec::new(),
            verify: None,
            conditions: Arc::default(),
        }
    }

    /// The first secret that makes one of the signatures of these parts; every pair is tried, without
    /// early exit.
    pub(super) fn matching_secret(&self, parts: &[&[u8]], signatures: &[Vec<u8>]) -> Option<usize> {
        let secrets = self.secrets.iter().enumerate();
        secrets.fold(None, |found, (index, secret)| {
            let matches = secret.matches(parts, signatures);
            found.or(matches.then_some(index))
        })
    }
}

/// Whole seconds, as signatures count them.
pub(super) fn whole_seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
}
