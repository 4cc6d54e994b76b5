//! How much more the spool's disk can take. The spool keeps a reserve there, because letting go of
//! an event needs room too: a disk that the spool itself has filled to the last byte could never be
//! emptied again.
//!
//! Three things take room: what is written goes into the log first; moving the log into the file
//! makes the file as long as its pages say; and a commit that only deletes needs some log as well.
//! New events are refused before they could touch what the other two will need.

use std::fs;
use std::path::Path;

use rusqlite::Connection;

/// Bytes of a page of the file, and of its copy in the log, which has a header.
const PAGE_BYTES: u64 = 4096;
const FRAME_BYTES: u64 = PAGE_BYTES + 24;

/// With so much free nothing needs a closer look: a group's events (8 MiB, in up to 512 rows), as
/// many settlements as one commit takes, and the log that has yet to be moved come to less.
const PLENTY_BYTES: u64 = 256 << 20;

/// What new events leave alone: [`FEWEST_SETTLEMENTS`] fit into it, or as many ids to forget, in a
/// commit of their own.
const RESERVE_BYTES: u64 = 1 << 20;

/// Pages that a settlement changes at most: the row's own and those it is balanced with, its mark,
/// and the list of free pages.
const SETTLEMENT_PAGES: u64 = 6;
const FEWEST_SETTLEMENTS: usize = 32;
/// More in one commit would keep others waiting.
const MOST_SETTLEMENTS: usize = 4096;

/// Ids that one commit forgets at most: more than a second brings, but after a long pause still no
/// commit that others notice. Some of them lie anywhere, so each may change a page of its own.
const MOST_EXPIRED: usize = 10_000;
const FEWEST_EXPIRED: usize = 100;

/// Pages that an event changes besides those its bytes fill: the ends of its row, its id, the counts.
const EVENT_PAGES: u64 = 3;
/// What a row holds besides the body, more or less.
const HEAD_BYTES: usize = 1024;

/// The room for one transaction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Bytes that are free once the log has been moved into the file.
    free: u64,
    /// Pages of the file that nothing is in.
    spare_pages: u64,
    plenty: bool,
}

/// What a transaction wants to write.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted {
    pub events: usize,
    pub bytes: usize,
    pub settlements: usize,
    /// Whether ids are due to be forgotten.
    pub expire: bool,
}

impl Room {
    /// No limit, as for a spool in memory.
    pub const PLENTY: Self = Self {
        free: u64::MAX,
        spare_pages: 0,
        plenty: true,
    };

    /// Looks at the disk, and closer where little is free.
    pub fn look(connection: &Connection, file: &Path) -> rusqlite::Result<Self> {
        let folder = file.parent().unwrap_or(file);
        // A disk that does not tell is believed to have room: the commit will show.
        let Ok(disk) = rustix::fs::statvfs(folder) else {
            return Ok(Self::PLENTY);
        };
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free >= PLENTY_BYTES {
            return Ok(Self::PLENTY);
        }
        let pages: u64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
        let length = fs::metadata(file).map_or(0, |file| file.len());
        let yet_to_grow = (pages * PAGE_BYTES).saturating_sub(length);
        Ok(Self {
            free: free.saturating_sub(yet_to_grow),
            spare_pages: connection.pragma_query_value(None, "freelist_count", |row| row.get(0))?,
            plenty: false,
        })
    }

    /// Whether there is so much that nobody need look.
    pub fn is_plenty(&self) -> bool {
        self.plenty
    }

    /// Whether all this fits for certain, in one transaction.
    pub fn covers(&self, wanted: Wanted) -> bool {
        let pages = wanted.bytes as u64 / PAGE_BYTES + wanted.events as u64 * EVENT_PAGES;
        let expired = if wanted.expire {
            MOST_EXPIRED as u64
        } else {
            0
        };
        let bytes = pages * (FRAME_BYTES + PAGE_BYTES)
            + expired * FRAME_BYTES
            + settlement_bytes(wanted.settlements)
            + RESERVE_BYTES;
        (self.plenty || bytes <= self.free) && wanted.settlements <= MOST_SETTLEMENTS
    }

    /// How many ids one transaction may forget.
    pub fn expired(&self) -> usize {
        if self.plenty {
            MOST_EXPIRED
        } else {
            FEWEST_EXPIRED
        }
    }

    /// How many settlements one transaction may hold.
    pub fn settlements(&self) -> usize {
        let fitting = self.free.saturating_sub(RESERVE_BYTES) / settlement_bytes(1);
        usize::try_from(fitting)
            .unwrap_or(MOST_SETTLEMENTS)
            .clamp(FEWEST_SETTLEMENTS, MOST_SETTLEMENTS)
    }

    /// Takes the room for a new event, unless it would touch the reserve.
    pub fn take(&mut self, body_bytes: usize) -> bool {
        self.take_above(RESERVE_BYTES, body_bytes)
    }

    /// Takes the room for a dead letter. It may use the reserve: the event leaves its own pages.
    pub fn take_for_burial(&mut self, bytes: usize) -> bool {
        self.take_above(0, bytes)
    }

    /// Whether not even a small event would be taken.
    pub fn is_exhausted(mut self) -> bool {
        !self.take(0)
    }

    fn take_above(&mut self, reserve: u64, bytes: usize) -> bool {
        let pages = (bytes + HEAD_BYTES) as u64 / PAGE_BYTES + EVENT_PAGES;
        let spare = pages.min(self.spare_pages);
        let cost = pages * FRAME_BYTES + (pages - spare) * PAGE_BYTES;
        if self.plenty {
            return true;
        }
        if self.free < reserve + cost {
            return false;
        }
        self.free -= cost;
        self.spare_pages -= spare;
        true
    }
}

fn settlement_bytes(count: usize) -> u64 {
    count as u64 * SETTLEMENT_PAGES * FRAME_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(free: u64, spare_pages: u64) -> Room {
        Room {
            free,
            spare_pages,
            plenty: false,
        }
    }

    #[test]
    fn the_reserve_is_left_to_those_who_let_go() {
        let mut almost = room(RESERVE_BYTES, 1000);
        assert!(almost.is_exhausted() && !almost.take(10));
        assert!(almost.take_for_burial(10));
        assert_eq!(almost.settlements(), FEWEST_SETTLEMENTS);
        assert!(settlement_bytes(FEWEST_SETTLEMENTS) < RESERVE_BYTES);
        assert!(almost.expired() as u64 * FRAME_BYTES < RESERVE_BYTES);
    }

    #[test]
    fn events_are_taken_until_the_reserve_and_no_further() {
        let mut room = room(RESERVE_BYTES + (1 << 20), 0);
        let taken = (0..).take_while(|_| room.take(8000)).count();
        // Each needs at least two pages, in the log and in the file.
        assert!((10..64).contains(&taken), "{taken}");
        assert!(room.free >= RESERVE_BYTES);
    }

    #[test]
    fn pages_that_nothing_is_in_need_no_growth() {
        let count = |mut room: Room| (0..).take_while(|_| room.take(8000)).count();
        let free = RESERVE_BYTES + (1 << 20);
        assert!(count(room(free, 1000)) > count(room(free, 0)) * 3 / 2);
    }

    #[test]
    fn plenty_holds_what_one_transaction_may_be() {
        let group = Wanted {
            events: 512,
            bytes: 16 << 20,
            settlements: MOST_SETTLEMENTS,
            expire: true,
        };
        assert!(room(PLENTY_BYTES, 0).covers(group) && Room::PLENTY.covers(group));
        let backlog = Wanted {
            settlements: MOST_SETTLEMENTS + 1,
            ..group
        };
        assert!(!Room::PLENTY.covers(backlog));
        assert_eq!(Room::PLENTY.settlements(), MOST_SETTLEMENTS);
    }
}
