//! What must hold for any bytes at all: one function for each place where the bridge reads what
//! somebody else may have written. The tests run them over the corpora and mutations of these;
//! cargo-fuzz runs the same functions from `fuzz/`.
//!
//! Each panics where a property does not hold.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hookferry::config;
use hookferry::event::{Content, Event, QuarantineReason, SinkSet};
use hookferry::metrics::Metrics;
use hookferry::name::{EventType, ObjectId, SinkName, SourceName};
use hookferry::route::{Route, Router};
use hookferry::source::{Inbound, ONE_CODEX, Rejection, Secret, SignatureHeader, Source, Verified};
use hookferry::spool::{
    Appended, Duplicates, Limits, Milestone, Place, Record, Settings, Spool, SpoolError,
};
use hookferry::trace::TraceContext;
use jiff::Timestamp;
use rusqlite::Connection;
use rusqlite::types::Value;

use super::reference;

/// A moment that all of them agree on.
const NOW: i64 = 1_492_774_577;
/// The longest that an event which is there is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

fn now() -> Timestamp {
    Timestamp::from_second(NOW).expect("in 2017")
}

fn source() -> Source {
    Source {
        name: SourceName::parse("fuzz").expect("a name"),
        provider: &ONE_CODEX,
        uri: "https://example.org".into(),
        secrets: vec![Secret::new("whsec_test_secret").expect("not empty")],
        // Signatures of any time: what is looked at is what the header says.
        tolerance: Duration::from_secs(u64::MAX >> 1),
    }
}

fn inbound(body: &[u8]) -> Inbound {
    Inbound {
        body: body.to_vec().into(),
        content_type: None,
        trace: TraceContext::start(false),
    }
}

/// The signature header: reads as the reference does, and proves what it should and nothing else.
///
/// Each `@` in the input stands for the right signature, which chance would never find.
pub fn header(data: &[u8]) {
    const BODY: &[u8] = b"{}";
    let source = source();
    let with = |tag: &str| -> Vec<u8> {
        let pieces: Vec<&[u8]> = data.split(|byte| *byte == b'@').collect();
        pieces.join(tag.as_bytes())
    };
    let digits = reference::parse(&with(&"0".repeat(64))).map(|parsed| parsed.digits);
    let right = digits.map_or_else(
        |_| "0".repeat(64),
        |digits| hex::encode(source.secrets[0].sign(&[digits.as_bytes(), b".", BODY])),
    );
    let value = with(&right);
    let expected = reference::parse(&value);
    let read = SignatureHeader::read([value.as_slice()].into_iter());
    let claim = match (&read, &expected) {
        (Ok(header), Ok(parsed)) => {
            assert_eq!(header.digits(), parsed.digits);
            assert_eq!(header.seconds().to_string(), decimal(&parsed.digits));
            assert_eq!(header.text().as_bytes(), value, "it travels as it came");
            source
                .read_signature([value.as_slice()].into_iter())
                .expect("it was read before")
        }
        (Err(rejection), Err(reason)) => {
            assert!(Rejection::ALL.contains(rejection));
            assert_eq!(rejection.reason(), *reason);
            return;
        }
        other => panic!("the two parsers disagree: {other:?}"),
    };
    let signed = expected.is_ok_and(|parsed| parsed.tags.contains(&right));
    match claim.verify(inbound(BODY), now()) {
        Ok(_) => assert!(signed, "proven by no signature"),
        Err(Rejection::SignatureMismatch) => assert!(!signed, "a right signature is refused"),
        Err(other) => panic!("a signature of any time is taken here: {other:?}"),
    }
}

/// Digits as a number would be written.
fn decimal(digits: &str) -> String {
    match digits.trim_start_matches('0') {
        "" => "0".to_owned(),
        rest => rest.to_owned(),
    }
}

fn verified(body: &[u8]) -> Verified {
    let source = source();
    let value = ONE_CODEX.scheme.sign(&source.secrets[0], body, now());
    let claim = source.read_signature([value.as_bytes()].into_iter());
    claim
        .expect("well-formed")
        .verify(inbound(body), now())
        .expect("signed")
}

/// A signed body: it is kept as it came, under an id that does not change, and it either says where
/// it belongs, in names that cannot do harm, or why nobody knows.
pub fn event(data: &[u8]) {
    let event = Event::read(verified(data));
    assert!(*event.body() == data, "the very bytes");
    let again = Event::read(verified(data));
    assert_eq!(event.id(), again.id());
    assert_eq!(event.ordering_key(), again.ordering_key());
    match event.content() {
        Content::Understood(content) => {
            assert!(is_plain(content.event_type.as_str(), 100, "._-"));
            assert!(is_plain(content.object_id.as_str(), 64, "_-"));
            EventType::parse(content.event_type.as_str()).expect("parsed before");
            ObjectId::parse(content.object_id.as_str()).expect("parsed before");
            assert!(content.triggered_at >= Timestamp::UNIX_EPOCH);
            let plain: Result<serde_json::Value, _> = serde_json::from_slice(data);
            let plain = plain.expect("what is understood is JSON to every parser");
            assert_eq!(plain["event_type"], content.event_type.as_str());
        }
        Content::Quarantined(quarantine) => {
            assert!(QuarantineReason::ALL.contains(&quarantine.reason));
            assert!(quarantine.detail.len() <= 200);
            assert!(quarantine.detail.bytes().all(|b| matches!(b, b' '..=b'~')));
        }
    }
}

fn is_plain(text: &str, most: usize, besides: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || besides.contains(c);
    (1..=most).contains(&text.len()) && text.chars().all(plain)
}

/// A configuration: settings that serve something, or problems, each with its place and a remedy.
pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // A file that names another could name any: none is opened here but what cannot be there.
    if text.contains("file") && !text.contains("/nowhere/") {
        return;
    }
    match config::parse(text, &|name| {
        name.starts_with('S').then(|| "secret".to_owned())
    }) {
        Ok(settings) => {
            assert!(!settings.sources.is_empty() && !settings.sinks.is_empty());
            assert!(!settings.routes.is_empty());
            assert!(settings.ingress.workers > 0 && settings.ingress.max_connections > 0);
        }
        Err(problems) => {
            let said = problems.to_string();
            assert!(!problems.is_empty() && !said.is_empty());
            for problem in problems.iter() {
                assert!(!problem.path.is_empty(), "nowhere: {problem}");
                assert!(
                    !problem.found.is_empty() && !problem.remedy.is_empty(),
                    "{problem}"
                );
            }
        }
    }
}

/// The columns of one record, from bytes: which column is another than was written, and by what.
struct Change<'a> {
    column: &'static str,
    value: &'a [u8],
    kind: u8,
}

impl<'a> Change<'a> {
    fn of(data: &'a [u8]) -> Option<Self> {
        let (choice, value) = data.split_first()?;
        let (kind, value) = value.split_first()?;
        let columns = ["seq", "sinks", "crc", "head", "body"];
        Some(Self {
            column: columns[usize::from(*choice) % columns.len()],
            value,
            kind: *kind,
        })
    }

    fn value(&self) -> Value {
        let mut number = [0; 8];
        for (to, from) in number.iter_mut().zip(self.value) {
            *to = *from;
        }
        let number = i64::from_le_bytes(number);
        match (self.column, self.kind % 4) {
            // Sequences begin at 1; SQLite takes nothing but a number for one.
            ("seq", _) => Value::Integer(number.max(1)),
            (_, 0) => Value::Blob(self.value.to_vec()),
            (_, 1) => Value::Integer(number),
            (_, 2) => Value::Text(String::from_utf8_lossy(self.value).into_owned()),
            _ => Value::Real(f64::from_bits(number.cast_unsigned())),
        }
    }
}

/// The events of the spool that is changed.
fn bodies() -> [Vec<u8>; 2] {
    ["42", "43"].map(|second| {
        format!(
            "{{\"event_type\":\"sample.uploaded\",\"object_type\":\"sample\",\"triggered_at\":\"2026-03-02T09:15:{second}Z\",\"object\":{{\"$uri\":\"/api/v1/samples/7428cca4a3a04a8e\"}}}}"
        )
        .into_bytes()
    })
}

/// A record in the spool whose columns are no longer what was written: it comes out as it went in,
/// with its damage counted or without, or is set aside or lost and counted, and an intact one beside
/// it comes out in any case.
pub fn record(data: &[u8]) {
    let Some(change) = Change::of(data) else {
        return;
    };
    let folder = folder();
    let path = folder.path().join("spool.db");
    std::fs::write(&path, pristine()).expect("writable");
    let connection = Connection::open(&path).expect("it is a spool");
    let statement = format!(
        "UPDATE OR IGNORE record SET {} = ?1 WHERE seq = (SELECT min(seq) FROM record)",
        change.column
    );
    // NOT NULL and the primary key refuse some values: then nothing is changed.
    let _ = connection.execute(&statement, [change.value()]);
    connection.close().expect("closed");
    runtime().block_on(reopened(&path));
}

async fn reopened(path: &Path) {
    let metrics = Arc::new(Metrics::new().expect("a registry of its own"));
    let spool = open(path, &metrics).expect("damage is no error");
    let sink = spool.sink(&sink_name()).expect("configured");
    let mut found = 0;
    let mut after = 0;
    let all = async {
        loop {
            let records = spool.fetch(sink, after, 10).await.expect("it is open");
            for record in records {
                assert!(is_intact(&record), "another record came out: {record:?}");
                found += 1;
                after = record.position().sequence;
            }
            let set_aside = metrics.spool_corrupt_records_total.get();
            if found + set_aside >= 2 {
                return set_aside;
            }
        }
    };
    let set_aside = tokio::time::timeout(PATIENCE, all)
        .await
        .expect("each record is found or counted");
    assert!(found >= 1, "the intact record is lost with the other");
    assert!(set_aside <= 1, "a record is counted twice");
    spool.close().await;
}

/// Everything but the trace, which is begun anew at each reading.
fn is_intact(record: &Record) -> bool {
    let event = record.event();
    let written = Event::read(verified(event.body()));
    bodies().iter().any(|body| event.body() == body)
        && event.id() == written.id()
        && event.content() == written.content()
        && event.signature() == written.signature()
        && event.received_at() == written.received_at()
}

/// In memory, where there is such a place: nobody pulls the plug here, and syncs take time.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    folder.expect("writable")
}

fn sink_name() -> SinkName {
    SinkName::parse("sink").expect("a name")
}

fn open(path: &Path, metrics: &Arc<Metrics>) -> Result<Spool, SpoolError> {
    let settings = Settings {
        place: Place::File(PathBuf::from(path)),
        limits: Limits {
            max_events: 100,
            max_bytes: 1 << 20,
            duplicates: Duplicates::Suppress,
            window: Duration::from_secs(86_400),
        },
    };
    Spool::open(settings, &[sink_name()], Arc::clone(metrics)).map(|(spool, _)| spool)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// The bytes of a spool with two records, written by the spool itself.
fn pristine() -> &'static [u8] {
    static SPOOL: OnceLock<Vec<u8>> = OnceLock::new();
    SPOOL.get_or_init(|| {
        let folder = folder();
        let path = folder.path().join("spool.db");
        runtime().block_on(async {
            let metrics = Arc::new(Metrics::new().expect("a registry of its own"));
            let spool = open(&path, &metrics).expect("a new file");
            for body in bodies() {
                append(&spool, &body).await;
            }
            spool.close().await;
        });
        // The last one to close it has put the log into the file.
        std::fs::read(&path).expect("readable")
    })
}

async fn append(spool: &Spool, body: &[u8]) {
    let route = Route {
        source: source().name,
        event_types: None,
        sinks: SinkSet::from_bits(0).with(spool.sink(&sink_name()).expect("configured")),
    };
    let router = Router::new(vec![route], HashMap::new());
    let routed = router.route(Event::read(verified(body)));
    let appended = spool.append(routed, Milestone::Spooled).await;
    assert!(matches!(appended, Ok(Appended::Accepted)), "{appended:?}");
}
