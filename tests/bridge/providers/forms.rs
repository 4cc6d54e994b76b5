//! Form bodies, the queries of signed URLs, and deliveries of several events.

use super::senders::{Delivery, FORM, JSON, Sender, Values, with_store};
use crate::harness::Outlet;

fn form(fields: &[(&str, &str)]) -> Delivery {
    let mut text = form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields {
        text.append_pair(name, value);
    }
    Delivery::new(FORM, text.finish())
}

/// What is sent, of whom, and the type and key that it gets.
fn forms() -> Vec<(&'static str, Delivery, &'static str, &'static str)> {
    let github = form(&[(
        "payload",
        r#"{"action":"opened","repository":{"id":42},"text":"a+b & 100% grün"}"#,
    )]);
    let github = github
        .with("x-github-event", "issues")
        .with("x-github-delivery", "1");
    let button = form(&[(
        "payload",
        r#"{"type":"block_actions","trigger_id":"12321423423.333649436676.d8c1","team":{"id":"T9TK3CUKW"},"channel":{"id":"C0123"},"actions":[]}"#,
    )]);
    let command = form(&[
        ("token", "unused"),
        ("team_id", "T0001"),
        ("channel_id", "C2147483705"),
        ("command", "/weather"),
        ("text", "94070 & more"),
        ("trigger_id", "13345224609.738474920.8088930838d88f008e0"),
    ]);
    let call = form(&[
        ("CallSid", "CA1234567890ABCDE"),
        ("CallStatus", "ringing"),
        ("From", "+14158675309"),
        ("Digits", "5678"),
        ("Digits", "1234"),
    ]);
    vec![
        ("github", github, "issues.opened", "42"),
        ("slack", button, "block_actions", "C0123"),
        ("slack", command, "command", "C2147483705"),
        ("twilio", call, "call.ringing", "CA1234567890ABCDE"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fields_are_read_and_the_bytes_are_the_form_s() {
    let senders = ["github", "slack", "twilio"].map(Sender::of);
    let (_setup, bridge) = with_store(&senders).await;
    for (provider, delivery, event_type, key) in forms() {
        let mut of_provider = senders.iter().filter(|it| it.source() == provider);
        let sender = of_provider.next().expect("it is there");
        let id = sender.sends(&bridge, &delivery, "accepted").await.id();
        let seen = Outlet::Store.has_one(&bridge, provider, &id).await;
        let what = format!("{provider}, {event_type}");
        assert_eq!(seen.header("ce_type"), event_type, "{what}");
        assert_eq!(seen.key, key, "{what}");
        assert_eq!(seen.body, delivery.body, "{what}");
        assert_eq!(seen.header("content-type"), FORM, "{what}");
        let again = sender.sends(&bridge, &delivery, "duplicate").await;
        assert_eq!(again.id(), id, "{what}");
    }
}

/// No signature covers the content type: a form that is called JSON is not read as anything, and JSON that
/// is called a form is the event that it is.
#[tokio::test(flavor = "multi_thread")]
async fn the_content_type_makes_no_other_event_of_the_same_bytes() {
    let senders = [Sender::of("github")];
    let (_setup, bridge) = with_store(&senders).await;
    let sender = &senders[0];
    let headers = |delivery: Delivery| {
        delivery
            .with("x-github-event", "push")
            .with("x-github-delivery", "1")
    };
    let mut form = headers(form(&[("payload", r#"{"repository":{"id":41}}"#)]));
    form.content_type = JSON.to_owned();
    sender.sends(&bridge, &form, "quarantined").await;
    let json = headers(Delivery::new(FORM, r#"{"repository":{"id":42}}"#));
    let answer = sender.sends(&bridge, &json, "accepted").await;
    let seen = Outlet::Store.has_one(&bridge, "github", &answer.id()).await;
    assert_eq!(seen.key, "42");
}

/// The URL is the configured one with the request's query, as it came.
#[tokio::test(flavor = "multi_thread")]
async fn a_signed_url_has_the_request_s_query() {
    let senders = ["twilio", "square", "hubspot", "trello"].map(Sender::of);
    let (_setup, bridge) = with_store(&senders).await;
    let query = "foo=1&bar=%20x+y&foo=2&empty=";
    for sender in &senders {
        let delivery = sender.sample(&Values::new()).query(query);
        let answer = sender.sends(&bridge, &delivery, "accepted").await;
        let source = sender.source();
        let seen = Outlet::Store.has_one(&bridge, source, &answer.id()).await;
        let url = format!("{}?{query}", sender.url());
        assert_eq!(seen.header("hookferry-url"), url, "{source}");
        // Signed with the query and sent without it.
        let other = sender.sample(&Values::new()).query(query);
        let mut post = sender.post(&other);
        post.path = format!("/webhooks/{source}");
        let answer = bridge.post(&post).await;
        assert_eq!(answer.status, 401, "{source}: {answer:?}");
        assert_eq!(answer.reason(), "signature_mismatch", "{source}");
    }
}

/// One delivery is one message, typed by its first event.
#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_says_how_many_events_it_holds() {
    let senders = ["hubspot", "sendgrid", "okta"].map(Sender::of);
    let (_setup, bridge) = with_store(&senders).await;
    let of_hubspot = |id: u32, event_type: &str| {
        format!(
            r#"{{"eventId":{id},"subscriptionId":7,"portalId":62515,"occurredAt":1700000000000,"subscriptionType":"{event_type}","objectId":{id}}}"#
        )
    };
    let of_sendgrid = |id: u32, event: &str| {
        format!(
            r#"{{"sg_event_id":"e{id}","sg_message_id":"m{id}","event":"{event}","timestamp":1700000000}}"#
        )
    };
    let of_okta = |id: u32, event: &str| {
        format!(
            r#"{{"eventType":"{event}","published":"2023-11-14T22:13:20Z","target":[{{"id":"u{id}"}}]}}"#
        )
    };
    let hubspot = format!(
        "[{},{},{}]",
        of_hubspot(1, "contact.creation"),
        of_hubspot(2, "contact.deletion"),
        of_hubspot(3, "deal.creation")
    );
    let sendgrid = format!("[{},{}]", of_sendgrid(1, "bounce"), of_sendgrid(2, "open"));
    let okta = format!(
        r#"{{"eventId":"1","data":{{"events":[{},{}]}}}}"#,
        of_okta(1, "user.session.start"),
        of_okta(2, "user.session.end")
    );
    for (sender, (body, event_type, key, events)) in senders.iter().zip([
        (hubspot, "contact.creation", "1", "3"),
        (sendgrid, "bounce", "m1", "2"),
        (okta, "user.session.start", "u1", "2"),
    ]) {
        let delivery = Delivery::new(JSON, body);
        let answer = sender.sends(&bridge, &delivery, "accepted").await;
        let source = sender.source();
        let seen = Outlet::Store.has_one(&bridge, source, &answer.id()).await;
        assert_eq!(seen.header("hookferry-events"), events, "{source}");
        assert_eq!(seen.header("ce_type"), event_type, "{source}");
        assert_eq!(seen.key, key, "{source}");
        assert_eq!(seen.body, delivery.body, "{source}");
        assert_eq!(Outlet::Store.read(&bridge, source).await.len(), 1);
    }
}
