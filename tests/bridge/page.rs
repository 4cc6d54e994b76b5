//! The operators' page, as somebody sees it who looks at it with a real browser while the bridge is sent
//! to, refuses, loses a broker, is frozen and starts again.

mod access;
mod accessibility;
mod deliveries;
mod endpoints;
mod event;
mod flow;
mod hidden;
mod history;
mod hostile;
mod keyboard;
mod lost;
mod origin;
mod picture;
mod rejections;
mod set_aside;
mod status;
mod topics;
mod viewers;

use std::path::PathBuf;

use serde_json::Value;

use crate::harness::{Bridge, Browser, Setup, Tab, event, free_port, kafka_brokers};

/// Where the page of a bridge is.
fn page_of(bridge: &Bridge) -> String {
    format!("http://{}/", bridge.admin)
}

/// A bridge to the store, and the event that it has delivered.
async fn with_one_event() -> (Setup, Bridge, String) {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let id = bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
    bridge.drained().await;
    (setup, bridge, id)
}

/// A browser that shows the page of a bridge, and what it shows is live.
async fn look_at(bridge: &Bridge) -> (Browser, Tab) {
    let browser = Browser::start().await;
    let tab = browser.open(&page_of(bridge)).await;
    tab.shows("#connection", &["live"]).await;
    (browser, tab)
}

/// Asks the page for an event, or for those of an object.
async fn find(tab: &Tab, wanted: &str) {
    tab.fill("Event id or object id", wanted).await;
    tab.click("button", "Find").await;
}

/// Nothing went wrong in the page, and it has asked nobody but its bridge for anything.
fn assert_content(tab: &Tab, bridge: &Bridge) {
    assert_eq!(tab.complaints(), [""; 0]);
    let origin = page_of(bridge);
    let is_elsewhere = |url: &String| !url.starts_with(&origin) && !url.starts_with("data:");
    let elsewhere: Vec<String> = tab.requests().into_iter().filter(is_elsewhere).collect();
    assert_eq!(elsewhere, [""; 0]);
}

/// The store, and a Kafka whose topics the bridge makes.
fn store_and_kafka(brokers: &str) -> Setup {
    Setup::store().and_kafka(
        brokers,
        "create_topics = { partitions = 3, replication = 1 }\n",
    )
}

/// All kinds of sinks; the RabbitMQ is at this URL.
fn every_sink(amqp_url: &str) -> Setup {
    store_and_kafka(&kafka_brokers()).and_rabbitmq(amqp_url)
}

/// A bridge to the store and to a RabbitMQ that takes no more than a kibibyte.
fn narrow(amqp_url: &str) -> Setup {
    let mut setup = Setup::store().and_rabbitmq(amqp_url);
    setup.sinks[1].1.push_str("max_message_size = \"1KiB\"\n");
    setup
}

/// The same event with as much behind it as a narrow RabbitMQ does not take.
fn large(body: &str) -> String {
    format!("{body}{}", " ".repeat(2048))
}

/// A configuration whose operators' listener is where it was after a restart.
fn at_one_port(setup: &Setup) -> PathBuf {
    let config = setup.path("hookferry.toml");
    let there = format!("[admin]\nlisten = \"127.0.0.1:{}\"", free_port());
    let text = setup.text();
    let changed = text.replace("[admin]\nlisten = \"127.0.0.1:0\"", &there);
    assert_ne!(changed, text);
    std::fs::write(&config, changed).unwrap();
    config
}

/// What the bridge knows of an event.
async fn history_of(bridge: &Bridge, id: &str) -> Value {
    bridge.ask(&format!("/events/{id}")).await.json()
}

/// What has happened to it, in the order in which it is told.
fn steps(history: &Value) -> Vec<&str> {
    let steps = history["steps"].as_array().unwrap().iter();
    steps.map(|step| step["step"].as_str().unwrap()).collect()
}

/// The names of the dead letters that the bridge has.
async fn dead_letters(bridge: &Bridge) -> Vec<String> {
    let listed = bridge.ask("/dead-letters").await.json();
    let listed = listed.as_array().unwrap().iter();
    listed
        .map(|letter| letter["name"].as_str().unwrap().to_owned())
        .collect()
}
