//! The last deliveries: `GET /deliveries`, and the filter that the page's stream has too.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use actix_web::http::header;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use jiff::Timestamp;
use serde::Serialize;

use super::problem::AdminProblem;
use super::route::get;
use crate::event::EventId;
use crate::history::{DeliveryOutcome, DeliveryRecord, Record, RecordedSpan, Recorder};
use crate::source::EventOrigin;

/// Deliveries in an answer unless the reader says otherwise, and the most that it may ask for.
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

/// A delivery, as the page shows it in a list.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ListedDelivery {
    pub at: Timestamp,
    source: String,
    origin: EventOrigin,
    event_type: Option<String>,
    object_id: Option<String>,
    id: Option<EventId>,
    outcome: &'static str,
    status: Option<u16>,
    reason: Option<String>,
    address: Option<IpAddr>,
    took_ms: f64,
}

/// Which deliveries are wanted. Each part that is given must be equal; of ids the beginning is enough, so
/// that a person need not type them to the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DeliveryFilter {
    source: Option<String>,
    outcome: Option<DeliveryOutcome>,
    event_type: Option<String>,
    object_id: Option<String>,
    /// In lower case.
    id: Option<String>,
}

/// The newest deliveries that match, oldest first.
#[derive(Debug, Default)]
pub(super) struct NewestDeliveries {
    pub deliveries: VecDeque<ListedDelivery>,
    /// How many matched, and were left out for newer ones.
    pub omitted: u64,
}

/// The answer to `GET /deliveries`.
#[derive(Debug, Serialize)]
struct DeliveryList {
    /// Newest first.
    deliveries: Vec<ListedDelivery>,
    /// Since when all is known of events.
    since: Timestamp,
    /// Since when all is known of requests that proved nothing.
    rejections_since: Timestamp,
    omitted: u64,
}

/// The routes of this file.
pub(super) fn routes(recorder: Data<Recorder>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |config| {
        config
            .app_data(recorder)
            .route("/deliveries", get().to(list));
    }
}

async fn list(request: HttpRequest, recorder: Data<Recorder>) -> HttpResponse {
    let (filter, limit) = match DeliveryFilter::of_query(request.query_string()) {
        Ok(asked) => asked,
        Err(problem) => return problem.response(),
    };
    let recorder = recorder.into_inner();
    let list = web::block(move || {
        let mut span = RecordedSpan::default();
        let newest = NewestDeliveries::read(&recorder, &mut span, &filter, limit);
        DeliveryList {
            deliveries: newest.deliveries.into_iter().rev().collect(),
            since: recorder.events_since(),
            rejections_since: recorder.unproven_since(),
            omitted: newest.omitted,
        }
    });
    match list.await {
        Ok(list) => HttpResponse::Ok()
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .json(list),
        Err(_) => AdminProblem::stopping().response(),
    }
}

impl NewestDeliveries {
    /// Those among what has not been seen yet: at most `limit`.
    pub fn read(
        recorder: &Arc<Recorder>,
        span: &mut RecordedSpan,
        filter: &DeliveryFilter,
        limit: usize,
    ) -> Self {
        let (mut unproven, mut events) = (Self::default(), Self::default());
        recorder.read(span, |record| {
            let Record::Delivery(delivery) = record else {
                return;
            };
            if filter.matches(&delivery) {
                let newest = match delivery.event {
                    None => &mut unproven,
                    Some(_) => &mut events,
                };
                newest.add(&delivery, limit);
            }
        });
        unproven.merged(events, limit)
    }

    fn add(&mut self, delivery: &DeliveryRecord<'_>, limit: usize) {
        if self.deliveries.len() >= limit {
            self.deliveries.pop_front();
            self.omitted += 1;
        }
        self.deliveries.push_back(ListedDelivery::of(delivery));
    }

    /// Both, in the order of time.
    fn merged(self, other: Self, limit: usize) -> Self {
        let mut deliveries: Vec<ListedDelivery> = self.deliveries.into();
        deliveries.extend(other.deliveries);
        deliveries.sort_by_key(|delivery| delivery.at);
        let beyond = deliveries.len().saturating_sub(limit);
        Self {
            deliveries: deliveries.split_off(beyond).into(),
            omitted: self.omitted + other.omitted + beyond as u64,
        }
    }
}

impl ListedDelivery {
    pub fn of(delivery: &DeliveryRecord<'_>) -> Self {
        let event = delivery.event.as_ref();
        let text = |text: &str| text.to_owned();
        let is_quarantined = delivery.outcome == DeliveryOutcome::Quarantined;
        let quarantine = event.and_then(|event| event.quarantine.filter(|_| is_quarantined));
        Self {
            at: delivery.received_at(),
            source: delivery.source.to_owned(),
            origin: delivery.origin,
            event_type: event.and_then(|event| event.event_type).map(text),
            object_id: event.and_then(|event| event.object_id).map(text),
            id: event.map(|event| event.id),
            outcome: delivery.outcome.as_str(),
            status: (delivery.status != 0).then_some(delivery.status),
            reason: delivery
                .reason
                .or(quarantine.map(|(reason, _)| reason))
                .map(text),
            address: delivery.address,
            took_ms: delivery.took.as_secs_f64() * 1000.0,
        }
    }
}

impl DeliveryFilter {
    /// Reads the query: the filter, and how many are wanted at most.
    pub fn of_query(query: &str) -> Result<(Self, usize), AdminProblem> {
        let (mut filter, mut limit) = (Self::default(), DEFAULT_LIMIT);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let text = Some(value.to_string()).filter(|text| !text.is_empty());
            match &*name {
                "source" => filter.source = text,
                "event_type" => filter.event_type = text,
                "object" => filter.object_id = text,
                "outcome" => filter.outcome = text.map(|it| outcome(&it)).transpose()?,
                "id" => filter.id = text.map(|it| it.trim().to_ascii_lowercase()),
                "limit" => limit = read_limit(&value)?,
                _ => {
                    return Err(AdminProblem::invalid(
                        "there are the parameters `source`, `outcome`, `event_type`, `object`, `id` and `limit`, and no others",
                    ));
                }
            }
        }
        Ok((filter, limit))
    }

    fn matches(&self, delivery: &DeliveryRecord<'_>) -> bool {
        let event = delivery.event.as_ref();
        let id = || event.map(|event| event.id.to_string());
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        let begins = |wanted: &Option<String>, found: Option<&str>| {
            let wanted = wanted.as_deref();
            wanted.is_none_or(|wanted| found.is_some_and(|found| found.starts_with(wanted)))
        };
        is(&self.source, Some(delivery.source))
            && is(&self.event_type, event.and_then(|it| it.event_type))
            && self.outcome.is_none_or(|it| delivery.outcome == it)
            && begins(&self.object_id, event.and_then(|it| it.object_id))
            && (self.id.is_none() || begins(&self.id, id().as_deref()))
    }
}

fn outcome(name: &str) -> Result<DeliveryOutcome, AdminProblem> {
    DeliveryOutcome::of_name(name).ok_or_else(|| {
        let names = DeliveryOutcome::ALL.map(DeliveryOutcome::as_str).join(", ");
        AdminProblem::invalid(format!("`outcome` must be one of {names}"))
    })
}

fn read_limit(value: &str) -> Result<usize, AdminProblem> {
    let limit = value.parse().ok();
    limit
        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
        .ok_or_else(|| {
            AdminProblem::invalid(format!(
                "`limit` must be a whole number from 1 to {MAX_LIMIT}"
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::EventFacts;
    use std::time::Duration;

    fn delivery(number: u8) -> DeliveryRecord<'static> {
        DeliveryRecord {
            answered_at: Timestamp::from_second(i64::from(number))
                .expect("in range")
                .into(),
            took: Duration::ZERO,
            source: if number.is_multiple_of(2) {
                "even"
            } else {
                "odd"
            },
            origin: EventOrigin::Webhook,
            address: None,
            outcome: DeliveryOutcome::Accepted,
            status: 200,
            reason: None,
            request_id: None,
            signature: None,
            event: (!number.is_multiple_of(3)).then_some(EventFacts {
                id: EventId::from_bytes([number; 16]),
                event_type: Some("sample.uploaded"),
                object_id: Some("7428cca4a3a04a8e"),
                is_spooled: true,
                sinks: crate::event::SinkSet::default(),
                quarantine: None,
            }),
        }
    }

    fn seconds(query: &str) -> (Vec<i64>, u64) {
        let recorder = Arc::new(Recorder::default());
        for number in 1..=9 {
            recorder.delivery(&delivery(number));
        }
        let (filter, limit) = DeliveryFilter::of_query(query).expect("a filter");
        let newest =
            NewestDeliveries::read(&recorder, &mut RecordedSpan::default(), &filter, limit);
        let seconds = newest.deliveries.iter().map(|it| it.at.as_second());
        (seconds.collect(), newest.omitted)
    }

    #[test]
    fn the_newest_that_match_are_listed_in_the_order_of_time() {
        assert_eq!(seconds(""), ((1..=9).collect(), 0));
        assert_eq!(seconds("limit=2"), (vec![8, 9], 7));
        assert_eq!(seconds("source=even"), (vec![2, 4, 6, 8], 0));
        assert_eq!(seconds("source=even&limit=3"), (vec![4, 6, 8], 1));
        let of_type = "event_type=sample.uploaded&object=7428cca4a3a04a8e";
        assert_eq!(seconds(of_type), (vec![1, 2, 4, 5, 7, 8], 0));
        assert_eq!(seconds("outcome=rejected"), (vec![], 0));
        let id = EventId::from_bytes([5; 16]);
        assert_eq!(seconds(&format!("id={id}&outcome=")), (vec![5], 0));
        assert_eq!(seconds("id=0505"), (vec![5], 0));
        assert_eq!(seconds("object=7428&source=odd"), (vec![1, 5, 7], 0));
        assert_eq!(seconds("object=428"), (vec![], 0));
    }

    #[test]
    fn what_is_no_filter_is_named() {
        for (query, part) in [
            ("outcome=lost", "accepted, duplicate"),
            ("limit=0", "from 1 to 1000"),
            ("limit=-1", "from 1 to 1000"),
            ("objet=1", "no others"),
        ] {
            let said = DeliveryFilter::of_query(query).expect_err(query).detail;
            assert!(said.contains(part), "{query}: {said}");
        }
    }
}
