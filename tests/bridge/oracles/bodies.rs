//! Forty bodies, such as senders send and such as break whatever decodes a body and writes it again.

use std::iter::repeat_n;

/// A body, and what is odd about it.
#[derive(Debug, Clone)]
pub struct Body {
    pub name: &'static str,
    pub bytes: Vec<u8>,
}

impl Body {
    /// Whether the bytes are UTF-8: most libraries take a body as text.
    pub fn is_text(&self) -> bool {
        std::str::from_utf8(&self.bytes).is_ok()
    }

    /// The same with one more field in front, a number; of JSON objects only.
    pub fn with_number(&self, field: &str, number: i64) -> Option<Vec<u8>> {
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&self.bytes).ok()?;
        let comma = if object.is_empty() { "" } else { "," };
        let begin = self.bytes.iter().position(|byte| *byte == b'{')? + 1;
        let mut bytes = self.bytes[..begin].to_vec();
        bytes.extend(format!("\"{field}\":{number}{comma}").bytes());
        bytes.extend(&self.bytes[begin..]);
        Some(bytes)
    }
}

/// JSON as it is usual, and as it is allowed to be.
const OBJECTS: &[(&str, &str)] = &[
    (
        "an event",
        r#"{"id":"evt_1","type":"order.paid","data":{"object":{"id":"ord_1","amount":1999}}}"#,
    ),
    ("an empty object", "{}"),
    ("spaces within", r#"{ "a" : 1 , "b" : [ 1 , 2 ] }"#),
    ("a line feed at its end", "{\"a\":1}\n"),
    ("two line feeds at its end", "{\"a\":1}\n\n"),
    (
        "lines that end with CR and LF",
        "{\r\n  \"a\": 1,\r\n  \"b\": 2\r\n}\r\n",
    ),
    ("tabs", "{\t\"a\":\t1\t}"),
    ("spaces before and behind", "  {\"a\":1}  "),
    ("an emoji", r#"{"text":"🧬"}"#),
    ("emoji that are joined", r#"{"text":"👩‍🔬 and 👨‍👩‍👧‍👦 and 🇨🇭"}"#),
    ("an emoji that is escaped", r#"{"text":"\ud83e\uddec"}"#),
    (
        "letters beyond ASCII",
        r#"{"name":"Zoë Müller","place":"東京"}"#,
    ),
    (
        "letters that are escaped",
        r#"{"name":"Zo\u00eb","slash":"a\/b"}"#,
    ),
    (
        "two forms of one letter",
        "{\"composed\":\"\u{e9}\",\"decomposed\":\"e\u{301}\"}",
    ),
    (
        "text from right to left",
        "{\"text\":\"\u{202e}שלום\u{202c}\"}",
    ),
    (
        "line ends that JavaScript knows",
        "{\"text\":\"a\u{2028}b\u{2029}c\u{85}d\"}",
    ),
    ("quotes", r#"{"text":"he said \"it's\" `so`"}"#),
    ("backslashes", r#"{"text":"C:\\temp\\new \\\\ \\\""}"#),
    (
        "control characters that are escaped",
        r#"{"text":"\u0000\u0001\b\f\n\r\t\u001f\u007f"}"#,
    ),
    ("HTML", r#"{"text":"<b>&amp;</b>\u003cscript\u003e"}"#),
    (
        "numbers at the limits",
        r#"{"a":9007199254740993,"b":1e308,"c":-0.0,"d":1.10}"#,
    ),
    ("a field that is there twice", r#"{"a":1,"a":2}"#),
    ("fields in no order", r#"{"z":1,"a":2,"":3,"10":4,"9":5}"#),
    ("null and booleans", r#"{"a":null,"b":true,"c":false}"#),
    (
        "text that looks signed",
        r#"{"t":"t=1,v1=00","u":"v1,AAAA= v0:1:{}"}"#,
    ),
    ("a percent sign and a plus", r#"{"q":"100%+1&a=b%20c"}"#),
];

/// What is no JSON object, or not for every reader.
const OTHERS: &[(&str, &str)] = &[
    ("nothing", ""),
    ("one space", " "),
    ("half an emoji that is escaped", r#"{"text":"\ud83e"}"#),
    ("one line feed", "\n"),
    ("an array of events", r#"[{"id":1},{"id":2}]"#),
    ("a text", r#""text""#),
    ("a form", "payload=%7B%22a%22%3A1%7D&a=1&b=&a=2&a=1"),
    (
        "a form with odd fields",
        "B=1&a=x+y&%F0%9F%A7%AC=%C3%A9&A=&b",
    ),
    ("a byte order mark before JSON", "\u{feff}{\"a\":1}"),
    (
        "control characters as they are",
        "\u{1}\u{8}\u{b}\u{1b}[31m\u{7f}",
    ),
    ("a NUL in the middle", "a\0b"),
];

/// The forty bodies.
pub fn bodies() -> Vec<Body> {
    let texts = OBJECTS.iter().chain(OTHERS);
    let mut bodies: Vec<Body> = texts
        .map(|(name, text)| Body {
            name,
            bytes: text.as_bytes().to_vec(),
        })
        .collect();
    let nested = [vec![b'['; 500], vec![b']'; 500]].concat();
    bodies.push(Body {
        name: "five hundred arrays, each within the next",
        bytes: nested,
    });
    bodies.push(Body {
        name: "bytes that are no UTF-8",
        bytes: vec![b'{', 0xff, 0xfe, 0x80, 0xc0, b'}'],
    });
    bodies.push(Body {
        name: "one mebibyte",
        bytes: mebibyte(),
    });
    bodies
}

/// A JSON object of exactly 1 MiB, with characters of every length in UTF-8.
fn mebibyte() -> Vec<u8> {
    let begin = "{\"text\":\"aé東🧬";
    let end = "\"}";
    let rest = (1 << 20) - begin.len() - end.len();
    let bytes = begin.bytes().chain(repeat_n(b'x', rest));
    bytes.chain(end.bytes()).collect()
}

#[test]
fn there_are_forty_bodies_and_no_two_are_equal() {
    let bodies = bodies();
    assert_eq!(bodies.len(), 40);
    let mut bytes: Vec<_> = bodies.iter().map(|body| &body.bytes).collect();
    bytes.sort();
    bytes.dedup();
    assert_eq!(bytes.len(), 40);
    let longest = bodies.iter().map(|body| body.bytes.len()).max();
    assert_eq!(longest, Some(1 << 20));
    assert_eq!(bodies.iter().filter(|body| !body.is_text()).count(), 1);
}

#[test]
fn a_number_is_put_in_front_of_an_objects_fields_and_nowhere_else() {
    let body = |text: &str| Body {
        name: "of this test",
        bytes: text.into(),
    };
    let with = |text: &str| body(text).with_number("n", 5);
    assert_eq!(
        with(" {\"a\" : 1}\n"),
        Some(b" {\"n\":5,\"a\" : 1}\n".to_vec())
    );
    assert_eq!(with("{ }"), Some(b"{\"n\":5 }".to_vec()));
    assert_eq!(with("[{}]"), None);
    assert_eq!(with(""), None);
    let objects = bodies()
        .iter()
        .filter_map(|body| body.with_number("n", 5))
        .count();
    assert_eq!(objects, OBJECTS.len() + 1);
}
