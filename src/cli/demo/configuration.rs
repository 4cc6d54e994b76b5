//! The demo's configuration, as a file for `serve` would hold it.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::Path;

use anyhow::Context as _;
use serde_json::Value;

use super::folder::DemoFolder;
use super::sender::DemoSender;
use crate::cli::command_error::CommandError;
use crate::source::AnswerForm;

/// The configuration of a bridge that this sender sends to.
pub(super) fn text(sender: &DemoSender, folder: &DemoFolder) -> Result<String, CommandError> {
    let name = &sender.provider.name;
    let port = port(sender)?;
    let quoted = |name: &str| quoted(&folder.path().join(name));
    // `${` would be taken for a variable.
    let definition = sender.definition.as_ref();
    let definition = definition.map(|table| format!("\n{}", table.replace("${", "$${")));
    Ok(format!(
        r#"acknowledge = "spooled"

[ingress]
listen = "127.0.0.1:{port}"

[admin]
listen = "127.0.0.1:0"

[spool]
path = {spool}

[source.{name}]
provider = "{name}"
secrets = [{{ file = {secret} }}]
{more}
[sink.store]
type = "store"
path = {topics}

[[route]]
source = "{name}"
sinks = ["store"]
{definition}"#,
        definition = definition.unwrap_or_default(),
        more = source_keys(sender, port),
        spool = quoted("spool"),
        secret = quoted("secret"),
        topics = quoted("topics"),
    ))
}

/// What this sender's source needs besides: topics for its events, the URL that it signs, and the
/// answer that tells the demo what became of a delivery.
fn source_keys(sender: &DemoSender, port: u16) -> String {
    let mut keys = String::new();
    if !sender.provider.event_types.contains(&sender.event_type) {
        let types = sender.event_types().into_iter();
        let types = Value::from_iter(types.map(ToString::to_string));
        let _ = writeln!(keys, "event_types = {types}");
    }
    if sender.signs_url() {
        let name = &sender.provider.name;
        let _ = writeln!(keys, "url = \"http://127.0.0.1:{port}/webhooks/{name}\"");
    }
    if sender.provider.answer != AnswerForm::Json {
        keys.push_str("answer = \"json\"\n");
    }
    keys
}

/// Any free port; where the URL is signed, one that is known before the bridge starts.
fn port(sender: &DemoSender) -> Result<u16, CommandError> {
    if !sender.signs_url() {
        return Ok(0);
    }
    let listener = TcpListener::bind("127.0.0.1:0").context("there is no free port")?;
    let address = listener.local_addr().context("the port is not known")?;
    Ok(address.port())
}

/// A path as a TOML string. JSON's escapes are TOML's too; `${` would be taken for a variable.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy().replace("${", "$${");
    Value::String(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{ProviderTables, built_in};

    fn text_of(provider: &str, folder: &Path) -> String {
        let sender = DemoSender::new(built_in(provider).expect(provider)).expect(provider);
        let folder = DemoFolder::at(&sender, folder).expect("made");
        text(&sender, &folder).expect("a port is free")
    }

    #[test]
    fn the_configuration_is_good_for_every_provider() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        for name in ProviderTables::built_in().names() {
            let text = text_of(name, &parent.path().join(format!("{name} \"${{b}}\" 'c'")));
            let settings = crate::config::parse(&text, &|_| None);
            assert!(settings.is_ok(), "{settings:?}\n{text}");
        }
    }

    #[test]
    fn a_source_has_what_its_provider_needs_and_no_more() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let keys = |provider: &str| {
            let text = text_of(provider, &parent.path().join(provider));
            let (_, source) = text.split_once("\nprovider").expect("a source");
            let (source, _) = source.split_once("\n\n").expect("it ends");
            source.lines().skip(2).map(str::to_owned).collect()
        };
        let onecodex: Vec<String> = keys("onecodex");
        assert_eq!(onecodex, [""; 0]);
        let github: Vec<String> = keys("github");
        assert_eq!(github, ["event_types = [\"push\"]"]);
        let twilio: Vec<String> = keys("twilio");
        assert_eq!(twilio[0], "event_types = [\"message.delivered\"]");
        assert!(twilio[1].starts_with("url = \"http://127.0.0.1:"));
        assert!(!twilio[1].contains(":0/"), "{twilio:?}");
        assert_eq!(twilio[2..], ["answer = \"json\""]);
    }
}
