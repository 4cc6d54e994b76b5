//! Whether a delivery as large as `ingress.max_body` allows finds a place everywhere behind the
//! listener. Where it did not, it would be answered 503, or hold its sink up, for ever.

use super::named::Named;
use super::problem::Problems;
use super::settings::{IngressSettings, SinkKind, SinkSettings};
use super::spool::SpoolPlace;
use crate::log::segment::segment_bytes;

/// What a record or message may have besides the body, in bytes: identifiers, headers, block sizes.
const BESIDES_BODY_BYTES: u64 = 64 << 10;
/// Segments that a log has besides the file of a record that fits into none: the active one, the one
/// before it, and the spares that are made ahead.
const OTHER_SEGMENTS: u64 = 4;

/// Notes each bound that the largest body does not fit into.
pub(super) fn check(
    ingress: &IngressSettings,
    spool: &SpoolPlace,
    sinks: &Named<SinkSettings>,
    problems: &mut Problems,
) {
    let largest = ingress.max_body_bytes as u64 + BESIDES_BODY_BYTES;
    let mut check = |key: String, bound: u64, least: u64| {
        if bound < least {
            problems.add(
                key,
                format!(
                    "a delivery may have {} bytes (ingress.max_body), and one of that size would not fit",
                    ingress.max_body_bytes
                ),
                format!(
                    "give at least \"{}KiB\", or lower ingress.max_body",
                    least.div_ceil(1024)
                ),
            );
        }
    };
    let log = |bound: u64| OTHER_SEGMENTS * segment_bytes(bound) + largest;
    check(
        "spool.max_size".into(),
        spool.max_bytes,
        log(spool.max_bytes),
    );
    for sink in &sinks.read {
        match &sink.kind {
            SinkKind::Kafka(kafka) => {
                let key = format!("sink.{}.max_queued_bytes", sink.name);
                check(key, kafka.max_queued_bytes, largest);
            }
            SinkKind::Store(store) => {
                let (key, bound) = (format!("sink.{}.max_size", sink.name), store.max_size_bytes);
                check(key, bound, log(bound));
            }
            SinkKind::RabbitMq(_) => {}
        }
    }
}
