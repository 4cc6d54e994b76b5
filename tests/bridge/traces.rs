//! Traces: the context comes in and goes out, and a build that exports adds the bridge's own spans.

use crate::eventually::eventually;
use crate::harness::collector::{Collector, Exported};
use crate::harness::{
    Authority, Bridge, Outlet, Post, Program, Seen, Setup, amqp_url, event, kafka_brokers,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SENDERS: &str = "00f067aa0ba902b7";

fn parent(flags: &str) -> String {
    format!("00-{TRACE}-{SENDERS}-{flags}")
}

fn sample(setup: &Setup) -> Post {
    Post::signed(&setup.source, event("sample.uploaded", "a"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_context_travels_with_the_message_to_every_sink() {
    let setup = Setup::kafka(&kafka_brokers())
        .and_rabbitmq(&amqp_url())
        .and_store();
    let mut outlets = [
        Outlet::Store,
        Outlet::kafka(&kafka_brokers()),
        Outlet::rabbitmq(&setup).await,
    ];
    let bridge = setup.start().await;
    let post = sample(&setup)
        .with("traceparent", &parent("03"))
        .with("tracestate", "rojo=00f067aa0ba902b7")
        .with("tracestate", "congo=t61rcWkgMzE");
    for outlet in &mut outlets {
        let seen = outlet.gets(&bridge, &setup.source, &post).await;
        assert_eq!(seen.header("traceparent"), parent("03"));
        assert_eq!(
            seen.header("tracestate"),
            "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
        );
    }
    bridge.stop().await;
    // It lies in the spool, too: what is published after a start is the same.
    let seen = Outlet::Store
        .read(&setup.start().await, &setup.source)
        .await;
    assert_eq!(seen[0].header("traceparent"), parent("03"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_without_a_context_or_with_a_mistake_is_left_behind() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let has_state = |seen: &Seen| seen.headers.contains_key("tracestate");
    for (parents, state) in [
        (&["garbage"][..], "a=1"),
        (&[], "a=1"),
        (&[&*parent("01"), &*parent("00")], "a=1"),
        (&[&*parent("01")], "a=1,a=2"),
        (&[&*parent("01")], "A"),
    ] {
        let post = parents
            .iter()
            .fold(sample(&setup), |post, parent| {
                post.with("traceparent", parent)
            })
            .with("tracestate", state);
        let seen = Outlet::Store.gets(&bridge, &setup.source, &post).await;
        assert!(!has_state(&seen), "{parents:?} {state:?}: {seen:?}");
        assert_eq!(seen.header("traceparent").len(), 55);
    }
}

/// A bridge to the store that exports to `url`.
fn exporting(url: &str, keys: &str) -> Setup {
    let mut setup = Setup::store();
    setup.more = format!("[trace]\notlp_endpoint = \"{url}\"\n{keys}\n");
    setup
}

async fn spans(collector: &Collector, count: usize) -> Vec<Exported> {
    eventually(&format!("{count} spans"), async || {
        let spans = collector.spans();
        (spans.len() >= count).then_some(spans)
    })
    .await
}

fn of_kind(spans: &[Exported], kind: u64) -> &Exported {
    let found: Vec<_> = spans.iter().filter(|span| span.kind == kind).collect();
    assert_eq!(found.len(), 1, "{spans:?}");
    found[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_delivery_and_its_publish_are_spans_of_the_senders_trace() {
    let collector = Collector::start("200 OK").await;
    let setup = exporting(&collector.url(), "");
    let bridge = setup.start_as(Program::Exporting).await;
    let post = sample(&setup)
        .with("traceparent", &parent("01"))
        .with("tracestate", "a=1");
    let seen = Outlet::Store.gets(&bridge, &setup.source, &post).await;
    let spans = spans(&collector, 2).await;
    let (received, published) = (of_kind(&spans, 2), of_kind(&spans, 4));
    assert_eq!((&*received.trace, &*received.parent), (TRACE, SENDERS));
    assert_eq!(received.name, format!("POST /webhooks/{}", setup.source));
    assert_eq!(received.attribute("messaging.message.id"), seen.id);
    assert_eq!((&*received.error, &*received.state), ("", "a=1"));
    // What the consumer does belongs to the delivery, as the publish does.
    assert_eq!(
        seen.header("traceparent"),
        format!("00-{TRACE}-{}-01", received.id)
    );
    assert_eq!(seen.header("tracestate"), "a=1");
    assert_eq!(
        (&*published.trace, &published.parent),
        (TRACE, &received.id)
    );
    assert_eq!(published.name, "publish store");
    assert_eq!(published.attribute("hookferry.sink"), "store");
    for (from, until) in [received.times, published.times] {
        assert!(0 < from && from <= until, "{from} to {until}");
    }
    assert!(received.times.0 <= published.times.0);
    bridge
        .counts("trace_spans_total", &[("result", "exported")], 2.0)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_recorded_that_the_sender_does_not_record_or_did_not_sign() {
    let collector = Collector::start("200 OK").await;
    let setup = exporting(&collector.url(), "sample_ratio = 0");
    let bridge = setup.start_as(Program::Exporting).await;
    let unsampled = sample(&setup).with("traceparent", &parent("00"));
    let seen = Outlet::Store.gets(&bridge, &setup.source, &unsampled).await;
    assert_eq!(seen.header("traceparent"), parent("00"));
    Outlet::Store
        .gets(&bridge, &setup.source, &sample(&setup))
        .await;
    let forged = Post::signed_with(&setup.source, event("sample.uploaded", "a"), "wrong", 0);
    let forged = forged.with("traceparent", &parent("01"));
    assert_eq!(bridge.post(&forged).await.status, 401);
    // The spans of a recorded one come behind whatever the others would have sent.
    let recorded = sample(&setup).with("traceparent", &parent("01"));
    Outlet::Store.gets(&bridge, &setup.source, &recorded).await;
    bridge.stop().await;
    assert_eq!(spans(&collector, 2).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_starts_here_is_recorded_at_its_ratio_and_the_collector_gets_its_headers() {
    let collector = Collector::start("200 OK").await;
    let mut setup = exporting(&collector.url(), "sample_ratio = 1");
    let token = setup.path("token");
    std::fs::write(&token, "Bearer of-this-test\n").unwrap();
    setup.more += &format!("headers = {{ authorization = {{ file = {token:?} }} }}\n");
    let bridge = setup.start_as(Program::Exporting).await;
    let seen = Outlet::Store
        .gets(&bridge, &setup.source, &sample(&setup))
        .await;
    bridge.stop().await;
    let spans = spans(&collector, 2).await;
    let received = of_kind(&spans, 2);
    assert_eq!(received.parent, "");
    assert_eq!(
        seen.header("traceparent"),
        format!("00-{}-{}-01", received.trace, received.id)
    );
    let head = &collector.heads()[0];
    assert!(
        head.contains("authorization: bearer of-this-test\r\n"),
        "{head}"
    );
}

/// A bridge that delivers an event though none of its spans can be exported.
async fn delivers_without_spans(setup: &Setup) -> Bridge {
    let bridge = setup.start_as(Program::Exporting).await;
    Outlet::Store
        .gets(&bridge, &setup.source, &sample(setup))
        .await;
    bridge
        .counts("trace_spans_total", &[("result", "failed")], 2.0)
        .await;
    bridge
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_or_refuses_costs_spans_and_nothing_else() {
    let refusing = Collector::start("503 Service Unavailable").await;
    let nobody = format!("http://127.0.0.1:{}/v1/traces", crate::harness::free_port());
    for url in [refusing.url(), nobody] {
        let setup = exporting(&url, "sample_ratio = 1");
        delivers_without_spans(&setup).await.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_of_a_private_authority_is_trusted_where_its_file_is_named() {
    let authority = Authority::new();
    let collector = Collector::encrypted(&authority.vouches("IP:127.0.0.1", 2)).await;
    let named = format!("sample_ratio = 1\nca_file = {:?}", authority.certificate());
    let setup = exporting(&collector.url(), &named);
    let bridge = setup.start_as(Program::Exporting).await;
    Outlet::Store
        .gets(&bridge, &setup.source, &sample(&setup))
        .await;
    spans(&collector, 2).await;
    let labels = [("component", "trace"), ("file", "ca_file")];
    let name = "tls_certificate_expiry_timestamp_seconds";
    bridge.shows(name, &labels, authority.expiry()).await;
    // The system does not know it.
    let setup = exporting(&collector.url(), "sample_ratio = 1");
    let _bridge = delivers_without_spans(&setup).await;
    assert_eq!(collector.spans().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_publish_is_a_span_with_its_error() {
    let collector = Collector::start("200 OK").await;
    let mut setup = Setup::rabbitmq(&format!("amqp://127.0.0.1:{}", crate::harness::free_port()));
    setup.more = exporting(&collector.url(), "sample_ratio = 1").more;
    let bridge = setup.start_as(Program::Exporting).await;
    assert_eq!(bridge.post(&sample(&setup)).await.status, 200);
    let spans = spans(&collector, 2).await;
    let published = spans.iter().find(|span| span.kind == 4);
    assert_eq!(published.expect("tried").error, "unavailable", "{spans:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_cannot_export_says_so() {
    let (code, said) = exporting("http://localhost:4318/v1/traces", "")
        .fails()
        .await;
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("trace: this build exports no traces"),
        "{said}"
    );
    assert!(said.contains("--features otlp"), "{said}");
}
