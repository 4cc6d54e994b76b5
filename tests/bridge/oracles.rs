//! The vendors' own libraries as oracles: that they can say yes, and that they can say no.

mod bodies;

use crate::harness::{Language, Question, Sdk};
use bodies::bodies;

const NOW: i64 = 1_700_000_000;

/// The libraries that sign, each with a secret of ours written as the vendor's page shows it.
const SIGNERS: &[(Language, &str, &str)] = &[
    (
        Language::Python,
        "standard_webhooks",
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX",
    ),
    (
        Language::Python,
        "svix",
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX",
    ),
    (Language::Python, "stripe", "whsec_AAECAwQFBgcICQoLDA0ODxA"),
    (
        Language::Python,
        "slack",
        "000102030405060708090a0b0c0d0e0f",
    ),
    (
        Language::Python,
        "twilio",
        "000102030405060708090a0b0c0d0e0f",
    ),
    (
        Language::Python,
        "hubspot",
        "00010203-0405-0607-0809-0a0b0c0d0e0f",
    ),
    (Language::Node, "github", "It's a secret of ours"),
    (Language::Node, "bitbucket", "It's a secret of ours"),
    (
        Language::Node,
        "shopify",
        "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",
    ),
    (
        Language::Node,
        "shopify_events",
        "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",
    ),
];

/// Of each language's program, what it says of its own signatures: of the bodies that it can sign, of
/// those with a changed byte, and with another secret.
#[test]
fn a_library_takes_what_it_signed_and_nothing_else() {
    for language in [Language::Python, Language::Node] {
        let mut sdk = Sdk::start(language);
        for (_, provider, secret) in SIGNERS.iter().filter(|(of, ..)| *of == language) {
            let mut taken = 0;
            for body in bodies().iter().filter(|body| body.is_text()) {
                let question = Question::new(provider, secret, &body.bytes, NOW);
                let Ok(headers) = sdk.sign(&question) else {
                    continue;
                };
                let question = question.with(&headers);
                let Ok(()) = sdk.verify(&question) else {
                    assert!(body.bytes.is_empty(), "{provider}, {}", body.name);
                    continue;
                };
                taken += 1;
                let mut changed = body.bytes.clone();
                changed.push(b'x');
                let changed = Question::new(provider, secret, &changed, NOW).with(&headers);
                sdk.verify(&changed).expect_err(provider);
                let secret = secret
                    .replace('0', "1")
                    .replace("It", "if")
                    .replace('A', "B");
                let other = Question::new(provider, &secret, &body.bytes, NOW).with(&headers);
                sdk.verify(&other).expect_err(provider);
            }
            assert!(taken >= 38, "{provider}: {taken}");
        }
    }
}

/// PagerDuty's library does not sign: the signature is what `openssl dgst -sha256 -hmac secret` says.
#[test]
fn a_library_that_signs_nothing_says_so_and_judges() {
    let mut sdk = Sdk::start(Language::Go);
    let question = Question::new("pagerduty", "secret", b"{}", NOW);
    let reason = sdk.sign(&question).expect_err("it cannot sign");
    assert!(reason.contains("VerifySignature only"), "{reason}");
    let header = |value: &str| [("x-pagerduty-signature".to_owned(), value.to_owned())];
    let right = "v1=77325902caca812dc259733aacd046b73817372c777b8d95b402647474516e13";
    assert_eq!(sdk.verify(&question.clone().with(&header(right))), Ok(()));
    let wrong = right.replace('a', "b");
    let reason = sdk.verify(&question.with(&header(&wrong)));
    assert_eq!(reason, Err("invalid webhook signature".to_owned()));
}
