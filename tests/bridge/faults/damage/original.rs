//! A small spool whose content is known exactly, and what must be true of it after any damage.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use futures_util::future::join_all;
use hookferry::spool::{Appended, Body};

use crate::message::body;
use crate::spool::folder::{FETCHED, Files, Folder, Opened};
use crate::spool::layout::{self, Batch, FoundRecord, HEADER_BYTES};

const SINKS: [&str; 2] = ["one", "two"];
/// An event goes to both sinks, so that what one of them has settled has to be remembered. They come
/// in groups, each of which is a batch or two.
const GROUPS: usize = 3;
const EVENTS_OF_A_GROUP: usize = 4;
/// The head of a record, and what of its payload says what the rest is.
const RECORD_STRUCTURE: usize = 48;

/// How the damaged segment was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// By a spool that was closed.
    Closed,
    /// By `kill -9`, with nothing behind the last records: nobody knows that they were acknowledged.
    Killed,
    /// By a spool that was closed and has gone on in another segment since.
    Earlier,
}

/// What is done to the segment.
#[derive(Debug, Clone, Copy)]
pub enum Damage {
    /// One bit of this byte is changed.
    Bit(usize),
    /// It ends here.
    Cut(usize),
}

/// The files of a spool, and what lies in them.
#[derive(Debug)]
pub struct Original {
    left: Left,
    files: Files,
    /// The segment that is damaged, up to the end of its last batch.
    pub segment: Vec<u8>,
    batches: Vec<Batch>,
    /// The bodies of all events that were accepted, by their ids.
    bodies: BTreeMap<String, Vec<u8>>,
    /// The ids that wait, by sink.
    waiting: [BTreeSet<String>; 2],
    /// The body of the dead letter.
    dead: Vec<u8>,
}

/// The ids of events of which damage leaves nothing.
#[derive(Debug, Default)]
struct Gone {
    /// They were acknowledged for sure: each is to be counted that waits.
    lost: BTreeSet<String>,
    /// They cannot be told from such as nobody was answered for.
    torn: BTreeSet<String>,
}

impl Original {
    pub async fn make(left: Left) -> Self {
        let folder = Folder::in_memory();
        let opened = folder.open_for(&SINKS);
        let mut bodies = BTreeMap::new();
        for group in 0..GROUPS {
            let texts = (0..EVENTS_OF_A_GROUP).map(|at| text(group * EVENTS_OF_A_GROUP + at));
            append(&opened, texts.collect(), &mut bodies).await;
        }
        let ids: BTreeSet<String> = bodies.keys().cloned().collect();
        let mut waiting = [ids.clone(), ids];
        let dead = settle_some(&opened, &folder, &mut waiting).await;
        opened.close().await;
        if left == Left::Earlier {
            let opened = folder.open_for(&SINKS);
            append(&opened, vec![body("sample.uploaded", "later")], &mut bodies).await;
            opened.close().await;
            let later = ids_of(&bodies, body("sample.uploaded", "later").as_bytes());
            waiting
                .iter_mut()
                .for_each(|ids| _ = ids.insert(later.clone()));
        }
        if left == Left::Killed {
            folder.change(1, |bytes| layout::forget_evidence(bytes));
            // Of all progress nothing was written but the dead letter.
            waiting = [(); 2].map(|()| bodies.keys().cloned().collect());
            waiting[1].remove(&ids_of(&bodies, &dead));
        }
        Self::of(left, &folder, bodies, waiting, dead)
    }

    fn of(
        left: Left,
        folder: &Folder,
        bodies: BTreeMap<String, Vec<u8>>,
        waiting: [BTreeSet<String>; 2],
        dead: Vec<u8>,
    ) -> Self {
        let mut segment = fs::read(folder.segment(1)).expect("it is there");
        let batches = layout::batches(&segment);
        segment.truncate(batches.last().expect("there are").end);
        let mut files = folder.files();
        // The segment is put there as it is to be, and spares are made anew.
        files.retain(|path, _| {
            let name = path.to_string_lossy();
            !name.starts_with("spare-") && folder.path().join(path) != folder.segment(1)
        });
        Self {
            left,
            files,
            segment,
            batches,
            bodies,
            waiting,
            dead,
        }
    }

    /// Whether the byte gives the log its structure: it is of the header, of a batch's head or items,
    /// or says where a record ends.
    pub fn is_structure(&self, at: usize) -> bool {
        let is_in = |batch: &Batch| {
            let begins = |record: &FoundRecord| {
                let start = record.bytes.start;
                (start..start + RECORD_STRUCTURE).contains(&at)
            };
            batch.head.contains(&at)
                || batch.items.contains(&at)
                || batch.records.iter().any(begins)
        };
        at < HEADER_BYTES || self.batches.iter().any(is_in)
    }

    /// Whether the byte means anything: what is between the parts is never looked at.
    pub fn is_used(&self, at: usize) -> bool {
        self.is_structure(at) || self.record_at(at).is_some()
    }

    fn record_at(&self, at: usize) -> Option<&FoundRecord> {
        let mut records = self.batches.iter().flat_map(|batch| &batch.records);
        records.find(|record| record.bytes.contains(&at))
    }

    fn id_of(&self, record: &FoundRecord) -> String {
        ids_of(&self.bodies, layout::body(&self.segment, record))
    }

    /// What damage leaves nothing of.
    fn gone(&self, damage: Damage) -> Gone {
        let mut gone = Gone::default();
        let ids = |batch: &Batch| -> Vec<String> {
            batch.records.iter().map(|it| self.id_of(it)).collect()
        };
        match (damage, self.left) {
            (Damage::Bit(at), Left::Killed) if self.is_last(at) => {
                let last = self.batches.last().expect("there are");
                gone.torn.extend(ids(last));
            }
            (Damage::Bit(at), _) => gone
                .lost
                .extend(self.record_at(at).map(|it| self.id_of(it))),
            (Damage::Cut(length), Left::Earlier) => {
                let records = self.batches.iter().flat_map(|batch| &batch.records);
                let cut = records.filter(|record| record.bytes.end > length);
                gone.lost.extend(cut.map(|record| self.id_of(record)));
            }
            (Damage::Cut(length), _) => {
                let cut = self.batches.iter().filter(|batch| batch.end > length);
                gone.torn.extend(cut.flat_map(ids));
            }
        }
        gone
    }

    /// Whether a byte that means anything is of the last batch.
    fn is_last(&self, at: usize) -> bool {
        let last = self.batches.last().expect("there are");
        self.is_used(at) && at >= last.head.start
    }

    /// Opens the spool with the damage done, and asserts that what can be read is delivered, that
    /// exactly what cannot be is counted, for good, and that sending everything again ends with all
    /// of it published.
    pub async fn survives(&self, damage: Damage) {
        let folder = Folder::with(&self.files);
        let mut damaged = self.segment.clone();
        match damage {
            Damage::Bit(at) => damaged[at] ^= 1 << (at % 8),
            Damage::Cut(length) => damaged.truncate(length),
        }
        fs::write(folder.segment(1), &damaged).expect("writable");
        let opened = match Opened::at(&folder.settings(), &SINKS) {
            Ok(opened) => opened,
            Err(error) => return is_too_short(damage, &error.to_string()),
        };
        let gone = self.gone(damage);
        let counted = self.delivers(&opened, &gone).await;
        self.heals(&opened, &gone).await;
        self.has_its_letter(&opened);
        opened.close().await;
        let is_there = self.batches[0].end <= damaged.len() || self.left == Left::Earlier;
        if is_there {
            let kept = [folder.segment(1), folder.kept(1)];
            let kept = kept.iter().find_map(|path| fs::read(path).ok());
            // What lies behind its last acknowledged batch may have been cut off.
            let is_kept =
                |kept: &Vec<u8>| kept.len() >= damaged.len().min(4096) && damaged.starts_with(kept);
            let is_kept = kept.as_ref().is_some_and(is_kept);
            assert!(is_kept, "the segment is kept as it was");
        }
        assert_eq!(folder.lost().0, counted, "what is counted is durable");
    }

    /// Asserts that everything else is delivered, and counts what is not. Returns the count.
    async fn delivers(&self, opened: &Opened, gone: &Gone) -> u64 {
        // What was found in the log comes before what is new.
        let last = opened.append("the last one").await;
        let is_gone = |id: &String| gone.lost.contains(id) || gone.torn.contains(id);
        let mut lost = BTreeSet::new();
        for (sink, name) in SINKS.iter().enumerate() {
            let delivered = self.drained(opened, sink, &last).await;
            let expected = self.waiting[sink].iter().filter(|id| !is_gone(id));
            for id in expected {
                assert!(delivered.contains(id), "{id} was not delivered to {name}");
            }
            assert!(!delivered.iter().any(is_gone));
            let of_sink = gone.lost.intersection(&self.waiting[sink]);
            lost.extend(of_sink.clone().cloned());
            let counted = opened.metrics.events_lost_total.with_label_values(&[name]);
            assert_eq!(counted.get(), of_sink.count() as u64, "lost for {name}");
        }
        let counted = opened.metrics.spool_corrupt_records_total.get();
        assert_eq!(counted, lost.len() as u64);
        assert!(opened.metrics.spool_torn_batches_total.get() <= 1);
        assert_eq!(opened.metrics.spool_forgotten_ids_total.get(), 0);
        assert_balanced(opened);
        counted
    }

    /// Everything that a sink's dispatcher is given up to the last event; each with the bytes that
    /// were accepted.
    async fn drained(&self, opened: &Opened, sink: usize, last: &str) -> BTreeSet<String> {
        let mut delivered = BTreeSet::new();
        let mut after = 0;
        loop {
            let fetched = opened
                .spool
                .fetch(opened.sinks[sink], after, 100, FETCHED)
                .await;
            for record in fetched.expect("the disk is well") {
                after = record.position().sequence;
                let id = record.event().id().to_string();
                if id == last {
                    return delivered;
                }
                let body = self.bodies.get(&id).expect("an id that was accepted");
                assert_eq!(record.event().body().as_ref(), body, "{id}");
                assert!(delivered.insert(id), "it is delivered once");
            }
        }
    }

    /// Sends everything again: what is gone is new, and everything else is a duplicate.
    async fn heals(&self, opened: &Opened, gone: &Gone) {
        let again = join_all(self.bodies.values().map(|body| opened.sent(body.clone()))).await;
        for (id, again) in self.bodies.keys().zip(again) {
            let waits = self.waiting.iter().any(|ids| ids.contains(id));
            let expected = if gone.torn.contains(id) || (gone.lost.contains(id) && waits) {
                Appended::Accepted
            } else if gone.lost.contains(id) {
                // It was delivered before; whether its id is known depends on the index.
                continue;
            } else {
                Appended::Duplicate
            };
            assert_eq!(again, expected, "{id}");
        }
    }

    fn has_its_letter(&self, opened: &Opened) {
        let letters = opened.spool.view().dead_letters(None, 100, true);
        let letters = letters.expect("readable");
        let bodies: Vec<_> = letters.into_iter().map(|letter| letter.body).collect();
        assert_eq!(bodies, [Some(Body::of(&self.dead))]);
    }
}

/// A file too short to tell what it is may be refused with a remedy, and nothing else may be.
fn is_too_short(damage: Damage, said: &str) {
    let is_short = matches!(damage, Damage::Cut(1..8));
    assert!(is_short && said.contains("move it away"), "{said}");
}

fn ids_of(bodies: &BTreeMap<String, Vec<u8>>, body: &[u8]) -> String {
    let (id, _) = bodies
        .iter()
        .find(|(_, known)| *known == body)
        .expect("accepted");
    id.clone()
}

/// Appends events together.
async fn append(opened: &Opened, texts: Vec<String>, bodies: &mut BTreeMap<String, Vec<u8>>) {
    for text in &texts {
        let id = opened.routed(text.clone()).event().id().to_string();
        bodies.insert(id, text.clone().into_bytes());
    }
    let appended = join_all(texts.into_iter().map(|text| opened.sent(text))).await;
    assert!(appended.iter().all(|answer| *answer == Appended::Accepted));
}

/// One event leaves the spool, two are settled for one of their sinks, one is set aside: its body.
async fn settle_some(
    opened: &Opened,
    folder: &Folder,
    waiting: &mut [BTreeSet<String>; 2],
) -> Vec<u8> {
    let records = opened.waiting(GROUPS * EVENTS_OF_A_GROUP).await;
    for (number, sink) in [(0, 0), (0, 1), (1, 0), (2, 1)] {
        let record = records[number].clone();
        waiting[sink].remove(&record.event().id().to_string());
        opened
            .deliver(opened.sinks[sink], folder, vec![record])
            .await;
    }
    waiting[1].remove(&records[3].event().id().to_string());
    opened.set_aside(opened.sinks[1], &records[3]).await;
    records[3].event().body().to_vec()
}

fn assert_balanced(opened: &Opened) {
    opened.is_counted();
    let metrics = &opened.metrics;
    let _held = metrics.update();
    assert_eq!(metrics.events_unaccounted.get(), 0);
    for name in SINKS {
        let of = |metric: &prometheus::IntCounterVec| metric.with_label_values(&[name]).get();
        let came = of(&metrics.events_spooled_total) + of(&metrics.events_recovered_total);
        let waits = metrics.spool_events.with_label_values(&[name]).get();
        let went = of(&metrics.events_lost_total);
        assert_eq!(came, went + u64::try_from(waits).unwrap(), "{name}");
    }
}

/// The body of an event: one is larger than a block, one cannot be understood.
fn text(number: usize) -> String {
    match number {
        5 => "no event at all".to_owned(),
        4 => {
            let padding = "x".repeat(5000);
            body("sample.uploaded", &format!("o{number}")).replace("gr\\u00fcn", &padding)
        }
        _ => body("sample.uploaded", &format!("o{number}")),
    }
}
