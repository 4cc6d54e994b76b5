//! A provider's signature scheme as data, and the signature header that it reads and writes.
//!
//! A header's value is split into items at any of some characters, and an item into its name and its
//! value; the items of one name are signatures, others are variables of the signed bytes. An item
//! with an unknown name is passed over: it may belong to a later scheme.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;

use super::encoding::{self, Encoding};
use super::head::{HeadValues, HeaderValue, RequestHead};
use super::rejection::Rejection;
use super::scheme::{Replay, Scheme, SecretForm};
use super::template::{FieldTemplate, TemplatePart, Variable};
use super::time_unit::TimeUnit;

/// The most signatures one delivery may carry; each costs a comparison per secret.
pub const MAX_SIGNATURES: usize = 8;
const MAX_HEADER_BYTES: usize = 1024;

/// A signature scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureScheme {
    /// What secrets prove, and how they are written.
    pub secret: SecretForm,
    /// The headers that may hold a signature, by their names in lower case.
    pub headers: Vec<String>,
    /// The characters that separate the items of a header; it is one item where there are none.
    pub items: String,
    /// What stands between an item's name and its value; items have no names where it is empty.
    pub pair: String,
    /// The name of the items that are signatures.
    pub tag: String,
    /// How a signature is written.
    pub encoding: Encoding,
    /// The bytes that are signed.
    pub signed: FieldTemplate,
    /// The variable that is the time of the delivery.
    pub timestamp: Option<Variable>,
    /// How that time is written.
    pub unit: TimeUnit,
    /// Whether one letter after the time's digits is not a part of it. Accepting it is safe, because
    /// the signature covers the digits.
    pub stray_letter: bool,
    /// What tells a repeated delivery, where the table says so.
    pub replay: Option<Replay>,
}

impl SignatureScheme {
    /// The algorithm and kind of secret.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.secret.scheme
    }

    /// Whether a signature covers what the variable stands for.
    #[must_use]
    pub fn covers(&self, variable: &Variable) -> bool {
        self.scheme().signs()
            && match variable {
                Variable::Pointer(_) | Variable::Body | Variable::SortedForm => {
                    self.has_signed(&Variable::Body) || self.signs_form()
                }
                Variable::Query(_) => self.has_signed(variable) || self.signs_url(),
                other => self.has_signed(other),
            }
    }

    /// Whether the parameters of a form are signed, not its bytes.
    #[must_use]
    pub fn signs_form(&self) -> bool {
        self.has_signed(&Variable::SortedForm)
    }

    /// Whether the webhook's URL is signed.
    #[must_use]
    pub fn signs_url(&self) -> bool {
        self.has_signed(&Variable::Url)
    }

    /// Whether the variable stands in the template of the signed bytes.
    fn has_signed(&self, variable: &Variable) -> bool {
        self.signed.variables().any(|signed| signed == variable)
    }

    /// Whether somebody with one captured delivery could send it for ever under new ids: neither the
    /// time nor the id is signed, although something is.
    #[must_use]
    pub fn is_open_to_replays(&self, is_identity_signed: bool) -> bool {
        self.scheme().signs() && self.timestamp.is_none() && !is_identity_signed
    }

    /// What tells a repeated delivery.
    #[must_use]
    pub fn replay(&self, is_identity_signed: bool) -> Replay {
        let default = if self.is_open_to_replays(is_identity_signed) {
            Replay::Body
        } else {
            Replay::Id
        };
        self.replay.unwrap_or(default)
    }

    /// The names of the headers besides its own that it covers.
    pub fn signed_headers(&self) -> impl Iterator<Item = &str> {
        self.signed
            .variables()
            .filter_map(|variable| match variable {
                Variable::Header(name) => Some(name.as_str()),
                _ => None,
            })
    }

    /// What a well-formed header looks like, for messages to people.
    #[must_use]
    pub fn example(&self) -> String {
        let signature = match (self.scheme(), self.encoding) {
            (Scheme::Token | Scheme::Url, _) => "<token>".to_owned(),
            (Scheme::Hmac(hash), Encoding::Hex) => format!("<{} hex digits>", 2 * hash.bytes()),
            (_, Encoding::Hex) => "<hex digits>".to_owned(),
            (_, Encoding::Base64) => "<base64>".to_owned(),
        };
        let mut named: Vec<(&str, &str)> = Vec::new();
        for name in self.item_names() {
            if named.iter().all(|(of, _)| *of != name) {
                named.push((name, "1492774577"));
            }
        }
        self.write(&named, &signature)
    }

    /// The names of the items that are no signatures and that it needs; one may stand there twice.
    fn item_names(&self) -> impl Iterator<Item = &str> {
        let variables = self.signed.variables().chain(&self.timestamp);
        variables.filter_map(|variable| match variable {
            Variable::Item(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The header's value with these items and this signature.
    pub(super) fn write(&self, items: &[(&str, &str)], signature: &str) -> String {
        if self.pair.is_empty() {
            return signature.to_owned();
        }
        let separator = self
            .items
            .chars()
            .next()
            .map(String::from)
            .unwrap_or_default();
        let signature = (self.tag.as_str(), signature);
        let pairs = items.iter().chain(std::iter::once(&signature));
        let written: Vec<String> = pairs
            .map(|(name, value)| format!("{name}{}{value}", self.pair))
            .collect();
        written.join(&separator)
    }

    /// How a signature's bytes are written.
    pub(super) fn encode(&self, signature: &[u8]) -> String {
        match self.encoding {
            Encoding::Hex => hex::encode(signature),
            Encoding::Base64 => encoding::STANDARD.encode(signature),
        }
    }

    /// Reads the signatures of a head.
    ///
    /// # Errors
    /// When there is none, a header stands there twice, is over 1 KiB or outside the grammar.
    pub fn read(&self, head: &dyn RequestHead) -> Result<SignatureHeader, Rejection> {
        let mut read = SignatureHeader::default();
        if self.scheme() == Scheme::Url {
            let secret = head.path_secret().ok_or(Rejection::SignatureMissing)?;
            read.signatures.push(secret.as_bytes().to_vec());
            return Ok(read);
        }
        for name in &self.headers {
            match head.header(name) {
                HeaderValue::Missing => {}
                HeaderValue::Repeated => return Err(Rejection::SignatureRepeated),
                HeaderValue::Once(value) => self.read_header(name, value, &mut read)?,
            }
        }
        if read.texts.is_empty() {
            return Err(Rejection::SignatureMissing);
        }
        let is_complete = self
            .item_names()
            .all(|name| read.items.iter().any(|(of, _)| of == name));
        if is_complete && !read.signatures.is_empty() {
            Ok(read)
        } else {
            Err(Rejection::SignatureMalformed)
        }
    }

    fn read_header(
        &self,
        name: &str,
        value: &[u8],
        read: &mut SignatureHeader,
    ) -> Result<(), Rejection> {
        if value.len() > MAX_HEADER_BYTES {
            return Err(Rejection::SignatureTooLong);
        }
        let text = std::str::from_utf8(value).map_err(|_| Rejection::SignatureMalformed)?;
        self.read_items(text, read)
            .ok_or(Rejection::SignatureMalformed)?;
        read.texts.push((name.to_owned(), text.to_owned()));
        Ok(())
    }

    fn read_items(&self, text: &str, read: &mut SignatureHeader) -> Option<()> {
        let separators = self.items.as_bytes();
        let is_separator = |c: char| separators.iter().any(|of| char::from(*of) == c);
        for item in text.split(is_separator).map(|item| item.trim_matches(' ')) {
            if item.is_empty() {
                continue;
            }
            if self.pair.is_empty() {
                self.read_signature(item, read)?;
                continue;
            }
            let (name, value) = self.pair_of(item)?;
            if name == self.tag {
                self.read_signature(value, read)?;
            } else if self.item_names().any(|wanted| wanted == name) {
                if read.items.iter().any(|(of, _)| of == name) {
                    return None;
                }
                let value = self.item_value(name, value, &mut read.seconds)?;
                read.items.push((name.to_owned(), value.to_owned()));
            } else if !is_item_name(name) {
                return None;
            }
        }
        Some(())
    }

    fn read_signature(&self, text: &str, read: &mut SignatureHeader) -> Option<()> {
        if read.signatures.len() == MAX_SIGNATURES {
            return None;
        }
        let signature = if self.scheme() == Scheme::Token {
            text.as_bytes().to_vec()
        } else {
            match self.encoding {
                Encoding::Hex => hex::decode(text).ok()?,
                Encoding::Base64 => encoding::STANDARD.decode(text).ok()?,
            }
        };
        self.scheme()
            .has_length(signature.len())
            .then(|| read.signatures.push(signature))
    }

    /// An item's name and its value; most often one character is between them, which is found faster.
    fn pair_of<'a>(&self, item: &'a str) -> Option<(&'a str, &'a str)> {
        match self.pair.as_bytes() {
            [byte] if byte.is_ascii() => item.split_once(char::from(*byte)),
            _ => item.split_once(self.pair.as_str()),
        }
    }

    /// The value of an item; of the time, what is signed of it.
    fn item_value<'a>(
        &self,
        name: &str,
        value: &'a str,
        seconds: &mut Option<i64>,
    ) -> Option<&'a str> {
        let is_time = matches!(&self.timestamp, Some(Variable::Item(of)) if of == name);
        if !is_time {
            return Some(value);
        }
        let digits = match value.strip_suffix(|c: char| c.is_ascii_alphabetic()) {
            Some(digits) if self.stray_letter => digits,
            _ => value,
        };
        *seconds = Some(self.unit.signed_seconds(digits)?);
        Some(digits)
    }

    /// The time that the delivery claims to have been sent at, in seconds since 1970; none where no
    /// time is signed, or it stands in the body.
    ///
    /// # Errors
    /// When it is not there, or no time.
    pub(super) fn claimed_seconds(
        &self,
        signature: &SignatureHeader,
        head: &HeadValues,
    ) -> Result<Option<i64>, Rejection> {
        let variable = match &self.timestamp {
            Some(Variable::Item(_)) => return Ok(signature.seconds),
            Some(variable) if variable.is_of_head() => variable,
            _ => return Ok(None),
        };
        let text = head.value(variable).ok_or(Rejection::SignedHeaderMissing)?;
        let seconds = self.unit.signed_seconds(&text);
        seconds.map(Some).ok_or(Rejection::TimestampMalformed)
    }

    /// The pieces of the signed bytes, in their order.
    pub(super) fn signed_parts<'a>(
        &'a self,
        head: &'a HeadValues,
        body: &'a [u8],
        sorted_form: &'a [u8],
    ) -> Option<Vec<Cow<'a, [u8]>>> {
        let part = |part: &'a TemplatePart| match part {
            TemplatePart::Literal(text) => Some(Cow::Borrowed(text.as_bytes())),
            TemplatePart::Variable(Variable::Body) => Some(Cow::Borrowed(body)),
            TemplatePart::Variable(Variable::SortedForm) => Some(Cow::Borrowed(sorted_form)),
            TemplatePart::Variable(variable) => Some(match head.value(variable)? {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            }),
        };
        self.signed.parts().iter().map(part).collect()
    }
}

/// The signatures of a delivery: what the sender claims, not yet proven.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SignatureHeader {
    /// The headers that held them, with their values as received.
    texts: Vec<(String, String)>,
    items: Vec<(String, String)>,
    /// The time that an item says.
    seconds: Option<i64>,
    signatures: Vec<Vec<u8>>,
}

impl SignatureHeader {
    /// The first header's value as received; it travels with the message, so that a consumer can
    /// verify again. None where the secret stands in the URL.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        self.texts.first().map(|(_, text)| text.as_str())
    }

    /// The headers that held signatures, with their values as received.
    #[must_use]
    pub fn headers(&self) -> &[(String, String)] {
        &self.texts
    }

    /// The items that are no signatures: of the time, what is signed of it.
    #[must_use]
    pub fn items(&self) -> &[(String, String)] {
        &self.items
    }

    /// The signatures' bytes, in their order.
    #[must_use]
    pub fn signatures(&self) -> &[Vec<u8>] {
        &self.signatures
    }

    /// Takes the items for the values of the head, and the headers for the message.
    pub(super) fn take_items(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.items)
    }

    pub(super) fn into_headers(self) -> Vec<(String, String)> {
        self.texts
    }
}

/// Without the signatures and the headers that held them: of a token these are the secret.
impl fmt::Debug for SignatureHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = f.debug_struct("SignatureHeader");
        parts.field("items", &self.items).finish_non_exhaustive()
    }
}

fn is_item_name(name: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    !name.is_empty() && name.bytes().all(is_word)
}

#[cfg(test)]
mod tests;
