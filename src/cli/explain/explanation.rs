//! The steps of an explanation, as they are printed.

use std::time::Duration;

use jiff::Timestamp;

use super::{header, variants};
use crate::cli::command_error::CommandError;
use crate::cli::output::Output;
use crate::cli::secret_arguments::SecretText;
use crate::cli::symbol::Symbols;
use crate::event::{Content, Event};
use crate::route::{Router, Template};
use crate::sink::Severity;
use crate::source::{ONE_CODEX, Rejection, Secret, SecretError, SignatureHeader, Source, Verified};

/// One explanation, printed step by step.
pub(super) struct Explanation {
    output: Output,
    symbols: Symbols,
}

impl Explanation {
    /// One on standard output.
    pub(super) fn new() -> Self {
        Self {
            output: Output::new(),
            symbols: Symbols::for_output(),
        }
    }

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

    /// Whether the header is well-formed, and what is wrong with it.
    pub(super) fn header(
        &mut self,
        value: &str,
        parsed: &Result<SignatureHeader, Rejection>,
    ) -> Result<(), CommandError> {
        match parsed {
            Ok(header) => {
                let count = header.signatures().len();
                let signatures = if count == 1 {
                    "signature"
                } else {
                    "signatures"
                };
                let text = format!("well-formed: t={} and {count} {signatures}", digits(header));
                self.step(true, "header", &text)
            }
            Err(rejection) => {
                self.step(false, "header", &rejection.to_string())?;
                for fault in header::faults(value) {
                    self.output.line(format_args!("             {fault}"))?;
                }
                self.output.line(format_args!(
                    "             it should look like: {}",
                    ONE_CODEX.signature.example()
                ))
            }
        }
    }

    /// What stands where the secret should; nothing where it is as it should be.
    pub(super) fn secret(
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

    /// Whether the signature is of this time.
    pub(super) fn timestamp(
        &mut self,
        header: &SignatureHeader,
        now: Timestamp,
        source: &Source,
        judged: &Result<Verified, Rejection>,
    ) -> Result<(), CommandError> {
        let tolerance = source.tolerance;
        let seconds = digits(header).parse().unwrap_or(i64::MAX);
        let age = now.as_second().saturating_sub(seconds);
        let span = humantime::format_duration(Duration::from_secs(age.unsigned_abs()));
        let side = if age < 0 { "after" } else { "before" };
        let signed = match Timestamp::from_second(seconds) {
            Ok(time) => time.to_string(),
            Err(_) => format!("second {seconds}"),
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

    /// Whether a signature is the secret's, and which one of several.
    pub(super) fn signature(
        &mut self,
        header: &SignatureHeader,
        secret: &Secret,
        body: &[u8],
    ) -> Result<bool, CommandError> {
        let signed: [&[u8]; 3] = [digits(header).as_bytes(), b".", body];
        let tags = header.signatures();
        let mut singly = tags.chunks(1);
        let matching = singly.position(|tag| secret.matches(&signed, tag));
        let which = match matching {
            Some(index) => format!("number {} of {} is", index + 1, tags.len()),
            None => format!("none of {} is", tags.len()),
        };
        let bytes = body.len();
        let text = format!("{which} what the secret makes of these {bytes} bytes");
        self.step(matching.is_some(), "signature", &text)?;
        Ok(matching.is_some())
    }

    /// Looks for the sender's mistake, or ours.
    pub(super) fn other_forms(
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

    /// What the body says, once it is verified.
    pub(super) fn event(&mut self, source: &Source, event: Event) -> Result<(), CommandError> {
        match event.content() {
            Content::Understood(content) => {
                let mut text = content.event_type.to_string();
                if let Some(object) = &content.object_id {
                    text.push_str(&format!(" of {object}"));
                }
                if let Some(time) = content.triggered_at {
                    text.push_str(&format!(", triggered at {time}"));
                }
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

    /// What the bridge would say; anything but yes is an error.
    pub(super) fn verdict(
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
    let types = source.provider.event_types.iter().cloned();
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

/// What is signed of the timestamp.
fn digits(header: &SignatureHeader) -> &str {
    header.items().first().map_or("", |(_, digits)| digits)
}
