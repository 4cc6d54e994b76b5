//! Row 43: two thousand large bodies wait for a sink that hangs, then is slow, then well. What is in
//! memory of them is bounded by bytes, and an operator who looks at them meanwhile does not change
//! that.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Message as _};
use tokio::task::JoinSet;

use crate::eventually::{eventually, eventually_within};
use crate::harness::delivery::numbered;
use crate::harness::load::digest;
use crate::harness::{
    Bridge, MemoryGroup, Node, Post, Report, Setup, Verdict, Wishes, free_port, unique,
};
use crate::order::proxied;
use crate::proxy::Proxy;
use crate::rabbitmq_observer::Observer;

const MIB: usize = 1 << 20;
/// What the system gives the bridge.
const LIMIT: usize = 512 * MIB;
/// What the bridge may take of it: half.
const MEMORY: u64 = 256 * MIB as u64;
/// As large as Kafka takes a message with all its headers, by default.
const BODY: usize = MIB - 8 * 1024;
const SENDERS: usize = 4;
const OBJECTS: usize = 40;
/// Bytes a second that a slow sink takes: about one body.
const SLOW: usize = MIB;
/// What delivering two gigabytes takes, in a debug build as well.
const DELIVERED: Duration = Duration::from_secs(300);

/// What was answered 200 and has not been seen at the broker, by its digest: the bodies themselves
/// would be too much to keep.
#[derive(Default)]
struct Ledger {
    left: HashMap<[u8; 32], (usize, usize)>,
    seen: HashMap<[u8; 32], usize>,
    /// The highest number seen of each object.
    reached: HashMap<usize, usize>,
}

impl Ledger {
    /// A body is at the broker, in its object's order; it may come again after an outage.
    fn take(&mut self, body: &[u8]) {
        let digest = digest(body);
        *self.seen.entry(digest).or_default() += 1;
        let Some((object, number)) = self.left.remove(&digest) else {
            assert!(self.seen[&digest] > 1, "a body that nobody sent");
            return;
        };
        if let Some(before) = self.reached.insert(object, number) {
            assert!(before < number, "{number} after {before} of {object}");
        }
    }

    fn copies(&self) -> usize {
        self.seen.values().map(|count| count - 1).sum()
    }
}

/// Sends so many large bodies by a few senders, each object's in order by one of them.
async fn send(bridge: &Bridge, source: &str, count: usize) -> Ledger {
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let (to, source) = (bridge.ingress, source.to_owned());
        senders.spawn(async move {
            let mut sent = Vec::new();
            for number in (sender..count).step_by(SENDERS) {
                let object = number % OBJECTS;
                let name = format!("object{object}");
                let mut body = numbered("sample.uploaded", &name, number).into_bytes();
                body.resize(BODY, b' ');
                let digest = digest(&body);
                let post = Post::signed(&source, body);
                let answer = post.to(to).await.expect("an answer");
                assert_eq!(answer.status, 200, "{answer:?}");
                sent.push((digest, (object, number)));
            }
            sent
        });
    }
    let mut ledger = Ledger::default();
    while let Some(sent) = senders.join_next().await {
        ledger.left.extend(sent.expect("no panic inside"));
    }
    assert_eq!(ledger.left.len(), count);
    ledger
}

/// Looks at what waits, from the beginning to the end.
async fn look(bridge: &Bridge, bodies: bool) -> usize {
    let (mut after, mut listed) = (0, 0);
    loop {
        let path = format!("/spool/events?after={after}&limit=1000&bodies={bodies}");
        let answer = bridge.ask(&path).await;
        assert_eq!(answer.status, 200);
        let events = answer.json();
        let events = events.as_array().expect("a list");
        let Some(last) = events.last() else {
            return listed;
        };
        after = last["sequence"].as_u64().expect("a sequence");
        listed += events.len();
    }
}

/// Where a broker's messages are read, one after the other.
enum Reader {
    Rabbit {
        observer: Box<Observer>,
        queue: String,
    },
    Kafka(Box<BaseConsumer>),
}

impl Reader {
    async fn rabbit(setup: &Setup) -> Self {
        let (observer, queue) = (Box::new(Observer::new().await), setup.source.clone());
        observer.topic(&queue, "#").await;
        Self::Rabbit { observer, queue }
    }

    fn kafka(brokers: &str, setup: &Setup) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", unique("reader"))
            .set("auto.offset.reset", "earliest")
            .set("topic.metadata.refresh.interval.ms", "1000")
            // It keeps what it has fetched ahead.
            .set("queued.max.messages.kbytes", "65536")
            .create()
            .expect("a consumer");
        let topics = format!("^{}\\..*", setup.source);
        consumer.subscribe(&[&topics]).expect("subscribed");
        Self::Kafka(Box::new(consumer))
    }

    /// Reads all there is at the moment.
    async fn read(&self, ledger: &mut Ledger) {
        match self {
            Self::Rabbit { observer, queue } => {
                while let Some(message) = observer.get(queue).await {
                    ledger.take(&message.data);
                }
            }
            Self::Kafka(consumer) => {
                let pause = Duration::from_millis(200);
                while let Some(message) = tokio::task::block_in_place(|| consumer.poll(pause)) {
                    let message = message.expect("readable");
                    ledger.take(message.payload().expect("never a null value"));
                    // Whoever looks meanwhile does so in the same task.
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    async fn remove(&self) {
        if let Self::Rabbit { observer, queue } = self {
            observer.remove(queue).await;
        }
    }
}

/// The sink behind the proxy hangs while the bodies come, then is slow, then well.
async fn wait_for_a_sink_that_hangs(
    count: usize,
    mut setup: Setup,
    proxy: &Proxy,
    reader: &Reader,
) -> Verdict {
    let sink = setup.sinks[0].0.clone();
    // Long enough for a body on a slow way.
    let keys = &mut setup.sinks[0].1;
    for timeout in ["\"2s\"", "\"3s\""] {
        let patient = "publish_timeout = \"10s\"";
        *keys = keys.replace(&format!("publish_timeout = {timeout}"), patient);
    }
    let group = MemoryGroup::limited(LIMIT);
    let bridge = group.start(&setup).await;
    bridge.shows("sink_connected", &[], 1.0).await;
    proxy.freeze();
    let is_over = AtomicBool::new(false);
    let sending = async {
        let ledger = send(&bridge, &setup.source, count).await;
        is_over.store(true, Ordering::Relaxed);
        ledger
    };
    let looking = async {
        let mut listed = 0;
        while !is_over.load(Ordering::Relaxed) {
            listed += look(&bridge, true).await;
        }
        listed
    };
    let (mut ledger, looked) = tokio::join!(sending, looking);
    assert!(looked > 0, "nobody looked");
    let waiting = bridge.metrics().await.sum("spool_events", &[]);
    #[allow(clippy::cast_precision_loss, reason = "two thousand")]
    let all = count as f64;
    assert!(waiting >= all - 0.5, "{waiting} wait");
    assert_eq!(look(&bridge, true).await, count, "they are all listed");
    let hanging = bridge.peak_memory_bytes();
    bridge.metrics().await.assert_balanced(&sink);

    let delivered = [("sink", sink.as_str())];
    proxy.slow(SLOW);
    bridge
        .counts("events_delivered_total", &delivered, 3.0)
        .await;
    let began = Instant::now();
    proxy.restore();
    let arriving = eventually_within(DELIVERED, "everything is at the broker", async || {
        reader.read(&mut ledger).await;
        ledger.left.is_empty().then_some(())
    });
    tokio::join!(arriving, look(&bridge, true));
    bridge.drained().await;
    let took = began.elapsed();
    let metrics = bridge.metrics().await;
    metrics.assert_balanced(&sink);
    assert!(metrics.sum_or_zero("events_dead_lettered_total", &delivered) < 0.5);
    let peak = bridge.peak_memory_bytes();
    println!(
        "{sink}: {} MiB while it hung, {} MiB at the peak",
        hanging >> 20,
        peak >> 20
    );
    bridge.stop().await;
    assert!(peak < MEMORY, "{} MiB", peak >> 20);
    let verdict = Verdict {
        acknowledged: count,
        duplicates: ledger.copies(),
        ..Verdict::default()
    };
    Report::row(43)
        .sink(&sink)
        .did(format!(
            "{count} bodies of 1 MiB for a sink that hangs, then is slow, then well, looked through meanwhile, within a control group of 512 MiB: {} MiB at the peak",
            peak >> 20
        ))
        .recovered_in(took)
        .write(&verdict);
    verdict
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a control group, which needs root, and minutes"]
async fn row_43_two_thousand_large_bodies_wait_for_rabbitmq() {
    let (proxy, url) = proxied().await;
    let setup = Setup::rabbitmq(&url);
    let reader = Reader::rabbit(&setup).await;
    wait_for_a_sink_that_hangs(2000, setup, &proxy, &reader).await;
    reader.remove().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a control group, which needs root, a broker of its own, and minutes"]
async fn row_43_two_thousand_large_bodies_wait_for_kafka() {
    // A broker behind a proxy that its clients know as the broker.
    let bound = format!("127.0.0.1:{}", free_port());
    let proxy = Proxy::start(bound.clone()).await;
    let advertised = proxy.address().to_string();
    let wishes = Wishes::default().listener("PROXIED", "PLAINTEXT", &bound, &advertised);
    let node = Node::kafka_with(&wishes).await;
    let setup = Setup::kafka(&advertised);
    let reader = Reader::kafka(&node.brokers(), &setup);
    wait_for_a_sink_that_hangs(2000, setup, &proxy, &reader).await;
}

/// The same on a small scale, without a limit of the system's.
#[tokio::test(flavor = "multi_thread")]
async fn row_43_large_bodies_that_wait_are_not_kept_in_memory() {
    let (proxy, url) = proxied().await;
    let setup = Setup::rabbitmq(&url);
    let reader = Reader::rabbit(&setup).await;
    let bridge = setup.start().await;
    bridge.shows("sink_connected", &[], 1.0).await;
    proxy.cut();
    let mut ledger = send(&bridge, &setup.source, 250).await;
    assert_eq!(look(&bridge, false).await, 250);
    proxy.restore();
    eventually("everything is at the broker", async || {
        reader.read(&mut ledger).await;
        ledger.left.is_empty().then_some(())
    })
    .await;
    bridge.drained().await;
    bridge.metrics().await.assert_balanced("rabbitmq");
    let peak = bridge.peak_memory_bytes();
    println!("{} MiB at the peak", peak >> 20);
    assert!(peak < MEMORY, "{} MiB", peak >> 20);
    reader.remove().await;
}
