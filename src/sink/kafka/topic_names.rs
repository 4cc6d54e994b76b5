//! The names of the topics that a sink's templates make of the sources and event types, and those of
//! them that Kafka takes for the same.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::settings::KafkaSettings;
use crate::name::{EventType, SourceName};
use crate::sink::Needs;

/// The topics that the sources' events can go to, as far as the templates tell.
pub(super) fn topic_names(settings: &KafkaSettings, needs: &Needs) -> Vec<String> {
    let of = |(source, types): &(SourceName, Vec<EventType>)| settings.topic.names(source, types);
    let mut names: Vec<String> = needs.sources.iter().filter_map(of).flatten().collect();
    names.sort();
    names.dedup();
    names
}

/// Pairs of topics whose names differ only in `.` and `_`, of which Kafka creates one at most: the names
/// of its metrics for them would be the same.
#[must_use]
pub fn colliding_topics(settings: &KafkaSettings, needs: &Needs) -> Vec<(String, String)> {
    collisions(&topic_names(settings, needs))
}

fn collisions(topics: &[String]) -> Vec<(String, String)> {
    let mut first: HashMap<String, &String> = HashMap::new();
    let mut pairs = Vec::new();
    for topic in topics {
        match first.entry(topic.replace('.', "_")) {
            Entry::Vacant(free) => drop(free.insert(topic)),
            Entry::Occupied(taken) => pairs.push(((*taken.get()).clone(), topic.clone())),
        }
    }
    pairs
}

/// Warns the operator of topics of which Kafka creates one at most.
pub(super) fn warn_of_collisions(topics: &[String]) {
    for (one, other) in collisions(topics) {
        tracing::warn!(%one, %other, "the names of two topics differ only in \".\" and \"_\": Kafka creates one of them at most; change the template of one");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Template;

    #[test]
    fn names_that_kafka_takes_for_the_same_are_found() {
        let topics = ["a.b_c", "a.b.c", "a.b", "a_b", "other"].map(str::to_owned);
        let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
        let expected = [pair("a.b_c", "a.b.c"), pair("a.b", "a_b")];
        assert_eq!(collisions(&topics), expected);
        assert_eq!(collisions(&topics[2..3]), []);
    }

    #[test]
    fn needed_topics_are_those_that_can_be_foretold() {
        let source = SourceName::parse("onecodex").expect("a slug");
        let types = vec![EventType::parse("sample.uploaded").expect("a type")];
        let needs = Needs {
            sources: vec![(source, types)],
        };
        let mut settings = KafkaSettings::new("b:9092");
        let names = [
            "onecodex.other",
            "onecodex.quarantine",
            "onecodex.sample.uploaded",
        ];
        assert_eq!(topic_names(&settings, &needs), names);
        settings.topic = Template::parse("{event_type}.{object_id}").expect("a template");
        assert_eq!(topic_names(&settings, &needs), [""; 0]);
    }
}
