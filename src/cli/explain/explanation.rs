//! The steps of an explanation, as they are printed.

use std::fmt::Display;
use std::time::Duration;

use jiff::Timestamp;

use super::given_request::GivenRequest;
use super::header;
use super::search::Findings;
use super::time_variants;
use crate::cli::command_error::CommandError;
use crate::cli::output::Output;
use crate::cli::secret_arguments::SecretText;
use crate::cli::symbol::Symbols;
use crate::event::{Content, Event, Understood};
use crate::route::{Router, Template};
use crate::sink::Severity;
use crate::source::{
    DeliveryHead, HandshakeRefused, HandshakeReply, HeaderValue, Rejection, Replay,
    RequestHead as _, Scheme, SecretError, SecretForm, SignatureHeader, SignatureScheme, Source,
    Variable, Verified,
};

/// The most ways that are told in which a delivery would match.
const MAX_DIFFERENCES_SHOWN: usize = 8;

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

    /// A line below a step.
    fn detail(&mut self, text: impl Display) -> Result<(), CommandError> {
        self.output.line(format_args!("             {text}"))
    }

    /// A further property of what was found.
    fn property(&mut self, name: &str, text: impl Display) -> Result<(), CommandError> {
        self.output.line(format_args!("  {name:<10} {text}"))
    }

    /// Whether the signature's headers are well-formed, and what is wrong with them.
    pub(super) fn header(
        &mut self,
        scheme: &SignatureScheme,
        head: &DeliveryHead,
    ) -> Result<(), CommandError> {
        match scheme.read(head) {
            Ok(header) => self.step(true, "header", &well_formed(scheme, &header)),
            Err(rejection) => {
                self.step(false, "header", &rejection.to_string())?;
                for fault in header::faults(scheme, head) {
                    self.detail(fault)?;
                }
                match scheme.scheme() {
                    Scheme::Url => Ok(()),
                    _ => self.detail(format_args!("it should look like: {}", scheme.example())),
                }
            }
        }
    }

    /// The other headers that the signature covers, where something is wrong with one.
    pub(super) fn signed_headers(
        &mut self,
        scheme: &SignatureScheme,
        head: &DeliveryHead,
        judged: &Result<Verified, Rejection>,
    ) -> Result<(), CommandError> {
        let is_malformed = scheme.read(head).is_err();
        let mut is_told = false;
        for name in scheme.signed_headers() {
            let fault = match head.header(name) {
                HeaderValue::Missing => "is not there: give it with --header",
                HeaderValue::Repeated => "stands there more than once",
                once if once.text().is_none() => "has a character that is no visible ASCII",
                _ => continue,
            };
            is_told = true;
            self.step(
                false,
                "signed",
                &format!("{name}, which the signature covers, {fault}"),
            )?;
        }
        if is_told || is_malformed || !matches!(judged, Err(Rejection::SignatureMalformed)) {
            return Ok(());
        }
        let text = format!(
            "a value has in it what stands behind it in `{}`, or the URL has a character that no URL \
             has: the signed bytes could be read in two ways",
            scheme.signed
        );
        self.step(false, "signed", &text)
    }

    /// What stands where the secret should; nothing where it is as it should be.
    pub(super) fn secret(
        &mut self,
        text: &SecretText,
        form: &SecretForm,
        error: Option<SecretError>,
    ) -> Result<(), CommandError> {
        if let Some(error) = error {
            let text = format!("no bridge starts with it: {error}");
            self.step(false, "secret", &text)?;
            return match error.remedy() {
                Some(remedy) => self.detail(remedy),
                None => Ok(()),
            };
        }
        match text.doubt(form) {
            Some(doubt) => self.graded(Severity::Warning, "secret", &doubt.to_string()),
            None => Ok(()),
        }
    }

    /// Whether the signature is of this time.
    pub(super) fn timestamp(
        &mut self,
        source: &Source,
        text: Option<&str>,
        now: Timestamp,
        judged: &Result<Verified, Rejection>,
    ) -> Result<(), CommandError> {
        let scheme = &source.provider.signature;
        let (Some(variable), Some(text)) = (&scheme.timestamp, text) else {
            return self.no_timestamp(source);
        };
        let better = time_variants::better_unit(text, scheme.unit);
        let Some(seconds) = scheme.unit.signed_seconds(text) else {
            let unit = time_variants::unit_name(scheme.unit);
            let text = format!("{text:?}, of {{{variable}}}, is no time in {unit}");
            self.step(false, "timestamp", &text)?;
            return better.map_or(Ok(()), |better| self.detail(better));
        };
        let age = now.as_second().saturating_sub(seconds);
        let text = age_text(seconds, age, now, source.tolerance);
        if age.unsigned_abs() <= source.tolerance.as_secs() {
            return self.step(true, "timestamp", &text);
        }
        if judged.as_ref().is_ok_and(Verified::is_late) {
            self.graded(Severity::Warning, "timestamp", &text)?;
            return self.detail(
                "it is late, and let in as long as its event is remembered: \
                 by duplicate_window, with a spool on the disk",
            );
        }
        self.step(false, "timestamp", &text)?;
        better.map_or(Ok(()), |better| self.detail(better))
    }

    fn no_timestamp(&mut self, source: &Source) -> Result<(), CommandError> {
        let provider = &source.provider;
        let known_by = match provider.replay {
            Replay::Id => "its event's id",
            Replay::Body => "the bytes of its body",
        };
        match &provider.signature.timestamp {
            None => {
                let text = format!("none is signed; a repeated delivery is known by {known_by}");
                self.property("timestamp", text)
            }
            Some(Variable::Pointer(pointer)) => {
                let text = format!("the body has no text or number at {{{pointer}}}");
                self.step(false, "timestamp", &text)
            }
            // What is wrong with the header has been said.
            Some(_) => Ok(()),
        }
    }

    /// Whether a signature is the secret's, and which one of several; none where there is none to
    /// compare with.
    pub(super) fn signature(
        &mut self,
        source: &Source,
        request: &GivenRequest,
    ) -> Result<Option<bool>, CommandError> {
        let Some(matches) = request.is_signed_for(source) else {
            return Ok(None);
        };
        let scheme = &source.provider.signature;
        let text = match (scheme.scheme(), matches) {
            (Scheme::Url, true) => "the URL's path ends in the secret".to_owned(),
            (Scheme::Url, false) => "what the URL's path ends in is not the secret".to_owned(),
            (Scheme::Token, true) => "the token is the secret".to_owned(),
            (Scheme::Token, false) => "the token is not the secret".to_owned(),
            _ => {
                let bytes = request.body.len();
                let which = which_signature(source, request);
                format!("{which} what the secret makes of these {bytes} bytes")
            }
        };
        self.step(matches, "signature", &text)?;
        Ok(Some(matches))
    }

    /// The sender's mistake, or ours, where one was found.
    pub(super) fn other_forms(
        &mut self,
        findings: &Findings,
        is_comparable: bool,
    ) -> Result<(), CommandError> {
        for difference in findings.differences.iter().take(MAX_DIFFERENCES_SHOWN) {
            self.detail(format_args!("it would match {difference}"))?;
        }
        if !findings.differences.is_empty() || !is_comparable {
            return Ok(());
        }
        self.detail(
            "no other usual form of the body or the secret matches either: \
             it is another secret, or other bytes",
        )?;
        if findings.is_complete {
            return Ok(());
        }
        self.detail("not every form was tried, because the body is large")
    }

    /// What a request by which the sender makes sure of the webhook is answered.
    pub(super) fn handshake(
        &mut self,
        reply: &Result<HandshakeReply, HandshakeRefused>,
    ) -> Result<(), CommandError> {
        let text = match reply {
            Ok(HandshakeReply::Empty) => "answered without a body".to_owned(),
            Ok(HandshakeReply::Text(text)) => format!("answered with the text {text}"),
            Ok(HandshakeReply::Json(json)) => format!("answered with {json}"),
            Err(refused) => return self.step(false, "handshake", &refused.to_string()),
        };
        self.step(true, "handshake", &format!("{text}; it is no event"))
    }

    /// The same for a request that needs no signature; one that is not answered is an error.
    pub(super) fn unsigned_handshake(
        &mut self,
        reply: &Result<HandshakeReply, HandshakeRefused>,
    ) -> Result<(), CommandError> {
        self.handshake(reply)?;
        if reply.is_err() {
            return Err(CommandError::Negative);
        }
        self.output
            .line("\nit is a handshake, which needs no signature")
    }

    /// What the delivery says, once it is verified.
    pub(super) fn event(
        &mut self,
        source: &Source,
        event: Option<Event>,
    ) -> Result<(), CommandError> {
        let Some(event) = event else {
            let text = "cannot be read without all that the signature covers";
            return self.graded(Severity::Warning, "event", text);
        };
        match event.content() {
            Content::Understood(content) => {
                self.step(true, "event", &understood(content))?;
            }
            Content::Quarantined(quarantine) => {
                let reason = quarantine.reason.as_str();
                let text = format!("quarantined: {reason}: {}", quarantine.detail);
                // It is answered 200 and kept all the same.
                self.graded(Severity::Warning, "event", &text)?;
            }
        }
        self.property("id", event.id())?;
        for (name, value) in event.attributes() {
            self.property("attribute", format_args!("{name}={value}"))?;
        }
        if let Some(events) = event.events() {
            let text = format!("{events} in the delivery, which stays one message");
            self.property("events", text)?;
        }
        if !event.unsigned().is_empty() {
            let fields = event.unsigned().to_string().replace(',', ", ");
            let text =
                format!("{fields}: no signature covers this; who has one delivery could change it");
            self.graded(Severity::Warning, "unsigned", &text)?;
        }
        let topic = topic(source, &event);
        self.property(
            "topic",
            format_args!("{topic} (unless configured otherwise)"),
        )
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
fn topic(source: &Source, event: &Event) -> String {
    let types = source.provider.event_types.iter().cloned();
    let router = Router::new(
        Vec::new(),
        [(source.name.clone(), types.collect())]
            .into_iter()
            .collect(),
    );
    let template = Template::parse("{source}.{event_type}").expect("the default template");
    template.render(event, router.lane(event))
}

/// What a well-formed header holds.
fn well_formed(scheme: &SignatureScheme, header: &SignatureHeader) -> String {
    let what = match (scheme.scheme(), header.signatures().len()) {
        (Scheme::Url, _) => "there is a secret in the URL's path".to_owned(),
        (Scheme::Token, _) => "well-formed: a token".to_owned(),
        (_, 1) => "well-formed: 1 signature".to_owned(),
        (_, count) => format!("well-formed: {count} signatures"),
    };
    let items = header.items().iter();
    let items: Vec<String> = items
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    if items.is_empty() {
        return what;
    }
    format!("{what} and {}", items.join(", "))
}

/// When the signature was made, seen from `now`.
fn age_text(seconds: i64, age: i64, now: Timestamp, tolerance: Duration) -> String {
    let span = humantime::format_duration(Duration::from_secs(age.unsigned_abs()));
    let side = if age < 0 { "after" } else { "before" };
    let signed = match Timestamp::from_second(seconds) {
        Ok(time) => time.to_string(),
        Err(_) => format!("second {seconds}"),
    };
    let tolerance = humantime::format_duration(tolerance);
    format!("signed at {signed}, {span} {side} {now}; the tolerance is {tolerance} on both sides")
}

/// Which signature of several is the secret's.
fn which_signature(source: &Source, request: &GivenRequest) -> String {
    let scheme = &source.provider.signature;
    let signatures = header::single_signatures(scheme, &request.head(&source.provider));
    let count = signatures.len();
    let is_right = |(_, head): &(String, DeliveryHead)| {
        let alone = GivenRequest {
            headers: head.headers.clone(),
            unnamed: None,
            ..request.clone()
        };
        alone.is_signed_for(source) == Some(true)
    };
    let Some(index) = signatures.iter().position(is_right) else {
        return format!("none of {count} is");
    };
    let header = match scheme.headers.len() {
        1 => String::new(),
        _ => format!(", in {},", signatures[index].0),
    };
    format!("number {} of {count}{header} is", index + 1)
}

fn understood(content: &Understood) -> String {
    let mut text = content.event_type.to_string();
    if let Some(object) = &content.object_id {
        text.push_str(&format!(" of {object}"));
    }
    if let Some(time) = content.triggered_at {
        text.push_str(&format!(", triggered at {time}"));
    }
    text
}
