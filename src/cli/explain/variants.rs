//! Variants of a delivery that the sender may have signed: of the secret, of the timestamp and of the
//! body. One Codex's sample code signs a body that was parsed and written again, and secrets collect
//! white space on their way through files. The bridge verifies the raw bytes alone; this only helps a
//! person to find who changed what.

use super::body_variants::body_variants;
use super::header::{tags, timestamp};
use super::secret_variants::secret_variants;
use crate::source::Encoding;

/// How the sender's signature differs from ours, in words, for each variant that matches.
pub(super) fn matching(
    value: &str,
    secret: &[u8],
    encoding: Option<Encoding>,
    body: &[u8],
) -> Vec<String> {
    let tags = tags(value);
    let mut found = Vec::new();
    let (stamps, bodies) = (stamps(value), body_variants(body));
    for (key_name, key) in secret_variants(secret, encoding) {
        for (stamp_name, stamp) in &stamps {
            for (body_name, form) in &bodies {
                let matches = key.matches(&[stamp.as_bytes(), form], &tags);
                let names = [key_name.as_str(), *stamp_name, body_name.as_str()];
                let names: Vec<&str> = names.into_iter().filter(|name| !name.is_empty()).collect();
                if matches && !names.is_empty() {
                    found.push(names.join(", and "));
                }
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{ONE_CODEX, Secret};

    const BODY: &str = r#"{"b": [1, 2.5,true ],"a":{"n":"Zoë \"x\" 🧬, y: z"} }"#;

    fn signed(key: &[u8], bytes: &[u8]) -> String {
        let tag = Secret::from_key(key, ONE_CODEX.signature.scheme()).sign(&[b"17.", bytes]);
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
        let key = Secret::from_key(b"s", ONE_CODEX.signature.scheme());
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
