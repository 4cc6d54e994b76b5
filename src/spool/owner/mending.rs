//! The owner after a failure: what it means for the file, and how to go on. Until a commit has worked
//! again nothing is accepted, and the dispatchers go on with what can be read.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rusqlite::Connection;

use super::{MAX_PAUSE, Owner, TICK};
use crate::event::SinkSet;
use crate::spool::damage::{self, Failure};
use crate::spool::presence::Presence;
use crate::spool::recent::Recent;
use crate::spool::salvage::{self, Cost};
use crate::spool::sinks;
use crate::spool::table;
use crate::spool::tally::Tally;
use crate::sqlite;

impl Owner {
    /// The file cannot be trusted to take another commit as it is.
    pub(super) fn broken(&mut self, error: &rusqlite::Error) {
        self.fail(Failure::of(error), error);
    }

    pub(super) fn fail(&mut self, failure: Failure, error: &dyn fmt::Display) {
        if self.failure < Some(failure) {
            tracing::error!(%error, remedy = failure.remedy(), "the spool cannot be written; deliveries are answered 503");
        }
        let failure = self.failure.max(Some(failure));
        // What has no name any more can be read by this connection alone.
        if failure == Some(Failure::Untrusted) {
            self.connection = None;
        }
        self.failure = failure;
        self.retry_at = Instant::now() + self.pause;
        self.metrics.spool_writable.set(0);
        self.state.writable.store(false, Ordering::Relaxed);
    }

    /// Tries a broken file again: as it is after a full disk, in a new one after an I/O error, under
    /// its name again where it has lost that.
    pub(super) fn mend(&mut self) {
        let Some(failure) = self.failure else { return };
        if Instant::now() < self.retry_at {
            return;
        }
        self.retry_at = Instant::now() + TICK;
        self.state.replacing.store(true, Ordering::Relaxed);
        let replaced = self.replace(failure);
        self.state.replacing.store(false, Ordering::Relaxed);
        if !replaced {
            return;
        }
        match self.probe() {
            Ok(()) => {
                self.failure = None;
                self.pause = TICK;
                tracing::warn!("the spool can be written again");
            }
            Err(error) => {
                if failure == Failure::Untrusted {
                    self.pause = (self.pause * 2).min(MAX_PAUSE);
                }
                self.broken(&error);
            }
        }
    }

    /// Whether there is a file to go on with. A file that is only full can still be read, so the
    /// dispatchers go on with what is in it.
    fn replace(&mut self, failure: Failure) -> bool {
        (failure != Failure::Vanished || self.regain_name())
            && (self.connection.is_some() || self.reopen(failure))
    }

    /// Whether the files are under their names again, or everything that is open lies ready to get
    /// their names.
    fn regain_name(&mut self) -> bool {
        let (Some(presence), Some(connection)) = (&self.presence, &self.connection) else {
            return true;
        };
        if presence.check().is_ok() {
            return true;
        }
        let Some(claim) = self.claim.as_mut() else {
            return true;
        };
        match salvage::rescue(connection, claim) {
            Ok(cost) => {
                self.spoilt(&cost);
                self.connection = None;
                true
            }
            Err(error) => {
                tracing::debug!(%error, "the spool still cannot be written under its name");
                false
            }
        }
    }

    fn reopen(&mut self, failure: Failure) -> bool {
        match damage::reopen(&self.settings.place, &mut self.claim, failure) {
            Ok(opened) => {
                self.connection = Some(opened.connection);
                self.claim = opened.claim;
                self.spoilt(&opened.cost);
                true
            }
            Err(error) => {
                tracing::debug!(%error, "the spool still cannot be opened");
                false
            }
        }
    }

    /// What the new file has cost; what is missing in it is counted when it is known what is there.
    fn spoilt(&mut self, cost: &Cost) {
        let mut entries = self.books.open();
        entries.spoilt(cost);
        entries.close(&self.tally, &self.settling);
    }

    /// A first commit, without any event, and a new count of what is there. What was settled before
    /// the failure is written first, so that the file says who still waits for what.
    fn probe(&mut self) -> rusqlite::Result<()> {
        let connection = self.open_connection()?;
        // What could not be moved for want of room is not built upon, and may be what fills the disk.
        sqlite::checkpoint(connection)?;
        sinks::restore(connection, &self.sinks)?;
        self.tally = Tally::load(connection)?;
        self.write_settled(true)?;
        self.take_stock()?;
        let mut entries = self.books.open();
        entries.restart(&self.tally);
        entries.close(&self.tally, &self.settling);
        Ok(())
    }

    pub(super) fn open_connection(&self) -> rusqlite::Result<&Connection> {
        self.connection
            .as_ref()
            .ok_or(rusqlite::Error::InvalidQuery)
    }

    /// Reads the counts and positions from the file: it is open and sound.
    pub(super) fn take_stock(&mut self) -> rusqlite::Result<()> {
        let connection = self.open_connection()?;
        let tally = Tally::load(connection)?;
        let free = table::unsigned(tally.reserved).max(table::next_free(connection)?);
        let mut partial: HashMap<u64, SinkSet> = HashMap::new();
        for (sequence, sink) in table::partly_settled(connection)? {
            let all = table::sinks_of(connection, sequence)?.unwrap_or_default();
            let waiting = partial.entry(sequence).or_insert(all);
            *waiting = waiting.without(sink);
        }
        self.presence = self.claim.as_ref().map(|claim| Presence::of(claim.path()));
        self.tally = tally;
        self.next_sequence = self.next_sequence.max(free);
        self.recent = Recent::above(self.next_sequence - 1);
        self.settling.restart(partial);
        self.metrics.spool_writable.set(1);
        self.state.writable.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// At the end: whatever could not be written under its name is gone with this program.
    pub(super) fn give_up_nameless(&mut self) {
        let Some(connection) = &self.connection else {
            return;
        };
        if self.failure == Some(Failure::Vanished) {
            let waiting: i64 = self.tally.pending.iter().sum();
            tracing::error!(
                waiting,
                "the spool's file was removed and could not be written again: what waits in it is lost"
            );
            if let Err(error) = sqlite::leave_name_alone(connection) {
                tracing::warn!(%error, "the spool's connection cannot be told to leave its name alone");
            }
        }
    }
}
