//! The broker shows a certificate that does not hold.

use std::path::Path;

use crate::faults::scene::Scene;
use crate::harness::{Authority, Copies, Node, Outlet, Report, Setup};

const DAYS: i32 = 2;

/// The broker takes this certificate for every connection from now on.
fn renew(node: &Node, certificate: &Path) {
    std::fs::copy(certificate, node.folder().join("tls/broker.pem")).expect("writable");
    node.ctl(&["eval", "ssl:clear_pem_cache()."]);
    node.ctl(&["close_all_connections", "the certificate is replaced"]);
}

/// Refused while it does not hold, with the reason in the log; taken when it holds again. Nobody
/// touches the bridge in between. Only a new authority needs an operator: its certificate has to be
/// put into `ca_file`, and the bridge told.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a broker of its own"]
async fn row_30_a_certificate_that_does_not_hold_is_refused() {
    let mut setup = Setup::rabbitmq("").and_store();
    let (ours, other) = (Authority::new(), Authority::new());
    let good = ours.vouches("DNS:localhost", DAYS);
    let node = Node::rabbitmq_with_tls(&ours, &good).await;
    let trusted = setup.path("trusted.pem");
    std::fs::copy(ours.certificate(), &trusted).expect("writable");
    let keys = &mut setup.sinks[0].1;
    *keys = keys.replace("url = \"\"", &format!("url = \"{}\"", node.tls_url()));
    keys.push_str(&format!("ca_file = {trusted:?}\n"));
    let outlet = Outlet::durable(&node.url(), &setup).await;
    let mut scene = Scene::begin(setup, outlet).await;
    let expiry = [("component", "sink.rabbitmq"), ("file", "ca_file")];
    let shown = scene
        .bridge
        .metrics()
        .await
        .sum("tls_certificate_expiry_timestamp_seconds", &expiry);
    assert!((shown - ours.expiry()).abs() < 0.5, "{shown}");
    for (authority, name, days, reason) in [
        (&ours, "DNS:localhost", -1, "xpired"),
        (&ours, "DNS:elsewhere.test", DAYS, "not valid for name"),
        (&other, "DNS:localhost", DAYS, "UnknownIssuer"),
    ] {
        renew(&node, &authority.vouches(name, days));
        scene.fails_at("tls").await;
        scene.says(reason).await;
        scene.shows("sink_connected", 0.0).await;
        scene.goes_on(100).await;
        renew(&node, &good);
        scene.is_well().await;
    }
    renew(&node, &other.vouches("DNS:localhost", DAYS));
    scene.shows("sink_connected", 0.0).await;
    scene.goes_on(100).await;
    let both = [ours, other].map(|authority| std::fs::read_to_string(authority.certificate()));
    let both: String = both.into_iter().map(|pem| pem.expect("readable")).collect();
    std::fs::write(&trusted, both).expect("writable");
    scene.bridge.signal("HUP");
    let recovered = scene.recovers().await;
    let (_, verdict) = scene.ends_well(Copies::InDoubt).await;
    Report::row(30)
        .sink("rabbitmq")
        .did("the broker's certificate has expired, is for another name, is from an unknown authority; then a new authority")
        .recovered_in(recovered)
        .write(&verdict);
}
