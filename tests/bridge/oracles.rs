//! The vendors' own libraries, published vectors and code of another language as oracles: what they sign
//! is taken here, what is signed here they take, and where they differ it is said why.

mod agreement;
mod bodies;
mod headers;
mod independent;
mod ours;
mod rows;
mod secrets;
mod times;
mod tokens;
mod vectors;

use std::collections::BTreeSet;

use hookferry::source::ProviderTables;

use crate::harness::{Language, Question, Sdk};
use rows::{NOW, ROWS};

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

#[test]
fn every_provider_is_held_against_something_that_is_not_ours() {
    let of_libraries = ROWS.iter().flat_map(|row| row.providers);
    let others = [
        vectors::PROVIDERS,
        &independent::providers(),
        tokens::PROVIDERS,
    ];
    let held: BTreeSet<&str> = of_libraries
        .chain(others.into_iter().flatten())
        .copied()
        .collect();
    let tables = ProviderTables::built_in();
    let built_in: BTreeSet<&str> = tables.names().collect();
    assert_eq!(held, built_in);
}
