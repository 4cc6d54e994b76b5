//! The providers the bridge knows, as data. A new provider is a new `static` here and, where its
//! body looks different, a new [`BodyFormat`] that `event/` reads.

use super::signature::SignatureScheme;

/// How a provider's body names the event; `event/` holds the reader of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFormat {
    /// One Codex's delivery: `event_type`, `object_type`, `triggered_at` and `object.$uri`.
    OneCodex,
}

/// A sender of webhooks: how it signs, what it sends.
#[derive(Debug)]
pub struct Provider {
    /// The name a configuration uses.
    pub name: &'static str,
    /// How its deliveries are signed.
    pub scheme: SignatureScheme,
    /// How its bodies are read.
    pub format: BodyFormat,
    /// The event types it documents today.
    pub event_types: &'static [&'static str],
    /// The CloudEvents `source` unless the configuration names another.
    pub uri: &'static str,
}

/// One Codex, a platform for microbial genomics (<https://docs.onecodex.com>, webhooks).
pub static ONE_CODEX: Provider = Provider {
    name: "onecodex",
    scheme: SignatureScheme {
        header: "x-onecodex-signature",
        example: "t=1492774577 v1=<64 hex digits>",
    },
    format: BodyFormat::OneCodex,
    event_types: &["sample.uploaded", "analysis.succeeded", "analysis.failed"],
    uri: "https://app.onecodex.com",
};

/// Every provider, for the configuration to choose from.
pub static PROVIDERS: &[&Provider] = &[&ONE_CODEX];
