//! A message in AMQP's terms: the CloudEvents attributes as headers with the prefix that the
//! CloudEvents AMQP binding gives them, and AMQP's own properties where it has some.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};

use crate::event::Content;
use crate::sink::Message;

/// AMQP 0-9-1: the broker writes the message to disk before it confirms.
const PERSISTENT: u8 = 2;

/// The properties of a message.
pub(super) fn properties(message: &Message) -> BasicProperties {
    let event = message.event();
    let mut properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_message_id(message.id().to_string().into())
        .with_app_id("hookferry".into())
        .with_headers(headers(message));
    let content_type = event.content_type().map(ShortString::try_new);
    if let Some(Ok(content_type)) = content_type {
        properties = properties.with_content_type(content_type);
    }
    match event.content() {
        Content::Understood(content) => {
            let properties = properties.with_type(content.event_type.as_str().into());
            let seconds = content
                .triggered_at
                .map(|time| u64::try_from(time.as_second()));
            match seconds {
                Some(Ok(seconds)) => properties.with_timestamp(seconds),
                _ => properties,
            }
        }
        Content::Quarantined(_) => properties.with_type("quarantine".into()),
    }
}

fn headers(message: &Message) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in message.cloud_event() {
        let mut key = String::with_capacity(12 + name.len());
        key.push_str("cloudEvents_");
        key.push_str(name);
        table.insert(key.into(), text(value.into_owned()));
    }
    for (name, value) in message.extensions() {
        table.insert(name.into(), text(value.into_owned()));
    }
    table
}

fn text(value: String) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value.into_bytes()))
}
