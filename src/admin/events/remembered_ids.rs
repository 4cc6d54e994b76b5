//! How an event is known, and what the ids that are remembered tell of one of which nothing else is.

use jiff::Timestamp;
use serde::Serialize;

use crate::event::EventId;

/// How an event is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Knowledge {
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

/// What the spool remembers of an id.
#[derive(Debug, Clone)]
pub(super) struct RememberedIds {
    /// The sequences that accepted events of this id had; none where the index cannot tell.
    pub sequences: Option<Vec<u64>>,
    /// Since when all ids are remembered, in seconds since 1970.
    pub since: i64,
    /// Whether of some sources it is not the event's id that is remembered.
    pub are_others: bool,
}

impl RememberedIds {
    /// How the event is known by that, in words too. Whether all that waits was looked at decides what
    /// an id proves that was accepted.
    pub fn tell(&self, id: EventId, is_whole: bool) -> (Knowledge, String) {
        let since = Timestamp::from_second(self.since).ok();
        let (Some(sequences), Some(since)) = (&self.sequences, since) else {
            let text =
                "Nothing is known of it, and the ids of accepted events cannot be looked up now.";
            return (Knowledge::Unknown, text.to_owned());
        };
        if !sequences.is_empty() {
            let text = if is_whole {
                "An event of this id was accepted: its id is remembered. Nothing of it waits or is set aside, so every sink has confirmed it, or an operator has dropped it. When and where is no longer known."
            } else {
                "An event of this id was accepted: its id is remembered. When, and where it is by now, is no longer known."
            };
            return (Knowledge::Remembered, text.to_owned());
        }
        if self.are_others {
            let text = format!(
                "No event of this id is known here since {since}; but of some sources it is not the id that is remembered."
            );
            return (Knowledge::Unknown, text);
        }
        if since <= Timestamp::UNIX_EPOCH {
            let text = "No event of this id was accepted since this spool was begun.";
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

#[cfg(test)]
mod tests {
    use super::*;

    fn tell(sequences: Option<&[u64]>, since: i64, are_others: bool) -> (Knowledge, String) {
        let ids = RememberedIds {
            sequences: sequences.map(<[u64]>::to_vec),
            since,
            are_others,
        };
        let mut id = [0; 16];
        id[..6].copy_from_slice(&2_000_000_u64.to_be_bytes()[2..]);
        ids.tell(EventId::from_bytes(id), true)
    }

    #[test]
    fn an_id_tells_no_more_than_what_is_remembered() {
        let known = |found: (Knowledge, String)| found.0;
        assert_eq!(known(tell(Some(&[7]), 0, true)), Knowledge::Remembered);
        assert_eq!(known(tell(Some(&[]), 0, false)), Knowledge::Never);
        assert_eq!(known(tell(Some(&[]), 1_999, false)), Knowledge::Never);
        let older = tell(Some(&[]), 2_001, false);
        assert_eq!(known(older), Knowledge::Unknown, "it may be forgotten");
        assert_eq!(known(tell(Some(&[]), 0, true)), Knowledge::Unknown);
        assert_eq!(known(tell(None, 0, false)), Knowledge::Unknown);
        assert_eq!(known(tell(Some(&[]), i64::MAX, false)), Knowledge::Unknown);
    }
}
