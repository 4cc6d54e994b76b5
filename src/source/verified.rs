//! The proof that a delivery came from its source. [`SignedDelivery::accept`] is the only maker of
//! [`Verified`], and everything downstream takes a `Verified`, so nothing unproven can be accepted.

use jiff::Timestamp;

use super::authentic::{AuthenticDelivery, ForwardedHeaders};
use super::configured::{DeduplicationWindow, Source, whole_seconds};
use super::form;
use super::head::{HeadValues, HeaderValue, RequestHead};
use super::inbound::Inbound;
use super::rejection::Rejection;
use super::scheme::Replay;
use super::signature::SignatureHeader;
use super::signer::with_query;
use super::template::{TemplatePart, Variable};
use crate::json;

/// A well-formed signature, before the body is read.
#[derive(Debug)]
pub struct Claim<'a> {
    source: &'a Source,
    signature: SignatureHeader,
    head: HeadValues,
    /// When it claims to have been sent, where the head says so.
    seconds: Option<i64>,
}

/// A delivery that was signed with a secret of its source; how long ago is still to be judged.
#[derive(Debug)]
pub struct SignedDelivery<'a> {
    claim: Claim<'a>,
    inbound: Inbound,
    secret: usize,
}

/// A delivery proven to come from its source: these bytes were signed with one of its secrets, just
/// now, or not so long ago that a copy accepted then would be forgotten by now.
#[derive(Debug)]
pub struct Verified {
    delivery: AuthenticDelivery,
    secret: usize,
    is_late: bool,
}

impl Source {
    /// Reads what the head says of the signature: the check that needs no body.
    ///
    /// # Errors
    /// When the signature is missing, repeated, over-long or malformed, or a header that it covers is
    /// not there.
    pub fn read_signature(&self, head: &dyn RequestHead) -> Result<Claim<'_>, Rejection> {
        let scheme = &self.provider.signature;
        let mut signature = scheme.read(head)?;
        for name in scheme.signed_headers() {
            match head.header(name) {
                HeaderValue::Missing => return Err(Rejection::SignedHeaderMissing),
                HeaderValue::Repeated => return Err(Rejection::SignatureRepeated),
                HeaderValue::Once(_) => {}
            }
        }
        let mut values = self.head_values(head);
        values.set_items(signature.take_items());
        if let Some(url) = &self.url {
            values.set_url(with_query(url, head.query()));
        }
        if !is_unambiguous(scheme.signed.parts(), &values) {
            return Err(Rejection::SignatureMalformed);
        }
        Ok(Claim {
            seconds: scheme.claimed_seconds(&signature, &values)?,
            source: self,
            signature,
            head: values,
        })
    }

    /// What of the head is still wanted once the body is there.
    pub(super) fn head_values(&self, head: &dyn RequestHead) -> HeadValues {
        let of_routes = self.conditions.variables();
        let variables = self.provider.of_head.iter().chain(of_routes);
        let mut values = HeadValues::take(head, variables);
        for name in &self.headers {
            values.take_header(head, name);
        }
        values
    }
}

/// Whether a value holds a text; most often that is one character, which is found faster.
fn holds(value: &str, text: &str) -> bool {
    match text.as_bytes() {
        [byte] => value.as_bytes().contains(byte),
        _ => value.contains(text),
    }
}

/// Whether these are the characters of a URL (RFC 3986), without the brackets that JSON begins with: a
/// body's first bytes cannot be moved into the query before it.
fn is_url(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-._~:/?#@!$&'()*+,;=%".contains(&b))
}

/// Whether every signed variable of the head is there, and its value says where it ends: the same
/// signed bytes could otherwise be taken apart in two ways.
fn is_unambiguous(parts: &[TemplatePart], head: &HeadValues) -> bool {
    parts.iter().enumerate().all(|(at, part)| {
        let TemplatePart::Variable(variable) = part else {
            return true;
        };
        if !variable.is_of_head() {
            return true;
        }
        let Some(value) = head.value(variable) else {
            return false;
        };
        match variable {
            Variable::Method => true,
            Variable::Url => is_url(&value),
            _ => begins_behind(&parts[..at], &value) && ends_before(parts.get(at + 1), &value),
        }
    })
}

/// Whether a value cannot begin elsewhere. A text at the very beginning of the template separates
/// nothing.
fn begins_behind(before: &[TemplatePart], value: &str) -> bool {
    match before {
        [] | [TemplatePart::Literal(_)] => true,
        [.., TemplatePart::Literal(text)] => !holds(value, text),
        [.., TemplatePart::Variable(_)] => is_url(value),
    }
}

/// Whether a value cannot end elsewhere.
fn ends_before(after: Option<&TemplatePart>, value: &str) -> bool {
    match after {
        None => true,
        Some(TemplatePart::Literal(text)) => !holds(value, text),
        Some(TemplatePart::Variable(_)) => is_url(value),
    }
}

impl<'a> Claim<'a> {
    /// The source whose delivery it claims to be.
    #[must_use]
    pub fn source(&self) -> &'a Source {
        self.source
    }

    /// The signatures, as they were read.
    #[must_use]
    pub fn signature(&self) -> &SignatureHeader {
        &self.signature
    }

    /// What the head says.
    #[must_use]
    pub fn head(&self) -> &HeadValues {
        &self.head
    }

    /// Proves that the delivery was signed with a secret of its source.
    ///
    /// # Errors
    /// When no secret makes a signature, anybody can have it made by a handshake, or the time that is
    /// signed in the body is none.
    pub fn prove(mut self, inbound: Inbound) -> Result<SignedDelivery<'a>, Rejection> {
        let proof = self.proof(&inbound);
        let (secret, item) = proof.ok_or(Rejection::SignatureMismatch)?;
        self.head.add_item(item);
        if let Some(Variable::Pointer(pointer)) = &self.source.provider.signature.timestamp {
            let seconds = self.seconds_of_body(pointer, &inbound.body);
            self.seconds = Some(seconds.ok_or(Rejection::TimestampMalformed)?);
        }
        Ok(SignedDelivery {
            claim: self,
            inbound,
            secret,
        })
    }

    /// Proves the delivery: [`Claim::prove`] and [`SignedDelivery::accept`] in one.
    ///
    /// # Errors
    /// As for both.
    pub fn verify(
        self,
        inbound: Inbound,
        now: Timestamp,
        known_since: impl FnOnce() -> i64,
    ) -> Result<Verified, Rejection> {
        self.prove(inbound)?.accept(now, known_since)
    }

    fn seconds_of_body(&self, pointer: &str, body: &[u8]) -> Option<i64> {
        let unit = self.source.provider.signature.unit;
        unit.signed_seconds(&json::text_at(body, pointer)?)
    }

    /// The secret that makes one of the signatures, and that signature as an item where an event is
    /// known by it.
    fn proof(&self, inbound: &Inbound) -> Option<(usize, Option<(String, String)>)> {
        let scheme = &self.source.provider.signature;
        let sorted_form = self.sorted_form(inbound)?;
        let parts = scheme.signed_parts(&self.head, &inbound.body, &sorted_form)?;
        let parts: Vec<&[u8]> = parts.iter().map(AsRef::as_ref).collect();
        if self.source.signs_for_strangers(&parts) {
            return None;
        }
        let signatures = self.signature.signatures();
        let secret = self.source.matching_secret(&parts, signatures)?;
        Some((secret, self.signature_item(secret, &parts)))
    }

    /// The parameters of the form, where these are signed; none where the body is no form.
    fn sorted_form(&self, inbound: &Inbound) -> Option<Vec<u8>> {
        if !self.source.provider.signature.signs_form() {
            return Some(Vec::new());
        }
        let content_type = inbound.content_type.as_deref();
        let may_be_form = content_type.is_none() || form::is_form(content_type);
        form::sorted(&inbound.body).filter(|_| may_be_form)
    }

    /// The signature that the secret makes. Others may stand beside it that nobody has made, so that
    /// one delivery could be sent as many events; and it is written anew, so that another case of its
    /// digits makes no other event.
    fn signature_item(&self, secret: usize, parts: &[&[u8]]) -> Option<(String, String)> {
        let provider = &self.source.provider;
        let scheme = &provider.signature;
        let is_tag = |it: &Variable| matches!(it, Variable::Item(name) if *name == scheme.tag);
        if !scheme.scheme().signs() || !provider.of_head.iter().any(is_tag) {
            return None;
        }
        let secret = &self.source.secrets[secret];
        let is_made = |it: &&Vec<u8>| secret.matches(parts, std::slice::from_ref(*it));
        let signature = match self.signature.signatures() {
            [only] => only,
            several => several.iter().find(is_made)?,
        };
        Some((scheme.tag.clone(), scheme.encode(signature)))
    }

    fn forwarded(&mut self) -> ForwardedHeaders {
        let mut forwarded = ForwardedHeaders::default();
        let scheme = &self.source.provider.signature;
        let mut names: Vec<&str> = self.source.headers.iter().map(String::as_str).collect();
        if self.source.forward_signature && scheme.scheme().signs() {
            let mut held = std::mem::take(&mut self.signature).into_headers();
            names.extend(scheme.signed_headers());
            let url = self.head.url().filter(|_| scheme.signs_url());
            forwarded.url = url.map(str::to_owned);
            forwarded.signature = (!held.is_empty()).then(|| held.remove(0).1);
            forwarded.headers = held;
        }
        for name in names {
            let is_there = forwarded.headers.iter().any(|(of, _)| of == name);
            if let Some(value) = self.head.header(name).filter(|_| !is_there) {
                forwarded.headers.push((name.to_owned(), value.to_owned()));
            }
        }
        forwarded
    }
}

impl SignedDelivery<'_> {
    /// How long ago the delivery claims to have been sent, in seconds; negative when in the future.
    /// None where no time is signed.
    #[must_use]
    pub fn age_seconds(&self, now: Timestamp) -> Option<i64> {
        let seconds = self.claim.seconds?;
        Some(now.as_second().saturating_sub(seconds))
    }

    /// Judges the time: it comes after the signature, so that a late delivery with the right signature
    /// is told apart from one with a wrong one. Of a late one it is asked from which time on, in
    /// seconds since the epoch, all accepted events are known.
    ///
    /// # Errors
    /// When the timestamp is in the future beyond the tolerance, or in the past beyond it and beyond
    /// what is remembered.
    pub fn accept(
        mut self,
        now: Timestamp,
        known_since: impl FnOnce() -> i64,
    ) -> Result<Verified, Rejection> {
        let source = self.claim.source;
        let tolerance = whole_seconds(source.tolerance);
        let age = self.age_seconds(now).unwrap_or(0);
        if age < -tolerance {
            return Err(Rejection::TimestampFuture);
        }
        let is_late = age > tolerance;
        if is_late && !self.is_remembered(now, known_since) {
            return Err(Rejection::TimestampStale);
        }
        let forwarded = self.claim.forwarded();
        let request = (self.claim.head, self.inbound);
        Ok(Verified {
            delivery: AuthenticDelivery::webhook(source, request, forwarded, now),
            secret: self.secret,
            is_late,
        })
    }

    /// Whether the event would still be known, had it been accepted when it was signed. An event
    /// that was old by then is not; one without a time of its own, or that is known by its bytes, is
    /// remembered from when it came, which by this clock may be the tolerance before it was signed. One
    /// whose id somebody could change without the secret is not known by it.
    fn is_remembered(&self, now: Timestamp, known_since: impl FnOnce() -> i64) -> bool {
        let source = self.claim.source;
        let (Some(DeduplicationWindow { window, own_time }), Some(signed)) =
            (source.deduplication, self.claim.seconds)
        else {
            return false;
        };
        let content_type = self.inbound.content_type.as_deref();
        if !source.provider.event_of(content_type).is_identity_signed {
            return false;
        }
        let came = signed.saturating_sub(whole_seconds(source.tolerance));
        let is_by_id = source.provider.replay == Replay::Id;
        let own_time = is_by_id.then(|| own_time(source, &self.claim.head, &self.inbound));
        let own_time = own_time.flatten();
        let from = own_time.map_or(came, |time| time.as_second().min(signed));
        now.as_second().saturating_sub(from) <= whole_seconds(window) && from >= known_since()
    }
}

impl Verified {
    /// The delivery.
    #[must_use]
    pub fn delivery(&self) -> &AuthenticDelivery {
        &self.delivery
    }

    /// The position of the secret that made the signature, in the order of the configuration.
    #[must_use]
    pub fn secret(&self) -> usize {
        self.secret
    }

    /// Whether it was signed longer ago than the tolerance.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.is_late
    }
}

impl From<Verified> for AuthenticDelivery {
    fn from(verified: Verified) -> Self {
        verified.delivery
    }
}

#[cfg(test)]
mod tests;
