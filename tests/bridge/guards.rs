//! Who may come at all, how often, and how many at once; and whose address that is.

use std::net::IpAddr;

use crate::harness::delivery::{event, now};
use crate::harness::{Answer, Bridge, Connection, Post, Setup};

/// Two senders on one machine.
const HERE: &str = "127.0.0.1";
const THERE: &str = "127.0.0.2";

fn signed(setup: &Setup) -> Post {
    Post::signed(&setup.source, event("sample.uploaded", "a"))
}

async fn from(source: &str, bridge: &Bridge, post: &Post) -> Answer {
    let source: IpAddr = source.parse().unwrap();
    let answer = post.sent_from(source, bridge.ingress).await;
    answer.expect("the bridge answers")
}

/// Sends so many at once: an answer on a busy machine may take longer than the second after which
/// the next one is welcome.
async fn at_once(count: usize, bridge: &Bridge, post: impl Fn() -> Post) -> Vec<Answer> {
    let mut connections = Vec::new();
    for _ in 0..count {
        let mut connection = Connection::open(bridge.ingress).await.unwrap();
        connection.send(&post().bytes()).await.unwrap();
        connections.push(connection);
    }
    let mut answers = Vec::new();
    for connection in &mut connections {
        answers.push(connection.answer().await.unwrap().expect("an answer"));
    }
    answers
}

fn assert_turned_away(answer: &Answer, status: u16, reason: &str) {
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (status, reason),
        "{answer:?}"
    );
}

fn assert_says_when(answer: &Answer) {
    let seconds: u32 = answer
        .header("retry-after")
        .expect("it is there")
        .parse()
        .expect("whole seconds");
    assert!((1..=2).contains(&seconds), "{seconds}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_sends_too_much_is_held_up_and_no_other_is() {
    let setup = Setup::store().ingress("rate_limit_per_address = 1");
    let bridge = setup.start().await;
    // Whatever it sends counts, signed or not.
    let answers = at_once(20, &bridge, || Post::unsigned(&setup.source, "{}")).await;
    let mut limited = 0.0;
    for answer in answers.iter().filter(|answer| answer.status != 400) {
        assert_turned_away(answer, 429, "address_rate_limited");
        assert_says_when(answer);
        limited += 1.0;
    }
    assert!((1.0..20.0).contains(&limited), "{limited} of 20");
    let answer = from(THERE, &bridge, &signed(&setup)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let labels = [
        ("source", setup.source.as_str()),
        ("reason", "address_rate_limited"),
    ];
    bridge
        .shows("deliveries_rejected_total", &labels, limited)
        .await;
    // Nor is it a way to look for sources.
    let strangers = at_once(20, &bridge, || signed(&setup).path("/webhooks/nobody")).await;
    assert!(strangers.iter().any(|answer| answer.status == 429));
    let labels = [("source", "unknown"), ("reason", "address_rate_limited")];
    bridge
        .counts("deliveries_rejected_total", &labels, 1.0)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_that_proves_nothing_uses_up_nothing_of_the_sources_quota() {
    let setup = Setup::store().source_keys("rate_limit = 1");
    let bridge = setup.start().await;
    for _ in 0..3 {
        let forged = || {
            let body = event("sample.uploaded", "a");
            Post::signed_with(&setup.source, body, "not the secret", now())
        };
        for answer in at_once(20, &bridge, forged).await {
            assert_turned_away(&answer, 401, "signature_mismatch");
        }
        for answer in at_once(20, &bridge, || Post::unsigned(&setup.source, "{}")).await {
            assert_turned_away(&answer, 400, "signature_missing");
        }
    }
    let answer = bridge.post(&signed(&setup)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// What pages looks at proven requests only, so nobody else may change what is counted of them.
#[tokio::test(flavor = "multi_thread")]
async fn the_answers_to_what_proves_nothing_are_timed_apart() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let (name, source) = ("http_request_duration_seconds_count", &setup.source);
    let body = || event("sample.uploaded", "a");
    for proven in ["yes", "no"] {
        bridge.shows(name, &[("proven", proven)], 0.0).await;
    }
    for (post, status) in [
        (Post::unsigned(source, body()), 400),
        (
            Post::signed_with(source, body(), "not the secret", now()),
            401,
        ),
        (Post::unsigned("nobody", body()), 404),
        (signed(&setup).method("PUT"), 405),
    ] {
        let answer = bridge.post(&post).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    bridge.shows(name, &[("proven", "no")], 4.0).await;
    bridge.shows(name, &[("proven", "yes")], 0.0).await;
    for body in [body(), "what nobody understands".to_owned()] {
        let answer = bridge.post(&Post::signed(source, body)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    bridge.shows(name, &[("proven", "yes")], 2.0).await;
    bridge.shows(name, &[("proven", "no")], 4.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_listed_addresses_are_let_in() {
    let setup = Setup::store().ingress("allow = [\"127.0.0.2\", \"10.0.0.0/8\"]");
    let bridge = setup.start().await;
    let answer = from(THERE, &bridge, &signed(&setup)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    for (post, label) in [
        (signed(&setup), setup.source.as_str()),
        (signed(&setup).method("GET"), setup.source.as_str()),
        (signed(&setup).path("/"), "unknown"),
        // A header is nobody's word unless a proxy is trusted.
        (
            signed(&setup).with("x-forwarded-for", THERE),
            setup.source.as_str(),
        ),
        (
            signed(&setup).with("forwarded", "for=127.0.0.2"),
            setup.source.as_str(),
        ),
    ] {
        let labels = [("source", label), ("reason", "address_not_allowed")];
        let before = bridge
            .metrics()
            .await
            .sum("deliveries_rejected_total", &labels);
        assert_turned_away(
            &from(HERE, &bridge, &post).await,
            403,
            "address_not_allowed",
        );
        bridge
            .shows("deliveries_rejected_total", &labels, before + 1.0)
            .await;
    }
}

/// Sends each of these headers from one sender, and asserts who was let in.
async fn let_in(bridge: &Bridge, setup: &Setup, sender: &str, cases: &[(&str, &str, bool)]) {
    for (name, value, expected) in cases {
        let post = signed(setup).with(name, value);
        let answer = from(sender, bridge, &post).await;
        let status = if *expected { 200 } else { 403 };
        assert_eq!(answer.status, status, "{name}: {value} from {sender}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn x_forwarded_for_is_believed_of_a_trusted_proxy_and_from_its_end() {
    let setup = Setup::store().ingress(
        "client_address = \"x_forwarded_for\"\ntrusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]\nallow = [\"203.0.113.0/24\", \"2001:db8::/32\"]",
    );
    let bridge = setup.start().await;
    let name = "x-forwarded-for";
    let through_the_proxy = [
        (name, "203.0.113.7", true),
        (name, "203.0.113.7:4711", true),
        (name, "2001:db8::17", true),
        (name, "[2001:db8::17]:4711", true),
        (name, "198.51.100.1", false),
        // What the client has claimed stands before what the proxy has seen.
        (name, "198.51.100.1, 203.0.113.7", true),
        (name, "203.0.113.7, 198.51.100.1", false),
        // Through a second trusted proxy.
        (name, "203.0.113.7, 10.1.2.3", true),
        (name, "203.0.113.7, 198.51.100.1, 10.1.2.3", false),
        (name, "203.0.113.7, 192.0.2.1", false),
        (name, "unknown", false),
        (name, "203.0.113.7, _hidden", false),
        (name, "203.0.113.7, nonsense", false),
        (name, "", false),
        ("forwarded", "for=203.0.113.7", false),
    ];
    let_in(&bridge, &setup, HERE, &through_the_proxy).await;
    // Nobody else's word counts.
    let_in(&bridge, &setup, THERE, &[(name, "203.0.113.7", false)]).await;
    // Two lines are one list, and the last word is the proxy's.
    for (first, last, status) in [
        ("203.0.113.7", "198.51.100.1", 403),
        ("198.51.100.1", "203.0.113.7", 200),
    ] {
        let post = signed(&setup).with(name, first).with(name, last);
        assert_eq!(from(HERE, &bridge, &post).await.status, status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarded_is_read_as_its_standard_says() {
    let setup = Setup::store().ingress(
        "client_address = \"forwarded\"\ntrusted_proxies = [\"127.0.0.1\", \"2001:db8:1::/48\"]\nallow = [\"203.0.113.0/24\", \"2001:db8:2::/48\"]",
    );
    let bridge = setup.start().await;
    let name = "forwarded";
    let cases = [
        (name, "for=203.0.113.7", true),
        (name, "For=\"203.0.113.7:80\";proto=https;by=10.0.0.1", true),
        (name, "proto=https; for=\"[2001:db8:2::17]:4711\"", true),
        (
            name,
            "for=\"[2001:db8:2::17]\", for=\"[2001:db8:1::1]:_port\"",
            true,
        ),
        (name, "for=203.0.113.7, for=198.51.100.1", false),
        (name, "for=198.51.100.1, for=203.0.113.7", true),
        // What the client has begun to quote does not reach into what the proxy has added.
        (name, "for=\"198.51.100.1, for=203.0.113.7", true),
        (name, "for=198.51.100.1;host=\"x, for=203.0.113.7\"", false),
        (name, "for=unknown", false),
        (name, "for=_hidden", false),
        (name, "proto=https", false),
        (name, "for=\"203.0.113.7", false),
        (name, "for=203.0.113.7;for=203.0.113.8", false),
        ("x-forwarded-for", "203.0.113.7", false),
    ];
    let_in(&bridge, &setup, HERE, &cases).await;
    let_in(&bridge, &setup, THERE, &[(name, "for=203.0.113.7", false)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_each_client_has_its_own_quota() {
    let setup = Setup::store().ingress(
        "client_address = \"x_forwarded_for\"\ntrusted_proxies = [\"127.0.0.1\"]\nrate_limit_per_address = 1",
    );
    let bridge = setup.start().await;
    let busy = || signed(&setup).with("x-forwarded-for", "2001:db8::1");
    let answers = at_once(20, &bridge, busy).await;
    assert!(answers.iter().any(|answer| answer.status == 429));
    for number in 1..20 {
        let client = format!("2001:db8:0:{number}::1");
        let post = signed(&setup).with("x-forwarded-for", &client);
        assert_eq!(bridge.post(&post).await.status, 200, "{client}");
    }
    // A whole site of IPv6 has a wider one, however many networks it sends from.
    let networks = std::cell::Cell::new(0);
    let site = || {
        networks.set(networks.get() + 1);
        let client = format!("2001:db8:1:{:x}::1", networks.get());
        signed(&setup).with("x-forwarded-for", &client)
    };
    let answers = at_once(300, &bridge, site).await;
    let limited = answers.iter().filter(|answer| answer.status == 429).count();
    assert!((1..=300 - 64).contains(&limited), "{limited} of 300");
    // Who claims other addresses in front of its own has one quota all the same.
    let numbers = std::cell::Cell::new(0);
    let claims = || {
        numbers.set(numbers.get() + 1);
        let claimed = format!("198.51.100.{}, 203.0.113.7", numbers.get());
        signed(&setup).with("x-forwarded-for", &claimed)
    };
    let answers = at_once(20, &bridge, claims).await;
    assert!(answers.iter().any(|answer| answer.status == 429));
}

/// A request that holds its place because its body does not come.
async fn held_up(bridge: &Bridge, post: &Post) -> Connection {
    let bytes = post.bytes();
    let mut connection = Connection::open(bridge.ingress).await.unwrap();
    connection.send(&bytes[..bytes.len() - 10]).await.unwrap();
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_at_once_than_there_is_memory_for_are_503_until_one_ends() {
    let setup = Setup::store().ingress("max_in_flight = 2\nbody_timeout = \"30s\"");
    let bridge = setup.start().await;
    let (first, second) = (signed(&setup), signed(&setup));
    let mut ends = held_up(&bridge, &first).await;
    let gives_up = held_up(&bridge, &second).await;
    bridge.shows("http_requests_in_flight", &[], 2.0).await;
    for post in [signed(&setup), Post::unsigned("nobody", "{}")] {
        let answer = bridge.post(&post).await;
        assert_turned_away(&answer, 503, "overloaded");
        assert_says_when(&answer);
    }
    // They were signed rightly, but nobody has looked.
    let labels = [("reason", "overloaded"), ("proven", "no")];
    bridge.shows("deliveries_refused_total", &labels, 2.0).await;
    bridge
        .shows("deliveries_refused_total", &[("proven", "yes")], 0.0)
        .await;
    // One that ends makes room, and so does one that gives up.
    let bytes = first.bytes();
    ends.send(&bytes[bytes.len() - 10..]).await.unwrap();
    assert_eq!(ends.answer().await.unwrap().expect("an answer").status, 200);
    bridge
        .accepted(&setup.source, event("sample.uploaded", "b"))
        .await;
    drop(gives_up);
    bridge.shows("http_requests_in_flight", &[], 0.0).await;
    let (third, fourth) = (signed(&setup), signed(&setup));
    let _both = (
        held_up(&bridge, &third).await,
        held_up(&bridge, &fourth).await,
    );
    bridge.shows("http_requests_in_flight", &[], 2.0).await;
    assert_turned_away(&bridge.post(&signed(&setup)).await, 503, "overloaded");
}
