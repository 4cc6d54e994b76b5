//! The message: an event on its way to one sink, and the receipt for it.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use super::destination::Destination;
use crate::event::{Content, Event, EventId, Position};
use crate::route::{Lane, Template, event_label, object_key};

/// An event ready to be published. Cloning it is cheap: the event is shared.
#[derive(Debug, Clone)]
pub struct Message {
    position: Position,
    lane: Lane,
    event: Arc<Event>,
}

/// A header of the message: the name without its transport's prefix, and the value.
pub type Attribute<'a> = (&'a str, Cow<'a, str>);

impl Message {
    /// A message for the event that stands at `position`.
    #[must_use]
    pub fn new(position: Position, lane: Lane, event: Arc<Event>) -> Self {
        Self {
            position,
            lane,
            event,
        }
    }

    /// Where its event stands in the spool; the receipt carries it back.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// The event's id: the same for every copy.
    #[must_use]
    pub fn id(&self) -> EventId {
        self.event.id()
    }

    /// The event.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// The key: the object id, or the event's own id where it has none.
    #[must_use]
    pub fn key(&self) -> Cow<'_, str> {
        object_key(&self.event)
    }

    /// The body, as received.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        self.event.body()
    }

    /// The name that a sink's template gives this message.
    #[must_use]
    pub fn name(&self, template: &Template) -> String {
        template.render(&self.event, self.lane)
    }

    /// The name that a sink's template gives this message and its like: what names a single object
    /// or event stays a placeholder, as in `sample.uploaded.{object_id}`. What is filled in holds no
    /// braces: see [`crate::name`].
    #[must_use]
    pub fn shared_name(&self, template: &Template) -> String {
        let name = template.to_string();
        name.replace("{source}", self.event.source().as_str())
            .replace("{event_type}", event_label(&self.event, self.lane))
    }

    /// The closed-set label of its event type.
    #[must_use]
    pub fn label(&self) -> &str {
        event_label(&self.event, self.lane)
    }

    /// The CloudEvents 1.0 context attributes, without a transport's prefix.
    #[must_use]
    pub fn cloud_event(&self) -> Vec<Attribute<'_>> {
        let mut attributes: Vec<Attribute<'_>> = Vec::with_capacity(8);
        attributes.push(("specversion", "1.0".into()));
        attributes.push(("id", self.event.id().to_string().into()));
        attributes.push(("source", self.event.source_uri().into()));
        match self.event.content() {
            Content::Understood(content) => {
                attributes.push(("type", content.event_type.as_str().into()));
                if let Some(object) = &content.object_id {
                    attributes.push(("subject", object.as_str().into()));
                }
                if let Some(time) = content.triggered_at {
                    attributes.push(("time", time.to_string().into()));
                }
            }
            Content::Quarantined(_) => attributes.push(("type", "quarantine".into())),
        }
        for (name, value) in self.event.attributes() {
            attributes.push((name, value.into()));
        }
        attributes
    }

    /// The headers of our own, those that travel from the request, and the trace context; their names
    /// are complete.
    #[must_use]
    pub fn extensions(&self) -> Vec<Attribute<'_>> {
        let mut headers: Vec<Attribute<'_>> = Vec::with_capacity(7);
        headers.push((
            "hookferry-received-at",
            self.event.received_at().to_string().into(),
        ));
        headers.push(("hookferry-origin", self.event.origin().as_str().into()));
        let forwarded = self.event.forwarded();
        if let Some(signature) = &forwarded.signature {
            headers.push(("hookferry-signature", signature.into()));
        }
        if let Some(url) = &forwarded.url {
            headers.push(("hookferry-url", url.into()));
        }
        let unsigned = self.event.unsigned();
        if !unsigned.is_empty() {
            headers.push(("hookferry-unsigned", unsigned.to_string().into()));
        }
        if let Some(events) = self.event.events() {
            headers.push(("hookferry-events", events.to_string().into()));
        }
        for (name, value) in &forwarded.headers {
            headers.push((name, value.into()));
        }
        headers.push(("traceparent", self.event.traceparent().as_str().into()));
        if let Some(state) = self.event.tracestate() {
            headers.push(("tracestate", state.as_str().into()));
        }
        if let Content::Quarantined(quarantine) = self.event.content() {
            headers.push(("hookferry-reason", quarantine.reason.as_str().into()));
            headers.push(("hookferry-detail", quarantine.detail.as_str().into()));
        }
        headers
    }

    /// The receipt for this message, which is now there. Only a sink calls it, once its broker has
    /// confirmed.
    #[must_use]
    pub(in crate::sink) fn receipt(&self, destination: Destination) -> Receipt {
        Receipt {
            position: self.position,
            destination,
        }
    }
}

/// The proof that a sink has a message. Only sinks make one, and the spool forgets an event only
/// for a receipt or a written dead letter.
#[derive(Debug, PartialEq, Eq)]
pub struct Receipt {
    position: Position,
    destination: Destination,
}

impl Receipt {
    /// The receipt of a sink that a test plays.
    #[cfg(test)]
    pub(crate) fn for_test(position: Position) -> Self {
        let destination = Destination::Store {
            topic: "onecodex.sample.uploaded".to_owned(),
            position: position.sequence,
        };
        Self {
            position,
            destination,
        }
    }

    /// What the receipt is for.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Where the message is.
    #[must_use]
    pub fn destination(&self) -> &Destination {
        &self.destination
    }
}
