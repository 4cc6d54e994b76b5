//! A volume that is full: nothing is accepted that could not be kept, all that was accepted is, and it
//! goes on once there is space.

use std::collections::BTreeSet;

use serde_json::Value;

use super::engine::{Container, IMAGE, SPOOL, Volume, exec};
use super::trial::{HEALTH, INGRESS, delivery};
use crate::eventually::eventually;
use crate::harness::Connection;
use crate::harness::delivery::event;
use crate::repository::read;

/// The file of another program on the same volume.
const OTHER: usize = 4 << 20;

/// What /readyz says: its status, and the reason.
async fn readiness() -> Option<(u16, String)> {
    let mut connection = Connection::open(HEALTH).await.ok()?;
    let request = b"GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
    connection.send(request).await.ok()?;
    let answer = connection.answer().await.ok()??;
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let reason = body["reason"].as_str().unwrap_or_default().to_owned();
    Some((answer.status, reason))
}

async fn becomes(status: u16, reason: &str) {
    eventually(&format!("readyz says {status} {reason}"), async || {
        (readiness().await? == (status, reason.to_owned())).then_some(())
    })
    .await;
}

/// Delivers until the bridge refuses, large events and then small ones: the ids of what it has taken.
async fn fill() -> BTreeSet<String> {
    let mut taken = BTreeSet::new();
    for padding in [200_000, 0] {
        let padding = " ".repeat(padding);
        let refused = loop {
            let body = event("sample.uploaded", "a") + &padding;
            let answer = delivery(body).to(INGRESS).await.expect("an answer");
            if answer.status != 200 {
                break answer;
            }
            taken.insert(answer.id());
            assert!(taken.len() < 100_000, "8 MiB are not full");
        };
        assert_eq!(
            (refused.status, refused.reason().as_str()),
            (503, "disk_full")
        );
    }
    taken
}

/// The ids of what waits in the spool.
fn waiting(container: &Container) -> BTreeSet<String> {
    let list = ["hookferry", "spool", "list", "--json", "--limit", "100000"];
    let text = exec(container.name(), &list).good();
    let listed: Value = serde_json::from_str(&text).expect("JSON");
    let events = listed["events"].as_array().expect("events").iter();
    let id = |event: &Value| event["event"]["id"].as_str().expect("an id").to_owned();
    events.map(id).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --containers: needs an engine of its own, with the image"]
async fn a_full_volume_refuses_keeps_and_goes_on() {
    let volume = Volume::new(&[
        "type=tmpfs",
        "device=tmpfs",
        "o=size=8m,uid=65532,gid=65532,mode=0750",
    ]);
    let folder = tempfile::tempdir().unwrap();
    // Nobody takes the events away; segments of 1 MiB.
    let spool = format!("path = \"{SPOOL}/spool\"\n");
    let text = read("deploy/config/rabbitmq.toml");
    assert!(text.contains(&spool));
    let text = text.replace(&spool, &format!("{spool}max_size = \"16MiB\"\n"));
    std::fs::write(folder.path().join("hookferry.toml"), text).unwrap();
    let readable = std::os::unix::fs::chown(folder.path(), Some(65532), Some(65532));
    readable.unwrap();
    let config = format!("{}:/etc/hookferry:ro", folder.path().display());
    let container = Container::run(&[
        "--read-only",
        "--publish",
        "127.0.0.1:8080:8080",
        "--publish",
        "127.0.0.1:8082:8082",
        "--env",
        "ONECODEX_SECRET=demo",
        "--env",
        "HOOKFERRY_ADMIN_TOKEN=a-token-of-the-tests",
        "--env",
        "HOOKFERRY_METRICS_LISTEN=0.0.0.0:8082",
        "--volume",
        &config,
        "--volume",
        &volume.at(SPOOL),
        IMAGE,
    ]);
    becomes(200, "").await;
    let other = volume.folder().join("other");
    std::fs::write(&other, vec![1; OTHER]).expect("there is space");
    let mut taken = fill().await;
    assert!(taken.len() > 5, "{taken:?}");
    becomes(503, "disk_full").await;
    assert_eq!(waiting(&container), taken);
    std::fs::remove_file(&other).expect("it is there");
    becomes(200, "").await;
    let answer = delivery(event("sample.uploaded", "b")).to(INGRESS).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 200, "{answer:?}");
    taken.insert(answer.id());
    assert_eq!(waiting(&container), taken);
}
