//! What arrived and shall be committed together.

use crate::route::Routed;
use crate::spool::bundle::Caller;
use crate::spool::command::{
    Append, Burial, Command, Fetch, Load, Milestone, Reply, SpoolUnavailable,
};
use crate::spool::inspect::Inspector;
use crate::spool::room::Room;

/// The most events of one commit: a larger group would only make the first of them wait longer.
const GROUP_EVENTS: usize = 512;
const GROUP_BYTES: usize = 8 * 1024 * 1024;

/// One group. Settlements are not in it: they count as soon as they arrive.
#[derive(Default)]
pub(super) struct Group {
    pub routed: Vec<Routed>,
    pub callers: Vec<(Milestone, Caller)>,
    pub bytes: usize,
    pub burials: Vec<(Burial, Reply<Result<(), SpoolUnavailable>>)>,
    pub fetches: Vec<Fetch>,
    pub loads: Vec<Load>,
    pub inspections: Vec<Inspector>,
    pub pulses: Vec<Reply<()>>,
    pub close: Option<Reply<()>>,
}

impl Group {
    pub fn is_complete(&self) -> bool {
        self.routed.len() >= GROUP_EVENTS || self.bytes >= GROUP_BYTES || self.close.is_some()
    }

    /// Bytes of the dead letters.
    pub fn burial_bytes(&self) -> usize {
        let bytes = |burial: &Burial| burial.record.position().bytes as usize;
        self.burials.iter().map(|(burial, _)| bytes(burial)).sum()
    }

    /// Takes out the dead letters that there is no room for; their events go on waiting.
    pub fn put_off_burials(&mut self, room: &mut Room) {
        let fits = |(burial, reply): (Burial, Reply<_>)| {
            if room.take_for_burial(burial.record.position().bytes as usize) {
                return Some((burial, reply));
            }
            // The dispatcher may be gone; it tries again otherwise.
            let _ = reply.send(Err(SpoolUnavailable::DiskFull));
            None
        };
        self.burials = self.burials.drain(..).filter_map(fits).collect();
    }

    /// Sorts a command in; what is not part of a commit comes back.
    pub fn admit(&mut self, command: Command) -> Option<Command> {
        match command {
            Command::Append(append) => {
                let Append {
                    routed,
                    milestone,
                    caller,
                } = *append;
                self.bytes += routed.event().body().len();
                self.routed.push(routed);
                self.callers.push((milestone, caller));
            }
            Command::Bury(burial, reply) => self.burials.push((burial, reply)),
            Command::Fetch(fetch) => self.fetches.push(fetch),
            Command::Load(load) => self.loads.push(load),
            Command::Inspect(inspector) => self.inspections.push(inspector),
            Command::Pulse(reply) => self.pulses.push(reply),
            Command::Close(reply) => self.close = Some(reply),
            other @ (Command::Settle(..) | Command::Limit(_)) => return Some(other),
        }
        None
    }
}
