//! The owner as a writer: one transaction for a group where the disk has room for all of it, and in
//! small steps where it has not, so that what is let go of always finds room.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Owner;
use super::group::Group;
use crate::spool::command::SpoolUnavailable;
use crate::spool::presence::Gone;
use crate::spool::room::{Room, Wanted};
use crate::spool::write::{Batch, Plan, Unwritten, Writer, is_over};
use crate::sqlite;

/// More than a row ever has besides the body.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Why a group was not written.
#[derive(Debug)]
pub(super) enum WriteError {
    /// The file is known to be broken.
    Broken,
    /// The file is not under its name any more.
    Gone(Gone),
    /// The database said no.
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for WriteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl Owner {
    /// Writes the group. What it changed in memory is taken over only when it worked.
    pub(super) fn write(
        &mut self,
        group: &mut Group,
        due: bool,
    ) -> Result<(Vec<Plan>, Vec<Unwritten>), WriteError> {
        if self.failure.is_some() {
            return Err(WriteError::Broken);
        }
        if let Some(presence) = &self.presence {
            presence.check().map_err(WriteError::Gone)?;
        }
        let wanted = Wanted {
            events: group.routed.len() + group.burials.len(),
            bytes: group.bytes + group.burial_bytes(),
            settlements: self.settling.unwritten().len(),
            expire: due,
        };
        let mut room = self.room(wanted)?;
        let mut expire = if due { room.expired() } else { 0 };
        if !room.covers(wanted) {
            self.write_settled(false)?;
            self.forget(std::mem::take(&mut expire))?;
            room = self.room(wanted)?;
            group.put_off_burials(&mut room);
        }
        let settled = if due || self.is_pressing(group, room) {
            self.settling.ripen_all()
        } else {
            self.settling.ripen()
        };
        self.write_group(group, settled, room, expire)
    }

    /// Whether all that has been settled must be written with the group: where room is scarce, where
    /// an inspection will look, and before a dead letter, which may take the row away that a mark of
    /// another sink is for.
    fn is_pressing(&self, group: &Group, room: Room) -> bool {
        let bytes = 2 * group.bytes + group.routed.len() * MAX_HEAD_BYTES;
        group.routed.is_empty()
            || !group.burials.is_empty()
            || !group.inspections.is_empty()
            || !room.is_plenty()
            || is_over(&self.tally, &self.settings, group.routed.len(), bytes)
    }

    fn write_group(
        &mut self,
        group: &mut Group,
        settled: usize,
        room: Room,
        expire: usize,
    ) -> Result<(Vec<Plan>, Vec<Unwritten>), WriteError> {
        let connection = self.connection.as_mut().ok_or(WriteError::Broken)?;
        let burials = group
            .burials
            .iter()
            .map(|(burial, _)| (burial.record.position(), burial.sink));
        let buried = self.settling.foresee_all(burials);
        let batch = Batch {
            settled: &self.settling.unwritten()[..settled],
            burials: group
                .burials
                .iter()
                .map(|(burial, _)| burial)
                .zip(buried.iter().copied())
                .collect(),
            appends: std::mem::take(&mut group.routed),
            expire,
            probe: false,
        };
        let mut writer = Writer::new(&self.settings, &self.tally, self.next_sequence).within(room);
        let plans = writer.write(connection, batch)?;
        let refused = plans
            .iter()
            .any(|plan| matches!(plan, Plan::Refused(SpoolUnavailable::DiskFull)));
        self.state
            .disk_full
            .store(refused || writer.room.is_exhausted(), Ordering::Relaxed);
        (self.tally, self.next_sequence) = (writer.tally, writer.next_sequence);
        self.settling.written(settled);
        if expire > 0 {
            self.ticked_at = Instant::now();
        }
        Ok((plans, buried))
    }

    /// Writes what has been settled, in as many transactions as the room asks for; with `probe` at
    /// least one.
    pub(super) fn write_settled(&mut self, mut probe: bool) -> rusqlite::Result<()> {
        while probe || !self.settling.unwritten().is_empty() {
            let settlements = self.settling.unwritten().len();
            let wanted = Wanted {
                settlements,
                ..Wanted::default()
            };
            let count = settlements.min(self.room(wanted)?.settlements());
            let batch = Batch {
                settled: &self.settling.unwritten()[..count],
                probe: std::mem::take(&mut probe),
                ..Batch::default()
            };
            let mut writer = Writer::new(&self.settings, &self.tally, self.next_sequence);
            let connection = self
                .connection
                .as_mut()
                .ok_or(rusqlite::Error::InvalidQuery)?;
            writer.write(connection, batch)?;
            self.tally = writer.tally;
            self.settling.written(count);
        }
        Ok(())
    }

    /// Forgets so many ids that are older than the window.
    fn forget(&mut self, expire: usize) -> rusqlite::Result<()> {
        if expire == 0 {
            return Ok(());
        }
        self.room(Wanted::default())?;
        let batch = Batch {
            expire,
            ..Batch::default()
        };
        let connection = self
            .connection
            .as_mut()
            .ok_or(rusqlite::Error::InvalidQuery)?;
        Writer::new(&self.settings, &self.tally, self.next_sequence).write(connection, batch)?;
        self.ticked_at = Instant::now();
        Ok(())
    }

    /// The room there is. Where it is too little for what is wanted, the log is moved into the file
    /// and gives its own back.
    fn room(&self, wanted: Wanted) -> rusqlite::Result<Room> {
        let Some(claim) = &self.claim else {
            return Ok(Room::PLENTY);
        };
        let connection = self.open_connection()?;
        let room = Room::look(connection, claim.path())?;
        if room.covers(wanted) || room.is_plenty() {
            return Ok(room);
        }
        match sqlite::checkpoint(connection) {
            // Somebody else has taken the room for that: then this much is all there is.
            Err(error) if !sqlite::is_full(&error) => Err(error),
            _ => Room::look(connection, claim.path()),
        }
    }
}
