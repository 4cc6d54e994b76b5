//! `send`: signed test deliveries to a webhook's URL.

mod deliveries;
mod header_argument;
mod load_report;
mod load_test;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::command_error::CommandError;
use super::http_client::HttpClient;
use super::output::Output;
use super::provider_argument::ProviderArgument;
use super::secret_arguments::SecretArguments;
use super::tls_arguments::TlsArguments;
use super::webhook_client::{WebhookClient, WebhookResponse};
use crate::name::{EventType, ObjectId};
use deliveries::Deliveries;
use load_test::LoadTest;

/// Send signed test deliveries to a webhook's URL.
#[derive(Debug, Args)]
#[command(
    after_help = "The provider's sample is sent, each time as a new event, unless --body gives a delivery. It is signed as
the provider signs, with what the file of --secret-file holds: the secret or the token as the provider
writes it, or the private key (PKCS #8 in PEM) where the bridge has the public one. Where a secret belongs
into the URL it is put behind --url; where the URL is signed, --url is.
One delivery prints its answer; several print what came of them. Exit code 1: an answer was not 200.

Examples:
  hookferry send --url http://127.0.0.1:8080/webhooks/onecodex --secret-file secret
  hookferry send --url http://127.0.0.1:8080/webhooks/onecodex --secret-env SECRET --event-type analysis.failed
  hookferry send --url http://127.0.0.1:8080/webhooks/onecodex --secret-file secret --count 1000 --rate 200
  hookferry send --url http://127.0.0.1:8080/webhooks/onecodex --secret-file secret --body delivery.json
  hookferry send --url http://127.0.0.1:8080/webhooks/onecodex --secret-file secret --timestamp 1492774577   # stale
  hookferry send --url https://bridge.example/webhooks/onecodex --secret-file secret --ca-file ca.pem
  hookferry send --provider github --url http://127.0.0.1:8080/webhooks/code --secret-file secret
  hookferry send --provider github --url http://127.0.0.1:8080/webhooks/code --secret-file secret \\
    --body issue.json --header 'X-GitHub-Event: issues' --header 'X-GitHub-Delivery: 1'"
)]
pub(super) struct SendCommand {
    /// The webhook's URL, such as http://127.0.0.1:8080/webhooks/onecodex.
    #[arg(long)]
    url: String,
    #[command(flatten)]
    provider: ProviderArgument,
    #[command(flatten)]
    secret: SecretArguments,
    #[command(flatten)]
    trust: TlsArguments,
    /// The event type, where the provider's sample leaves it open; unless given the first that has a
    /// topic of its own.
    #[arg(long, value_name = "TYPE", value_parser = event_type)]
    event_type: Option<EventType>,
    /// The object it happens to; a new one for each delivery unless given.
    #[arg(long, value_name = "ID", value_parser = object_id)]
    object_id: Option<ObjectId>,
    /// A body to send unchanged, from a file or from standard input (-).
    #[arg(long, value_name = "FILE", conflicts_with_all = ["event_type", "object_id"])]
    body: Option<PathBuf>,
    /// A header of the delivery, besides those that the sample has and those of the signature; several
    /// may be given.
    #[arg(long, value_name = "NAME: VALUE", value_parser = header_argument::parse)]
    header: Vec<(String, String)>,
    /// The content type; that of the provider's sample unless given.
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// How many deliveries.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Deliveries a second; as fast as they are answered unless given.
    #[arg(long, value_name = "R", value_parser = rate)]
    rate: Option<f64>,
    /// Deliveries under way at once.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    parallel: u16,
    /// The signature's timestamp in Unix seconds, where the provider signs one; now unless given.
    #[arg(long, value_name = "T", value_parser = clap::value_parser!(i64).range(0..=999_999_999_999))]
    timestamp: Option<i64>,
    /// How long one answer may take.
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

impl SendCommand {
    pub(super) fn run(&self) -> Result<(), CommandError> {
        let (provider, _) = self.provider.read()?;
        let http = HttpClient::to_anywhere(self.timeout, self.trust.read()?);
        let key = self.secret.signing_key(&provider.signature.secret)?;
        let deliveries = Deliveries::of(self, &provider)?;
        let webhook = WebhookClient::new(http, &self.url, provider, key);
        let deliver = || -> Result<WebhookResponse, CommandError> {
            let (delivery, signed_at) = deliveries.next()?;
            Ok(webhook.deliver(&delivery, signed_at)?)
        };
        if self.count == 1 {
            return show(&deliver()?);
        }
        let load_test = LoadTest {
            count: self.count,
            rate: self.rate,
            parallel: self.parallel,
        };
        load_test.run(&deliver)?.show(&mut Output::new())
    }
}

fn show(reply: &WebhookResponse) -> Result<(), CommandError> {
    let id = reply.id.as_deref().unwrap_or_default();
    let line = format!("{} {} {id}", reply.status, reply.said);
    Output::new().line(line.trim_end())?;
    match reply.status {
        200 => Ok(()),
        _ => Err(CommandError::Negative),
    }
}

fn event_type(text: &str) -> Result<EventType, String> {
    EventType::parse(text).map_err(|error| error.to_string())
}

fn object_id(text: &str) -> Result<ObjectId, String> {
    ObjectId::parse(text).map_err(|error| error.to_string())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok();
    let rate = rate.filter(|rate: &f64| rate.is_finite() && *rate >= 0.001);
    rate.ok_or_else(|| "give a number of deliveries a second, such as 50 or 0.5".to_owned())
}
