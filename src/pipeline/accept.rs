//! Accepting: a verified delivery becomes an accepted event in the spool, or is refused so that the
//! sender tries again.

use std::sync::Arc;
use std::time::Duration;

use super::logged_objects::LoggedObjects;
use crate::event::{Content, Event, EventId, EventOrigin, OrderingKey};
use crate::history::{DeliveryNotes, DeliveryOutcome, EventNotes, Recorder};
use crate::metrics::Metrics;
use crate::name::SourceName;
use crate::route::{Lane, Router, Routing, event_label};
use crate::seeded::{self, Bug};
use crate::shutdown::Draining;
use crate::source::AuthenticDelivery;
use crate::spool::{Appended, Milestone, Spool, SpoolUnavailable};

/// An event that has reached its milestone, or that the configuration drops; only
/// [`Pipeline::accept`] makes one, and only an `Accepted` is answered 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    id: EventId,
    status: AcceptStatus,
}

/// How an event was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcceptStatus {
    /// It is new.
    Accepted,
    /// It had been accepted before.
    Duplicate,
    /// It is kept, but was not understood or cannot be published.
    Quarantined,
    /// It is not kept: a route drops it, and none takes it to a sink.
    Dropped,
}

impl AcceptStatus {
    /// The value of `status` in the answer.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Quarantined => "quarantined",
            Self::Dropped => "dropped",
        }
    }
}

impl From<AcceptStatus> for DeliveryOutcome {
    fn from(status: AcceptStatus) -> Self {
        match status {
            AcceptStatus::Accepted => Self::Accepted,
            AcceptStatus::Duplicate => Self::Duplicate,
            AcceptStatus::Quarantined => Self::Quarantined,
            AcceptStatus::Dropped => Self::Dropped,
        }
    }
}

impl Accepted {
    /// The event's id.
    #[must_use]
    pub fn id(&self) -> EventId {
        self.id
    }

    /// How it was accepted.
    #[must_use]
    pub fn status(&self) -> AcceptStatus {
        self.status
    }
}

/// Why an authentic delivery is not accepted now. None of this is the sender's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// The spool says no.
    #[error(transparent)]
    Spool(#[from] SpoolUnavailable),
    /// The bridge is stopping.
    #[error("the bridge is stopping")]
    Draining,
    /// The milestone was not reached in time. The event may still be delivered.
    #[error("the event was not made durable in time")]
    NotInTime,
    /// A sink refused the event for good, and nothing durable is left of it.
    #[error("the sink refuses the event, and the spool is in memory")]
    NotKept,
}

impl Refusal {
    /// Every reason, so that each has a series from the first scrape on.
    pub const ALL: [Self; 7] = [
        Self::Spool(SpoolUnavailable::Full),
        Self::Spool(SpoolUnavailable::DiskFull),
        Self::Spool(SpoolUnavailable::Unwritable),
        Self::Spool(SpoolUnavailable::Overloaded),
        Self::Draining,
        Self::NotInTime,
        Self::NotKept,
    ];

    /// The stable name of the reason, in answers and in metrics.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Spool(SpoolUnavailable::Full) => "spool_full",
            Self::Spool(SpoolUnavailable::DiskFull) => "disk_full",
            Self::Spool(SpoolUnavailable::Unwritable) => "spool_unwritable",
            Self::Spool(SpoolUnavailable::Unreadable) => "spool_unreadable",
            Self::Spool(SpoolUnavailable::Overloaded) => "overloaded",
            Self::Spool(SpoolUnavailable::Closed) | Self::Draining => "draining",
            Self::NotInTime => "not_in_time",
            Self::NotKept => "not_kept",
        }
    }
}

/// On what terms a delivery is accepted. They change when the configuration is reloaded; a request
/// brings those it began with.
#[derive(Debug)]
pub struct Terms {
    /// Where events go.
    pub router: Router,
    /// How long a request may wait for the milestone.
    pub deadline: Duration,
}

/// Accepts verified deliveries into the spool.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Keeps the events until every sink has them.
    pub spool: Spool,
    /// How durable an event must be before it is answered.
    pub milestone: Milestone,
    /// Whether a dead letter outlives the program, as a file does.
    pub keeps_dead_letters: bool,
    /// How long a request may still wait for the milestone once the bridge stops: its answer must be out
    /// before the listener goes, or the sender would learn nothing.
    pub grace: Duration,
    /// Whether new events are still taken.
    pub draining: Draining,
    /// Counts them.
    pub metrics: Arc<Metrics>,
    /// The objects of which an event came again with another body.
    pub logged: LoggedObjects,
    /// Remembers what happened lately.
    pub recorder: Arc<Recorder>,
}

impl Pipeline {
    /// The pipeline for the requests of one thread; what is returned with it runs there, and tells them
    /// of their milestones: see [`Spool::for_this_thread`].
    pub fn for_this_thread(&self) -> (Self, impl Future<Output = ()> + 'static) {
        let (spool, answering) = self.spool.for_this_thread();
        let pipeline = Self {
            spool,
            ..self.clone()
        };
        (pipeline, answering)
    }

    /// Whether a new event could be accepted now.
    ///
    /// # Errors
    /// The reason why not.
    pub fn ready(&self) -> Result<(), Refusal> {
        self.open()?;
        Ok(self.spool.check_space()?)
    }

    /// Whether a delivery can be answered with anything but a refusal: the cheap check, before a
    /// body is read. A full spool is no reason, because what is in it already is answered 200 again.
    ///
    /// # Errors
    /// The reason why not.
    pub fn open(&self) -> Result<(), Refusal> {
        if self.draining.has_begun() {
            return Err(Refusal::Draining);
        }
        Ok(self.spool.usable()?)
    }

    /// Returns once draining has begun and the grace is over.
    async fn stopping(&self) {
        self.draining.begun().await;
        tokio::time::sleep(self.grace).await;
    }

    /// Makes the delivery an accepted event. Returns once the milestone is reached; if the caller
    /// gives up waiting, the event goes its way all the same. An event that a route drops is counted,
    /// and neither kept nor remembered. What is learnt of the event is noted as it becomes known.
    ///
    /// # Errors
    /// When it could not be made durable in time.
    pub async fn accept(
        &self,
        proven: impl Into<AuthenticDelivery>,
        terms: &Terms,
        notes: &mut DeliveryNotes,
    ) -> Result<Accepted, Refusal> {
        let delivery: AuthenticDelivery = proven.into();
        seeded::panic_over(Bug::PanicInRequest, delivery.body());
        let event = Event::read(delivery);
        let id = event.id();
        let notes = notes.event.insert(EventNotes::of(&event));
        let (source, object) = (event.source().clone(), event.ordering_key());
        let origin = event.origin();
        let quarantined = matches!(event.content(), Content::Quarantined(_));
        if quarantined && seeded::is(Bug::DropQuarantined) {
            let status = AcceptStatus::Quarantined;
            return Ok(Accepted { id, status });
        }
        let routed = match terms.router.route(event) {
            Routing::To(routed) => routed,
            Routing::Dropped { event, lane } => return Ok(self.dropped(&event, lane)),
        };
        notes.sinks = routed.sinks();
        let append = self.spool.append(routed, self.milestone);
        let appended = tokio::select! {
            appended = append => appended?,
            () = tokio::time::sleep(terms.deadline) => return Err(Refusal::NotInTime),
            () = self.stopping() => return Err(Refusal::Draining),
        };
        if self.milestone == Milestone::Spooled && appended != Appended::Duplicate {
            notes.is_spooled = true;
        }
        let new = if quarantined {
            AcceptStatus::Quarantined
        } else {
            AcceptStatus::Accepted
        };
        let status = match appended {
            Appended::Accepted => new,
            Appended::Different => {
                self.came_again(&source, "different");
                self.tell_of_difference(id, &source, object);
                new
            }
            Appended::Duplicate => {
                if origin == EventOrigin::Webhook {
                    self.came_again(&source, "same");
                }
                AcceptStatus::Duplicate
            }
            Appended::DeadLettered if !self.keeps_dead_letters => return Err(Refusal::NotKept),
            Appended::DeadLettered => AcceptStatus::Quarantined,
        };
        Ok(Accepted { id, status })
    }

    /// An event that is dropped is no accepted one: it is counted here and nowhere else.
    fn dropped(&self, event: &Event, lane: Lane) -> Accepted {
        // What a recovery fetches again and again was not answered 200.
        if event.origin() == EventOrigin::Webhook {
            let labels = [event.source().as_str(), event_label(event, lane)];
            let dropped = &self.metrics.events_dropped_total;
            dropped.with_label_values(&labels).inc();
        }
        Accepted {
            id: event.id(),
            status: AcceptStatus::Dropped,
        }
    }

    /// An id was accepted before: with the same body, or a different one.
    fn came_again(&self, source: &SourceName, body: &str) {
        let duplicates = &self.metrics.events_duplicate_total;
        duplicates.with_label_values(&[source.as_str(), body]).inc();
    }

    fn tell_of_difference(&self, id: EventId, source: &SourceName, object: OrderingKey) {
        if self.logged.is_new(object) {
            tracing::warn!(%id, %source, "an event came again with another body; both are published under its id. Of this object it is not logged again");
        }
    }
}
