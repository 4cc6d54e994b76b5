//! Handshakes by which senders make sure of a webhook, and what a source has of its own: the form of
//! its answers, its largest body, what a wrong signature is answered, and a secret in its URL.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::eventually::eventually;
use crate::harness::collector::Collector;
use crate::harness::delivery::{event, now};
use crate::harness::setup::SECRET;
use crate::harness::{Answer, Bridge, Connection, Outlet, Post, Program, Setup};

const MIB: usize = 1 << 20;
/// What a sender that asks for it shows of itself in a handshake.
const VERIFY: &str = "meatyhamhock";

/// The configuration of a bridge to the store with a source of the name of its provider besides.
pub fn with_source(provider: &str, keys: &str) -> Setup {
    let mut setup = Setup::store();
    let secret = setup.path("secret");
    setup.more = format!(
        "[source.{provider}]\nprovider = \"{provider}\"\nsecrets = [{{ file = {secret:?} }}]\n{keys}\n\
         [[route]]\nsource = \"{provider}\"\nsinks = [\"store\"]\n"
    );
    setup
}

/// The key that has the handshake's secret lie in a file.
fn with_verify(provider: &str) -> Setup {
    let mut setup = with_source(provider, "");
    let file = setup.path("verify");
    std::fs::write(&file, VERIFY).expect("writable");
    let keys = format!("[source.{provider}]\nverify = {{ file = {file:?} }}\n");
    setup.more = setup.more.replace(&format!("[source.{provider}]\n"), &keys);
    setup
}

fn hmac(secret: &str, message: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key will do");
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// A delivery as Slack signs it, and Zoom with headers of other names.
fn signed_v0(source: &str, [time, signature]: [&str; 2], secret: &str, body: &str) -> Post {
    let seconds = now();
    let tag = hex::encode(hmac(secret, &format!("v0:{seconds}:{body}")));
    Post::unsigned(source, body)
        .with(time, &seconds.to_string())
        .with(signature, &format!("v0={tag}"))
}

fn of_slack(secret: &str, body: &str) -> Post {
    let headers = ["x-slack-request-timestamp", "x-slack-signature"];
    signed_v0("slack", headers, secret, body)
}

fn get(source: &str, query: &str) -> Post {
    Post::unsigned(source, "")
        .method("GET")
        .path(&format!("/webhooks/{source}?{query}"))
}

/// An answer that no browser takes for a page.
fn assert_answered(answer: &Answer, content_type: &str, body: &str) {
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, body),
        "{answer:?}"
    );
    assert_eq!(answer.header("content-type"), Some(content_type));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
}

fn assert_refused(answer: &Answer, status: u16, reason: &str) {
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (status, reason),
        "{answer:?}"
    );
}

/// How many handshakes were answered and refused, and that no event came of them.
async fn assert_counted(bridge: &Bridge, source: &str, answered: f64, refused: f64) {
    for (result, count) in [("answered", answered), ("refused", refused)] {
        let labels = [("source", source), ("result", result)];
        bridge.shows("handshakes_total", &labels, count).await;
    }
    let metrics = bridge.metrics().await;
    for name in ["events_accepted_total", "events_spooled_total"] {
        assert!(
            metrics.sum_or_zero(name, &[]).abs() < f64::EPSILON,
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_gets_its_challenge_back_once_it_is_signed() {
    let setup = with_source("slack", "");
    let bridge = setup.start().await;
    assert_counted(&bridge, "slack", 0.0, 0.0).await;
    let body = r#"{"token":"t","challenge":"3eZbrw1aB","type":"url_verification"}"#;
    let answer = bridge.post(&of_slack(SECRET, body)).await;
    assert_answered(&answer, "text/plain; charset=utf-8", "3eZbrw1aB");
    let forged = bridge.post(&of_slack("another secret", body)).await;
    assert_refused(&forged, 401, "signature_mismatch");
    let unsigned = bridge.post(&Post::unsigned("slack", body)).await;
    assert_refused(&unsigned, 400, "signature_missing");
    let challenge = |text: &str| format!(r#"{{"type":"url_verification","challenge":"{text}"}}"#);
    let longest = "c".repeat(1024);
    let answer = bridge.post(&of_slack(SECRET, &challenge(&longest))).await;
    assert_answered(&answer, "text/plain; charset=utf-8", &longest);
    for text in [format!("{longest}c").as_str(), "a\\nb", "\\u00e9", ""] {
        let answer = bridge.post(&of_slack(SECRET, &challenge(text))).await;
        assert_refused(&answer, 400, "handshake_refused");
    }
    assert_counted(&bridge, "slack", 2.0, 4.0).await;
    let delivery = r#"{"type":"event_callback","event_id":"Ev1","team_id":"T1","event_time":1515449522,"event":{"type":"app_mention","channel":"C1"}}"#;
    let answer = bridge.post(&of_slack(SECRET, delivery)).await;
    assert_eq!((answer.status, answer.body.len()), (200, 0), "{answer:?}");
    bridge
        .shows("events_accepted_total", &[("source", "slack")], 1.0)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zoom_gets_the_hmac_of_its_token() {
    let setup = with_source("zoom", "");
    let bridge = setup.start().await;
    let token = "qgg8vlvZRS6UYooatFL8Aw";
    let body = format!(
        r#"{{"payload":{{"plainToken":"{token}"}},"event_ts":1654503849680,"event":"endpoint.url_validation"}}"#
    );
    let headers = ["x-zm-request-timestamp", "x-zm-signature"];
    let answer = bridge
        .post(&signed_v0("zoom", headers, SECRET, &body))
        .await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let encrypted = hex::encode(hmac(SECRET, token));
    let expected = serde_json::json!({"plainToken": token, "encryptedToken": encrypted});
    assert_eq!(answer.json(), expected);
    let forged = signed_v0("zoom", headers, "another secret", &body);
    assert_refused(&bridge.post(&forged).await, 401, "signature_mismatch");
    assert_counted(&bridge, "zoom", 1.0, 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn meta_is_answered_with_the_right_token_and_403_without() {
    let setup = with_verify("meta");
    let bridge = setup.start().await;
    let query = |token: &str| {
        format!("hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={token}")
    };
    let answer = bridge.post(&get("meta", &query(VERIFY))).await;
    assert_answered(&answer, "text/plain; charset=utf-8", "1158201444");
    for wrong in ["another", "", "meatyhamhoc", "MEATYHAMHOCK"] {
        let answer = bridge.post(&get("meta", &query(wrong))).await;
        assert_refused(&answer, 403, "handshake_mismatch");
    }
    let without_challenge = format!("hub.mode=subscribe&hub.verify_token={VERIFY}");
    let answer = bridge.post(&get("meta", &without_challenge)).await;
    assert_refused(&answer, 400, "handshake_refused");
    assert_counted(&bridge, "meta", 1.0, 5.0).await;
    // Neither token stands in the log.
    assert!(!bridge.log().contains("meatyhamhoc"), "{}", bridge.log());
    let put = bridge.post(&get("meta", "").method("PUT")).await;
    assert_refused(&put, 405, "method_not_allowed");
    assert_eq!(put.header("allow"), Some("POST, GET"));
}

#[tokio::test(flavor = "multi_thread")]
async fn okta_gets_its_header_back_as_json() {
    let setup = with_source("okta", "");
    let bridge = setup.start().await;
    let asked = get("okta", "").with("x-okta-verification-challenge", "a\"1\\");
    let answer = bridge.post(&asked).await;
    assert_answered(&answer, "application/json", r#"{"verification":"a\"1\\"}"#);
    let without = bridge.post(&get("okta", "")).await;
    assert_refused(&without, 403, "handshake_mismatch");
    assert_counted(&bridge, "okta", 1.0, 1.0).await;
}

/// X signs deliveries by an HMAC of the body under the secret that its challenge is answered with.
#[tokio::test(flavor = "multi_thread")]
async fn the_challenge_of_x_signs_no_forged_body() {
    let setup = with_source("x_twitter", "");
    let bridge = setup.start().await;
    let ask = |token: &str| {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("crc_token", token)
            .finish();
        get("x_twitter", &query)
    };
    let token = "MjFieXRlc29mcmFuZG9tbm9pc2U=";
    let answer = bridge.post(&ask(token)).await;
    let expected = format!("sha256={}", STANDARD.encode(hmac(SECRET, token)));
    assert_eq!(
        answer.json(),
        serde_json::json!({"response_token": expected})
    );
    let forged = r#"{"for_user_id":"1","tweet_create_events":[{"id_str":"2"}]}"#;
    let tag = STANDARD.encode(hmac(SECRET, forged));
    for token in [forged, "a=1&b=2", "a b", "a".repeat(129).as_str()] {
        let answer = bridge.post(&ask(token)).await;
        assert_refused(&answer, 400, "handshake_refused");
        assert!(!answer.text().contains(&tag), "{answer:?}");
    }
    // A token comes back with its signature, and is no delivery all the same.
    let answer = bridge.post(&ask("12345")).await.json();
    let tag = answer["response_token"].as_str().expect("a signature");
    let post = Post::unsigned("x_twitter", "12345").with("x-twitter-webhooks-signature", tag);
    assert_refused(&bridge.post(&post).await, 401, "signature_mismatch");
    assert_counted(&bridge, "x_twitter", 2.0, 4.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_ends_its_connection_and_other_methods_are_405() {
    let setup = with_source("dropbox", "");
    let bridge = setup.start().await;
    let mut connection = Connection::open(bridge.ingress).await.unwrap();
    // A body that nobody asked for is not waited for.
    let asked = get("dropbox", "challenge=abc").head("content-length: 100000\r\n");
    connection.send(&asked).await.unwrap();
    let answer = connection.answer().await.unwrap().expect("an answer");
    assert_answered(&answer, "text/plain; charset=utf-8", "abc");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(connection.closed().await);
    for method in ["OPTIONS", "PUT"] {
        let post = get("dropbox", "challenge=abc").method(method);
        let answer = bridge.post(&post).await;
        assert_refused(&answer, 405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some("POST, GET"), "{method}");
    }
    assert_counted(&bridge, "dropbox", 1.0, 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_limit_of_an_address_holds_for_handshakes() {
    let bridge = with_source("dropbox", "")
        .ingress("rate_limit_per_address = 1")
        .start()
        .await;
    let asked = get("dropbox", "challenge=abc");
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(bridge.post(&asked).await.status);
    }
    assert_eq!(statuses[0], 200);
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unsigned_post_is_a_handshake_only_under_the_secret_in_its_url() {
    let setup = with_source("ms_graph", "");
    let bridge = setup.start().await;
    let asked = |secret: &str| {
        let path = format!("/webhooks/ms_graph{secret}?validationToken=Validation%3A+1");
        Post::unsigned("ms_graph", "").path(&path)
    };
    let right = asked(&format!("/{SECRET}"));
    let answer = bridge.post(&right).await;
    assert_answered(&answer, "text/plain; charset=utf-8", "Validation: 1");
    // It asks whether the body may come, and the answer is not about a delivery.
    let right = right.with("expect", "100-continue");
    let answer = bridge.post(&right).await;
    assert_answered(&answer, "text/plain; charset=utf-8", "Validation: 1");
    let wrong = bridge.post(&asked("/another")).await;
    assert_refused(&wrong, 401, "signature_mismatch");
    let missing = bridge.post(&asked("")).await;
    assert_refused(&missing, 400, "signature_missing");
    assert_counted(&bridge, "ms_graph", 2.0, 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_answered_in_the_form_of_their_source() {
    let twiml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response/>";
    for (keys, content_type, body) in [
        ("answer = \"empty\"", None, Some("")),
        ("answer = \"twiml\"", Some("text/xml"), Some(twiml)),
        ("answer = \"json\"", Some("application/json"), None),
    ] {
        let setup = Setup::store().source_keys(keys);
        let bridge = setup.start().await;
        let post = Post::signed(&setup.source, event("sample.uploaded", "a"));
        // The same for a duplicate.
        for outcome in ["accepted", "duplicate"] {
            let answer = bridge.post(&post).await;
            assert_eq!(answer.status, 200, "{keys}: {answer:?}");
            assert_eq!(answer.header("content-type"), content_type, "{keys}");
            match body {
                Some(body) => assert_eq!(answer.text(), body, "{keys}"),
                None => assert_eq!(answer.outcome(), outcome),
            }
        }
        // Errors are what they are.
        let answer = bridge.post(&Post::unsigned(&setup.source, "{}")).await;
        assert_refused(&answer, 400, "signature_missing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_has_a_largest_body_of_its_own() {
    for (keys, most) in [
        ("max_body = \"2MiB\"", 2 * MIB),
        ("max_body = \"64KiB\"", 64 << 10),
    ] {
        let setup = Setup::store().source_keys(keys);
        let bridge = setup.start().await;
        let post = |length: usize| {
            let mut body = event("sample.uploaded", "a").into_bytes();
            body.resize(length, b' ');
            Post::signed(&setup.source, body)
        };
        for is_chunked in [false, true] {
            for (length, expected) in [(most, 200), (most + 1, 413)] {
                let post = post(length);
                let bytes = match is_chunked {
                    true => post.chunked(10_000),
                    false => post.bytes(),
                };
                let mut connection = Connection::open(bridge.ingress).await.unwrap();
                connection.send(&bytes).await.unwrap();
                let answer = connection.answer().await.unwrap().expect("an answer");
                assert_eq!(answer.status, expected, "{keys} {length}: {answer:?}");
            }
        }
        // By its header alone.
        let mut connection = Connection::open(bridge.ingress).await.unwrap();
        let framing = format!("content-length: {}\r\n", most + 1);
        connection.send(&post(0).head(&framing)).await.unwrap();
        let answer = connection.answer().await.unwrap().expect("an answer");
        assert_refused(&answer, 413, "body_too_large");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_signature_is_503_where_the_source_asks_for_repetition() {
    let setup = Setup::store().source_keys("on_mismatch = \"retry\"");
    let bridge = setup.start().await;
    let body = || event("sample.uploaded", "a");
    let wrong = Post::signed_with(&setup.source, body(), "another secret", now());
    let answer = bridge.post(&wrong).await;
    assert_refused(&answer, 503, "signature_mismatch");
    let seconds: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!(seconds >= 1);
    let labels = [
        ("source", setup.source.as_str()),
        ("reason", "signature_mismatch"),
    ];
    bridge
        .shows("deliveries_rejected_total", &labels, 1.0)
        .await;
    let line = eventually("the log says so", async || {
        bridge.said("it is answered 503")
    })
    .await;
    assert_eq!(line["reason"], "signature_mismatch");
    assert_eq!(line["request_id"], answer.json()["request_id"]);
    // Everything else is as it was.
    let stale = Post::signed_with(&setup.source, body(), SECRET, now() - 3 * 86_400);
    assert_refused(&bridge.post(&stale).await, 401, "timestamp_stale");
    let unsigned = Post::unsigned(&setup.source, body());
    assert_refused(&bridge.post(&unsigned).await, 400, "signature_missing");
    bridge.shows("deliveries_refused_total", &[], 0.0).await;
    bridge.accepted(&setup.source, body()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_sends_nothing_again_is_shown_as_one() {
    let retry = "on_mismatch = \"retry\"";
    for (provider, keys, lost) in [
        ("slack", "", 0.0),
        ("pagerduty", "", 1.0),
        ("pagerduty", retry, 0.0),
        ("github", "", 1.0),
        // It does not come again after a 503 either.
        ("github", retry, 1.0),
    ] {
        let setup = with_source(provider, keys);
        let bridge = setup.start().await;
        let labels = [("source", provider)];
        bridge.shows("source_mismatches_lost", &labels, lost).await;
    }
}

fn pushed(path: &str) -> Post {
    let body = format!(
        r#"{{"push_data":{{"pushed_at":{},"tag":"1"}},"repository":{{"repo_name":"lab/aligner"}}}}"#,
        now()
    );
    Post::unsigned("docker_hub", body).path(path)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_the_url_proves_a_delivery() {
    let setup = with_source("docker_hub", "");
    let bridge = setup.start().await;
    for path in [
        format!("/webhooks/docker_hub/{SECRET}"),
        format!("/webhooks/docker_hub/{SECRET}/"),
        format!(
            "/webhooks/docker_hub/%{:02x}{}",
            SECRET.as_bytes()[0],
            &SECRET[1..]
        ),
    ] {
        let answer = bridge.post(&pushed(&path)).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    for (path, status, reason) in [
        ("/webhooks/docker_hub", 400, "signature_missing"),
        ("/webhooks/docker_hub/", 400, "signature_missing"),
        ("/webhooks/docker_hub//", 400, "signature_missing"),
        ("/webhooks/docker_hub/another", 401, "signature_mismatch"),
        ("/webhooks/nobody/another", 404, "unknown_source"),
    ] {
        assert_refused(&bridge.post(&pushed(path)).await, status, reason);
    }
    // A source that has signatures has no such path.
    let path = format!("/webhooks/{}/{SECRET}", setup.source);
    let post = Post::signed(&setup.source, event("sample.uploaded", "a")).path(&path);
    assert_refused(&bridge.post(&post).await, 404, "unknown_source");
}

/// What the program says in its log at its most talkative, in answers, metrics, spans and messages.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_the_url_is_said_nowhere() {
    let collector = Collector::start("200 OK").await;
    let mut setup = with_source("docker_hub", "");
    setup.more += &format!("[trace]\notlp_endpoint = \"{}\"\n", collector.url());
    let text = setup
        .text()
        .replace("[log]\n", "[log]\nfilter = \"trace\"\n");
    let config = setup.path("talkative.toml");
    std::fs::write(&config, text).unwrap();
    let bridge = Bridge::start_as(Program::Exporting, &config).await;
    let right = pushed(&format!("/webhooks/docker_hub/{SECRET}")).with(
        "traceparent",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    );
    let seen = Outlet::Store.gets(&bridge, "docker_hub", &right).await;
    let mut said = format!("{seen:?}");
    for path in [
        // Of a name that is no source any more, with mistakes in it, and with a wrong end.
        format!("/webhooks/docker-hub/{SECRET}"),
        format!("/webhooks/{}/{SECRET}", setup.source),
        format!("/webhooks/docker_hub/{SECRET}s"),
        format!("/webhooks/docker_hub/{SECRET}%"),
        format!("/hooks/docker_hub/{SECRET}"),
        format!("//webhooks/docker_hub/{SECRET}"),
        format!("/webhooks/docker_hub/./{SECRET}/x"),
    ] {
        let answer = bridge.post(&pushed(&path)).await;
        assert!(answer.status >= 400, "{path}: {answer:?}");
        said += &answer.text();
    }
    let get = pushed(&format!("/webhooks/docker_hub/{SECRET}")).method("GET");
    said += &bridge.post(&get).await.text();
    said += &bridge.ask("/metrics").await.text();
    let spans = eventually("there are spans", async || {
        let spans = collector.spans();
        (spans.len() >= 2).then_some(spans)
    })
    .await;
    said += &format!("{spans:?}");
    eventually("the last refusal is in the log", async || {
        bridge.log().contains("method_not_allowed").then_some(())
    })
    .await;
    said += &bridge.log();
    assert!(said.contains("/webhooks/docker_hub/[redacted]"), "{said}");
    assert!(!said.contains(SECRET), "{said}");
}
