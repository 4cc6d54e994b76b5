//! `tail`: follows a topic of a configured sink, whatever the sink is.

mod event_line;
mod store_follower;

use anyhow::anyhow;
use clap::Args;
use tokio::sync::mpsc::{self, Sender};
use tokio::task::JoinSet;

use super::admin_arguments::AdminArguments;
use super::command_error::CommandError;
use super::config_file::ConfigFile;
use super::output::Output;
use super::runtime::block_on;
use super::signals::Signals;
use super::topics;
use crate::config::{Settings, SinkKind};
use crate::sink::kafka::{self, KafkaSettings};
use crate::sink::{FollowedMessage, rabbitmq};
use event_line::EventLine;

/// How many events may wait for the terminal.
const WAITING: usize = 256;

/// Follow a topic of a configured sink.
#[derive(Debug, Args)]
#[command(
    after_help = "TOPIC is a topic of a store or of Kafka; for RabbitMQ it is a binding key such as analysis.#.
Without it, every topic that the configuration can name is followed. Nothing is taken away from any
consumer. An event is one line: topic, position, type, key, id, received at. Ctrl-C ends it.

Examples:
  hookferry tail --config hookferry.toml --sink store
  hookferry tail --config hookferry.toml --sink store onecodex.sample.uploaded --from-start --json | jq .body
  hookferry tail --config hookferry.toml --sink kafka onecodex.analysis.failed --count 1 --body
  hookferry tail --config hookferry.toml --sink rabbitmq 'analysis.*.*'"
)]
pub(super) struct TailCommand {
    #[command(flatten)]
    config: ConfigFile,
    /// The sink, as the configuration names it.
    #[arg(long, value_name = "NAME")]
    sink: String,
    /// The topic, or RabbitMQ's binding key.
    topic: Option<String>,
    /// Begin with what is there already; an exchange of RabbitMQ keeps nothing.
    #[arg(long)]
    from_start: bool,
    /// End after this many events.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Each event as a JSON object, with its headers and its body.
    #[arg(long)]
    json: bool,
    /// Each event's body on a line after it.
    #[arg(long, conflicts_with = "json")]
    body: bool,
    #[command(flatten)]
    admin: AdminArguments,
}

/// What follows; each ends with why it could not go on.
type Following = JoinSet<anyhow::Result<()>>;

impl TailCommand {
    pub(super) fn run(&self) -> Result<(), CommandError> {
        let settings = self.config.load()?;
        block_on(async {
            let mut signals = Signals::new()?;
            let (seen, received) = mpsc::channel(WAITING);
            let following = self.follow(&settings, &seen)?;
            drop(seen);
            tokio::select! {
                shown = self.show(received, following) => shown,
                () = signals.stop() => Ok(()),
            }
        })
    }

    /// Starts following; what is seen comes to `seen`.
    fn follow(
        &self,
        settings: &Settings,
        seen: &Sender<FollowedMessage>,
    ) -> Result<Following, CommandError> {
        let sinks = &settings.sinks;
        let sink = sinks.iter().find(|sink| sink.name.as_str() == self.sink);
        let kind = sink.map(|sink| &sink.kind).ok_or_else(|| {
            let names: Vec<&str> = sinks.iter().map(|sink| sink.name.as_str()).collect();
            let text = format!(
                "there is no sink {}; there are {}",
                self.sink,
                names.join(", ")
            );
            CommandError::Usage(text)
        })?;
        match kind {
            SinkKind::Store(_) => {
                let (url, token) = self.admin.read(settings)?;
                let follower = store_follower::StoreFollower::new(&url, token, self.from_start);
                Ok(follower.follow(self.topics(settings, kind)?, seen))
            }
            SinkKind::Kafka(kafka) => {
                let topics = self.topics(settings, kind)?;
                Ok(follow_kafka(kafka, topics, self.from_start, seen))
            }
            SinkKind::RabbitMq(_) if self.from_start => Err(CommandError::Usage(
                "--from-start: an exchange keeps nothing, so only what comes can be seen".into(),
            )),
            SinkKind::RabbitMq(rabbit) => {
                let binding = self.topic.as_deref().unwrap_or("#");
                follow_rabbitmq(rabbit, binding, settings, seen)
            }
        }
    }

    /// The topics to follow: the one given, or all that can be named beforehand.
    fn topics(&self, settings: &Settings, kind: &SinkKind) -> Result<Vec<String>, CommandError> {
        if let Some(topic) = &self.topic {
            return Ok(vec![topic.clone()]);
        }
        let of = |source: &crate::config::SourceSettings| {
            topics::of_sink(kind, &source.source.name, &source.event_types)
        };
        let mut topics: Vec<String> = settings.sources.iter().flat_map(of).collect();
        topics.retain(|topic| !topic.contains('{'));
        topics.sort();
        topics.dedup();
        if topics.is_empty() {
            let text = "the topics of this sink depend on the events: name one";
            return Err(CommandError::Usage(text.into()));
        }
        Ok(topics)
    }

    /// Prints what comes, until enough has come or nothing is followed any more.
    async fn show(
        &self,
        mut received: mpsc::Receiver<FollowedMessage>,
        mut following: Following,
    ) -> Result<(), CommandError> {
        let mut output = Output::new();
        let mut left = self.count.unwrap_or(u64::MAX);
        while left > 0 {
            tokio::select! {
                // What has been seen is shown before it is said that no more will come.
                biased;
                Some(seen) = received.recv() => {
                    self.print(&seen, &mut output)?;
                    left -= 1;
                }
                Some(ended) = following.join_next() => self.ended(ended, &following)?,
                else => return Ok(()),
            }
        }
        Ok(())
    }

    fn print(&self, seen: &FollowedMessage, output: &mut Output) -> Result<(), CommandError> {
        let line = EventLine::of(seen);
        if self.json {
            return output.json(&line);
        }
        output.line(&line)?;
        if self.body {
            output.line(String::from_utf8_lossy(&seen.body))?;
        }
        Ok(())
    }

    /// One of several topics may not be there yet; the last that ends is the end.
    fn ended(
        &self,
        ended: Result<anyhow::Result<()>, tokio::task::JoinError>,
        following: &Following,
    ) -> Result<(), CommandError> {
        let error = match ended {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(error) => anyhow!(error),
        };
        if self.topic.is_some() || following.is_empty() {
            return Err(CommandError::Failed(error));
        }
        eprintln!("hookferry: {error:#}");
        Ok(())
    }
}

fn follow_kafka(
    settings: &KafkaSettings,
    topics: Vec<String>,
    from_start: bool,
    seen: &Sender<FollowedMessage>,
) -> Following {
    let mut following = Following::new();
    for topic in topics {
        let (settings, seen) = (settings.clone(), seen.clone());
        following.spawn(async move {
            kafka::tail(&settings, &topic, from_start, seen).await?;
            Ok(())
        });
    }
    following
}

fn follow_rabbitmq(
    rabbit: &rabbitmq::RabbitMqSettings,
    binding: &str,
    settings: &Settings,
    seen: &Sender<FollowedMessage>,
) -> Result<Following, CommandError> {
    let of = |source: &crate::config::SourceSettings| {
        rabbit.exchanges(&source.source.name, &source.event_types)
    };
    let mut exchanges: Vec<String> = settings.sources.iter().flat_map(of).collect();
    exchanges.sort();
    exchanges.dedup();
    if exchanges.is_empty() {
        let text = "the exchanges of this sink depend on the events, so none can be followed";
        return Err(CommandError::Usage(text.into()));
    }
    let mut following = Following::new();
    for exchange in exchanges {
        let (rabbit, binding, seen) = (rabbit.clone(), binding.to_owned(), seen.clone());
        following.spawn(async move {
            rabbitmq::follow(&rabbit, &exchange, &binding, seen).await?;
            Ok(())
        });
    }
    Ok(following)
}
