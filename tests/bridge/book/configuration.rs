//! The page of the configuration: the file's JSON Schema, whose descriptions are the doc comments of
//! src/config. Each ends with `Default: …` or `Required`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{cell, is_current, read, unspoken};

type Keys = Map<String, Value>;

/// A table of the file.
struct Section<'a> {
    /// Its heading, such as `` `[ingress]` ``.
    heading: String,
    /// What its keys' paths begin with, with a dot behind where there is something.
    path: String,
    about: &'a str,
    keys: Vec<(&'a str, &'a Value)>,
}

/// The whole schema, in which others are referred to.
struct Schema(Value);

impl Schema {
    /// What a value is, once references and "or none at all" are taken off.
    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        if let Some(name) = value["$ref"].as_str() {
            let name = name.trim_start_matches("#/$defs/");
            return self.resolve(&self.0["$defs"][name]);
        }
        let choices = value["anyOf"].as_array().into_iter().flatten();
        let first = choices.into_iter().find(|choice| choice["type"] != "null");
        first.map_or(value, |choice| self.resolve(choice))
    }

    /// What a value may be, where that is one of several.
    fn alternatives<'a>(&'a self, value: &'a Value) -> Vec<&'a Value> {
        if let Some(name) = value["$ref"].as_str() {
            let name = name.trim_start_matches("#/$defs/");
            return self.alternatives(&self.0["$defs"][name]);
        }
        let choices = value["anyOf"].as_array().into_iter().flatten();
        let choices: Vec<&Value> = choices.filter(|choice| choice["type"] != "null").collect();
        match choices.as_slice() {
            [] => vec![value],
            [choice] => self.alternatives(choice),
            _ => choices,
        }
    }

    fn keys<'a>(&'a self, value: &'a Value) -> Option<&'a Keys> {
        self.resolve(value)["properties"].as_object()
    }

    fn is_secret(&self, value: &Value) -> bool {
        self.keys(value)
            .is_some_and(|keys| keys.contains_key("env"))
    }

    /// Whether the key is a table with keys of its own, or an array of such.
    fn is_table(&self, value: &Value) -> bool {
        let value = self.resolve(value);
        let is = |value: &Value| self.keys(value).is_some() && !self.is_secret(value);
        is(value) || is(&value["items"])
    }

    /// What may be written for a key.
    fn kind(&self, value: &Value) -> String {
        let alternatives = self.alternatives(value);
        if alternatives.len() > 1 {
            let kinds: Vec<String> = alternatives.iter().map(|one| self.kind(one)).collect();
            return kinds.join(" or ");
        }
        let value = self.resolve(value);
        let about = value["description"].as_str().unwrap_or_default();
        let bounded = [("a span of time", "span"), ("a number of bytes", "size")];
        let is = |(words, _): &(&str, &str)| about.starts_with(words);
        if let Some((_, name)) = bounded.into_iter().find(is) {
            return match about.rsplit(' ').next() {
                None | Some("0s" | "1ms" | "1B") => name.to_owned(),
                Some(least) => format!("{name}, from `\"{least}\"`"),
            };
        }
        let names: Vec<String> = choices(value)
            .map(|choice| format!("`{}`", choice["const"]))
            .collect();
        if !names.is_empty() {
            return names.join(" or ");
        }
        let many = |of: &Value| {
            if self.is_secret(of) {
                " of secrets"
            } else {
                ""
            }
        };
        match type_of(value) {
            "boolean" => "`true` or `false`".to_owned(),
            "integer" | "number" => "number".to_owned(),
            "array" if self.is_table(value) => "list of tables".to_owned(),
            "array" => format!("list{}", many(&value["items"])),
            "object" if self.is_secret(value) => "secret".to_owned(),
            "object" => format!("table{}", many(&value["additionalProperties"])),
            _ => "text".to_owned(),
        }
    }

    /// The key's row, and whether it is required.
    fn row(&self, path: &str, name: &str, value: &Value) -> (bool, String) {
        let about = value["description"].as_str().unwrap_or_default();
        let key = format!("{path}{name}");
        let (mut meaning, default) = split(&key, about);
        for choice in choices(self.resolve(value)) {
            let about = choice["description"].as_str().unwrap_or_default();
            let _ = write!(meaning, " `{}`: {about}", choice["const"]);
        }
        // Of a secret: whether another one is, not whether there is one at all.
        let changed = match self.is_secret(value) {
            true => format!("{key}.file"),
            false => key,
        };
        if !hookferry::config::is_taken_over(&changed) {
            meaning.push_str(" *Restart.*");
        }
        let row = format!(
            "| `{name}` | {} | {} | {} |",
            self.kind(value),
            cell(&default),
            cell(&meaning)
        );
        (default.starts_with("required"), row)
    }

    fn write(&self, section: &Section<'_>, level: usize, page: &mut String) {
        let (heading, marks) = (&section.heading, "#".repeat(level));
        let _ = write!(page, "{marks} {heading}\n\n");
        if !section.about.is_empty() {
            let _ = write!(page, "{}\n\n", section.about.replace('\n', " "));
        }
        let keys = section.keys.iter();
        let mut rows: Vec<(bool, String)> = keys
            .map(|(name, value)| self.row(&section.path, name, value))
            .collect();
        // What must be there comes first.
        rows.sort_by_key(|(is_required, _)| !is_required);
        let rows: Vec<String> = rows.into_iter().map(|(_, row)| row).collect();
        let head = "| key | value | default | meaning |\n|---|---|---|---|";
        let _ = write!(page, "{head}\n{}\n\n", rows.join("\n"));
        for (at, (name, value)) in section.keys.iter().enumerate() {
            let inner = self.resolve(value);
            let mut before = section.keys[..at].iter();
            // Two keys may have one kind of table, which is described once.
            let is_known = before.any(|(_, other)| std::ptr::eq(self.resolve(other), inner));
            if self.is_table(value) && !is_known {
                let is_array = type_of(inner) == "array";
                let item = if is_array { &inner["items"] } else { inner };
                let below = self.section(&format!("{}{name}", section.path), item, is_array);
                self.write(&below, level + 1, page);
            }
        }
    }

    fn section<'a>(&'a self, path: &str, value: &'a Value, is_array: bool) -> Section<'a> {
        let heading = match is_array {
            true => format!("`[[{path}]]`"),
            false => format!("`[{path}]`"),
        };
        let keys = self.keys(value).expect("a table has keys");
        Section {
            heading,
            path: format!("{path}."),
            about: self.resolve(value)["description"]
                .as_str()
                .unwrap_or_default(),
            keys: keys.iter().map(|(name, of)| (name.as_str(), of)).collect(),
        }
    }

    /// What every sink has, and what each kind has besides.
    fn sinks(&self, page: &mut String) {
        let any = self.resolve(&self.0["properties"]["sink"]["additionalProperties"]);
        let kinds = any["oneOf"].as_array().expect("the kinds of sinks");
        let tables: Vec<&Keys> = kinds.iter().filter_map(|kind| self.keys(kind)).collect();
        let is_common = |name: &str, value: &Value| {
            name != "type" && tables.iter().all(|keys| keys.get(name) == Some(value))
        };
        let names = kinds
            .iter()
            .map(|kind| &kind["properties"]["type"]["const"]);
        let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
        let _ = write!(
            page,
            "## `[sink.NAME]`\n\n{about} `type` is required, and one of {}. Keys of every type:\n\n",
            names.join(", "),
            about = self.0["properties"]["sink"]["description"]
                .as_str()
                .unwrap_or_default(),
        );
        let common = tables[0]
            .iter()
            .filter(|(name, value)| is_common(name, value));
        page.push_str("| key | value | default | meaning |\n|---|---|---|---|\n");
        for (name, value) in common {
            let _ = writeln!(page, "{}", self.row("sink.NAME.", name, value).1);
        }
        page.push('\n');
        for (kind, keys) in kinds.iter().zip(&tables) {
            let own = keys
                .iter()
                .filter(|(name, value)| name.as_str() != "type" && !is_common(name, value));
            let name = &kind["properties"]["type"]["const"];
            let section = Section {
                heading: format!("`[sink.NAME]` with `type = {name}`"),
                path: "sink.NAME.".to_owned(),
                about: kind["description"].as_str().unwrap_or_default(),
                keys: own.map(|(name, value)| (name.as_str(), value)).collect(),
            };
            self.write(&section, 2, page);
        }
    }
}

/// The values that a key of few has, with what each means.
fn choices(value: &Value) -> impl Iterator<Item = &Value> {
    let choices = value["oneOf"].as_array().into_iter().flatten();
    choices.filter(|choice| choice["const"].is_string())
}

/// The type of a value, `null` aside.
fn type_of(value: &Value) -> &str {
    let of = &value["type"];
    of.as_str().or_else(|| of[0].as_str()).unwrap_or_default()
}

/// The meaning and the default of a key.
fn split(key: &str, about: &str) -> (String, String) {
    let text = about.split_whitespace().collect::<Vec<_>>().join(" ");
    let at = ["Default: ", "Required"]
        .iter()
        .filter_map(|word| text.rfind(word))
        .max();
    let at = at.unwrap_or_else(|| panic!("{key} says no `Default: …` and no `Required`: {text}"));
    let (meaning, default) = text.split_at(at);
    let default = default
        .trim_start_matches("Default: ")
        .trim_end_matches('.');
    (meaning.trim().to_owned(), lower_first(default))
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_lowercase);
    first.chain(letters).collect()
}

/// The order in which a person writes the file.
const TABLES: [&str; 9] = [
    "ingress", "admin", "metrics", "spool", "log", "trace", "provider", "source", "route",
];

fn page(schema: &Schema) -> String {
    let whole = schema.0["properties"].as_object().expect("keys");
    let about = schema.0["description"].as_str().expect("an introduction");
    let paragraphs = about.split("\n\n").map(|text| text.replace('\n', " "));
    let mut page = format!(
        "# Configuration\n\n{}\n\n\
         A key marked *Restart* is taken over by a restart only, all others also by `SIGHUP`: see \
         [Reloading](reload.md). `hookferry config example` prints the file with comments, `hookferry \
         config schema` its JSON Schema.\n\n",
        paragraphs.collect::<Vec<_>>().join("\n\n")
    );
    let is_plain = |name: &str| !TABLES.contains(&name) && name != "sink";
    let plain = whole.iter().filter(|(name, _)| is_plain(name));
    let top = Section {
        heading: "Above all tables".to_owned(),
        path: String::new(),
        about: "",
        keys: plain.map(|(name, value)| (name.as_str(), value)).collect(),
    };
    schema.write(&top, 2, &mut page);
    for table in TABLES {
        let value = &whole[table];
        let (path, value, is_array) = match table {
            "provider" => ("provider.NAME", &value["additionalProperties"], false),
            "source" => ("source.NAME", &value["additionalProperties"], false),
            "route" => ("route", &value["items"], true),
            _ => (table, value, false),
        };
        if table == "route" {
            schema.sinks(&mut page);
        }
        schema.write(&schema.section(path, value, is_array), 2, &mut page);
    }
    page.trim_end().to_owned() + "\n"
}

#[test]
fn the_page_of_the_configuration_is_current() {
    let schema = Schema(serde_json::from_str(&hookferry::config::schema()).unwrap());
    let page = page(&schema);
    let made_of = "the doc comments in src/config";
    is_current("configuration.md", made_of, &page);
    let example = read("src/config/example.toml");
    let keys = example.lines().filter_map(|line| {
        let (key, _) = line.strip_prefix("# ").unwrap_or(line).split_once(" = ")?;
        let is_key = key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        is_key.then_some(key)
    });
    let keys: BTreeSet<&str> = keys.collect();
    assert!(keys.len() > 30, "{keys:?}");
    assert_eq!(unspoken(&page, keys.into_iter()), [""; 0]);
}

#[test]
fn a_default_is_told_from_the_meaning() {
    let (meaning, default) = split("a", "How long\nit takes. Default: `\"1s\"`.");
    assert_eq!((&*meaning, &*default), ("How long it takes.", "`\"1s\"`"));
    let (meaning, default) = split("a", "The user. Required but for `X`.");
    assert_eq!(
        (&*meaning, &*default),
        ("The user.", "required but for `X`")
    );
}
