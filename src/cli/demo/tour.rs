//! The way round: deliveries, their answers, what was counted, what a consumer reads, and how to go
//! on from there.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use jiff::Timestamp;

use super::deliveries::{Delivery, deliveries};
use super::folder::Folder;
use super::numbers::Numbers;
use crate::app::Bridge;
use crate::cli::failure::Failure;
use crate::cli::http::Http;
use crate::cli::mark::Marks;
use crate::cli::output::Output;
use crate::cli::store_reader::{Entry, Found, StoreReader};
use crate::cli::webhook::{Reply, Webhook};
use crate::source::ONE_CODEX;

/// How long each step may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Everything the way round needs.
pub(super) struct Tour {
    stays_up: bool,
    configuration: String,
    folder: String,
    secret_file: String,
    webhook_url: String,
    admin: String,
    http: Http,
    webhook: Webhook,
    reader: StoreReader,
}

impl Tour {
    /// A way round this bridge; where it stays up, also how to go on.
    pub(super) fn new(
        bridge: &Bridge,
        folder: &Folder,
        configuration: String,
        stays_up: bool,
    ) -> Self {
        let webhook_url = format!("http://{}/webhooks/onecodex", bridge.ingress());
        let admin = format!("http://{}", bridge.admin());
        let http = Http::new(DEADLINE);
        let fate = if folder.is_removed() {
            "removed at the end"
        } else {
            "kept"
        };
        Self {
            stays_up,
            configuration,
            folder: format!("{} ({fate})", folder.path().display()),
            secret_file: folder.secret_file().display().to_string(),
            webhook: Webhook::new(http.clone(), webhook_url.clone(), folder.secret().clone()),
            reader: StoreReader::new(&admin, None),
            webhook_url,
            admin,
            http,
        }
    }

    /// Goes round, and says what it sees.
    pub(super) fn show(&self) -> Result<(), Failure> {
        let mut output = Output::new();
        self.show_configuration(&mut output)?;
        let before = self.reader.topics()?;
        let after = |topic: &str| {
            let known = before.iter().find(|known| known.name == topic);
            known.map_or(0, |known| known.last_position)
        };
        let sent = self.send(&mut output)?;
        let numbers = self.settled()?;
        output.line(format_args!(
            "\n2. What was counted: GET {}/metrics",
            self.admin
        ))?;
        for line in numbers.lines() {
            output.line(format_args!("   {line}"))?;
        }
        self.show_topics(&sent, &after, &mut output)?;
        if self.stays_up {
            self.show_what_next(&mut output)?;
        }
        Ok(())
    }

    fn show_configuration(&self, output: &mut Output) -> Result<(), Failure> {
        output.line("Hookferry's demo: the whole bridge on this machine.")?;
        output.line(format_args!("\nfolder  {}", self.folder))?;
        output.line("config  what a file for `hookferry serve` would say:\n")?;
        for line in self.configuration.lines() {
            output.line(format_args!("   {line}").to_string().trim_end())?;
        }
        Ok(())
    }

    /// Sends the deliveries; each must be answered as it says.
    fn send(&self, output: &mut Output) -> Result<Vec<(Delivery, Reply)>, Failure> {
        output.line(format_args!(
            "\n1. Deliveries, signed and sent: POST {}",
            self.webhook_url
        ))?;
        let marks = Marks::for_output();
        let mut sent = Vec::new();
        for delivery in deliveries(Timestamp::now()) {
            let reply = if delivery.forged {
                let signature = format!("t={} v1={}", Timestamp::now().as_second(), "0".repeat(64));
                self.webhook.deliver_signed(&delivery.body, &signature)?
            } else {
                self.webhook.deliver(&delivery.body, Timestamp::now())?
            };
            let as_expected = reply.said == delivery.expected;
            output.line(format_args!(
                "   {} {:<44} {} {:<18} {}",
                marks.whether(as_expected),
                delivery.what,
                reply.status,
                reply.said,
                reply.id.as_deref().unwrap_or("-"),
            ))?;
            if !as_expected {
                return Err(Failure::Failed(anyhow!(
                    "the answer should have been {}",
                    delivery.expected
                )));
            }
            sent.push((delivery, reply));
        }
        Ok(sent)
    }

    /// The metrics, once everything accepted is delivered.
    fn settled(&self) -> Result<Numbers, Failure> {
        let began = Instant::now();
        loop {
            let answer = self.http.get(&format!("{}/metrics", self.admin))?;
            let numbers = Numbers::read(&String::from_utf8_lossy(&answer.body));
            if numbers.are_settled() {
                return Ok(numbers);
            }
            if began.elapsed() > DEADLINE {
                return Err(Failure::Failed(anyhow!(
                    "not everything was delivered in time"
                )));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn show_topics(
        &self,
        sent: &[(Delivery, Reply)],
        after: &dyn Fn(&str) -> u64,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let url = self.reader.url("TOPIC", 0);
        output.line(format_args!("\n3. What a consumer reads: GET {url}"))?;
        let mut first = true;
        for topic in self.reader.topics()? {
            output.line(format_args!("   topic {}", topic.name))?;
            let Found::Entries(entries) =
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

    fn show_what_next(&self, output: &mut Output) -> Result<(), Failure> {
        output.line("\n4. Send one yourself, signed by openssl; each paste is a new event:\n")?;
        for line in self.paste() {
            output.line(format_args!("   {line}"))?;
        }
        output.line(format_args!(
            "\n   or     hookferry send --url {} --secret-file {}",
            self.webhook_url,
            shell_quoted(&self.secret_file)
        ))?;
        output.line(format_args!("\nwebhook {}", self.webhook_url))?;
        output.line(format_args!("topics  {}/topics", self.admin))?;
        output.line(format_args!(
            "        {}",
            self.reader.url("onecodex.sample.uploaded", 0)
        ))?;
        output.line(format_args!("metrics {}/metrics", self.admin))
    }

    /// Lines for a POSIX shell that make a delivery, sign it and send it.
    fn paste(&self) -> [String; 4] {
        let secret = shell_quoted(&self.secret_file);
        [
            r#"body=$(printf '{"api_version":"v1","event_type":"sample.uploaded","object_type":"sample","triggered_at":"%s","object":{"$uri":"/api/v1/samples/7428cca4a3a04a8e","filename":"mine.fastq.gz"}}' "$(date -u +%Y-%m-%dT%H:%M:%SZ)")"#.to_owned(),
            "t=$(date +%s)".to_owned(),
            format!(r#"v1=$(printf '%s.%s' "$t" "$body" | openssl dgst -sha256 -hmac "$(cat {secret})" -r | cut -d' ' -f1)"#),
            format!(
                r#"curl -sS -H 'Content-Type: application/json' -H "{}: t=$t v1=$v1" --data-binary "$body" {}"#,
                ONE_CODEX.scheme.header, self.webhook_url
            ),
        ]
    }
}

fn show_entry(
    entry: &Entry,
    sent: &[(Delivery, Reply)],
    output: &mut Output,
) -> Result<(), Failure> {
    let bytes = entry.bytes()?;
    let same = sent
        .iter()
        .any(|(delivery, reply)| reply.id.as_ref() == Some(&entry.id) && delivery.body == bytes);
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
        Err(Failure::Failed(anyhow!("a body was changed on its way")))
    }
}

/// A word for a POSIX shell.
fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_a_path_stays_in_its_word() {
        assert_eq!(shell_quoted("/a b/it's"), r"'/a b/it'\''s'");
    }
}
