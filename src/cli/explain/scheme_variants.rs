//! The ways in which a sender may sign otherwise than its provider's table says: one key of the table
//! is another, or it is another provider.

use std::sync::Arc;

use super::given_request::GivenRequest;
use super::header::{HeaderItem, items};
use super::variant::{Variant, combined};
use crate::source::{
    Encoding, FieldTemplate, Hash, Provider, Scheme, SignatureScheme, TimeUnit, Variable,
};

/// The hash functions by their names.
const HASHES: [(&str, Hash); 3] = [
    ("sha256", Hash::Sha256),
    ("sha1", Hash::Sha1),
    ("sha512", Hash::Sha512),
];
/// What senders sign besides the body, with `TIME` for the time that they send.
const SIGNED: [&str; 4] = ["TIME{body}", "TIME.{body}", "TIME:{body}", "{body}TIME"];

/// The provider with at most so many keys of its signature's table changed, and the other providers.
pub(super) fn scheme_variants(
    provider: &Arc<Provider>,
    others: &[Arc<Provider>],
    request: &GivenRequest,
    most: usize,
) -> Vec<Variant<Arc<Provider>>> {
    let signed = |scheme: &_| signed(scheme, request);
    let headers = |scheme: &_| headers(scheme, request);
    let tags = |scheme: &_| tags(scheme, provider, request);
    let own = combined(
        provider.signature.clone(),
        &[
            &hashes, &encodings, &signed, &letters, &headers, &tags, &unnamed,
        ],
        most,
    );
    let with = |scheme: Variant<SignatureScheme>| {
        let mut changed = Provider::clone(provider);
        changed.signature = scheme.value;
        if changed.signature.unit == TimeUnit::Seconds {
            // It takes the digits of both, and nobody asks here when it was.
            changed.signature.unit = TimeUnit::Milliseconds;
        }
        Variant {
            differences: scheme.differences,
            value: Arc::new(changed),
        }
    };
    let mut all: Vec<_> = own.into_iter().map(with).collect();
    all.extend(other_providers(provider, others, request));
    all
}

/// The other providers whose signature's header is there. Those that sign alike are one.
fn other_providers(
    provider: &Provider,
    others: &[Arc<Provider>],
    request: &GivenRequest,
) -> Vec<Variant<Arc<Provider>>> {
    let mut groups: Vec<Vec<&Arc<Provider>>> = Vec::new();
    for other in others {
        let is_there = other.signature.read(&request.head(other)).is_ok();
        if !is_there || signs_alike(provider, other) {
            continue;
        }
        match groups.iter_mut().find(|group| signs_alike(group[0], other)) {
            Some(group) => group.push(other),
            None => groups.push(vec![other]),
        }
    }
    let variant = |group: Vec<&Arc<Provider>>| {
        let names: Vec<&str> = group.iter().map(|it| it.name.as_str()).collect();
        let (how, names) = match names.as_slice() {
            [name] => ("this is how it signs", (*name).to_owned()),
            names => ("this is how they sign", names.join(" or ")),
        };
        Variant::of(
            format!("if the provider were {names}: {how}"),
            group[0].clone(),
        )
    };
    groups.into_iter().map(variant).collect()
}

fn signs_alike(one: &Provider, other: &Provider) -> bool {
    let comparable = |provider: &Provider| SignatureScheme {
        replay: None,
        ..provider.signature.clone()
    };
    comparable(one) == comparable(other)
}

/// The scheme with one change.
fn changed(
    scheme: &SignatureScheme,
    difference: impl Into<String>,
    change: impl FnOnce(&mut SignatureScheme),
) -> Variant<SignatureScheme> {
    let mut scheme = scheme.clone();
    change(&mut scheme);
    Variant::of(difference, scheme)
}

fn hashes(scheme: &SignatureScheme) -> Vec<Variant<SignatureScheme>> {
    let own = HASHES
        .iter()
        .find(|(_, hash)| scheme.scheme() == Scheme::Hmac(*hash));
    let Some((own_name, own)) = own else {
        return Vec::new();
    };
    let others = HASHES.iter().filter(|(_, hash)| hash != own);
    let with = |(name, hash): &(&str, Hash)| {
        changed(
            scheme,
            format!("if the hash were {name} (hash = \"{name}\")"),
            |it| {
                it.secret.scheme = Scheme::Hmac(*hash);
                if it.tag == *own_name {
                    (*name).clone_into(&mut it.tag);
                }
            },
        )
    };
    others.map(with).collect()
}

fn encodings(scheme: &SignatureScheme) -> Vec<Variant<SignatureScheme>> {
    let others = Encoding::ALL.into_iter();
    let others =
        others.filter(|(_, encoding)| scheme.scheme().signs() && *encoding != scheme.encoding);
    let with = |(name, encoding)| {
        let difference = format!("if the signature were read as {name} (encoding = \"{name}\")");
        changed(scheme, difference, |it| it.encoding = encoding)
    };
    others.map(with).collect()
}

/// Other bytes that may be signed.
fn signed(scheme: &SignatureScheme, request: &GivenRequest) -> Vec<Variant<SignatureScheme>> {
    if !scheme.scheme().signs() {
        return Vec::new();
    }
    let mut texts = vec![(
        "if the body alone were signed (signed = \"{body}\")".to_owned(),
        "{body}".to_owned(),
    )];
    let mut add = |text: String| {
        texts.push((format!("if this were signed: signed = \"{text}\""), text));
    };
    if let Some(time) = scheme.timestamp.as_ref().filter(|it| it.is_of_head()) {
        for text in SIGNED {
            add(text.replace("TIME", &format!("{{{time}}}")));
        }
    }
    if request.url.is_some() {
        add("{url}{body}".to_owned());
    }
    texts.retain(|(_, text)| *text != scheme.signed.to_string());
    let with = |(difference, text): (String, String)| {
        let signed = FieldTemplate::parse(&text).ok()?;
        Some(changed(scheme, difference, |it| it.signed = signed))
    };
    texts.into_iter().filter_map(with).collect()
}

fn letters(scheme: &SignatureScheme) -> Vec<Variant<SignatureScheme>> {
    if !scheme.stray_letter {
        return Vec::new();
    }
    let difference = "if the letter behind the timestamp were signed too";
    // Of what is no timestamp, nothing is taken off.
    vec![changed(scheme, difference, |it| it.timestamp = None)]
}

/// The signature in another of the headers that were given.
fn headers(scheme: &SignatureScheme, request: &GivenRequest) -> Vec<Variant<SignatureScheme>> {
    let others = request.headers.iter().map(|(name, _)| name);
    let others = others.filter(|name| !scheme.headers.contains(name));
    let with = |name: &String| {
        let difference = format!("if {name} were the signature's header (header = \"{name}\")");
        changed(scheme, difference, |it| it.headers = vec![name.clone()])
    };
    others.map(with).collect()
}

/// The signature under another name in its header.
fn tags(
    scheme: &SignatureScheme,
    provider: &Provider,
    request: &GivenRequest,
) -> Vec<Variant<SignatureScheme>> {
    let head = request.head(provider);
    let values = head
        .headers
        .iter()
        .filter(|(name, _)| scheme.headers.contains(name));
    let mut names: Vec<&str> = values
        .flat_map(|(_, value)| items(scheme, value))
        .filter_map(|item| match item {
            HeaderItem::Other(name) => Some(name),
            _ => None,
        })
        .collect();
    names.dedup();
    let with = |name: &str| {
        let difference = format!("if `{name}` named the signature (tag = \"{name}\")");
        changed(scheme, difference, |it| name.clone_into(&mut it.tag))
    };
    names.into_iter().map(with).collect()
}

/// The signature without a name before it.
fn unnamed(scheme: &SignatureScheme) -> Vec<Variant<SignatureScheme>> {
    let variables = scheme.signed.variables().chain(&scheme.timestamp);
    let mut variables = variables;
    let has_items = variables.any(|variable| matches!(variable, Variable::Item(_)));
    if scheme.pair.is_empty() || has_items {
        return Vec::new();
    }
    let difference = format!(
        "if `{}{}` did not stand before the signature",
        scheme.tag, scheme.pair
    );
    vec![changed(scheme, difference, |it| it.pair.clear())]
}
