//! The `signature` table.

use super::super::table::{
    EncodingName, HashName, KeyFormName, OneOrSeveral, ReplayName, SchemeName, SignatureTable,
    UnitName,
};
use super::Problems;
use crate::source::encoding::Encoding;
use crate::source::scheme::{Hash, KeyForm, Replay, Scheme, SecretForm};
use crate::source::signature::SignatureScheme;
use crate::source::template::{FieldTemplate, Variable, is_header_name};
use crate::source::time_unit::TimeUnit;

/// Reads it; none where something is wrong with it.
pub fn signature(
    problems: &mut Problems,
    table: Option<&SignatureTable>,
) -> Option<SignatureScheme> {
    let Some(table) = table else {
        return problems.none(
            "signature",
            "there is none",
            "say how deliveries are proven",
        );
    };
    let before = problems.0.len();
    let scheme = scheme(problems, table);
    let headers = headers(problems, table, scheme);
    let pair = table.pair.clone().unwrap_or_default();
    if !pair.is_empty() && table.tag.is_none() {
        problems.add(
            "signature.tag",
            "the items have names, and none of them is said to be the signature",
            "name the items that are signatures, such as \"v1\"",
        );
    }
    check_items(problems, table);
    let signed = signed(problems, table, scheme);
    let timestamp = timestamp(problems, table, scheme, signed.as_ref());
    let key = key_form(problems, table, scheme);
    let scheme = SignatureScheme {
        secret: SecretForm {
            scheme,
            key,
            prefix: table.key_prefix.clone().unwrap_or_default(),
        },
        headers,
        items: table.items.clone().unwrap_or_default(),
        pair,
        tag: table.tag.clone().unwrap_or_default(),
        encoding: match table.encoding {
            Some(EncodingName::Base64) => Encoding::Base64,
            Some(EncodingName::Hex) | None => Encoding::Hex,
        },
        signed: signed?,
        timestamp,
        unit: unit(table.unit).unwrap_or(TimeUnit::Seconds),
        stray_letter: table.stray_letter.unwrap_or(false),
        replay: table.replay.map(|name| match name {
            ReplayName::Id => Replay::Id,
            ReplayName::Body => Replay::Body,
        }),
    };
    (problems.0.len() == before).then_some(scheme)
}

/// The unit of that name.
pub fn unit(name: Option<UnitName>) -> Option<TimeUnit> {
    Some(match name? {
        UnitName::Seconds => TimeUnit::Seconds,
        UnitName::Milliseconds => TimeUnit::Milliseconds,
        UnitName::Rfc3339 => TimeUnit::Rfc3339,
    })
}

fn scheme(problems: &mut Problems, table: &SignatureTable) -> Scheme {
    let hash = match table.hash {
        Some(HashName::Sha1) => Hash::Sha1,
        Some(HashName::Sha512) => Hash::Sha512,
        Some(HashName::Sha256) | None => Hash::Sha256,
    };
    let scheme = match table.scheme {
        Some(SchemeName::Hmac) | None => Scheme::Hmac(hash),
        Some(SchemeName::Ed25519) => Scheme::Ed25519,
        Some(SchemeName::EcdsaP256) => Scheme::EcdsaP256,
        Some(SchemeName::Token) => Scheme::Token,
        Some(SchemeName::Url) => Scheme::Url,
    };
    if table.hash.is_some() && !matches!(scheme, Scheme::Hmac(_)) {
        problems.add(
            "signature.hash",
            "only an HMAC has a choice of it",
            "take the key out",
        );
    }
    scheme
}

/// What is said of items must be of items that are read: another one is never there, so that every
/// delivery would be refused.
fn check_items(problems: &mut Problems, table: &SignatureTable) {
    for (name, text) in [("signed", &table.signed), ("timestamp", &table.timestamp)] {
        let template = text.as_deref().map(FieldTemplate::parse);
        let Some(Ok(template)) = template else {
            continue;
        };
        for variable in template.variables() {
            let Variable::Item(item) = variable else {
                continue;
            };
            let found = if table.pair.as_deref().unwrap_or_default().is_empty() {
                format!("`{{{variable}}}` is an item with a name, and there is no `pair`")
            } else if table.tag.as_ref() == Some(item) {
                format!("`{{{variable}}}` is the signature itself, by `tag`")
            } else {
                continue;
            };
            problems.add(
                format!("signature.{name}"),
                found,
                "name another item, and say by `pair` what stands between its name and its value",
            );
        }
    }
    let is_item = |text: &String| {
        let template = FieldTemplate::parse(text).ok();
        let variable = template.as_ref().and_then(FieldTemplate::single_variable);
        matches!(variable, Some(Variable::Item(_)))
    };
    if table.stray_letter == Some(true) && !table.timestamp.as_ref().is_none_or(is_item) {
        problems.add(
            "signature.stray_letter",
            "the `timestamp` is no item of the signature header",
            "take the key out",
        );
    }
}

fn headers(problems: &mut Problems, table: &SignatureTable, scheme: Scheme) -> Vec<String> {
    let named = table
        .header
        .as_ref()
        .map_or(&[][..], OneOrSeveral::as_slice);
    if named.is_empty() != (scheme == Scheme::Url) {
        let (found, remedy) = if scheme == Scheme::Url {
            (
                "the secret stands in the URL, not in a header",
                "take the key out",
            )
        } else {
            ("there is none", "name the header that holds the signature")
        };
        problems.add("signature.header", found, remedy);
    }
    let headers: Vec<String> = named.iter().map(|name| name.to_ascii_lowercase()).collect();
    for name in headers.iter().filter(|name| !is_header_name(name)) {
        let found = format!("{name:?} is no name of a header");
        problems.add("signature.header", found, "correct the name");
    }
    headers
}

fn signed(
    problems: &mut Problems,
    table: &SignatureTable,
    scheme: Scheme,
) -> Option<FieldTemplate> {
    let key = "signature.signed";
    let text = table.signed.as_deref().unwrap_or("{body}");
    if !scheme.signs() {
        if table.signed.is_some() {
            problems.add(key, "nothing is signed by this scheme", "take the key out");
        }
        return problems.template(key, text);
    }
    let goes_here = |variable: &Variable| {
        !matches!(
            variable,
            Variable::Pointer(_) | Variable::HmacHex(_) | Variable::HmacBase64(_)
        )
    };
    let template = problems.template_of(key, text, goes_here)?;
    let covers = |variable: &Variable| matches!(variable, Variable::Body | Variable::SortedForm);
    if !template.variables().any(covers) {
        problems.add(
            key,
            "the body is not in it, so anybody could change it",
            "put {body} in it, or {sorted_form} where the sender signs a form's parameters",
        );
    }
    Some(template)
}

fn timestamp(
    problems: &mut Problems,
    table: &SignatureTable,
    scheme: Scheme,
    signed: Option<&FieldTemplate>,
) -> Option<Variable> {
    let key = "signature.timestamp";
    let Some(text) = &table.timestamp else {
        for (name, is_given) in [
            ("unit", table.unit.is_some()),
            ("stray_letter", table.stray_letter.is_some()),
        ] {
            if is_given {
                let key = format!("signature.{name}");
                problems.add(
                    key,
                    "there is no `timestamp`",
                    "add it, or take this key out",
                );
            }
        }
        return None;
    };
    let template = problems.template(key, text)?;
    let Some(variable) = template.single_variable() else {
        return problems.none(
            key,
            "this is not one variable alone",
            "write it as \"{item.t}\"",
        );
    };
    let is_signed = match variable {
        Variable::Pointer(_) => scheme.signs(),
        Variable::Header(_) | Variable::Item(_) => signed
            .is_none_or(|signed| scheme.signs() && signed.variables().any(|it| it == variable)),
        _ => {
            let remedy =
                "name an item of the signature header, another header, or a place in the body";
            return problems.none(key, format!("`{{{variable}}}` is no time"), remedy);
        }
    };
    if is_signed {
        return Some(variable.clone());
    }
    let found = format!(
        "`{{{variable}}}` is not in `signed`, and a time that is not signed protects from nothing"
    );
    problems.none(
        key,
        found,
        "put it in `signed` as the sender does, or leave this key out",
    )
}

fn key_form(problems: &mut Problems, table: &SignatureTable, scheme: Scheme) -> KeyForm {
    let form = match table.key {
        Some(KeyFormName::Base64) => KeyForm::Base64,
        Some(KeyFormName::Hex) => KeyForm::Hex,
        Some(KeyFormName::Pem) => KeyForm::Pem,
        Some(KeyFormName::Text) | None => KeyForm::Text,
    };
    let is_public = matches!(scheme, Scheme::Ed25519 | Scheme::EcdsaP256);
    if is_public && form == KeyForm::Text {
        problems.add(
            "signature.key",
            "a public key is not the text itself",
            "say how it is written: \"pem\", \"base64\" or \"hex\"",
        );
    }
    if !is_public && form == KeyForm::Pem {
        let found = "PEM is for public keys, and this scheme has a shared secret";
        problems.add(
            "signature.key",
            found,
            "write \"text\", \"base64\" or \"hex\"",
        );
    }
    if !scheme.signs() {
        let is_other = matches!(form, KeyForm::Base64 | KeyForm::Hex);
        let has_prefix = table.key_prefix.as_ref().is_some_and(|it| !it.is_empty());
        for (name, is_given) in [("key", is_other), ("key_prefix", has_prefix)] {
            if is_given {
                let key = format!("signature.{name}");
                problems.add(
                    key,
                    "a token is compared as it is written",
                    "take the key out",
                );
            }
        }
    }
    form
}
