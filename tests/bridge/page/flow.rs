//! The flow: from the listener through the spool to the sinks, how much goes through, what waits and
//! since when, and what is blocked.

use std::time::Duration;

use crate::eventually::eventually;
use crate::harness::{Load, Node, Outlet, Setup, Tab, Target, event};
use crate::order::proxied;

use super::{assert_content, look_at};

const PICTURE: &str = "#flow-picture";

/// Waits until the picture says all of this in the box of a sink.
async fn sink_shows(tab: &Tab, sink: &str, parts: &[&str]) {
    eventually(&format!("{sink} is shown with {parts:?}"), async || {
        let boxes = tab.texts("#flow-picture .sinks .box").await;
        let mut of_it = boxes.iter().filter(|text| text.starts_with(sink));
        let text = of_it.next()?.to_lowercase();
        let mut parts = parts.iter();
        parts
            .all(|part| text.contains(&part.to_lowercase()))
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flow_tells_what_goes_through_what_waits_and_since_when() {
    let (proxy, url) = proxied().await;
    let setup = Setup::store().and_rabbitmq(&url);
    let _outlet = Outlet::rabbitmq(&setup).await;
    let bridge = setup.start().await;
    let (_browser, tab) = look_at(&bridge).await;
    let target = Target::new(bridge.ingress);
    let every = Duration::from_millis(100);
    let load = Load::paced(&target, &setup.source, (4, usize::MAX), every);
    tab.reads(PICTURE, "a rate that is not zero", |text| {
        let mut words = text.split_whitespace();
        words.any(|word| {
            let rate = word.strip_suffix("/s").unwrap_or_default();
            rate.parse::<f64>().is_ok_and(|rate| rate > 1.0)
        })
    })
    .await;
    load.stop().await;
    bridge.drained().await;

    proxy.cut();
    bridge
        .shows("sink_connected", &[("sink", "rabbitmq")], 0.0)
        .await;
    for number in 0..7 {
        let object = format!("object{number}");
        bridge
            .accepted(&setup.source, event("sample.uploaded", &object))
            .await;
    }
    sink_shows(&tab, "rabbitmq", &["not connected", "Waiting 7", "Oldest"]).await;
    sink_shows(&tab, "store", &["Writes", "Waiting 0", "Oldest none"]).await;
    // Whoever cannot see the picture has it in sentences.
    tab.shows(
        "#flow-words",
        &["Sink rabbitmq: Not connected", "7 waiting, the oldest for"],
    )
    .await;
    proxy.restore();
    bridge.drained().await;
    sink_shows(&tab, "rabbitmq", &["Connected", "Waiting 0", "Oldest none"]).await;
    assert_content(&tab, &bridge);
    bridge.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_blocks_is_called_blocked() {
    let node = Node::rabbitmq().await;
    let setup = Setup::store().and_rabbitmq(&node.url());
    let _outlet = Outlet::durable(&node.url(), &setup).await;
    let bridge = setup.start().await;
    bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
    bridge.drained().await;
    let (_browser, tab) = look_at(&bridge).await;
    tab.shows("#verdict", &["All is well"]).await;

    node.ctl(&["set_vm_memory_high_watermark", "absolute", "1MB"]);
    // RabbitMQ tells a connection once something is published on it.
    bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
    bridge
        .shows("sink_blocked", &[("sink", "rabbitmq")], 1.0)
        .await;
    sink_shows(&tab, "rabbitmq", &["blocked by the broker", "Waiting 1"]).await;
    tab.shows("#verdict", &["rabbitmq", "block"]).await;

    node.ctl(&["set_vm_memory_high_watermark", "0.4"]);
    sink_shows(&tab, "rabbitmq", &["Connected", "Waiting 0"]).await;
    tab.hides("#flow", "blocked").await;
    tab.shows("#verdict", &["All is well"]).await;
    bridge.drained().await;
    assert_content(&tab, &bridge);
    bridge.stop().await;
}
