//! Strict JSON: the documents that every parser reads in the same way.
//!
//! A reader that skips what it does not need would accept a number no double can hold, a lone
//! surrogate or a key that stands twice, and a consumer with another parser would then fail on the
//! event or see another one. So the whole document is walked once, keeping nothing (I-JSON, RFC
//! 7493, names the same traps).

use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Walks the document to its end.
///
/// # Errors
/// When it is not JSON, nests deeper than 128 levels, repeats a key within an object, or holds a
/// string or a number that a parser could reject.
pub(super) fn validate(text: &str) -> Result<(), serde_json::Error> {
    serde_json::from_str::<Walked>(text).map(drop)
}

/// Up to here a look at every earlier key is cheaper than hashing.
const FEW_KEYS: usize = 16;

struct Walked;

impl<'de> Deserialize<'de> for Walked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Walk)
    }
}

struct Walk;

impl<'de> Visitor<'de> for Walk {
    type Value = Walked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Walked, E> {
        Ok(Walked)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Walked, E> {
        Ok(Walked)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Walked, E> {
        Ok(Walked)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Walked, E> {
        Ok(Walked)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Walked, E> {
        Ok(Walked)
    }

    fn visit_str<E>(self, _: &str) -> Result<Walked, E> {
        Ok(Walked)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Walked, A::Error> {
        while items.next_element::<Walked>()?.is_some() {}
        Ok(Walked)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Walked, A::Error> {
        let mut keys = Vec::new();
        while let Some(Key(key)) = entries.next_key::<Key<'de>>()? {
            keys.push(key);
            entries.next_value::<Walked>()?;
        }
        if is_one_twice(&keys) {
            return Err(A::Error::custom("a key stands twice in an object"));
        }
        Ok(Walked)
    }
}

/// A key, borrowed where it holds no escape.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Borrowed<'b>(#[serde(borrow)] Cow<'b, str>);
        Borrowed::deserialize(deserializer).map(|key| Key(key.0))
    }
}

/// Whether a key stands twice among those of one object.
///
/// Many are told apart by sorting their hashes: with a body full of keys that takes a third of the
/// time that a set takes. The hashes are keyed at random, so that nobody can make keys that collide.
fn is_one_twice(keys: &[Cow<'_, str>]) -> bool {
    if keys.len() <= FEW_KEYS {
        return (1..keys.len()).any(|at| keys[..at].contains(&keys[at]));
    }
    let state = RandomState::new();
    let hash = |(at, key): (usize, &Cow<'_, str>)| (state.hash_one(key), at);
    let mut hashes: Vec<(u64, usize)> = keys.iter().enumerate().map(hash).collect();
    hashes.sort_unstable();
    let alike = hashes.chunk_by(|(one, _), (other, _)| one == other);
    let mut several = alike.filter(|alike| alike.len() > 1);
    several.any(|alike| {
        let key = |of: &(u64, usize)| &keys[of.1];
        (1..alike.len()).any(|at| alike[..at].iter().any(|of| key(of) == key(&alike[at])))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_documents_pass() {
        let many: Vec<String> = (0..100).map(|n| format!("\"k{n}\":{n}")).collect();
        for text in [
            "{}",
            "[]",
            "null",
            "1.5e300",
            "\"\\ud83e\\uddec\"",
            "{\"a\":{\"a\":[1,-2,true,null,\"x\"]}}",
            &format!("{{{}}}", many.join(",")),
        ] {
            assert!(validate(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_parsers_disagree_on_is_refused() {
        let deep = "[".repeat(1_000_000);
        let long_number = "9".repeat(1_000_000);
        let mut many: Vec<String> = (0..100).map(|n| format!("\"k{n}\":{n}")).collect();
        many.push("\"k7\":0".to_owned());
        for text in [
            "",
            "{",
            "{}x",
            "{} {}",
            "{\"a\":1,\"a\":1}",
            "{\"a\":1,\"\\u0061\":1}",
            "1e400",
            "-1e400",
            "\"\\ud800\"",
            "\"\0\"",
            "\u{feff}{}",
            "{'a':1}",
            "[1,]",
            "NaN",
            "01",
            &deep,
            &long_number,
            &format!("{{{}}}", many.join(",")),
        ] {
            assert!(validate(text).is_err(), "{:?}", &text[..text.len().min(40)]);
        }
    }
}
