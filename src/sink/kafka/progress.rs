//! How the cluster and each partition fare, by the client's statistics: whether a message that timed
//! out did so for its partition's sake, while the cluster is well. Then only what goes to its topic
//! has to wait. The times are arguments.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::statistics::{Broker, Partition, Statistics};

/// What is known of the cluster.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// By the client's names for them: it may know a broker by two.
    brokers: HashMap<String, Responses>,
    topics: HashMap<String, HashMap<i32, Taken>>,
}

/// How a broker answers.
#[derive(Debug, Clone, Copy)]
struct Responses {
    nodeid: Option<i32>,
    is_up: bool,
    received: u64,
    /// When that rose last.
    last: Option<Instant>,
    /// The longest round trip of late, where there was one.
    longest: Option<Duration>,
}

/// What a partition has taken.
#[derive(Debug, Clone, Copy)]
struct Taken {
    leader: i32,
    acknowledged: u64,
    /// When that rose last.
    last: Option<Instant>,
}

impl Progress {
    /// Takes over what the client says.
    pub(super) fn follow(&mut self, statistics: Statistics, now: Instant) {
        let brokers = statistics.brokers.into_iter().map(|(name, broker)| {
            let responses = Responses::of(&broker, self.brokers.get(&name), now);
            (name, responses)
        });
        let brokers = brokers.collect();
        let topics = statistics.topics.into_iter().map(|(name, topic)| {
            let before = self.topics.get(&name);
            let partitions = topic.partitions.into_values();
            let known = partitions.filter(|partition| partition.partition >= 0);
            let taken = known.map(|partition| {
                let before = before.and_then(|of| of.get(&partition.partition));
                (partition.partition, Taken::of(&partition, before, now))
            });
            (name, taken.collect())
        });
        let topics = topics.collect();
        *self = Self { brokers, topics };
    }

    /// Why a message for this partition was not confirmed although the cluster answers, as far as
    /// that is known for the time from `since` until `now`. None where the cluster does not answer,
    /// or is only slow: a broker is prompt where its round trips take a quarter of that time at most.
    pub(super) fn blame(
        &self,
        (topic, partition): (&str, i32),
        (since, now): (Instant, Instant),
    ) -> Option<String> {
        let lately = |at: Option<Instant>| at.is_some_and(|at| at >= since);
        let answers = |broker: &Responses| broker.is_up && lately(broker.last);
        if !self.brokers.values().any(answers) {
            return None;
        }
        let Some(taken) = self.topics.get(topic).and_then(|of| of.get(&partition)) else {
            return Some("none of its partitions is known yet".to_owned());
        };
        if taken.leader < 0 {
            return Some(format!("partition {partition} has no leader"));
        }
        let leader = format!(
            "the leader of partition {partition}, broker {}",
            taken.leader
        );
        let mut brokers = self.brokers.values();
        let leads = |broker: &&Responses| broker.is_up && broker.nodeid == Some(taken.leader);
        let Some(broker) = brokers.find(leads) else {
            return Some(format!("{leader}, is not connected"));
        };
        if lately(taken.last) {
            return None;
        }
        if !answers(broker) {
            return Some(format!("{leader}, does not answer"));
        }
        let prompt = now.saturating_duration_since(since) / 4;
        let is_prompt = broker.longest.is_some_and(|longest| longest <= prompt);
        is_prompt.then(|| {
            format!("{leader}, answers and confirms nothing: too few replicas may be in sync, or its disk may fail")
        })
    }
}

impl Responses {
    fn of(broker: &Broker, before: Option<&Self>, now: Instant) -> Self {
        let received = before.map_or(0, |before| before.received);
        let last = before.and_then(|before| before.last);
        let longest = broker.rtt.and_then(|trips| trips.longest());
        Self {
            nodeid: broker.nodeid,
            is_up: broker.is_up(),
            received: broker.rx,
            last: if broker.rx > received {
                Some(now)
            } else {
                last
            },
            longest: longest.or_else(|| before.and_then(|before| before.longest)),
        }
    }
}

impl Taken {
    fn of(partition: &Partition, before: Option<&Self>, now: Instant) -> Self {
        let acknowledged = before.map_or(0, |before| before.acknowledged);
        let last = before.and_then(|before| before.last);
        Self {
            leader: partition.leader,
            acknowledged: partition.acked_msgid,
            last: if partition.acked_msgid > acknowledged {
                Some(now)
            } else {
                last
            },
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
    /// message waited; then whom the message is blamed on.
    struct Cluster {
        progress: Progress,
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
                progress: Progress::default(),
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
                self.progress.follow(statistics, self.now);
            }
        }

        fn blames(&self, partition: i32) -> Option<String> {
            let since = self.now.checked_sub(WAITED / 2).expect("later than that");
            self.progress.blame(("t", partition), (since, self.now))
        }

        /// The same after `change` and some time, for the partition with a leader.
        fn after(change: impl FnOnce(&mut Self)) -> Option<String> {
            let mut cluster = Self::new();
            change(&mut cluster);
            cluster.passes();
            cluster.blames(1)
        }
    }

    fn assert_says(blame: Option<String>, what: &str) {
        let told = blame.expect("it is for the partition's sake");
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
        assert_says(Cluster::new().blames(-1), "none of its partitions");
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
