//! The names a sink's templates give to what a source sends.

use std::collections::HashSet;

use crate::config::SinkKind;
use crate::name::{EventType, SourceName};
use crate::route::{Template, Templates};

/// The names of a source's topics in a sink, or of its addresses where the sink is RabbitMQ. Where
/// a template names single objects, the template stands in for its names.
pub(super) fn of_sink(
    kind: &SinkKind,
    source: &SourceName,
    event_types: &[EventType],
) -> Vec<String> {
    match kind {
        SinkKind::Kafka(kafka) => names(&kafka.topics, source, event_types),
        SinkKind::Store(store) => names(&store.topics, source, event_types),
        SinkKind::RabbitMq(rabbit) => {
            let keys = &rabbit.routing_keys;
            let addressed = |key: &Template| format!("{}/{key}", rabbit.exchange);
            let mut names = [&keys.typed, &keys.other, &keys.quarantine]
                .map(addressed)
                .to_vec();
            names.dedup();
            names
        }
    }
}

fn names(templates: &Templates, source: &SourceName, event_types: &[EventType]) -> Vec<String> {
    let Templates {
        typed,
        other,
        quarantine,
    } = templates;
    let of = |template: &Template, types: &[EventType]| {
        let names = template.names(source, types);
        names.unwrap_or_else(|| vec![template.to_string()])
    };
    // The types of the catch-all are not known beforehand.
    let others = if other.to_string().contains("{event_type}") {
        vec![other.to_string()]
    } else {
        of(other, event_types)
    };
    let quarantined = Vec::from_iter(EventType::parse("quarantine"));
    let mut seen = HashSet::new();
    [of(typed, event_types), others, of(quarantine, &quarantined)]
        .concat()
        .into_iter()
        .filter(|name| seen.insert(name.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn templates(typed: &str, other: &str) -> Templates {
        let parse = |text| Template::parse(text).expect("a template");
        Templates {
            typed: parse(typed),
            other: parse(other),
            quarantine: parse("{source}.quarantine"),
        }
    }

    #[test]
    fn topics_are_named_as_far_as_they_can_be() {
        let source = SourceName::parse("onecodex").expect("a slug");
        let types = [EventType::parse("sample.uploaded").expect("a type")];
        let of = |typed, other| names(&templates(typed, other), &source, &types);
        assert_eq!(
            of("{source}.{event_type}", "{source}.other"),
            [
                "onecodex.sample.uploaded",
                "onecodex.other",
                "onecodex.quarantine"
            ]
        );
        assert_eq!(
            of("by.{object_id}", "{event_type}"),
            ["by.{object_id}", "{event_type}", "onecodex.quarantine"]
        );
        assert_eq!(of("all", "all"), ["all", "onecodex.quarantine"]);
    }
}
