//! Everything that is known of one event.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::Serialize;

use super::spool_search::SpoolSearch;
use super::step::{self, Step, What};
use crate::admin::deliveries::since;
use crate::event::{Content, Event, EventId, SinkIndex, SinkSet};
use crate::history::{DeliveryRecord, Record, SinkRecord, SinkStep};
use crate::name::SinkName;
use crate::pipeline::Pipeline;
use crate::spool::{DeadLetterName, InspectionError, Spool};

/// The most steps that are shown, the newest: while a broker is away for days, an event is tried often.
const MAX_STEPS: usize = 500;

/// How an event is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Knowledge {
    /// Its delivery is in memory.
    Memory,
    /// It waits, or is a dead letter.
    Spool,
    /// It was accepted; no more is known.
    Remembered,
    /// It was not accepted.
    Never,
    /// Nobody can tell any more.
    Unknown,
}

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
    #[serde(skip)]
    ended_at: SinkSet,
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
    pub fn read(id: EventId, pipeline: &Pipeline) -> Result<Self, InspectionError> {
        let mut history = Self::nothing_of(id, since(&pipeline.recorder));
        let mut is_cut = false;
        pipeline.recorder.read_events(|record| {
            history.take_in(record, &pipeline.spool);
            is_cut |= history.drop_oldest();
        });
        let in_spool = SpoolSearch::run(&pipeline.spool.view(), |event| event.id() == id)?;
        history.notes.extend(in_spool.note());
        if is_cut {
            let text = format!("Only the last {MAX_STEPS} steps are shown.");
            history.notes.push(text);
        }
        history.take_in_spool(in_spool);
        history.steps.make_contiguous().sort_by_key(|step| step.at);
        Ok(history)
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
            ended_at: SinkSet::default(),
        }
    }

    /// Whether anything is known of it beyond its id.
    pub fn is_known(&self) -> bool {
        self.known != Knowledge::Unknown || !self.steps.is_empty()
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
        self.known = Knowledge::Memory;
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
        match record.step {
            SinkStep::Confirmed { .. } | SinkStep::DeadLettered { .. } | SinkStep::Discarded => {
                self.ended_at = self.ended_at.with(sink);
            }
            SinkStep::Requeued => self.ended_at = self.ended_at.without(sink),
            SinkStep::Published | SinkStep::Failed { .. } => {}
        }
        let mut names = spool.sinks().iter();
        if let Some((_, name)) = names.find(|(index, _)| *index == sink) {
            self.steps.push_back(step::of_sink(record, name.clone()));
        }
    }

    fn is_outstanding(&self, sink: SinkIndex) -> bool {
        self.sinks.contains(sink) && !self.ended_at.contains(sink)
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
            && self.known == Knowledge::Unknown
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
        self.known = Knowledge::Spool;
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
        let text = format!(
            "How it was delivered and answered is no longer known: memory reaches back to {:.0}.",
            self.memory_since
        );
        self.notes.push(text);
    }

    /// What the ids that are remembered tell of an event of which nothing else is known.
    pub fn unknown(mut self, ids: &RememberedIds) -> Self {
        let (known, note) = ids.tell(self.id);
        self.known = known;
        let text = format!("Memory reaches back to {:.0}.", self.memory_since);
        self.notes.extend([note, text]);
        self
    }
}

/// What the ids that are remembered tell of one that was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct RememberedIds {
    /// Whether an event of this id was accepted; none where the index cannot tell.
    pub was_accepted: Option<bool>,
    /// Since when all ids are remembered, in seconds since 1970.
    pub since: i64,
    /// Whether the ids of some sources' events are not what is remembered of them.
    pub has_other_ids: bool,
}

impl RememberedIds {
    fn tell(&self, id: EventId) -> (Knowledge, String) {
        let since = Timestamp::from_second(self.since).ok();
        let (Some(was_accepted), Some(since)) = (self.was_accepted, since) else {
            let text =
                "Nothing is known of it, and the ids of accepted events cannot be looked up now.";
            return (Knowledge::Unknown, text.to_owned());
        };
        if was_accepted {
            let text = "An event of this id was accepted: its id is remembered. Nothing of it waits or is set aside, so every sink has confirmed it, or an operator has dropped it. When and where is no longer known.";
            return (Knowledge::Remembered, text.to_owned());
        }
        if self.has_other_ids {
            let text = format!(
                "No event of this id is known here since {since}; but of some sources it is not the id that is remembered."
            );
            return (Knowledge::Unknown, text);
        }
        if since <= Timestamp::UNIX_EPOCH {
            let text = "No event of this id was ever accepted here.";
            return (Knowledge::Never, text.to_owned());
        }
        let is_later = id.is_timed() && id >= EventId::lower_bound(since);
        let known = if is_later {
            Knowledge::Never
        } else {
            Knowledge::Unknown
        };
        let text = format!(
            "No event of this id was accepted here since {since}; ids of before are forgotten."
        );
        (known, text)
    }
}
