//! The whole promise with the provider's record in it: ten thousand events are sent to a bridge that
//! is stopped, killed and started at random moments, by a provider that gives up early; and in the end
//! every one of them is on its topic.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};

use super::{RecoverySetup, assert_backfilled};
use crate::eventually::eventually_within;
use crate::harness::delivery::{now, signature};
use crate::harness::load::{Attempt, digest};
use crate::harness::setup::SECRET;
use crate::harness::{
    Bridge, Copies, EventsApi, Journal, Outlet, Post, RetryingSender, Seen, Setup, Verdict,
    amqp_url, kafka_brokers,
};

const OBJECTS: usize = 40;
const EACH: usize = 250;
/// No object has events sooner after each other.
const EVERY: Duration = Duration::from_millis(50);
/// What is left of ten thousand is recovered one after the other.
const RECOVERED: Duration = Duration::from_secs(180);
/// Deliveries at once when all are sent once more.
const AT_ONCE: usize = 16;

/// Moments, the same for the same seed.
struct Moments(u64);

impl Moments {
    /// From the seed that the environment names, or a new one; it is printed, to be tried again.
    fn new() -> Self {
        let named = std::env::var("HOOKFERRY_TEST_SEED").ok();
        let seed = named.map_or_else(rand::random, |text| text.parse().expect("a number"));
        println!("HOOKFERRY_TEST_SEED={seed}");
        Self(seed)
    }

    /// A number below `most` (SplitMix64).
    fn next(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % most
    }

    async fn pass(&mut self, least: u64, most: u64) {
        let time = Duration::from_millis(least + self.next(most - least));
        // The moment is the point here.
        tokio::time::sleep(time).await;
    }
}

/// Everything is sent, while the bridge comes and goes; then it stays.
async fn is_sent(recovery: &RecoverySetup) -> (Bridge, Journal) {
    let mut moments = Moments::new();
    let sender = RetryingSender::start(&recovery.api, recovery.source(), (OBJECTS, EACH), EVERY);
    let mut outages = 0;
    while !sender.is_done() {
        moments.pass(200, 1000).await;
        let bridge = recovery.start().await;
        sender.moves_to(Some(bridge.ingress));
        moments.pass(300, 2500).await;
        if moments.next(2) == 0 {
            bridge.kill();
        } else {
            bridge.stop().await;
        }
        sender.moves_to(None);
        outages += 1;
    }
    let bridge = recovery.start().await;
    let journal = sender.finish().await;
    let missed = journal.0.iter().filter(|sent| sent.ids().next().is_none());
    println!("{outages} outages, {} events given up", missed.count());
    (bridge, journal)
}

/// A run that began after this was called has completed, and all is delivered.
async fn is_recovered(recovery: &RecoverySetup, bridge: &Bridge) {
    let labels = [("source", recovery.source()), ("result", "completed")];
    let runs = async || bridge.metrics().await.sum("backfill_runs_total", &labels);
    let enough = runs().await + 2.0;
    eventually_within(RECOVERED, "two runs are over", async || {
        (runs().await >= enough).then_some(())
    })
    .await;
    bridge.drained_within(RECOVERED).await;
}

/// Sends every event once more that nobody has taken: each is a duplicate, and so its id is known.
async fn are_known(
    recovery: &RecoverySetup,
    bridge: &Bridge,
    journal: &mut Journal,
    seen: &[Seen],
) {
    let bodies: HashMap<[u8; 32], &[u8]> = seen
        .iter()
        .map(|one| (digest(&one.body), one.body.as_slice()))
        .collect();
    let given_up = journal.0.iter_mut();
    let given_up = given_up.filter(|sent| sent.ids().next().is_none());
    let attempts = given_up.map(|sent| {
        let body = bodies.get(&sent.digest).copied();
        async move {
            let body = body.unwrap_or_else(|| panic!("{sent:?} is on no topic"));
            let began = Instant::now();
            let answer = bridge.post(&Post::signed(recovery.source(), body)).await;
            assert_eq!((answer.status, &*answer.outcome()), (200, "duplicate"));
            sent.attempts.push(Attempt {
                began,
                took: began.elapsed(),
                secret: SECRET,
                status: Some(200),
                id: Some(answer.id()),
            });
        }
    });
    let attempts: Vec<_> = attempts.collect();
    stream::iter(attempts)
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<()>>()
        .await;
}

/// What was fetched is in order among itself, and so is what was delivered. Between the two there is
/// no order: an event that the provider gave up comes after later ones that it delivered.
fn apart(journal: &Journal, fetched: &HashSet<[u8; 32]>) -> Journal {
    let mut apart = journal.clone();
    for sent in &mut apart.0 {
        if fetched.contains(&sent.digest) {
            sent.object.push_str(", fetched");
        }
    }
    apart
}

/// The messages as the checker takes them. What was fetched has no signature; here it gets one, after
/// it was seen to have none.
fn signed(seen: &[Seen]) -> (Vec<Seen>, HashSet<[u8; 32]>) {
    let mut origins: HashMap<[u8; 32], &str> = HashMap::new();
    let mut signed = Vec::new();
    for one in seen {
        let origin = one.header("hookferry-origin");
        let first = *origins.entry(digest(&one.body)).or_insert(origin);
        assert_eq!(first, origin, "delivered and fetched: {one:?}");
        let mut one = one.clone();
        if origin == "backfill" {
            assert_backfilled(&one);
            let signature = signature(SECRET, now(), &one.body);
            one.headers
                .insert("hookferry-signature".to_owned(), signature);
        }
        signed.push(one);
    }
    let fetched = origins.into_iter().filter(|(_, of)| *of == "backfill");
    (signed, fetched.map(|(digest, _)| digest).collect())
}

async fn every_event_is_on_its_topic(setup: Setup, mut outlet: Outlet) {
    let sink = setup.sinks[0].0.clone();
    let recovery = RecoverySetup::of(setup, EventsApi::start().await);
    let (bridge, mut journal) = is_sent(&recovery).await;
    is_recovered(&recovery, &bridge).await;
    let seen = outlet.read(&bridge, recovery.source()).await;
    are_known(&recovery, &bridge, &mut journal, &seen).await;
    bridge.drained_within(RECOVERED).await;
    let ids = journal.ids();
    let seen = outlet.has(&bridge, recovery.source(), &ids).await;
    let (seen, fetched) = signed(&seen);
    assert!(
        !fetched.is_empty(),
        "nothing was missed, so nothing is shown"
    );
    let verdict = Verdict::of(&apart(&journal, &fetched), &seen);
    println!(
        "{sink}: {} of {} fetched, {} duplicated",
        fetched.len(),
        verdict.acknowledged,
        verdict.duplicates
    );
    verdict.assert_kept(Copies::InDoubt);
    assert_eq!(verdict.acknowledged, OBJECTS * EACH);
    bridge.metrics().await.assert_balanced(&sink);
    recovery.assert_polite(&bridge);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_events_through_outages_are_all_in_the_store() {
    every_event_is_on_its_topic(Setup::store(), Outlet::Store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_events_through_outages_are_all_on_rabbitmq() {
    let setup = Setup::rabbitmq(&amqp_url());
    let outlet = Outlet::rabbitmq(&setup).await;
    every_event_is_on_its_topic(setup, outlet).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_events_through_outages_are_all_on_kafka() {
    let brokers = kafka_brokers();
    every_event_is_on_its_topic(Setup::kafka(&brokers), Outlet::kafka(&brokers)).await;
}
