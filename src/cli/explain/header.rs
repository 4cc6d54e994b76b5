//! The signature's headers, item by item, for a person who looks for the mistake in them.

use crate::source::{
    DeliveryHead, Encoding, HeaderValue, MAX_SIGNATURES, RequestHead as _, Scheme, SignatureScheme,
    TimeUnit, Variable,
};

/// The most bytes that the bridge reads of a signature's header.
const MAX_BYTES: usize = 1024;

/// An item of a signature's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderItem<'a> {
    /// A signature, or what should be one.
    Signature(&'a str),
    /// What is signed besides, with its name.
    Needed(&'a str, &'a str),
    /// Another, by its name.
    Other(&'a str),
    /// Something without a name.
    Unnamed(&'a str),
}

/// The items of a header's value.
pub(super) fn items<'a>(
    scheme: &'a SignatureScheme,
    value: &'a str,
) -> impl Iterator<Item = HeaderItem<'a>> {
    texts(scheme, value).map(|text| item(scheme, text))
}

fn texts<'a>(scheme: &'a SignatureScheme, value: &'a str) -> impl Iterator<Item = &'a str> {
    let texts = value.split(|c: char| scheme.items.contains(c));
    texts.map(str::trim).filter(|text| !text.is_empty())
}

fn item<'a>(scheme: &SignatureScheme, text: &'a str) -> HeaderItem<'a> {
    if scheme.pair.is_empty() {
        return HeaderItem::Signature(text);
    }
    match text.split_once(scheme.pair.as_str()) {
        None => HeaderItem::Unnamed(text),
        Some((name, value)) if name == scheme.tag => HeaderItem::Signature(value),
        Some((name, value)) if needed(scheme).contains(&name) => HeaderItem::Needed(name, value),
        Some((name, _)) => HeaderItem::Other(name),
    }
}

/// The names of the items that are signed.
fn needed(scheme: &SignatureScheme) -> Vec<&str> {
    let variables = scheme.signed.variables().chain(&scheme.timestamp);
    let mut names: Vec<&str> = variables
        .filter_map(|variable| match variable {
            Variable::Item(name) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    names.dedup();
    names
}

/// A head with one signature alone, for each that is there, with its header's name.
pub(super) fn single_signatures(
    scheme: &SignatureScheme,
    head: &DeliveryHead,
) -> Vec<(String, DeliveryHead)> {
    let separator: String = scheme.items.chars().take(1).collect();
    let mut single = Vec::new();
    for name in &scheme.headers {
        let Some(value) = head.header(name).text() else {
            continue;
        };
        let all: Vec<&str> = texts(scheme, value).collect();
        let is_signature = |text: &str| matches!(item(scheme, text), HeaderItem::Signature(_));
        for (index, _) in all
            .iter()
            .enumerate()
            .filter(|(_, text)| is_signature(text))
        {
            let kept = all.iter().enumerate();
            let kept = kept.filter(|(other, text)| *other == index || !is_signature(text));
            let kept: Vec<&str> = kept.map(|(_, text)| *text).collect();
            let mut alone = head.clone();
            alone.headers.retain(|(of, _)| !scheme.headers.contains(of));
            alone.headers.push((name.clone(), kept.join(&separator)));
            single.push((name.clone(), alone));
        }
    }
    single
}

/// What is wrong with the signature's headers, in words. Nothing of a token is repeated.
pub(super) fn faults(scheme: &SignatureScheme, head: &DeliveryHead) -> Vec<String> {
    if scheme.scheme() == Scheme::Url {
        let is_there = head.path_secret().is_some_and(|secret| !secret.is_empty());
        let missing = "--url does not end in the secret: name the webhook's whole URL";
        return if is_there {
            Vec::new()
        } else {
            vec![missing.to_owned()]
        };
    }
    let mut faults = Vec::new();
    let mut values = Vec::new();
    for name in &scheme.headers {
        match head.header(name) {
            HeaderValue::Missing => {}
            HeaderValue::Repeated => faults.push(format!("{name} stands there more than once")),
            HeaderValue::Once(value) if value.len() > MAX_BYTES => {
                let bytes = value.len();
                faults.push(format!("{name} has {bytes} bytes; {MAX_BYTES} are allowed"));
            }
            once => match once.text() {
                Some(text) => values.push(text),
                None => faults.push(format!("{name} has a character that is no visible ASCII")),
            },
        }
    }
    if values.is_empty() && faults.is_empty() {
        let names = scheme.headers.join(" nor ");
        faults.push(format!(
            "there is no {names}: give it with --header '{}: VALUE'",
            scheme.headers[0]
        ));
        return faults;
    }
    faults.extend(item_faults(scheme, &values));
    faults
}

fn item_faults(scheme: &SignatureScheme, values: &[&str]) -> Vec<String> {
    let texts: Vec<&str> = values
        .iter()
        .flat_map(|value| texts(scheme, value))
        .collect();
    let mut faults: Vec<String> = texts
        .iter()
        .filter_map(|text| fault(scheme, text))
        .collect();
    let found = || texts.iter().map(|text| item(scheme, text));
    for name in needed(scheme) {
        let what = if is_time(scheme, name) {
            "timestamp"
        } else {
            "item"
        };
        let pair = format!("{name}{}", scheme.pair);
        match found()
            .filter(|it| matches!(it, HeaderItem::Needed(of, _) if *of == name))
            .count()
        {
            0 => faults.push(format!("there is no `{pair}`, the {what}")),
            1 => {}
            several => faults.push(format!("there are {several} {what}s, `{pair}`")),
        }
    }
    match found()
        .filter(|it| matches!(it, HeaderItem::Signature(_)))
        .count()
    {
        0 if scheme.pair.is_empty() => faults.push("there is no signature in it".to_owned()),
        0 => faults.push(format!(
            "there is no `{}{}`, the signature",
            scheme.tag, scheme.pair
        )),
        several if several > MAX_SIGNATURES => faults.push(format!(
            "there are {several} signatures; {MAX_SIGNATURES} are allowed"
        )),
        _ => {}
    }
    faults
}

fn fault(scheme: &SignatureScheme, text: &str) -> Option<String> {
    let found = match item(scheme, text) {
        HeaderItem::Signature(value) => signature_fault(scheme, value)?,
        HeaderItem::Needed(name, value) if is_time(scheme, name) => time_fault(scheme, value)?,
        HeaderItem::Needed(..) => return None,
        HeaderItem::Other(name) if is_item_name(name) => return None,
        HeaderItem::Other(_) => "its name must be of A-Z, a-z, 0-9, `_` and `-`".to_owned(),
        HeaderItem::Unnamed(_) => format!("this is no item of the form name{}value", scheme.pair),
    };
    if scheme.scheme() == Scheme::Token {
        return Some(found);
    }
    Some(format!("`{text}`: {found}"))
}

fn is_time(scheme: &SignatureScheme, name: &str) -> bool {
    matches!(&scheme.timestamp, Some(Variable::Item(of)) if of == name)
}

fn time_fault(scheme: &SignatureScheme, value: &str) -> Option<String> {
    let digits = match value.strip_suffix(|c: char| c.is_ascii_alphabetic()) {
        Some(digits) if scheme.stray_letter => digits,
        _ => value,
    };
    let form = match scheme.unit {
        TimeUnit::Seconds => "1 to 12 digits",
        TimeUnit::Milliseconds => "1 to 15 digits",
        TimeUnit::Rfc3339 => "written as in RFC 3339",
    };
    let letter = if scheme.stray_letter {
        ", and at most one letter behind them"
    } else {
        ""
    };
    let wrong = || format!("the timestamp must be {form}{letter}");
    scheme.unit.signed_seconds(digits).is_none().then(wrong)
}

fn signature_fault(scheme: &SignatureScheme, value: &str) -> Option<String> {
    if scheme.scheme() == Scheme::Token {
        return value
            .is_empty()
            .then(|| "there is no token in it".to_owned());
    }
    let (name, is_digit): (_, fn(char) -> bool) = match scheme.encoding {
        Encoding::Hex => ("hex", |c| c.is_ascii_hexdigit()),
        Encoding::Base64 => ("base64", |c| c.is_ascii_alphanumeric() || "+/=".contains(c)),
    };
    if let Some(other) = value.chars().find(|c| !is_digit(*c)) {
        return Some(format!("`{other}` is no {name} digit"));
    }
    let length = scheme
        .encoding
        .decode(value.as_bytes())
        .map(|bytes| bytes.len());
    match (length, scheme.scheme()) {
        (Ok(length), any) if any.has_length(length) => None,
        (_, Scheme::Hmac(hash)) if scheme.encoding == Encoding::Hex => {
            let (digits, needed) = (value.len(), 2 * hash.bytes());
            Some(format!(
                "there are {digits} hex digits, and {needed} are needed"
            ))
        }
        (Ok(length), _) => Some(format!("no signature of this scheme has {length} bytes")),
        (Err(_), _) => Some(format!("this is no {name}")),
    }
}

fn is_item_name(name: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    !name.is_empty() && name.bytes().all(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, LazyLock};

    use crate::source::{ONE_CODEX, Provider, built_in};
    use proptest::prelude::*;

    /// One of each grammar.
    static PROVIDERS: LazyLock<[Arc<Provider>; 7]> = LazyLock::new(|| {
        let names = [
            "onecodex",
            "github",
            "shopify",
            "standard_webhooks",
            "stripe",
            "discord",
            "cloudevents",
        ];
        names.map(|name| built_in(name).expect("built in"))
    });

    const TAG: &str = "d929ba98ac0e56ff425f9b8ed7c7ab631dc680f9ea80ce2f604cc75580a63b53";

    fn head(scheme: &SignatureScheme, value: &str) -> DeliveryHead {
        DeliveryHead::of(vec![(scheme.headers[0].clone(), value.to_owned())])
    }

    fn faults_of(name: &str, value: &str) -> String {
        let scheme = &built_in(name).expect("built in").signature;
        faults(scheme, &head(scheme, value)).join("; ")
    }

    #[test]
    fn each_mistake_is_named() {
        let nine = format!("t=1{}", format!(" v1={TAG}").repeat(9));
        for (value, expected) in [
            (format!("t=x1 v1={TAG}"), "digits"),
            (format!("v1={TAG}"), "no `t=`"),
            (format!("t=1 t=2 v1={TAG}"), "2 timestamps"),
            ("t=1".to_owned(), "no `v1=`"),
            (format!("t=1 v1={}", &TAG[1..]), "63 hex digits"),
            (format!("t=1 v1={}g", &TAG[1..]), "`g` is no hex digit"),
            (
                format!("t=1 v1={TAG} garbage"),
                "`garbage`: this is no item",
            ),
            (nine, "there are 9 signatures"),
            ("x".repeat(1025), "1025 bytes"),
        ] {
            let faults = faults_of("onecodex", &value);
            assert!(faults.contains(expected), "{value}: {faults}");
        }
        for (provider, value, expected) in [
            ("github", TAG, "no item of the form name=value"),
            ("shopify", "", "no signature"),
            ("shopify", "AAAA", "3 bytes"),
            ("shopify", "A", "no base64"),
            ("discord", "00", "1 bytes"),
            ("stripe", "t=1.5,v1=00", "1 to 12 digits"),
        ] {
            let faults = faults_of(provider, value);
            assert!(faults.contains(expected), "{provider}: {faults}");
        }
    }

    #[test]
    fn nothing_of_a_token_is_repeated() {
        for value in ["Bearer ", "hidden", "Basic hidden"] {
            let faults = faults_of("cloudevents", value);
            assert!(!faults.is_empty() && !faults.contains("hidden"), "{faults}");
        }
    }

    #[test]
    fn each_signature_is_looked_at_by_itself() {
        let scheme = &ONE_CODEX.signature;
        let values: Vec<String> = single_signatures(scheme, &head(scheme, "t=1, v1=a,x=b v1=c"))
            .into_iter()
            .map(|(_, head)| head.headers[0].1.clone())
            .collect();
        assert_eq!(values, ["t=1 v1=a x=b", "t=1 x=b v1=c"]);
    }

    proptest! {
        /// What is explained must be what is judged.
        #[test]
        fn faults_are_found_exactly_where_the_header_does_not_parse(
            provider in 0..PROVIDERS.len(),
            value in "(t=[0-9]{0,13}[a-z]{0,2}|v1=[0-9a-g]{63,65}|v1=[0-9a-f]{64}|v1,[A-Za-z0-9+/]{43}=|\
                      sha256=[0-9a-fA-F]{64}|[0-9a-f]{128}|[A-Za-z0-9+/-]{42,44}=|v2=x|V=|Bearer |=|,| ){0,6}"
        ) {
            let scheme = &PROVIDERS[provider].signature;
            let head = head(scheme, &value);
            let faults = faults(scheme, &head);
            prop_assert_eq!(faults.is_empty(), scheme.read(&head).is_ok(), "{}: {:?}", value, faults);
        }
    }
}
