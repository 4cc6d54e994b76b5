//! `deploy/rabbitmq` and `deploy/config/rabbitmq-production.toml`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use futures_util::StreamExt as _;
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, BasicRejectOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::tcp::OwnedTLSConfig;
use lapin::types::FieldTable;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, ExchangeKind,
};
use tempfile::TempDir;

use super::{configured, deployed, is_checked, one_of_each_lane, read, relocated, succeeds};
use crate::eventually::eventually;
use crate::harness::{Authority, Bridge, Node, Wishes, free_port};

const DAYS: i32 = 2;
const BRIDGE_PASSWORD: &str = "of-the-bridge";
const CONSUMER_PASSWORD: &str = "of-the-consumer";

/// A node as `deploy/rabbitmq` makes it.
struct Deployed {
    node: Node,
    port: u16,
    authority: Authority,
    folder: TempDir,
}

impl Deployed {
    async fn start() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let (authority, port) = (Authority::new(), free_port());
        let server = authority.vouches("DNS:localhost", DAYS);
        let path = |path: &Path| path.display().to_string();
        let conf = relocated(
            &read("rabbitmq/rabbitmq.conf"),
            &[
                // The tests' own scripts look for this one.
                ("listeners.tcp = none\n", ""),
                (
                    "listeners.ssl.default = 5671",
                    &format!("listeners.ssl.default = 127.0.0.1:{port}"),
                ),
                ("/etc/rabbitmq/tls/ca.pem", &path(&authority.certificate())),
                ("/etc/rabbitmq/tls/server.pem", &path(&server)),
                ("/etc/rabbitmq/tls/server.key", &path(&server)),
                (
                    "/etc/rabbitmq/definitions.json",
                    &path(&deployed("rabbitmq/definitions.json")),
                ),
            ],
        );
        let wishes = Wishes {
            properties: conf,
            plugins: vec!["rabbitmq_auth_mechanism_ssl"],
            ..Wishes::default()
        };
        let node = Node::rabbitmq_with(&wishes).await;
        let this = Self {
            node,
            port,
            authority,
            folder,
        };
        this.makes_users(Some(BRIDGE_PASSWORD));
        this
    }

    /// Runs the script; without a password the bridge logs in by certificate.
    fn makes_users(&self, bridge: Option<&str>) {
        let secret = |name: &str, text: &str| -> PathBuf {
            let file = self.folder.path().join(name);
            std::fs::write(&file, format!("{text}\n")).expect("writable");
            file
        };
        let mut script = Command::new(deployed("rabbitmq/users.sh"));
        script.env("RABBITMQCTL", self.node.ctl_program()).env(
            "CONSUMER_PASSWORD_FILE",
            secret("consumer", CONSUMER_PASSWORD),
        );
        if let Some(password) = bridge {
            script.env("BRIDGE_PASSWORD_FILE", secret("bridge", password));
        }
        succeeds(&mut script);
    }

    fn url(&self, login: &str) -> String {
        format!("amqps://{login}@localhost:{}/hookferry", self.port)
    }

    /// A client of the test's own, as this user.
    async fn connects(&self, user: &str, password: &str) -> lapin::Result<Connection> {
        let tls = OwnedTLSConfig {
            identity: None,
            cert_chain: std::fs::read_to_string(self.authority.certificate()).ok(),
        };
        let url = self.url(&format!("{user}:{password}"));
        let properties = ConnectionProperties::default();
        Connection::connect_with_config(&url, properties, tls, lapin::runtime::default_runtime()?)
            .await
    }

    fn count(&self, queue: &str) -> usize {
        let lines = self
            .node
            .ctl(&["-q", "list_queues", "-p", "hookferry", "name", "messages"]);
        let line = lines
            .lines()
            .find_map(|line| line.strip_prefix(queue)?.strip_prefix('\t'));
        line.expect("it is listed")
            .trim()
            .parse()
            .expect("a number")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_is_ready_for_the_bridge_and_lets_nobody_do_more() {
    let node = Deployed::start().await;
    assert_eq!(
        users(&node),
        ["hookferry", "onecodex-consumer"].map(str::to_owned).into()
    );
    let quorum = node.node.ctl(&[
        "-q",
        "list_queues",
        "-p",
        "hookferry",
        "type",
        "durable",
        "policy",
    ]);
    assert_eq!(quorum.matches("quorum\ttrue").count(), 4, "{quorum}");
    assert_eq!(quorum.matches("onecodex-consumed").count(), 3, "{quorum}");
    raises_its_alarm_as_written(&node.node, "rabbitmq/rabbitmq.conf");

    let ca = node.authority.certificate().display().to_string();
    let password = node.folder.path().join("bridge").display().to_string();
    let places = [
        (
            "amqps://hookferry@rabbitmq:5671/hookferry",
            node.url("hookferry"),
        ),
        ("/run/secrets/rabbitmq", password),
        ("/etc/hookferry/tls/rabbitmq-ca.pem", ca),
    ];
    let places = places.each_ref().map(|(from, to)| (*from, to.as_str()));
    let (config, _setup) = configured("rabbitmq-production.toml", &places);
    let said = is_checked(&config);
    for name in [
        "exchange onecodex",
        "queue onecodex.events",
        "queue onecodex.quarantine",
    ] {
        assert!(said.contains(name), "{said}");
    }
    // The test's own authority, which is warned of before it, has two days to live.
    let (_, of_the_broker) = said.rsplit_once("\nsink rabbitmq").expect("its section");
    // From RabbitMQ 4.3 on it does not show a queue to a user without a right to it.
    let warnings = of_the_broker.matches("! ").count();
    let hidden = of_the_broker
        .matches("not shown to a user who has no right to it")
        .count();
    assert_eq!(warnings, hidden, "no other warnings: {said}");
    assert!(
        [0, 3].contains(&hidden),
        "of the queues, or of none: {said}"
    );
    let bridge = Bridge::start(&config).await;
    let ids = one_of_each_lane(&bridge).await;
    bridge.drained().await;
    let log = bridge.log();
    for mark in ["ACCESS_REFUSED", "as configured"] {
        assert!(!log.contains(mark), "{log}");
    }
    for queue in ["onecodex.events", "onecodex.other", "onecodex.quarantine"] {
        eventually(queue, async || (node.count(queue) == 1).then_some(())).await;
    }

    what_a_consumer_rejects_is_a_dead_letter(&node, &ids[0]).await;
    the_bridge_can_do_nothing_else(&node).await;
    the_consumer_can_do_nothing_else(&node).await;
}

/// By a number, and not by a share of the machine's memory, of which a container has a part.
fn raises_its_alarm_as_written(node: &Node, file: &str) {
    let conf = read(file);
    let key = "vm_memory_high_watermark.absolute = ";
    let written = conf.lines().find_map(|line| line.strip_prefix(key));
    let in_force = node.ctl(&["eval", "vm_memory_monitor:get_vm_memory_high_watermark()."]);
    let expected = format!("{{absolute,\"{}\"}}", written.expect(file));
    assert_eq!(in_force.trim(), expected, "{file}");
}

/// What docker-compose.yml adds to the configuration of the image.
#[tokio::test(flavor = "multi_thread")]
async fn the_trials_configuration_is_taken() {
    let file = "rabbitmq/trial.conf";
    let wishes = Wishes {
        properties: read(file),
        ..Wishes::default()
    };
    raises_its_alarm_as_written(&Node::rabbitmq_with(&wishes).await, file);
}

fn users(node: &Deployed) -> BTreeSet<String> {
    let list = node.node.ctl(&["-q", "list_users", "--no-table-headers"]);
    let name = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
    list.lines().map(name).collect()
}

/// Rejected for good, or rejected into the queue too often: both ways lead to the queue of dead letters.
/// Not by `basic.nack`, which RabbitMQ 4.3 and later do not count.
async fn what_a_consumer_rejects_is_a_dead_letter(node: &Deployed, id: &str) {
    let consumer = node
        .connects("onecodex-consumer", CONSUMER_PASSWORD)
        .await
        .expect("let in");
    let channel = consumer.create_channel().await.expect("a channel");
    let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
    let mut deliveries = channel
        .basic_consume("onecodex.events".into(), "".into(), options, none)
        .await
        .expect("allowed");
    // The limit is 5: the first delivery and five more.
    for _ in 0..6 {
        let delivery = deliveries.next().await.expect("one more").expect("whole");
        let found = delivery
            .properties
            .message_id()
            .as_ref()
            .map(ToString::to_string);
        assert_eq!(found.as_deref(), Some(id));
        let back = BasicRejectOptions { requeue: true };
        delivery.reject(back).await.expect("given back");
    }
    eventually("the dead letter is in its queue", async || {
        (node.count("onecodex.dead-letters") == 1 && node.count("onecodex.events") == 0)
            .then_some(())
    })
    .await;
}

/// Every request that is refused closes its channel with 403.
async fn is_forbidden<T: std::fmt::Debug>(what: &str, tried: lapin::Result<T>) {
    let error = tried.expect_err(what);
    assert!(
        error.to_string().contains("ACCESS_REFUSED"),
        "{what}: {error}"
    );
}

/// What the broker says of a message. Without the wait for a confirm nobody would say anything: the
/// next request might still find the channel open, or just closing.
async fn published(channel: &Channel, exchange: &str) -> lapin::Result<Confirmation> {
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let options = BasicPublishOptions::default();
    let properties = BasicProperties::default();
    channel
        .basic_publish(exchange.into(), "x".into(), options, b"x", properties)
        .await?
        .await
}

async fn the_bridge_can_do_nothing_else(node: &Deployed) {
    node.connects("hookferry", "guessed")
        .await
        .expect_err("not with a guess");
    node.connects("guest", "guest")
        .await
        .expect_err("there is no guest");
    let bridge = node
        .connects("hookferry", BRIDGE_PASSWORD)
        .await
        .expect("let in");
    let channel = async || bridge.create_channel().await.expect("a channel");
    let none = FieldTable::default;
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let tried = channel()
        .await
        .exchange_declare("another".into(), ExchangeKind::Topic, durable, none())
        .await;
    is_forbidden("declares an exchange", tried).await;
    let tried = channel()
        .await
        .queue_declare("another".into(), QueueDeclareOptions::default(), none())
        .await;
    is_forbidden("declares a queue", tried).await;
    let tried = channel()
        .await
        .queue_bind(
            "onecodex.other".into(),
            "onecodex".into(),
            "#".into(),
            QueueBindOptions::default(),
            none(),
        )
        .await;
    is_forbidden("binds a queue", tried).await;
    let tried = channel()
        .await
        .basic_consume(
            "onecodex.events".into(),
            "".into(),
            BasicConsumeOptions::default(),
            none(),
        )
        .await;
    is_forbidden("consumes", tried.map(|_| ())).await;
    let tried = published(&channel().await, "onecodex.dead").await;
    is_forbidden("publishes to another exchange", tried).await;
}

async fn the_consumer_can_do_nothing_else(node: &Deployed) {
    let consumer = node
        .connects("onecodex-consumer", CONSUMER_PASSWORD)
        .await
        .expect("let in");
    let reading = consumer.create_channel().await.expect("a channel");
    let get = BasicGetOptions::default();
    let tried = reading.basic_get("onecodex.other".into(), get).await;
    is_forbidden("reads another queue", tried).await;
    let publishing = consumer.create_channel().await.expect("a channel");
    let tried = published(&publishing, "onecodex").await;
    is_forbidden("publishes", tried).await;
}

/// Without a password the common name of the certificate is the login; the script may be run again.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_user_may_log_in_by_certificate_instead() {
    let node = Deployed::start().await;
    node.makes_users(None);
    node.connects("hookferry", BRIDGE_PASSWORD)
        .await
        .expect_err("it has no password");
    let identity = node
        .authority
        .vouches_for("hookferry", DAYS)
        .display()
        .to_string();
    let ca = node.authority.certificate().display().to_string();
    let url = node.url("hookferry") + "?auth_mechanism=external";
    let places = [
        ("amqps://hookferry@rabbitmq:5671/hookferry", url.as_str()),
        ("password = { file = \"/run/secrets/rabbitmq\" }\n", ""),
        ("/etc/hookferry/tls/rabbitmq-ca.pem", ca.as_str()),
        ("# client_certificate_file", "client_certificate_file"),
        ("# client_key_file", "client_key_file"),
        ("/etc/hookferry/tls/hookferry.pem", identity.as_str()),
        ("/etc/hookferry/tls/hookferry.key", identity.as_str()),
    ];
    let (config, _setup) = configured("rabbitmq-production.toml", &places);
    is_checked(&config);
    let bridge = Bridge::start(&config).await;
    one_of_each_lane(&bridge).await;
    bridge.drained().await;
    let connected = node
        .node
        .ctl(&["list_connections", "user", "auth_mechanism"]);
    assert!(connected.contains("hookferry\tEXTERNAL"), "{connected}");
}
