//! Row 32: a panic costs the request it is in, and no other; a panic in a task or thread that the
//! bridge cannot do without ends the program, so that its next start begins anew.
//!
//! The panics are seeded bugs of a program that was built for the suite (`src/seeded.rs`). They
//! happen over whatever contains the word below.

use crate::eventually::eventually;
use crate::harness::delivery::event;
use crate::harness::load::Sent;
use crate::harness::{Bridge, Copies, Load, Outlet, Post, Program, Report, Setup, Target, Verdict};
use crate::order::proxied;

/// The text over which they happen.
const STUMBLE: &str = "stumble";

/// Built otherwise, one request would end them all.
#[test]
fn row_32_a_panic_unwinds_in_every_profile() {
    let files = [
        include_str!("../../../Cargo.toml"),
        include_str!("../../../.cargo/config.toml"),
    ];
    for file in files {
        let setting = file.lines().find(|line| line.contains("panic ="));
        assert_eq!(setting, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_32_a_panic_in_a_request_is_its_500_and_the_others_go_on() {
    let setup = Setup::store();
    let bridge = setup.start_as(Program::Seeded("panic-in-request")).await;
    let load = Load::endless(&Target::new(bridge.ingress), &setup.source, 4);
    for count in 1..=5 {
        load.reaches(10 * count).await;
        let post = Post::signed(&setup.source, event("sample.uploaded", STUMBLE));
        let answer = bridge.post(&post).await;
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (500, "internal"),
            "{answer:?}"
        );
    }
    let after = load.answered();
    load.reaches(after + 20).await;
    let journal = load.stop().await;
    bridge.drained().await;
    let seen = Outlet::Store.read(&bridge, &setup.source).await;
    let verdict = Verdict::of(&journal, &seen);
    verdict.assert_kept(Copies::Once);
    let metrics = bridge.metrics().await;
    metrics.assert_balanced("store");
    let internal = [("source", setup.source.as_str()), ("reason", "internal")];
    let counts = [
        metrics.sum("panics_total", &[]),
        metrics.sum("deliveries_rejected_total", &internal),
        metrics.sum("http_requests_total", &[("code", "500")]),
    ];
    assert_eq!(counts, [5.0; 3]);
    bridge.stop().await;
    Report::row(32)
        .sink("store")
        .did("5 panics in requests under load: 500 each, the others go on")
        .write(&verdict);
}

/// A bridge under load that will lose a part of itself.
struct Fall {
    setup: Setup,
    outlet: Outlet,
    bridge: Bridge,
    target: Target,
    load: Load,
}

impl Fall {
    async fn prepare(bug: &'static str, setup: Setup, outlet: Outlet) -> Self {
        let bridge = setup.start_as(Program::Seeded(bug)).await;
        let target = Target::new(bridge.ingress);
        let load = Load::endless(&target, &setup.source, 4);
        load.reaches(20).await;
        Self {
            setup,
            outlet,
            bridge,
            target,
            load,
        }
    }

    /// Sends an event over which the bridge panics.
    async fn stumble(&self) -> Sent {
        let body = event("sample.uploaded", STUMBLE);
        Load::once(&self.target, &self.setup.source, STUMBLE, &body).await
    }

    /// The program ends by itself, and says what has ended.
    async fn ends(&mut self, cause: &str) {
        let status = self.bridge.ended().await;
        assert_eq!(status.code(), Some(1), "{}", self.bridge.log());
        // The last lines may still be on their way to us.
        eventually(&format!("it says: {cause}"), async || {
            self.bridge.log().contains(cause).then_some(())
        })
        .await;
        assert!(
            self.bridge.said("a panic").is_some(),
            "{}",
            self.bridge.log()
        );
    }

    /// The released program takes up what the other one left.
    async fn recovers(mut self, stumbled: Option<Sent>, what: &str) {
        let bridge = self.setup.start().await;
        self.target.moves_to(bridge.ingress);
        let answered = self.load.answered();
        self.load.reaches(answered + 20).await;
        let mut journal = self.load.stop().await;
        journal.0.extend(stumbled);
        bridge.drained().await;
        let seen = self.outlet.read(&bridge, &self.setup.source).await;
        let verdict = Verdict::of(&journal, &seen);
        verdict.assert_kept(Copies::InDoubt);
        let (sink, _) = &self.setup.sinks[0];
        bridge.metrics().await.assert_balanced(sink);
        Report::row(32).sink(sink).did(what).write(&verdict);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_32_a_panic_in_the_spools_thread_stops_the_program() {
    let mut fall = Fall::prepare("panic-in-spool", Setup::store(), Outlet::Store).await;
    let sent = fall.stumble().await;
    assert!(
        sent.ids().next().is_none(),
        "it was not committed, and yet answered 200: {sent:?}"
    );
    fall.ends("the spool").await;
    fall.recovers(
        Some(sent),
        "a panic in the spool's thread under load: the program ends with exit code 1",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_32_a_panic_in_a_dispatcher_stops_the_program() {
    let mut fall = Fall::prepare("panic-in-dispatcher", Setup::store(), Outlet::Store).await;
    let sent = fall.stumble().await;
    fall.ends("panicked").await;
    fall.recovers(
        Some(sent),
        "a panic in a dispatcher under load: the program ends with exit code 1",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_32_a_panic_in_the_stores_thread_stops_the_program() {
    let mut fall = Fall::prepare("panic-in-store", Setup::store(), Outlet::Store).await;
    let sent = fall.stumble().await;
    fall.ends("a task of sink store has ended").await;
    fall.recovers(
        Some(sent),
        "a panic in the store's thread under load: the program ends with exit code 1",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_32_a_panic_in_the_task_of_rabbitmqs_connection_stops_the_program() {
    let (proxy, url) = proxied().await;
    let setup = Setup::rabbitmq(&url);
    let outlet = Outlet::rabbitmq(&setup).await;
    let mut fall = Fall::prepare("panic-in-supervisor", setup, outlet).await;
    fall.bridge.shows("sink_connected", &[], 1.0).await;
    proxy.cut();
    fall.ends("a task of sink rabbitmq has ended").await;
    proxy.restore();
    fall.recovers(
        None,
        "a panic in the connection's task under load: the program ends with exit code 1",
    )
    .await;
}

/// The broker does not matter: the task stumbles over the topic's name before it asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn row_32_a_panic_in_the_task_that_creates_topics_stops_the_program() {
    let mut setup = Setup::kafka("127.0.0.1:1");
    setup.source = STUMBLE.to_owned();
    let (code, said) = setup
        .fails_as(Program::Seeded("panic-in-topic-creation"))
        .await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("a task of sink kafka has ended"), "{said}");
}
