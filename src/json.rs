//! Strict JSON: the documents that every parser reads in the same way, and the values in them that
//! JSON pointers (RFC 6901) name.
//!
//! A reader that skips what it does not need would accept a number no double can hold, a lone
//! surrogate or a key that stands twice, and a consumer with another parser would then fail on the
//! event or see another one. So the whole document is walked (I-JSON, RFC 7493, names the same
//! traps), once, and the few values that are wanted are kept on the way.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The pointers whose values are wanted of a document, as a tree of their keys.
#[derive(Debug, Clone)]
pub struct Pointers {
    nodes: Vec<Node>,
    texts: Vec<String>,
}

/// A place in a document that is wanted, or leads to one.
#[derive(Debug, Clone, Default)]
struct Node {
    children: Vec<(String, usize)>,
    /// The number of the pointer that ends here.
    wanted: Option<usize>,
}

/// The text is no JSON pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a JSON pointer is empty or begins with `/`, and has `~` only in `~0` and `~1` (RFC 6901)")]
pub struct PointerError;

impl Default for Pointers {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
            texts: Vec::new(),
        }
    }
}

impl Pointers {
    /// Wants what `pointer` names.
    ///
    /// # Errors
    /// When it is no JSON pointer.
    pub fn add(&mut self, pointer: &str) -> Result<(), PointerError> {
        let keys = keys(pointer)?;
        let mut at = 0;
        for key in keys {
            let known = self.nodes[at].children.iter().find(|(of, _)| *of == key);
            at = if let Some((_, known)) = known {
                *known
            } else {
                let new = self.nodes.len();
                self.nodes.push(Node::default());
                self.nodes[at].children.push((key, new));
                new
            };
        }
        if self.nodes[at].wanted.is_none() {
            self.nodes[at].wanted = Some(self.texts.len());
            self.texts.push(pointer.to_owned());
        }
        Ok(())
    }

    /// Whether nothing is wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }
}

/// The keys of a pointer, unescaped.
fn keys(pointer: &str) -> Result<Vec<String>, PointerError> {
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    let keys = pointer.strip_prefix('/').ok_or(PointerError)?.split('/');
    let unescape = |key: &str| {
        let is_escaped = |part: &str| part.starts_with('0') || part.starts_with('1');
        let is_sound = key.split('~').skip(1).all(is_escaped);
        let text = || key.replace("~1", "/").replace("~0", "~");
        is_sound.then(text).ok_or(PointerError)
    };
    keys.map(unescape).collect()
}

/// A wanted value.
#[derive(Debug, Clone, PartialEq)]
enum FoundValue<'a> {
    /// A text; of a number its digits as they stand there, of a boolean its name.
    Text(Cow<'a, str>),
    /// A number that was read as a double: its literal is still to be looked up.
    Double,
    /// An array of so many items.
    Items(usize),
}

/// What was found in a document.
#[derive(Debug)]
pub struct FoundValues<'a, 'p> {
    pointers: &'p Pointers,
    values: Vec<Option<FoundValue<'a>>>,
    is_object: bool,
}

impl<'a> FoundValues<'a, '_> {
    /// Whether the document is an object.
    #[must_use]
    pub fn is_object(&self) -> bool {
        self.is_object
    }

    /// The text that a wanted pointer names; of a number its digits as they stand in the document.
    #[must_use]
    pub fn text(&self, pointer: &str) -> Option<Cow<'a, str>> {
        match self.value(pointer)? {
            FoundValue::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    /// How many items the array has that a wanted pointer names.
    #[must_use]
    pub fn items(&self, pointer: &str) -> Option<usize> {
        match self.value(pointer)? {
            FoundValue::Items(count) => Some(*count),
            _ => None,
        }
    }

    fn value(&self, pointer: &str) -> Option<&FoundValue<'a>> {
        let at = self.pointers.texts.iter().position(|it| it == pointer)?;
        self.values[at].as_ref()
    }
}

/// Walks the document to its end, and keeps what the pointers name.
///
/// # Errors
/// When it is not JSON, nests deeper than 128 levels, repeats a key within an object, or holds a
/// string or a number that a parser could reject.
pub fn read<'a, 'p>(
    text: &'a str,
    pointers: &'p Pointers,
) -> Result<FoundValues<'a, 'p>, serde_json::Error> {
    let mut document = serde_json::Deserializer::from_str(text);
    let mut found = FoundValues {
        pointers,
        values: vec![None; pointers.texts.len()],
        is_object: false,
    };
    let walk = Walk {
        nodes: &pointers.nodes,
        found: &mut found,
        keys: &mut Vec::with_capacity(USUAL_KEYS),
        node: Some(0),
        is_document: true,
    };
    walk.deserialize(&mut document)?;
    document.end()?;
    for (value, pointer) in found.values.iter_mut().zip(&pointers.texts) {
        if *value == Some(FoundValue::Double) {
            *value = literal(text, pointer).map(|text| FoundValue::Text(Cow::Borrowed(text)));
        }
    }
    Ok(found)
}

/// The text that one pointer names in a document; none where it is not there, or the document is not
/// one that [`read`] takes.
#[must_use]
pub fn text_at(document: &[u8], pointer: &str) -> Option<String> {
    let mut pointers = Pointers::default();
    pointers.add(pointer).ok()?;
    let found = read(std::str::from_utf8(document).ok()?, &pointers).ok()?;
    found.text(pointer).map(Cow::into_owned)
}

/// A number as it stands in the document: a double has lost its digits.
fn literal<'a>(document: &'a str, pointer: &str) -> Option<&'a str> {
    let mut text = document;
    for key in keys(pointer).ok()? {
        let value: &RawValue = if text.trim_start().starts_with('[') {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            items.get(key.parse::<usize>().ok()?)?
        } else {
            let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(text).ok()?;
            members.get(key.as_str())?
        };
        text = value.get();
    }
    Some(text.trim())
}

/// Room for the keys of a usual delivery, of which some twenty are on the stack at once: it is taken
/// in one go, not doubled three times.
const USUAL_KEYS: usize = 32;

/// Up to here a look at every earlier key is cheaper than hashing.
const FEW_KEYS: usize = 16;

/// One value on the walk.
struct Walk<'w, 'a, 'p> {
    nodes: &'p [Node],
    found: &'w mut FoundValues<'a, 'p>,
    /// The keys of all objects that the walk is in: one stack, so that an object costs no memory of
    /// its own.
    keys: &'w mut Vec<Cow<'a, str>>,
    /// The place of the pointers' tree that it stands at; none where nothing is wanted of it.
    node: Option<usize>,
    is_document: bool,
}

impl<'a, 'p> Walk<'_, 'a, 'p> {
    /// A value within this one.
    fn step(&mut self, node: Option<usize>) -> Walk<'_, 'a, 'p> {
        Walk {
            nodes: self.nodes,
            found: self.found,
            keys: self.keys,
            node,
            is_document: false,
        }
    }

    /// The place of what has this key, or this number in an array.
    fn child(&self, key: &str) -> Option<usize> {
        let children = &self.nodes[self.node?].children;
        let found = children.iter().find(|(of, _)| of == key);
        found.map(|(_, node)| *node)
    }

    fn take(&mut self, value: impl FnOnce() -> FoundValue<'a>) {
        if let Some(wanted) = self.node.and_then(|node| self.nodes[node].wanted) {
            self.found.values[wanted] = Some(value());
        }
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_, 'de, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, 'de, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(mut self, value: bool) -> Result<(), E> {
        let name = if value { "true" } else { "false" };
        self.take(|| FoundValue::Text(Cow::Borrowed(name)));
        Ok(())
    }

    fn visit_i64<E>(mut self, number: i64) -> Result<(), E> {
        self.take(|| FoundValue::Text(Cow::Owned(number.to_string())));
        Ok(())
    }

    fn visit_u64<E>(mut self, number: u64) -> Result<(), E> {
        self.take(|| FoundValue::Text(Cow::Owned(number.to_string())));
        Ok(())
    }

    fn visit_f64<E>(mut self, _: f64) -> Result<(), E> {
        self.take(|| FoundValue::Double);
        Ok(())
    }

    fn visit_borrowed_str<E>(mut self, text: &'de str) -> Result<(), E> {
        self.take(|| FoundValue::Text(Cow::Borrowed(text)));
        Ok(())
    }

    fn visit_str<E>(mut self, text: &str) -> Result<(), E> {
        self.take(|| FoundValue::Text(Cow::Owned(text.to_owned())));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        let mut count = 0;
        loop {
            let node = self.node.and_then(|_| self.child(&count.to_string()));
            if items.next_element_seed(self.step(node))?.is_none() {
                break;
            }
            count += 1;
        }
        self.take(|| FoundValue::Items(count));
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        self.found.is_object |= self.is_document;
        let first = self.keys.len();
        while let Some(key) = entries.next_key_seed(Key)? {
            let node = self.child(&key);
            self.keys.push(key);
            entries.next_value_seed(self.step(node))?;
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
        read(text, &Pointers::default()).map(drop)
    }

    fn pointers(texts: &[&str]) -> Pointers {
        let mut pointers = Pointers::default();
        for text in texts {
            pointers.add(text).expect("a pointer");
        }
        pointers
    }

    fn found(text: &str, of: &[&str]) -> Vec<Option<String>> {
        let pointers = pointers(of);
        let found = read(text, &pointers).expect("valid");
        of.iter()
            .map(|pointer| found.text(pointer).map(Cow::into_owned))
            .collect()
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
            (r#"{"a":{},"o":{"a":null,"b":["0"]}}"#, [None, None, None]),
            (r#"["0",{"a":"0"}]"#, [None, None, None]),
            (r#""a""#, [None, None, None]),
        ] {
            assert_eq!(found(text, &["/a", "/o/a", "/o/b"]), expected, "{text}");
        }
    }

    #[test]
    fn numbers_are_their_digits_and_booleans_their_names() {
        let text = r#"{"n":[0,-7,18446744073709551615,18446744073709551616,1.417566161e+09,-0,1.0],"b":true}"#;
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            found(
                text,
                &[
                    "/n/0", "/n/1", "/n/2", "/n/3", "/n/4", "/n/5", "/n/6", "/n/7", "/b"
                ]
            ),
            [
                some("0"),
                some("-7"),
                some("18446744073709551615"),
                some("18446744073709551616"),
                some("1.417566161e+09"),
                some("-0"),
                some("1.0"),
                None,
                some("true"),
            ]
        );
    }

    #[test]
    fn a_pointer_says_what_a_dotted_path_cannot() {
        let text = r#"{"a/b":{"~":"1"},"$uri":"2","detail-type":"3","":{"":"4"},"0":"5"}"#;
        assert_eq!(
            found(text, &["/a~1b/~0", "/$uri", "/detail-type", "//", "/0"]),
            ["1", "2", "3", "4", "5"].map(|text| Some(text.to_owned()))
        );
        for wrong in ["a", "a/b", "/a~", "/a~2"] {
            assert_eq!(Pointers::default().add(wrong), Err(PointerError), "{wrong}");
        }
    }

    #[test]
    fn an_array_has_so_many_items() {
        for (text, of, expected) in [
            ("[1,[2],{}]", "", Some(3)),
            ("[]", "", Some(0)),
            (r#"{"data":{"events":[{},{}]}}"#, "/data/events", Some(2)),
            (r#"{"data":{"events":"[]"}}"#, "/data/events", None),
        ] {
            let pointers = pointers(&[of]);
            assert_eq!(read(text, &pointers).expect("valid").items(of), expected);
        }
    }

    #[test]
    fn a_document_is_an_object_or_not() {
        for (text, expected) in [("{}", true), ("[{}]", false), ("null", false), ("1", false)] {
            let pointers = pointers(&["/a"]);
            let found = read(text, &pointers).expect("valid");
            assert_eq!(found.is_object(), expected, "{text}");
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
