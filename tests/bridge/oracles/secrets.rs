//! Secrets in the wrong writing: what is signed with the decoded form of a text, or with the text of an
//! encoded key, is refused by both; nothing is guessed.

use hookferry::source::{Encoding, KeyForm, SecretForm, SigningKey};

use super::ours::Ours;
use super::rows::{Pair, Programs, Row};
use crate::harness::Language;

const BODY: &[u8] = br#"{"id":"evt_1"}"#;

/// The library, the secret that its receiver has, and what its sender has made of it.
fn mistakes() -> Vec<(&'static str, &'static str, &'static str, Option<Encoding>)> {
    let base64 = Some(Encoding::Base64);
    let hex = Some(Encoding::Hex);
    vec![
        // `whsec_` means nothing to Stripe: the whole text is the key.
        (
            "stripe",
            "whsec_AAECAwQFBgcICQoLDA0ODxAR",
            "AAECAwQFBgcICQoLDA0ODxAR",
            base64,
        ),
        (
            "stripe",
            "whsec_AAECAwQFBgcICQoLDA0ODxAR",
            "AAECAwQFBgcICQoLDA0ODxAR",
            None,
        ),
        // To these it stands before base64.
        (
            "standard_webhooks",
            "whsec_AAECAwQFBgcICQoLDA0ODxAR",
            "whsec_AAECAwQFBgcICQoLDA0ODxAR",
            None,
        ),
        (
            "svix",
            "whsec_AAECAwQFBgcICQoLDA0ODxAR",
            "AAECAwQFBgcICQoLDA0ODxAR",
            None,
        ),
        // Digits are a text like any other.
        (
            "slack",
            "000102030405060708090a0b0c0d0e0f",
            "000102030405060708090a0b0c0d0e0f",
            hex,
        ),
        (
            "twilio",
            "000102030405060708090a0b0c0d0e0f",
            "000102030405060708090a0b0c0d0e0f",
            hex,
        ),
        (
            "github",
            "AAECAwQFBgcICQoLDA0ODxAR",
            "AAECAwQFBgcICQoLDA0ODxAR",
            base64,
        ),
        (
            "pagerduty",
            "AAECAwQFBgcICQoLDA0ODxAR",
            "AAECAwQFBgcICQoLDA0ODxAR",
            base64,
        ),
    ]
}

#[test]
fn a_secret_in_the_wrong_writing_is_another_secret_to_both() {
    let mut programs = Programs::default();
    for (library, secret, written, encoding) in mistakes() {
        let row = Row::of(library);
        let ours = Ours::named(row.providers[0]);
        let pair = Pair {
            signs: secret.to_owned(),
            proves: secret.to_owned(),
        };
        let text = SecretForm {
            key: KeyForm::Text,
            prefix: String::new(),
            ..ours.0.signature.secret.clone()
        };
        let key = SigningKey::read(written.as_bytes(), &text, encoding).expect(library);
        let headers = ours.sign_with(&key, &row.unsigned(&pair, BODY));
        let question = row.signed(&pair, BODY, &headers);
        let theirs = programs.of(row).verify(&question);
        assert!(
            theirs.is_err(),
            "{library}, {written} as {encoding:?}: the library takes it"
        );
        let verdict = ours.verify(&question);
        let expected = Err("signature_mismatch".to_owned());
        assert_eq!(verdict, expected, "{library}, {written} as {encoding:?}");
        // The right writing is taken by both, so that it was the writing.
        let question = row.signed(&pair, BODY, &ours.sign(&row.unsigned(&pair, BODY)));
        assert_eq!(programs.of(row).verify(&question), Ok(()), "{library}");
        assert_eq!(ours.verify(&question), Ok(()), "{library}");
    }
}

/// Standard Webhooks' `whsec_` may be left out, and the padding too.
#[test]
fn the_writings_that_mean_one_key_are_one_to_both() {
    let mut programs = Programs::default();
    for library in ["standard_webhooks", "svix"] {
        let row = Row::of(library);
        let ours = Ours::named(library);
        let pair = |text: &str| Pair {
            signs: text.to_owned(),
            proves: text.to_owned(),
        };
        let full = pair("whsec_AAECAwQFBgcICQoLDA0ODxAREg==");
        let headers = ours.sign(&row.unsigned(&full, BODY));
        for text in [
            "AAECAwQFBgcICQoLDA0ODxAREg==",
            "whsec_AAECAwQFBgcICQoLDA0ODxAREg",
            "AAECAwQFBgcICQoLDA0ODxAREg",
        ] {
            let same = pair(text);
            let question = row.signed(&same, BODY, &headers);
            assert_eq!(
                programs.of(row).verify(&question),
                Ok(()),
                "{library}, {text}"
            );
            assert_eq!(ours.verify(&question), Ok(()), "{library}, {text}");
        }
    }
}

/// The library leaves out what is no base64, so that a key of the URL's alphabet becomes another one; the
/// bridge reads that alphabet.
#[test]
fn a_key_in_the_alphabet_of_urls_is_decoded() {
    let row = Row::of("standard_webhooks");
    let ours = Ours::named("standard_webhooks");
    let both = |text: &str| Pair {
        signs: text.to_owned(),
        proves: text.to_owned(),
    };
    let url = both("whsec_-_8ACuIAAQIDBAUGBwgJCgsM");
    let standard = both("whsec_+/8ACuIAAQIDBAUGBwgJCgsM");
    let headers = ours.sign(&row.unsigned(&url, BODY));
    assert_eq!(ours.verify(&row.signed(&standard, BODY, &headers)), Ok(()));
    let mut programs = Programs::default();
    let mut theirs = |pair: &Pair| programs.of(row).verify(&row.signed(pair, BODY, &headers));
    assert_eq!(theirs(&standard), Ok(()));
    theirs(&url).expect_err("the library reads another key");
}

/// PEM where base64 is wanted and the other way round.
#[test]
fn a_public_key_in_the_wrong_writing_is_refused_by_both() {
    let mut programs = Programs::default();
    for (library, other, words) in [
        ("sendgrid", "benchling", "several lines"),
        ("benchling", "sendgrid", "no public key"),
    ] {
        let row = Row::of(library);
        assert_eq!(row.language, Language::Python);
        let ours = Ours::named(library);
        let [mut pair, _] = row.key.pairs();
        let headers = ours.sign(&row.unsigned(&pair, BODY));
        let [another, _] = Row::of(other).key.pairs();
        pair.proves = another.proves;
        let question = row.signed(&pair, BODY, &headers);
        let theirs = programs.of(row).verify(&question);
        assert!(theirs.is_err(), "{library}: the library takes it");
        let reason = ours.verify(&question).expect_err(library);
        assert!(reason.contains(words), "{library}: {reason}");
    }
}
