//! The proof that a delivery came from its source. [`Claim::verify`] is the only maker of
//! [`Verified`], and everything downstream takes a `Verified`, so nothing unproven can be accepted.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use super::provider::{BodyFormat, Provider};
use super::rejection::Rejection;
use super::secret::Secret;
use super::signature::SignatureHeader;
use crate::name::SourceName;
use crate::trace::TraceContext;

/// The most secrets a source may have at once: each costs a MAC over the body per delivery.
pub const MAX_SECRETS: usize = 4;

/// A configured source: its provider, its secrets, its tolerance.
#[derive(Debug, Clone)]
pub struct Source {
    /// The name, as in the webhook URL.
    pub name: SourceName,
    /// Whose webhooks these are.
    pub provider: &'static Provider,
    /// The CloudEvents `source` of its events.
    pub uri: Arc<str>,
    /// The secrets a delivery may be signed with, at most [`MAX_SECRETS`].
    pub secrets: Vec<Secret>,
    /// How far the signature's timestamp may be from now, on both sides.
    pub tolerance: Duration,
    /// For how long a delivery may be late besides; no longer than `tolerance`, where none.
    pub deduplication: Option<DeduplicationWindow>,
    /// Whether the signature header travels with the event.
    pub forward_signature: bool,
}

/// How long events are remembered: for as long a late delivery is let in, because a second copy of
/// it is known as such.
#[derive(Debug, Clone, Copy)]
pub struct DeduplicationWindow {
    /// How long after an event's own time its id is remembered; where it has none, after it came.
    pub window: Duration,
    /// Reads that time from a body.
    pub own_time: fn(BodyFormat, &[u8]) -> Option<Timestamp>,
}

/// What came with the request besides the signature; it travels with the event unchanged.
#[derive(Debug)]
pub struct Inbound {
    /// The body, as received.
    pub body: Bytes,
    /// The `Content-Type`, where there was one.
    pub content_type: Option<String>,
    /// The trace it belongs to.
    pub trace: TraceContext,
}

/// A well-formed signature header, before the body is read.
#[derive(Debug)]
pub struct Claim<'a> {
    source: &'a Source,
    header: SignatureHeader,
}

/// A delivery proven to come from its source: these bytes were signed with one of its secrets, just
/// now, or not so long ago that a copy accepted then would be forgotten by now.
#[derive(Debug)]
pub struct Verified {
    source: SourceName,
    uri: Arc<str>,
    provider: &'static Provider,
    inbound: Inbound,
    signature: Option<String>,
    secret: usize,
    is_late: bool,
    received_at: Timestamp,
}

impl Source {
    /// Reads the signature header's values: the check that needs no body.
    ///
    /// # Errors
    /// When the header is missing, repeated, over-long or malformed.
    pub fn read_signature<'a>(
        &self,
        values: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Claim<'_>, Rejection> {
        Ok(Claim {
            source: self,
            header: SignatureHeader::read(values)?,
        })
    }
}

impl Claim<'_> {
    /// How long ago the delivery claims to have been sent, in seconds; negative when in the future.
    #[must_use]
    pub fn age_seconds(&self, now: Timestamp) -> i64 {
        now.as_second().saturating_sub(self.header.seconds())
    }

    /// Proves the delivery. The signature is judged before the timestamp, so that a late delivery
    /// with the right signature is told apart from one with a wrong one. Of a late one it is asked
    /// from which time on, in seconds since the epoch, all accepted events are known.
    ///
    /// # Errors
    /// When no secret makes a signature, or the timestamp is in the future beyond the tolerance, or
    /// in the past beyond it and beyond what is remembered.
    pub fn verify(
        self,
        inbound: Inbound,
        now: Timestamp,
        known_since: impl FnOnce() -> i64,
    ) -> Result<Verified, Rejection> {
        let secret = self
            .matching_secret(&inbound.body)
            .ok_or(Rejection::SignatureMismatch)?;
        let (age, tolerance) = (self.age_seconds(now), seconds(self.source.tolerance));
        if age < -tolerance {
            return Err(Rejection::TimestampFuture);
        }
        let is_late = age > tolerance;
        if is_late && !self.is_remembered(&inbound.body, now, known_since) {
            return Err(Rejection::TimestampStale);
        }
        let forwarded = self.source.forward_signature;
        Ok(Verified {
            source: self.source.name.clone(),
            uri: Arc::clone(&self.source.uri),
            provider: self.source.provider,
            inbound,
            signature: forwarded.then(|| self.header.into_text()),
            secret,
            is_late,
            received_at: now,
        })
    }

    /// Whether the event would still be known, had it been accepted when it was signed. An event
    /// that was old by then is not; one without a time of its own is remembered from when it came,
    /// which by this clock may be the tolerance before it was signed.
    fn is_remembered(
        &self,
        body: &[u8],
        now: Timestamp,
        known_since: impl FnOnce() -> i64,
    ) -> bool {
        let Some(DeduplicationWindow { window, own_time }) = self.source.deduplication else {
            return false;
        };
        let signed = self.header.seconds();
        let came = signed.saturating_sub(seconds(self.source.tolerance));
        let own_time = own_time(self.source.provider.format, body);
        let from = own_time.map_or(came, |time| time.as_second().min(signed));
        now.as_second().saturating_sub(from) <= seconds(window) && from >= known_since()
    }

    /// The first secret that makes one of the signatures; every pair is tried, without early exit.
    fn matching_secret(&self, body: &[u8]) -> Option<usize> {
        self.source
            .secrets
            .iter()
            .enumerate()
            .fold(None, |found, (index, secret)| {
                let matches = self.header.matches(secret, body);
                found.or(matches.then_some(index))
            })
    }
}

/// Whole seconds, as signatures count them.
fn seconds(span: Duration) -> i64 {
    i64::try_from(span.as_secs()).unwrap_or(i64::MAX)
}

impl Verified {
    /// The source's name.
    #[must_use]
    pub fn source(&self) -> &SourceName {
        &self.source
    }

    /// The CloudEvents `source` of its event.
    #[must_use]
    pub fn uri(&self) -> &Arc<str> {
        &self.uri
    }

    /// Whose webhook it is.
    #[must_use]
    pub fn provider(&self) -> &'static Provider {
        self.provider
    }

    /// The body, as received.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.inbound.body
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

    /// When the delivery was verified.
    #[must_use]
    pub fn received_at(&self) -> Timestamp {
        self.received_at
    }

    /// Takes it apart for the event: what came with the request, and the signature header's text,
    /// where that travels along.
    #[must_use]
    pub fn into_parts(self) -> (Inbound, Option<String>) {
        (self.inbound, self.signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ONE_CODEX;

    const NOW: i64 = 1_800_000_000;
    /// More than an hour ago, which is what `remembering` asks for.
    const KNOWN_SINCE: i64 = NOW - 4000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("in range")
    }

    fn source(secrets: &[&str]) -> Source {
        Source {
            name: SourceName::parse("onecodex").expect("a slug"),
            provider: &ONE_CODEX,
            uri: ONE_CODEX.uri.into(),
            secrets: secrets
                .iter()
                .map(|text| Secret::new(text).expect("not empty"))
                .collect(),
            tolerance: Duration::from_secs(300),
            deduplication: None,
            forward_signature: true,
        }
    }

    /// The same with ids that are remembered for an hour, and a body that begins with its own time.
    fn remembering(secrets: &[&str]) -> Source {
        let own_time = |_: BodyFormat, body: &[u8]| {
            let seconds = std::str::from_utf8(body).ok()?.trim().parse().ok()?;
            Timestamp::from_second(seconds).ok()
        };
        let window = Duration::from_secs(3600);
        Source {
            deduplication: Some(DeduplicationWindow { window, own_time }),
            ..source(secrets)
        }
    }

    fn verify(source: &Source, header: &str, body: &'static [u8]) -> Result<Verified, Rejection> {
        let inbound = Inbound {
            body: Bytes::from_static(body),
            content_type: None,
            trace: TraceContext::start(false),
        };
        source
            .read_signature([header.as_bytes()].into_iter())?
            .verify(inbound, at(NOW), || KNOWN_SINCE)
    }

    fn signed(secret: &str, body: &[u8], seconds: i64) -> String {
        ONE_CODEX
            .scheme
            .sign(&Secret::new(secret).expect("not empty"), body, at(seconds))
    }

    #[test]
    fn a_right_signature_is_verified_with_its_bytes_and_header() {
        let header = signed("one", b"{}", NOW);
        let verified = verify(&source(&["one"]), &header, b"{}").expect("right");
        assert_eq!(verified.body().as_ref(), b"{}");
        assert_eq!(verified.into_parts().1, Some(header.clone()));
        let kept = Source {
            forward_signature: false,
            ..source(&["one"])
        };
        let verified = verify(&kept, &header, b"{}").expect("right");
        assert_eq!(verified.into_parts().1, None);
    }

    #[test]
    fn a_changed_byte_another_secret_or_another_time_is_a_mismatch() {
        let source = source(&["one"]);
        let header = signed("one", b"{}", NOW);
        assert_eq!(
            verify(&source, &header, b"{ }").err(),
            Some(Rejection::SignatureMismatch)
        );
        assert_eq!(
            verify(&source, &signed("two", b"{}", NOW), b"{}").err(),
            Some(Rejection::SignatureMismatch)
        );
        let later = header.replace(&NOW.to_string(), &(NOW + 1).to_string());
        assert_eq!(
            verify(&source, &later, b"{}").err(),
            Some(Rejection::SignatureMismatch)
        );
    }

    #[test]
    fn any_of_several_secrets_and_signatures_will_do() {
        let source = source(&["old", "new"]);
        assert_eq!(
            verify(&source, &signed("old", b"{}", NOW), b"{}").map(|v| v.secret()),
            Ok(0)
        );
        assert_eq!(
            verify(&source, &signed("new", b"{}", NOW), b"{}").map(|v| v.secret()),
            Ok(1)
        );
        let both = format!(
            "{} v1={}",
            signed("other", b"{}", NOW),
            &signed("new", b"{}", NOW)[16..]
        );
        assert!(
            verify(&source, &both.replace("v1=v1=", "v1="), b"{}").is_ok(),
            "{both}"
        );
    }

    #[test]
    fn the_tolerance_holds_on_both_sides_to_the_second() {
        let source = source(&["one"]);
        for (seconds, expected) in [
            (NOW - 300, None),
            (NOW + 300, None),
            (NOW - 301, Some(Rejection::TimestampStale)),
            (NOW + 301, Some(Rejection::TimestampFuture)),
            (0, Some(Rejection::TimestampStale)),
            (253_402_300_000, Some(Rejection::TimestampFuture)),
        ] {
            assert_eq!(
                verify(
                    &source,
                    &signed("one", b"{}", seconds.min(253_402_200_000)),
                    b"{}"
                )
                .err(),
                expected,
                "{seconds}"
            );
        }
    }

    #[test]
    fn a_late_one_is_let_in_as_long_as_its_event_is_remembered() {
        let source = remembering(&["one"]);
        let late = |body: &'static [u8], age: i64| {
            let header = signed("one", body, NOW - age);
            verify(&source, &header, body).map(|verified| verified.is_late())
        };
        // Its own time is 1000 s ago.
        let event = b"1799999000";
        for (age, expected) in [
            (300, Ok(false)),
            (301, Ok(true)),
            (3600, Ok(true)),
            (3601, Err(Rejection::TimestampStale)),
            (NOW, Err(Rejection::TimestampStale)),
            (-301, Err(Rejection::TimestampFuture)),
        ] {
            assert_eq!(late(event, age), expected, "signed {age} s ago");
        }
        // 3600 s ago, and a second more: the id of the second is forgotten, whenever it was signed.
        assert_eq!(late(b"1799996400", 301), Ok(true));
        assert_eq!(late(b"1799996399", 301), Err(Rejection::TimestampStale));
        assert_eq!(late(b"1799996399", 300), Ok(false));
        // Remembered from when it came, 300 s before its signature at the earliest.
        assert_eq!(late(b"{}", 3300), Ok(true));
        assert_eq!(late(b"{}", 3301), Err(Rejection::TimestampStale));
    }

    #[test]
    fn a_late_one_from_before_what_is_known_is_stale() {
        let mut source = remembering(&["one"]);
        source.deduplication.as_mut().expect("given").window = Duration::from_secs(1 << 20);
        let late = |body: &'static [u8], age: i64| {
            let header = signed("one", body, NOW - age);
            verify(&source, &header, body).map(|verified| verified.is_late())
        };
        assert_eq!(late(b"{}", 3700), Ok(true));
        assert_eq!(late(b"{}", 3701), Err(Rejection::TimestampStale));
        assert_eq!(late(b"1799996000", 3700), Ok(true));
        assert_eq!(late(b"1799995999", 3700), Err(Rejection::TimestampStale));
        assert_eq!(late(b"1799995999", 300), Ok(false));
    }

    #[test]
    fn a_wrong_signature_is_one_however_late_it_is() {
        let source = remembering(&["one"]);
        for age in [301, 3600, 4000] {
            assert_eq!(
                verify(&source, &signed("two", b"{}", NOW - age), b"{}").err(),
                Some(Rejection::SignatureMismatch)
            );
        }
    }

    #[test]
    fn stale_and_wrong_is_told_apart_from_stale_but_valid() {
        let source = source(&["one"]);
        assert_eq!(
            verify(&source, &signed("two", b"{}", NOW - 4000), b"{}").err(),
            Some(Rejection::SignatureMismatch)
        );
        assert_eq!(
            verify(&source, &signed("one", b"{}", NOW - 4000), b"{}").err(),
            Some(Rejection::TimestampStale)
        );
    }
}
