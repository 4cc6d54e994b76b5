//! `explain`: step by step, why a delivery does or does not verify, and what event it would be.
//!
//! The verdict is the bridge's own: the same functions judge. What is said beyond it, such as which
//! other form of the body would have matched, is for a person who looks for the mistake; the bridge
//! never tries another form.

mod header;
mod variants;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use jiff::Timestamp;

use super::body_input;
use super::command_error::CommandError;
use super::output::Output;
use super::secret_arguments::{SecretArguments, SecretText};
use super::symbol::Symbols;
use crate::event::{Content, Event};
use crate::name::{EventType, SourceName};
use crate::route::{Router, Template};
use crate::sink::Severity;
use crate::source::{
    DeduplicationWindow, Inbound, ONE_CODEX, Rejection, Secret, SecretError, SignatureHeader,
    Source, Verified,
};
use crate::trace::TraceContext;

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

/// One explanation under way.
struct Explanation {
    output: Output,
    symbols: Symbols,
}

impl ExplainCommand {
    pub(super) fn run(&self) -> Result<(), CommandError> {
        let text = self.secret.read()?;
        let taken = text.secret();
        let body = Bytes::from(body_input::read(&self.body)?);
        let now = self.now.unwrap_or_else(Timestamp::now);
        let value = header::value(&self.header, ONE_CODEX.scheme.header);
        let mut explanation = Explanation {
            output: Output::new(),
            symbols: Symbols::for_output(),
        };
        let parsed = SignatureHeader::read([value.as_bytes()].into_iter());
        explanation.header(value, &parsed)?;
        explanation.secret(&text, taken.as_ref().err())?;
        // Of one that the bridge does not take, what stands there, for a person to compare with.
        let own = || Secret::from_key(text.expose().trim_ascii());
        let source = self.source(taken.clone().unwrap_or_else(|_| own()));
        let judged = judge(&source, value, body.clone(), now);
        if let Ok(header) = &parsed {
            let secret = &source.secrets[0];
            explanation.timestamp(header, now, &source, &judged)?;
            explanation.signature(value, header, secret, &body)?;
            if !header_matches(header, secret, &body) {
                explanation.other_forms(value, &text, &body)?;
            }
        }
        explanation.event(&source, &body)?;
        explanation.verdict(taken.err(), judged.map(drop))
    }

    fn source(&self, secret: Secret) -> Source {
        Source {
            name: self.source.clone(),
            provider: &ONE_CODEX,
            uri: ONE_CODEX.uri.into(),
            secrets: vec![secret],
            tolerance: self.tolerance,
            deduplication: Some(DeduplicationWindow {
                window: self.duplicate_window,
                own_time: Event::own_time,
            }),
            forward_signature: true,
        }
    }
}

/// What the bridge would say.
fn judge(source: &Source, value: &str, body: Bytes, now: Timestamp) -> Result<Verified, Rejection> {
    let claim = source.read_signature([value.as_bytes()].into_iter())?;
    // What a running bridge remembers is not known here.
    claim.verify(inbound(body), now, || i64::MIN)
}

fn inbound(body: Bytes) -> Inbound {
    Inbound {
        body,
        content_type: None,
        trace: TraceContext::start(false),
    }
}

/// The position, from 1, of the signature that the secret makes.
fn header_matches(header: &SignatureHeader, secret: &Secret, body: &[u8]) -> bool {
    matching_signature(header.text(), header, secret, body).is_some()
}

fn matching_signature(
    value: &str,
    header: &SignatureHeader,
    secret: &Secret,
    body: &[u8],
) -> Option<usize> {
    let signed: [&[u8]; 3] = [header.digits().as_bytes(), b".", body];
    header::tags(value)
        .iter()
        .position(|tag| secret.matches(&signed, &[*tag]))
        .map(|index| index + 1)
}

impl Explanation {
    fn step(&mut self, holds: bool, name: &str, text: &str) -> Result<(), CommandError> {
        let severity = if holds {
            Severity::Good
        } else {
            Severity::Error
        };
        self.graded(severity, name, text)
    }

    fn graded(&mut self, severity: Severity, name: &str, text: &str) -> Result<(), CommandError> {
        let symbol = self.symbols.of(severity);
        self.output.line(format_args!("{symbol} {name:<10} {text}"))
    }

    fn header(
        &mut self,
        value: &str,
        parsed: &Result<SignatureHeader, Rejection>,
    ) -> Result<(), CommandError> {
        match parsed {
            Ok(header) => {
                let count = header::tags(value).len();
                let signatures = if count == 1 {
                    "signature"
                } else {
                    "signatures"
                };
                let text = format!(
                    "well-formed: t={} and {count} {signatures}",
                    header.digits()
                );
                self.step(true, "header", &text)
            }
            Err(rejection) => {
                self.step(false, "header", &rejection.to_string())?;
                for fault in header::faults(value) {
                    self.output.line(format_args!("             {fault}"))?;
                }
                self.output.line(format_args!(
                    "             it should look like: {}",
                    ONE_CODEX.scheme.example
                ))
            }
        }
    }

    /// What stands where the secret should; nothing where it is as it should be.
    fn secret(
        &mut self,
        text: &SecretText,
        error: Option<&SecretError>,
    ) -> Result<(), CommandError> {
        if let Some(error) = error {
            let text = format!("no bridge starts with it: {error}");
            self.step(false, "secret", &text)?;
            return match error.remedy() {
                Some(remedy) => self.output.line(format_args!("             {remedy}")),
                None => Ok(()),
            };
        }
        match text.doubt() {
            Some(doubt) => self.graded(Severity::Warning, "secret", &doubt.to_string()),
            None => Ok(()),
        }
    }

    fn timestamp(
        &mut self,
        header: &SignatureHeader,
        now: Timestamp,
        source: &Source,
        judged: &Result<Verified, Rejection>,
    ) -> Result<(), CommandError> {
        let tolerance = source.tolerance;
        let age = now.as_second().saturating_sub(header.seconds());
        let span = humantime::format_duration(Duration::from_secs(age.unsigned_abs()));
        let side = if age < 0 { "after" } else { "before" };
        let signed = match Timestamp::from_second(header.seconds()) {
            Ok(time) => time.to_string(),
            Err(_) => format!("second {}", header.seconds()),
        };
        let text = format!(
            "signed at {signed}, {span} {side} {now}; the tolerance is {} on both sides",
            humantime::format_duration(tolerance)
        );
        if age.unsigned_abs() <= tolerance.as_secs() {
            return self.step(true, "timestamp", &text);
        }
        if !judged.as_ref().is_ok_and(Verified::is_late) {
            return self.step(false, "timestamp", &text);
        }
        self.graded(Severity::Warning, "timestamp", &text)?;
        self.output.line(
            "             it is late, and let in as long as its event is remembered: \
             by duplicate_window, with a spool on the disk",
        )
    }

    fn signature(
        &mut self,
        value: &str,
        header: &SignatureHeader,
        secret: &Secret,
        body: &[u8],
    ) -> Result<(), CommandError> {
        let count = header::tags(value).len();
        match matching_signature(value, header, secret, body) {
            Some(number) => {
                let text = format!(
                    "number {number} of {count} is what the secret makes of these {} bytes",
                    body.len()
                );
                self.step(true, "signature", &text)
            }
            None => {
                let text = format!(
                    "none of {count} is what the secret makes of these {} bytes",
                    body.len()
                );
                self.step(false, "signature", &text)
            }
        }
    }

    /// Looks for the sender's mistake, or ours.
    fn other_forms(
        &mut self,
        value: &str,
        secret: &SecretText,
        body: &[u8],
    ) -> Result<(), CommandError> {
        let found = variants::matching(value, secret.expose(), secret.encoding(), body);
        if found.is_empty() {
            return self.output.line(
                "             no other usual form of the body or the secret matches either: \
                 it is another secret, or other bytes",
            );
        }
        for difference in found {
            self.output
                .line(format_args!("             it would match {difference}"))?;
        }
        Ok(())
    }

    /// What the body says, once it is believed. It is signed here anew, because only a verified
    /// delivery is ever read.
    fn event(&mut self, source: &Source, body: &Bytes) -> Result<(), CommandError> {
        let now = Timestamp::now();
        let own = ONE_CODEX.scheme.sign(&source.secrets[0], body, now);
        let verified = source
            .read_signature([own.as_bytes()].into_iter())
            .and_then(|claim| claim.verify(inbound(body.clone()), now, || i64::MIN))
            .expect("it was signed with this secret, and as of this second");
        let event = Event::read(verified);
        match event.content() {
            Content::Understood(content) => {
                let text = format!(
                    "{} of {} {}, triggered at {}",
                    content.event_type,
                    content.object_type,
                    content.object_id,
                    content.triggered_at
                );
                self.step(true, "event", &text)?;
            }
            Content::Quarantined(quarantine) => {
                let reason = quarantine.reason.as_str();
                let text = format!("quarantined: {reason}: {}", quarantine.detail);
                // It is answered 200 and kept all the same.
                self.graded(Severity::Warning, "event", &text)?;
            }
        }
        self.output
            .line(format_args!("  {:<10} {}", "id", event.id()))?;
        let topic = topic(source, event);
        self.output.line(format_args!(
            "  {:<10} {topic} (unless configured otherwise)",
            "topic"
        ))
    }

    fn verdict(
        &mut self,
        secret: Option<SecretError>,
        judged: Result<(), Rejection>,
    ) -> Result<(), CommandError> {
        let why = match (secret, judged) {
            (None, Ok(())) => return self.output.line("\nit verifies"),
            (Some(error), _) => error.to_string(),
            (None, Err(rejection)) => format!("{rejection} ({})", rejection.reason()),
        };
        self.output
            .line(format_args!("\nit does not verify: {why}"))?;
        Err(CommandError::Negative)
    }
}

/// The topic that the default template gives.
fn topic(source: &Source, event: Event) -> String {
    let types = source.provider.event_types.iter();
    let types = types.filter_map(|text| EventType::parse(text).ok());
    let router = Router::new(
        Vec::new(),
        [(source.name.clone(), types.collect())]
            .into_iter()
            .collect(),
    );
    let template = Template::parse("{source}.{event_type}").expect("the default template");
    let routed = router.route(event);
    template.render(routed.event(), routed.lane())
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
