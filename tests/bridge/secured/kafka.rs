//! Kafka over TLS, as a client with a certificate, with a password, or with both.

use std::fmt::Write as _;
use std::path::Path;

use crate::harness::way::{PASSWORD, login, with_logins};
use crate::harness::{Authority, Load, Node, Outlet, Setup, Target, Way, Wishes};

const DAYS: i32 = 2;
/// What everybody has to be able to do once a topic is there.
const CREATES: &str = "create_topics = { partitions = 1, replication = 1 }\n";

/// What a listener shows, and where it wants a certificate in return, whom it trusts.
pub(crate) fn with_tls(
    mut wishes: Wishes,
    way: &Way,
    server: &Path,
    clients: Option<&Path>,
) -> Wishes {
    let listener = format!("listener.name.{}.ssl", way.name);
    let _ = writeln!(
        wishes.properties,
        "{listener}.keystore.type=PEM\n{listener}.keystore.location={}",
        server.display()
    );
    if let Some(clients) = clients {
        let _ = writeln!(
            wishes.properties,
            "{listener}.client.auth=required\n{listener}.truststore.type=PEM\n{listener}.truststore.location={}",
            clients.display()
        );
    }
    wishes
}

/// The sink's table of the same; `identity` is a certificate and its key in one file.
pub(crate) fn tls(authority: &Path, identity: Option<&Path>) -> String {
    let identity = identity.map_or_else(String::new, |file| {
        format!(", client_certificate_file = {file:?}, client_key_file = {file:?}")
    });
    format!("tls = {{ ca_file = {authority:?}{identity} }}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_in_over_tls_works_and_what_is_wrong_is_refused() {
    let (ours, unknown) = (Authority::new(), Authority::new());
    let server = ours.vouches("IP:127.0.0.1", DAYS);
    let (ca, identity) = (ours.certificate(), ours.vouches_for("bridge", DAYS));
    let (mutual, sasl) = (Way::named("mutual"), Way::named("sasl"));
    let wishes = with_logins(Wishes::default(), sasl.name);
    let wishes = sasl.opened(mutual.opened(wishes, "SSL"), "SASL_SSL");
    let wishes = with_tls(wishes, &mutual, &server, Some(&ca));
    let wishes = with_tls(wishes, &sasl, &server, None);
    let node = Node::kafka_with(&wishes).await;
    let mut setup = Setup::store();
    let (right, wrong) = (setup.path("right"), setup.path("wrong"));
    std::fs::write(&right, PASSWORD).expect("writable");
    std::fs::write(&wrong, "guessed").expect("writable");
    let strange = unknown.vouches_for("bridge", DAYS);
    let anonymous = tls(&ca, None);
    let with = |mechanism, password| anonymous.clone() + &login(mechanism, password);
    let well = [
        (mutual.also_named("mutual"), tls(&ca, Some(&identity))),
        (sasl.also_named("plain"), with("PLAIN", &right)),
        (sasl.also_named("scram-256"), with("SCRAM-SHA-256", &right)),
        (sasl.also_named("scram-512"), with("SCRAM-SHA-512", &right)),
    ];
    let ill = [
        (
            mutual.also_named("nobody"),
            anonymous.clone(),
            "tls",
            "the client certificate",
        ),
        (
            mutual.also_named("stranger"),
            tls(&ca, Some(&strange)),
            "tls",
            "the client certificate",
        ),
        (
            sasl.also_named("guess"),
            with("SCRAM-SHA-512", &wrong),
            "login",
            "Authentication failed",
        ),
    ];
    let ways = well.iter().map(|(way, keys)| (way, keys));
    for (way, keys) in ways.chain(ill.iter().map(|(way, keys, ..)| (way, keys))) {
        setup = way.configured(setup, &(CREATES.to_owned() + keys));
    }
    let bridge = setup.start().await;
    let load = Load::start(&Target::new(bridge.ingress), &setup.source, 10, 10);
    let journal = load.finish().await;
    for (way, _) in &well {
        bridge
            .counts("events_delivered_total", &[("sink", way.name)], 100.0)
            .await;
    }
    for (way, _, stage, why) in &ill {
        way.is_refused(&bridge, stage, why).await;
    }
    let seen = Outlet::kafka(&node.brokers())
        .has(&bridge, &setup.source, &journal.ids())
        .await;
    for (way, _) in &well {
        way.assert_kept(&setup.source, &journal, &seen);
    }
}
