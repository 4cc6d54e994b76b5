//! The topics over HTTP.

use actix_web::body::MessageBody;
use actix_web::dev::ServiceResponse;
use actix_web::http::StatusCode;
use actix_web::{App, test};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hookferry::admin::topics;
use serde_json::Value;

use super::*;

/// Asks the admin routes, as a client would.
async fn get(log: &TopicLog, uri: &str) -> (StatusCode, String, Bytes) {
    let app = test::init_service(App::new().configure(topics::routes(log.clone(), 1))).await;
    let request = test::TestRequest::get().uri(uri);
    let response: ServiceResponse = test::call_service(&app, request.to_request()).await;
    let header = |name| {
        let value = response.headers().get(name).unwrap();
        value.to_str().unwrap().to_owned()
    };
    assert_eq!(header("cache-control"), "no-store");
    let (status, content_type) = (response.status(), header("content-type"));
    let body = response.into_body().try_into_bytes().ok().unwrap();
    (status, content_type, body)
}

async fn json(log: &TopicLog, uri: &str) -> Value {
    let (status, content_type, body) = get(log, uri).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(content_type, "application/json");
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn the_list_of_topics_is_json() {
    let (_folder, path) = folder();
    let store = open(&path);
    assert_eq!(json(&store.log(), "/topics").await, serde_json::json!([]));
    publish(&store, 0..3).await;
    assert_eq!(
        json(&store.log(), "/topics").await,
        serde_json::json!([{"name": TOPIC, "first_position": 1, "last_position": 3, "events": 3}])
    );
    close(store).await;
}

#[tokio::test]
async fn events_are_lines_with_the_unchanged_body() {
    let (_folder, path) = folder();
    let store = open(&path);
    let binary = Bytes::from_static(&[0xff, 0x0a, 0x00]);
    let texts = ["", "line\none\u{2028}\"é", "null"];
    for body in texts {
        store.publish(&message_of(body, None)).await.unwrap();
    }
    store
        .publish(&message_of(binary.clone(), None))
        .await
        .unwrap();
    let uri = format!("/topics/{QUARANTINE}/events");
    let (status, content_type, body) = get(&store.log(), &uri).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(content_type, "application/x-ndjson");
    let text = std::str::from_utf8(&body).unwrap();
    assert!(text.ends_with('\n'));
    let lines: Vec<Value> = text
        .split_terminator('\n')
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 4);
    for (index, expected) in texts.iter().enumerate() {
        assert_eq!(lines[index]["position"], index + 1);
        assert_eq!(lines[index]["body"], *expected);
        assert_eq!(lines[index].get("body_base64"), None);
    }
    assert_eq!(lines[3]["body_base64"], STANDARD.encode(binary));
    assert_eq!(lines[3].get("body"), None);
    assert_eq!(lines[0]["id"], lines[0]["headers"]["ce_id"]);
    assert_eq!(lines[0]["key"], lines[0]["id"]);

    let (_, _, body) = get(&store.log(), &format!("{uri}?after=2&limit=1")).await;
    let line: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(line["position"], 3);
    close(store).await;
}

#[tokio::test]
async fn what_cannot_be_answered_is_a_problem_with_a_reason() {
    let (_folder, path) = folder();
    let store = open(&path);
    publish(&store, 0..2).await;
    let log = store.log();
    let uri = |query: &str| format!("/topics/{TOPIC}/events?{query}");
    for (uri, status, reason, detail) in [
        (
            "/topics/missing/events".into(),
            404,
            "unknown_topic",
            "with `wait`",
        ),
        (
            uri("after=x"),
            400,
            "invalid_parameter",
            "`after` must be a whole number",
        ),
        (uri("limit=0"), 400, "invalid_parameter", "from 1 to 1000"),
        (uri("wait=61"), 400, "invalid_parameter", "from 0 to 60"),
        (
            uri("wiat=1"),
            400,
            "invalid_parameter",
            "`after`, `limit`, `wait` and `bodies`",
        ),
        (uri("after=3"), 409, "position_ahead", "from 0 again"),
    ] {
        let (found, content_type, body) = get(&log, &uri).await;
        let problem: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(found, status, "{uri}");
        assert_eq!(content_type, "application/problem+json");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["reason"], reason);
        assert!(
            problem["detail"].as_str().unwrap().contains(detail),
            "{problem}"
        );
        assert!(!problem["title"].as_str().unwrap().is_empty());
    }
    close(store).await;
    for uri in ["/topics".into(), uri("")] {
        let (status, content_type, _) = get(&log, &uri).await;
        assert_eq!(
            (status.as_u16(), content_type.as_str()),
            (503, "application/problem+json")
        );
    }
}

#[tokio::test]
async fn a_consumer_may_wait_for_a_topic_that_is_not_there_yet() {
    let (_folder, path) = folder();
    let store = open(&path);
    let log = store.log();
    let uri = format!("/topics/{TOPIC}/events?wait=30");
    let (answer, ()) = tokio::join!(get(&log, &uri), publish(&store, 0..1));
    assert_eq!(answer.0, StatusCode::OK);
    assert_eq!(answer.2.iter().filter(|byte| **byte == b'\n').count(), 1);
    let (status, _, body) = get(&log, "/topics/missing/events?wait=1").await;
    assert_eq!((status, body.len()), (StatusCode::OK, 0));
    close(store).await;
}
