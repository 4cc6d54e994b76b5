//! Which brokers answer and which partitions confirm, by the client's statistics: whether a message that
//! timed out did so for its partition alone, while the cluster is well. Then only its topic has to
//! wait.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::statistics::{BrokerStatistics, PartitionStatistics, Statistics};

/// What is known of a cluster.
#[derive(Debug, Default)]
pub(super) struct ClusterHealth {
    /// By the client's names for them: it may know a broker by two.
    brokers: HashMap<String, BrokerHealth>,
    topics: HashMap<String, HashMap<i32, PartitionHealth>>,
}

/// How a broker answers.
#[derive(Debug, Clone, Copy)]
struct BrokerHealth {
    nodeid: Option<i32>,
    is_up: bool,
    responses: Counter,
    /// The longest round trip of late, where there was one.
    longest: Option<Duration>,
}

/// What a partition confirms.
#[derive(Debug, Clone, Copy)]
struct PartitionHealth {
    leader: i32,
    confirmed: Counter,
}

/// A counter of the statistics, and when it rose last.
#[derive(Debug, Clone, Copy, Default)]
struct Counter {
    value: u64,
    risen: Option<Instant>,
}

impl Counter {
    fn updated(self, value: u64, now: Instant) -> Self {
        let risen = if value > self.value {
            Some(now)
        } else {
            self.risen
        };
        Self { value, risen }
    }

    fn has_risen_since(self, since: Instant) -> bool {
        self.risen.is_some_and(|at| at >= since)
    }
}

impl ClusterHealth {
    /// Takes over what the client says.
    pub(super) fn update(&mut self, statistics: Statistics, now: Instant) {
        let brokers = statistics.brokers.into_iter().map(|(name, broker)| {
            let health = BrokerHealth::of(&broker, self.brokers.get(&name), now);
            (name, health)
        });
        let brokers = brokers.collect();
        let topics = statistics.topics.into_iter().map(|(name, topic)| {
            let before = self.topics.get(&name);
            let partitions = topic.partitions.into_values();
            let known = partitions.filter(|partition| partition.partition >= 0);
            let partitions = known.map(|partition| {
                let before = before.and_then(|of| of.get(&partition.partition));
                let health = PartitionHealth::of(&partition, before, now);
                (partition.partition, health)
            });
            (name, partitions.collect())
        });
        let topics = topics.collect();
        *self = Self { brokers, topics };
    }

    /// Why this partition confirmed nothing from `since` until `now` although the cluster answers. None
    /// where the cluster does not answer, or is only slow: a broker is prompt where its round trips
    /// take a quarter of that time at most.
    pub(super) fn partition_fault(
        &self,
        (topic, partition): (&str, i32),
        (since, now): (Instant, Instant),
    ) -> Option<String> {
        if !self.brokers.values().any(|broker| broker.answers(since)) {
            return None;
        }
        let Some(health) = self.topics.get(topic).and_then(|of| of.get(&partition)) else {
            return Some("none of its partitions is known yet".to_owned());
        };
        if health.leader < 0 {
            return Some(format!("partition {partition} has no leader"));
        }
        let leader = format!(
            "the leader of partition {partition}, broker {}",
            health.leader
        );
        let mut brokers = self.brokers.values();
        let leads = |broker: &&BrokerHealth| broker.is_up && broker.nodeid == Some(health.leader);
        let Some(broker) = brokers.find(leads) else {
            return Some(format!("{leader}, is not connected"));
        };
        if health.confirmed.has_risen_since(since) {
            return None;
        }
        if !broker.answers(since) {
            return Some(format!("{leader}, does not answer"));
        }
        let prompt = now.saturating_duration_since(since) / 4;
        let is_prompt = broker.longest.is_some_and(|longest| longest <= prompt);
        is_prompt.then(|| {
            format!("{leader}, answers and confirms nothing: too few replicas may be in sync, or its disk may fail")
        })
    }
}

impl BrokerHealth {
    fn of(broker: &BrokerStatistics, before: Option<&Self>, now: Instant) -> Self {
        let responses = before.map_or_else(Counter::default, |before| before.responses);
        let longest = broker.rtt.and_then(|trips| trips.longest());
        Self {
            nodeid: broker.nodeid,
            is_up: broker.is_up(),
            responses: responses.updated(broker.rx, now),
            longest: longest.or_else(|| before.and_then(|before| before.longest)),
        }
    }

    fn answers(&self, since: Instant) -> bool {
        self.is_up && self.responses.has_risen_since(since)
    }
}

impl PartitionHealth {
    fn of(partition: &PartitionStatistics, before: Option<&Self>, now: Instant) -> Self {
        let confirmed = before.map_or_else(Counter::default, |before| before.confirmed);
        Self {
            leader: partition.leader,
            confirmed: confirmed.updated(partition.acked_msgid, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest round trip to a prompt broker, and to one behind a slow network, in microseconds.
    const PROMPT: u64 = 2_000;
    const SLOW: u64 = 1_900_000;
    /// What the message had waited for when it timed out, and the part of it that is looked at.
    const WAITED: Duration = Duration::from_secs(5);

    /// What two brokers say, the second of which leads partition 1 of the topic, for as long as a
    /// message waited; then whose fault that is.
    struct Cluster {
        health: ClusterHealth,
        now: Instant,
        ticks: u64,
        /// Of the second broker.
        state: &'static str,
        leader: i32,
        answers: [bool; 2],
        takes: bool,
        longest_us: u64,
    }

    impl Cluster {
        fn new() -> Self {
            let mut cluster = Self {
                health: ClusterHealth::default(),
                now: Instant::now(),
                ticks: 0,
                state: "UP",
                leader: 2,
                answers: [true; 2],
                takes: true,
                longest_us: PROMPT,
            };
            cluster.passes();
            cluster
        }

        fn passes(&mut self) {
            for _ in 0..=WAITED.as_secs() {
                self.ticks += 1;
                self.now += Duration::from_secs(1);
                let counts = self.answers.map(|answers| u64::from(answers) * self.ticks);
                let text = format!(
                    r#"{{"brokers":{{
                        "a":{{"state":"UP","source":"learned","connects":1,"nodeid":1,"rx":{},"rtt":{{"min":1,"max":{longest},"cnt":3}}}},
                        "b":{{"state":"{}","source":"learned","connects":1,"nodeid":2,"rx":{},"rtt":{{"min":1,"max":{longest},"cnt":3}}}}
                    }},"topics":{{"t":{{"partitions":{{
                        "1":{{"partition":1,"leader":{},"acked_msgid":{}}},
                        "-1":{{"partition":-1,"leader":-1,"acked_msgid":0}}
                    }}}}}}}}"#,
                    counts[0],
                    self.state,
                    counts[1],
                    self.leader,
                    if self.takes { self.ticks } else { 1 },
                    longest = self.longest_us,
                );
                let statistics = serde_json::from_str(&text).expect("statistics");
                self.health.update(statistics, self.now);
            }
        }

        fn fault(&self, partition: i32) -> Option<String> {
            let since = self.now.checked_sub(WAITED / 2).expect("later than that");
            self.health
                .partition_fault(("t", partition), (since, self.now))
        }

        /// The same after `change` and some time, for the partition with a leader.
        fn after(change: impl FnOnce(&mut Self)) -> Option<String> {
            let mut cluster = Self::new();
            change(&mut cluster);
            cluster.passes();
            cluster.fault(1)
        }
    }

    fn assert_says(fault: Option<String>, what: &str) {
        let told = fault.expect("it is for the partition's sake");
        assert!(told.contains(what), "{told}");
    }

    #[test]
    fn a_partition_that_takes_nothing_in_a_cluster_that_answers_is_to_blame() {
        assert_says(Cluster::after(|it| it.leader = -1), "has no leader");
        let gone = Cluster::after(|it| (it.state, it.answers[1]) = ("TRY_CONNECT", false));
        assert_says(gone, "broker 2, is not connected");
        let frozen = Cluster::after(|it| (it.takes, it.answers[1]) = (false, false));
        assert_says(frozen, "broker 2, does not answer");
        assert_says(Cluster::after(|it| it.takes = false), "confirms nothing");
        assert_says(Cluster::new().fault(-1), "none of its partitions");
    }

    #[test]
    fn a_cluster_that_is_silent_or_slow_is_no_partitions_fault() {
        assert_eq!(Cluster::after(|_| ()), None);
        let silent = Cluster::after(|it| (it.takes, it.answers) = (false, [false; 2]));
        assert_eq!(silent, None);
        let none = Cluster::after(|it| (it.leader, it.answers) = (-1, [false; 2]));
        assert_eq!(none, None);
        let slow = Cluster::after(|it| (it.takes, it.longest_us) = (false, SLOW));
        assert_eq!(slow, None);
    }
}
