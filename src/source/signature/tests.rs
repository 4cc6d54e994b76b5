//! The grammar of signature headers.

use jiff::Timestamp;

use super::*;
use crate::source::{DeliveryHead, ONE_CODEX, Secret, built_in};
use proptest::prelude::*;

const TAG: &str = "d929ba98ac0e56ff425f9b8ed7c7ab631dc680f9ea80ce2f604cc75580a63b53";

const NAME: &str = "x-onecodex-signature";

fn read(value: &str) -> Result<SignatureHeader, Rejection> {
    read_all(&[value])
}

fn read_all(values: &[&str]) -> Result<SignatureHeader, Rejection> {
    let header = |value: &&str| (NAME.to_owned(), (*value).to_owned());
    let head = DeliveryHead::of(values.iter().map(header).collect());
    ONE_CODEX.signature.read(&head)
}

fn time(header: &SignatureHeader) -> &str {
    &header.items()[0].1
}

#[test]
fn the_documented_example_parses_and_its_letter_is_not_signed() {
    let header = read(&format!("t=1492774577c v1={TAG}")).expect("documented");
    assert_eq!(time(&header), "1492774577");
}

#[test]
fn separators_order_and_unknown_items_do_not_matter() {
    for text in [
        format!("t=1,v1={TAG}"),
        format!("v1={TAG}, t=1"),
        format!("  t=1 ,, v1={TAG} "),
        format!("t=1 v0=00 v2=abc v1={TAG}"),
        format!("t=1 v1={}", TAG.to_uppercase()),
    ] {
        assert_eq!(read(&text).map(|h| h.signatures().len()), Ok(1), "{text}");
    }
}

#[test]
fn everything_else_is_malformed() {
    let nine = format!(" v1={TAG}").repeat(9);
    for text in [
        "",
        " ",
        "t=1",
        "garbage",
        &format!("v1={TAG}"),
        &format!("t= v1={TAG}"),
        &format!("t=-1 v1={TAG}"),
        &format!("t=1cc v1={TAG}"),
        &format!("t=c1 v1={TAG}"),
        &format!("t=+1 v1={TAG}"),
        &format!("t=1.5 v1={TAG}"),
        &format!("t=1234567890123 v1={TAG}"),
        &format!("t=1 t=1 v1={TAG}"),
        "t=1 v1=",
        &format!("t=1 v1={}", &TAG[..32]),
        &format!("t=1 v1={TAG}00"),
        &format!("t=1 v1={}zz", &TAG[..62]),
        &format!("t=1{nine}"),
        &format!("t=1;v1={TAG}"),
        &format!("T=1 v1={TAG}"),
        &format!("t=1\tv1={TAG}"),
        &format!("t=１ v1={TAG}"),
    ] {
        assert_eq!(read(text), Err(Rejection::SignatureMalformed), "{text:?}");
    }
}

#[test]
fn none_two_and_over_long_headers_have_reasons_of_their_own() {
    let good = format!("t=1 v1={TAG}");
    assert_eq!(read_all(&[]), Err(Rejection::SignatureMissing));
    assert_eq!(read_all(&[&good, &good]), Err(Rejection::SignatureRepeated));
    assert_eq!(read(&" ".repeat(1025)), Err(Rejection::SignatureTooLong));
    assert!(read(&format!("{good}{}", " ".repeat(1024 - good.len()))).is_ok());
}

#[test]
fn our_own_vector_holds() {
    let secret = Secret::new("whsec_test_secret").expect("not empty");
    let at = Timestamp::from_second(1_492_774_577).expect("in range");
    let header = ONE_CODEX.signature.sign(&secret, b"{}", at);
    assert_eq!(
        header,
        "t=1492774577 v1=53140ab8fa70c511cc40d5c9198af7dde7bbaee877038c056d8250c3bd3b2e11"
    );
    let read = read(&header).expect("ours");
    assert!(secret.matches(&[b"1492774577.", b"{}"], read.signatures()));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1100)) {
        let mut read = SignatureHeader::default();
        let _ = ONE_CODEX.signature.read_header(NAME, &bytes, &mut read);
    }

    /// Against a reference that knows the grammar as a list of expected parts.
    #[test]
    fn what_is_built_by_the_grammar_is_read_back(
        seconds in 0_i64..=999_999_999_999,
        letter in proptest::option::of("[a-zA-Z]"),
        tags in proptest::collection::vec(any::<[u8; 32]>(), 1..=MAX_SIGNATURES),
        separator in "[ ,]{1,3}",
    ) {
        let mut items = vec![format!("t={seconds}{}", letter.unwrap_or_default())];
        items.extend(tags.iter().map(|tag| format!("v1={}", hex::encode(tag))));
        let header = read(&items.join(&separator)).expect("grammatical");
        prop_assert_eq!(time(&header), seconds.to_string());
        let tags: Vec<Vec<u8>> = tags.iter().map(|tag| tag.to_vec()).collect();
        prop_assert_eq!(header.signatures(), tags);
    }
}

#[test]
fn each_scheme_writes_what_it_reads() {
    let at = Timestamp::from_second(1_492_774_577).expect("in range");
    let secret = Secret::new("0123456789abcdef").expect("not empty");
    for (name, beginning) in [
        ("github", "sha256="),
        ("stripe", "t=1492774577,v1="),
        ("paddle", "ts=1492774577;h1="),
        ("pagerduty", "v1="),
        ("shopify", ""),
    ] {
        let scheme = &built_in(name).expect("built in").signature;
        let value = scheme.sign(&secret, b"{}", at);
        assert!(value.starts_with(beginning), "{name}: {value}");
        let head = DeliveryHead::of(vec![(scheme.headers[0].clone(), value)]);
        let read = scheme.read(&head).expect(name);
        assert_eq!(read.signatures().len(), 1, "{name}");
    }
}

#[test]
fn of_several_headers_each_counts() {
    let scheme = &built_in("docusign").expect("built in").signature;
    let tag = |byte: u8| scheme.encode(&[byte; 32]);
    let header = |index: usize, byte| (scheme.headers[index].clone(), tag(byte));
    let head = DeliveryHead::of(vec![header(1, 2), header(0, 1)]);
    let read = scheme.read(&head).expect("well-formed");
    assert_eq!(read.signatures(), [vec![1; 32], vec![2; 32]]);
    let twice = DeliveryHead::of(vec![header(0, 1), header(0, 2)]);
    assert_eq!(scheme.read(&twice), Err(Rejection::SignatureRepeated));
}

#[test]
fn a_token_is_its_text() {
    let scheme = &built_in("cloudevents").expect("built in").signature;
    let head = |value: &str| DeliveryHead::of(vec![("authorization".into(), value.into())]);
    let read = scheme.read(&head("Bearer abc=")).expect("well-formed");
    assert_eq!(read.signatures(), [b"abc=".to_vec()]);
    for wrong in ["Bearer", "Bearer ", "Basic abc", ""] {
        assert_eq!(
            scheme.read(&head(wrong)),
            Err(Rejection::SignatureMalformed),
            "{wrong:?}"
        );
    }
}
