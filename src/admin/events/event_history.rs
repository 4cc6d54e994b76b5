//! Everything that is known of one event.

use std::collections::{HashMap, VecDeque};

use jiff::Timestamp;
use serde::Serialize;

use super::remembered_ids::{Knowledge, RememberedIds};
use super::spool_search::SpoolSearch;
use super::step::{self, Step, What};
use crate::event::{Content, Event, EventId, SinkIndex, SinkSet};
use crate::history::{DeliveryRecord, Record, SinkRecord, SinkStep};
use crate::name::SinkName;
use crate::pipeline::Pipeline;
use crate::spool::{DeadLetterName, InspectionError, Spool};

/// The most steps that are shown, the newest: while a broker is away for days, an event is tried often.
const MAX_STEPS: usize = 500;

/// What is known of an event.
#[derive(Debug, Serialize)]
pub(super) struct EventHistory {
    id: EventId,
    known: Knowledge,
    source: Option<String>,
    event_type: Option<String>,
    object_id: Option<String>,
    /// In the order of time.
    steps: VecDeque<Step>,
    waiting: Vec<WaitingCopy>,
    dead_letters: Vec<SetAside>,
    notes: Vec<String>,
    /// Since when memory knows of events.
    memory_since: Timestamp,
    #[serde(skip)]
    sinks: SinkSet,
    /// The sinks that are done with it, and since when.
    #[serde(skip)]
    ended_at: HashMap<SinkIndex, Timestamp>,
    /// Whether how it was delivered is still in memory.
    #[serde(skip)]
    is_delivery_known: bool,
}

/// The event where it waits in the spool.
#[derive(Debug, Serialize)]
struct WaitingCopy {
    sequence: u64,
    sinks: Vec<SinkName>,
}

/// The event as a dead letter.
#[derive(Debug, Serialize)]
struct SetAside {
    name: DeadLetterName,
    sink: SinkName,
    reason: String,
    detail: String,
    set_aside_at: Option<Timestamp>,
}

impl EventHistory {
    /// Puts together what memory and spool know.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn read(
        id: EventId,
        ids: &RememberedIds,
        pipeline: &Pipeline,
    ) -> Result<Self, InspectionError> {
        let mut history = Self::nothing_of(id, pipeline.recorder.events_since());
        let mut is_cut = false;
        pipeline.recorder.read_events(|record| {
            history.take_in(record, &pipeline.spool);
            is_cut |= history.drop_oldest();
        });
        if is_cut {
            let text = format!("Only the last {MAX_STEPS} steps are shown.");
            history.notes.push(text);
        }
        let sequences = ids.sequences.as_deref().unwrap_or_default();
        let in_spool = SpoolSearch::of_event(&pipeline.spool.view(), id, sequences)?;
        let is_whole = in_spool.is_whole;
        history.notes.extend(in_spool.note());
        history.take_in_spool(in_spool);
        history.put_in_order();
        if history.steps.is_empty() && history.dead_letters.is_empty() {
            let (known, note) = ids.tell(id, is_whole);
            history.known = known;
            history.notes.push(note);
        }
        if history.known != Knowledge::Memory || !history.is_delivery_known {
            let text = format!("Memory reaches back to {:.0}.", history.memory_since);
            history.notes.push(text);
        }
        Ok(history)
    }

    /// Sorts the steps by their times. The time of a commit is when the request heard of it; the event was
    /// on the disk before anybody was handed it.
    fn put_in_order(&mut self) {
        let steps = self.steps.make_contiguous();
        steps.sort_by_key(|step| step.at);
        // By then nobody can have been handed the event of this delivery.
        let mut received_at = None;
        for at in 0..steps.len() {
            match steps[at].what {
                What::Received { .. } => received_at = steps[at].at,
                What::Spooled => {
                    let handed = steps.iter().find(|step| {
                        matches!(step.what, What::Published { .. }) && step.at >= received_at
                    });
                    let handed_at = handed.and_then(|step| step.at);
                    steps[at].at = handed_at.map_or(steps[at].at, |it| steps[at].at.min(Some(it)));
                }
                _ => {}
            }
        }
        steps.sort_by_key(|step| (step.at, step.what != What::Spooled));
    }

    fn nothing_of(id: EventId, memory_since: Timestamp) -> Self {
        Self {
            id,
            known: Knowledge::Unknown,
            source: None,
            event_type: None,
            object_id: None,
            steps: VecDeque::new(),
            waiting: Vec::new(),
            dead_letters: Vec::new(),
            notes: Vec::new(),
            memory_since,
            sinks: SinkSet::default(),
            ended_at: HashMap::new(),
            is_delivery_known: false,
        }
    }

    fn take_in(&mut self, record: Record<'_>, spool: &Spool) {
        match record {
            Record::Delivery(delivery) => self.take_in_delivery(&delivery),
            Record::Sink(record) => self.take_in_sink(record, spool),
        }
    }

    fn take_in_delivery(&mut self, delivery: &DeliveryRecord<'_>) {
        let Some(event) = delivery.event.filter(|event| event.id == self.id) else {
            return;
        };
        (self.known, self.is_delivery_known) = (Knowledge::Memory, true);
        self.source = Some(delivery.source.to_owned());
        self.event_type = event.event_type.map(str::to_owned);
        self.object_id = event.object_id.map(str::to_owned);
        self.sinks = self.sinks.union(event.sinks);
        self.steps.extend(step::of_delivery(delivery));
    }

    fn take_in_sink(&mut self, record: SinkRecord<'_>, spool: &Spool) {
        let sink = record.sink;
        let is_of_all = record.id.is_none() && self.is_outstanding(sink);
        if record.id != Some(self.id) && !is_of_all {
            return;
        }
        self.known = Knowledge::Memory;
        match record.step {
            SinkStep::Confirmed { .. } | SinkStep::DeadLettered { .. } | SinkStep::Discarded => {
                self.ended_at.insert(sink, record.at);
            }
            // It is recorded once it is done, and the event may be confirmed again by then.
            SinkStep::Requeued => {
                let has_ended = self.ended_at.get(&sink);
                if has_ended.is_some_and(|ended_at| *ended_at <= record.at) {
                    self.ended_at.remove(&sink);
                }
            }
            SinkStep::Published | SinkStep::Failed { .. } => {}
        }
        let mut names = spool.sinks().iter();
        if let Some((_, name)) = names.find(|(index, _)| *index == sink) {
            self.steps.push_back(step::of_sink(record, name.clone()));
        }
    }

    fn is_outstanding(&self, sink: SinkIndex) -> bool {
        self.sinks.contains(sink) && !self.ended_at.contains_key(&sink)
    }

    fn drop_oldest(&mut self) -> bool {
        let beyond = self.steps.len().saturating_sub(MAX_STEPS);
        self.steps.drain(..beyond);
        beyond > 0
    }

    fn take_in_spool(&mut self, found: SpoolSearch) {
        let waiting = found.waiting.first().map(|it| &it.event);
        let letter = found.dead_letters.iter().find_map(|it| it.event.as_ref());
        if let Some(event) = waiting.or(letter)
            && !self.is_delivery_known
        {
            self.take_in_event(event);
        }
        self.waiting = found
            .waiting
            .into_iter()
            .map(|it| WaitingCopy {
                sequence: it.sequence,
                sinks: it.sinks,
            })
            .collect();
        self.dead_letters = found
            .dead_letters
            .into_iter()
            .map(|it| SetAside {
                name: it.name,
                sink: it.sink,
                reason: it.reason,
                detail: it.detail,
                set_aside_at: it.set_aside_at,
            })
            .collect();
    }

    /// What the spool's copy says, where memory knows nothing of its delivery.
    fn take_in_event(&mut self, event: &Event) {
        if self.known == Knowledge::Unknown {
            self.known = Knowledge::Spool;
        }
        self.source = Some(event.source().to_string());
        let received_at = Some(event.received_at());
        let mut add = |what| {
            self.steps.push_back(Step {
                at: received_at,
                what,
            });
        };
        add(What::Received {
            origin: event.origin(),
            source: event.source().to_string(),
            address: None,
        });
        match event.content() {
            Content::Understood(content) => {
                self.event_type = Some(content.event_type.to_string());
                self.object_id = content.object_id.as_ref().map(ToString::to_string);
            }
            Content::Quarantined(quarantine) => add(What::Quarantined {
                reason: quarantine.reason.as_str().to_owned(),
                detail: quarantine.detail.clone(),
            }),
        }
        let text = "How it was delivered and answered is no longer known.";
        self.notes.push(text.to_owned());
    }
}
