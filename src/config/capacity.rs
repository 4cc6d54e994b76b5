//! Whether the largest delivery that a `max_body` allows finds a place everywhere behind the listener.
//! Where it did not, it would be answered 503, or hold its sink up, for ever.

use super::max_body::LargestBody;
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
    body: &LargestBody,
    ingress: &IngressSettings,
    spool: &SpoolBounds,
    sinks: &Named<SinkSettings>,
    problems: &mut ConfigProblems,
) {
    let LargestBody {
        key: body_key,
        bytes,
    } = body;
    let memory = ingress.guard.max_body_bytes_in_flight as u64;
    if memory < *bytes {
        problems.add(
            "ingress.max_body_memory",
            format!("{memory} bytes are less than one body of {body_key} ({bytes} bytes) takes"),
            format!("give at least as much as {body_key}, and as much for each request that is to be answered at once"),
        );
    }
    let largest = bytes + BESIDES_BODY_BYTES;
    let mut check = |key: String, bound: u64, least: u64| {
        if bound < least {
            problems.add(
                key,
                format!(
                    "a delivery may have {bytes} bytes ({body_key}), for which this is too little"
                ),
                format!(
                    "give at least \"{}KiB\", or lower {body_key}",
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

#[cfg(test)]
mod tests {
    use crate::config::parse;

    #[test]
    fn the_largest_body_of_any_source_finds_a_place_everywhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().display();
        let said = |ingress: &str, source: &str, size: &str| {
            let text = format!(
                "[ingress]\n{ingress}\n[spool]\npath = \"{folder}/spool\"\nmax_size = \"{size}\"\n[source.a]\nprovider = \"onecodex\"\nsecrets = [{{ env = \"PATH\" }}]\n{source}\n[sink.s]\ntype = \"store\"\npath = \"{folder}/topics\"\nmax_size = \"{size}\"\n[[route]]\nsource = \"a\"\nsinks = [\"s\"]"
            );
            let problems = parse(&text, &|_| None).err();
            problems.map_or_else(String::new, |problems| problems.to_string())
        };
        let small = "max_body_memory = \"2MiB\"";
        assert_eq!(said(small, "", "32MiB"), "");
        assert_eq!(said("", "max_body = \"8MiB\"", "32MiB"), "");
        let found = said(small, "max_body = \"25MiB\"", "32MiB");
        for key in [
            "ingress.max_body_memory",
            "spool.max_size",
            "sink.s.max_size",
        ] {
            let mut lines = found.lines();
            let line = lines.find(|line| line.starts_with(&format!("{key}: ")));
            let line = line.unwrap_or_else(|| panic!("{key} is not in {found}"));
            assert!(
                line.contains("source.a.max_body") && line.contains("26214400"),
                "{line}"
            );
        }
        let found = said("max_body_memory = \"1023KiB\"", "", "32MiB");
        assert!(found.starts_with("ingress.max_body_memory: "), "{found}");
        assert!(
            found.contains("ingress.max_body (1048576 bytes)"),
            "{found}"
        );
    }
}
