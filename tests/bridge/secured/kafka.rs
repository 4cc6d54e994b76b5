//! Kafka over TLS, as a client with a certificate, with a password, or with both.

use std::fmt::Write as _;
use std::path::Path;

use crate::harness::way::{PASSWORD, login, with_logins};
use crate::harness::{Authority, Load, Node, Outlet, Program, Setup, Target, Way, Wishes, event};

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

/// What `check --connect` says, which fails, of a sink with these brokers and keys.
async fn is_found_wrong(source: &str, brokers: &str, keys: &str) -> String {
    let mut setup = Setup::store().and_kafka(brokers, keys);
    source.clone_into(&mut setup.source);
    let config = setup.write();
    let check = move || {
        let mut check = Program::Released.command();
        let check = check.args(["check", "--connect", "--config"]).arg(&config);
        check.output().expect("it starts")
    };
    let output = tokio::task::spawn_blocking(check).await;
    let output = output.expect("no panic inside");
    let said = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_tells_each_mistake_with_its_remedy() {
    let (ours, unknown) = (Authority::new(), Authority::new());
    let plain = Way::named("plain");
    let (encrypted, misnamed) = (Way::named("encrypted"), Way::named("misnamed"));
    let (sasl, astray) = (Way::named("sasl"), Way::named("astray"));
    let mut wishes = sasl.opened(with_logins(Wishes::default(), sasl.name), "SASL_PLAINTEXT");
    let mechanisms = "listener.name.sasl.sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512\n";
    wishes.properties.push_str(mechanisms);
    wishes = plain.opened(wishes, "PLAINTEXT");
    for (way, server) in [
        (&encrypted, ours.vouches("IP:127.0.0.1", DAYS)),
        (&misnamed, ours.vouches("DNS:elsewhere.test", DAYS)),
    ] {
        wishes = with_tls(way.opened(wishes, "SSL"), way, &server, None);
    }
    wishes = wishes.listener("ASTRAY", "PLAINTEXT", &astray.address(), "127.0.0.1:1");
    let _node = Node::kafka_with(&wishes).await;
    let setup = Setup::store().and_kafka(&plain.address(), CREATES);
    let bridge = setup.start().await;
    let body = event("sample.uploaded", "a");
    bridge.accepted(&setup.source, body).await;
    bridge.drained().await;
    let (right, wrong) = (setup.path("right"), setup.path("wrong"));
    std::fs::write(&right, PASSWORD).expect("writable");
    std::fs::write(&wrong, "guessed").expect("writable");
    let trusting = |authority: &Authority| tls(&authority.certificate(), None);
    let mistakes = [
        (
            "kafka..test:9092".to_owned(),
            String::new(),
            ["Failed to resolve", "correct the name"],
        ),
        (
            "127.0.0.1:1".to_owned(),
            String::new(),
            ["Connection refused", "correct the port"],
        ),
        (
            plain.address(),
            trusting(&ours),
            ["no TLS on this port", "take the table `tls` out"],
        ),
        (
            encrypted.address(),
            String::new(),
            ["wants TLS", "add a table `tls`"],
        ),
        (
            encrypted.address(),
            trusting(&unknown),
            ["no authority that is trusted", "`tls.ca_file`"],
        ),
        (
            misnamed.address(),
            trusting(&ours),
            ["is for another name", "as its certificate does"],
        ),
        (
            sasl.address(),
            login("SCRAM-SHA-512", &wrong),
            ["Authentication failed", "the password"],
        ),
        (
            sasl.address(),
            login("PLAIN", &right),
            ["supported mechanisms", "`sasl.mechanism`"],
        ),
        (
            astray.address(),
            String::new(),
            ["gives its address as 127.0.0.1:1", "`advertised.listeners`"],
        ),
    ];
    for (brokers, keys, words) in mistakes {
        let said = is_found_wrong(&setup.source, &brokers, &keys).await;
        for word in words {
            assert!(said.contains(word), "{word} is not in:\n{said}");
        }
    }
}
