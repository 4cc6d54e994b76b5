//! Other forms in which the same delivery may have been signed. One Codex's sample code signs a body
//! that was parsed and written again, and secrets collect white space on their way through files.
//! The bridge verifies the raw bytes alone; this only helps a person to find who changed what.

use std::collections::HashSet;

use super::header::{tags, timestamp};
use crate::source::{Encoding, Secret, without_name, without_quotes};

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

/// How the sender's signature differs from ours, in words, for each form that matches.
pub(super) fn matching(
    value: &str,
    secret: &[u8],
    encoding: Option<Encoding>,
    body: &[u8],
) -> Vec<String> {
    let tags = tags(value);
    let mut found = Vec::new();
    let (stamps, bodies) = (stamps(value), bodies(body));
    for (key_name, key) in keys(secret, encoding) {
        for (stamp_name, stamp) in &stamps {
            for (body_name, form) in &bodies {
                let matches = key.matches(&[stamp.as_bytes(), form], &tags);
                let names = [key_name.as_str(), *stamp_name, *body_name];
                let names: Vec<&str> = names.into_iter().filter(|name| !name.is_empty()).collect();
                if matches && !names.is_empty() {
                    found.push(names.join(", and "));
                }
            }
        }
    }
    found
}

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
fn keys(secret: &[u8], encoding: Option<Encoding>) -> Vec<(String, Secret)> {
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
    let key = |key: Key| (key.name, Secret::from_key(&key.bytes));
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

/// What stands before the body in the signed bytes.
fn stamps(value: &str) -> Vec<(&'static str, String)> {
    let text = timestamp(value).unwrap_or_default();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let mut stamps = vec![
        ("", format!("{digits}.")),
        (
            "if the body alone were signed, without the timestamp",
            String::new(),
        ),
    ];
    if digits != text {
        let name = "if the letter behind the timestamp were signed too";
        stamps.push((name, format!("{text}.")));
    }
    stamps
}

/// The body as it is, and in the forms that programs make of it.
fn bodies(body: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut forms = vec![
        ("", body.to_vec()),
        (
            "if the body had a newline at its end",
            [body, b"\n"].concat(),
        ),
    ];
    if body != body.trim_ascii_end() {
        let name = "if the white space at the body's end were removed";
        forms.push((name, body.trim_ascii_end().to_vec()));
    }
    if body.contains(&b'\r') {
        let unix: Vec<u8> = body.iter().copied().filter(|byte| *byte != b'\r').collect();
        forms.push(("if the body's line ends were bare newlines", unix));
    }
    forms.extend(rewritten(body));
    forms.retain(|(name, form)| name.is_empty() || form != body);
    forms
}

/// The body parsed and written again, as other languages' libraries do by default.
fn rewritten(body: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let Ok(text) = std::str::from_utf8(body) else {
        return Vec::new();
    };
    let Ok(document) = serde_json::from_str::<serde_json::Value>(text) else {
        return Vec::new();
    };
    // The keys of a parsed object are in alphabetical order here.
    let sorted = document.to_string();
    let (compact, spaced) = (Spacing::Compact, Spacing::Python);
    let forms = [
        (
            "if the JSON had been written anew, compact (JSON.stringify)",
            text,
            compact,
            false,
        ),
        (
            "if the JSON had been written anew with spaces (Python's json.dumps with ensure_ascii=False)",
            text,
            spaced,
            false,
        ),
        (
            "if the JSON had been written anew with spaces (Python's json.dumps)",
            text,
            spaced,
            true,
        ),
        (
            "if the JSON had been written anew, compact and in ASCII (Python's json.dumps with separators)",
            text,
            compact,
            true,
        ),
        (
            "if the JSON had been written anew, compact with sorted keys",
            &sorted,
            compact,
            false,
        ),
        (
            "if the JSON had been written anew with spaces and sorted keys (Python's json.dumps with sort_keys and ensure_ascii=False)",
            &sorted,
            spaced,
            false,
        ),
        (
            "if the JSON had been written anew with sorted keys (Python's json.dumps with sort_keys)",
            &sorted,
            spaced,
            true,
        ),
        (
            "if the JSON had been written anew, compact, in ASCII and with sorted keys (Python's json.dumps with sort_keys and separators)",
            &sorted,
            compact,
            true,
        ),
    ];
    let mut rewritten: Vec<(&str, Vec<u8>)> = Vec::new();
    for (name, text, spacing, ascii) in forms {
        let form = rewrite(text, spacing, ascii).into_bytes();
        // Of forms that are the same for this body, the first and simplest is named.
        if !rewritten.iter().any(|(_, known)| *known == form) {
            rewritten.push((name, form));
        }
    }
    rewritten
}

/// White space between the tokens of a document.
#[derive(Clone, Copy)]
enum Spacing {
    /// None.
    Compact,
    /// A space after each comma and colon.
    Python,
}

/// Writes a valid document's tokens again, in their order.
fn rewrite(text: &str, spacing: Spacing, ascii: bool) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let (mut in_string, mut escaped) = (false, false);
    for c in text.chars() {
        if in_string {
            push(&mut out, c, ascii);
            in_string = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        match c {
            ' ' | '\t' | '\n' | '\r' => {}
            ',' | ':' => {
                out.push(c);
                if matches!(spacing, Spacing::Python) {
                    out.push(' ');
                }
            }
            _ => {
                out.push(c);
                in_string = c == '"';
            }
        }
    }
    out
}

fn push(out: &mut String, c: char, ascii: bool) {
    if c.is_ascii() || !ascii {
        out.push(c);
        return;
    }
    let mut units = [0; 2];
    for unit in c.encode_utf16(&mut units) {
        out.push_str(&format!("\\u{unit:04x}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"b": [1, 2.5,true ],"a":{"n":"Zoë \"x\" 🧬, y: z"} }"#;

    fn signed(key: &[u8], bytes: &[u8]) -> String {
        let tag = Secret::from_key(key).sign(&[b"17.", bytes]);
        format!("t=17 v1={}", hex::encode(tag))
    }

    fn only(value: &str, secret: &[u8]) -> String {
        let found = matching(value, secret, None, BODY.as_bytes());
        assert_eq!(found.len(), 1, "{found:?}");
        found.concat()
    }

    #[test]
    fn the_forms_that_python_and_javascript_write_are_recognised() {
        // Written by Python 3's json module and by JSON.stringify.
        for (form, name) in [
            (
                r#"{"b":[1,2.5,true],"a":{"n":"Zoë \"x\" 🧬, y: z"}}"#,
                "JSON.stringify",
            ),
            (
                r#"{"b": [1, 2.5, true], "a": {"n": "Zo\u00eb \"x\" \ud83e\uddec, y: z"}}"#,
                "(Python's json.dumps)",
            ),
            (
                r#"{"a": {"n": "Zo\u00eb \"x\" \ud83e\uddec, y: z"}, "b": [1, 2.5, true]}"#,
                "with sort_keys)",
            ),
            (
                r#"{"a":{"n":"Zo\u00eb \"x\" \ud83e\uddec, y: z"},"b":[1,2.5,true]}"#,
                "sort_keys and separators",
            ),
        ] {
            let found = only(&signed(b"s", form.as_bytes()), b"s");
            assert!(found.contains(name), "{found}");
        }
    }

    #[test]
    fn white_space_around_body_and_secret_is_recognised() {
        let newline = format!("{BODY}\n");
        assert!(only(&signed(b"s", newline.as_bytes()), b"s").contains("newline at its end"));
        assert!(only(&signed(b"s\n", BODY.as_bytes()), b"s").contains("part of the secret"));
        let both = only(&signed(b"s\n", newline.as_bytes()), b"s");
        assert!(both.contains(", and "), "{both}");
    }

    #[test]
    fn what_happens_to_a_secret_on_its_way_into_a_file_is_recognised() {
        let value = signed(b"whsec_a", BODY.as_bytes());
        for (file, names) in [
            (&b"\xef\xbb\xbfwhsec_a\r\n"[..], &["byte-order mark"][..]),
            (b"\xff\xfew\0h\0s\0e\0c\0_\0a\0\r\0\n\0", &["UTF-16"]),
            (b"\xfe\xff\0w\0h\0s\0e\0c\0_\0a\0\n", &["UTF-16"]),
            (b"w\0h\0s\0e\0c\0_\0a\0", &["NUL bytes"]),
            (b"\"whsec_a\"\n", &["quotes"]),
            (b"SECRET='whsec_a'\n", &["the name before", "quotes"]),
            (b"whsec_old\nwhsec_a\n", &["second line"]),
            (b"# the secret\r\n\r\nwhsec_a\r\n", &["second line"]),
            (b"d2hzZWNfYQ==\n", &["base64"]),
            (b"\"77687365635f61\"\n", &["quotes", "hex"]),
            (
                b"\xef\xbb\xbfSECRET=\"whsec_a\"\r\n",
                &["byte-order mark", "the name before", "quotes"],
            ),
        ] {
            let found = only(&value, file);
            for name in names {
                assert!(found.contains(name), "{name} is not in {found}");
            }
        }
    }

    #[test]
    fn what_the_sender_may_have_added_to_the_secret_is_recognised() {
        for (key, name) in [
            (&b"whsec_a\n"[..], "a newline"),
            (b"whsec_a\r\n", "a carriage return"),
            (b"\"whsec_a\"", "quotes"),
            (b"\xef\xbb\xbfwhsec_a", "a byte-order mark"),
        ] {
            let found = only(&signed(key, BODY.as_bytes()), b"whsec_a");
            assert!(found.contains(name), "{name} is not in {found}");
        }
        let spaced = only(&signed(b" whsec_a", BODY.as_bytes()), b" whsec_a");
        assert!(spaced.contains("white space counted"), "{spaced}");
    }

    #[test]
    fn an_encoding_that_should_not_be_there_is_recognised() {
        let value = signed(b"d2hzZWNfYQ==", BODY.as_bytes());
        let base64 = Some(Encoding::Base64);
        let found = matching(&value, b"d2hzZWNfYQ==\n", base64, BODY.as_bytes());
        assert_eq!(found, ["if the secret were not decoded"]);
        let value = signed(b"whsec_a", BODY.as_bytes());
        let right = matching(&value, b"d2hzZWNfYQ==\n", base64, BODY.as_bytes());
        assert!(right.is_empty(), "{right:?}");
    }

    #[test]
    fn what_was_signed_instead_of_the_timestamps_digits_is_recognised() {
        let key = Secret::from_key(b"s");
        let value = |parts: &[&[u8]]| format!("t=17c v1={}", hex::encode(key.sign(parts)));
        assert!(only(&value(&[b"17c.", BODY.as_bytes()]), b"s").contains("letter"));
        assert!(only(&value(&[BODY.as_bytes()]), b"s").contains("body alone"));
    }

    #[test]
    fn a_right_signature_is_no_other_form_and_a_wrong_secret_has_none() {
        let value = signed(b"s", BODY.as_bytes());
        assert!(matching(&value, b"s", None, BODY.as_bytes()).is_empty());
        assert!(matching(&value, b"other", None, BODY.as_bytes()).is_empty());
        assert!(matching(&value, b"other", None, b"\xff no JSON").is_empty());
    }
}
