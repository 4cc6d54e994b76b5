//! The spool in a real folder: appending events, and settling them.
//!
//! An iteration is one group. So that all its events are there at once, the spool's thread is held
//! while they are handed over, in the wake-up of somebody who sent a health probe. What is not
//! measured, such as making the events and having them confirmed, goes on between the readings of
//! the clock. Every sample begins with an empty folder; a sample is as many groups as criterion has
//! time for, so the making of segments is in it.

use std::cell::Cell;
use std::pin::pin;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use futures_util::future::{join_all, poll_immediate};
use hookferry::event::SinkIndex;
use hookferry::metrics::Metrics;
use hookferry::name::SinkName;
use hookferry::route::{Routed, Router};
use hookferry::sink::store::{self, Store};
use hookferry::sink::{Receipt, Sink as _};
use hookferry::source::Source;
use hookferry::spool::{
    Appended, Duplicates, Milestone, Settlement, Spool, SpoolLimits, SpoolLocation, SpoolRecord,
    SpoolSettings,
};
use rustix::time::{ClockId, clock_gettime};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::delivery::{KIB, event, source};
use crate::message::template;
use crate::route::router;

/// The events of one group, and the bytes of their bodies. A batch has 512 events and 4 MiB at most:
/// the last of these groups takes several, and more than one segment.
const APPENDED: [(usize, usize, &str); 6] = [
    (1, KIB, "1 KiB"),
    (64, KIB, "1 KiB"),
    (512, KIB, "1 KiB"),
    (64, 512, "512 B"),
    (64, 16 * KIB, "16 KiB"),
    (64, 256 * KIB, "256 KiB"),
];
/// As above. Larger ones would say more of how they are made and confirmed than of letting go.
const SETTLED: [(usize, usize, &str); 4] = [
    (1, KIB, "1 KiB"),
    (64, KIB, "1 KiB"),
    (512, KIB, "1 KiB"),
    (64, 16 * KIB, "16 KiB"),
];

/// Bytes of records that are fetched at once.
const FETCHED_BYTES: usize = 8 << 20;
/// What the spool's files may have in all: more than any sample writes.
const MAX_BYTES: u64 = 1 << 40;

/// The longest the store may take to end.
const DEADLINE: Duration = Duration::from_secs(10);

/// What is read before and after.
#[derive(Clone, Copy)]
enum Clock {
    /// The time that passes: the disk's, above all.
    Passing,
    /// The processor time of this process, all its threads together.
    Processor,
}

impl Clock {
    fn now(self) -> Duration {
        static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);
        match self {
            Self::Passing => BEGINNING.elapsed(),
            Self::Processor => Duration::try_from(clock_gettime(ClockId::ProcessCPUTime))
                .expect("this clock begins at zero"),
        }
    }
}

pub fn bench(criterion: &mut Criterion) {
    for (clock, suffix) in [(Clock::Passing, ""), (Clock::Processor, ", processor time")] {
        let append = |bench: &Bench, events| bench.append(events, clock);
        groups(criterion, &format!("append{suffix}"), &APPENDED, append);
        let settle = |bench: &Bench, events| bench.settle(events, clock);
        groups(criterion, &format!("settle{suffix}"), &SETTLED, settle);
    }
}

/// One benchmark: `measure` says how long it took with a group of these events.
fn groups(
    criterion: &mut Criterion,
    name: &str,
    cases: &[(usize, usize, &str)],
    measure: impl Fn(&Bench, Vec<Routed>) -> Duration,
) {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.measurement_time(Duration::from_secs(2));
    for (events, bytes, size) in cases.iter().copied() {
        let name = format!("{events} event{}", if events == 1 { "" } else { "s" });
        group.throughput(Throughput::Elements(events as u64));
        group.bench_function(BenchmarkId::new(name, size), |bencher| {
            bencher.iter_custom(|iterations| {
                let bench = Bench::open();
                let one = |_| measure(&bench, bench.events(events, bytes));
                let spent = (0..iterations).map(one).sum();
                bench.close();
                spent
            });
        });
    }
    group.finish();
}

/// Whoever wakes this waits until it is released.
struct Hold {
    begin: Sender<()>,
    released: Mutex<Receiver<()>>,
}

impl Wake for Hold {
    fn wake(self: Arc<Self>) {
        // Where nobody waits for it any more, there is nothing to hold.
        if self.begin.send(()).is_ok() {
            let released = self.released.lock();
            let _ = released.unwrap_or_else(PoisonError::into_inner).recv();
        }
    }
}

/// An open spool with one sink, which is a store beside it.
struct Bench {
    runtime: Runtime,
    spool: Spool,
    sink: SinkIndex,
    store: Store,
    source: Source,
    router: Router,
    /// The last sequence that was fetched.
    read_through: Cell<u64>,
    folder: TempDir,
}

impl Bench {
    fn open() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a writable target");
        let name = SinkName::parse("store").expect("a slug");
        let settings = SpoolSettings {
            location: SpoolLocation::Folder(folder.path().join("spool")),
            limits: SpoolLimits {
                max_events: u64::MAX,
                max_bytes: MAX_BYTES,
                duplicates: Duplicates::Suppress,
                window: Duration::from_hours(24),
            },
        };
        let metrics = Arc::new(Metrics::new().expect("every name is there once"));
        let (spool, _) =
            Spool::open(settings, std::slice::from_ref(&name), metrics).expect("a new folder");
        let sink = spool.sink(&name).expect("it was opened for this one");
        let store = Store::open(store::StoreSettings {
            path: folder.path().join("store"),
            topic: template("{source}.{event_type}"),
            retention: Duration::from_hours(24),
            max_size_bytes: MAX_BYTES,
        });
        Self {
            runtime: Builder::new_current_thread()
                .enable_time()
                .build()
                .expect("a runtime"),
            spool,
            sink,
            store: store.expect("a new folder"),
            source: source(1),
            router: router([sink].into_iter().collect()),
            read_through: Cell::new(0),
            folder,
        }
    }

    /// New events, routed to the one sink.
    fn events(&self, count: usize, bytes: usize) -> Vec<Routed> {
        let routed = |_| {
            let routing = self.router.route(event(&self.source, bytes));
            routing.routed().expect("no route drops it")
        };
        (0..count).map(routed).collect()
    }

    /// Appends them together, and says how long that took from the call to the last answer.
    fn append(&self, events: Vec<Routed>, clock: Clock) -> Duration {
        let release = self.hold();
        self.runtime.block_on(async {
            let started = clock.now();
            let append = |routed| self.spool.append(routed, Milestone::Spooled);
            let mut appends = join_all(events.into_iter().map(append));
            assert!(poll_immediate(&mut appends).await.is_none(), "they wait");
            release.send(()).expect("the spool's thread waits for it");
            let answers = appends.await;
            let spent = clock.now() - started;
            assert!(
                answers
                    .iter()
                    .all(|answer| *answer == Ok(Appended::Accepted))
            );
            spent
        })
    }

    /// Holds the spool's thread until it is sent something.
    fn hold(&self) -> Sender<()> {
        loop {
            let (begin, begun) = mpsc::channel();
            let (release, released) = mpsc::channel();
            let hold = Hold {
                begin,
                released: Mutex::new(released),
            };
            let waker = Waker::from(Arc::new(hold));
            let probe = pin!(self.spool.probe());
            match probe.poll(&mut Context::from_waker(&waker)) {
                Poll::Pending => {
                    begun.recv().expect("the spool's thread runs");
                    return release;
                }
                // It had come round before anybody could be woken.
                Poll::Ready(answer) => answer.expect("the spool is open"),
            }
        }
    }

    /// Appends them, has the store confirm them, and says how long it took to let go of them: what a
    /// dispatcher waits for. The log is told with some later batch, of which this is a few bytes.
    fn settle(&self, events: Vec<Routed>, clock: Clock) -> Duration {
        let count = events.len();
        self.append(events, clock);
        let settlements = self.runtime.block_on(self.confirmed(count));
        let started = clock.now();
        self.spool.settle(self.sink, &settlements);
        clock.now() - started
    }

    /// The next records of the spool, each with the store's receipt for it.
    async fn confirmed(&self, count: usize) -> Vec<Settlement> {
        let mut records: Vec<Arc<SpoolRecord>> = Vec::with_capacity(count);
        while records.len() < count {
            let (after, most) = (self.read_through.get(), count - records.len());
            let more = self
                .spool
                .fetch(self.sink, after, most, FETCHED_BYTES)
                .await;
            records.extend(more.expect("the spool is open"));
            let last = records.last().expect("a fetch waits for records");
            self.read_through.set(last.position().sequence);
        }
        let confirm = async |record: Arc<SpoolRecord>| {
            let receipt: Receipt = self
                .store
                .publish(&record.message())
                .await
                .expect("the disk has room");
            Settlement { receipt, record }
        };
        join_all(records.into_iter().map(confirm)).await
    }

    /// Both threads have ended before the folder goes.
    fn close(self) {
        self.runtime.block_on(async {
            self.spool.close().await;
            self.store.close(DEADLINE).await;
        });
        self.folder.close().expect("a folder of our own");
    }
}
