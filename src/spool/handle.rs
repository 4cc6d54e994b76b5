//! The spool's handle: what the pipeline, the commands and the operators call. It asks the writer
//! thread for what must be durable, and reads by itself.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::command::{Append, WriterCommand};
use super::dead_letters::DeadLetterName;
use super::error::{SpoolError, SpoolUnavailable};
use super::folder;
use super::index::{IdIndex, KnownBody};
use super::inspect::{InspectionError, SpoolView};
use super::jobs::WriteDeadLetter;
use super::outcome::{AppendResult, Appended, Milestone};
use super::reader::NextRecords;
use super::record::{PreparedRecord, SpoolRecord};
use super::replies::{AppendCaller, CallerThread};
use super::settings::{SpoolLimits, SpoolSettings};
use super::settlement::{NewDeadLetter, Settlement};
use super::shared::{Inner, SharedSpool};
use crate::event::{EventId, SinkIndex};
use crate::metrics::Metrics;
use crate::name::SinkName;
use crate::route::Routed;
use crate::seeded::{self, Bug};

/// The most bytes of events that may wait for a batch; beyond it the bridge says so instead of
/// growing.
const MAX_QUEUED_BYTES: usize = 64 * 1024 * 1024;

/// The handle of the spool; cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Spool {
    commands: mpsc::Sender<WriterCommand>,
    shared: Arc<SharedSpool>,
    sinks: Arc<[(SinkIndex, SinkName)]>,
    index: Arc<dyn IdIndex>,
    callers: Option<CallerThread>,
    /// The writer thread ends when the last handle is gone.
    _handle: Arc<()>,
}

/// The end of the spool's threads: resolves when one of them has stopped, for whatever reason, even a
/// panic. The other one would wait for it for ever, so the program must hear of the first.
pub type SpoolStopped = Pin<Box<WaitForCancellationFutureOwned>>;

/// What was read of the records that were asked for.
#[derive(Debug)]
pub struct LoadedRecords {
    /// Those that still wait, in the order of their sequences; perhaps not all of them.
    pub records: Vec<Arc<SpoolRecord>>,
    /// The sequences that do not wait any more.
    pub gone: Vec<u64>,
}

impl Spool {
    /// Opens the spool and starts its threads. The names are the configured sinks; sinks that the
    /// log knows besides keep what waits for them.
    ///
    /// # Errors
    /// When the folder is held by another process, is not a spool's, was written by a newer
    /// version, or cannot be made. Damage is no error: what is sound is delivered, the rest counted.
    // The settings are made for this; who opens a spool has no use for them any more.
    #[allow(clippy::needless_pass_by_value)]
    pub fn open(
        settings: SpoolSettings,
        sinks: &[SinkName],
        metrics: Arc<Metrics>,
    ) -> Result<(Self, SpoolStopped), SpoolError> {
        let (commands, inbox) = mpsc::channel();
        let opened = folder::open(&settings, sinks, metrics, commands.clone())?;
        let (writer, maintenance, lock) = opened;
        let shared = Arc::clone(&writer.shared);
        let index = Arc::clone(writer.index());
        let stopped = CancellationToken::new();
        let [writer_alive, maintenance_alive] = [(); 2].map(|()| stopped.clone().drop_guard());
        let handle = Arc::new(());
        let handles = Arc::downgrade(&handle);
        let maintain = move || {
            let _alive = maintenance_alive;
            maintenance.run();
        };
        let work = std::thread::Builder::new()
            .name("spool-maintenance".into())
            .spawn(maintain)
            .map_err(SpoolError::Thread)?;
        let write = move || {
            let _alive = writer_alive;
            writer.run(&inbox, &handles, || {
                // A panic of it has been counted.
                let _ = work.join();
                drop(lock);
            });
        };
        std::thread::Builder::new()
            .name("spool".into())
            .spawn(write)
            .map_err(SpoolError::Thread)?;
        let known = shared.lock().state.sinks.clone();
        let spool = Self {
            commands,
            shared,
            sinks: known
                .into_iter()
                .map(|sink| (sink.index, sink.name))
                .collect(),
            index,
            callers: None,
            _handle: handle,
        };
        Ok((spool, Box::pin(stopped.cancelled_owned())))
    }

    /// A handle for the callers of one thread, whose appends are answered together: each thread that
    /// has many should have its own. What is returned with it hands out the answers, and must run on
    /// that thread; without it they are answered all the same, one by one.
    pub fn for_this_thread(&self) -> (Self, impl Future<Output = ()> + 'static) {
        let (callers, hand_out) = CallerThread::of_a_thread();
        let spool = Self {
            callers: Some(callers),
            ..self.clone()
        };
        (spool, hand_out)
    }

    /// The number of a sink.
    #[must_use]
    pub fn sink(&self, name: &SinkName) -> Option<SinkIndex> {
        self.sinks
            .iter()
            .find(|(_, known)| known == name)
            .map(|(index, _)| *index)
    }

    /// Every sink the spool knows, configured or not.
    #[must_use]
    pub fn sinks(&self) -> &[(SinkIndex, SinkName)] {
        &self.sinks
    }

    /// Whether there is space for another event, as far as one can tell without asking.
    ///
    /// # Errors
    /// When it is full, or its disk is.
    pub fn check_space(&self) -> Result<(), SpoolUnavailable> {
        self.shared.check_space()
    }

    /// Whether the spool could take in anything, or tell what it has, without asking it.
    ///
    /// # Errors
    /// The reason why not.
    pub fn usable(&self) -> Result<(), SpoolUnavailable> {
        let flags = &self.shared.flags;
        if flags.closed.load(Ordering::Relaxed) {
            Err(SpoolUnavailable::Closed)
        } else if !flags.writable.load(Ordering::Relaxed) {
            // A disk without space is one that cannot be written, and not the other way round.
            Err(match self.check_space() {
                Err(SpoolUnavailable::DiskFull) => SpoolUnavailable::DiskFull,
                _ => SpoolUnavailable::Unwritable,
            })
        } else if flags.queued_bytes.load(Ordering::Relaxed) > MAX_QUEUED_BYTES {
            Err(SpoolUnavailable::Overloaded)
        } else {
            Ok(())
        }
    }

    /// Makes the event durable and returns once the milestone is reached. The thread goes on with it
    /// even if the caller stops waiting.
    ///
    /// # Errors
    /// When it could not be made durable; it is then not accepted.
    pub async fn append(
        &self,
        routed: Routed,
        milestone: Milestone,
    ) -> Result<Appended, SpoolUnavailable> {
        let answer = self.enqueue(PreparedRecord::new(routed), milestone, None)?;
        if seeded::is(Bug::AcknowledgeBeforeCommit) {
            return Ok(Appended::Accepted);
        }
        answer.await.map_err(|_| SpoolUnavailable::Closed)?
    }

    pub(super) fn enqueue(
        &self,
        prepared: PreparedRecord,
        milestone: Milestone,
        requeued: Option<DeadLetterName>,
    ) -> Result<oneshot::Receiver<AppendResult>, SpoolUnavailable> {
        let bytes = prepared.event().body().len();
        let queued = &self.shared.flags.queued_bytes;
        let waiting = queued.fetch_add(bytes, Ordering::Relaxed);
        if waiting > 0 && waiting + bytes > MAX_QUEUED_BYTES {
            queued.fetch_sub(bytes, Ordering::Relaxed);
            return Err(SpoolUnavailable::Overloaded);
        }
        let (reply, answer) = oneshot::channel();
        let caller = AppendCaller {
            reply,
            among: self.callers.clone(),
        };
        let append = Append {
            prepared,
            milestone,
            caller,
            requeued,
        };
        self.send(WriterCommand::Append(Box::new(append)))?;
        Ok(answer)
    }

    /// The next records that wait for `sink` after sequence `after`: at most so many, and at most so
    /// many bytes unless the first alone has more; waits until there are some. Nothing of this goes
    /// through the thread that writes.
    ///
    /// # Errors
    /// When the spool is closed, or its disk does not give the first of them now.
    pub async fn fetch(
        &self,
        sink: SinkIndex,
        after: u64,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<Arc<SpoolRecord>>, SpoolUnavailable> {
        loop {
            if self.shared.is_closed() {
                return Err(SpoolUnavailable::Closed);
            }
            match self.shared.next(sink, after, limit, bytes) {
                NextRecords::Here(records) => return Ok(self.forgotten_or_not(sink, records)),
                NextRecords::Nothing => self.shared.news(sink).await,
                NextRecords::OnDisk(sequences) => {
                    let records = self.read(sequences, bytes).await?;
                    if !records.is_empty() {
                        return Ok(self.forgotten_or_not(sink, records));
                    }
                }
            }
        }
    }

    /// The records as they are; the bug is to let go of them before anybody has confirmed them.
    fn forgotten_or_not(
        &self,
        sink: SinkIndex,
        records: Vec<Arc<SpoolRecord>>,
    ) -> Vec<Arc<SpoolRecord>> {
        if seeded::is(Bug::ForgetBeforeReceipt) {
            let mut inner = self.shared.lock();
            for position in records.iter().map(|record| record.position()) {
                inner.leave(position.sequence, sink, u64::from(position.bytes));
            }
        }
        records
    }

    /// The records with these sequences that still wait for `sink`: at most so many bytes, unless
    /// the first alone has more. Those that are in neither part of the answer were left off.
    ///
    /// # Errors
    /// When the spool is closed, or its disk does not give the first of them now.
    pub async fn load(
        &self,
        sink: SinkIndex,
        mut sequences: Vec<u64>,
        bytes: usize,
    ) -> Result<LoadedRecords, SpoolUnavailable> {
        if self.shared.is_closed() {
            return Err(SpoolUnavailable::Closed);
        }
        sequences.sort_unstable();
        let waits = |inner: &Inner, it: &u64| inner.state.pending(sink).contains(*it);
        let wanted: Vec<u64> = {
            let inner = self.shared.lock();
            sequences
                .iter()
                .copied()
                .filter(|it| waits(&inner, it))
                .collect()
        };
        let records = self.read(wanted, bytes).await?;
        let inner = self.shared.lock();
        let gone = sequences
            .into_iter()
            .filter(|it| !waits(&inner, it))
            .collect();
        drop(inner);
        Ok(LoadedRecords { records, gone })
    }

    /// Reads away from the async threads.
    async fn read(
        &self,
        sequences: Vec<u64>,
        bytes: usize,
    ) -> Result<Vec<Arc<SpoolRecord>>, SpoolUnavailable> {
        if sequences.is_empty() {
            return Ok(Vec::new());
        }
        let shared = Arc::clone(&self.shared);
        let read = tokio::task::spawn_blocking(move || shared.read(&sequences, bytes));
        read.await.unwrap_or(Err(SpoolUnavailable::Unreadable))
    }

    /// Lets go of events that `sink` has confirmed: the receipts prove it.
    pub fn settle(&self, sink: SinkIndex, settlements: &[Settlement]) {
        self.shared.settle(sink, settlements);
    }

    /// Sets an event aside as a dead letter, and returns once that is durable.
    ///
    /// # Errors
    /// When it could not be written; the event then still waits.
    pub async fn set_aside(&self, dead_letter: NewDeadLetter) -> Result<(), SpoolUnavailable> {
        if self.shared.is_closed() {
            return Err(SpoolUnavailable::Closed);
        }
        let (reply, answer) = oneshot::channel();
        self.shared.jobs.add(|work| {
            work.dead_letters
                .push_back(WriteDeadLetter { dead_letter, reply });
        });
        answer.await.map_err(|_| SpoolUnavailable::Closed)?
    }

    /// The time in seconds since the epoch from which on the id of every accepted event is known:
    /// what is older may have been accepted and forgotten, by the window of then, because there were
    /// too many, or with an index that was damaged.
    #[must_use]
    pub fn remembers_since(&self) -> i64 {
        self.shared.remembers_since()
    }

    /// Which of these ids are those of accepted events, as far as they are remembered: see
    /// [`Spool::remembers_since`]. No delivery waits for the index meanwhile.
    ///
    /// # Errors
    /// When the spool is closed, or the index cannot tell.
    pub async fn known(&self, ids: Vec<EventId>) -> Result<Vec<bool>, SpoolUnavailable> {
        let bodies = self.known_bodies(ids).await?;
        Ok(bodies.iter().map(|known| !known.is_empty()).collect())
    }

    /// The sequences that the accepted events of this id had, one for each body that it came with; none
    /// where it is not known. A dead letter that was put back has another one by now.
    ///
    /// # Errors
    /// As [`Spool::known`].
    pub async fn sequences_of(&self, id: EventId) -> Result<Vec<u64>, SpoolUnavailable> {
        let bodies = self.known_bodies(vec![id]).await?;
        let sequences = bodies.into_iter().flatten().map(|known| known.sequence);
        Ok(sequences.collect())
    }

    /// The bodies that each of these ids was accepted with.
    async fn known_bodies(
        &self,
        ids: Vec<EventId>,
    ) -> Result<Vec<Vec<KnownBody>>, SpoolUnavailable> {
        let (reply, answer) = oneshot::channel();
        self.send(WriterCommand::FindRecent(ids.clone(), reply))?;
        // An id leaves these for the index only once it is in there: it is found in one of the two.
        let recent = answer.await.map_err(|_| SpoolUnavailable::Closed)?;
        let (shared, index) = (Arc::clone(&self.shared), Arc::clone(&self.index));
        let known = tokio::task::spawn_blocking(move || {
            let mut bodies = recent.bodies;
            for (id, bodies) in ids.iter().zip(&mut bodies) {
                let indexed = index.find(*id);
                bodies.extend(indexed.map_err(|_| SpoolUnavailable::Unreadable)?);
            }
            let inner = shared.lock();
            for known in &mut bodies {
                known.retain(|known| inner.is_certain(known, recent.tail));
            }
            Ok(bodies)
        });
        known.await.unwrap_or(Err(SpoolUnavailable::Unreadable))
    }

    /// How much of what the spool may hold it does, from 0 to 1: of its events or of its bytes,
    /// whichever is more.
    #[must_use]
    pub fn fill_ratio(&self) -> f64 {
        self.shared.fill_ratio()
    }

    /// Takes over other limits. What lies in the spool already stays, whatever they are.
    pub fn limit(&self, limits: SpoolLimits) {
        // A spool that has ended takes in nothing any more.
        let _ = self.send(WriterCommand::Limit(limits));
    }

    /// What an operator may see. Its methods read the disk: call them where blocking is allowed.
    #[must_use]
    pub fn view(&self) -> SpoolView {
        SpoolView::of(Arc::clone(&self.shared))
    }

    /// Drops every event that waits for `sink`. Only for a sink that no dispatcher serves. Returns
    /// how many there were.
    ///
    /// # Errors
    /// When the spool is closed.
    pub async fn drop_pending(&self, sink: SinkIndex) -> Result<u64, InspectionError> {
        let count = self.shared.drop_all(sink);
        self.probe().await.map_err(|_| InspectionError::Closed)?;
        Ok(count)
    }

    /// Puts a dead letter back among the events that wait, for its sink alone; whose event that was.
    ///
    /// # Errors
    /// When there is none of this name, it does not check, its sink is not configured any more, or
    /// it could not be written.
    pub async fn requeue(&self, name: DeadLetterName) -> Result<EventId, InspectionError> {
        let view = self.view();
        let of = name.clone();
        let read = tokio::task::spawn_blocking(move || view.letter(&of));
        let letter = read.await.map_err(|_| InspectionError::Closed)??;
        let sink = self.sink(&name.sink).ok_or_else(|| {
            InspectionError::Impossible(format!("there is no sink {} in the spool", name.sink))
        })?;
        let prepared = PreparedRecord::again(&letter.record, sink);
        let answer = self.enqueue(prepared, Milestone::Spooled, Some(name.clone()));
        let answer = answer.map_err(unavailable)?.await;
        answer
            .map_err(|_| InspectionError::Closed)?
            .map_err(unavailable)?;
        // Maintenance removes it too, now or when the disk lets it; but whoever asks next must not see
        // what has been put back.
        let _ = self.remove_dead_letter(name).await?;
        Ok(letter.record.event().id())
    }

    async fn remove_dead_letter(
        &self,
        name: DeadLetterName,
    ) -> Result<io::Result<bool>, InspectionError> {
        let shared = Arc::clone(&self.shared);
        let removed = tokio::task::spawn_blocking(move || {
            let removed = shared.dead_letters.remove(&name);
            shared.show_dead_letters();
            removed
        });
        removed.await.map_err(|_| InspectionError::Closed)
    }

    /// Drops a dead letter for good.
    ///
    /// # Errors
    /// When there is none of this name, or it could not be removed.
    pub async fn drop_dead_letter(&self, name: DeadLetterName) -> Result<(), InspectionError> {
        match self.remove_dead_letter(name.clone()).await? {
            Ok(true) => Ok(()),
            Ok(false) => Err(InspectionError::NotFound(format!("dead letter {name}"))),
            Err(error) => Err(InspectionError::Unavailable(error.to_string())),
        }
    }

    /// Returns once the writer thread has answered and has done what was asked of it before; whoever
    /// asks sets the deadline.
    ///
    /// # Errors
    /// When the spool is closed.
    pub async fn probe(&self) -> Result<(), SpoolUnavailable> {
        let (reply, answer) = oneshot::channel();
        self.send(WriterCommand::Probe(reply))?;
        answer.await.map_err(|_| SpoolUnavailable::Closed)
    }

    /// Writes what waits, closes the folder and stops the threads.
    pub async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.send(WriterCommand::Close(reply)).is_ok() {
            // An error means that the thread has ended, which is what is wanted.
            let _ = closed.await;
        }
    }

    fn send(&self, command: WriterCommand) -> Result<(), SpoolUnavailable> {
        self.commands
            .send(command)
            .map_err(|_| SpoolUnavailable::Closed)
    }
}

fn unavailable(cause: SpoolUnavailable) -> InspectionError {
    InspectionError::Unavailable(cause.to_string())
}
