//! Makes missing topics, where the configuration asks for it: at the start those the routes need,
//! later whatever a publish found missing. It works beside the publishes, never in their way.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::settings::{Settings, TopicShape};
use super::verdict::code_of;
use super::watch::Quiet;
use crate::seeded::{self, Bug};

const REQUEST_DEADLINE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How many topics may wait to be asked for, twice: on their way to the task, and in it. What finds
/// no room is asked for again by the next try.
const WAITING: usize = 256;
/// Of how many topics is remembered what was said; of more, the first may be told again.
const MOST_REFUSALS: usize = 1024;

/// The handle: dropping it stops the task.
#[derive(Debug)]
pub(super) struct Creation {
    wanted: mpsc::Sender<String>,
    task: AbortHandle,
}

impl Creation {
    /// Starts with these topics.
    pub(super) fn start(
        settings: &Arc<ArcSwap<Settings>>,
        shape: TopicShape,
        topics: Vec<String>,
    ) -> Self {
        let (wanted, asked) = mpsc::channel(WAITING);
        let mut creator = Creator {
            settings: Arc::clone(settings),
            shape,
            pending: topics.into_iter().collect(),
            asked,
            refusals: Refusals::default(),
            pause: FIRST_PAUSE,
        };
        let task = tokio::spawn(async move { while creator.step().await {} });
        Self {
            wanted,
            task: task.abort_handle(),
        }
    }

    /// Asks for a topic; returns at once.
    pub(super) fn want(&self, topic: &str) {
        // Without room it is asked for again by the next try, and the end of the task is noticed
        // by `ended`.
        let _ = self.wanted.try_send(topic.to_owned());
    }

    /// Returns when the task has ended.
    pub(super) async fn ended(&self) {
        self.wanted.closed().await;
    }

    /// Stops.
    pub(super) fn stop(&self) {
        self.task.abort();
    }
}

impl Drop for Creation {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Creator {
    settings: Arc<ArcSwap<Settings>>,
    shape: TopicShape,
    pending: BTreeSet<String>,
    asked: mpsc::Receiver<String>,
    refusals: Refusals,
    pause: Duration,
}

impl Creator {
    /// Waits for something to create and tries it once. False when nobody can ask any more.
    async fn step(&mut self) -> bool {
        if self.pending.is_empty() {
            let Some(topic) = self.asked.recv().await else {
                return false;
            };
            self.pending.insert(topic);
        }
        while self.pending.len() < WAITING
            && let Ok(topic) = self.asked.try_recv()
        {
            self.pending.insert(topic);
        }
        let topics: Vec<String> = self.pending.iter().cloned().collect();
        seeded::panic_over(Bug::PanicInTopicCreation, topics.concat().as_bytes());
        let (settings, shape) = (self.settings.load_full(), self.shape);
        let asked = tokio::task::spawn_blocking(move || create(&settings, shape, &topics)).await;
        match asked {
            Ok(outcomes) => outcomes
                .into_iter()
                .for_each(|(topic, code)| self.settle(&topic, code)),
            Err(error) => tracing::error!(%error, "creating topics failed"),
        }
        self.rest().await;
        true
    }

    /// What is still pending waits for a broker; so does the task, longer each time.
    async fn rest(&mut self) {
        if self.pending.is_empty() {
            self.pause = FIRST_PAUSE;
            return;
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    fn settle(&mut self, topic: &str, code: Code) {
        match code {
            Code::NoError => {
                tracing::info!(
                    topic,
                    partitions = self.shape.partitions,
                    replication = self.shape.replication,
                    "created a topic"
                );
            }
            Code::TopicAlreadyExists => {}
            code if is_transient(code) => {
                self.say_once(topic, code, "a topic cannot be created yet");
                return;
            }
            code => self.say_once(topic, code, "a topic cannot be created"),
        }
        if matches!(code, Code::NoError | Code::TopicAlreadyExists) {
            self.refusals.forget(topic);
        }
        self.pending.remove(topic);
    }

    fn say_once(&mut self, topic: &str, code: Code, what: &str) {
        if self.refusals.is_news(topic, code) {
            tracing::warn!(topic, error = %code, remedy = remedy(code, self.shape), "{what}");
        }
    }
}

/// What was last said about a topic, so that it is said once.
#[derive(Debug, Default)]
struct Refusals {
    known: HashMap<String, Code>,
    /// The same topics, oldest first.
    order: VecDeque<String>,
}

impl Refusals {
    /// Whether this is new about the topic; from now on it is not.
    fn is_news(&mut self, topic: &str, code: Code) -> bool {
        let before = self.known.insert(topic.to_owned(), code);
        if before.is_none() {
            self.order.push_back(topic.to_owned());
        }
        if self.order.len() > MOST_REFUSALS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        before != Some(code)
    }

    fn forget(&mut self, topic: &str) {
        if self.known.remove(topic).is_some() {
            self.order.retain(|known| known != topic);
        }
    }
}

/// What an operator does about a refusal. The client tells the code alone, and the broker's own
/// sentence stands in the broker's log.
fn remedy(code: Code, shape: TopicShape) -> String {
    match code {
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => {
            "grant the bridge's user Create on the topic, or create the topic by hand".to_owned()
        }
        Code::InvalidReplicationFactor => format!(
            "the cluster has fewer than {} brokers that take part: lower `create_topics.replication`, or start more",
            shape.replication
        ),
        Code::InvalidPartitions => {
            "change `create_topics.partitions` to what the cluster allows".to_owned()
        }
        Code::PolicyViolation => {
            "the cluster's create.topic.policy wants another shape: change `create_topics`, or create the topic by hand".to_owned()
        }
        Code::InvalidTopic => {
            "the name is not allowed, or differs from a topic's that is there only in \".\" and \"_\": change the template".to_owned()
        }
        Code::InvalidConfig => {
            "the cluster does not allow `create_topics.min_insync_replicas`: change it, or create the topic by hand".to_owned()
        }
        _ => "the broker's log says more".to_owned(),
    }
}

/// Whether waiting may help. All else (a right, a policy, too few brokers) is asked for again only
/// when a publish needs the topic.
fn is_transient(code: Code) -> bool {
    matches!(
        code,
        Code::OperationTimedOut
            | Code::TimedOutQueue
            | Code::RequestTimedOut
            | Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::BrokerNotAvailable
            | Code::NotController
            | Code::NetworkException
            | Code::ThrottlingQuotaExceeded
            | Code::Resolve
            | Code::Fail
    )
}

/// Asks for the topics and waits for the answer. Blocks, the end of the client included.
fn create(settings: &Arc<Settings>, shape: TopicShape, topics: &[String]) -> Vec<(String, Code)> {
    let min_insync = shape.min_insync_replicas.to_string();
    let new_topics: Vec<NewTopic<'_>> = topics
        .iter()
        .map(|topic| {
            let replication = TopicReplication::Fixed(i32::from(shape.replication));
            NewTopic::new(topic, i32::from(shape.partitions), replication)
                .set("min.insync.replicas", &min_insync)
        })
        .collect();
    let outcome = || -> Result<_, KafkaError> {
        let client: AdminClient<Quiet> = settings
            .admin()
            .create_with_context(Quiet(Arc::clone(settings)))?;
        let options = AdminOptions::new()
            .request_timeout(Some(REQUEST_DEADLINE))
            .operation_timeout(Some(REQUEST_DEADLINE));
        tokio::runtime::Handle::current().block_on(client.create_topics(&new_topics, &options))
    };
    match outcome() {
        Ok(results) => results
            .into_iter()
            .map(|result| match result {
                Ok(topic) => (topic, Code::NoError),
                Err((topic, code)) => (topic, code),
            })
            .collect(),
        Err(error) => {
            let code = code_of(&error);
            topics.iter().map(|topic| (topic.clone(), code)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_news_once_and_not_too_many_are_remembered() {
        let mut refusals = Refusals::default();
        assert!(refusals.is_news("t", Code::PolicyViolation));
        assert!(!refusals.is_news("t", Code::PolicyViolation));
        assert!(refusals.is_news("t", Code::InvalidPartitions), "another");
        refusals.forget("t");
        assert!(refusals.is_news("t", Code::InvalidPartitions), "mended");
        for number in 0..2 * MOST_REFUSALS {
            assert!(refusals.is_news(&number.to_string(), Code::PolicyViolation));
        }
        let counts = (refusals.known.len(), refusals.order.len());
        assert_eq!(counts, (MOST_REFUSALS, MOST_REFUSALS));
    }
}
