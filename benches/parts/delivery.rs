//! Deliveries as the provider sends them, and what the path makes of them up to the part that is
//! measured. No two are of the same event.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use hookferry::event::Event;
use hookferry::name::SourceName;
use hookferry::source::{
    Claim, DeliveryHead, Inbound, MAX_SECRETS, ONE_CODEX, Secret, Source, Verified,
};
use hookferry::trace::TraceContext;
use jiff::{SignedDuration, Timestamp};

/// The sizes of the bodies, in bytes, as the names of the benchmarks spell them.
pub const SIZES: [(usize, &str); 4] = [
    (512, "512 B"),
    (KIB, "1 KiB"),
    (16 * KIB, "16 KiB"),
    (256 * KIB, "256 KiB"),
];
/// The unit of the sizes, and the usual size of an event.
pub const KIB: usize = 1024;

/// Spreads the objects' ids over all their 64 bits, each number to another: it is odd.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

static EVENTS: AtomicI64 = AtomicI64::new(0);

/// The body of a new event, of exactly so many bytes and of 475 at least: as the documented
/// `sample.uploaded`, with more tags the larger it is.
pub fn body(bytes: usize) -> Bytes {
    let number = EVENTS.fetch_add(1, Ordering::Relaxed);
    let triggered_at = Timestamp::now() + SignedDuration::from_micros(number);
    let object = number.unsigned_abs().wrapping_mul(SPREAD);
    let mut text = format!(
        "{{\"api_version\":\"v1\",\"event_type\":\"sample.uploaded\",\"object_type\":\"sample\",\
         \"triggered_at\":\"{triggered_at:.6}\",\"object\":{{\"$uri\":\"/api/v1/samples/{object:016x}\",\
         \"created_at\":\"2026-03-02T09:14:58.596555-08:00\",\
         \"metadata\":{{\"$ref\":\"/api/v1/metadata/{:016x}\"}},\
         \"owner\":{{\"$ref\":\"/api/v1/users/4ada56103d9a48b8\"}},\
         \"project\":null,\"size\":181687821,\"visibility\":\"private\",\"status\":\"available\",\"tags\":[",
        object.rotate_left(32)
    );
    let end = "],\"filename\":\".fastq.gz\"}}";
    let mut left = bytes.saturating_sub(text.len() + end.len());
    for number in 0.. {
        let comma = if number == 0 { "" } else { "," };
        let id = SPREAD.wrapping_mul(number);
        let tag = format!("{comma}{{\"$ref\":\"/api/v1/tags/{id:016x}\"}}");
        if tag.len() > left {
            break;
        }
        left -= tag.len();
        text.push_str(&tag);
    }
    let _ = write!(text, "],\"filename\":\"{}.fastq.gz\"}}}}", "S".repeat(left));
    assert_eq!(text.len(), bytes, "a body has room for an event");
    text.into()
}

/// A source with so many secrets.
pub fn source(secrets: usize) -> Source {
    let name = SourceName::parse("onecodex").expect("a slug");
    Source::new(name, ONE_CODEX.clone(), (0..secrets).map(secret).collect())
}

fn secret(number: usize) -> Secret {
    Secret::new(&format!("whsec_2b7e151628aed2a6_{number}")).expect("not empty")
}

/// A signature header with so many signatures, of which the last is by the source's last secret and
/// the others by nobody's.
pub fn signature(source: &Source, body: &[u8], signatures: usize) -> DeliveryHead {
    let now = Timestamp::now();
    let scheme = &source.provider.signature;
    let mut header = format!("t={}", now.as_second());
    let strangers = (0..signatures - 1).map(|number| secret(MAX_SECRETS + number));
    for secret in strangers.chain(source.secrets.last().cloned()) {
        let signed = scheme.sign(&secret, body, now);
        let (_, tag) = signed.split_once(' ').expect("a time and a signature");
        let _ = write!(header, " {tag}");
    }
    let name = &source.provider.signature.headers[0];
    DeliveryHead::of(vec![(name.clone(), header)])
}

/// Reads a header.
pub fn claim<'a>(source: &'a Source, head: &DeliveryHead) -> Claim<'a> {
    source.read_signature(head).expect("well-formed")
}

/// What comes with a request.
pub fn inbound(body: Bytes, trace: TraceContext) -> Inbound {
    Inbound {
        body,
        content_type: Some("application/json".to_owned()),
        trace,
    }
}

/// A delivery that is proven.
pub fn verified(source: &Source, body: Bytes) -> Verified {
    let header = signature(source, &body, 1);
    let trace = TraceContext::start(false);
    claim(source, &header)
        .verify(inbound(body, trace), Timestamp::now(), || i64::MIN)
        .expect("signed just now")
}

/// A new event whose body has so many bytes.
pub fn event(source: &Source, bytes: usize) -> Event {
    Event::read(verified(source, body(bytes)))
}
