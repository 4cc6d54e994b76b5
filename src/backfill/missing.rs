//! The entries that are missing, in the order of their times, bounded in bytes: of more than that the
//! earliest are kept, so that what is brought back first is what happened first.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::provider_record::{EntryContent, RecordEntry};

/// The most bytes of events that a run holds.
const MAX_BYTES: usize = 64 << 20;
/// What an entry takes besides its event's body.
const BYTES_OF_AN_ENTRY: usize = 1024;

/// Where an entry is in their order: its time, and its name.
pub(super) type EntryPlace = (Timestamp, String);

/// Entries that are missing.
#[derive(Debug, Default)]
pub(super) struct MissingEntries {
    /// Those up to here are done.
    behind: Option<EntryPlace>,
    entries: BTreeMap<EntryPlace, RecordEntry>,
    bytes: usize,
    /// Whether later ones had to be left out.
    pub is_cut: bool,
}

fn bytes(entry: &RecordEntry) -> usize {
    let body = match &entry.content {
        EntryContent::Delivery(recovered, _) => recovered.delivery().body().len(),
        EntryContent::Redelivery => 0,
    };
    BYTES_OF_AN_ENTRY + body
}

impl MissingEntries {
    /// Only those behind this place.
    pub fn behind(place: Option<&EntryPlace>) -> Self {
        Self {
            behind: place.cloned(),
            ..Self::default()
        }
    }

    pub fn add(&mut self, entry: RecordEntry) {
        let place = (entry.triggered_at, entry.name.clone());
        if self.behind.as_ref().is_some_and(|behind| place <= *behind) {
            return;
        }
        self.bytes += bytes(&entry);
        self.entries.insert(place, entry);
        while self.bytes > MAX_BYTES && self.entries.len() > 1 {
            let latest = self.entries.pop_last();
            self.bytes -= latest.map_or(0, |(_, entry)| bytes(&entry));
            self.is_cut = true;
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// All of them, the earliest first.
    pub fn into_entries(self) -> impl Iterator<Item = (EntryPlace, RecordEntry)> {
        self.entries.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, second: i64) -> RecordEntry {
        RecordEntry {
            name: name.to_owned(),
            event_type: "a".to_owned(),
            triggered_at: Timestamp::from_second(second).expect("a time"),
            status: String::new(),
            is_delivered: false,
            not_before: None,
            content: EntryContent::Redelivery,
        }
    }

    #[test]
    fn they_come_out_by_their_times_and_of_too_many_the_latest_are_left_out() {
        let mut missing = MissingEntries::default();
        let most = MAX_BYTES / BYTES_OF_AN_ENTRY;
        for at in (0..most + 10).rev() {
            missing.add(entry(&at.to_string(), i64::try_from(at).expect("small")));
        }
        assert!(missing.is_cut);
        assert_eq!(missing.len(), most);
        let places: Vec<EntryPlace> = missing.into_entries().map(|(place, _)| place).collect();
        let names = places.iter().map(|(_, name)| name);
        let expected = (0..most).map(|at| at.to_string());
        assert!(
            names.eq(expected.collect::<Vec<_>>().iter()),
            "the earliest, in their order"
        );
        let mut rest = MissingEntries::behind(places.last());
        for at in 0..most + 10 {
            rest.add(entry(&at.to_string(), i64::try_from(at).expect("small")));
        }
        assert_eq!((rest.len(), rest.is_cut), (10, false));
    }
}
