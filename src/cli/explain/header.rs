//! The signature header, item by item, for a person who looks for the mistake in it.

use crate::source::MAX_SIGNATURES;

/// The header's value: what was pasted, without the header's name where that came along.
pub(super) fn value<'a>(pasted: &'a str, name: &str) -> &'a str {
    let pasted = pasted.trim();
    match pasted.split_once(':') {
        Some((before, value)) if before.trim().eq_ignore_ascii_case(name) => value.trim(),
        _ => pasted,
    }
}

/// The well-formed signatures in the value, in order.
pub(super) fn tags(value: &str) -> Vec<Vec<u8>> {
    let tag = |item: &str| {
        let tag = hex::decode(item.strip_prefix("v1=")?).ok()?;
        (tag.len() == 32).then_some(tag)
    };
    items(value).filter_map(tag).collect()
}

/// The value of `t`, with the letter that may stand behind it.
pub(super) fn timestamp(value: &str) -> Option<&str> {
    items(value).find_map(|item| item.strip_prefix("t="))
}

fn items(value: &str) -> impl Iterator<Item = &str> {
    value.split([' ', ',']).filter(|item| !item.is_empty())
}

/// What is wrong with the value, in words.
pub(super) fn faults(value: &str) -> Vec<String> {
    let mut faults: Vec<String> = items(value).filter_map(fault).collect();
    let count = |prefix| items(value).filter(|item| item.starts_with(prefix)).count();
    match count("t=") {
        0 => faults.push("there is no `t=`, the timestamp".into()),
        1 => {}
        several => faults.push(format!("there are {several} timestamps, `t=`")),
    }
    match count("v1=") {
        0 => faults.push("there is no `v1=`, the signature".into()),
        several if several > MAX_SIGNATURES => faults.push(format!(
            "there are {several} signatures; {MAX_SIGNATURES} are allowed"
        )),
        _ => {}
    }
    faults
}

fn fault(item: &str) -> Option<String> {
    let Some((name, value)) = item.split_once('=') else {
        return Some(format!("`{item}` is no item of the form name=value"));
    };
    let found = match name {
        "t" => timestamp_fault(value)?,
        "v1" => signature_fault(value)?,
        _ if is_item_name(name) => return None,
        _ => "its name must be of a-z, 0-9 and `_`".to_owned(),
    };
    Some(format!("`{item}`: {found}"))
}

fn timestamp_fault(value: &str) -> Option<String> {
    let digits = value
        .strip_suffix(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(value);
    let good = (1..=12).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    (!good)
        .then(|| "the timestamp must be 1 to 12 digits, and at most one letter behind them".into())
}

fn signature_fault(value: &str) -> Option<String> {
    let count = value.chars().count();
    if let Some(other) = value.chars().find(|c| !c.is_ascii_hexdigit()) {
        return Some(format!("`{other}` is no hex digit"));
    }
    (count != 64).then(|| format!("there are {count} hex digits, and 64 are needed"))
}

fn is_item_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    !name.is_empty() && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{DeliveryHead, ONE_CODEX};
    use proptest::prelude::*;

    const TAG: &str = "d929ba98ac0e56ff425f9b8ed7c7ab631dc680f9ea80ce2f604cc75580a63b53";

    #[test]
    fn the_name_may_come_along() {
        for pasted in [
            "t=1 v1=x",
            "X-OneCodex-Signature: t=1 v1=x",
            " x-onecodex-signature:t=1 v1=x\n",
        ] {
            assert_eq!(value(pasted, "x-onecodex-signature"), "t=1 v1=x");
        }
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
            (format!("t=1 v1={TAG} garbage"), "`garbage` is no item"),
            (nine, "there are 9 signatures"),
        ] {
            let faults = faults(&value).join("; ");
            assert!(faults.contains(expected), "{value}: {faults}");
        }
    }

    proptest! {
        /// What is explained must be what is judged.
        #[test]
        fn faults_are_found_exactly_where_the_header_does_not_parse(
            value in "(t=[0-9]{0,13}[a-z]{0,2}|v1=[0-9a-g]{63,65}|v1=[0-9a-f]{64}|v2=x|V=|=|,| ){0,6}"
        ) {
            let parses = {
                let name = ONE_CODEX.signature.headers[0].clone();
                let head = DeliveryHead::of(vec![(name, value.clone())]);
                ONE_CODEX.signature.read(&head).is_ok()
            };
            prop_assert_eq!(faults(&value).is_empty(), parses, "{}: {:?}", value, faults(&value));
        }
    }
}
