//! `explain`: step by step, why a delivery does or does not verify, and what event it would be.
//!
//! The verdict is the bridge's own: the same functions judge. What is said beyond it, such as which
//! other form of the body would have matched, is for a person who looks for the mistake; the bridge
//! never tries another form.

mod body_variants;
mod explained_event;
mod explanation;
mod given_request;
mod header;
mod header_variants;
mod provider_choice;
mod scheme_variants;
mod search;
mod secret_variants;
mod signed_time;
mod time_variants;
mod url_variants;
mod variant;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use super::body_input;
use super::command_error::CommandError;
use super::secret_arguments::{SecretArguments, SecretText};
use super::webhook_client::url_and_query;
use crate::event::Event;
use crate::name::SourceName;
use crate::source::{
    DeduplicationWindow, Provider, Rejection, Scheme, Secret, SecretError, SecretForm, SigningKey,
    Source, Verified,
};
use explanation::Explanation;
use given_request::GivenRequest;
use provider_choice::ProviderChoice;
use search::Unverified;

/// Say why a delivery does or does not verify.
#[derive(Debug, Args)]
#[command(
    after_help = "The body must be the very bytes that were sent: a copy out of a browser or an editor may differ.
Where the signature is wrong, the usual mistakes are tried, and the one that matches is named.
Exit code 0: it verifies. 1: it does not.

Examples:
  hookferry explain --header 't=1492774577 v1=5314…' --body delivery.json --secret-file secret
  hookferry explain --header \"$SIGNATURE\" --body - --secret-env SECRET --now 1492774580 < delivery.json
  hookferry explain --provider slack --header 'X-Slack-Signature: v0=a2114d…' \\
    --header 'X-Slack-Request-Timestamp: 1531420618' --body delivery --secret-file secret
  hookferry explain --provider square --url https://hooks.example.org/webhooks/square \\
    --header 'X-Square-HmacSha256-Signature: 2kRE5q…' --body delivery.json --secret-file secret"
)]
pub(super) struct ExplainCommand {
    #[command(flatten)]
    provider: ProviderChoice,
    /// A header of the request, as 'Name: value'; without its name, the signature's. Name each one
    /// that is signed, and those that the event is read from.
    #[arg(long, value_name = "HEADER")]
    header: Vec<String>,
    /// The body, from a file or from standard input (-).
    #[arg(long, value_name = "FILE")]
    body: PathBuf,
    /// Its content type, unless a --header says it.
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// The webhook's URL as the sender has it, with or without a query, where the URL is signed or
    /// holds the secret.
    #[arg(long)]
    url: Option<String>,
    /// The query of the URL, without its question mark.
    #[arg(long)]
    query: Option<String>,
    /// The method of the request.
    #[arg(long, default_value = "POST")]
    method: String,
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
    /// The source's name in the configuration, on which the event's id depends; the provider's unless
    /// given.
    #[arg(long, value_name = "NAME", value_parser = source_name)]
    source: Option<SourceName>,
}

impl ExplainCommand {
    pub(super) fn run(&self) -> Result<(), CommandError> {
        let (provider, others) = self.provider.read()?;
        let provider = &provider;
        let request = self.request(provider)?;
        let text = self.secret.read()?;
        let (scheme, form) = (&provider.signature, &provider.signature.secret);
        let taken = text
            .secret(form)
            .map_err(|error| recognised(&text, form, error));
        // Of one that the bridge does not take, what stands there, for a person to compare with.
        let own = || Secret::from_key(text.expose().trim_ascii(), scheme.scheme());
        let source = self.source(provider, &request, taken.clone().unwrap_or_else(|_| own()))?;
        let now = self.now.unwrap_or_else(Timestamp::now);
        let head = request.head(provider);
        let judged = judge(&source, &request, now);
        let mut explanation = Explanation::new();
        if let Some(reply) = source.unsigned_handshake(&head) {
            return explanation.unsigned_handshake(&reply);
        }
        explanation.header(scheme, &head)?;
        explanation.signed_headers(scheme, &head, &judged)?;
        explanation.secret(&text, form, taken.as_ref().err().copied())?;
        let signed = signed_time::signed_time(provider, &request);
        explanation.timestamp(&source, signed.as_deref(), now, &judged)?;
        let is_right = explanation.signature(&whenever(&source, &judged), &request)?;
        if is_right != Some(true) {
            let unverified = Unverified {
                source: &source,
                request: &request,
                secret: &text,
                others: &others,
            };
            explanation.other_forms(&unverified.search(), is_right.is_some())?;
        }
        let verified = judged.as_ref().ok();
        match verified.and_then(|verified| source.signed_handshake(verified)) {
            Some(reply) => explanation.handshake(&reply)?,
            None => explanation.event(&source, explained_event::read(&source, &request))?,
        }
        explanation.verdict(taken.err(), judged.map(drop))
    }

    fn request(&self, provider: &Provider) -> Result<GivenRequest, CommandError> {
        let usage = |text: String| Err(CommandError::Usage(text));
        let scheme = &provider.signature;
        if self.url.is_none() && (scheme.signs_url() || scheme.scheme() == Scheme::Url) {
            let name = &provider.name;
            return usage(format!(
                "name the webhook's URL as the sender has it, with --url: {name} needs it to prove a delivery"
            ));
        }
        let (url, of_url) = match &self.url {
            Some(url) => {
                let (url, query) = url_and_query(url);
                (Some(url), query)
            }
            None => (None, None),
        };
        if of_url.is_some() && self.query.is_some() {
            return usage(
                "--query: the query stands in --url already; leave one of them out".into(),
            );
        }
        let mut request = GivenRequest {
            headers: Vec::new(),
            unnamed: None,
            method: self.method.clone(),
            url,
            query: self.query.clone().or(of_url),
            content_type: self.content_type.clone(),
            body: body_input::read(&self.body)?.into(),
        };
        request.add_headers(&self.header)?;
        Ok(request)
    }

    fn source(
        &self,
        provider: &Arc<Provider>,
        request: &GivenRequest,
        secret: Secret,
    ) -> Result<Source, CommandError> {
        let name = match &self.source {
            Some(name) => name.clone(),
            None => source_name(&provider.name).map_err(|error| {
                CommandError::Usage(format!("name the source with --source: {error}"))
            })?,
        };
        Ok(Source {
            tolerance: self.tolerance,
            deduplication: Some(DeduplicationWindow {
                window: self.duplicate_window,
                own_time: Event::own_time,
            }),
            url: request.url.clone(),
            ..Source::new(name, Arc::clone(provider), vec![secret])
        })
    }
}

/// What the bridge would say.
fn judge(source: &Source, request: &GivenRequest, now: Timestamp) -> Result<Verified, Rejection> {
    let head = request.head(&source.provider);
    let claim = source.read_signature(&head)?;
    // What a running bridge remembers is not known here.
    claim.verify(request.inbound(), now, || i64::MIN)
}

/// The source, without its time where that cannot be read: the signature covers its text all the same.
fn whenever(source: &Source, judged: &Result<Verified, Rejection>) -> Source {
    let mut source = source.clone();
    if matches!(judged, Err(Rejection::TimestampMalformed)) {
        let mut provider = Provider::clone(&source.provider);
        provider.signature.timestamp = None;
        source.provider = Arc::new(provider);
    }
    source
}

/// Why it is no secret; of a private key without the lines of PEM around it, that it is one.
fn recognised(text: &SecretText, form: &SecretForm, error: SecretError) -> SecretError {
    let key = String::from_utf8_lossy(text.expose().trim_ascii()).into_owned();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n");
    let is_asymmetric = matches!(form.scheme, Scheme::Ed25519 | Scheme::EcdsaP256);
    if is_asymmetric && SigningKey::read(pem.as_bytes(), form, None).is_ok() {
        return SecretError::PrivateKey;
    }
    error
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
