//! The keys that a secret's text may stand for: editors, shells, templates and the sender's side change
//! it on its way.

use std::collections::HashSet;

use crate::source::{Encoding, ONE_CODEX, Secret, without_name, without_quotes};

/// How often what was made of a secret is cleaned once more: an env file's line with quotes, saved by
/// another system's editor, takes three times.
const CLEANINGS: usize = 3;
/// The lines of a file that are tried, each by itself.
const LINES: [&str; 4] = [
    "if the secret were the first line alone",
    "if the secret were the second line alone",
    "if the secret were the third line alone",
    "if the secret were the fourth line alone",
];

/// What a sender's key may be, with how it differs from the text that stands in the file or variable.
struct Key {
    name: String,
    bytes: Vec<u8>,
}

impl Key {
    fn then(&self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let name = match (self.name.as_str(), name) {
            (before, "") => before.to_owned(),
            ("", name) => name.to_owned(),
            (before, name) => format!("{before}, and {name}"),
        };
        let bytes = bytes.into();
        Self { name, bytes }
    }
}

/// The secret as the bridge takes it, and as it may be where nothing has happened to it on its way
/// into the file, or something on the sender's side. Of two that are the same, the simpler is named.
pub(super) fn secret_variants(secret: &[u8], encoding: Option<Encoding>) -> Vec<(String, Secret)> {
    let as_written = Key {
        name: String::new(),
        bytes: secret.trim_ascii().to_vec(),
    };
    let decoded = encoding.and_then(|encoding| encoding.decode(secret).ok());
    let mut keys = match decoded {
        Some(taken) => vec![
            as_written.then("", taken),
            as_written.then("if the secret were not decoded", &as_written.bytes[..]),
        ],
        None => vec![as_written.then("", &as_written.bytes[..])],
    };
    keys.push(as_written.then("if the secret's white space counted", secret));
    let mut cleaned = vec![as_written];
    let mut last = 0;
    for _ in 0..CLEANINGS {
        let next: Vec<Key> = cleaned[last..].iter().flat_map(cleanings).collect();
        last = cleaned.len();
        cleaned.extend(next);
    }
    keys.extend(cleaned.iter().flat_map(variants));
    let mut known = HashSet::new();
    keys.retain(|key| !key.bytes.is_empty() && known.insert(key.bytes.clone()));
    let key = |key: Key| {
        (
            key.name,
            Secret::from_key(&key.bytes, ONE_CODEX.signature.scheme()),
        )
    };
    keys.into_iter().map(key).collect()
}

/// The text without one of the things that editors, shells and templates add.
fn cleanings(key: &Key) -> Vec<Key> {
    let bytes = &key.bytes[..];
    let mut found = Vec::new();
    let mut add = |name: &str, bytes: &[u8]| found.push(key.then(name, bytes.trim_ascii()));
    if let Some(text) = utf8_of_utf16(bytes) {
        add(
            "if the secret were UTF-8 instead of UTF-16",
            text.as_bytes(),
        );
    }
    if let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf") {
        add("if the secret's byte-order mark were left out", rest);
    }
    if bytes.contains(&0) {
        let rest: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != 0).collect();
        add("if the secret's NUL bytes were left out", &rest);
    }
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    if let Some(inner) = without_quotes(text) {
        add("if the secret's quotes were left out", inner.as_bytes());
    }
    if let Some(value) = without_name(text) {
        add(
            "if the name before the secret were left out",
            value.as_bytes(),
        );
    }
    let lines: Vec<&str> = text
        .split(['\n', '\r'])
        .filter(|line| !line.trim().is_empty())
        .collect();
    if lines.len() > 1 {
        for (name, line) in LINES.into_iter().zip(lines) {
            add(name, line.as_bytes());
        }
    }
    found
}

fn utf8_of_utf16(bytes: &[u8]) -> Option<String> {
    let unit: fn([u8; 2]) -> u16 = match bytes {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => return None,
    };
    let pairs = bytes[2..].chunks_exact(2);
    let units: Vec<u16> = pairs.map(|pair| unit([pair[0], pair[1]])).collect();
    String::from_utf16(&units).ok()
}

/// The text as a key: itself, what it may stand for, and with what the sender's side may have added.
fn variants(key: &Key) -> Vec<Key> {
    let mut found = vec![key.then("", &key.bytes[..])];
    for (name, before, after) in [
        ("if a newline were part of the secret", &b""[..], &b"\n"[..]),
        (
            "if a carriage return and a newline were part of the secret",
            b"",
            b"\r\n",
        ),
        ("if quotes were part of the secret", b"\"", b"\""),
        ("if single quotes were part of the secret", b"'", b"'"),
        (
            "if a byte-order mark were part of the secret",
            b"\xef\xbb\xbf",
            b"",
        ),
    ] {
        found.push(key.then(name, [before, &key.bytes, after].concat()));
    }
    for (name, encoding) in Encoding::ALL {
        if let Ok(decoded) = encoding.decode(&key.bytes) {
            let name = format!("if the secret were decoded from {name} (encoding = \"{name}\")");
            found.push(key.then(&name, decoded));
        }
    }
    found
}
