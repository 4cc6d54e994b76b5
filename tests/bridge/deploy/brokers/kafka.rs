//! `deploy/kafka` and `deploy/config/kafka-production.toml`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::types::RDKafkaErrorCode;
use tempfile::TempDir;

use super::{configured, deployed, is_checked, one_of_each_lane, succeeds};
use crate::eventually::eventually;
use crate::harness::{Authority, Bridge, Node, Way, Wishes};
use crate::secured::kafka::with_tls;

const DAYS: i32 = 2;
const PASSWORD: &str = "of-the-user";
const DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);
/// The users of the scripts, and one that no script knows.
const USERS: [&str; 3] = ["hookferry", "onecodex-consumer", "stranger"];

/// A Kafka that knows these users and lets nobody do anything it is not told of, as `deploy/kafka`
/// leaves it.
struct Deployed {
    node: Node,
    login: Way,
    mutual: Way,
    authority: Authority,
    folder: TempDir,
}

impl Deployed {
    async fn start() -> Self {
        let authority = Authority::new();
        let server = authority.vouches("IP:127.0.0.1", DAYS);
        let (login, mutual) = (Way::named("login"), Way::named("mutual"));
        let clients = authority.certificate();
        let wishes = mutual.opened(login.opened(Wishes::default(), "SASL_SSL"), "SSL");
        let wishes = with_tls(wishes, &login, &server, None);
        let mut wishes = with_tls(wishes, &mutual, &server, Some(&clients));
        wishes.properties.push_str(
            "sasl.enabled.mechanisms=SCRAM-SHA-512\n\
             listener.name.login.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             super.users=User:ANONYMOUS\n",
        );
        for user in USERS {
            let scram = format!("SCRAM-SHA-512=[name={user},password={PASSWORD}]");
            wishes
                .format_arguments
                .extend(["--add-scram".to_owned(), scram]);
        }
        let node = Node::kafka_with(&wishes).await;
        let folder = TempDir::new().expect("a temporary folder");
        // By the names that an installation of Kafka has them under.
        let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/brokers/kafka-tool");
        for name in ["kafka-topics.sh", "kafka-acls.sh"] {
            std::os::unix::fs::symlink(&tool, folder.path().join(name)).expect("writable");
        }
        Self {
            node,
            login,
            mutual,
            authority,
            folder,
        }
    }

    fn runs(&self, script: &str, variables: &[(&str, &str)]) -> String {
        let path = std::env::var("PATH").expect("set");
        let admin = self.folder.path().join("admin.properties");
        std::fs::write(&admin, "request.timeout.ms=20000\n").expect("writable");
        let mut command = Command::new(deployed(&format!("kafka/{script}")));
        command
            .env("PATH", format!("{}:{path}", self.folder.path().display()))
            .env("BOOTSTRAP", self.node.brokers())
            .env("COMMAND_CONFIG", admin)
            .envs(variables.iter().copied());
        succeeds(&mut command)
    }

    fn password_file(&self) -> PathBuf {
        let file = self.folder.path().join("password");
        std::fs::write(&file, PASSWORD).expect("writable");
        file
    }

    /// What a client of the test's own is configured with, as this user.
    fn client(&self, user: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.login.address())
            .set("security.protocol", "sasl_ssl")
            .set(
                "ssl.ca.location",
                self.authority.certificate().display().to_string(),
            )
            .set("sasl.mechanism", "SCRAM-SHA-512")
            .set("sasl.username", user)
            .set("sasl.password", PASSWORD);
        config
    }

    /// The topics this user sees.
    fn topics(&self, user: &str) -> BTreeSet<String> {
        let client: BaseConsumer = self.client(user).create().expect("a client");
        let metadata = client.fetch_metadata(None, DEADLINE).expect("an answer");
        let names = metadata
            .topics()
            .iter()
            .map(|topic| topic.name().to_owned());
        names.filter(|name| !name.starts_with("__")).collect()
    }

    async fn creates(&self, config: &ClientConfig, topic: &str) -> Result<(), RDKafkaErrorCode> {
        let client: AdminClient<DefaultClientContext> = config.create().expect("a client");
        let topic = NewTopic::new(topic, 1, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(DEADLINE));
        let results = client
            .create_topics([&topic], &options)
            .await
            .expect("an answer");
        results
            .into_iter()
            .try_for_each(|result| result.map(|_| ()).map_err(|(_, code)| code))
    }
}

async fn writes(config: &ClientConfig, topic: &str) -> Result<(), Option<RDKafkaErrorCode>> {
    let producer: FutureProducer = config.create().expect("a client");
    let record = FutureRecord::to(topic).key("k").payload("x");
    let sent = producer.send(record, DEADLINE).await;
    sent.map(|_| ())
        .map_err(|(error, _)| error.rdkafka_error_code())
}

fn reads(config: &ClientConfig, group: &str, topic: &str) -> Result<(), KafkaError> {
    let mut config = config.clone();
    config
        .set("group.id", group)
        .set("auto.offset.reset", "earliest");
    let consumer: BaseConsumer = config.create().expect("a client");
    consumer.subscribe(&[topic]).expect("a name");
    let began = Instant::now();
    loop {
        if let Some(answer) = consumer.poll(POLL) {
            return answer.map(|_| ());
        }
        assert!(began.elapsed() < DEADLINE, "{topic}: no answer in time");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_is_ready_for_the_bridge_and_lets_nobody_do_more() {
    let kafka = Deployed::start().await;
    let one = [
        ("REPLICATION", "1"),
        ("MIN_INSYNC_REPLICAS", "1"),
        ("PARTITIONS", "3"),
    ];
    let made = kafka.runs("topics.sh", &one);
    assert_eq!(made.matches("Created topic").count(), 5, "{made}");
    let again = kafka.runs("topics.sh", &one);
    assert!(!again.contains("Created topic"), "{again}");
    kafka.runs("acls.sh", &[]);
    kafka.runs("acls.sh", &[]);
    let lanes = [
        "onecodex.sample.uploaded",
        "onecodex.other",
        "onecodex.quarantine",
    ];
    assert!(kafka.topics("stranger").is_empty());
    assert_eq!(kafka.topics("hookferry").len(), 5);

    let ca = kafka.authority.certificate().display().to_string();
    let password = kafka.password_file().display().to_string();
    let brokers = kafka.login.address();
    let places = [
        ("kafka-1:9093,kafka-2:9093,kafka-3:9093", brokers.as_str()),
        ("/run/secrets/kafka", password.as_str()),
        ("/etc/hookferry/tls/kafka-ca.pem", ca.as_str()),
    ];
    let (config, _setup) = configured("kafka-production.toml", &places);
    let said = is_checked(&config);
    // One broker can do no better than one copy, and is told so; the rest is seen and is right.
    assert_eq!(
        said.matches("1 copy, min.insync.replicas 1").count(),
        5,
        "{said}"
    );
    let bridge = Bridge::start(&config).await;
    one_of_each_lane(&bridge).await;
    bridge.drained().await;
    let log = bridge.log();
    assert!(
        !log.contains("\"WARN\"") && !log.contains("\"ERROR\""),
        "{log}"
    );

    tokio::task::block_in_place(|| {
        let consumer = kafka.client("onecodex-consumer");
        for topic in lanes {
            reads(&consumer, "onecodex-consumer", topic).expect(topic);
        }
        let denied = reads(&consumer, "another-group", lanes[0]).expect_err("another group");
        assert!(
            denied.to_string().contains("GroupAuthorizationFailed"),
            "{denied}"
        );
        let denied = reads(&kafka.client("hookferry"), "onecodex-consumer", lanes[0]);
        let denied = denied.expect_err("the bridge reads nothing");
        assert!(
            denied.to_string().contains("AuthorizationFailed"),
            "{denied}"
        );
    });
    the_bridge_can_do_nothing_else(&kafka).await;
    a_certificates_subject_may_be_the_user(&kafka).await;
}

async fn the_bridge_can_do_nothing_else(kafka: &Deployed) {
    let (bridge, consumer) = (kafka.client("hookferry"), kafka.client("onecodex-consumer"));
    let denied = Err(RDKafkaErrorCode::TopicAuthorizationFailed);
    assert_eq!(kafka.creates(&bridge, "onecodex.another").await, denied);
    assert_eq!(kafka.creates(&bridge, "elsewhere").await, denied);
    let mut administrator = ClientConfig::new();
    administrator.set("bootstrap.servers", kafka.node.brokers());
    assert_eq!(kafka.creates(&administrator, "elsewhere").await, Ok(()));
    let denied = Err(Some(RDKafkaErrorCode::TopicAuthorizationFailed));
    assert_eq!(writes(&bridge, "onecodex.other").await, Ok(()));
    assert_eq!(writes(&bridge, "elsewhere").await, denied);
    assert_eq!(writes(&consumer, "onecodex.other").await, denied);
    let options = AdminOptions::new().operation_timeout(Some(DEADLINE));
    let client: AdminClient<DefaultClientContext> = bridge.create().expect("a client");
    let deleted = client.delete_topics(&["onecodex.other"], &options).await;
    let deleted = deleted
        .expect("an answer")
        .remove(0)
        .expect_err("not allowed");
    assert_eq!(deleted.1, RDKafkaErrorCode::TopicAuthorizationFailed);
}

/// Without a login by password: the principal is the subject of the client's certificate.
async fn a_certificates_subject_may_be_the_user(kafka: &Deployed) {
    let ca = kafka.authority.certificate().display().to_string();
    let identity = kafka.authority.vouches_for("by-certificate", DAYS);
    let identity = identity.display().to_string();
    let (brokers, sasl) = (
        kafka.mutual.address(),
        "[sink.kafka.sasl]\nmechanism = \"SCRAM-SHA-512\"\nusername = \"hookferry\"\npassword = { file = \"/run/secrets/kafka\" }\n",
    );
    let places = [
        ("kafka-1:9093,kafka-2:9093,kafka-3:9093", brokers.as_str()),
        (sasl, ""),
        ("/etc/hookferry/tls/kafka-ca.pem", ca.as_str()),
        ("# client_certificate_file", "client_certificate_file"),
        ("# client_key_file", "client_key_file"),
        ("/etc/hookferry/tls/hookferry.pem", identity.as_str()),
        ("/etc/hookferry/tls/hookferry.key", identity.as_str()),
    ];
    let (config, _setup) = configured("kafka-production.toml", &places);
    let bridge = Bridge::start(&config).await;
    one_of_each_lane(&bridge).await;
    eventually("it has no right yet", async || {
        let told = bridge.log().contains("authorization failed");
        told.then_some(())
    })
    .await;
    kafka.runs("acls.sh", &[("BRIDGE_PRINCIPAL", "User:CN=by-certificate")]);
    bridge.drained().await;
    is_checked(&config);
}
