//! The `sink` tables: what all kinds of sinks have in common, and which kind it is.

use std::time::Duration;

use toml::Table;

use super::file::SinkFile;
use super::kafka::KafkaFile;
use super::problem::ConfigProblems;
use super::rabbitmq::RabbitMqFile;
use super::section::{self, join};
use super::settings::{SinkKind, SinkSettings};
use super::store::StoreFile;
use super::value::span;
use crate::name::SinkName;
use crate::pipeline::{DispatcherSettings, RetrySchedule};

/// A broker that restarts is not asked more often than this.
const LEAST_FIRST_DELAY: Duration = Duration::from_millis(100);

/// Reads one sink; none where something is wrong with it.
pub(super) fn sink(
    name: &str,
    mut table: Table,
    problems: &mut ConfigProblems,
) -> Option<SinkSettings> {
    let path = join("sink", name);
    let mut common = Table::new();
    for key in ["type", "max_in_flight", "retry_delay_max"] {
        if let Some(value) = table.remove(key) {
            common.insert(key.to_owned(), value);
        }
    }
    let file: SinkFile = section::read(&path, common, problems);
    let kinds = "name it: \"kafka\", \"rabbitmq\" or \"store\"";
    let kind = match file.kind.as_deref() {
        Some("kafka") => section::read::<KafkaFile>(&path, table, problems)
            .settings(&path, problems)
            .map(|kafka| SinkKind::Kafka(Box::new(kafka))),
        Some("rabbitmq") => section::read::<RabbitMqFile>(&path, table, problems)
            .settings(&path, problems)
            .map(|rabbit| SinkKind::RabbitMq(Box::new(rabbit))),
        Some("store") => section::read::<StoreFile>(&path, table, problems)
            .settings(&path, problems)
            .map(SinkKind::Store),
        Some(other) => {
            problems.add(
                join(&path, "type"),
                format!("there is no sink type {other:?}"),
                kinds,
            );
            None
        }
        None => problems.require(&join(&path, "type"), None, kinds),
    };
    let pace = pace(&path, &file, problems);
    let name = problems.take(&path, SinkName::parse(name), "rename the sink")?;
    Some(SinkSettings {
        name,
        pace,
        kind: kind?,
    })
}

fn pace(path: &str, file: &SinkFile, problems: &mut ConfigProblems) -> DispatcherSettings {
    let max_in_flight = file.max_in_flight.unwrap_or(1024);
    if !(1..=100_000).contains(&max_in_flight) {
        problems.add(
            join(path, "max_in_flight"),
            format!("{max_in_flight} is out of range"),
            "give 1 to 100000",
        );
    }
    let longest = span(file.retry_delay_max, 10);
    let schedule = RetrySchedule {
        first: (longest / 100).max(LEAST_FIRST_DELAY).min(longest),
        longest,
    };
    DispatcherSettings {
        max_in_flight,
        schedule,
    }
}
