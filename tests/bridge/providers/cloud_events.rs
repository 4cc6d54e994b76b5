//! CloudEvents that come in, binary and structured: both modes of one event have one id.

use super::senders::{Delivery, JSON, Sender, with_store};
use crate::harness::{Outlet, Seen};

const STRUCTURED: &str = "application/cloudevents+json; charset=utf-8";

fn binary(id: &str) -> Delivery {
    Delivery::new(JSON, r#"{"run":"r1"}"#)
        .with("ce-specversion", "1.0")
        .with("ce-id", id)
        .with("ce-source", "/sequencers/novaseq-2")
        .with("ce-type", "com.example.run.finished")
        .with("ce-subject", "r1")
        .with("ce-time", "2026-03-02T09:15:42Z")
}

fn structured(id: &str) -> Delivery {
    let body = format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/sequencers/novaseq-2","type":"com.example.run.finished","subject":"r1","time":"2026-03-02T10:15:42+01:00","data":{{"run":"r1"}}}}"#
    );
    Delivery::new(STRUCTURED, body)
}

fn assert_read(seen: &Seen, id: &str) {
    for (name, value) in [
        ("ce_type", "com.example.run.finished"),
        ("ce_subject", "r1"),
        ("ce_time", "2026-03-02T09:15:42Z"),
        ("ce_originid", id),
        ("ce_originsource", "/sequencers/novaseq-2"),
        ("hookferry-unsigned", "id,type,object,time"),
    ] {
        assert_eq!(seen.header(name), value, "{name} of {id}");
    }
    assert_eq!(seen.key, "r1");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_modes_of_an_event_are_read_and_have_its_id() {
    let senders = [Sender::of("cloudevents")];
    let (_setup, bridge) = with_store(&senders).await;
    let sender = &senders[0];
    for (id, first, second) in [
        ("a", binary("a"), structured("a")),
        ("b", structured("b"), binary("b")),
    ] {
        let answer = sender.sends(&bridge, &first, "accepted").await;
        let seen = Outlet::Store
            .has_one(&bridge, "cloudevents", &answer.id())
            .await;
        assert_read(&seen, id);
        assert_eq!(seen.body, first.body);
        // The same event in other bytes, which are published too.
        let again = sender.sends(&bridge, &second, "accepted").await;
        assert_eq!(again.id(), answer.id());
        let retry = sender.sends(&bridge, &first, "duplicate").await;
        assert_eq!(retry.id(), answer.id());
    }
}

/// The headers of the binary mode mean nothing beside a structured body, and its fields nothing where the
/// content type is another.
#[tokio::test(flavor = "multi_thread")]
async fn the_content_type_says_which_mode_it_is() {
    let senders = [Sender::of("cloudevents")];
    let (_setup, bridge) = with_store(&senders).await;
    let sender = &senders[0];
    let mixed = structured("c").with("ce-id", "d").with("ce-type", "other");
    let answer = sender.sends(&bridge, &mixed, "accepted").await;
    let seen = Outlet::Store
        .has_one(&bridge, "cloudevents", &answer.id())
        .await;
    assert_read(&seen, "c");
    let mut plain = structured("e");
    plain.content_type = JSON.to_owned();
    sender.sends(&bridge, &plain, "quarantined").await;
}
