//! Signature headers that are written otherwise: of two signatures the second is right, digits in upper
//! case, base64 without its padding, items that nobody knows, headers that are missing.

use hookferry::source::{Encoding, Scheme};

use super::ours::{Ours, value, with_value, without};
use super::rows::{NOW, Pair, Programs, ROWS, Row};
use crate::harness::sdk::Headers;

const BODY: &[u8] = br#"{"webhookTimestamp":1700000000000,"id":"evt_1"}"#;
const OTHER: &[u8] = br#"{"webhookTimestamp":1700000000000,"id":"evt_2"}"#;

/// A row with one delivery.
struct Case {
    row: &'static Row,
    ours: Ours,
    pair: Pair,
    headers: Headers,
}

impl Case {
    fn of(row: &'static Row) -> Self {
        let ours = Ours::named(row.providers[0]);
        let [pair, _] = row.key.pairs();
        let headers = ours.sign(&row.unsigned(&pair, BODY));
        Self {
            row,
            ours,
            pair,
            headers,
        }
    }

    fn named(library: &str) -> Self {
        Self::of(Row::of(library))
    }

    /// The header before its signature, and the signature with its name.
    fn parts(&self, headers: &Headers) -> (String, String) {
        let scheme = &self.ours.0.signature;
        let text = value(headers, self.ours.header());
        let begin = format!("{}{}", scheme.tag, scheme.pair);
        let at = match begin.as_str() {
            "" => 0,
            begin => text.rfind(begin).expect("the signature stands last"),
        };
        let (before, signature) = text.split_at(at);
        (before.to_owned(), signature.to_owned())
    }

    /// What stands between the items of the header; none where it is one item.
    fn separator(&self) -> Option<char> {
        self.ours.0.signature.items.chars().next()
    }

    /// The verdicts of the library and of the bridge on these headers.
    fn verdicts(&self, programs: &mut Programs, headers: &Headers) -> [Result<(), String>; 2] {
        let question = self.row.signed(&self.pair, BODY, headers);
        let theirs = programs.of(self.row).verify(&question);
        [theirs, self.ours.verify(&question)]
    }

    /// The same with another value of the signature header.
    fn verdicts_on(&self, programs: &mut Programs, header: &str) -> [Result<(), String>; 2] {
        let headers = with_value(&self.headers, self.ours.header(), header);
        self.verdicts(programs, &headers)
    }

    fn name(&self) -> String {
        format!("{:?} {}", self.row.language, self.row.library)
    }
}

#[test]
fn of_two_signatures_the_second_is_found_where_there_may_be_two() {
    let mut programs = Programs::default();
    let mut lists = Vec::new();
    for case in ROWS.iter().map(Case::of) {
        let wrong = case.ours.sign(&case.row.unsigned(&case.pair, OTHER));
        let (before, right) = case.parts(&case.headers);
        let (_, wrong) = case.parts(&wrong);
        let between = case.separator().unwrap_or(',');
        let header = format!("{before}{wrong}{between}{right}");
        let [theirs, ours] = case.verdicts_on(&mut programs, &header);
        let name = case.name();
        if case.separator().is_some() {
            assert_eq!([theirs, ours], [Ok(()), Ok(())], "{name}");
            lists.push(case.row.library);
        } else {
            assert!(theirs.is_err(), "{name}: the library takes a list");
            assert_eq!(ours, Err("signature_malformed".to_owned()), "{name}");
        }
    }
    let expected = [
        "standard_webhooks",
        "svix",
        "stripe",
        "paddle",
        "benchling",
        "pagerduty",
    ];
    assert_eq!(lists, expected);
}

/// The libraries compare texts, but PagerDuty's; the bridge compares bytes.
#[test]
fn hex_in_upper_case_is_the_same_signature_to_the_bridge() {
    let mut programs = Programs::default();
    let is_hex = |case: &Case| case.ours.0.signature.encoding == Encoding::Hex;
    let mut found = 0;
    for case in ROWS.iter().map(Case::of).filter(is_hex) {
        let (before, signature) = case.parts(&case.headers);
        let prefix = case.ours.0.signature.tag.len() + case.ours.0.signature.pair.len();
        let (prefix, digits) = signature.split_at(prefix);
        let header = format!("{before}{prefix}{}", digits.to_ascii_uppercase());
        let [theirs, ours] = case.verdicts_on(&mut programs, &header);
        let name = case.name();
        assert_eq!(theirs.is_ok(), case.row.library == "pagerduty", "{name}");
        assert_eq!(ours, Ok(()), "{name}");
        found += 1;
    }
    assert_eq!(found, 8);
}

/// The libraries compare texts, or decode strictly; the bridge takes base64 with its padding and without.
#[test]
fn base64_without_its_padding_is_the_same_signature_to_the_bridge() {
    let mut programs = Programs::default();
    let is_base64 = |case: &Case| {
        let signature = &case.ours.0.signature;
        // Not every ECDSA signature has a length that is padded.
        signature.encoding == Encoding::Base64 && matches!(signature.scheme(), Scheme::Hmac(_))
    };
    let mut found = 0;
    for case in ROWS.iter().map(Case::of).filter(is_base64) {
        let header = value(&case.headers, case.ours.header());
        let cut = header.trim_end_matches('=').to_owned();
        assert_ne!(cut, header, "{} has no padding", case.name());
        let [theirs, ours] = case.verdicts_on(&mut programs, &cut);
        assert!(theirs.is_err(), "{}: the library takes it", case.name());
        assert_eq!(ours, Ok(()), "{}", case.name());
        found += 1;
    }
    assert_eq!(found, 7);
}

/// Paddle's library refuses them: a later version would break it. The bridge passes them over.
#[test]
fn an_item_that_nobody_knows_is_passed_over() {
    let mut programs = Programs::default();
    let mut found = 0;
    for case in ROWS.iter().map(Case::of) {
        let Some(separator) = case.separator() else {
            continue;
        };
        let (before, signature) = case.parts(&case.headers);
        let pair = &case.ours.0.signature.pair;
        for header in [
            format!("{before}v9{pair}AAAA{separator}{signature}"),
            format!("{before}{signature}{separator}v9{pair}AAAA"),
        ] {
            let [theirs, ours] = case.verdicts_on(&mut programs, &header);
            let name = case.name();
            assert_eq!(theirs.is_err(), case.row.library == "paddle", "{name}");
            assert_eq!(ours, Ok(()), "{name}");
        }
        found += 1;
    }
    assert_eq!(found, 6);
}

/// The signature, the id, the time: without any of them there is no proof.
#[test]
fn a_header_that_is_missing_is_a_refusal() {
    let mut programs = Programs::default();
    let mut found = 0;
    for case in ROWS.iter().map(Case::of) {
        let signature = case.ours.header();
        let signed: Vec<&str> = case.ours.0.signature.signed_headers().collect();
        for name in signed.iter().copied().chain([signature]) {
            let headers = without(&case.headers, name);
            let [theirs, ours] = case.verdicts(&mut programs, &headers);
            let what = format!("{} without {name}", case.name());
            assert!(theirs.is_err(), "{what}: the library takes it");
            let reason = if name == signature {
                "signature_missing"
            } else {
                "signed_header_missing"
            };
            assert_eq!(ours, Err(reason.to_owned()), "{what}");
            found += 1;
        }
    }
    // One of each row, and id and time of three, and the time of three more.
    assert_eq!(found, ROWS.len() + 2 * 3 + 3);
}

/// These libraries read a number and sign it anew, so that other bytes than came are proven.
#[test]
fn a_time_that_is_written_otherwise_is_refused() {
    let mut programs = Programs::default();
    for (library, header, reason) in [
        (
            "standard_webhooks",
            "webhook-timestamp",
            "timestamp_malformed",
        ),
        ("svix", "svix-timestamp", "timestamp_malformed"),
        ("stripe", "stripe-signature", "signature_malformed"),
        ("paddle", "paddle-signature", "signature_malformed"),
    ] {
        let case = Case::named(library);
        let text = value(&case.headers, header);
        let changed = text.replacen(&NOW.to_string(), &format!("+{NOW}"), 1);
        assert_ne!(changed, text, "{library}");
        let headers = with_value(&case.headers, header, &changed);
        let [theirs, ours] = case.verdicts(&mut programs, &headers);
        assert_eq!(theirs, Ok(()), "{library}");
        assert_eq!(ours, Err(reason.to_owned()), "{library}");
    }
}

/// Svix's library falls back from one header to the other, each for itself; the bridge has a provider for
/// each family.
#[test]
fn headers_of_two_families_are_not_mixed() {
    let case = Case::named("svix");
    let id = value(&case.headers, "svix-id").to_owned();
    let mixed = without(&case.headers, "svix-id");
    let mixed = with_value(&mixed, "webhook-id", &id);
    let [theirs, ours] = case.verdicts(&mut Programs::default(), &mixed);
    assert_eq!(theirs, Ok(()));
    assert_eq!(ours, Err("signed_header_missing".to_owned()));
}

/// The library for Python lets the header choose the hash, whichever header it is; the table chooses it
/// here.
#[test]
fn the_header_does_not_choose_the_hash() {
    let case = Case::named("github");
    let older = Ours::named("intercom").sign(&case.row.unsigned(&case.pair, BODY));
    let header = value(&older, "x-hub-signature");
    assert!(header.starts_with("sha1="), "{header}");
    let [theirs, ours] = case.verdicts_on(&mut Programs::default(), header);
    assert_eq!(theirs, Ok(()));
    assert_eq!(ours, Err("signature_malformed".to_owned()));
}

/// Twilio's library tries the URL with its port and without; the bridge has the one that is configured.
#[test]
fn the_signed_url_is_the_configured_one() {
    let mut case = Case::named("twilio");
    let mut question = case.row.unsigned(&case.pair, BODY);
    question.url = "https://hooks.example.com:443/webhooks/source";
    case.headers = case.ours.sign(&question);
    let [theirs, ours] = case.verdicts(&mut Programs::default(), &case.headers);
    assert_eq!(theirs, Ok(()));
    assert_eq!(ours, Err("signature_mismatch".to_owned()));
}

/// Shopify's library wants four headers that no signature covers; to the bridge they are no proof.
#[test]
fn headers_that_prove_nothing_may_be_missing() {
    let mut programs = Programs::default();
    for (library, header) in [
        ("shopify", "x-shopify-webhook-id"),
        ("shopify_events", "shopify-webhook-id"),
    ] {
        let case = Case::named(library);
        let headers = without(&case.headers, header);
        let [theirs, ours] = case.verdicts(&mut programs, &headers);
        let reason = theirs.expect_err(library);
        assert!(reason.contains("missing_headers"), "{reason}");
        assert_eq!(ours, Ok(()), "{library}");
    }
}
