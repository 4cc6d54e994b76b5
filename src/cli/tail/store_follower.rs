//! Follows topics of a store through the bridge that has it, by long polling.

use tokio::sync::mpsc::Sender;

use super::Following;
use crate::admin::AdminToken;
use crate::cli::command_error::CommandError;
use crate::cli::store_reader::{StoreEntry, StoreReader, StoreTopic, TopicRead, WAIT};
use crate::sink::FollowedMessage;

/// Follows topics, each on a thread of its own.
#[derive(Debug, Clone)]
pub(super) struct StoreFollower {
    reader: StoreReader,
    from_start: bool,
}

impl StoreFollower {
    /// A follower at this admin listener, which asks for this token if for any.
    pub(super) fn new(admin: &str, token: Option<AdminToken>, from_start: bool) -> Self {
        Self {
            reader: StoreReader::new(admin, token),
            from_start,
        }
    }

    /// Follows these topics; one that does not exist yet is waited for.
    pub(super) fn follow(&self, topics: Vec<String>, seen: &Sender<FollowedMessage>) -> Following {
        let mut following = Following::new();
        for topic in topics {
            let (follower, seen) = (self.clone(), seen.clone());
            following.spawn_blocking(move || {
                follower
                    .follow_one(&topic, &seen)
                    .map_err(|failure| match failure {
                        CommandError::Failed(error) => error,
                        other => anyhow::anyhow!("{other}"),
                    })
            });
        }
        following
    }

    fn follow_one(&self, topic: &str, seen: &Sender<FollowedMessage>) -> Result<(), CommandError> {
        let topics = self.reader.topics()?;
        let mut after = self.begin(topic, &topics);
        while !seen.is_closed() {
            let entries = match self.reader.read(topic, after, WAIT)? {
                TopicRead::Entries(entries) => entries,
                TopicRead::BegunAnew => {
                    eprintln!("hookferry: topic {topic} was begun anew");
                    after = 0;
                    continue;
                }
            };
            for entry in entries {
                after = entry.position;
                if seen.blocking_send(see(topic, entry)?).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The position to begin after.
    fn begin(&self, topic: &str, topics: &[StoreTopic]) -> u64 {
        let known = topics.iter().find(|known| known.name == topic);
        match known {
            Some(known) if !self.from_start => known.last_position,
            _ => 0,
        }
    }
}

fn see(topic: &str, entry: StoreEntry) -> Result<FollowedMessage, CommandError> {
    Ok(FollowedMessage {
        address: topic.to_owned(),
        position: Some(entry.position.to_string()),
        body: entry.bytes()?.into(),
        key: Some(entry.key),
        headers: entry.headers.into_iter().collect(),
    })
}
