//! The attempts to deliver, put together by the delivery that they are of.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::backfill::provider_record::{EntryContent, RecordEntry, RecordPage, UnreadableEntry};
use crate::name::EventType;
use crate::source::{ApiError, ApiResponse};

/// After the second attempt that failed; each further one doubles it, so that a delivery that the
/// listener refuses for good is not sent to it for ever.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_mins(10);
/// Doubling it more often makes no difference within the days that GitHub keeps deliveries.
const MAX_DOUBLINGS: u32 = 10;
/// A hook with more attempts in a few days is none.
const MAX_ATTEMPTS: usize = 1_000_000;

/// An attempt to deliver, as the API has it.
#[derive(Debug, Deserialize)]
struct Attempt {
    id: u64,
    guid: String,
    delivered_at: Timestamp,
    status: String,
    /// 0 or none where nobody answered.
    status_code: Option<u16>,
    event: String,
    action: Option<String>,
}

/// A delivery that no attempt has brought so far.
#[derive(Debug)]
struct FailedDelivery {
    first: Timestamp,
    latest: Attempt,
    attempts: u32,
}

/// All attempts that were listed.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    seen: HashSet<u64>,
    answered: HashSet<String>,
    failed: HashMap<String, FailedDelivery>,
    unreadable: Vec<UnreadableEntry>,
}

impl Attempts {
    /// Takes a page; whether the list has come to its end, or behind this time.
    ///
    /// # Errors
    /// When it is no list, or one without an end.
    pub fn take(&mut self, response: &ApiResponse, since: Timestamp) -> Result<bool, ApiError> {
        let rows: Vec<&RawValue> = serde_json::from_slice(response.body())
            .map_err(|error| ApiError::not_json_of("a list of deliveries", &error))?;
        let (before, mut is_behind) = (self.seen.len(), false);
        for row in &rows {
            match serde_json::from_str::<Attempt>(row.get()) {
                Ok(attempt) => {
                    is_behind |= attempt.delivered_at < since;
                    self.add(attempt);
                }
                Err(_) => self.unreadable.push(UnreadableEntry {
                    name: format!("an attempt behind {} others", self.seen.len()),
                    reason: "it has not the members of an attempt, or others of another type"
                        .to_owned(),
                }),
            }
        }
        if self.seen.len() + self.unreadable.len() > MAX_ATTEMPTS {
            return Err(ApiError::Invalid("the list does not end".to_owned()));
        }
        let is_circle = self.seen.len() == before;
        Ok(is_behind || is_circle)
    }

    /// They are listed from the newest on, and a page may repeat some of the one before it.
    fn add(&mut self, attempt: Attempt) {
        if !self.seen.insert(attempt.id) || self.answered.contains(&attempt.guid) {
            return;
        }
        if attempt
            .status_code
            .is_some_and(|code| (200..300).contains(&code))
        {
            self.failed.remove(&attempt.guid);
            self.answered.insert(attempt.guid);
            return;
        }
        match self.failed.get_mut(&attempt.guid) {
            Some(delivery) => {
                delivery.first = delivery.first.min(attempt.delivered_at);
                delivery.attempts += 1;
                if attempt.delivered_at > delivery.latest.delivered_at {
                    delivery.latest = attempt;
                }
            }
            None => {
                let delivery = FailedDelivery {
                    first: attempt.delivered_at,
                    attempts: 1,
                    latest: attempt,
                };
                self.failed.insert(delivery.latest.guid.clone(), delivery);
            }
        }
    }

    /// All of it as one page of a list. Where types are chosen, an event must have a name that one can
    /// be.
    pub fn into_page(self, has_types: bool) -> RecordPage {
        let failed = self.failed.into_values();
        let failed = failed.map(|delivery| delivery.entry(has_types));
        RecordPage {
            entries: failed.chain(self.unreadable.into_iter().map(Err)).collect(),
            answered: self.answered.len(),
        }
    }
}

impl FailedDelivery {
    fn entry(self, has_types: bool) -> Result<RecordEntry, UnreadableEntry> {
        let Attempt {
            id,
            delivered_at,
            status,
            event,
            action,
            ..
        } = self.latest;
        let event_type = match action {
            Some(action) => format!("{event}.{action}"),
            None => event,
        };
        if let (true, Err(error)) = (has_types, EventType::parse(&event_type)) {
            return Err(UnreadableEntry {
                name: id.to_string(),
                reason: error.to_string(),
            });
        }
        let doublings = self.attempts.saturating_sub(2).min(MAX_DOUBLINGS);
        let not_before = delivered_at.checked_add(FIRST_PAUSE * (1 << doublings));
        Ok(RecordEntry {
            name: id.to_string(),
            event_type,
            triggered_at: self.first,
            status: status.chars().filter(|c| !c.is_control()).collect(),
            is_delivered: false,
            not_before: not_before.ok().filter(|_| self.attempts > 1),
            content: EntryContent::Redelivery,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(id: u64, guid: &str, minute: i64, status_code: Option<u16>) -> Attempt {
        Attempt {
            id,
            guid: guid.to_owned(),
            delivered_at: Timestamp::from_second(minute * 60).expect("a time"),
            status: String::new(),
            status_code,
            event: "pull_request".to_owned(),
            action: Some("opened".to_owned()),
        }
    }

    /// The deliveries that these are of, of which some were answered.
    fn page(attempts: impl IntoIterator<Item = Attempt>) -> RecordPage {
        let mut all = Attempts::default();
        for attempt in attempts {
            all.add(attempt);
        }
        all.into_page(true)
    }

    #[test]
    fn a_delivery_is_missing_until_one_of_its_attempts_has_worked() {
        let mut page = page([
            attempt(5, "b", 50, Some(503)),
            attempt(4, "a", 40, Some(200)),
            attempt(4, "a", 40, Some(200)),
            attempt(3, "b", 30, None),
            attempt(2, "b", 20, Some(0)),
            attempt(1, "a", 10, Some(500)),
        ]);
        assert_eq!((page.entries.len(), page.answered), (1, 1));
        let missing = page.entries.remove(0).expect("its type has a name");
        assert_eq!(missing.name, "5", "the newest is delivered again");
        assert_eq!(missing.event_type, "pull_request.opened");
        assert_eq!(missing.triggered_at.as_second(), 20 * 60);
        // After the third failure twice ten minutes.
        let not_before = missing.not_before.map(Timestamp::as_second);
        assert_eq!(not_before, Some(70 * 60));
    }

    #[test]
    fn after_the_first_failure_nothing_waits() {
        let mut page = page([attempt(1, "a", 10, Some(500))]);
        let missing = page.entries.remove(0).expect("its type has a name");
        assert_eq!(missing.not_before, None);
    }

    #[test]
    fn a_name_that_no_type_has_matters_only_where_types_are_chosen() {
        let odd = || Attempt {
            event: "odd name".to_owned(),
            ..attempt(1, "a", 10, Some(500))
        };
        for (has_types, is_readable) in [(false, true), (true, false)] {
            let mut all = Attempts::default();
            all.add(odd());
            assert_eq!(all.into_page(has_types).entries[0].is_ok(), is_readable);
        }
    }
}
