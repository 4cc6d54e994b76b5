//! librdkafka's own cluster in memory: for what a healthy broker does not do by itself, and for
//! connections that shall break, because a real Kafka names its own address to its clients, so that
//! no proxy stays in between.

use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

const PARTITIONS: i32 = 3;

/// The cluster; dropping it ends it.
pub struct MockKafka {
    cluster: MockCluster<'static, DefaultProducerContext>,
    members: i32,
    topics: Vec<String>,
}

impl MockKafka {
    /// So many brokers, with every topic that the source needs.
    pub fn with_topics_of(source: &str, members: i32) -> Self {
        let cluster = MockCluster::new(members).expect("a cluster");
        let lanes = [
            "sample.uploaded",
            "analysis.succeeded",
            "analysis.failed",
            "other",
            "quarantine",
        ];
        let topics = lanes.map(|lane| format!("{source}.{lane}"));
        for topic in &topics {
            cluster
                .create_topic(topic, PARTITIONS, members)
                .expect("a topic");
        }
        Self {
            cluster,
            members,
            topics: topics.into(),
        }
    }

    pub fn brokers(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// Every broker ends its connections and takes none.
    pub fn leaves(&self) {
        self.each(|member| self.cluster.broker_down(member));
    }

    /// The brokers are there again.
    pub fn comes_back(&self) {
        self.each(|member| self.cluster.broker_up(member));
    }

    /// Whatever is asked is done, and the answer takes longer than anybody waits.
    pub fn falls_silent(&self) {
        self.each(|member| {
            self.cluster
                .broker_round_trip_time(member, Duration::from_secs(3600))
        });
    }

    /// Answers come again.
    pub fn speaks(&self) {
        self.each(|member| self.cluster.broker_round_trip_time(member, Duration::ZERO));
    }

    /// Every partition gets another leader than in the round before.
    pub fn elects(&self, round: i32) {
        for topic in &self.topics {
            for partition in 0..PARTITIONS {
                let leader = (round + partition) % self.members + 1;
                self.cluster
                    .partition_leader(topic, partition, Some(leader))
                    .expect("moved");
            }
        }
    }

    /// No partition of this topic has a leader.
    pub fn has_no_leaders(&self, topic: &str) {
        for partition in 0..PARTITIONS {
            self.cluster
                .partition_leader(topic, partition, None)
                .expect("a topic of ours");
        }
    }

    /// The next requests to write are answered with these errors, one each.
    pub fn refuses(&self, errors: &[RDKafkaRespErr]) {
        self.cluster.request_errors(RDKafkaApiKey::Produce, errors);
    }

    /// No request to write is refused any more.
    pub fn takes_all(&self) {
        self.cluster.clear_request_errors(RDKafkaApiKey::Produce);
    }

    fn each(&self, tell: impl Fn(i32) -> rdkafka::error::KafkaResult<()>) {
        for member in 1..=self.members {
            tell(member).expect("a broker of ours");
        }
    }
}
