//! Other forms in which the same delivery may have been signed. One Codex's sample code signs a body
//! that was parsed and written again, and secrets collect white space on their way through files.
//! The bridge verifies the raw bytes alone; this only helps a person to find who changed what.

use super::header::{tags, timestamp};
use crate::source::Secret;

/// How the sender's signature differs from ours, in words, for each form that matches.
pub(super) fn matching(value: &str, secret: &[u8], body: &[u8]) -> Vec<String> {
    let tags = tags(value);
    let mut found = Vec::new();
    for (key_name, key) in keys(secret) {
        for (stamp_name, stamp) in stamps(value) {
            for (body_name, form) in bodies(body) {
                let matches = key.matches(&[stamp.as_bytes(), &form], &tags);
                let names = [key_name, stamp_name, body_name];
                let names: Vec<&str> = names.into_iter().filter(|name| !name.is_empty()).collect();
                if matches && !names.is_empty() {
                    found.push(names.join(", and "));
                }
            }
        }
    }
    found
}

/// The secret as it stands in the file or variable, and with the white space that files add.
fn keys(secret: &[u8]) -> Vec<(&'static str, Secret)> {
    let trimmed = secret.trim_ascii();
    let mut keys: Vec<(&str, Vec<u8>)> = vec![("", trimmed.to_vec())];
    if secret != trimmed {
        keys.push(("if the secret's white space counted", secret.to_vec()));
    }
    for (name, end) in [
        ("if a newline were part of the secret", "\n"),
        (
            "if a carriage return and a newline were part of the secret",
            "\r\n",
        ),
    ] {
        let key = [trimmed, end.as_bytes()].concat();
        if key != secret {
            keys.push((name, key));
        }
    }
    let key = |(name, key): (&'static str, Vec<u8>)| (name, Secret::from_key(&key));
    keys.into_iter().map(key).collect()
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
        let found = matching(value, secret, BODY.as_bytes());
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
    fn what_was_signed_instead_of_the_timestamps_digits_is_recognised() {
        let key = Secret::from_key(b"s");
        let value = |parts: &[&[u8]]| format!("t=17c v1={}", hex::encode(key.sign(parts)));
        assert!(only(&value(&[b"17c.", BODY.as_bytes()]), b"s").contains("letter"));
        assert!(only(&value(&[BODY.as_bytes()]), b"s").contains("body alone"));
    }

    #[test]
    fn a_right_signature_is_no_other_form_and_a_wrong_secret_has_none() {
        let value = signed(b"s", BODY.as_bytes());
        assert!(matching(&value, b"s", BODY.as_bytes()).is_empty());
        assert!(matching(&value, b"other", BODY.as_bytes()).is_empty());
        assert!(matching(&value, b"other", b"\xff no JSON").is_empty());
    }
}
