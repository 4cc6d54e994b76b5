//! The bridge is killed or told to stop, at any moment, under load.

use std::time::{Duration, Instant};

use crate::harness::{
    Bridge, Copies, Load, Outlet, Report, Setup, Target, Verdict, amqp_url, kafka_brokers,
};

/// The program is ready again this soon after a crash.
const RESTART: Duration = Duration::from_secs(2);

/// What a loop of crashes shall do, and what it did.
struct Crashes {
    setup: Setup,
    outlet: Outlet,
    sink: &'static str,
    kills: usize,
    slowest: Duration,
}

impl Crashes {
    async fn on_the_way_to(sink: &'static str, kills: usize) -> Self {
        let (setup, outlet) = match sink {
            "store" => (Setup::store(), Outlet::Store),
            "kafka" => (
                Setup::kafka(&kafka_brokers()),
                Outlet::kafka(&kafka_brokers()),
            ),
            _ => {
                let setup = Setup::rabbitmq(&amqp_url());
                let outlet = Outlet::rabbitmq(&setup).await;
                (setup, outlet)
            }
        };
        Self {
            setup,
            outlet,
            sink,
            kills,
            slowest: Duration::ZERO,
        }
    }

    /// Kills the bridge at random moments: after a few answers each time, and then a random while.
    async fn run(&mut self, objects: usize, each: usize) -> (Bridge, Verdict) {
        let mut bridge = self.setup.start().await;
        let target = Target::new(bridge.ingress);
        let load = Load::start(&target, &self.setup.source, objects, each);
        for kill in 1..=self.kills {
            load.reaches(objects * each * kill / (self.kills + 1)).await;
            // The moment is the point here: anywhere between two answers.
            tokio::time::sleep(Duration::from_micros(random_below(20_000))).await;
            bridge.kill();
            let began = Instant::now();
            bridge = self.setup.start().await;
            self.slowest = self.slowest.max(began.elapsed());
            target.moves_to(bridge.ingress);
        }
        let journal = load.finish().await;
        let seen = self
            .outlet
            .has(&bridge, &self.setup.source, &journal.ids())
            .await;
        (bridge, Verdict::of(&journal, &seen))
    }
}

fn random_below(limit: u64) -> u64 {
    getrandom::u64().expect("randomness") % limit
}

async fn survives_kills(sink: &'static str, kills: usize, objects: usize, each: usize) -> Duration {
    let mut crashes = Crashes::on_the_way_to(sink, kills).await;
    let (bridge, verdict) = crashes.run(objects, each).await;
    verdict.assert_kept(Copies::InDoubt);
    assert_eq!(verdict.acknowledged, objects * each);
    bridge.drained().await;
    let metrics = bridge.metrics().await;
    metrics.assert_balanced(sink);
    // What a kill left behind is counted as found again: the series is there after every start.
    metrics.sum("events_recovered_total", &[("sink", sink)]);
    Report::row(1)
        .sink(sink)
        .did(format!("{kills} × `kill -9` at random moments under load"))
        .recovered_in(crashes.slowest)
        .write(&verdict);
    crashes.slowest
}

#[tokio::test(flavor = "multi_thread")]
async fn row_01_kills_on_the_way_to_the_store_lose_nothing() {
    survives_kills("store", 6, 12, 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_01_kills_on_the_way_to_rabbitmq_lose_nothing() {
    survives_kills("rabbitmq", 4, 12, 40).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_01_kills_on_the_way_to_kafka_lose_nothing() {
    survives_kills("kafka", 4, 12, 40).await;
}
