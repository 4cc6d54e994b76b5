//! A step of an event's way, as the page shows it.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;

use crate::history::{DeliveryRecord, SinkRecord, SinkStep};
use crate::name::SinkName;
use crate::sink::Destination;
use crate::source::EventOrigin;

/// A step, with when it happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Step {
    /// None where nobody noted it.
    pub at: Option<Timestamp>,
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub(super) enum What {
    Received {
        origin: EventOrigin,
        source: String,
        address: Option<IpAddr>,
    },
    #[serde(rename = "verified")]
    Proven {
        signature_age_seconds: Option<i64>,
        secret: usize,
    },
    Quarantined {
        reason: String,
        detail: String,
    },
    Spooled,
    Answered {
        status: Option<u16>,
        outcome: &'static str,
        reason: Option<String>,
        took_ms: f64,
    },
    Published {
        sink: SinkName,
    },
    Confirmed {
        sink: SinkName,
        took_ms: f64,
        destination: Destination,
    },
    Failed {
        sink: SinkName,
        result: String,
        detail: String,
    },
    DeadLettered {
        sink: SinkName,
        reason: String,
    },
    Requeued {
        sink: SinkName,
    },
    Discarded {
        sink: SinkName,
    },
}

/// The steps that a delivery's record tells of.
pub(super) fn of_delivery(delivery: &DeliveryRecord<'_>) -> Vec<Step> {
    let (received_at, took) = (delivery.received_at(), delivery.took);
    let mut steps = vec![Step {
        at: Some(received_at),
        what: What::Received {
            origin: delivery.origin,
            source: delivery.source.to_owned(),
            address: delivery.address,
        },
    }];
    if let Some(signature) = &delivery.signature {
        steps.push(Step {
            at: Some(signature.verified_at),
            what: What::Proven {
                signature_age_seconds: signature.age_seconds,
                secret: signature.secret,
            },
        });
    }
    let event = delivery.event.as_ref();
    if let Some((reason, detail)) = event.and_then(|event| event.quarantine) {
        steps.push(Step {
            at: Some(delivery.signature.map_or(received_at, |it| it.verified_at)),
            what: What::Quarantined {
                reason: reason.to_owned(),
                detail: detail.to_owned(),
            },
        });
    }
    if event.is_some_and(|event| event.is_spooled) {
        // The answer was given once it was.
        steps.push(Step {
            at: Some(delivery.answered_at.timestamp()),
            what: What::Spooled,
        });
    }
    if delivery.origin == EventOrigin::Backfill {
        // Nobody waits for an answer.
        return steps;
    }
    steps.push(Step {
        at: Some(received_at + took),
        what: What::Answered {
            status: (delivery.status != 0).then_some(delivery.status),
            outcome: delivery.outcome.as_str(),
            reason: delivery.reason.map(str::to_owned),
            took_ms: took.as_secs_f64() * 1000.0,
        },
    });
    steps
}

/// The step that a sink's record tells of.
pub(super) fn of_sink(record: SinkRecord<'_>, sink: SinkName) -> Step {
    let what = match record.step {
        SinkStep::Published => What::Published { sink },
        SinkStep::Confirmed { took, destination } => What::Confirmed {
            sink,
            took_ms: took.as_secs_f64() * 1000.0,
            destination,
        },
        SinkStep::Failed { result, detail } => What::Failed {
            sink,
            result: result.to_owned(),
            detail: detail.to_owned(),
        },
        SinkStep::DeadLettered { reason } => What::DeadLettered {
            sink,
            reason: reason.to_owned(),
        },
        SinkStep::Requeued => What::Requeued { sink },
        SinkStep::Discarded => What::Discarded { sink },
    };
    Step {
        at: Some(record.at),
        what,
    }
}
