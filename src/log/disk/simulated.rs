//! A simulated disk for tests: what a crash leaves of it and which calls fail is drawn from a seed.
//!
//! # What it takes a disk to be
//! - Reads and writes meet the *cache*; a successful sync brings a file's changes to the *platter*.
//!   When a process crashes, the cache survives. When the power fails, every 512-byte sector becomes
//!   one of the versions it has had since it was last synced, that one included, whatever becomes
//!   of its neighbours; now and then it becomes unreadable (`EIO`) until it is written whole. The
//!   length becomes anything between the ones it has had.
//! - After a failed sync the cache keeps the new bytes and counts them as written: later syncs
//!   succeed and leave them out, unless they were written again. Until then they stay in doubt.
//! - Of the names made, moved and removed since the folder was last synced, any subset survives, in
//!   any order, so each name stands for one of the files it has stood for. A file has at most one
//!   name after that, and one without a name is gone. After a failed sync of the folder its changes
//!   stay in doubt, until the same file or name is changed again and that is synced.
//! - A failed or interrupted write may have written the beginning of its data.
//!
//! # Crashes
//! [`SimulatedDisk::crash_at_change`] makes a later call fail with [`SimulatedCrash`], and every call
//! after it, so that the program under test stops there. [`SimulatedDisk::crash`] then says what
//! kind of crash it was, and returns the disk as the next start finds it. Handles from before stay
//! dead.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::{self, Debug, Formatter};
use std::io;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use super::{Disk, File};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;
/// How many calls a failure message shows.
const TRACED: usize = 60;
/// The device number in every file's identity: no real device has it.
const DEVICE: u64 = u64::MAX;
const ROOT: Id = 0;

/// A generator of random numbers (splitmix64): the same seed gives the same numbers everywhere.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    /// The generator of this seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Any number.
    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which must not be zero.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        assert!(limit > 0, "there is no number below zero");
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// Whether something happens that has this probability.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        ((self.next() >> 11) as f64) < probability * (1_u64 << 53) as f64
    }

    /// An index into something of this length, which must not be zero.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// Puts the items into a random order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }
}

/// What crashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crash {
    /// The process alone: the cache survives.
    Process,
    /// The whole machine: of what was not synced, anything may be gone.
    Power,
}

/// The kinds of calls of [`Disk`] and [`File`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    List,
    Create,
    Open,
    Rename,
    Remove,
    SyncFolder,
    Folder,
    IsNamed,
    Length,
    Read,
    Write,
    Truncate,
    Sync,
}

impl Call {
    pub(crate) const ALL: [Self; 13] = [
        Self::List,
        Self::Create,
        Self::Open,
        Self::Rename,
        Self::Remove,
        Self::SyncFolder,
        Self::Folder,
        Self::IsNamed,
        Self::Length,
        Self::Read,
        Self::Write,
        Self::Truncate,
        Self::Sync,
    ];

    /// Whether a crash in it may leave another disk than a crash before it.
    fn changes(self) -> bool {
        match self {
            Self::Create | Self::Rename | Self::Remove | Self::SyncFolder | Self::Folder => true,
            Self::Write | Self::Truncate | Self::Sync => true,
            Self::List | Self::Open | Self::IsNamed | Self::Length | Self::Read => false,
        }
    }
}

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DiskFault {
    /// `EIO`.
    Broken,
    /// `ENOSPC`; drawn at random only for calls that change something.
    NoSpace,
    /// `EDQUOT`; drawn at random only for calls that change something.
    Quota,
    /// `EFBIG`; drawn at random only for writes.
    TooLarge,
    /// A write that writes only a part of its data; means nothing for other calls.
    Short,
}

impl DiskFault {
    fn error(self) -> Option<io::Error> {
        let number = match self {
            Self::Broken => Errno::IO,
            Self::NoSpace => Errno::NOSPC,
            Self::Quota => Errno::DQUOT,
            Self::TooLarge => Errno::FBIG,
            Self::Short => return None,
        };
        Some(number.into())
    }
}

/// How often calls go wrong. By default none does, and few sectors are unreadable.
#[derive(Debug, Clone)]
pub(crate) struct Faults {
    /// The calls that may fail.
    pub(crate) calls: Vec<Call>,
    pub(crate) broken: f64,
    pub(crate) no_space: f64,
    pub(crate) quota: f64,
    pub(crate) too_large: f64,
    pub(crate) short: f64,
    /// For each sector whose content is drawn when the power fails: that it reads as `EIO`.
    pub(crate) unreadable: f64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            calls: Call::ALL.to_vec(),
            broken: 0.0,
            no_space: 0.0,
            quota: 0.0,
            too_large: 0.0,
            short: 0.0,
            unreadable: 0.002,
        }
    }
}

impl Faults {
    fn draw(&self, call: Call, random: &mut Random) -> Option<DiskFault> {
        if !self.calls.contains(&call) {
            return None;
        }
        let write = call == Call::Write;
        let kinds = [
            (self.broken, DiskFault::Broken, true),
            (self.no_space, DiskFault::NoSpace, call.changes()),
            (self.quota, DiskFault::Quota, call.changes()),
            (self.too_large, DiskFault::TooLarge, write),
            (self.short, DiskFault::Short, write),
        ];
        let drawn = kinds
            .into_iter()
            .find(|(probability, _, applies)| *applies && random.chance(*probability));
        drawn.map(|(_, fault, _)| fault)
    }
}

/// The cause of every error after a simulated crash: the program under test is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SimulatedCrash;

impl SimulatedCrash {
    /// Whether it is what this error says.
    pub(crate) fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|cause| cause.is::<Self>())
    }
}

impl fmt::Display for SimulatedCrash {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str("the simulated machine has crashed")
    }
}

impl std::error::Error for SimulatedCrash {}

impl From<SimulatedCrash> for io::Error {
    fn from(crash: SimulatedCrash) -> Self {
        Self::other(crash)
    }
}

/// Names a file or a folder for as long as the disk lives.
type Id = u64;

/// A sector's bytes; none where reading them is an error.
type Sector = Option<[u8; SECTOR]>;
const BLANK: Sector = Some([0; SECTOR]);

/// What one thing has been since it was certainly on the platter.
struct Versions<T> {
    /// Of before a failed sync: later syncs leave them out.
    doubtful: Vec<T>,
    unsynced: Vec<T>,
}

impl<T> Default for Versions<T> {
    fn default() -> Self {
        Self {
            doubtful: Vec::new(),
            unsynced: Vec::new(),
        }
    }
}

impl<T> Versions<T> {
    fn all(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.doubtful.iter().chain(&self.unsynced)
    }

    fn sync_failed(&mut self) {
        self.doubtful.append(&mut self.unsynced);
    }
}

/// What survives a power failure of one file's changes, or of one folder's.
#[derive(Clone, Copy)]
enum Survivors {
    None,
    All,
    Any,
}

impl Survivors {
    /// Both extremes often: drawn for each sector by itself they would hardly occur.
    fn draw(random: &mut Random) -> Self {
        match random.below(4) {
            0 => Self::None,
            1 => Self::All,
            _ => Self::Any,
        }
    }
}

/// A file: what the cache has of it, and what the platter has.
#[derive(Default)]
struct Contents {
    cache: Vec<Sector>,
    length: u64,
    platter: Vec<Sector>,
    platter_length: u64,
    /// The sectors in which cache and platter may differ.
    changed: BTreeMap<usize, Versions<Sector>>,
    lengths: Versions<u64>,
}

fn sector(sectors: &[Sector], index: usize) -> Sector {
    sectors.get(index).copied().unwrap_or(BLANK)
}

fn set_sector(sectors: &mut Vec<Sector>, index: usize, value: Sector) {
    if sectors.len() <= index {
        sectors.resize(index + 1, BLANK);
    }
    sectors[index] = value;
}

/// Cuts or extends to a length. What lies behind the length is zeros, should the file grow again.
fn set_length(sectors: &mut Vec<Sector>, length: u64) {
    let length = length as usize;
    sectors.resize(length.div_ceil(SECTOR), BLANK);
    if let Some(Some(last)) = sectors.last_mut()
        && !length.is_multiple_of(SECTOR)
    {
        last[length % SECTOR..].fill(0);
    }
}

impl Contents {
    fn change_length(&mut self, length: u64) {
        if length != self.length {
            self.length = length;
            self.lengths.unsynced.push(length);
        }
    }

    fn cut(&mut self, length: u64) {
        let before = self.cache.len();
        set_length(&mut self.cache, length);
        for index in length as usize / SECTOR..before {
            let left = sector(&self.cache, index);
            self.changed.entry(index).or_default().unsynced.push(left);
        }
        self.change_length(length);
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let there = self.length.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let mut done = 0;
        while done < there {
            let position = offset as usize + done;
            let start = position % SECTOR;
            let part = &mut buffer[done..there.min(done + SECTOR - start)];
            let bytes = sector(&self.cache, position / SECTOR).ok_or(Errno::IO)?;
            part.copy_from_slice(&bytes[start..start + part.len()]);
            done += part.len();
        }
        Ok(there)
    }

    fn write(&mut self, data: &[u8], offset: u64) {
        let end = offset + data.len() as u64;
        if !data.is_empty() && end > self.length {
            self.change_length(end);
        }
        let mut done = 0;
        while done < data.len() {
            let position = offset as usize + done;
            let (index, start) = (position / SECTOR, position % SECTOR);
            let part = &data[done..data.len().min(done + SECTOR - start)];
            // To the file's end is the whole sector, for what is behind it is nobody's.
            let whole = start == 0
                && (part.len() == SECTOR || (position + part.len()) as u64 == self.length);
            let old = sector(&self.cache, index);
            let new = if whole { old.or(BLANK) } else { old };
            let new = new.map(|mut bytes| {
                bytes[start..start + part.len()].copy_from_slice(part);
                bytes
            });
            set_sector(&mut self.cache, index, new);
            self.changed.entry(index).or_default().unsynced.push(new);
            done += part.len();
        }
    }

    fn sync(&mut self) {
        let (cache, platter) = (&self.cache, &mut self.platter);
        self.changed.retain(|index, versions| {
            let written = !versions.unsynced.is_empty();
            if written {
                set_sector(platter, *index, sector(cache, *index));
            }
            !written
        });
        if !self.lengths.unsynced.is_empty() {
            self.platter_length = self.length;
            self.lengths = Versions::default();
        }
    }

    fn sync_failed(&mut self) {
        for versions in self.changed.values_mut() {
            versions.sync_failed();
        }
        self.lengths.sync_failed();
    }

    fn lose_power(&mut self, unreadable: f64, random: &mut Random) {
        let survivors = Survivors::draw(random);
        for (index, versions) in mem::take(&mut self.changed) {
            let synced = sector(&self.platter, index);
            let left = match survivors {
                Survivors::None => synced,
                Survivors::All => versions.all().last().copied().unwrap_or(synced),
                Survivors::Any if random.chance(unreadable) => None,
                Survivors::Any => {
                    let count = versions.all().count();
                    let drawn = versions.all().nth(random.index(count + 1)).copied();
                    drawn.unwrap_or(synced)
                }
            };
            set_sector(&mut self.platter, index, left);
            set_sector(&mut self.cache, index, left);
        }
        let lengths = mem::take(&mut self.lengths);
        let synced = self.platter_length;
        let length = match survivors {
            Survivors::None => synced,
            Survivors::All => self.length,
            Survivors::Any => {
                let least = lengths.all().copied().fold(synced, u64::min);
                let most = lengths.all().copied().fold(synced, u64::max);
                least + random.below(most - least + 1)
            }
        };
        (self.length, self.platter_length) = (length, length);
        set_length(&mut self.platter, length);
        set_length(&mut self.cache, length);
    }

    /// Turns one bit of each byte in the range, wherever the byte lies.
    fn rot(&mut self, offset: u64, length: u64, random: &mut Random) {
        for position in offset..(offset + length).min(self.length) {
            let (index, place) = (position as usize / SECTOR, position as usize % SECTOR);
            let bit = 1 << random.below(8);
            let versions = self.changed.get_mut(&index).into_iter();
            let versions = versions.flat_map(|versions| {
                let Versions { doubtful, unsynced } = versions;
                doubtful.iter_mut().chain(unsynced)
            });
            let sides = [&mut self.cache, &mut self.platter].into_iter();
            let sides = sides.filter_map(|sectors| sectors.get_mut(index));
            for bytes in sides.chain(versions).flatten() {
                bytes[place] ^= bit;
            }
        }
    }
}

/// A file or folder that gets a name (`to`), loses one (`from`), or both at once.
#[derive(Clone)]
struct Change {
    id: Id,
    from: Option<String>,
    to: Option<String>,
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, Id>) {
        names.retain(|_, id| *id != self.id);
        if let Some(to) = &self.to {
            names.insert(to.clone(), self.id);
        }
    }

    /// Whether it settles what an earlier change left in doubt.
    fn settles(&self, earlier: &Self) -> bool {
        let touched = [&self.from, &self.to];
        self.id == earlier.id || (earlier.to.is_some() && touched.contains(&&earlier.to))
    }
}

/// A folder: the names in the cache, and those on the platter.
#[derive(Default)]
struct Folder {
    names: BTreeMap<String, Id>,
    platter: BTreeMap<String, Id>,
    changes: Versions<Change>,
}

impl Folder {
    fn find(&self, name: &str) -> io::Result<Id> {
        let id = self.names.get(name).copied();
        id.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn change(&mut self, id: Id, from: Option<&str>, to: Option<&str>) {
        let change = Change {
            id,
            from: from.map(ToOwned::to_owned),
            to: to.map(ToOwned::to_owned),
        };
        change.apply(&mut self.names);
        self.changes.unsynced.push(change);
    }

    fn sync(&mut self) {
        for change in mem::take(&mut self.changes.unsynced) {
            change.apply(&mut self.platter);
            self.changes.doubtful.retain(|old| !change.settles(old));
        }
    }

    fn lose_power(&mut self, random: &mut Random) {
        let mut changes: Vec<Change> = self.changes.all().cloned().collect();
        match Survivors::draw(random) {
            Survivors::None => changes.clear(),
            Survivors::All => {}
            Survivors::Any => {
                changes.retain(|_| random.chance(0.5));
                random.shuffle(&mut changes);
            }
        }
        for change in changes {
            change.apply(&mut self.platter);
        }
        self.names = self.platter.clone();
        self.changes = Versions::default();
    }
}

/// A call that is to go wrong.
struct Plan {
    /// How many of the calls are still to come, itself included.
    left: u64,
    calls: Vec<Call>,
    fault: DiskFault,
}

/// The whole disk.
struct State {
    random: Random,
    files: BTreeMap<Id, Contents>,
    folders: BTreeMap<Id, Folder>,
    next_id: Id,
    faults: Faults,
    plans: Vec<Plan>,
    capacity: u64,
    prewrites: bool,
    /// How many crashes there were: handles from before the last one are dead.
    generation: u64,
    crashed: bool,
    changes: u64,
    /// The number of the change that does not happen any more.
    crash_at: Option<u64>,
    trace: VecDeque<String>,
}

impl State {
    fn new_id(&mut self) -> Id {
        self.next_id += 1;
        self.next_id
    }

    fn folder(&mut self, id: Id) -> &mut Folder {
        self.folders.entry(id).or_default()
    }

    fn find_file(&mut self, id: Id) -> io::Result<&mut Contents> {
        let file = self.files.get_mut(&id);
        file.ok_or_else(|| io::ErrorKind::IsADirectory.into())
    }

    /// Counts a call, notes it for the trace, and decides what goes wrong with it.
    fn admit(&mut self, call: Call, what: &str) -> io::Result<Option<DiskFault>> {
        self.changes += u64::from(call.changes());
        let crash = call.changes() && self.crash_at == Some(self.changes);
        let fault = if crash { None } else { self.fault(call) };
        if self.trace.len() == TRACED {
            self.trace.pop_front();
        }
        let number = self.changes;
        self.trace.push_back(match (crash, fault) {
            (true, _) => format!("{number} {call:?} {what}: crash"),
            (false, Some(fault)) => format!("{number} {call:?} {what}: {fault:?}"),
            (false, None) => format!("{number} {call:?} {what}"),
        });
        if crash {
            self.crashed = true;
            return Err(SimulatedCrash.into());
        }
        fault.and_then(DiskFault::error).map_or(Ok(fault), Err)
    }

    /// Admits a call that nothing can happen to but failing.
    fn admit_whole(&mut self, call: Call, what: &str) -> io::Result<()> {
        self.admit(call, what).map(drop)
    }

    /// Admits a change that happens whole or not at all. One that a crash interrupts may have happened.
    fn admit_change(
        &mut self,
        call: Call,
        what: &str,
        change: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        let Err(error) = self.admit_whole(call, what) else {
            return change(self);
        };
        if SimulatedCrash::is(&error) && self.random.chance(0.5) {
            // The caller is told of the crash, whether the change was possible or not.
            drop(change(self));
        }
        Err(error)
    }

    fn fault(&mut self, call: Call) -> Option<DiskFault> {
        let mut planned = None;
        self.plans.retain_mut(|plan| {
            plan.left -= u64::from(plan.calls.contains(&call));
            if plan.left == 0 {
                planned = planned.or(Some(plan.fault));
            }
            plan.left > 0
        });
        planned.or_else(|| self.faults.draw(call, &mut self.random))
    }

    /// How many of `wanted` bytes can be written into a file: what makes it grow needs space.
    fn fitting(&self, length: u64, wanted: usize, offset: u64) -> usize {
        let end = offset + wanted as u64;
        if end <= length {
            return wanted;
        }
        let free = self.capacity.saturating_sub(self.used());
        let over = end.saturating_sub(length.saturating_add(free));
        wanted.saturating_sub(over as usize)
    }

    /// The lengths of all files that have a name.
    fn used(&self) -> u64 {
        let named = self
            .folders
            .values()
            .flat_map(|folder| folder.names.values());
        named
            .filter_map(|id| self.files.get(id))
            .map(|file| file.length)
            .sum()
    }

    fn write(&mut self, id: Id, what: &str, data: &[u8], offset: u64) -> io::Result<usize> {
        let admitted = self.admit(Call::Write, what);
        let length = self.find_file(id)?.length;
        let fitting = self.fitting(length, data.len(), offset);
        let count = match admitted {
            // One byte cannot be cut any shorter.
            Ok(Some(DiskFault::Short)) if fitting > 1 => 1 + self.random.index(fitting - 1),
            Ok(_) => fitting,
            Err(_) => self.random.index(fitting + 1),
        };
        self.find_file(id)?.write(&data[..count], offset);
        if count < data.len()
            && let Some(line) = self.trace.back_mut()
        {
            line.push_str(&format!(" ({count} bytes written)"));
        }
        admitted?;
        if count == 0 && !data.is_empty() {
            return Err(Errno::NOSPC.into());
        }
        Ok(count)
    }

    fn crash(&mut self, kind: Crash) {
        self.generation += 1;
        self.crashed = false;
        self.crash_at = None;
        self.plans.clear();
        self.trace
            .push_back(format!("{} crash: {kind:?}", self.changes));
        if kind == Crash::Power {
            for folder in self.folders.values_mut() {
                folder.lose_power(&mut self.random);
            }
            for file in self.files.values_mut() {
                file.lose_power(self.faults.unreadable, &mut self.random);
            }
        }
        self.forget_unnamed();
    }

    /// Lets go of what no name leads to any more, nor might after a power failure.
    fn forget_unnamed(&mut self) {
        let mut reached = BTreeSet::from([ROOT]);
        let mut open = vec![ROOT];
        while let Some(id) = open.pop() {
            let Some(folder) = self.folders.get(&id) else {
                continue;
            };
            let names = folder.names.values().chain(folder.platter.values());
            let changes = folder.changes.all().map(|change| &change.id);
            for id in names.chain(changes) {
                if reached.insert(*id) {
                    open.push(*id);
                }
            }
        }
        self.files.retain(|id, _| reached.contains(id));
        self.folders.retain(|id, _| reached.contains(id));
    }
}

/// A folder of the simulated disk, and the way to make things happen to the disk: all handles share
/// its faults and crashes.
#[derive(Clone)]
pub(crate) struct SimulatedDisk {
    state: Arc<Mutex<State>>,
    generation: u64,
    id: Id,
    /// What stands before a file's name in the trace.
    prefix: String,
}

/// How tests make things happen. These work on any handle, a dead one too.
impl SimulatedDisk {
    /// An empty disk on which nothing fails yet, and its outermost folder.
    pub(crate) fn new(seed: u64) -> Self {
        let state = State {
            random: Random::new(seed),
            files: BTreeMap::new(),
            folders: BTreeMap::from([(ROOT, Folder::default())]),
            next_id: ROOT,
            faults: Faults::default(),
            plans: Vec::new(),
            capacity: u64::MAX,
            prewrites: true,
            generation: 0,
            crashed: false,
            changes: 0,
            crash_at: None,
            trace: VecDeque::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            generation: 0,
            id: ROOT,
            prefix: String::new(),
        }
    }

    /// Crashes, and returns the outermost folder as the next start finds it. Plans are forgotten,
    /// faults and capacity stay.
    pub(crate) fn crash(&self, kind: Crash) -> Self {
        let mut state = self.state();
        state.crash(kind);
        Self {
            state: Arc::clone(&self.state),
            generation: state.generation,
            id: ROOT,
            prefix: String::new(),
        }
    }

    /// Lets the machine crash in the `nth` change from now, 1 being the next: that call happens in
    /// part or not at all, and it and all that follow fail with [`SimulatedCrash`].
    pub(crate) fn crash_at_change(&self, nth: u64) {
        assert!(nth > 0, "the next change is the first");
        let mut state = self.state();
        state.crash_at = Some(state.changes + nth);
    }

    /// Whether the crash has come that was ordered.
    pub(crate) fn crashed(&self) -> bool {
        self.state().crashed
    }

    /// Lets the `nth` from now of these calls go wrong, 1 being the next.
    pub(crate) fn fail(&self, nth: u64, calls: &[Call], fault: DiskFault) {
        assert!(nth > 0, "the next call is the first");
        self.state().plans.push(Plan {
            left: nth,
            calls: calls.to_vec(),
            fault,
        });
    }

    /// Lets calls go wrong at random.
    pub(crate) fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// How many bytes all files together may have.
    pub(crate) fn set_capacity(&self, bytes: u64) {
        self.state().capacity = bytes;
    }

    /// What [`Disk::prewrites`] says; at first true.
    pub(crate) fn set_prewrites(&self, prewrites: bool) {
        self.state().prewrites = prewrites;
    }

    /// Turns one bit of each byte in this range of a file of this folder, on the platter and in the
    /// cache.
    pub(crate) fn rot(&self, name: &str, offset: u64, length: u64) {
        let mut guard = self.state();
        let state = &mut *guard;
        let id = state.folder(self.id).find(name);
        let file = id.ok().and_then(|id| state.files.get_mut(&id));
        let file = file.unwrap_or_else(|| panic!("no file {}{name}", self.prefix));
        file.rot(offset, length, &mut state.random);
    }

    /// How many calls that change something there have been.
    pub(crate) fn changes(&self) -> u64 {
        self.state().changes
    }

    /// The last calls, one a line: the number of the change, the call, what it was about, and what
    /// went wrong.
    pub(crate) fn trace(&self) -> String {
        let state = self.state();
        let lines: Vec<&str> = state.trace.iter().map(String::as_str).collect();
        lines.join("\n")
    }

    /// [`Disk::folder`], as this type.
    pub(crate) fn subfolder(&self, name: &str) -> io::Result<Self> {
        let parent = self.id;
        self.live()?
            .admit_change(Call::Folder, &self.path(name), |state| {
                if state.folder(parent).find(name).is_err() {
                    let id = state.new_id();
                    state.folder(id);
                    state.folder(parent).change(id, None, Some(name));
                }
                Ok(())
            })?;
        let mut state = self.live()?;
        let id = state.folder(parent).find(name)?;
        if !state.folders.contains_key(&id) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self {
            state: Arc::clone(&self.state),
            generation: self.generation,
            id,
            prefix: self.path(&format!("{name}/")),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn live(&self) -> io::Result<MutexGuard<'_, State>> {
        live(&self.state, self.generation)
    }

    fn path(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn handle(&self, name: &str, id: Id) -> Arc<dyn File> {
        Arc::new(SimulatedFile {
            state: Arc::clone(&self.state),
            generation: self.generation,
            id,
            path: self.path(name),
        })
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The disk, for a handle that no crash has killed.
fn live(state: &Mutex<State>, generation: u64) -> io::Result<MutexGuard<'_, State>> {
    let state = lock(state);
    if state.crashed || state.generation != generation {
        return Err(SimulatedCrash.into());
    }
    Ok(state)
}

impl Debug for SimulatedDisk {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "SimulatedDisk(/{})", self.prefix)
    }
}

impl Disk for SimulatedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut state = self.live()?;
        state.admit_whole(Call::List, &self.prefix)?;
        let names = state.folder(self.id).names.clone();
        let files = names
            .into_iter()
            .filter(|(_, id)| state.files.contains_key(id));
        Ok(files.map(|(name, _)| name).collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut state = self.live()?;
        state.admit_change(Call::Create, &self.path(name), |state| {
            match state.folder(self.id).find(name) {
                Ok(id) => state.find_file(id)?.cut(0),
                Err(_) => {
                    let id = state.new_id();
                    state.files.insert(id, Contents::default());
                    state.folder(self.id).change(id, None, Some(name));
                }
            }
            Ok(())
        })?;
        let id = state.folder(self.id).find(name)?;
        Ok(self.handle(name, id))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut state = self.live()?;
        state.admit_whole(Call::Open, &self.path(name))?;
        let id = state.folder(self.id).find(name)?;
        state.find_file(id)?;
        Ok(self.handle(name, id))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let what = format!("{} to {to}", self.path(from));
        self.live()?.admit_change(Call::Rename, &what, |state| {
            let folder = state.folder(self.id);
            let id = folder.find(from)?;
            folder.change(id, Some(from), Some(to));
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let what = self.path(name);
        self.live()?.admit_change(Call::Remove, &what, |state| {
            let id = state.folder(self.id).find(name)?;
            state.find_file(id)?;
            state.folder(self.id).change(id, Some(name), None);
            Ok(())
        })
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut state = self.live()?;
        let admitted = state.admit_whole(Call::SyncFolder, &self.prefix);
        let folder = state.folder(self.id);
        match &admitted {
            Ok(()) => folder.sync(),
            Err(error) if SimulatedCrash::is(error) => {}
            Err(_) => folder.changes.sync_failed(),
        }
        admitted
    }

    fn folder(&self, name: &str) -> io::Result<Arc<dyn Disk>> {
        Ok(Arc::new(self.subfolder(name)?))
    }

    fn is_named(&self, name: &str, file: &dyn File) -> io::Result<bool> {
        let mut state = self.live()?;
        state.admit_whole(Call::IsNamed, &self.path(name))?;
        let id = state.folder(self.id).find(name);
        Ok(id.is_ok_and(|id| file.identity() == (DEVICE, id)))
    }

    fn prewrites(&self) -> bool {
        self.state().prewrites
    }
}

/// An open file of the simulated disk.
struct SimulatedFile {
    state: Arc<Mutex<State>>,
    generation: u64,
    id: Id,
    /// The name it was opened under.
    path: String,
}

impl SimulatedFile {
    fn live(&self) -> io::Result<MutexGuard<'_, State>> {
        live(&self.state, self.generation)
    }

    fn range(&self, offset: u64, length: usize) -> String {
        format!("{} {offset}+{length}", self.path)
    }
}

impl Debug for SimulatedFile {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(formatter, "SimulatedFile({})", self.path)
    }
}

impl File for SimulatedFile {
    fn length(&self) -> io::Result<u64> {
        let mut state = self.live()?;
        state.admit_whole(Call::Length, &self.path)?;
        Ok(state.find_file(self.id)?.length)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.live()?;
        state.admit_whole(Call::Read, &self.range(offset, buffer.len()))?;
        state.find_file(self.id)?.read(buffer, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        let what = self.range(offset, data.len());
        self.live()?.write(self.id, &what, data, offset)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let what = self.range(length, 0);
        let cut = |state: &mut State| {
            state.find_file(self.id)?.cut(length);
            Ok(())
        };
        self.live()?.admit_change(Call::Truncate, &what, cut)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.live()?;
        let admitted = state.admit_whole(Call::Sync, &self.path);
        let file = state.find_file(self.id)?;
        match &admitted {
            Ok(()) => file.sync(),
            Err(error) if SimulatedCrash::is(error) => {}
            Err(_) => file.sync_failed(),
        }
        admitted
    }

    fn identity(&self) -> (u64, u64) {
        (DEVICE, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::disk::{is_full, read_exact_at, write_all_at};

    /// Enough that whatever may happen does, in every test here.
    const SEEDS: u64 = 400;

    fn kind<T>(result: io::Result<T>) -> Option<io::ErrorKind> {
        result.err().map(|error| error.kind())
    }

    fn code<T>(result: io::Result<T>) -> Option<i32> {
        result.err().and_then(|error| error.raw_os_error())
    }

    fn is_crash<T>(result: io::Result<T>) -> bool {
        result.is_err_and(|error| SimulatedCrash::is(&error))
    }

    fn bytes(disk: &dyn Disk, name: &str) -> io::Result<Vec<u8>> {
        let file = disk.open(name)?;
        let mut bytes = vec![0; file.length()? as usize];
        read_exact_at(&*file, &mut bytes, 0)?;
        Ok(bytes)
    }

    /// The sorted names, each with the first byte of its file.
    fn names(disk: &dyn Disk) -> io::Result<String> {
        let mut names = Vec::new();
        for name in disk.list()? {
            let first = bytes(disk, &name)?.first().copied().map(char::from);
            names.push(format!("{name}={}", first.unwrap_or('-')));
        }
        Ok(names.join(" "))
    }

    /// A durable file of one byte under a name that is not.
    fn synced(disk: &dyn Disk, name: &str, byte: u8) -> io::Result<Arc<dyn File>> {
        let file = disk.create(name)?;
        write_all_at(&*file, &[byte], 0)?;
        file.sync()?;
        Ok(file)
    }

    /// A disk on which every sector stays readable.
    fn disk(seed: u64) -> SimulatedDisk {
        let disk = SimulatedDisk::new(seed);
        disk.set_faults(Faults {
            unreadable: 0.0,
            ..Faults::default()
        });
        disk
    }

    /// What is seen with any of the seeds.
    fn seen<T: Ord>(see: impl Fn(SimulatedDisk) -> io::Result<T>) -> io::Result<BTreeSet<T>> {
        (0..SEEDS).map(|seed| see(disk(seed))).collect()
    }

    fn set<const N: usize>(texts: [&str; N]) -> BTreeSet<String> {
        texts.into_iter().map(ToOwned::to_owned).collect()
    }

    #[test]
    fn random_numbers_are_splitmix64_and_keep_their_bounds() {
        let mut random = Random::new(0);
        assert_eq!(random.next(), 0xe220_a839_7b1d_cdaf);
        let drawn: BTreeSet<u64> = (0..200).map(|_| random.below(5)).collect();
        assert_eq!(drawn, BTreeSet::from([0, 1, 2, 3, 4]));
        let happened = (0..1000).filter(|_| random.chance(0.25)).count();
        assert!((200..300).contains(&happened), "{happened}");
        assert!(!random.chance(0.0) && random.chance(1.0));
        let mut items = [0, 1, 2, 3, 4, 5, 6, 7];
        random.shuffle(&mut items);
        assert_ne!(items, [0, 1, 2, 3, 4, 5, 6, 7]);
        items.sort_unstable();
        assert_eq!(items, [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn the_same_seed_leaves_the_same_disk() -> io::Result<()> {
        let left = |seed| {
            let disk = SimulatedDisk::new(seed);
            let file = synced(&disk, "one", b'a')?;
            disk.sync_folder()?;
            write_all_at(&*file, &[b'b'; 5000], 100)?;
            disk.rename("one", "two")?;
            let disk = disk.crash(Crash::Power);
            let name = disk.list()?.concat();
            let bytes = bytes(&disk, &name).map_err(|error| error.kind());
            Ok((name, bytes))
        };
        let mut all = Vec::new();
        for seed in 0..20 {
            let first: io::Result<_> = left(seed);
            let first = first?;
            assert_eq!(left(seed)?, first);
            all.push(first);
        }
        all.dedup();
        assert!(all.len() > 10);
        Ok(())
    }

    #[test]
    fn a_process_crash_keeps_the_cache_and_kills_the_handles() -> io::Result<()> {
        let old = SimulatedDisk::new(1);
        let file = old.create("one")?;
        write_all_at(&*file, b"event", 0)?;
        let letters = old.folder("letters")?;
        letters.create("two")?;
        let disk = old.crash(Crash::Process);
        assert!(is_crash(file.length()) && is_crash(file.write_at(b"x", 0)));
        assert!(is_crash(file.sync()) && is_crash(file.read_at(&mut [0], 0)));
        assert!(is_crash(old.list()) && is_crash(letters.create("three")));
        assert_eq!(bytes(&disk, "one")?, b"event");
        assert_eq!(disk.folder("letters")?.list()?, ["two"]);
        Ok(())
    }

    #[test]
    fn what_was_synced_survives_every_power_failure() -> io::Result<()> {
        let all = seen(|disk| {
            let file = disk.create("one")?;
            write_all_at(&*file, &[b'a'; 1500], 0)?;
            write_all_at(&*file, &[b'b'; 1500], 700)?;
            file.sync()?;
            disk.sync_folder()?;
            let disk = disk.crash(Crash::Power).crash(Crash::Power);
            bytes(&disk, "one")
        })?;
        let whole = [[b'a'; 700].as_slice(), &[b'b'; 1500]].concat();
        assert_eq!(all, BTreeSet::from([whole]));
        Ok(())
    }

    #[test]
    fn each_unsynced_sector_becomes_any_of_its_versions() -> io::Result<()> {
        let all = seen(|disk| {
            let file = disk.create("one")?;
            write_all_at(&*file, &[b'a'; 2 * SECTOR], 0)?;
            file.sync()?;
            disk.sync_folder()?;
            write_all_at(&*file, &[b'b'; 2 * SECTOR], 0)?;
            write_all_at(&*file, &[b'c'; 2 * SECTOR], 0)?;
            let left = bytes(&disk.crash(Crash::Power), "one")?;
            let (first, second) = left.split_at(SECTOR);
            assert!(first.iter().all(|byte| *byte == first[0]));
            assert!(second.iter().all(|byte| *byte == second[0]));
            Ok(String::from_utf8_lossy(&[first[0], second[0]]).into_owned())
        })?;
        let combined = ["aa", "ab", "ac", "ba", "bb", "bc", "ca", "cb", "cc"];
        assert_eq!(all, set(combined));
        Ok(())
    }

    #[test]
    fn an_unsynced_length_becomes_any_between() -> io::Result<()> {
        let all = seen(|disk| {
            let file = synced(&disk, "one", b'a')?;
            disk.sync_folder()?;
            write_all_at(&*file, &[b'b'; 3], 1)?;
            disk.crash(Crash::Power).open("one")?.length()
        })?;
        assert_eq!(all, BTreeSet::from([1, 2, 3, 4]));
        Ok(())
    }

    #[test]
    fn a_file_that_is_emptied_may_keep_its_bytes() -> io::Result<()> {
        let all = seen(|disk| {
            synced(&disk, "one", b'a')?;
            disk.sync_folder()?;
            write_all_at(&*disk.create("one")?, b"b", 0)?;
            names(&disk.crash(Crash::Power))
        })?;
        let possible = set(["one=-", "one=\0", "one=a", "one=b"]);
        assert!(all.is_subset(&possible) && all.len() >= 3, "{all:?}");
        Ok(())
    }

    #[test]
    fn a_file_that_is_cut_may_keep_its_length_and_is_never_shorter() -> io::Result<()> {
        let all = seen(|disk| {
            let file = disk.create("one")?;
            write_all_at(&*file, &[b'a'; 2 * SECTOR], 0)?;
            file.sync()?;
            disk.sync_folder()?;
            file.truncate(SECTOR as u64 + 1)?;
            assert_eq!(bytes(&disk, "one")?, [b'a'; SECTOR + 1]);
            let left = bytes(&disk.crash(Crash::Power), "one")?;
            assert_eq!(left[..=SECTOR], [b'a'; SECTOR + 1]);
            Ok(left.len())
        })?;
        assert!(all.contains(&(SECTOR + 1)) && all.contains(&(2 * SECTOR)));
        Ok(())
    }

    #[test]
    fn a_torn_sector_is_unreadable_until_it_is_written_whole() -> io::Result<()> {
        let mut unreadable = 0;
        for seed in 0..SEEDS {
            let disk = SimulatedDisk::new(seed);
            disk.set_faults(Faults {
                unreadable: 0.5,
                ..Faults::default()
            });
            let file = disk.create("one")?;
            write_all_at(&*file, &[b'a'; 2 * SECTOR], 0)?;
            file.sync()?;
            disk.sync_folder()?;
            write_all_at(&*file, &[b'b'; SECTOR], 0)?;
            let disk = disk.crash(Crash::Power);
            let file = disk.open("one")?;
            let mut found = [0; SECTOR];
            read_exact_at(&*file, &mut found, SECTOR as u64)?;
            if file.read_at(&mut found, 0).is_ok() {
                continue;
            }
            unreadable += 1;
            assert_eq!(code(file.read_at(&mut found, 0)), Some(5));
            write_all_at(&*file, b"part", 0)?;
            assert_eq!(code(file.read_at(&mut found, 0)), Some(5));
            write_all_at(&*file, &[b'c'; SECTOR], 0)?;
            read_exact_at(&*file, &mut found, 0)?;
            assert_eq!(found, [b'c'; SECTOR]);
        }
        assert!(unreadable > SEEDS / 8, "{unreadable}");
        Ok(())
    }

    #[test]
    fn a_failed_sync_leaves_its_bytes_in_doubt_whatever_syncs_follow() -> io::Result<()> {
        let doubtful = |disk: &SimulatedDisk| {
            let file = disk.create("one")?;
            write_all_at(&*file, b"a", 0)?;
            file.sync()?;
            disk.sync_folder()?;
            write_all_at(&*file, b"b", 0)?;
            disk.fail(1, &[Call::Sync], DiskFault::Broken);
            assert_eq!(code(file.sync()), Some(5));
            assert_eq!(bytes(disk, "one")?, b"b");
            file.sync()?;
            Ok(file)
        };
        let left = seen(|disk| {
            doubtful(&disk)?;
            let disk = disk.crash(Crash::Process);
            assert_eq!(bytes(&disk, "one")?, b"b");
            disk.open("one")?.sync()?;
            names(&disk.crash(Crash::Power))
        })?;
        assert_eq!(left, set(["one=a", "one=b"]));
        let written_again = seen(|disk| {
            let file: io::Result<Arc<dyn File>> = doubtful(&disk);
            let file = file?;
            write_all_at(&*file, b"b", 0)?;
            file.sync()?;
            names(&disk.crash(Crash::Power))
        })?;
        assert_eq!(written_again, set(["one=b"]));
        Ok(())
    }

    #[test]
    fn unsynced_names_survive_in_any_subset() -> io::Result<()> {
        let made = seen(|disk| {
            synced(&disk, "one", b'1')?;
            synced(&disk, "two", b'2')?;
            names(&disk.crash(Crash::Power))
        })?;
        assert_eq!(made, set(["", "one=1", "two=2", "one=1 two=2"]));
        let removed = seen(|disk| {
            synced(&disk, "one", b'1')?;
            disk.sync_folder()?;
            disk.remove("one")?;
            names(&disk.crash(Crash::Power))
        })?;
        assert_eq!(removed, set(["", "one=1"]));
        let moved = seen(|disk| {
            synced(&disk, "one", b'1')?;
            synced(&disk, "two", b'2')?;
            disk.sync_folder()?;
            disk.rename("one", "two")?;
            names(&disk.crash(Crash::Power))
        })?;
        assert_eq!(moved, set(["one=1 two=2", "two=1"]));
        Ok(())
    }

    #[test]
    fn changes_of_names_survive_in_any_order() -> io::Result<()> {
        let all = seen(|disk| {
            synced(&disk, "one", b'1')?;
            disk.rename("one", "two")?;
            disk.rename("two", "three")?;
            names(&disk.crash(Crash::Power))
        })?;
        assert_eq!(all, set(["", "one=1", "two=1", "three=1"]));
        // The name is used again before its file's move is durable.
        let all = seen(|disk| {
            synced(&disk, "one", b'1')?;
            disk.sync_folder()?;
            disk.rename("one", "two")?;
            synced(&disk, "one", b'2')?;
            names(&disk.crash(Crash::Power))
        })?;
        let left = ["one=1", "one=2", "two=1", "one=2 two=1"];
        assert_eq!(all, set(left));
        // A file takes the place of another one that is not durable yet.
        let all = seen(|disk| {
            synced(&disk, "two", b'2')?;
            disk.sync_folder()?;
            synced(&disk, "one", b'1')?;
            disk.rename("two", "one")?;
            names(&disk.crash(Crash::Power))
        })?;
        let left = ["two=2", "one=1 two=2", "one=2", "one=1"];
        assert_eq!(all, set(left));
        Ok(())
    }

    #[test]
    fn what_has_no_name_after_a_crash_is_forgotten() -> io::Result<()> {
        let disk = SimulatedDisk::new(1);
        let letters = disk.subfolder("letters")?;
        synced(&letters, "one", b'1')?;
        synced(&disk, "two", b'2')?;
        synced(&disk, "three", b'3')?;
        disk.sync_folder()?;
        letters.sync_folder()?;
        disk.remove("two")?;
        // Its removal may yet be undone.
        let disk = disk.crash(Crash::Process);
        assert_eq!(disk.state().files.len(), 3);
        disk.sync_folder()?;
        let disk = disk.crash(Crash::Power);
        assert_eq!(disk.state().files.len(), 2);
        assert_eq!(names(&disk)?, "three=3");
        assert_eq!(names(&*disk.folder("letters")?)?, "one=1");
        Ok(())
    }

    #[test]
    fn a_shortened_file_grows_again_by_zeros() -> io::Result<()> {
        seen(|disk| {
            let file = synced(&disk, "one", b'a')?;
            disk.sync_folder()?;
            write_all_at(&*file, &[b'b'; 9], 0)?;
            let disk = disk.crash(Crash::Power);
            let length = bytes(&disk, "one")?.len();
            write_all_at(&*disk.open("one")?, b"c", 10)?;
            assert!(bytes(&disk, "one")?[length..10].iter().all(|b| *b == 0));
            Ok(length)
        })?;
        Ok(())
    }

    #[test]
    fn synced_names_survive_and_those_of_a_failed_sync_stay_in_doubt() -> io::Result<()> {
        let moved = |disk: &SimulatedDisk, failing: bool| {
            synced(disk, "one", b'1')?;
            disk.sync_folder()?;
            disk.rename("one", "two")?;
            if failing {
                disk.fail(1, &[Call::SyncFolder], DiskFault::Broken);
                assert_eq!(code(disk.sync_folder()), Some(5));
            }
            disk.sync_folder()
        };
        let certain = seen(|disk| {
            moved(&disk, false)?;
            names(&disk.crash(Crash::Power))
        })?;
        assert_eq!(certain, set(["two=1"]));
        let doubtful = seen(|disk| {
            moved(&disk, true)?;
            names(&disk.crash(Crash::Power))
        })?;
        assert_eq!(doubtful, set(["one=1", "two=1"]));
        let settled = seen(|disk| {
            moved(&disk, true)?;
            disk.rename("two", "three")?;
            disk.sync_folder()?;
            names(&disk.crash(Crash::Power))
        })?;
        assert_eq!(settled, set(["three=1"]));
        Ok(())
    }

    #[test]
    fn a_subfolder_is_lost_with_its_files_unless_its_name_is_durable() -> io::Result<()> {
        let left = |durable: bool| {
            seen(|disk| {
                let letters = disk.subfolder("letters")?;
                synced(&letters, "one", b'1')?;
                letters.sync_folder()?;
                if durable {
                    disk.sync_folder()?;
                }
                let disk = disk.crash(Crash::Power);
                assert!(disk.list()?.is_empty());
                names(&*disk.folder("letters")?)
            })
        };
        assert_eq!(left(true)?, set(["one=1"]));
        assert_eq!(left(false)?, set(["", "one=1"]));
        Ok(())
    }

    #[test]
    fn a_planned_call_fails_with_its_error() -> io::Result<()> {
        let errors = [
            (DiskFault::Broken, 5, false),
            (DiskFault::TooLarge, 27, true),
            (DiskFault::NoSpace, 28, true),
            (DiskFault::Quota, 122, true),
        ];
        for (fault, number, full) in errors {
            let disk = SimulatedDisk::new(1);
            let file = disk.create("one")?;
            disk.fail(2, &[Call::Write], fault);
            file.write_at(b"event", 0)?;
            file.sync()?;
            let error = file.write_at(b"event", 0).expect_err("planned");
            assert_eq!(error.raw_os_error(), Some(number));
            assert_eq!(is_full(&error), full);
            assert_eq!(file.write_at(b"event", 0)?, 5);
        }
        Ok(())
    }

    #[test]
    fn every_kind_of_call_can_fail_and_changes_nothing_then() -> io::Result<()> {
        let disk = SimulatedDisk::new(1);
        let file = synced(&disk, "one", b'1')?;
        disk.folder("letters")?;
        let calls: [(Call, &dyn Fn() -> Option<i32>); 13] = [
            (Call::List, &|| code(disk.list())),
            (Call::Create, &|| code(disk.create("two"))),
            (Call::Open, &|| code(disk.open("one"))),
            (Call::Rename, &|| code(disk.rename("one", "two"))),
            (Call::Remove, &|| code(disk.remove("one"))),
            (Call::SyncFolder, &|| code(disk.sync_folder())),
            (Call::Folder, &|| code(disk.folder("letters"))),
            (Call::IsNamed, &|| code(disk.is_named("one", &*file))),
            (Call::Length, &|| code(file.length())),
            (Call::Read, &|| code(file.read_at(&mut [0], 0))),
            (Call::Write, &|| code(file.write_at(b"1", 0))),
            (Call::Truncate, &|| code(file.truncate(0))),
            (Call::Sync, &|| code(file.sync())),
        ];
        for (call, make) in calls {
            disk.fail(1, &[call], DiskFault::Broken);
            assert_eq!(make(), Some(5), "{call:?}");
        }
        assert_eq!(names(&disk)?, "one=1");
        Ok(())
    }

    #[test]
    fn writes_may_be_short() -> io::Result<()> {
        let lengths = seen(|disk| {
            let file = disk.create("one")?;
            disk.fail(1, &[Call::Write], DiskFault::Short);
            let count = file.write_at(b"abcd", 0)?;
            assert_eq!(bytes(&disk, "one")?, b"abcd"[..count]);
            Ok(count)
        })?;
        assert_eq!(lengths, BTreeSet::from([1, 2, 3]));
        Ok(())
    }

    #[test]
    fn faults_are_drawn_as_often_as_they_are_set_and_for_the_set_calls() -> io::Result<()> {
        let disk = SimulatedDisk::new(1);
        let file = synced(&disk, "one", b'1')?;
        disk.set_faults(Faults {
            calls: vec![Call::Write, Call::Read],
            broken: 0.1,
            no_space: 0.1,
            quota: 0.1,
            too_large: 0.1,
            short: 0.1,
            ..Faults::default()
        });
        let mut seen: BTreeMap<Option<i32>, u32> = BTreeMap::new();
        let mut short = 0;
        for _ in 0..2000 {
            let written = file.write_at(b"event", 0);
            short += u32::from(written.as_ref().is_ok_and(|count| *count < 5));
            *seen.entry(code(written)).or_default() += 1;
            let read = code(file.read_at(&mut [0], 0));
            assert!([None, Some(5)].contains(&read));
            file.sync()?;
        }
        let numbers: Vec<_> = seen.keys().copied().collect();
        assert_eq!(numbers, [None, Some(5), Some(27), Some(28), Some(122)]);
        assert!(seen.values().all(|count| *count > 100) && short > 100);
        disk.set_faults(Faults::default());
        for _ in 0..1000 {
            assert_eq!(file.write_at(b"event", 0)?, 5);
        }
        Ok(())
    }

    #[test]
    fn a_full_disk_takes_what_fits_and_overwrites() -> io::Result<()> {
        let disk = SimulatedDisk::new(1);
        disk.set_capacity(10);
        let one = disk.create("one")?;
        let two = disk.create("two")?;
        assert_eq!(one.write_at(b"123456", 0)?, 6);
        assert_eq!(two.write_at(b"123456", 0)?, 4);
        assert_eq!(
            kind(two.write_at(b"56", 4)),
            Some(io::ErrorKind::StorageFull)
        );
        assert_eq!(one.write_at(b"654321", 0)?, 6);
        disk.remove("one")?;
        assert_eq!(two.write_at(b"56", 4)?, 2);
        Ok(())
    }

    #[test]
    fn an_ordered_crash_stops_every_call_and_may_happen_within_the_change() -> io::Result<()> {
        let wrote = seen(|disk| {
            let file = disk.create("one")?;
            disk.crash_at_change(2);
            file.sync()?;
            assert!(!disk.crashed());
            assert!(is_crash(file.write_at(b"abc", 0)));
            assert!(disk.crashed());
            assert!(is_crash(file.length()) && is_crash(disk.list()));
            let disk = disk.crash(Crash::Process);
            assert_eq!(disk.changes(), 3);
            Ok(bytes(&disk, "one")?.len())
        })?;
        assert_eq!(wrote, BTreeSet::from([0, 1, 2, 3]));
        let moved = seen(|disk| {
            synced(&disk, "one", b'1')?;
            disk.crash_at_change(1);
            assert!(is_crash(disk.rename("one", "two")));
            names(&disk.crash(Crash::Process))
        })?;
        assert_eq!(moved, set(["one=1", "two=1"]));
        let synced_names = seen(|disk| {
            synced(&disk, "one", b'1')?;
            disk.crash_at_change(1);
            assert!(is_crash(disk.sync_folder()));
            names(&disk.crash(Crash::Power))
        })?;
        assert_eq!(synced_names, set(["", "one=1"]));
        Ok(())
    }

    #[test]
    fn rot_is_in_the_cache_and_on_the_platter() -> io::Result<()> {
        let disk = SimulatedDisk::new(1);
        let file = disk.create("one")?;
        write_all_at(&*file, &[0; 600], 0)?;
        file.sync()?;
        disk.sync_folder()?;
        disk.rot("one", 510, 4);
        let check = |disk: &SimulatedDisk| {
            let bytes = bytes(disk, "one")?;
            assert!(bytes[510..514].iter().all(|byte| byte.count_ones() == 1));
            assert!(bytes[..510].iter().chain(&bytes[514..]).all(|b| *b == 0));
            io::Result::Ok(())
        };
        check(&disk)?;
        check(&disk.crash(Crash::Power))
    }

    #[test]
    fn files_are_told_apart_and_settings_are_kept() -> io::Result<()> {
        let disk = SimulatedDisk::new(1);
        assert!(disk.prewrites());
        disk.set_prewrites(false);
        let one = disk.create("one")?;
        let two = disk.create("two")?;
        disk.rename("one", "two")?;
        assert!(disk.is_named("two", &*one)? && !disk.is_named("two", &*two)?);
        assert!(!disk.is_named("one", &*one)?);
        two.write_at(b"event", 0)?;
        assert_eq!(two.length()?, 5);
        assert_eq!(disk.open("two")?.length()?, 0);
        assert_eq!(kind(disk.open("one")), Some(io::ErrorKind::NotFound));
        assert_eq!(kind(disk.remove("one")), Some(io::ErrorKind::NotFound));
        let missing = kind(disk.rename("one", "two"));
        assert_eq!(missing, Some(io::ErrorKind::NotFound));
        assert!(!disk.crash(Crash::Power).prewrites());
        Ok(())
    }

    #[test]
    fn the_trace_tells_the_last_calls() -> io::Result<()> {
        let disk = SimulatedDisk::new(1);
        let file = disk.subfolder("letters")?.create("one")?;
        disk.fail(1, &[Call::Sync], DiskFault::Broken);
        disk.set_capacity(3);
        file.write_at(b"event", 0)?;
        assert_eq!(code(file.sync()), Some(5));
        disk.crash_at_change(1);
        assert!(is_crash(disk.rename("one", "two")));
        disk.crash(Crash::Power);
        let lines = [
            "1 Folder letters",
            "2 Create letters/one",
            "3 Write letters/one 0+5 (3 bytes written)",
            "4 Sync letters/one: Broken",
            "5 Rename one to two: crash",
            "5 crash: Power",
        ];
        assert_eq!(disk.trace(), lines.join("\n"));
        Ok(())
    }
}
