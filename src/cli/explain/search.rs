//! Looks for the way in which a delivery that does not verify was signed: with another writing of the
//! secret, another form of the body, another URL or time, or otherwise than the provider's table says.
//! The bridge verifies what it received, by its configuration, and nothing else; this only helps a
//! person to find who changed what. Whether something matches is said by the bridge's own functions.

use std::sync::Arc;

use bytes::Bytes;

use super::body_variants::body_variants;
use super::given_request::GivenRequest;
use super::header_variants::header_variants;
use super::scheme_variants::scheme_variants;
use super::secret_variants::secret_variants;
use super::time_variants::time_variants;
use super::url_variants::url_variants;
use super::variant::{Variant, combined};
use crate::cli::secret_arguments::SecretText;
use crate::source::{Provider, Secret, Source};

/// The most differences that are looked for at once.
const MAX_DIFFERENCES: usize = 2;
/// How many bytes are signed in all: a second or two.
const MAX_BYTES: usize = 1 << 30;
/// What a try costs besides the bytes of its body, in bytes.
const TRY_BYTES: usize = 4096;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// How the sender's signature differs from ours, in words, for each way that matches.
    pub differences: Vec<String>,
    /// Whether everything was tried.
    pub is_complete: bool,
}

/// A delivery that does not verify, with the secret it should be signed with.
pub(super) struct Unverified<'a> {
    /// Whose webhook it is.
    pub source: &'a Source,
    /// What was given.
    pub request: &'a GivenRequest,
    /// The secret's text.
    pub secret: &'a SecretText,
    /// The other providers.
    pub others: &'a [Arc<Provider>],
}

/// One scheme, with all that is tried under it.
struct Attempts {
    provider: Variant<Arc<Provider>>,
    secrets: Vec<Variant<Secret>>,
    requests: Vec<Variant<GivenRequest>>,
}

impl Unverified<'_> {
    /// Tries one difference after the other, then two at once where none alone matches.
    pub fn search(&self) -> Findings {
        let bodies = body_variants(
            &self.request.body,
            self.source.provider.event.form.as_deref(),
        );
        let attempts = self.attempts(&bodies);
        let mut left = MAX_BYTES;
        let mut findings = Findings::default();
        for differences in 1..=MAX_DIFFERENCES {
            for attempt in &attempts {
                self.try_all(attempt, differences, &mut left, &mut findings);
            }
            if !findings.differences.is_empty() {
                break;
            }
        }
        findings.is_complete = left > 0;
        findings
    }

    fn attempts(&self, bodies: &[Variant<Bytes>]) -> Vec<Attempts> {
        let providers = scheme_variants(
            &self.source.provider,
            self.others,
            self.request,
            MAX_DIFFERENCES,
        );
        let attempts = |provider: Variant<Arc<Provider>>| {
            let more = MAX_DIFFERENCES - provider.differences.len();
            let mut secrets = secret_variants(self.secret, &provider.value.signature.secret);
            secrets.retain(|secret| secret.differences.len() <= more);
            let requests = self.requests(&provider.value, bodies, more);
            Attempts {
                provider,
                secrets,
                requests,
            }
        };
        providers.into_iter().map(attempts).collect()
    }

    /// The request with at most so many differences.
    fn requests(
        &self,
        provider: &Provider,
        bodies: &[Variant<Bytes>],
        most: usize,
    ) -> Vec<Variant<GivenRequest>> {
        let bodies = |request: &GivenRequest| {
            let with = |body: &Variant<Bytes>| Variant {
                differences: body.differences.clone(),
                value: GivenRequest {
                    body: body.value.clone(),
                    ..request.clone()
                },
            };
            bodies.iter().map(with).collect()
        };
        let urls = |request: &_| {
            if provider.signature.signs_url() {
                url_variants(request)
            } else {
                Vec::new()
            }
        };
        let times = |request: &_| time_variants(request, provider);
        let request = self.request.clone();
        combined(request, &[&urls, &times, &header_variants, &bodies], most)
    }

    /// Tries all that differs in exactly so many things.
    fn try_all(
        &self,
        attempts: &Attempts,
        differences: usize,
        left: &mut usize,
        findings: &mut Findings,
    ) {
        let provider = &attempts.provider;
        for secret in &attempts.secrets {
            let name = self.source.name.clone();
            let secrets = vec![secret.value.clone()];
            let mut source = Source::new(name, Arc::clone(&provider.value), secrets);
            let before = provider.differences.len() + secret.differences.len();
            let of_length = |it: &&Variant<_>| before + it.differences.len() == differences;
            for request in attempts.requests.iter().filter(of_length) {
                if *left == 0 {
                    return;
                }
                source.url.clone_from(&request.value.url);
                let Some(is_signed) = request.value.is_signed_for(&source) else {
                    continue;
                };
                *left = left.saturating_sub(TRY_BYTES + request.value.body.len());
                if is_signed {
                    let parts = [
                        &provider.differences,
                        &secret.differences,
                        &request.differences,
                    ];
                    let all: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
                    findings.differences.push(all.join(", and "));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::SourceName;
    use crate::source::{Encoding, ONE_CODEX, Scheme};

    const BODY: &str = r#"{"b": [1, 2.5,true ],"a":{"n":"Zoë \"x\" 🧬, y: z"} }"#;

    fn key(bytes: &[u8]) -> Secret {
        Secret::from_key(bytes, ONE_CODEX.signature.scheme())
    }

    /// The header of a signature over these bytes, whatever the scheme says.
    fn header(time: &str, key: &Secret, parts: &[&[u8]]) -> String {
        format!("t={time} v1={}", hex::encode(key.sign(parts)))
    }

    fn signed(of: &[u8], bytes: &[u8]) -> String {
        header("17", &key(of), &[b"17.", bytes])
    }

    fn matching(
        value: &str,
        secret: &[u8],
        encoding: Option<Encoding>,
        body: &[u8],
    ) -> Vec<String> {
        let name = SourceName::parse("onecodex").expect("a slug");
        let source = Source::new(name, Arc::clone(&ONE_CODEX), vec![key(secret)]);
        let request = GivenRequest {
            unnamed: Some(value.to_owned()),
            ..GivenRequest::of_body(body)
        };
        let unverified = Unverified {
            source: &source,
            request: &request,
            secret: &SecretText::new(secret, encoding),
            others: &[],
        };
        let findings = unverified.search();
        assert!(findings.is_complete);
        findings.differences
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
            (b"a", &["whsec_ stood before"]),
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
            (b"a", "whsec_ were left out"),
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
    }

    #[test]
    fn what_was_signed_instead_is_recognised() {
        let value = |parts: &[&[u8]]| header("17c", &key(b"s"), parts);
        let body = BODY.as_bytes();
        assert!(only(&value(&[b"17c.", body]), b"s").contains("letter"));
        assert!(only(&value(&[body]), b"s").contains("body alone"));
        assert!(only(&value(&[b"17:", body]), b"s").contains("{item.t}:{body}"));
        let milliseconds: [&[u8]; 2] = [b"1492774577000.", body];
        let milliseconds = header("1492774577", &key(b"s"), &milliseconds);
        assert!(only(&milliseconds, b"s").contains("in milliseconds"));
    }

    #[test]
    fn another_hash_encoding_or_name_of_the_signature_is_recognised() {
        let sha512 = Secret::from_key(b"s", Scheme::Hmac(crate::source::Hash::Sha512));
        let value = header("17", &sha512, &[b"17.", BODY.as_bytes()]);
        assert!(only(&value, b"s").contains("hash = \"sha512\""));
        let value = signed(b"s", BODY.as_bytes()).replace("v1=", "v0=");
        assert!(only(&value, b"s").contains("tag = \"v0\""));
    }

    #[test]
    fn a_wrong_secret_has_no_other_form() {
        let value = signed(b"s", BODY.as_bytes());
        assert!(matching(&value, b"other", None, BODY.as_bytes()).is_empty());
        assert!(matching(&value, b"other", None, b"\xff no JSON").is_empty());
    }
}
