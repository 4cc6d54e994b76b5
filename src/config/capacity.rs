//! Whether a delivery as large as `ingress.max_body` allows finds a place everywhere behind the
//! listener. Where it did not, it would be answered 503, or hold its sink up, for ever.

use super::named::Named;
use super::problem::ConfigProblems;
use super::settings::{IngressSettings, SinkKind, SinkSettings};
use super::spool::SpoolBounds;
use crate::log::segment::segment_bytes;

/// What a record or message may have besides the body, in bytes: identifiers, headers, block sizes.
const BESIDES_BODY_BYTES: u64 = 64 << 10;
/// Segments that a log has besides the files of records that fit into none: the active one, the one
/// before it, and the spares that are made ahead.
const OTHER_SEGMENTS: u64 = 4;
/// Such files at once: the next one is made before the last one can go.
const LARGE_RECORDS: u64 = 2;

/// Notes each bound that the largest body does not fit into.
pub(super) fn check(
    ingress: &IngressSettings,
    spool: &SpoolBounds,
    sinks: &Named<SinkSettings>,
    problems: &mut ConfigProblems,
) {
    let largest = ingress.max_body_bytes as u64 + BESIDES_BODY_BYTES;
    let mut check = |key: String, bound: u64, least: u64| {
        if bound < least {
            problems.add(
                key,
                format!(
                    "a delivery may have {} bytes (ingress.max_body), for which this is too little",
                    ingress.max_body_bytes
                ),
                format!(
                    "give at least \"{}KiB\", or lower ingress.max_body",
                    least.div_ceil(1024)
                ),
            );
        }
    };
    let segment = |bound| spool.location.segment_bytes(bound);
    let least = least_log(spool.max_bytes, largest, segment);
    check("spool.max_size".into(), spool.max_bytes, least);
    for sink in &sinks.read {
        match &sink.kind {
            SinkKind::Store(store) => {
                let bound = store.max_size_bytes;
                let least = least_log(bound, largest, segment_bytes);
                check(format!("sink.{}.max_size", sink.name), bound, least);
            }
            SinkKind::Kafka(_) | SinkKind::RabbitMq(_) => {}
        }
    }
}

/// What a log must be allowed to have for records of this size, where less than that is allowed: its
/// segments grow with what it may have.
fn least_log(bound: u64, largest: u64, segment_bytes: impl Fn(u64) -> u64) -> u64 {
    let needed = |bound| OTHER_SEGMENTS * segment_bytes(bound) + LARGE_RECORDS * largest;
    let mut least = bound;
    while needed(least) > least {
        least = needed(least);
    }
    least
}
