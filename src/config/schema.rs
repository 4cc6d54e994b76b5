//! The JSON Schema of the whole file, made of the types that its sections are read into.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema};

use super::file::{
    AdminFile, IngressFile, LogFile, MetricsFile, RouteFile, SinkFile, SourceFile, SpoolFile,
    TopFile,
};
use super::kafka::KafkaFile;
use super::rabbitmq::RabbitMqFile;
use super::store::StoreFile;
use super::trace::TraceFile;
use crate::source::ProviderTable;

/// The JSON Schema of the file (2020-12).
#[must_use]
pub fn schema() -> String {
    let schema = schemars::schema_for!(WholeFile);
    serde_json::to_string_pretty(&schema).expect("a schema is plain JSON")
}

/// The configuration is one TOML file. An unknown key is an error, and all mistakes are named at
/// once.
///
/// Spans of time are written `"250ms"`, `"10s"`, `"24h"`, `"30d"`; sizes `"64KiB"`, `"1GiB"`. A
/// string may hold `${VAR}` (an error where the variable is not set) and `${VAR:-default}`; `$${`
/// is a literal `${`. The file is parsed before variables are filled in, so a variable cannot add
/// keys.
///
/// A secret is written `{ file = "…" }` or `{ env = "…" }`, never as text; white space around it
/// does not count. A key that is no text is written there as base64 or hex, and `encoding` says so:
/// `{ file = "…", encoding = "base64" }`.
///
/// Names of sources, providers and sinks are 1 to 40 characters out of `a-z`, `0-9`, `-` and `_`, the
/// first a letter or digit. Names of topics, exchanges and routing keys are templates: `{source}`,
/// `{event_type}`, `{object_id}` and `{id}`, with letters, digits, `.`, `_` and `-` around them.
/// `{event_type}` is `other` where the event's type is not configured, and `quarantine` where the
/// delivery was not understood; a template without it puts all into one place.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Hookferry configuration")]
#[allow(
    dead_code,
    reason = "only its schema is used: the parts are read one by one"
)]
struct WholeFile {
    #[serde(flatten)]
    top: TopFile,
    /// The public listener.
    ingress: Option<IngressFile>,
    /// The operators' listener.
    admin: Option<AdminFile>,
    /// The listener for scrapers and probes.
    metrics: Option<MetricsFile>,
    /// The spool: a table, or "memory", which is short for `path = "memory"`.
    spool: Option<TableOrMemory>,
    /// The log.
    log: Option<LogFile>,
    /// The export of traces.
    trace: Option<TraceFile>,
    /// Providers besides those that are built in, by name.
    provider: Option<BTreeMap<String, ProviderTable>>,
    /// The sources, by name.
    source: BTreeMap<String, SourceFile>,
    /// The sinks, by name.
    sink: BTreeMap<String, AnySinkFile>,
    /// The routes.
    route: Vec<RouteFile>,
}

#[derive(JsonSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "as above")]
enum TableOrMemory {
    Table(SpoolFile),
    Memory(InMemory),
}

#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(dead_code, reason = "as above")]
enum InMemory {
    Memory,
}

#[derive(JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
#[schemars(transform = add_common_keys)]
#[allow(dead_code, reason = "as above")]
enum AnySinkFile {
    Kafka(KafkaFile),
    RabbitMq(RabbitMqFile),
    Store(StoreFile),
}

/// Every sink has [`SinkFile`]'s keys too; `type` is the tag already.
fn add_common_keys(schema: &mut Schema) {
    let common = schemars::schema_for!(SinkFile);
    let keys = common.get("properties").and_then(|value| value.as_object());
    let kinds = schema.ensure_object().get_mut("oneOf");
    let kinds = kinds.and_then(|value| value.as_array_mut());
    for kind in kinds.into_iter().flatten() {
        let Some(properties) = kind.get_mut("properties").and_then(|of| of.as_object_mut()) else {
            continue;
        };
        for (key, value) in keys.into_iter().flatten().filter(|(key, _)| *key != "type") {
            properties.insert(key.clone(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use toml::Table;

    use super::*;
    use crate::config::example::whole_example;
    use crate::config::section;

    /// Notes each key below `value` that `schema` does not list.
    fn unlisted(
        root: &Value,
        schema: &Value,
        (path, value): (&str, &toml::Value),
        found: &mut Vec<String>,
    ) {
        let reference = schema["$ref"].as_str();
        if let Some(to) = reference.and_then(|text| root.pointer(text.strip_prefix('#')?)) {
            return unlisted(root, to, (path, value), found);
        }
        let choices = ["anyOf", "oneOf"].map(|key| schema[key].as_array());
        if let Some(choices) = choices.into_iter().flatten().next() {
            let tried = choices.iter().map(|choice| {
                let mut missing = Vec::new();
                unlisted(root, choice, (path, value), &mut missing);
                missing
            });
            found.extend(tried.min_by_key(Vec::len).unwrap_or_default());
            return;
        }
        match value {
            toml::Value::Table(table) => {
                for (key, value) in table {
                    let path = section::join(path, key);
                    let named = &schema["properties"][key];
                    let any = &schema["additionalProperties"];
                    let listed = if named.is_null() { any } else { named };
                    if listed.is_object() {
                        unlisted(root, listed, (&path, value), found);
                    } else {
                        found.push(path);
                    }
                }
            }
            toml::Value::Array(items) => {
                for item in items {
                    unlisted(root, &schema["items"], (path, item), found);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn the_schema_lists_every_key_of_the_example() {
        let schema: Value = serde_json::from_str(&schema()).expect("JSON");
        let check = |example: Table| {
            let mut found = Vec::new();
            let example = toml::Value::Table(example);
            unlisted(&schema, &schema, ("", &example), &mut found);
            found
        };
        assert_eq!(check(whole_example()), [""; 0]);
        let mut changed = whole_example();
        let misspelt = "[store]\ntype = \"store\"\nretry_delay_mx = \"1s\"".parse();
        changed.insert("sink".into(), toml::Value::Table(misspelt.expect("TOML")));
        assert_eq!(check(changed), ["sink.store.retry_delay_mx"]);
    }
}
