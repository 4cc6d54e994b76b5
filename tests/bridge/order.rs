//! P5: the events of one object appear in the order they were sent in, through outages, retries and
//! crashes.

use crate::harness::load::{assert_all_there, assert_in_order, ids};
use crate::harness::{Load, Outlet, Setup, Target, amqp_url, kafka_brokers};
use crate::proxy::Proxy;

const OBJECTS: usize = 12;
const EACH: usize = 12;

/// The URL of the real RabbitMQ behind a proxy.
pub async fn proxied() -> (Proxy, String) {
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
    let proxy = Proxy::start(upstream).await;
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
    let sent = load.finish().await;
    let seen = outlet.has(&bridge, &setup.source, &ids(&sent)).await;
    assert_all_there(&sent, &seen);
    assert_in_order(&sent, &seen);
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
    let sent = load.finish().await;
    let seen = outlet.has(&bridge, &setup.source, &ids(&sent)).await;
    assert_all_there(&sent, &seen);
    assert_in_order(&sent, &seen);
}

/// The oracle itself must see a wrong order.
#[test]
#[should_panic(expected = "came before")]
fn the_oracle_sees_a_wrong_order() {
    let (sent, mut seen) = oracle();
    seen.swap(0, 1);
    assert_in_order(&sent, &seen);
}

/// A late copy of an earlier event is a duplicate, not a wrong order.
#[test]
fn the_oracle_takes_late_copies() {
    let (sent, mut seen) = oracle();
    seen.push(seen[0].clone());
    assert_in_order(&sent, &seen);
}

#[test]
#[should_panic(expected = "was answered 200")]
fn the_oracle_sees_a_lost_event() {
    let (sent, mut seen) = oracle();
    seen.pop();
    assert_all_there(&sent, &seen);
}

#[test]
#[should_panic(expected = "was answered 200")]
fn the_oracle_sees_a_changed_byte() {
    let (sent, mut seen) = oracle();
    seen[1].body[0] = b'X';
    assert_all_there(&sent, &seen);
}

fn oracle() -> (Vec<crate::harness::load::Sent>, Vec<crate::harness::Seen>) {
    let number = |number: usize| crate::harness::load::Sent {
        id: format!("id{number}"),
        object: "object".to_owned(),
        number,
        body: format!("body{number}"),
    };
    let sent: Vec<_> = (0..3).map(number).collect();
    let seen = sent.iter().map(|one| crate::harness::Seen {
        address: "topic".to_owned(),
        key: one.object.clone(),
        id: one.id.clone(),
        headers: std::collections::BTreeMap::new(),
        body: one.body.clone().into_bytes(),
    });
    let seen = seen.collect();
    (sent, seen)
}
