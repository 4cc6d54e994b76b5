//! Who is at the other end, and who are we: certificates that must not be trusted, and logins.

use std::fmt::Write as _;
use std::time::Duration;

use crate::eventually::eventually_within;
use crate::faults::namespace::trusting;
use crate::harness::way::{PASSWORD, login, with_logins};
use crate::harness::{
    Authority, Bridge, Load, Node, Outlet, Report, Setup, Target, Verdict, Way, Wishes, event,
};
use crate::secured::kafka::with_tls;

/// Until the broker has started again and the pauses are over.
const RECOVERY: Duration = Duration::from_secs(60);

/// What everybody has to be able to do once a topic is there.
const CREATES: &str = "create_topics = { partitions = 1, replication = 1 }\n";

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a broker of its own"]
async fn row_30_a_broker_that_cannot_be_trusted_gets_nothing() {
    let (ours, unknown) = (Authority::new(), Authority::new());
    let ways = ["good", "expired", "misnamed", "stranger"].map(Way::named);
    let certificates = [
        ours.vouches("IP:127.0.0.1", 2),
        ours.vouches("IP:127.0.0.1", -1),
        ours.vouches("DNS:elsewhere.test", 2),
        unknown.vouches("IP:127.0.0.1", 2),
    ];
    let tls = format!("{CREATES}tls = {{ ca_file = {:?} }}\n", ours.certificate());
    let (mut wishes, mut setup) = (Wishes::default(), Setup::store());
    for (way, certificate) in ways.iter().zip(&certificates) {
        wishes = way.opened(wishes, "SSL");
        let listener = format!("listener.name.{}.ssl.keystore", way.name);
        let _ = writeln!(
            wishes.properties,
            "{listener}.type=PEM\n{listener}.location={}",
            certificate.display()
        );
        setup = way.configured(setup, &tls);
    }
    let mut node = Node::kafka_with(&wishes).await;
    let bridge = setup.start().await;
    let load = Load::start(&Target::new(bridge.ingress), &setup.source, 10, 10);
    bridge
        .counts("events_delivered_total", &[("sink", "good")], 100.0)
        .await;
    let [_, refused @ ..] = &ways;
    for way in refused {
        way.is_refused(&bridge, "tls", "certificate does not hold")
            .await;
    }
    for certificate in &certificates[1..] {
        std::fs::copy(&certificates[0], certificate).expect("writable");
    }
    node.shut_down();
    node.restart().await;
    eventually_within(RECOVERY, "all is delivered", async || {
        (bridge.metrics().await.sum("spool_events", &[]) < 0.5).then_some(())
    })
    .await;
    let journal = load.finish().await;
    let seen = Outlet::kafka(&node.brokers())
        .has(&bridge, &setup.source, &journal.ids())
        .await;
    let metrics = bridge.metrics().await;
    let mut verdict = Verdict::default();
    for way in &ways {
        metrics.assert_balanced(way.name);
        verdict = way.assert_kept(&setup.source, &journal, &seen);
    }
    Report::row(30)
        .sink("kafka")
        .did("expired, other name, unknown authority: nothing is sent until they are replaced")
        .write(&verdict);
}

/// The client brings its own OpenSSL, which looks for authorities where nobody has put them.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: root, for a mount namespace, and a broker of its own"]
async fn without_a_file_of_authorities_those_of_the_system_are_trusted() {
    let authority = Authority::new();
    let way = Way::named("public");
    let server = authority.vouches("IP:127.0.0.1", 2);
    let wishes = with_tls(way.opened(Wishes::default(), "SSL"), &way, &server, None);
    let node = Node::kafka_with(&wishes).await;
    let setup = Setup::store();
    let setup = setup.and_kafka(&way.address(), &format!("{CREATES}tls = {{}}\n"));
    let through = trusting(&authority.certificate());
    let bridge = Bridge::start_through(&through, &setup.write()).await;
    let id = bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
    Outlet::kafka(&node.brokers())
        .has(&bridge, &setup.source, &[id])
        .await;
}

/// Logging in, in all the ways that a broker takes; the wrong password is the last.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: a broker of its own"]
async fn row_30_a_wrong_password_is_told_and_right_ones_work() {
    let way = Way::named("login");
    let names = ["plain", "scram-256", "scram-512", "wrong"];
    let ways = names.map(|name| way.also_named(name));
    let mechanisms = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "SCRAM-SHA-512"];
    let wishes = way.opened(with_logins(Wishes::default(), way.name), "SASL_PLAINTEXT");
    let node = Node::kafka_with(&wishes).await;
    let mut setup = Setup::store();
    for (way, mechanism) in ways.iter().zip(mechanisms) {
        let file = setup.path(way.name);
        let right = way.name != "wrong";
        std::fs::write(&file, if right { PASSWORD } else { "guessed" }).expect("writable");
        setup = way.configured(setup, &(CREATES.to_owned() + &login(mechanism, &file)));
    }
    let bridge = setup.start().await;
    let load = Load::start(&Target::new(bridge.ingress), &setup.source, 10, 10);
    let [right @ .., wrong] = &ways;
    for way in right {
        bridge
            .counts("events_delivered_total", &[("sink", way.name)], 100.0)
            .await;
    }
    wrong
        .is_refused(&bridge, "login", "Authentication failed")
        .await;
    let journal = load.finish().await;
    let seen = Outlet::kafka(&node.brokers())
        .has(&bridge, &setup.source, &journal.ids())
        .await;
    for way in right {
        way.assert_kept(&setup.source, &journal, &seen);
    }
    Report::row(30)
        .sink("kafka")
        .did("a wrong SASL password is refused; PLAIN and SCRAM log in")
        .held();
}
