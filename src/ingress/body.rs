//! The body of a request: read once, within its limits and its deadline.

use actix_web::dev::{Payload, RequestHead};
use actix_web::http::header;
use actix_web::web::Bytes;
use futures_util::StreamExt as _;

use super::in_flight::InFlightPermit;
use super::problem::RequestProblem;
use super::rules::RequestLimits;

/// What the headers promise about the body, before any of it is read.
pub(super) fn check_headers(head: &RequestHead, max_bytes: usize) -> Result<(), RequestProblem> {
    let mut encodings = head.headers().get_all(header::CONTENT_ENCODING);
    if !encodings.all(|value| is_no_encoding(value.as_bytes())) {
        return Err(RequestProblem::ContentEncoding);
    }
    match declared_length(head) {
        Some(length) if length > max_bytes as u64 => Err(RequestProblem::BodyTooLarge),
        _ => Ok(()),
    }
}

/// Whether this `Content-Encoding` says that nothing is encoded. `identity` is no coding that a sender
/// should name (RFC 9110, section 8.4.1), but some do, and some send the header empty.
fn is_no_encoding(value: &[u8]) -> bool {
    let mut codings = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    codings.all(|coding| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity"))
}

/// The length that the body has by its header. The server has refused one that is no number.
fn declared_length(head: &RequestHead) -> Option<u64> {
    let length = head.headers().get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.trim().parse().ok()
}

/// The whole body, in memory of its own size, which is taken as the body arrives: a chunk would keep
/// the connection's whole buffer alive.
pub(super) async fn read(
    head: &RequestHead,
    payload: &mut Payload,
    permit: &mut InFlightPermit<'_>,
    limits: &RequestLimits,
) -> Result<Bytes, RequestProblem> {
    let body = Body {
        bytes: Vec::new(),
        length: declared_length(head).and_then(|length| usize::try_from(length).ok()),
        permit,
        limits,
    };
    tokio::time::timeout(limits.body_timeout, body.collect(payload))
        .await
        .map_err(|_| RequestProblem::BodyTimeout)?
}

/// Bodies of at most so many bytes are small.
const SMALL_BODY_BYTES: usize = 64 << 10;
/// This part of the memory of all bodies is for small ones alone: large bodies that somebody sends without
/// a secret, and never ends, do not keep them out. One body of the largest size fits all the same.
const SMALL_BODY_PART: usize = 8;

/// How much memory all bodies may take together where one of this length takes some.
fn memory_for(length: usize, limits: &RequestLimits) -> usize {
    let all = limits.max_body_bytes_in_flight;
    if length <= SMALL_BODY_BYTES {
        all
    } else {
        (all - all / SMALL_BODY_PART).max(limits.max_body_bytes)
    }
}

/// A body that is being read.
struct Body<'a, 'b> {
    bytes: Vec<u8>,
    /// How long it will be, where its header says so.
    length: Option<usize>,
    permit: &'a mut InFlightPermit<'b>,
    limits: &'a RequestLimits,
}

impl Body<'_, '_> {
    async fn collect(mut self, payload: &mut Payload) -> Result<Bytes, RequestProblem> {
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| RequestProblem::BodyTruncated)?;
            self.reserve(chunk.len())?;
            self.bytes.extend_from_slice(&chunk);
        }
        Ok(self.bytes.into_boxed_slice().into())
    }

    /// Takes memory for the next bytes: twice as much as before, and no more than the body can need.
    fn reserve(&mut self, next: usize) -> Result<(), RequestProblem> {
        let (length, capacity) = (self.bytes.len() + next, self.bytes.capacity());
        if length > self.limits.max_body_bytes {
            return Err(RequestProblem::BodyTooLarge);
        }
        if length > capacity {
            let most = self.length.unwrap_or(self.limits.max_body_bytes);
            let wanted = (2 * capacity).min(most).max(length);
            let memory = memory_for(self.length.unwrap_or(wanted), self.limits);
            if !self.permit.reserve(wanted - capacity, memory) {
                return Err(RequestProblem::Overloaded);
            }
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_part_of_the_memory_is_for_small_bodies_and_one_of_the_largest_fits() {
        let limits = |max_body_bytes, max_body_bytes_in_flight| RequestLimits {
            max_body_bytes,
            body_timeout: Duration::from_secs(10),
            max_in_flight: 1,
            max_body_bytes_in_flight,
        };
        let usual = limits(1 << 20, 64 << 20);
        assert_eq!(memory_for(SMALL_BODY_BYTES, &usual), 64 << 20);
        assert_eq!(memory_for(SMALL_BODY_BYTES + 1, &usual), 56 << 20);
        assert_eq!(memory_for(1 << 20, &limits(1 << 20, 1 << 20)), 1 << 20);
    }

    #[test]
    fn a_body_of_which_nothing_is_encoded_is_taken() {
        for value in ["", " ", "identity", "Identity", "IDENTITY, identity", ","] {
            assert!(is_no_encoding(value.as_bytes()), "{value:?}");
        }
        for value in ["gzip", "identity, gzip", "identit", "identity;q=1"] {
            assert!(!is_no_encoding(value.as_bytes()), "{value:?}");
        }
    }
}
