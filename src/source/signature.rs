//! The signature header: `t=<Unix seconds> v1=<HMAC-SHA256 in hex>`, and the bytes it covers.
//!
//! The grammar follows One Codex's documented example, whose `t` carries a stray letter: items are
//! separated by spaces and/or commas; `t` is 1 to 12 digits and at most one trailing ASCII letter,
//! and the MAC covers the digits alone. Accepting the letter is safe, because the MAC authenticates
//! the timestamp. An item with an unknown name is passed over: it may belong to a later scheme.

use jiff::Timestamp;

use super::rejection::Rejection;
use super::secret::Secret;

/// The most signatures one header may carry; each costs a comparison per secret.
pub const MAX_SIGNATURES: usize = 8;
const MAX_HEADER_BYTES: usize = 1024;

/// A signature scheme: HMAC-SHA256 over `timestamp "." body`, carried in one header.
#[derive(Debug)]
pub struct SignatureScheme {
    /// The header's name, in lower case.
    pub header: &'static str,
    /// What a well-formed value looks like, for messages to people.
    pub example: &'static str,
}

impl SignatureScheme {
    /// The header value that signs `body` at `now`.
    #[must_use]
    pub fn sign(&self, secret: &Secret, body: &[u8], now: Timestamp) -> String {
        let digits = now.as_second().to_string();
        let tag = secret.sign(&[digits.as_bytes(), b".", body]);
        format!("t={digits} v1={}", hex::encode(tag))
    }
}

/// A parsed signature header: what the sender claims, not yet proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureHeader {
    text: String,
    digits: String,
    seconds: i64,
    tags: Vec<[u8; 32]>,
}

impl SignatureHeader {
    /// Takes all values of the header and parses the one there should be.
    ///
    /// # Errors
    /// When there is none, more than one, one over 1 KiB, or one outside the grammar.
    pub fn read<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Result<Self, Rejection> {
        let value = values.next().ok_or(Rejection::SignatureMissing)?;
        if values.next().is_some() {
            return Err(Rejection::SignatureRepeated);
        }
        if value.len() > MAX_HEADER_BYTES {
            return Err(Rejection::SignatureTooLong);
        }
        let text = std::str::from_utf8(value).map_err(|_| Rejection::SignatureMalformed)?;
        Self::parse(text).ok_or(Rejection::SignatureMalformed)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut digits = None;
        let mut tags = Vec::new();
        for item in text.split([' ', ',']).filter(|item| !item.is_empty()) {
            let (name, value) = item.split_once('=')?;
            match name {
                "t" if digits.is_none() => digits = Some(timestamp_digits(value)?),
                "t" => return None,
                "v1" if tags.len() < MAX_SIGNATURES => tags.push(tag(value)?),
                "v1" => return None,
                other if is_item_name(other) => {}
                _ => return None,
            }
        }
        let digits = digits?.to_owned();
        let seconds = digits.parse().ok()?;
        (!tags.is_empty()).then(|| Self {
            text: text.to_owned(),
            digits,
            seconds,
            tags,
        })
    }

    /// The header's value as received; it travels with the message, so that a consumer can verify again.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// As [`SignatureHeader::text`], when the rest has been looked at.
    #[must_use]
    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// The claimed time of the delivery, in Unix seconds.
    #[must_use]
    pub fn seconds(&self) -> i64 {
        self.seconds
    }

    /// The timestamp's digits, as the MAC covers them.
    #[must_use]
    pub fn digits(&self) -> &str {
        &self.digits
    }

    /// Whether `secret` makes one of the signatures over `body`.
    pub(super) fn matches(&self, secret: &Secret, body: &[u8]) -> bool {
        secret.matches(&[self.digits.as_bytes(), b".", body], &self.tags)
    }
}

fn timestamp_digits(value: &str) -> Option<&str> {
    let digits = value
        .strip_suffix(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(value);
    ((1..=12).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()))
        .then_some(digits)
}

/// A full SHA-256 tag in hex; a truncated one is as malformed as any other text.
fn tag(value: &str) -> Option<[u8; 32]> {
    let mut tag = [0; 32];
    hex::decode_to_slice(value, &mut tag).ok()?;
    Some(tag)
}

fn is_item_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TAG: &str = "d929ba98ac0e56ff425f9b8ed7c7ab631dc680f9ea80ce2f604cc75580a63b53";

    fn read(value: &str) -> Result<SignatureHeader, Rejection> {
        SignatureHeader::read([value.as_bytes()].into_iter())
    }

    #[test]
    fn the_documented_example_parses_and_its_letter_is_not_signed() {
        let header = read(&format!("t=1492774577c v1={TAG}")).expect("documented");
        assert_eq!(
            (header.digits(), header.seconds()),
            ("1492774577", 1_492_774_577)
        );
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
            assert_eq!(read(&text).map(|h| h.tags.len()), Ok(1), "{text}");
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
        assert_eq!(
            SignatureHeader::read([&[0xff, 0xfe][..]].into_iter()),
            Err(Rejection::SignatureMalformed)
        );
    }

    #[test]
    fn none_two_and_over_long_headers_have_reasons_of_their_own() {
        let good = format!("t=1 v1={TAG}");
        assert_eq!(
            SignatureHeader::read(std::iter::empty()),
            Err(Rejection::SignatureMissing)
        );
        assert_eq!(
            SignatureHeader::read([good.as_bytes(), good.as_bytes()].into_iter()),
            Err(Rejection::SignatureRepeated)
        );
        assert_eq!(read(&" ".repeat(1025)), Err(Rejection::SignatureTooLong));
        assert!(read(&format!("{good}{}", " ".repeat(1024 - good.len()))).is_ok());
    }

    #[test]
    fn our_own_vector_holds() {
        let secret = Secret::new("whsec_test_secret").expect("not empty");
        let at = Timestamp::from_second(1_492_774_577).expect("in range");
        let header = super::super::ONE_CODEX.scheme.sign(&secret, b"{}", at);
        assert_eq!(
            header,
            "t=1492774577 v1=53140ab8fa70c511cc40d5c9198af7dde7bbaee877038c056d8250c3bd3b2e11"
        );
        assert!(read(&header).expect("ours").matches(&secret, b"{}"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1100)) {
            let _ = SignatureHeader::read([bytes.as_slice()].into_iter());
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
            prop_assert_eq!(header.seconds, seconds);
            prop_assert_eq!(header.tags, tags);
        }
    }
}
