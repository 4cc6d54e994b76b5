//! `explain`: step by step, why a delivery does or does not verify, and what event it would be.
//!
//! The verdict is the bridge's own: the same functions judge. What is said beyond it, such as which
//! other form of the body would have matched, is for a person who looks for the mistake; the bridge
//! never tries another form.

mod body_variants;
mod explanation;
mod header;
mod secret_variants;
mod variants;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use jiff::Timestamp;

use super::body_input;
use super::command_error::CommandError;
use super::secret_arguments::SecretArguments;
use crate::event::Event;
use crate::name::SourceName;
use crate::source::{
    DeduplicationWindow, DeliveryHead, Inbound, ONE_CODEX, Rejection, Secret, Source, Verified,
};
use crate::trace::TraceContext;
use explanation::Explanation;

/// Say why a delivery does or does not verify.
#[derive(Debug, Args)]
#[command(
    after_help = "The body must be the very bytes that were sent: a copy out of a browser or an editor may differ.
Exit code 0: it verifies. 1: it does not.

Examples:
  hookferry explain --header 't=1492774577 v1=5314…' --body delivery.json --secret-file secret
  hookferry explain --header \"$SIGNATURE\" --body - --secret-env SECRET --now 1492774580 < delivery.json"
)]
pub(super) struct ExplainCommand {
    /// The signature header's value, with or without its name.
    #[arg(long, value_name = "HEADER")]
    header: String,
    /// The body, from a file or from standard input (-).
    #[arg(long, value_name = "FILE")]
    body: PathBuf,
    #[command(flatten)]
    secret: SecretArguments,
    /// When it arrived, in Unix seconds or RFC 3339; now unless given.
    #[arg(long, value_name = "TIME", value_parser = time)]
    now: Option<Timestamp>,
    /// How far the timestamp may be from then, on both sides.
    #[arg(long, value_name = "SPAN", default_value = "300s", value_parser = humantime::parse_duration)]
    tolerance: Duration,
    /// For how long events are remembered: as late a delivery is let in. 0s where the spool is in
    /// memory, or duplicates are forwarded.
    #[arg(long, value_name = "SPAN", default_value = "24h", value_parser = humantime::parse_duration)]
    duplicate_window: Duration,
    /// The source's name in the configuration; the event's id depends on it.
    #[arg(long, value_name = "NAME", default_value = "onecodex", value_parser = source_name)]
    source: SourceName,
}

impl ExplainCommand {
    pub(super) fn run(&self) -> Result<(), CommandError> {
        let text = self.secret.read()?;
        let taken = text.secret();
        let body = Bytes::from(body_input::read(&self.body)?);
        let now = self.now.unwrap_or_else(Timestamp::now);
        let scheme = &ONE_CODEX.signature;
        let value = header::value(&self.header, &scheme.headers[0]);
        let mut explanation = Explanation::new();
        let parsed = scheme.read(&head(value));
        explanation.header(value, &parsed)?;
        explanation.secret(&text, taken.as_ref().err())?;
        // Of one that the bridge does not take, what stands there, for a person to compare with.
        let own = || Secret::from_key(text.expose().trim_ascii(), scheme.scheme());
        let source = self.source(taken.clone().unwrap_or_else(|_| own()));
        let judged = judge(&source, value, body.clone(), now);
        if let Ok(header) = &parsed {
            explanation.timestamp(header, now, &source, &judged)?;
            if !explanation.signature(header, &source.secrets[0], &body)? {
                explanation.other_forms(value, &text, &body)?;
            }
        }
        explanation.event(&source, read(&source, body))?;
        explanation.verdict(taken.err(), judged.map(drop))
    }

    fn source(&self, secret: Secret) -> Source {
        Source {
            tolerance: self.tolerance,
            deduplication: Some(DeduplicationWindow {
                window: self.duplicate_window,
                own_time: Event::own_time,
            }),
            ..Source::new(self.source.clone(), Arc::clone(&ONE_CODEX), vec![secret])
        }
    }
}

/// What the bridge would say.
fn judge(source: &Source, value: &str, body: Bytes, now: Timestamp) -> Result<Verified, Rejection> {
    let head = head(value);
    let claim = source.read_signature(&head)?;
    // What a running bridge remembers is not known here.
    claim.verify(inbound(body), now, || i64::MIN)
}

/// The event that the body would be. It is signed here anew, because only a verified delivery is ever
/// read.
fn read(source: &Source, body: Bytes) -> Event {
    let now = Timestamp::now();
    let signature = ONE_CODEX.signature.sign(&source.secrets[0], &body, now);
    let verified = judge(source, &signature, body, now);
    Event::read(verified.expect("it was signed with this secret, and as of this second"))
}

fn head(value: &str) -> DeliveryHead {
    DeliveryHead::of(vec![(
        ONE_CODEX.signature.headers[0].clone(),
        value.to_owned(),
    )])
}

fn inbound(body: Bytes) -> Inbound {
    Inbound {
        body,
        content_type: None,
        trace: TraceContext::start(false),
    }
}

fn time(text: &str) -> Result<Timestamp, String> {
    let parsed = match text.parse::<i64>() {
        Ok(seconds) => Timestamp::from_second(seconds),
        Err(_) => text.parse(),
    };
    parsed.map_err(|error| error.to_string())
}

fn source_name(text: &str) -> Result<SourceName, String> {
    SourceName::parse(text).map_err(|error| error.to_string())
}
