//! The task that creates missing topics, where the configuration asks for it: at the start those that
//! the routes need, later whatever a publish found missing. No publish waits for it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode as Code;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::client_config::start_client;
use super::client_context::KafkaClientContext;
use super::error_code::code_of;
use super::settings::{KafkaSettings, TopicShape};
use crate::seeded::{self, Bug};

const REQUEST_DEADLINE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How many topics may wait in the channel to the task, and as many in the task. What finds no place is
/// asked for again by the next publish.
const MAX_PENDING: usize = 256;
/// Of how many topics the last refusal is remembered, so that it is logged once.
const MAX_REFUSALS: usize = 1024;

/// The handle of the task, which dropping it stops.
#[derive(Debug)]
pub(super) struct TopicCreation {
    requests: mpsc::Sender<String>,
    task: AbortHandle,
}

impl TopicCreation {
    /// Starts with these topics.
    pub(super) fn start(
        settings: &Arc<ArcSwap<KafkaSettings>>,
        shape: TopicShape,
        topics: Vec<String>,
    ) -> Self {
        let (requests, requested) = mpsc::channel(MAX_PENDING);
        let mut creator = TopicCreator {
            settings: Arc::clone(settings),
            shape,
            pending: topics.into_iter().collect(),
            requested,
            refusals: TopicRefusals::default(),
            pause: FIRST_PAUSE,
        };
        let task = tokio::spawn(async move { while creator.step().await {} });
        Self {
            requests,
            task: task.abort_handle(),
        }
    }

    /// Asks for a topic; returns at once.
    pub(super) fn request(&self, topic: &str) {
        // A full channel is made good by the next publish; the end of the task is noticed by `ended`.
        let _ = self.requests.try_send(topic.to_owned());
    }

    /// Returns when the task has ended.
    pub(super) async fn ended(&self) {
        self.requests.closed().await;
    }

    /// Stops.
    pub(super) fn stop(&self) {
        self.task.abort();
    }
}

impl Drop for TopicCreation {
    fn drop(&mut self) {
        self.stop();
    }
}

struct TopicCreator {
    settings: Arc<ArcSwap<KafkaSettings>>,
    shape: TopicShape,
    pending: BTreeSet<String>,
    requested: mpsc::Receiver<String>,
    refusals: TopicRefusals,
    pause: Duration,
}

impl TopicCreator {
    /// Waits for something to create and tries it once. False when nobody can ask any more.
    async fn step(&mut self) -> bool {
        if self.pending.is_empty() {
            let Some(topic) = self.requested.recv().await else {
                return false;
            };
            self.pending.insert(topic);
        }
        while self.pending.len() < MAX_PENDING
            && let Ok(topic) = self.requested.try_recv()
        {
            self.pending.insert(topic);
        }
        let topics: Vec<String> = self.pending.iter().cloned().collect();
        seeded::panic_over(Bug::PanicInTopicCreation, topics.concat().as_bytes());
        let (settings, shape) = (self.settings.load_full(), self.shape);
        let created = tokio::task::spawn_blocking(move || create(&settings, shape, &topics)).await;
        match created {
            Ok(outcomes) => outcomes
                .into_iter()
                .for_each(|(topic, code)| self.settle(&topic, code)),
            Err(error) => tracing::error!(%error, "creating topics failed"),
        }
        self.back_off().await;
        true
    }

    /// Pauses while something is still pending, longer each time.
    async fn back_off(&mut self) {
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
                self.log_once(topic, code, "a topic cannot be created yet");
                return;
            }
            code => self.log_once(topic, code, "a topic cannot be created"),
        }
        if matches!(code, Code::NoError | Code::TopicAlreadyExists) {
            self.refusals.forget(topic);
        }
        self.pending.remove(topic);
    }

    fn log_once(&mut self, topic: &str, code: Code, what: &str) {
        if self.refusals.is_news(topic, code) {
            tracing::warn!(topic, error = %code, remedy = remedy(code, self.shape), "{what}");
        }
    }
}

/// The last refusal of each topic.
#[derive(Debug, Default)]
struct TopicRefusals {
    known: HashMap<String, Code>,
    /// The same topics, the oldest first.
    order: VecDeque<String>,
}

impl TopicRefusals {
    /// Whether this refusal differs from the topic's last one; notes it.
    fn is_news(&mut self, topic: &str, code: Code) -> bool {
        let before = self.known.insert(topic.to_owned(), code);
        if before.is_none() {
            self.order.push_back(topic.to_owned());
        }
        if self.order.len() > MAX_REFUSALS
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

/// What an operator does about a refusal, of which the client tells the code alone.
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
fn create(
    settings: &Arc<KafkaSettings>,
    shape: TopicShape,
    topics: &[String],
) -> Vec<(String, Code)> {
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
        let context = KafkaClientContext(Arc::clone(settings));
        let client: AdminClient<KafkaClientContext> = start_client(&settings.admin(), context)?;
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
        let mut refusals = TopicRefusals::default();
        assert!(refusals.is_news("t", Code::PolicyViolation));
        assert!(!refusals.is_news("t", Code::PolicyViolation));
        assert!(refusals.is_news("t", Code::InvalidPartitions), "another");
        refusals.forget("t");
        assert!(refusals.is_news("t", Code::InvalidPartitions), "mended");
        for number in 0..2 * MAX_REFUSALS {
            assert!(refusals.is_news(&number.to_string(), Code::PolicyViolation));
        }
        let counts = (refusals.known.len(), refusals.order.len());
        assert_eq!(counts, (MAX_REFUSALS, MAX_REFUSALS));
    }
}
