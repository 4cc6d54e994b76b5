//! The shape of the code: who may import whom, who may make a proof, and nothing left to do.

mod circles;
mod names;

use std::collections::BTreeSet;

use crate::repository::{files_below, read};

/// The layers, top to bottom. Imports point down, or stay within a module.
const LAYERS: &[&[&str]] = &[
    &["main", "lib", "cli"],
    &["app"],
    &["telemetry"],
    &["config"],
    &["ingress", "admin"],
    &["backfill"],
    &["pipeline"],
    &["history"],
    &["spool"],
    &["sink"],
    &["route"],
    &["event"],
    &["source"],
    &["trace"],
    &["log"],
    &[
        "name",
        "json",
        "metrics",
        "path_error",
        "shutdown",
        "descriptors",
        "threads",
        "systemd",
        "crypto",
        "seeded",
    ],
];

/// Imports that the layers do not allow, each with its reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    // Both listeners answer with one type of what a bound server is.
    ("admin", "ingress"),
];

/// Client libraries, and the only places that may name them.
const CLIENTS: &[(&str, &[&str])] = &[
    (
        "actix_web",
        &["ingress/", "admin/", "admin.rs", "app/listeners.rs"],
    ),
    ("actix_http", &["ingress/"]),
    ("actix_service", &["ingress/"]),
    ("tokio_rustls", &["ingress/"]),
    ("lapin", &["sink/rabbitmq/"]),
    ("rdkafka", &["sink/kafka/"]),
    ("rusqlite", &["spool/index.rs", "spool/index/"]),
];

/// The types that prove something, and the only files that may make one.
const PROOFS: &[(&str, &str)] = &[
    ("Verified", "source/verified.rs"),
    ("ApiResponse", "source/provider_api.rs"),
    ("RecoveredDelivery", "source/recovered_delivery.rs"),
    ("AuthenticDelivery", "source/authentic.rs"),
    ("Routed", "route.rs"),
    ("Accepted", "pipeline/accept.rs"),
    ("Receipt", "sink/message.rs"),
];

struct File {
    /// Below `src`, with slashes.
    path: String,
    text: String,
}

impl File {
    /// `pipeline` of `pipeline/accept.rs`.
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// The folder, without a slash at its end, and the name without `.rs`.
    fn place(&self) -> (&str, &str) {
        let (folder, name) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        (folder, name.strip_suffix(".rs").unwrap_or(name))
    }

    /// The lines that are code and belong to the program, not to its unit tests.
    fn code(&self) -> impl Iterator<Item = &str> {
        let is_test = self.path.ends_with("/tests.rs") || self.path == "tests.rs";
        let end = self
            .text
            .find("#[cfg(test)]\nmod tests {")
            .unwrap_or(self.text.len());
        let text = if is_test { "" } else { &self.text[..end] };
        text.lines()
            .filter(|line| !line.trim_start().starts_with("//"))
    }
}

fn files(folder: &str) -> Vec<File> {
    let file = |path: String| File {
        text: read(&format!("{folder}/{path}")),
        path,
    };
    files_below(folder, "rs").into_iter().map(file).collect()
}

fn layer(module: &str) -> usize {
    LAYERS
        .iter()
        .position(|layer| layer.contains(&module))
        .unwrap_or_else(|| panic!("`{module}` is in no layer: add it to the list"))
}

/// The top-level modules a line names: `crate::a::…`, and each of `crate::{a::…, b}`.
fn imported(code: &str) -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let word = |text: &str| -> String {
            text.trim_start()
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                .collect()
        };
        if let Some(group) = rest.strip_prefix('{') {
            modules.extend(top_level_items(group).iter().map(|item| word(item)));
        } else {
            modules.insert(word(rest));
        }
    }
    modules.remove("");
    modules
}

fn top_level_items(group: &str) -> Vec<String> {
    let (mut depth, mut items, mut item) = (0, Vec::new(), String::new());
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => items.push(std::mem::take(&mut item)),
            '{' => depth += 1,
            '}' => depth -= 1,
            _ if depth == 0 => item.push(c),
            _ => {}
        }
    }
    items.push(item);
    items
}

#[test]
fn imports_point_down() {
    let mut used = BTreeSet::new();
    let mut wrong = Vec::new();
    for file in files("src") {
        let code: Vec<&str> = file.code().collect();
        for other in imported(&code.join("\n")) {
            let from = file.module();
            if other == from || layer(from) < layer(&other) {
                continue;
            }
            match EXCEPTIONS.iter().find(|(a, b)| *a == from && *b == other) {
                Some(exception) => {
                    used.insert(*exception);
                }
                None => wrong.push(format!("{} imports {other}", file.path)),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(
        used.len(),
        EXCEPTIONS.len(),
        "an exception nobody needs any more: {used:?}"
    );
}

#[test]
fn the_search_for_imports_finds_them() {
    let found = imported(
        "use crate::{spool::SpoolRecord, sink::{Sink, crate_like}};\nlet x = crate::event::Content::new();",
    );
    assert_eq!(
        found.into_iter().collect::<Vec<_>>(),
        ["event", "sink", "spool"]
    );
}

#[test]
fn each_client_library_has_one_place() {
    for (library, places) in CLIENTS {
        let mut uses = 0;
        for file in files("src") {
            let named = file
                .code()
                .any(|line| line.contains(&format!("{library}::")));
            if !named {
                continue;
            }
            uses += 1;
            let allowed = places
                .iter()
                .any(|place| file.path == *place || file.path.starts_with(place));
            assert!(allowed, "{} names {library}", file.path);
        }
        assert!(uses > 0, "nothing names {library}: the search is wrong");
    }
}

/// Whether a line makes a value of the type by its fields.
fn makes(line: &str, name: &str) -> bool {
    let literal = format!("{name} {{");
    let Some(at) = line.find(&literal) else {
        return false;
    };
    let before = line[..at].trim_end_matches(['&', ' ']);
    let part_of_a_name = line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    // The declaration, and blocks that begin after the type's name.
    let is_other = ["struct", "impl", "for", "->", "enum"]
        .iter()
        .any(|word| before.ends_with(word));
    !part_of_a_name && !is_other
}

#[test]
fn proofs_are_made_in_one_file_and_have_no_open_field() {
    let files = files("src");
    for (name, maker) in PROOFS {
        let mut made = 0;
        // A file with a type of its own by that name cannot mean the proof.
        let own = format!("struct {name} {{");
        for file in files
            .iter()
            .filter(|file| file.path == *maker || !file.text.contains(&own))
        {
            for line in file.code() {
                let by_name = makes(line, name);
                let by_self = file.path == *maker && line.contains("Self {");
                if by_name {
                    assert_eq!(file.path, *maker, "{name} is made here too: {line}");
                }
                made += usize::from(by_name || by_self);
            }
        }
        assert!(made > 0, "nobody makes a {name}: the search is wrong");
        let file = files
            .iter()
            .find(|file| file.path == *maker)
            .expect("the maker is there");
        let (_, fields) = file
            .text
            .split_once(&format!("pub struct {name} {{"))
            .expect("declared there");
        let fields = fields.split_once("\n}").expect("it ends").0;
        assert!(
            !fields.contains("pub"),
            "{name} has an open field: {fields}"
        );
        let derives = file
            .text
            .split(&format!("pub struct {name} {{"))
            .next()
            .unwrap();
        let derives = derives.rsplit("#[derive(").next().unwrap();
        assert!(
            !derives.contains("Deserialize") && !derives.contains("Default"),
            "{name} can be made of nothing"
        );
    }
}

/// A receipt is worth a record: only one, and it can be used once.
#[test]
fn a_receipt_cannot_be_copied() {
    let files = files("src");
    let file = files
        .iter()
        .find(|file| file.path == "sink/message.rs")
        .unwrap();
    let before = file.text.split("pub struct Receipt {").next().unwrap();
    let derive = before.rsplit("#[derive(").next().unwrap();
    assert!(
        !derive.split(']').next().unwrap().contains("Clone"),
        "{derive}"
    );
}

#[test]
fn makes_tells_a_maker_from_a_mention() {
    assert!(makes("        Ok(Accepted { id, status })", "Accepted"));
    assert!(makes("    let proof = Verified {", "Verified"));
    assert!(!makes("pub struct Verified {", "Verified"));
    assert!(!makes("impl Verified {", "Verified"));
    assert!(!makes("impl fmt::Debug for Verified {", "Verified"));
    assert!(!makes("pub fn receipt(&self) -> Receipt {", "Receipt"));
    assert!(!makes("    NotVerified {", "Verified"));
}

#[test]
fn nothing_is_left_to_do() {
    let words = [
        ["TO", "DO"],
        ["FIX", "ME"],
        ["XX", "X"],
        ["todo", "!("],
        ["unimplemented", "!("],
        ["dbg", "!("],
    ]
    .map(|halves| halves.concat());
    for file in files("src").iter().chain(&files("tests")) {
        for line in file.text.lines() {
            let found = words.iter().find(|word| line.contains(word.as_str()));
            assert!(found.is_none(), "{}: {line}", file.path);
        }
    }
}

#[test]
fn no_test_is_skipped_without_a_reason() {
    let bare = format!("#[{}]", "ignore");
    for file in files("src").iter().chain(&files("tests")) {
        assert!(!file.text.contains(&bare), "{}", file.path);
    }
}

#[test]
fn nothing_is_called_a_helper() {
    let words = ["util", "helper", "manager", "common", "misc"];
    for file in files("src").iter().chain(&files("tests")) {
        for word in words {
            assert!(!file.path.contains(word), "{}", file.path);
        }
    }
}
