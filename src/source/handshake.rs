//! Handshakes: requests by which a sender makes sure of a webhook. They are answered as the
//! provider's table says, and are no events.
//!
//! An answer holds what the request held, so whoever asks can have a text of their own come from this
//! address. It is bounded for that, and of printable ASCII.

use base64::Engine as _;

use super::configured::Source;
use super::encoding;
use super::head::{HeadValues, RequestHead};
use super::provider::{Handshake, HandshakeAnswer, HandshakeCondition, HandshakeValue};
use super::scheme::Scheme;
use super::template::{FieldTemplate, Variable};
use super::verified::Verified;
use crate::json;

/// The most bytes that are filled in, in one answer.
const MAX_FILLED_BYTES: usize = 1024;
/// The longest text that somebody unproven gets an HMAC of.
const MAX_TOKEN_BYTES: usize = 128;

/// What a handshake is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandshakeReply {
    /// No body.
    Empty,
    /// A plain text.
    Text(String),
    /// A JSON document.
    Json(String),
}

/// A handshake without a value that may be sent back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what the handshake wants back is missing, too long or not printable")]
pub struct HandshakeRefused;

/// The values of a request by their variables.
type Values<'a> = &'a dyn Fn(&Variable) -> Option<String>;

impl Source {
    /// Whether a request of this method can be a handshake without a signature.
    #[must_use]
    pub fn has_unsigned_handshake(&self, method: &str) -> bool {
        self.unsigned_handshakes(method).next().is_some()
    }

    /// The answer to a handshake without a signature; none where the request is none. A source whose
    /// secret stands in the URL has none without that secret.
    #[must_use]
    pub fn unsigned_handshake(
        &self,
        head: &dyn RequestHead,
    ) -> Option<Result<HandshakeReply, HandshakeRefused>> {
        if !self.is_open(head) {
            return None;
        }
        let values = HeadValues::take(head, self.provider.of_head.iter());
        let value = |variable: &Variable| values.value(variable).map(Into::into);
        let mut handshakes = self.unsigned_handshakes(head.method());
        handshakes.find_map(|handshake| reply(self, handshake, &value))
    }

    /// The answer to a signed handshake; none where the delivery, which is one of this source, is none.
    #[must_use]
    pub fn signed_handshake(
        &self,
        verified: &Verified,
    ) -> Option<Result<HandshakeReply, HandshakeRefused>> {
        let mut handshakes = self.provider.handshakes.iter().filter(|it| it.is_signed);
        handshakes.find_map(|handshake| {
            let text = std::str::from_utf8(verified.delivery().body()).ok();
            let text = text.filter(|_| !handshake.pointers.is_empty());
            let found = text.and_then(|text| json::read(text, &handshake.pointers).ok());
            let value = |variable: &Variable| match variable {
                Variable::Pointer(pointer) => found.as_ref()?.text(pointer).map(Into::into),
                other => verified.delivery().head().value(other).map(Into::into),
            };
            reply(self, handshake, &value)
        })
    }

    /// Whether a signature over these parts proves nothing: it can be had from us, by a handshake
    /// without a signature.
    pub(super) fn signs_for_strangers(&self, parts: &[&[u8]]) -> bool {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let mut handshakes = self.provider.handshakes.iter();
        length <= MAX_TOKEN_BYTES
            && handshakes.any(Handshake::signs_for_strangers)
            && std::str::from_utf8(&parts.concat()).is_ok_and(is_token)
    }

    fn unsigned_handshakes(&self, method: &str) -> impl Iterator<Item = &Handshake> {
        let handshakes = self.provider.handshakes.iter();
        handshakes.filter(move |it| !it.is_signed && it.method == method)
    }

    /// Whether strangers may try a handshake: not where a secret in the URL keeps them out.
    fn is_open(&self, head: &dyn RequestHead) -> bool {
        if self.provider.signature.scheme() != Scheme::Url {
            return true;
        }
        let Some(given) = head.path_secret() else {
            return false;
        };
        let given = [given.as_bytes().to_vec()];
        self.matching_secret(&[], &given).is_some()
    }
}

/// The answer, where all conditions hold.
fn reply(
    source: &Source,
    handshake: &Handshake,
    value: Values<'_>,
) -> Option<Result<HandshakeReply, HandshakeRefused>> {
    let holds = |(template, condition): &(FieldTemplate, HandshakeCondition)| {
        let text = template.fill(|variable| value(variable).map(Into::into));
        text.is_some_and(|text| match condition {
            HandshakeCondition::Present => true,
            HandshakeCondition::Equals(expected) => text == expected.as_str(),
            HandshakeCondition::VerifySecret => {
                let given = [text.into_owned().into_bytes()];
                let verify = source.verify.as_ref();
                verify.is_some_and(|verify| verify.matches(&[], &given))
            }
        })
    };
    let filling = Filling {
        source,
        is_signed: handshake.is_signed,
        value,
        bytes_left: MAX_FILLED_BYTES,
    };
    let all_hold = handshake.when.iter().all(holds);
    all_hold.then(|| filling.answer(&handshake.answer))
}

/// An answer that is being filled in.
struct Filling<'a> {
    source: &'a Source,
    is_signed: bool,
    value: Values<'a>,
    bytes_left: usize,
}

impl Filling<'_> {
    fn answer(mut self, answer: &HandshakeAnswer) -> Result<HandshakeReply, HandshakeRefused> {
        match answer {
            HandshakeAnswer::Empty => Ok(HandshakeReply::Empty),
            HandshakeAnswer::Text(template) => self.fill(template).map(HandshakeReply::Text),
            HandshakeAnswer::Json(members) => {
                let mut document = serde_json::Map::new();
                for (name, value) in members {
                    let value = match value {
                        HandshakeValue::Template(template) => self.fill(template)?.into(),
                        HandshakeValue::Constant(constant) => constant.clone(),
                    };
                    document.insert(name.clone(), value);
                }
                let text = serde_json::Value::Object(document).to_string();
                Ok(HandshakeReply::Json(text))
            }
        }
    }

    fn fill(&mut self, template: &FieldTemplate) -> Result<String, HandshakeRefused> {
        let filled = template.fill(|variable| self.take(variable).map(Into::into));
        filled.map(Into::into).ok_or(HandshakeRefused)
    }

    /// What stands in the place of the variable, if it may be sent back.
    fn take(&mut self, variable: &Variable) -> Option<String> {
        let text = match variable {
            Variable::HmacHex(of) => hex::encode(self.mac(of)?),
            Variable::HmacBase64(of) => encoding::STANDARD.encode(self.mac(of)?),
            other => (self.value)(other)?,
        };
        self.bytes_left = self.bytes_left.checked_sub(text.len())?;
        let is_printable = text.bytes().all(|b| (b' '..=b'~').contains(&b));
        is_printable.then_some(text)
    }

    /// The HMAC of a value under the source's first secret.
    ///
    /// It is the secret that deliveries are signed with, so for whoever may choose the value this signs
    /// what they like: sent as a handshake, a forged body would come back with its signature. From a
    /// request that proves nothing only a short token is taken, and a delivery whose signed bytes are
    /// such a token is not taken for proven: [`Source::signs_for_strangers`].
    fn mac(&self, of: &Variable) -> Option<Vec<u8>> {
        let text = (self.value)(of)?;
        if text.is_empty() || !(self.is_signed || is_token(&text)) {
            return None;
        }
        let mac = self.source.secrets.first()?.sign(&[text.as_bytes()]);
        // A public key or a token makes none.
        (!mac.is_empty()).then_some(mac)
    }
}

/// Whether a text is made of the characters of hex and base64 alone, with `=` at its end only.
fn is_token(text: &str) -> bool {
    let stem = text.trim_end_matches('=');
    let is_of_token = |b: u8| b.is_ascii_alphanumeric() || b"+/_-".contains(&b);
    text.len() <= MAX_TOKEN_BYTES && !stem.is_empty() && stem.bytes().all(is_of_token)
}

#[cfg(test)]
mod tests;
