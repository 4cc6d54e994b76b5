//! Strict JSON: the documents that every parser reads in the same way.
//!
//! A reader that skips what it does not need would accept a number no double can hold, a lone
//! surrogate or a key that stands twice, and a consumer with another parser would then fail on the
//! event or see another one. So the whole document is walked (I-JSON, RFC 7493, names the same
//! traps), once, and the few texts that are wanted are kept on the way.

use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A text that is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    /// The member of the document that holds it; none where the document itself does.
    pub within: Option<&'static str>,
    /// Its own name.
    pub name: &'static str,
}

/// What was found in a document.
#[derive(Debug)]
pub(super) struct Texts<'a, const N: usize> {
    /// Whether the document is an object.
    pub is_object: bool,
    /// The texts, in the order of the fields; none where there is no such member, or it is no text.
    pub found: [Option<Cow<'a, str>>; N],
}

/// Walks the document to its end, and keeps the texts of these fields.
///
/// # Errors
/// When it is not JSON, nests deeper than 128 levels, repeats a key within an object, or holds a
/// string or a number that a parser could reject.
pub(super) fn read<'a, const N: usize>(
    text: &'a str,
    fields: &[Field; N],
) -> Result<Texts<'a, N>, serde_json::Error> {
    let mut document = serde_json::Deserializer::from_str(text);
    let mut texts = Texts {
        is_object: false,
        found: [const { None }; N],
    };
    let walk = Walk {
        fields,
        texts: &mut texts,
        keys: &mut Vec::with_capacity(USUAL_KEYS),
        place: Place::Document,
    };
    walk.deserialize(&mut document)?;
    document.end()?;
    Ok(texts)
}

/// Room for the keys of a usual delivery, of which some twenty are on the stack at once: it is taken
/// in one go, not doubled three times.
const USUAL_KEYS: usize = 32;

/// Up to here a look at every earlier key is cheaper than hashing.
const FEW_KEYS: usize = 16;

/// Where in the document a value stands.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// It is all of it.
    Document,
    /// It is a member of the document that holds wanted texts.
    Member(&'static str),
    /// It should be the text of this field.
    Text(usize),
    /// Nothing is wanted of it.
    Elsewhere,
}

/// One value on the walk.
struct Walk<'w, 'a, const N: usize> {
    fields: &'w [Field; N],
    texts: &'w mut Texts<'a, N>,
    /// The keys of all objects that the walk is in: one stack, so that an object costs no memory of
    /// its own.
    keys: &'w mut Vec<Cow<'a, str>>,
    place: Place,
}

impl<'a, const N: usize> Walk<'_, 'a, N> {
    /// A value within this one.
    fn step(&mut self, place: Place) -> Walk<'_, 'a, N> {
        Walk {
            fields: self.fields,
            texts: self.texts,
            keys: self.keys,
            place,
        }
    }

    /// Where the member with this key stands.
    fn member(&self, key: &str) -> Place {
        let within = match self.place {
            Place::Document => None,
            Place::Member(member) => Some(member),
            Place::Text(_) | Place::Elsewhere => return Place::Elsewhere,
        };
        let is_it = |field: &Field| field.within == within && field.name == key;
        if let Some(index) = self.fields.iter().position(is_it) {
            return Place::Text(index);
        }
        let holders = self.fields.iter().filter_map(|field| field.within);
        let holder = holders.filter(|_| within.is_none()).find(|it| *it == key);
        holder.map_or(Place::Elsewhere, Place::Member)
    }

    fn take(self, text: impl FnOnce() -> Cow<'a, str>) {
        if let Place::Text(index) = self.place {
            self.texts.found[index] = Some(text());
        }
    }
}

impl<'de, const N: usize> DeserializeSeed<'de> for Walk<'_, 'de, N> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Walk<'_, 'de, N> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<(), E> {
        self.take(|| Cow::Borrowed(text));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.take(|| Cow::Owned(text.to_owned()));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        while items
            .next_element_seed(self.step(Place::Elsewhere))?
            .is_some()
        {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        self.texts.is_object |= matches!(self.place, Place::Document);
        let first = self.keys.len();
        while let Some(key) = entries.next_key_seed(Key)? {
            let place = self.member(&key);
            self.keys.push(key);
            entries.next_value_seed(self.step(place))?;
        }
        if is_one_twice(&self.keys[first..]) {
            return Err(A::Error::custom("a key stands twice in an object"));
        }
        self.keys.truncate(first);
        Ok(())
    }
}

/// A key, borrowed where it holds no escape.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
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

    fn validate(text: &str) -> Result<(), serde_json::Error> {
        read(text, &[]).map(drop)
    }

    const FIELDS: [Field; 3] = [
        Field {
            within: None,
            name: "a",
        },
        Field {
            within: Some("o"),
            name: "a",
        },
        Field {
            within: Some("o"),
            name: "b",
        },
    ];

    fn found(text: &str) -> [Option<String>; 3] {
        let texts = read(text, &FIELDS).expect("valid");
        texts.found.map(|text| text.map(Cow::into_owned))
    }

    #[test]
    fn the_wanted_texts_are_found_in_their_places_only() {
        let some = |text: &str| Some(text.to_owned());
        for (text, expected) in [
            (
                r#"{"a":"1","o":{"a":"2","b":"3"}}"#,
                ["1", "2", "3"].map(some),
            ),
            (r#"{"o":{"b":"3"},"a":"1"}"#, [some("1"), None, some("3")]),
            (
                r#"{"\u0061":"\u0031","o":{"b":"\n"}}"#,
                [some("1"), None, some("\n")],
            ),
            (
                r#"{"x":{"a":"0","o":{"a":"0"}},"b":"0"}"#,
                [None, None, None],
            ),
            (
                r#"{"o":{"o":{"a":"0"},"x":[{"a":"0"}]}}"#,
                [None, None, None],
            ),
            (r#"{"a":1,"o":{"a":null,"b":["0"]}}"#, [None, None, None]),
            (
                r#"{"a":{"a":"0","o":{"a":"0"}},"o":["0","0"]}"#,
                [None, None, None],
            ),
            (r#"["0",{"a":"0"}]"#, [None, None, None]),
            (r#""a""#, [None, None, None]),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
    }

    #[test]
    fn a_document_is_an_object_or_not() {
        for (text, expected) in [("{}", true), ("[{}]", false), ("null", false), ("1", false)] {
            let texts = read(text, &FIELDS).expect("valid");
            assert_eq!(texts.is_object, expected, "{text}");
        }
    }

    #[test]
    fn a_key_may_stand_again_in_another_object() {
        assert!(validate(r#"{"a":{"b":1,"a":{"a":1}},"b":[{"a":1},{"a":1}]}"#).is_ok());
        assert!(validate(r#"{"a":{"b":1},"b":{"a":1},"a":1}"#).is_err());
        assert!(validate(r#"{"x":{"b":1,"c":{},"b":1}}"#).is_err());
    }

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
