//! RabbitMQ over TLS, as a client with a certificate.

use std::path::Path;

use crate::eventually::eventually;
use crate::harness::{
    Authority, Bridge, Copies, Load, Node, Outlet, Setup, Target, Verdict, Wishes,
};

const DAYS: i32 = 2;
/// The user, and so the common name of the certificate.
const USER: &str = "bridge";

/// Over TLS it lets in only who shows a certificate, whose common name is then the user.
pub(super) async fn mutual(authority: &Authority) -> Node {
    let properties = "ssl_options.verify = verify_peer\n\
                      ssl_options.fail_if_no_peer_cert = true\n\
                      auth_mechanisms.1 = PLAIN\n\
                      auth_mechanisms.2 = EXTERNAL\n\
                      ssl_cert_login_from = common_name\n";
    let wishes = Wishes {
        properties: properties.to_owned(),
        plugins: vec!["rabbitmq_auth_mechanism_ssl"],
        ..Wishes::default()
    };
    let server = authority.vouches("DNS:localhost", DAYS);
    Node::rabbitmq_with_tls_and(authority, &server, &wishes).await
}

/// A user whom a certificate alone lets in.
pub(super) fn add_user(node: &Node, name: &str) {
    node.ctl(&["add_user", name, "never used"]);
    node.ctl(&["clear_password", name]);
    node.ctl(&["set_permissions", name, ".*", ".*", ".*"]);
}

/// The URL of a login by certificate.
pub(super) fn external(node: &Node) -> String {
    let url = node.tls_url().replace("guest:guest@", "");
    format!("{url}?auth_mechanism=external")
}

/// The keys of a sink; `identity` is a certificate and its key in one file.
pub(super) fn keys(url: &str, authority: &Path, identity: Option<&Path>) -> String {
    let identity = identity.map_or_else(String::new, |file| {
        format!("client_certificate_file = {file:?}\nclient_key_file = {file:?}\n")
    });
    format!(
        "type = \"rabbitmq\"\nurl = \"{url}\"\npublish_timeout = \"5s\"\nretry_delay_max = \"500ms\"\nca_file = {authority:?}\n{identity}"
    )
}

async fn is_refused(bridge: &Bridge, sink: &str, stage: &str, why: &str) {
    let at = [("sink", sink), ("stage", stage)];
    bridge.counts("sink_connect_failures_total", &at, 1.0).await;
    bridge.shows("sink_connected", &[("sink", sink)], 0.0).await;
    let metrics = bridge.metrics().await;
    let all = metrics.sum("sink_connect_failures_total", &[("sink", sink)]);
    let here = metrics.sum("sink_connect_failures_total", &at);
    assert!(
        (all - here).abs() < 0.5,
        "{sink} fails at {stage} and nowhere else"
    );
    assert!(metrics.sum_or_zero("events_delivered_total", &[("sink", sink)]) < 0.5);
    eventually("the log says why", async || {
        bridge.log().contains(why).then_some(())
    })
    .await;
}

/// End to end by certificate alone, and by password beside a certificate. Without one, with one of an
/// authority that the broker does not know, with one that has expired, or with one that is nobody's:
/// refused, and counted where it failed.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_the_login() {
    let (ours, unknown) = (Authority::new(), Authority::new());
    let node = mutual(&ours).await;
    add_user(&node, USER);
    let (url, ca) = (external(&node), ours.certificate());
    let mut setup = Setup::store();
    let identities = [
        ("external", Some(ours.vouches_for(USER, DAYS))),
        ("nobody", None),
        ("stranger", Some(unknown.vouches_for(USER, DAYS))),
        ("late", Some(ours.vouches_for(USER, -1))),
        ("unnamed", Some(ours.vouches_for("no-such-user", DAYS))),
    ];
    for (name, identity) in &identities {
        setup
            .sinks
            .push(((*name).to_owned(), keys(&url, &ca, identity.as_deref())));
    }
    let password = keys(&node.tls_url(), &ca, identities[0].1.as_deref())
        + "exchange = \"{source}-by-password\"\n[[sink.password.queue]]\nname = \"by-password\"\n";
    setup.sinks.push(("password".to_owned(), password));
    let mut outlet = Outlet::durable(&node.url(), &setup).await;
    let bridge = setup.start().await;
    let load = Load::start(&Target::new(bridge.ingress), &setup.source, 10, 10);
    let journal = load.finish().await;
    for sink in ["external", "password"] {
        bridge
            .counts("events_delivered_total", &[("sink", sink)], 100.0)
            .await;
    }
    let seen = outlet.has(&bridge, &setup.source, &journal.ids()).await;
    Verdict::of(&journal, &seen).assert_kept(Copies::Once);
    let connected = node.ctl(&["list_connections", "user", "ssl", "auth_mechanism"]);
    assert!(connected.contains("bridge\ttrue\tEXTERNAL"), "{connected}");
    assert!(connected.contains("guest\ttrue\tPLAIN"), "{connected}");
    is_refused(&bridge, "nobody", "tls", "the client certificate").await;
    is_refused(&bridge, "stranger", "tls", "the client certificate").await;
    is_refused(&bridge, "late", "tls", "the client certificate").await;
    let expired = bridge
        .said("a certificate in the file has expired")
        .expect("an error");
    let file = identities[3]
        .1
        .as_ref()
        .expect("given")
        .display()
        .to_string();
    assert_eq!(
        (&expired["sink"], &expired["file"]),
        (&"late".into(), &file.into())
    );
    is_refused(&bridge, "unnamed", "login", "ACCESS_REFUSED").await;
}
