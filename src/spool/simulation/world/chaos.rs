//! What happens to the machine, in any order.

use std::ops::Range;
use std::time::Duration;

use tokio::sync::oneshot;

use super::super::events::{EVENTS, SEGMENT_BYTES};
use super::super::fault_plan::FaultPlan;
use super::super::happenings::Happening;
use super::super::model::{NAMES, Names, places};
use super::World;
use crate::log::disk::simulated::{Call, Faults};
use crate::log::disk::{Disk as _, File, read_exact_at};
use crate::log::format::{
    BLOCK_BYTES, BatchHead, Frame, HEAD_BYTES, RECORD_ALIGNMENT, framed_length,
};
use crate::log::segment::segment_name;
use crate::spool::command::WriterCommand;

impl World {
    pub(super) fn step(&mut self) {
        match self.random.below(200) {
            0..56 => self.send(),
            56..114 => self.turn(),
            114..142 => self.maintain(),
            142..164 => self.deliver(),
            164..168 => self.dead_letter(),
            168..171 => self.requeue(),
            171..178 => self.disk.crash_at_change(1 + self.random.below(20)),
            178..180 => self.rot(),
            180..182 => self.change_faults(),
            182..186 => self.crash(),
            186..188 => self.inspect(),
            188..189 => self.stop(),
            189..190 => self.drop_sink(),
            190..191 => self.now += Duration::from_secs(61),
            _ => self.now += Duration::from_millis(self.random.below(1500)),
        }
        while self.disk.crashed() {
            self.crash();
        }
    }

    /// Some of these.
    fn some_of(&mut self, names: Names) -> Names {
        let drawn = names & self.random.below(1 << NAMES.len()) as Names;
        if drawn == 0 { names } else { drawn }
    }

    fn send(&mut self) {
        let mut number = self.random.index(EVENTS);
        for _ in 0..=self.random.below(6) {
            // Else it is another copy of the last one.
            if self.random.chance(0.8) {
                number = self.random.index(EVENTS);
            }
            let version = usize::from(self.random.chance(0.1));
            let names = match self.random.below(3) {
                0 => self.some_of(self.configured),
                _ => self.configured,
            };
            let awaits_delivery = self.random.chance(0.1);
            self.send_one((number, version), names, awaits_delivery);
        }
    }

    /// A sink reads on and confirms something, in any order.
    fn deliver(&mut self) {
        let Some(place) = self.any_sink() else { return };
        self.read_on(place);
        for _ in 0..self.random.below(8) {
            let length = self.in_flight[place].len();
            if length == 0 {
                break;
            }
            let at = self.random.index(length.min(8));
            let record = self.in_flight[place].remove(at);
            self.confirm(place, record);
        }
    }

    fn any_sink(&mut self) -> Option<usize> {
        let sinks: Vec<usize> = places(self.configured & !self.away).collect();
        (!sinks.is_empty()).then(|| sinks[self.random.index(sinks.len())])
    }

    fn dead_letter(&mut self) {
        if let Some(place) = self.any_sink() {
            self.dead_letter_next(place);
        }
    }

    /// Before a start sinks are added and taken out. After rot a snapshot may be missing, and then
    /// nobody knows what waits for a sink that is not configured.
    pub(super) fn reconfigure(&mut self) {
        if self.plan == FaultPlan::Rot || !self.random.chance(0.15) {
            return;
        }
        let before = self.configured;
        self.configured = self.some_of(0b1111);
        let gone = before & !self.configured;
        let owes = |place: usize| self.model.waiting_for(place).next().is_some();
        if places(gone).any(owes) {
            self.seen.note(Happening::SinkTakenOutThatOwes);
        }
        if places(gone).any(|place| !owes(place)) && self.configured & !before != 0 {
            self.seen.note(Happening::NumberGivenAgain);
        }
    }

    /// An operator drops what waits for a sink that was taken out.
    fn drop_sink(&mut self) {
        let Some(running) = &self.running else { return };
        for place in places(!self.configured & 0b1111) {
            let Some(sink) = running.numbers[place] else {
                continue;
            };
            let count = running.shared.drop_all(sink);
            let of_model = self.model.waiting_for(place).count() as u64;
            let outcome = format!("{count} were dropped of {of_model}");
            self.must((count == of_model).then_some(()).ok_or(outcome));
            self.model.drop_all(place);
            self.seen.note(Happening::SinkDropped);
        }
    }

    fn change_faults(&mut self) {
        if self.plan != FaultPlan::Faults {
            return;
        }
        let mut faults = Faults::default();
        if self.random.chance(0.7) {
            faults.calls = [
                Call::Write,
                Call::Sync,
                Call::SyncFolder,
                Call::Create,
                Call::Rename,
            ]
            .to_vec();
            let often = [0.02, 0.2, 1.0][self.random.index(3)];
            match self.random.below(5) {
                0 => faults.broken = often,
                1 => faults.no_space = often,
                2 => faults.quota = often,
                3 => faults.too_large = often,
                _ => faults.short = often,
            }
        }
        Self::tell(|| format!("{faults:?}"));
        self.disk.set_faults(faults);
        let capacity = if self.random.chance(0.3) {
            6 * SEGMENT_BYTES
        } else {
            u64::MAX
        };
        self.disk.set_capacity(capacity);
        let refuses = self.random.chance(0.2);
        self.index.refuse(refuses);
        self.model.may_forget_ids |= refuses;
    }

    /// The process is asked to stop, and is started again.
    fn stop(&mut self) {
        let Some(running) = self.running.take() else {
            return;
        };
        let (reply, _) = oneshot::channel();
        let _ = running.commands.send(WriterCommand::Close(reply));
        drop(running.commands);
        running
            .writer
            .run(&running.inbox, &std::sync::Weak::new(), || {});
        running.maintenance.run();
        self.seen.note(Happening::Stopped);
        let is_durable = running.shared.lock().state.unwritten.is_empty();
        if !self.disk.crashed() && is_durable && self.has_written {
            // Nobody hears the last answers; what was confirmed before is done for good.
            self.model.progress_is_durable();
        }
        drop(running.shared);
        if self.disk.crashed() {
            return;
        }
        self.let_go();
        self.reconfigure();
        self.start();
    }

    /// Sectors of a segment rot. Not of the newest second: nothing tells that from a torn write.
    fn rot(&mut self) {
        if self.plan != FaultPlan::Rot || self.running.is_none() {
            return;
        }
        if !self.settle_down() {
            return;
        }
        let Some(running) = &self.running else { return };
        let segments: Vec<(u64, u64, u64)> = {
            let inner = running.shared.lock();
            let segments = inner.state.segments.iter();
            segments
                .map(|(number, segment)| (*number, segment.file.file.salt, segment.end))
                .collect()
        };
        if segments.is_empty() {
            return;
        }
        let (number, salt, end) = segments[self.random.index(segments.len())];
        let name = segment_name(number);
        let mut offset = self.random.below(end / 512) * 512 + self.random.below(512);
        let file = self.disk.open(&name).expect("a segment of the spool");
        let is_cut = file
            .length()
            .is_ok_and(|length| length <= BLOCK_BYTES as u64);
        if self.model.is_vague || is_cut {
            // A file without its header's first bytes and without a head is nobody's: it is refused.
            offset = offset.max(BLOCK_BYTES as u64);
        }
        let length = 1 + self.random.below(16);
        Self::tell(|| format!("{name} rots at {offset} for {length}"));
        self.note_rot(&*file, salt, end, offset..offset + length);
        self.disk.rot(&name, offset, length);
        // What is in memory hides it: a start reads it.
        self.crash();
    }

    /// Notes which records the bytes are of, or that they are of more than records.
    fn note_rot(&mut self, file: &dyn File, salt: u64, end: u64, rot: Range<u64>) {
        let mut bytes = vec![0; end as usize];
        if read_exact_at(file, &mut bytes, 0).is_err() {
            self.model.is_vague = true;
            return;
        }
        let rot = rot.start as usize..rot.end as usize;
        let touches = |range: Range<usize>| range.start < rot.end && rot.start < range.end;
        // What a start has found behind the end is not known to be on the disk.
        self.model.is_vague |= rot.end > bytes.len();
        let mut at = BLOCK_BYTES;
        while at < bytes.len() {
            let Some(head) = BatchHead::decode(&bytes[at..]) else {
                self.model.is_vague = true;
                return;
            };
            let items = (head.items_length as usize).next_multiple_of(RECORD_ALIGNMENT);
            let end = at + head.length as usize;
            let mut record = at + HEAD_BYTES + items;
            self.model.is_vague |= touches(at..record);
            while record < end {
                let Some(frame) = Frame::decode(&bytes[record..end], salt) else {
                    self.model.is_vague = true;
                    return;
                };
                let behind = record + framed_length(frame.payload.len());
                if touches(record..behind) {
                    self.model.rotten.insert(frame.sequence);
                }
                record = behind;
            }
            at = end.next_multiple_of(BLOCK_BYTES);
        }
    }

    /// Lets seconds pass without events, until the last batch is proven and progress is durable.
    fn settle_down(&mut self) -> bool {
        for _ in 0..30 {
            self.now += Duration::from_millis(1100);
            self.turn();
            self.maintain();
            let is_settled = self.running.as_ref().is_some_and(|running| {
                running.writer.is_proven() && running.shared.lock().state.unwritten.is_empty()
            });
            if is_settled && self.dead_letters.is_empty() {
                return !self.disk.crashed();
            }
        }
        false
    }
}
