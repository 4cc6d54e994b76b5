//! What a person may paste into a POSIX shell to send a delivery of their own to the demo.

use jiff::Timestamp;

use super::deliveries::deliveries;
use super::sender::DemoSender;
use crate::cli::webhook_client::WebhookClient;
use crate::source::ONE_CODEX;

/// What there is to paste.
pub(super) struct Paste<'a> {
    /// Who sends.
    pub sender: &'a DemoSender,
    /// What signs and knows where to.
    pub webhook: &'a WebhookClient,
    /// The webhook's URL.
    pub webhook_url: &'a str,
    /// The file of what the sender signs with.
    pub signing_file: &'a str,
}

impl Paste<'_> {
    /// What the lines are.
    pub(super) fn heading(&self) -> &'static str {
        if self.is_one_codex() {
            "Send one yourself, signed by openssl; each paste is a new event"
        } else if self.sender.provider.signature.timestamp.is_some() {
            "Send one yourself; it is signed as of now, and pasted again it is a duplicate"
        } else {
            "Send one yourself; pasted again it is a duplicate"
        }
    }

    /// Lines for a POSIX shell that send a delivery.
    pub(super) fn lines(&self) -> Vec<String> {
        if self.is_one_codex() {
            self.signed_by_openssl().to_vec()
        } else {
            self.signed_here().into_iter().collect()
        }
    }

    /// The command that sends others.
    pub(super) fn command(&self) -> String {
        let provider = if self.is_one_codex() {
            String::new()
        } else {
            format!("--provider {} ", self.sender.provider.name)
        };
        format!(
            "hookferry send {provider}--url {} --secret-file {}",
            self.webhook_url,
            shell_quoted(self.signing_file)
        )
    }

    fn is_one_codex(&self) -> bool {
        self.sender.provider.name == ONE_CODEX.name
    }

    /// Lines that make One Codex's delivery, sign it and send it.
    fn signed_by_openssl(&self) -> [String; 4] {
        let secret = shell_quoted(self.signing_file);
        [
            r#"body=$(printf '{"api_version":"v1","event_type":"sample.uploaded","object_type":"sample","triggered_at":"%s","object":{"$uri":"/api/v1/samples/7428cca4a3a04a8e","filename":"mine.fastq.gz"}}' "$(date -u +%Y-%m-%dT%H:%M:%SZ)")"#.to_owned(),
            "t=$(date +%s)".to_owned(),
            format!(r#"v1=$(printf '%s.%s' "$t" "$body" | openssl dgst -sha256 -hmac "$(cat {secret})" -r | cut -d' ' -f1)"#),
            format!(
                r#"curl -sS -H 'Content-Type: application/json' -H "{}: t=$t v1=$v1" --data-binary "$body" {}"#,
                ONE_CODEX.signature.headers[0], self.webhook_url
            ),
        ]
    }

    /// A line that sends a delivery which is signed already.
    fn signed_here(&self) -> Option<String> {
        let now = Timestamp::now();
        let delivery = deliveries(self.sender, now).into_iter().next()?;
        let request = self.webhook.sign(&delivery.sample, now);
        let mut line = "curl -sS".to_owned();
        for (name, value) in &request.headers {
            line.push_str(" -H ");
            line.push_str(&shell_quoted(&format!("{name}: {value}")));
        }
        let body = String::from_utf8(delivery.sample.body).ok()?;
        let (body, url) = (shell_quoted(&body), shell_quoted(&request.url));
        Some(format!("{line} --data-binary {body} {url}"))
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
