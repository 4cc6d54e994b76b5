//! The sender repeats itself: every copy is answered 200, and the event is published once.

use std::time::{Duration, Instant};

use crate::duplicates::{answers, at_once};
use crate::harness::delivery::event;
use crate::harness::load::{Attempt, Sent, digest};
use crate::harness::setup::SECRET;
use crate::harness::{
    Answer, Bridge, Copies, Journal, Outlet, Post, Report, Setup, Verdict, amqp_url, kafka_brokers,
};

/// Copies at the same time.
const AT_ONCE: usize = 100;
/// Copies one after the other.
const IN_TURN: usize = 3;

/// One event of an object of its own, with every answer to every copy of it.
struct Repeated {
    body: String,
    sent: Sent,
}

impl Repeated {
    fn new(object: &str) -> Self {
        let body = event("sample.uploaded", object);
        let sent = Sent {
            object: object.to_owned(),
            number: 0,
            digest: digest(body.as_bytes()),
            attempts: Vec::new(),
        };
        Self { body, sent }
    }

    fn note(&mut self, answer: &Answer) {
        assert_eq!(answer.status, 200, "{answer:?}");
        self.sent.attempts.push(Attempt {
            began: Instant::now(),
            took: Duration::ZERO,
            secret: SECRET,
            status: Some(answer.status),
            id: Some(answer.id()),
        });
    }

    async fn in_turn(&mut self, bridge: &Bridge, source: &str) {
        for _ in 0..IN_TURN {
            let post = Post::signed(source, self.body.as_str());
            self.note(&bridge.post(&post).await);
        }
    }

    async fn at_once(&mut self, bridge: &Bridge, source: &str) {
        for answer in answers(at_once(bridge, source, &self.body, AT_ONCE).await).await {
            self.note(&answer);
        }
    }
}

/// Copies in turn and at once, before and after a restart, and at once with a crash as soon as one
/// of them has been answered.
async fn repeats(setup: Setup, mut outlet: Outlet, sink: &str) {
    let source = setup.source.as_str();
    let mut bridge = setup.start().await;
    let mut events = ["turn", "once", "crash"].map(Repeated::new);
    let [turn, once, crash] = &mut events;
    turn.in_turn(&bridge, source).await;
    once.at_once(&bridge, source).await;
    let duplicates = u32::try_from(IN_TURN - 1 + AT_ONCE - 1).unwrap();
    let labels = [("source", source), ("body", "same")];
    bridge
        .shows("events_duplicate_total", &labels, f64::from(duplicates))
        .await;
    bridge.drained().await;
    bridge.stop().await;
    bridge = setup.start().await;
    turn.at_once(&bridge, source).await;
    once.in_turn(&bridge, source).await;
    bridge.shows("events_accepted_total", &[], 0.0).await;
    let mut first = at_once(&bridge, source, &crash.body, AT_ONCE).await;
    let answer = first.swap_remove(AT_ONCE / 2).answer().await.unwrap();
    bridge.kill();
    crash.note(&answer.expect("one of them was answered"));
    bridge = setup.start().await;
    crash.in_turn(&bridge, source).await;
    bridge.shows("events_accepted_total", &[], 0.0).await;
    let journal = Journal(events.map(|event| event.sent).into());
    let seen = outlet.has(&bridge, source, &journal.ids()).await;
    let verdict = Verdict::of(&journal, &seen);
    verdict.assert_kept(Copies::InDoubt);
    // Only the crash left an outcome in doubt.
    assert!(verdict.duplicates <= 1, "{verdict:?}");
    Report::row(25)
        .sink(sink)
        .did(format!(
            "{IN_TURN} in turn, {AT_ONCE} at once, again after a restart, and {AT_ONCE} at once with a crash at the first answer"
        ))
        .write(&verdict);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_25_copies_are_one_event_in_the_store() {
    repeats(Setup::store(), Outlet::Store, "store").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_25_copies_are_one_event_on_kafka() {
    let brokers = kafka_brokers();
    repeats(Setup::kafka(&brokers), Outlet::kafka(&brokers), "kafka").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_25_copies_are_one_event_on_rabbitmq() {
    let setup = Setup::rabbitmq(&amqp_url());
    let outlet = Outlet::rabbitmq(&setup).await;
    repeats(setup, outlet, "rabbitmq").await;
}
