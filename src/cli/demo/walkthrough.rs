//! What the demo shows, step by step: deliveries and their answers, the counters, what a consumer
//! reads, and how to go on from there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use jiff::Timestamp;

use super::counters::DemoCounters;
use super::deliveries::{DemoDelivery, deliveries};
use super::folder::DemoFolder;
use super::paste::Paste;
use super::sender::{self, DemoSender};
use crate::app::Bridge;
use crate::cli::command_error::CommandError;
use crate::cli::http_client::HttpClient;
use crate::cli::output::Output;
use crate::cli::store_reader::{StoreEntry, StoreReader, TopicRead};
use crate::cli::symbol::Symbols;
use crate::cli::webhook_client::{WebhookClient, WebhookResponse};
use crate::source::GeneratedKey;

/// How long each step may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// The steps, and what they need.
pub(super) struct Walkthrough {
    stays_up: bool,
    configuration: String,
    folder: String,
    signing_file: String,
    sender: DemoSender,
    webhook_url: String,
    admin: String,
    http: HttpClient,
    webhook: WebhookClient,
    reader: StoreReader,
}

impl Walkthrough {
    /// The steps at this bridge; where it stays up, also how to go on.
    pub(super) fn new(
        bridge: &Bridge,
        (sender, folder): (DemoSender, &DemoFolder),
        configuration: String,
        stays_up: bool,
    ) -> Self {
        let provider = Arc::clone(&sender.provider);
        let webhook_url = format!("http://{}/webhooks/{}", bridge.ingress(), provider.name);
        let admin = format!("http://{}", bridge.admin());
        let http = HttpClient::new(DEADLINE);
        let lifetime = if folder.is_removed() {
            "removed at the end"
        } else {
            "kept"
        };
        Self {
            stays_up,
            configuration,
            folder: format!("{} ({lifetime})", folder.path().display()),
            signing_file: folder.signing_file().display().to_string(),
            webhook: WebhookClient::new(http.clone(), &webhook_url, provider, sender.signing_key()),
            sender,
            reader: StoreReader::new(&admin, None),
            webhook_url,
            admin,
            http,
        }
    }

    /// Takes the steps, and prints what comes of them.
    pub(super) fn show(&self) -> Result<(), CommandError> {
        let mut output = Output::new();
        self.show_configuration(&mut output)?;
        let before = self.reader.topics()?;
        let after = |topic: &str| {
            let known = before.iter().find(|known| known.name == topic);
            known.map_or(0, |known| known.last_position)
        };
        let sent = self.send(&mut output)?;
        let counters = self.settled()?;
        output.line(format_args!(
            "\n2. What was counted: GET {}/metrics",
            self.admin
        ))?;
        for line in counters.lines() {
            output.line(format_args!("   {line}"))?;
        }
        self.show_topics(&sent, &after, &mut output)?;
        if self.stays_up {
            self.show_what_next(&mut output)?;
        }
        Ok(())
    }

    fn show_configuration(&self, output: &mut Output) -> Result<(), CommandError> {
        if self.stays_up {
            output.line(format_args!("Watch it live: {}/", self.admin))?;
        }
        output.line("Hookferry's demo: the whole bridge on this machine.")?;
        output.line(format_args!("\nfolder  {}", self.folder))?;
        output.line("config  what a file for `hookferry serve` would say:\n")?;
        for line in self.configuration.lines() {
            output.line(format_args!("   {line}").to_string().trim_end())?;
        }
        Ok(())
    }

    /// Sends the deliveries; each must be answered as it says.
    fn send(
        &self,
        output: &mut Output,
    ) -> Result<Vec<(DemoDelivery, WebhookResponse)>, CommandError> {
        output.line(format_args!(
            "\n1. Deliveries, signed and sent: POST {}",
            self.webhook_url
        ))?;
        let symbols = Symbols::for_output();
        let mut sent = Vec::new();
        for delivery in deliveries(&self.sender, Timestamp::now()) {
            let reply = self.deliver(&delivery)?;
            let as_expected = reply.said == delivery.expected;
            output.line(format_args!(
                "   {} {:<44} {} {:<18} {}",
                symbols.whether(as_expected),
                delivery.what,
                reply.status,
                reply.said,
                reply.id.as_deref().unwrap_or("-"),
            ))?;
            if !as_expected {
                return Err(CommandError::Failed(anyhow!(
                    "the answer should have been {}",
                    delivery.expected
                )));
            }
            sent.push((delivery, reply));
        }
        Ok(sent)
    }

    /// Sends one, with another key than the bridge knows where it is forged.
    fn deliver(&self, delivery: &DemoDelivery) -> anyhow::Result<WebhookResponse> {
        let now = Timestamp::now();
        if !delivery.forged {
            return self.webhook.deliver(&delivery.sample, now);
        }
        let provider = &self.sender.provider;
        let other = GeneratedKey::new(&provider.signature.secret);
        let forger = self.webhook.with_key(sender::signing_key(provider, &other));
        forger.deliver(&delivery.sample, now)
    }

    /// The counters, once everything accepted is delivered.
    fn settled(&self) -> Result<DemoCounters, CommandError> {
        let began = Instant::now();
        loop {
            let answer = self.http.get(&format!("{}/metrics", self.admin))?;
            let counters = DemoCounters::read(&String::from_utf8_lossy(&answer.body));
            if counters.are_settled() {
                return Ok(counters);
            }
            if began.elapsed() > DEADLINE {
                return Err(CommandError::Failed(anyhow!(
                    "not everything was delivered in time"
                )));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn show_topics(
        &self,
        sent: &[(DemoDelivery, WebhookResponse)],
        after: &dyn Fn(&str) -> u64,
        output: &mut Output,
    ) -> Result<(), CommandError> {
        let url = self.reader.url("TOPIC", 0);
        output.line(format_args!("\n3. What a consumer reads: GET {url}"))?;
        let mut first = true;
        for topic in self.reader.topics()? {
            output.line(format_args!("   topic {}", topic.name))?;
            let TopicRead::Entries(entries) =
                self.reader
                    .read(&topic.name, after(&topic.name), Duration::ZERO)?
            else {
                continue;
            };
            for entry in entries {
                show_entry(&entry, sent, output)?;
                if std::mem::take(&mut first) {
                    for (name, value) in &entry.headers {
                        output.line(format_args!("       {name}: {value}"))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn show_what_next(&self, output: &mut Output) -> Result<(), CommandError> {
        let paste = Paste {
            sender: &self.sender,
            webhook: &self.webhook,
            webhook_url: &self.webhook_url,
            signing_file: &self.signing_file,
        };
        output.line(format_args!("\n4. {}:\n", paste.heading()))?;
        for line in paste.lines() {
            output.line(format_args!("   {line}"))?;
        }
        output.line(format_args!("\n   or     {}", paste.command()))?;
        output.line(format_args!("\npage    {}/", self.admin))?;
        output.line(format_args!("webhook {}", self.webhook_url))?;
        output.line(format_args!("topics  {}/topics", self.admin))?;
        let source = &self.sender.provider.name;
        let topic = format!("{source}.{}", self.sender.event_type);
        output.line(format_args!("        {}", self.reader.url(&topic, 0)))?;
        output.line(format_args!("metrics {}/metrics", self.admin))
    }
}

fn show_entry(
    entry: &StoreEntry,
    sent: &[(DemoDelivery, WebhookResponse)],
    output: &mut Output,
) -> Result<(), CommandError> {
    let bytes = entry.bytes()?;
    let same = sent.iter().any(|(delivery, reply)| {
        reply.id.as_ref() == Some(&entry.id) && delivery.sample.body == bytes
    });
    let verdict = if same {
        "the same bytes as were sent"
    } else {
        "NOT the bytes that were sent"
    };
    output.line(format_args!(
        "     position {} key {} id {} ({} bytes, {verdict})",
        entry.position,
        entry.key,
        entry.id,
        bytes.len(),
    ))?;
    if same {
        Ok(())
    } else {
        Err(CommandError::Failed(anyhow!(
            "a body was changed on its way"
        )))
    }
}
