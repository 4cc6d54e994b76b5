//! The public listener: what each request is answered with, and that it was counted. Whatever is
//! turned away leaves nothing behind that could be taken for a request.

use std::time::{Duration, Instant};

use crate::harness::delivery::{SIGNATURE, event, now, signature, tag};
use crate::harness::setup::SECRET;
use crate::harness::{Answer, Bridge, Connection, Post, Setup, unique};

const MIB: usize = 1 << 20;

fn delivery() -> String {
    event("sample.uploaded", "7428cca4a3a04a8e")
}

/// The form every error has, and no more than it.
fn assert_problem(answer: &Answer, status: u16, reason: &str) {
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (status, reason),
        "{answer:?}"
    );
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    let document = answer.json();
    let mut members: Vec<&str> = document
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    members.sort_unstable();
    assert_eq!(members, ["reason", "request_id", "status", "title"]);
    assert_eq!(document["status"], status);
    assert!(!document["request_id"].as_str().unwrap().is_empty());
}

/// One rejection: the answer, the counters, and nothing accepted.
async fn assert_rejected(
    setup: &Setup,
    bridge: &Bridge,
    answer: &Answer,
    status: u16,
    reason: &str,
) {
    assert_problem(answer, status, reason);
    assert_counted(setup, bridge, status, reason).await;
}

async fn assert_counted(setup: &Setup, bridge: &Bridge, status: u16, reason: &str) {
    let labels = [("source", setup.source.as_str()), ("reason", reason)];
    bridge
        .shows("deliveries_rejected_total", &labels, 1.0)
        .await;
    let metrics = bridge.metrics().await;
    let is_one = |value: f64| (value - 1.0).abs() < f64::EPSILON;
    assert!(
        is_one(metrics.sum("deliveries_rejected_total", &[])),
        "{reason} is the only reason"
    );
    let code = status.to_string();
    let labels = [("source", setup.source.as_str()), ("code", code.as_str())];
    assert!(
        is_one(metrics.sum("http_requests_total", &labels)),
        "counted as {code}"
    );
    assert!(
        metrics.sum("events_accepted_total", &[]).abs() < f64::EPSILON,
        "nothing is accepted"
    );
}

/// Sends one request to a bridge of its own that must reject it.
async fn rejected(make: impl FnOnce(&Setup) -> Post, status: u16, reason: &str) -> Answer {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let answer = bridge.post(&make(&setup)).await;
    assert_rejected(&setup, &bridge, &answer, status, reason).await;
    answer
}

fn with_signature(setup: &Setup, value: &str) -> Post {
    Post::unsigned(&setup.source, delivery()).with(SIGNATURE, value)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_answered_200_with_its_id() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let answer = bridge.post(&Post::signed(&setup.source, delivery())).await;
    assert_eq!(
        (answer.status, answer.outcome().as_str()),
        (200, "accepted")
    );
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.id().len(), 36, "a UUID");
    assert_eq!(answer.json().as_object().unwrap().len(), 2, "{answer:?}");
    let labels = [("source", setup.source.as_str()), ("code", "200")];
    bridge.shows("http_requests_total", &labels, 1.0).await;
    bridge.shows("deliveries_rejected_total", &[], 0.0).await;
    bridge.shows("deliveries_refused_total", &[], 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_header_with_its_stray_letter_is_taken() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let (body, seconds) = (delivery(), now().to_string());
    let value = format!(
        "t={seconds}c, v1={}",
        tag(SECRET, &seconds, body.as_bytes())
    );
    let answer = bridge
        .post(&Post::unsigned(&setup.source, body).with(SIGNATURE, &value))
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_signature_is_400() {
    rejected(
        |setup| Post::unsigned(&setup.source, delivery()),
        400,
        "signature_missing",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signature_header_is_400_even_if_both_are_right() {
    let twice = |setup: &Setup| {
        let body = delivery();
        let value = signature(SECRET, now(), body.as_bytes());
        Post::signed(&setup.source, body).with(SIGNATURE, &value)
    };
    rejected(twice, 400, "signature_repeated").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_header_over_1_kib_is_400() {
    let long = |setup: &Setup| {
        let mut post = Post::signed(&setup.source, delivery());
        let value = &mut post.headers.last_mut().unwrap().1;
        while value.len() <= 1024 {
            value.push_str(" v0=00000000");
        }
        post
    };
    rejected(long, 400, "signature_too_long").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_signatures_are_400() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let good = tag(SECRET, "1", b"");
    let malformed = [
        "".to_owned(),
        "garbage".to_owned(),
        format!("v1={good}"),
        format!("t=1492774577 v1={}", &good[..32]),
        format!("t=1492774577 v1={good}00"),
        format!("t=12345678901234567890 v1={good}"),
        format!("t=-1 v1={good}"),
        format!("t=1 t=1 v1={good}"),
        format!("t=1{}", format!(" v1={good}").repeat(9)),
    ];
    for value in &malformed {
        let answer = bridge.post(&with_signature(&setup, value)).await;
        assert_problem(&answer, 400, "signature_malformed");
    }
    let labels = [
        ("source", setup.source.as_str()),
        ("reason", "signature_malformed"),
    ];
    #[allow(clippy::cast_precision_loss, reason = "a handful")]
    bridge
        .shows("deliveries_rejected_total", &labels, malformed.len() as f64)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_401() {
    let wrong =
        |setup: &Setup| Post::signed_with(&setup.source, delivery(), "another secret", now());
    rejected(wrong, 401, "signature_mismatch").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_changed_by_one_byte_is_401() {
    let changed = |setup: &Setup| {
        let mut post = Post::signed(&setup.source, delivery());
        *post.body.last_mut().unwrap() = b' ';
        post
    };
    rejected(changed, 401, "signature_mismatch").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_signature_is_401() {
    // A day, for which events are remembered, and an hour.
    let seconds = now() - 25 * 60 * 60;
    let stale = |setup: &Setup| Post::signed_with(&setup.source, delivery(), SECRET, seconds);
    rejected(stale, 401, "timestamp_stale").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_from_the_future_is_401() {
    let future = |setup: &Setup| Post::signed_with(&setup.source, delivery(), SECRET, now() + 330);
    rejected(future, 401, "timestamp_future").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_and_wrong_signature_counts_as_wrong() {
    let both = |setup: &Setup| Post::signed_with(&setup.source, delivery(), "another secret", 1);
    rejected(both, 401, "signature_mismatch").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tolerance_is_the_configured_one() {
    let setup = Setup::store()
        .top("duplicates = \"forward\"")
        .source_keys("tolerance = \"1000s\"");
    let bridge = setup.start().await;
    let late = Post::signed_with(&setup.source, delivery(), SECRET, now() - 900);
    assert_eq!(bridge.post(&late).await.status, 200);
    let later = Post::signed_with(&setup.source, delivery(), SECRET, now() - 1100);
    assert_problem(&bridge.post(&later).await, 401, "timestamp_stale");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_paths_are_404_and_make_no_series_of_their_own() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let before = bridge.metrics().await.len();
    let good = || Post::signed(&setup.source, delivery());
    for path in [
        "/".to_owned(),
        "/webhooks".to_owned(),
        "/webhooks/".to_owned(),
        "/metrics".to_owned(),
        "/webhooks/nobody".to_owned(),
        format!("/webhooks/{}//", setup.source),
        format!("/webhooks/{}/more", setup.source),
        format!("//webhooks/{}", setup.source),
        format!("/webhooks/{}x", setup.source),
        format!("/webhooks/{}", unique("hostile")),
    ] {
        let answer = bridge.post(&good().path(&path)).await;
        assert_problem(&answer, 404, "unknown_source");
    }
    let labels = [("source", "unknown"), ("reason", "unknown_source")];
    bridge
        .shows("deliveries_rejected_total", &labels, 10.0)
        .await;
    bridge
        .shows(
            "http_requests_total",
            &[("source", "unknown"), ("code", "404")],
            10.0,
        )
        .await;
    bridge.shows("events_accepted_total", &[], 0.0).await;
    assert!(
        bridge.metrics().await.len() <= before + 1,
        "one series for all of them"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn other_methods_are_405_with_allow() {
    let answer = rejected(
        |setup| Post::signed(&setup.source, delivery()).method("PUT"),
        405,
        "method_not_allowed",
    )
    .await;
    assert_eq!(answer.header("allow"), Some("POST"));
}

#[tokio::test(flavor = "multi_thread")]
async fn get_is_405_too() {
    let get = |setup: &Setup| Post::unsigned(&setup.source, "").method("GET");
    let answer = rejected(get, 405, "method_not_allowed").await;
    assert_eq!(answer.header("allow"), Some("POST"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_encoding_is_415_before_the_body_is_read() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let post = Post::signed(&setup.source, delivery()).with("content-encoding", "gzip");
    let mut connection = Connection::open(bridge.ingress).await.unwrap();
    // The body never comes; the answer must not wait for it.
    connection
        .send(&post.head("content-length: 100000\r\n"))
        .await
        .unwrap();
    let answer = connection.answer().await.unwrap().expect("an answer");
    assert_rejected(&setup, &bridge, &answer, 415, "content_encoding").await;
    assert!(connection.closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_length_over_the_limit_is_413_before_the_body_is_read() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let post = Post::signed(&setup.source, delivery());
    let mut connection = Connection::open(bridge.ingress).await.unwrap();
    let framing = format!("content-length: {}\r\n", MIB + 1);
    connection.send(&post.head(&framing)).await.unwrap();
    let answer = connection.answer().await.unwrap().expect("an answer");
    assert_rejected(&setup, &bridge, &answer, 413, "body_too_large").await;
    assert!(connection.closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_beyond_every_number_is_turned_away() {
    for length in ["99999999999999999999999", "-1", "0x10", "1 2", ""] {
        let setup = Setup::store();
        let bridge = setup.start().await;
        let post = Post::signed(&setup.source, delivery());
        let mut connection = Connection::open(bridge.ingress).await.unwrap();
        connection
            .send(&post.head(&format!("content-length: {length}\r\n")))
            .await
            .unwrap();
        let answer = connection.answer().await.unwrap().expect("an answer");
        assert!(matches!(answer.status, 400 | 413), "{length:?}: {answer:?}");
        assert!(connection.closed().await, "{length:?}");
        bridge.shows("events_accepted_total", &[], 0.0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_over_the_limit_are_413() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let post = Post::signed(&setup.source, vec![b' '; MIB + 1]);
    let mut connection = Connection::open(bridge.ingress).await.unwrap();
    connection.send(&post.chunked(10_000)).await.unwrap();
    let answer = connection.answer().await.unwrap().expect("an answer");
    assert_rejected(&setup, &bridge, &answer, 413, "body_too_large").await;
    assert!(connection.closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_exactly_the_limit_is_taken_with_and_without_a_length() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    for chunked in [false, true] {
        let mut body = delivery().into_bytes();
        body.resize(MIB, b' ');
        let post = Post::signed(&setup.source, body);
        let bytes = if chunked {
            post.chunked(7919)
        } else {
            post.bytes()
        };
        let mut connection = Connection::open(bridge.ingress).await.unwrap();
        connection.send(&bytes).await.unwrap();
        let answer = connection.answer().await.unwrap().expect("an answer");
        assert_eq!(
            (answer.status, answer.outcome().as_str()),
            (200, "accepted")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_chunks_end_in_413_and_bounded_memory() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let before = bridge.memory_bytes();
    let post = Post::signed(&setup.source, "");
    let mut connection = Connection::open(bridge.ingress).await.unwrap();
    connection
        .send(&post.head("transfer-encoding: chunked\r\n"))
        .await
        .unwrap();
    let mut chunk = b"10000\r\n".to_vec();
    chunk.extend_from_slice(&[b' '; 0x10000]);
    chunk.extend_from_slice(b"\r\n");
    hangs_up(&mut connection, &chunk).await;
    assert_counted(&setup, &bridge, 413, "body_too_large").await;
    let grown = bridge.memory_bytes().saturating_sub(before);
    assert!(grown < 32 * 1024 * 1024, "{grown} bytes more");
}

/// Whoever never ends a request that has been answered long ago holds a connection for nothing, and
/// with all of them, everybody else out.
#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_request_that_never_ends_is_hung_up_on() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    for post in [
        Post::unsigned(&setup.source, ""),
        Post::unsigned("nobody", ""),
        Post::signed(&setup.source, "").with("content-encoding", "gzip"),
    ] {
        for framing in [
            "transfer-encoding: chunked\r\n",
            "content-length: 1000000\r\n",
        ] {
            let mut connection = Connection::open(bridge.ingress).await.unwrap();
            connection.send(&post.head(framing)).await.unwrap();
            let answer = connection.answer().await.unwrap().expect("an answer");
            assert!((400..500).contains(&answer.status));
            hangs_up(&mut connection, b"1\r\nx\r\n").await;
        }
    }
}

/// Sends the same bytes again and again, until the bridge has enough of it.
async fn hangs_up(connection: &mut Connection, bytes: &[u8]) {
    let began = Instant::now();
    while connection.send(bytes).await.is_ok() {
        assert!(
            began.elapsed() < Duration::from_secs(15),
            "the connection is still open"
        );
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_ends_early_is_counted_and_never_accepted() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let post = Post::signed(&setup.source, delivery());
    let mut connection = Connection::open(bridge.ingress).await.unwrap();
    let bytes = post.bytes();
    connection.send(&bytes[..bytes.len() - 10]).await.unwrap();
    connection.finish().await.unwrap();
    // The sender has closed its side: an answer may or may not find its way.
    if let Ok(Some(answer)) = connection.answer().await {
        assert_problem(&answer, 400, "body_truncated");
    }
    let labels = [
        ("source", setup.source.as_str()),
        ("reason", "body_truncated"),
    ];
    bridge
        .shows("deliveries_rejected_total", &labels, 1.0)
        .await;
    bridge.shows("events_accepted_total", &[], 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_chunk_is_400() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let post = Post::signed(&setup.source, delivery());
    let mut connection = Connection::open(bridge.ingress).await.unwrap();
    connection
        .send(&post.head("transfer-encoding: chunked\r\n"))
        .await
        .unwrap();
    connection.send(b"5\r\nhello\r\nzz\r\n").await.unwrap();
    let answer = connection.answer().await.unwrap().expect("an answer");
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(connection.closed().await);
    bridge.shows("events_accepted_total", &[], 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_body_is_408_and_others_do_not_wait_for_it() {
    let setup = Setup::store().ingress("body_timeout = \"1s\"\n");
    let bridge = setup.start().await;
    let post = Post::signed(&setup.source, delivery());
    let mut slow = Connection::open(bridge.ingress).await.unwrap();
    let bytes = post.bytes();
    slow.send(&bytes[..bytes.len() - 5]).await.unwrap();
    bridge.accepted(&setup.source, delivery()).await;
    let answer = slow.answer().await.unwrap().expect("an answer");
    assert_problem(&answer, 408, "body_timeout");
    assert!(slow.closed().await);
    let labels = [
        ("source", setup.source.as_str()),
        ("reason", "body_timeout"),
    ];
    bridge
        .shows("deliveries_rejected_total", &labels, 1.0)
        .await;
    bridge.shows("events_accepted_total", &[], 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_head_is_cut_off() {
    let setup = Setup::store().ingress("head_timeout = \"1s\"\n");
    let bridge = setup.start().await;
    let mut slow = Connection::open(bridge.ingress).await.unwrap();
    slow.send(b"POST /webhooks/x HTTP/1.1\r\nhost: a\r\nx: ")
        .await
        .unwrap();
    if let Some(answer) = slow.answer().await.unwrap() {
        assert_eq!(answer.status, 408);
    }
    assert!(slow.closed().await);
    bridge.accepted(&setup.source, delivery()).await;
}

/// Whoever has proven nothing gets no second request.
#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_ends_the_connection() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    for post in [
        Post::unsigned(&setup.source, ""),
        Post::unsigned(&setup.source, delivery()),
        Post::unsigned("nobody", "").method("GET"),
        Post::signed(&setup.source, "").method("PUT"),
        Post::signed_with(&setup.source, delivery(), "another secret", now()),
    ] {
        let mut connection = Connection::open(bridge.ingress).await.unwrap();
        connection.send(&post.bytes()).await.unwrap();
        let answer = connection.answer().await.unwrap().expect("an answer");
        assert!((400..500).contains(&answer.status));
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(connection.closed().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_rate_limit_is_429_with_retry_after() {
    let setup = Setup::store().source_keys("rate_limit = 1");
    let bridge = setup.start().await;
    // Sent before the first is answered: an answer on a busy machine may take longer than the
    // second after which the next delivery is welcome.
    let mut connections = Vec::new();
    for _ in 0..20 {
        let mut connection = Connection::open(bridge.ingress).await.unwrap();
        connection
            .send(&Post::signed(&setup.source, delivery()).bytes())
            .await
            .unwrap();
        connections.push(connection);
    }
    let mut limited = 0.0;
    for connection in &mut connections {
        let answer = connection.answer().await.unwrap().expect("an answer");
        if answer.status == 200 {
            continue;
        }
        assert_problem(&answer, 429, "rate_limited");
        let seconds: u32 = answer
            .header("retry-after")
            .expect("it is there")
            .parse()
            .unwrap();
        assert!(seconds >= 1);
        limited += 1.0;
    }
    assert!(
        (1.0..20.0).contains(&limited),
        "{limited} of 20 were turned away"
    );
    let labels = [
        ("source", setup.source.as_str()),
        ("reason", "rate_limited"),
    ];
    bridge
        .shows("deliveries_rejected_total", &labels, limited)
        .await;
    bridge
        .shows("events_accepted_total", &[], 20.0 - limited)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_of_128_kib_is_turned_away() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let post = Post::signed(&setup.source, delivery()).with("x-long", &"a".repeat(128 * 1024));
    let mut connection = Connection::open(bridge.ingress).await.unwrap();
    // The bridge may hang up while we still write.
    let _ = connection.send(&post.bytes()).await;
    if let Ok(Some(answer)) = connection.answer().await {
        assert!(matches!(answer.status, 400 | 413 | 431), "{answer:?}");
    }
    assert!(connection.closed().await);
    bridge.shows("events_accepted_total", &[], 0.0).await;
    bridge.accepted(&setup.source, delivery()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_and_chunks_together_are_400_and_nothing_is_parsed_behind() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let hidden = Post::signed(&setup.source, delivery()).bytes();
    for framing in [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        "content-length: 5\r\ncontent-length: 6\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: xchunked\r\n",
    ] {
        let mut connection = Connection::open(bridge.ingress).await.unwrap();
        let mut bytes = Post::signed(&setup.source, "").head(framing);
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes.extend_from_slice(&hidden);
        let _ = connection.send(&bytes).await;
        let answer = connection.answer().await.unwrap().expect("an answer");
        assert_eq!(answer.status, 400, "{framing:?}: {answer:?}");
        assert!(connection.closed().await, "{framing:?}");
        bridge.shows("events_accepted_total", &[], 0.0).await;
    }
}

/// The body of a rejected request is itself a request, well signed: it must never be taken for one.
#[tokio::test(flavor = "multi_thread")]
async fn the_body_of_a_rejected_request_is_never_parsed_as_the_next() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let hidden = || Post::signed(&setup.source, delivery()).bytes();
    let unsigned = || Post::unsigned(&setup.source, hidden());
    let wrong = |post: Post| (post.bytes(), post.chunked(50));
    let requests = [
        wrong(unsigned()),
        wrong(unsigned().path("/nowhere")),
        wrong(unsigned().method("PUT")),
        wrong(unsigned().method("GET")),
        wrong(unsigned().with("content-encoding", "gzip")),
        wrong(unsigned().with(SIGNATURE, "garbage")),
        wrong(Post::signed_with(
            &setup.source,
            hidden(),
            "another secret",
            now(),
        )),
    ];
    for (sized, chunked) in requests {
        for bytes in [sized, chunked] {
            let mut connection = Connection::open(bridge.ingress).await.unwrap();
            connection.send(&bytes).await.unwrap();
            let answer = connection.answer().await.unwrap().expect("an answer");
            assert!((400..500).contains(&answer.status), "{answer:?}");
            // Either the connection is over, or the next request on it is the next one we send.
            let probe = Post::unsigned("probe", "").bytes();
            if connection.send(&probe).await.is_ok()
                && let Ok(Some(next)) = connection.answer().await
            {
                assert_problem(&next, 404, "unknown_source");
            }
            bridge.shows("events_accepted_total", &[], 0.0).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_goes_on_after_an_early_rejection_or_is_closed_cleanly() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let mut connection = Connection::open(bridge.ingress).await.unwrap();
    let (mut accepted, mut opened) = (0.0, 1);
    for round in 0..10 {
        let post = if round % 2 == 0 {
            Post::unsigned(&setup.source, vec![b'x'; 100_000])
        } else {
            Post::signed(&setup.source, delivery())
        };
        if connection.send(&post.bytes()).await.is_err() {
            connection = Connection::open(bridge.ingress).await.unwrap();
            connection.send(&post.bytes()).await.unwrap();
            opened += 1;
        }
        let answer = match connection.answer().await {
            Ok(Some(answer)) => answer,
            _ => {
                connection = Connection::open(bridge.ingress).await.unwrap();
                connection.send(&post.bytes()).await.unwrap();
                opened += 1;
                connection
                    .answer()
                    .await
                    .unwrap()
                    .expect("a fresh connection is answered")
            }
        };
        assert_eq!(
            answer.status,
            if round % 2 == 0 { 400 } else { 200 },
            "{answer:?}"
        );
        accepted += f64::from(u8::from(round % 2 == 1));
    }
    assert!(opened <= 10);
    bridge.shows("events_accepted_total", &[], accepted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_carries_many_deliveries_also_pipelined() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let mut connection = Connection::open(bridge.ingress).await.unwrap();
    let bytes: Vec<u8> = (0..20)
        .flat_map(|_| Post::signed(&setup.source, delivery()).bytes())
        .collect();
    connection.send(&bytes).await.unwrap();
    let mut ids = std::collections::HashSet::new();
    for _ in 0..20 {
        let answer = connection.answer().await.unwrap().expect("an answer");
        assert_eq!(answer.outcome(), "accepted");
        ids.insert(answer.id());
    }
    assert_eq!(ids.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_before_sending_is_told_before_sending() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let post = Post::signed(&setup.source, delivery()).with("expect", "100-continue");
    let mut connection = Connection::open(bridge.ingress).await.unwrap();
    connection
        .send(&post.head(&format!("content-length: {}\r\n", post.body.len())))
        .await
        .unwrap();
    connection.send(&post.body).await.unwrap();
    assert_eq!(
        connection
            .answer()
            .await
            .unwrap()
            .expect("an answer")
            .status,
        200
    );
    let mut connection = Connection::open(bridge.ingress).await.unwrap();
    connection
        .send(&post.head("content-length: 99999999\r\n"))
        .await
        .unwrap();
    let answer = connection.answer().await.unwrap().expect("an answer");
    assert_problem(&answer, 413, "body_too_large");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_are_closed() {
    let setup = Setup::store().ingress("keep_alive = \"1s\"\n");
    let bridge = setup.start().await;
    let mut connection = Connection::open(bridge.ingress).await.unwrap();
    connection
        .send(&Post::signed(&setup.source, delivery()).bytes())
        .await
        .unwrap();
    assert_eq!(
        connection
            .answer()
            .await
            .unwrap()
            .expect("an answer")
            .status,
        200
    );
    let closed = tokio::time::timeout(Duration::from_secs(20), connection.closed()).await;
    assert_eq!(closed, Ok(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_listener_shows_nothing_of_the_operators() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    for path in [
        "/metrics",
        "/readyz",
        "/livez",
        "/topics",
        "/spool",
        "/dead-letters",
    ] {
        let answer = bridge
            .post(&Post::unsigned("x", "").method("GET").path(path))
            .await;
        assert_problem(&answer, 404, "unknown_source");
        let answer = bridge.ask(path).await;
        assert_eq!(answer.status, 200, "{path} belongs to the operators");
    }
}
