//! P5: the events of one object appear in the order they were sent in, through outages, retries and
//! crashes.

use crate::harness::{Copies, Load, Outlet, Setup, Target, Verdict, amqp_url, kafka_brokers};
use crate::proxy::Proxy;

const OBJECTS: usize = 12;
const EACH: usize = 12;

/// The URL of the real RabbitMQ behind a proxy.
pub async fn proxied() -> (Proxy, String) {
    proxied_at("127.0.0.1:0").await
}

/// The same, with a proxy that listens at a given address.
pub async fn proxied_at(listen: &str) -> (Proxy, String) {
    let url = amqp_url();
    let (scheme, rest) = url.split_once("://").expect("a URL");
    let (authority, path) = rest.split_once('/').unwrap_or((rest, "%2f"));
    let (user, host) = authority
        .rsplit_once('@')
        .unwrap_or(("guest:guest", authority));
    let upstream = if host.contains(':') {
        host.to_owned()
    } else {
        format!("{host}:5672")
    };
    let proxy = Proxy::start_at(listen, upstream).await;
    let through = format!("{scheme}://{user}@{}/{path}", proxy.address());
    (proxy, through)
}

#[tokio::test(flavor = "multi_thread")]
async fn order_survives_an_outage_with_a_crash_in_it() {
    let (proxy, url) = proxied().await;
    let setup = Setup::rabbitmq(&url);
    let mut outlet = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start().await;
    let target = Target::new(bridge.ingress);
    let load = Load::start(&target, &setup.source, OBJECTS, EACH);
    load.reaches(OBJECTS * EACH / 6).await;
    proxy.cut();
    load.reaches(OBJECTS * EACH / 3).await;
    bridge.kill();
    let bridge = setup.start().await;
    target.moves_to(bridge.ingress);
    load.reaches(OBJECTS * EACH / 2).await;
    proxy.restore();
    load.reaches(OBJECTS * EACH * 2 / 3).await;
    proxy.cut();
    proxy.restore();
    let journal = load.finish().await;
    let seen = outlet.has(&bridge, &setup.source, &journal.ids()).await;
    Verdict::of(&journal, &seen).assert_kept(Copies::InDoubt);
}

#[tokio::test(flavor = "multi_thread")]
async fn order_survives_crashes_on_the_way_to_kafka() {
    let setup = Setup::kafka(&kafka_brokers());
    crashes(setup, Outlet::kafka(&kafka_brokers())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn order_survives_crashes_on_the_way_to_the_store() {
    crashes(Setup::store(), Outlet::Store).await;
}

async fn crashes(setup: Setup, mut outlet: Outlet) {
    let mut bridge = setup.start().await;
    let target = Target::new(bridge.ingress);
    let load = Load::start(&target, &setup.source, OBJECTS, EACH);
    for third in 1..3 {
        load.reaches(OBJECTS * EACH * third / 3).await;
        bridge.kill();
        bridge = setup.start().await;
        target.moves_to(bridge.ingress);
    }
    let journal = load.finish().await;
    let seen = outlet.has(&bridge, &setup.source, &journal.ids()).await;
    Verdict::of(&journal, &seen).assert_kept(Copies::InDoubt);
}
