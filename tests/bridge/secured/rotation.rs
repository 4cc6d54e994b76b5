//! The credentials of a sink change while it is under load: by `SIGHUP`, without a delivery that is
//! lost, refused or even in doubt.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::kafka::{tls, with_tls};
use super::rabbitmq::{add_user, external, keys, mutual};
use crate::eventually::eventually;
use crate::faults::scene::Scene;
use crate::harness::way::{PASSWORD, USER, login, with_logins};
use crate::harness::{Authority, Copies, Node, Outlet, Setup, Way, Wishes};

const DAYS: i32 = 2;

/// The sink has connected once more, and goes on as before.
async fn changes_over(scene: &mut Scene) {
    let before = scene.value("sink_reconnects_total").await;
    scene.bridge.signal("HUP");
    scene.counts("sink_reconnects_total", before + 1.0).await;
    scene.is_well().await;
}

/// The new credentials do not work: that is counted and said, and the sink goes on with the old ones.
async fn keeps_the_old(scene: &mut Scene, stage: &str) {
    let failures = scene.value("sink_connect_failures_total").await;
    let reconnects = scene.value("sink_reconnects_total").await;
    scene.bridge.signal("HUP");
    scene.has_failed_at(stage).await;
    scene
        .counts("sink_connect_failures_total", failures + 1.0)
        .await;
    scene.says("the new credentials").await;
    scene.is_well().await;
    let after = scene.value("sink_reconnects_total").await;
    assert!(
        (after - reconnects).abs() < 0.5,
        "the old connection is kept"
    );
}

/// The broker has another password: a wrong one in the file changes nothing, the right one is taken
/// over.
async fn takes_over_the_password(scene: &mut Scene, node: &Node, file: &Path) {
    node.ctl(&["change_password", USER, "another"]);
    std::fs::write(file, "a third").expect("writable");
    keeps_the_old(scene, "login").await;
    std::fs::write(file, "another").expect("writable");
    changes_over(scene).await;
}

/// A file that cannot be what it should be: the reload is refused as a whole.
async fn is_refused(scene: &mut Scene, key: &str) {
    scene.bridge.signal("HUP");
    let shows = async |value| {
        scene
            .bridge
            .shows("config_last_reload_successful", &[], value)
            .await;
    };
    shows(0.0).await;
    scene.says(key).await;
    scene.is_well().await;
}

/// The publishes so far that failed or are in doubt. There may be one before the first connection.
async fn doubts(scene: &Scene) -> f64 {
    let label = [("result", "unavailable")];
    scene
        .bridge
        .metrics()
        .await
        .sum("publish_attempts_total", &label)
}

/// No publish has failed since then or is in doubt, and nothing was answered with anything but 200.
async fn ends_without_a_doubt(scene: Scene, before: f64) {
    let after = doubts(&scene).await;
    let log = scene.bridge.log();
    assert!((after - before).abs() < 0.5, "{log}");
    assert!(!log.contains("PRIVATE KEY") && !log.contains(PASSWORD));
    scene.ends_well(Copies::Once).await;
}

fn copy(from: &Path, to: &Path) {
    std::fs::copy(from, to).expect("writable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_for_rabbitmq_is_replaced_under_load() {
    let (ours, unknown) = (Authority::new(), Authority::new());
    let node = mutual(&ours).await;
    let mut setup = Setup::store();
    let identity = setup.path("client.pem");
    let [first, second] = ["first", "second"].map(|user| {
        add_user(&node, user);
        ours.vouches_for(user, DAYS)
    });
    copy(&first, &identity);
    let sink = keys(&external(&node), &ours.certificate(), Some(&identity));
    setup.sinks.insert(0, ("rabbitmq".to_owned(), sink));
    let outlet = Outlet::durable(&node.url(), &setup).await;
    let mut scene = Scene::begin(setup, outlet).await;
    let before = doubts(&scene).await;
    copy(&second, &identity);
    changes_over(&mut scene).await;
    eventually("the first user's connection has ended", async || {
        let users = node.ctl(&["list_connections", "user"]);
        (users.contains("second") && !users.contains("first")).then_some(())
    })
    .await;
    node.ctl(&["delete_user", "first"]);
    scene.goes_on(100).await;
    copy(&unknown.vouches_for("second", DAYS), &identity);
    keeps_the_old(&mut scene, "tls").await;
    copy(&ours.vouches_for("nobody", DAYS), &identity);
    keeps_the_old(&mut scene, "login").await;
    std::fs::write(&identity, "no PEM").expect("writable");
    is_refused(&mut scene, "client_certificate_file").await;
    copy(&second, &identity);
    changes_over(&mut scene).await;
    ends_without_a_doubt(scene, before).await;
}

/// The broker comes back with a certificate of another authority; until its certificate is in
/// `ca_file` and the bridge has been told, events wait.
#[tokio::test(flavor = "multi_thread")]
async fn another_authority_and_another_password_of_rabbitmq_are_taken_over() {
    let mut setup = Setup::store();
    let (old, new) = (Authority::new(), Authority::new());
    let mut node = Node::rabbitmq_with_tls(&old, &old.vouches("DNS:localhost", DAYS)).await;
    node.ctl(&["add_user", USER, PASSWORD]);
    node.ctl(&["set_permissions", USER, ".*", ".*", ".*"]);
    let [trusted, password] = ["trusted.pem", "password"].map(|name| setup.path(name));
    copy(&old.certificate(), &trusted);
    std::fs::write(&password, PASSWORD).expect("writable");
    let url = node.tls_url().replace("guest:guest", USER);
    let sink = keys(&url, &trusted, None) + &format!("password = {{ file = {password:?} }}\n");
    setup.sinks.insert(0, ("rabbitmq".to_owned(), sink));
    let outlet = Outlet::durable(&node.url(), &setup).await;
    let mut scene = Scene::begin(setup, outlet).await;
    takes_over_the_password(&mut scene, &node, &password).await;
    node.shut_down();
    let tls = node.folder().join("tls");
    copy(&new.certificate(), &tls.join("ca.pem"));
    copy(&new.vouches("DNS:localhost", DAYS), &tls.join("broker.pem"));
    node.restart().await;
    scene.has_failed_at("tls").await;
    scene.shows("sink_connected", 0.0).await;
    scene.goes_on(100).await;
    copy(&new.certificate(), &trusted);
    scene.bridge.signal("HUP");
    scene.recovers().await;
    let shown = scene.bridge.metrics().await.sum(
        "tls_certificate_expiry_timestamp_seconds",
        &[("file", "ca_file")],
    );
    assert!((shown - new.expiry()).abs() < 0.5, "{shown}");
    scene.ends_well(Copies::InDoubt).await;
}

/// The broker looks at the password first and counts connections then: wrong credentials cost
/// nothing, and for right ones the old connection makes place.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_taken_over_where_rabbitmq_allows_one_connection() {
    let node = Node::rabbitmq().await;
    node.ctl(&["add_user", USER, PASSWORD]);
    node.ctl(&["set_permissions", USER, ".*", ".*", ".*"]);
    node.ctl(&["set_user_limits", USER, "{\"max-connections\": 1}"]);
    let mut setup = Setup::rabbitmq(&node.url().replace("guest:guest", USER)).and_store();
    let password = setup.path("password");
    std::fs::write(&password, PASSWORD).expect("writable");
    let key = format!("password = {{ file = {password:?} }}\n");
    setup.sinks[0].1.push_str(&key);
    let outlet = Outlet::durable(&node.url(), &setup).await;
    let mut scene = Scene::begin(setup, outlet).await;
    takes_over_the_password(&mut scene, &node, &password).await;
    scene.says("is closed first").await;
    eventually("the former connection has ended", async || {
        let users = node.ctl(&["list_connections", "user"]);
        (users.matches(USER).count() == 1).then_some(())
    })
    .await;
    scene.ends_well(Copies::Once).await;
}

/// Gives a user another password, as an administrator would. The client in Rust has no such request.
fn change_password(brokers: &str, password: &str) {
    let script = "
import sys
from confluent_kafka.admin import *
info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
change = UserScramCredentialUpsertion(sys.argv[2], info, sys.argv[3].encode())
client = AdminClient({'bootstrap.servers': sys.argv[1]})
for outcome in client.alter_user_scram_credentials([change]).values():
    outcome.result()
";
    let python = std::env::var("HOOKFERRY_TEST_PYTHON").expect("run tests/run");
    let output = Command::new(python)
        .args(["-c", script, brokers, USER, password])
        .output()
        .expect("python starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

struct Files {
    trusted: PathBuf,
    identity: PathBuf,
    password: PathBuf,
}

/// A Kafka that wants a client certificate and a password, and the bridge's sink for it.
async fn kafka(authority: &Authority, server: &Path) -> (Node, Setup, Files) {
    let way = Way::named("both");
    let wishes = way.opened(with_logins(Wishes::default(), way.name), "SASL_SSL");
    let clients = authority.certificate();
    let node = Node::kafka_with(&with_tls(wishes, &way, server, Some(&clients))).await;
    let setup = Setup::store();
    let [trusted, identity, password] =
        ["trusted.pem", "client.pem", "password"].map(|name| setup.path(name));
    copy(&authority.certificate(), &trusted);
    copy(&authority.vouches_for("first", DAYS), &identity);
    std::fs::write(&password, PASSWORD).expect("writable");
    let keys = "create_topics = { partitions = 3, replication = 1 }\n".to_owned()
        + &tls(&trusted, Some(&identity))
        + &login("SCRAM-SHA-512", &password);
    let mut setup = setup.and_kafka(&way.address(), &keys);
    setup.sinks.reverse();
    let files = Files {
        trusted,
        identity,
        password,
    };
    (node, setup, files)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_and_a_password_for_kafka_are_replaced_under_load() {
    let (ours, unknown) = (Authority::new(), Authority::new());
    let server = ours.vouches("IP:127.0.0.1", DAYS);
    let (node, setup, files) = kafka(&ours, &server).await;
    let outlet = Outlet::kafka(&node.brokers());
    let mut scene = Scene::begin(setup, outlet).await;
    let before = doubts(&scene).await;
    copy(&ours.vouches_for("second", DAYS), &files.identity);
    changes_over(&mut scene).await;
    scene.says("with the new credentials takes over").await;
    change_password(&node.brokers(), "another");
    changes_nothing(&mut scene).await;
    std::fs::write(&files.password, "another").expect("writable");
    changes_over(&mut scene).await;
    copy(&unknown.vouches_for("second", DAYS), &files.identity);
    keeps_the_old(&mut scene, "tls").await;
    std::fs::write(&files.identity, "no PEM").expect("writable");
    is_refused(&mut scene, "client_certificate_file").await;
    ends_without_a_doubt(scene, before).await;
}

/// A reload that changes nothing starts nothing.
async fn changes_nothing(scene: &mut Scene) {
    let before = scene.value("sink_reconnects_total").await;
    scene.bridge.signal("HUP");
    scene.goes_on(100).await;
    let after = scene.value("sink_reconnects_total").await;
    assert!((after - before).abs() < 0.5, "nothing has changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_authority_of_kafka_is_taken_over() {
    let (old, new) = (Authority::new(), Authority::new());
    let server = old.vouches("IP:127.0.0.1", DAYS);
    let (mut node, setup, files) = kafka(&old, &server).await;
    let outlet = Outlet::kafka(&node.brokers());
    let mut scene = Scene::begin(setup, outlet).await;
    std::fs::write(&files.password, "guessed").expect("writable");
    keeps_the_old(&mut scene, "login").await;
    std::fs::write(&files.password, PASSWORD).expect("writable");
    changes_over(&mut scene).await;
    node.shut_down();
    copy(&new.vouches("IP:127.0.0.1", DAYS), &server);
    node.restart().await;
    scene.has_failed_at("tls").await;
    scene.shows("sink_connected", 0.0).await;
    scene.goes_on(100).await;
    copy(&new.certificate(), &files.trusted);
    scene.bridge.signal("HUP");
    scene.recovers().await;
    scene.ends_well(Copies::InDoubt).await;
}
