//! The names a sink's templates give to what a source sends.

use crate::config::SinkKind;
use crate::name::{EventType, SourceName};
use crate::route::Template;

/// The names of a source's topics in a sink, or of its addresses where the sink is RabbitMQ. Where
/// a template names single objects, the template stands in for its names.
pub(super) fn of_sink(
    kind: &SinkKind,
    source: &SourceName,
    event_types: &[EventType],
) -> Vec<String> {
    match kind {
        SinkKind::Kafka(kafka) => names(&kafka.topic, source, event_types),
        SinkKind::Store(store) => names(&store.topic, source, event_types),
        SinkKind::RabbitMq(rabbit) => vec![format!("{}/{}", rabbit.exchange, rabbit.routing_key)],
    }
}

fn names(template: &Template, source: &SourceName, event_types: &[EventType]) -> Vec<String> {
    let names = template.names(source, event_types);
    names.unwrap_or_else(|| vec![template.to_string()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_named_as_far_as_they_can_be() {
        let source = SourceName::parse("onecodex").expect("a slug");
        let types = [EventType::parse("sample.uploaded").expect("a type")];
        let of = |text| {
            let template = Template::parse(text).expect("a template");
            names(&template, &source, &types)
        };
        assert_eq!(
            of("{source}.{event_type}"),
            [
                "onecodex.sample.uploaded",
                "onecodex.other",
                "onecodex.quarantine"
            ]
        );
        assert_eq!(of("by.{object_id}"), ["by.{object_id}"]);
        assert_eq!(of("all"), ["all"]);
    }
}
