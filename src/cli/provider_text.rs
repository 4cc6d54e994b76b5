//! A provider's table as TOML that can be copied under another name: its keys in the order of the
//! manual, and defaults written out where somebody who changes a line would want to see them.

use std::fmt::Write as _;

use toml::{Table, Value};

use crate::source::{Provider, Replay};

/// The tables of a provider, in their order, each with the order of its keys.
const SECTIONS: [(&str, &[&str]); 6] = [
    ("signature", SIGNATURE),
    ("event", EVENT),
    ("structured", EVENT),
    ("handshake", &["method", "signed", "when", "answer"]),
    ("facts", &["deadline", "max_body", "retries", "link"]),
    ("sample", &["headers", "content_type", "body"]),
];
const OWN: &[&str] = &["uri", "event_types", "answer", "recovery"];
#[rustfmt::skip]
const SIGNATURE: &[&str] = &[
    "scheme", "hash", "header", "items", "pair", "tag", "encoding", "signed", "timestamp", "unit",
    "stray_letter", "key", "key_prefix", "replay",
];
#[rustfmt::skip]
const EVENT: &[&str] = &[
    "id", "type", "object", "time", "unit", "form", "list", "attributes",
];

/// The text of a table with what it extends filled in.
pub(super) fn text(provider: &Provider, mut table: Table) -> String {
    add_defaults(provider, &mut table);
    let path = format!("provider.{}", provider.name);
    let mut text = format!("[{path}]\n");
    let is_section = |key: &str| SECTIONS.iter().any(|(section, _)| *section == key);
    let mut own = table.clone();
    own.retain(|key, _| !is_section(key));
    write_keys(&mut text, &own, OWN);
    for (section, keys) in SECTIONS {
        match table.get(section) {
            Some(Value::Table(table)) => {
                let _ = write!(text, "\n[{path}.{section}]\n");
                write_keys(&mut text, table, keys);
            }
            Some(Value::Array(tables)) => {
                for table in tables.iter().filter_map(Value::as_table) {
                    let _ = write!(text, "\n[[{path}.{section}]]\n");
                    write_keys(&mut text, table, keys);
                }
            }
            _ => {}
        }
    }
    text
}

/// Writes a line for each key: those that are known in their order, then any other.
fn write_keys(text: &mut String, table: &Table, order: &[&str]) {
    let known = order.iter().copied().filter(|key| table.contains_key(*key));
    let others = table.keys().map(String::as_str);
    let others = others.filter(|key| !order.contains(key));
    for key in known.chain(others) {
        let _ = writeln!(text, "{key} = {}", table[key]);
    }
}

fn add_defaults(provider: &Provider, table: &mut Table) {
    add(table, "uri", provider.uri.as_str());
    add(table, "event_types", Value::Array(Vec::new()));
    add(table, "answer", "json");
    if let Some(Value::Table(signature)) = table.get_mut("signature") {
        add_signature_defaults(provider, signature);
    }
    for section in ["event", "structured"] {
        if let Some(Value::Table(event)) = table.get_mut(section)
            && event.contains_key("time")
        {
            add(event, "unit", "rfc3339");
        }
    }
    if let Some(Value::Array(handshakes)) = table.get_mut("handshake") {
        for handshake in handshakes.iter_mut().filter_map(Value::as_table_mut) {
            add(handshake, "method", "POST");
        }
    }
}

fn add_signature_defaults(provider: &Provider, signature: &mut Table) {
    add(signature, "scheme", "hmac");
    if signature["scheme"].as_str() == Some("hmac") {
        add(signature, "hash", "sha256");
        add(signature, "key", "text");
    }
    if provider.signature.scheme().signs() {
        add(signature, "encoding", "hex");
        add(signature, "signed", "{body}");
    }
    if signature.contains_key("timestamp") {
        add(signature, "unit", "s");
    }
    let replay = match provider.replay {
        Replay::Id => "id",
        Replay::Body => "body",
    };
    add(signature, "replay", replay);
}

/// Adds a value where there is none.
fn add(table: &mut Table, key: &str, value: impl Into<Value>) {
    if !table.contains_key(key) {
        table.insert(key.to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{ProviderTables, provider};

    fn compiled(name: &str, table: Table) -> Provider {
        let read = Value::Table(table).try_into().expect(name);
        provider(name, &read).unwrap_or_else(|problems| panic!("{name}: {problems:?}"))
    }

    #[test]
    fn what_is_printed_is_the_same_provider() {
        let tables = ProviderTables::built_in();
        for name in tables.names() {
            let table = tables.resolved(name).expect(name);
            let mut original = compiled(name, table.clone());
            let text = text(&original, table);
            let read: Table = text
                .parse()
                .unwrap_or_else(|error| panic!("{error}\n{text}"));
            let copied = read["provider"][name].as_table().expect(name).clone();
            // What holds is written out.
            original.signature.replay = Some(original.replay);
            let copied = compiled(name, copied);
            assert_eq!(format!("{copied:?}"), format!("{original:?}"), "{text}");
        }
    }

    #[test]
    fn keys_come_in_the_order_of_the_manual_with_their_defaults() {
        let tables = ProviderTables::built_in();
        let table = tables.resolved("gitlab").expect("built in");
        let gitlab = text(&compiled("gitlab", table.clone()), table);
        let begins = r#"[provider.gitlab]
uri = "https://gitlab.com"
event_types = []
answer = "json"

[provider.gitlab.signature]
scheme = "hmac"
hash = "sha256"
header = "webhook-signature"
items = " "
pair = ","
tag = "v1"
encoding = "base64"
signed = "{header.webhook-id}.{header.webhook-timestamp}.{body}"
timestamp = "{header.webhook-timestamp}"
unit = "s"
key = "base64"
key_prefix = "whsec_"
replay = "id"

[provider.gitlab.event]
"#;
        assert!(gitlab.starts_with(begins), "{gitlab}");
        assert!(!gitlab.contains("extends"));
    }
}
