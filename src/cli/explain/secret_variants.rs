//! The keys that a secret's text may stand for: editors, shells, templates and the sender's side change
//! it on its way.

use std::collections::HashSet;

use super::variant::Variant;
use crate::cli::secret_arguments::SecretText;
use crate::source::{Encoding, KeyForm, Scheme, Secret, SecretForm, without_name, without_quotes};

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

/// What senders write before the key itself.
const PREFIXES: [&str; 4] = ["whsec_", "whpk_", "whsk_", "Bearer "];
/// What the sender's side may have put around the secret, as its own form's does.
const ADDED: [(&str, &[u8], &[u8]); 6] = [
    ("if a newline were part of the secret", b"", b"\n"),
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
    ("if whsec_ stood before the secret", b"whsec_", b""),
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

/// How the secret's text is to be read.
struct Reading<'a> {
    form: &'a SecretForm,
    encoding: Option<Encoding>,
}

impl Reading<'_> {
    /// Whether the text itself is the key.
    fn is_of_text(&self) -> bool {
        self.encoding.is_none() && self.form.key == KeyForm::Text
    }

    /// How the text itself differs from the key.
    fn undecoded(&self) -> &'static str {
        if self.is_of_text() {
            ""
        } else {
            "if the secret were not decoded"
        }
    }

    /// The key that a text stands for, where it is written so.
    fn key(&self, text: &[u8]) -> Option<Vec<u8>> {
        let rest = text
            .strip_prefix(self.form.prefix.as_bytes())
            .unwrap_or(text);
        match (self.encoding, self.form.key) {
            (Some(encoding), _) => encoding.decode(text).ok(),
            (None, KeyForm::Text) => Some(rest.to_vec()),
            (None, KeyForm::Pem) => Some(text.to_vec()),
            (None, KeyForm::Base64) => Encoding::Base64.decode(rest).ok(),
            (None, KeyForm::Hex) => Encoding::Hex.decode(rest).ok(),
        }
    }
}

/// The secret as the bridge takes it, and as it may be where something has happened to it on its way
/// into the file, or on the sender's side, or where it is written otherwise than `form` says. Of two
/// that are the same, the simpler is named.
pub(super) fn secret_variants(text: &SecretText, form: &SecretForm) -> Vec<Variant<Secret>> {
    let reading = Reading {
        form,
        encoding: text.encoding(),
    };
    let as_written = Key {
        name: String::new(),
        bytes: text.expose().trim_ascii().to_vec(),
    };
    let mut known: HashSet<Vec<u8>> = HashSet::from([Vec::new()]);
    known.extend(reading.key(&as_written.bytes));
    let mut keys = vec![as_written.then("if the secret's white space counted", text.expose())];
    let mut cleaned = vec![as_written];
    let mut last = 0;
    for _ in 0..CLEANINGS {
        let next: Vec<Key> = cleaned[last..].iter().flat_map(cleanings).collect();
        last = cleaned.len();
        cleaned.extend(next);
    }
    // What the text itself makes comes before what its white space does.
    keys.splice(0..0, cleaned.iter().flat_map(|key| variants(key, &reading)));
    keys.retain(|key| !key.name.is_empty() && known.insert(key.bytes.clone()));
    let own = text.secret(form).ok().map(Variant::unchanged);
    let others = keys.into_iter().filter_map(|key| {
        let secret = secret(&key.bytes, form.scheme)?;
        Some(Variant::of(key.name, secret))
    });
    own.into_iter().chain(others).collect()
}

/// The secret whose key has these bytes; none where no key of the scheme has.
fn secret(key: &[u8], scheme: Scheme) -> Option<Secret> {
    if matches!(scheme, Scheme::Ed25519 | Scheme::EcdsaP256) {
        let form = SecretForm {
            scheme,
            key: KeyForm::Hex,
            prefix: String::new(),
        };
        return Secret::read(hex::encode(key).as_bytes(), &form, None).ok();
    }
    Some(Secret::from_key(key, scheme))
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
    if text.contains("\\n") {
        let lines = text.replace("\\n", "\n");
        add(
            "if each \\n in the secret were a line's end",
            lines.as_bytes(),
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

/// The text as a key: in each form it may be written in, and with what the sender's side may have
/// added.
fn variants(key: &Key, reading: &Reading<'_>) -> Vec<Key> {
    let mut found = Vec::new();
    found.extend(reading.key(&key.bytes).map(|bytes| key.then("", bytes)));
    if reading.is_of_text() {
        let added = |(name, before, after): (_, &[u8], &[u8])| {
            key.then(name, [before, &key.bytes, after].concat())
        };
        found.extend(ADDED.map(added));
    }
    let mut texts = vec![key.then("", &key.bytes[..])];
    let own = reading.form.prefix.as_str();
    let prefixes = PREFIXES.into_iter().chain([own]);
    for prefix in prefixes.filter(|prefix| !prefix.is_empty()) {
        let rest = key.bytes.strip_prefix(prefix.as_bytes());
        let name = format!("if {} were left out of the secret", prefix.trim_end());
        texts.extend(rest.map(|rest| key.then(&name, rest)));
    }
    for text in texts {
        found.push(text.then(reading.undecoded(), &text.bytes[..]));
        for (name, encoding) in Encoding::ALL {
            if let Ok(decoded) = encoding.decode(&text.bytes) {
                let name =
                    format!("if the secret were decoded from {name} (encoding = \"{name}\")");
                found.push(text.then(&name, decoded));
            }
        }
    }
    found
}
