//! The record a message becomes: CloudEvents 1.0, Kafka protocol binding, binary content mode
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md>).
//!
//! The timestamp is left to the client, so that it is the time of publishing: retention by age must
//! not delete a late event at once. When it was triggered is in `ce_time`.

use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::BaseRecord;
use rdkafka::util::IntoOpaque;

use crate::sink::Message;

/// Where the attributes' names go together with their prefix; the longest is `ce_specversion`.
const NAME_BYTES: usize = 32;

/// The headers of a message.
pub(super) fn headers(message: &Message) -> OwnedHeaders {
    let attributes = message.cloud_event();
    let extensions = message.extensions();
    let mut name = String::with_capacity(NAME_BYTES);
    let mut headers = OwnedHeaders::new_with_capacity(attributes.len() + extensions.len() + 1);
    for (attribute, value) in &attributes {
        name.clear();
        name.push_str("ce_");
        name.push_str(attribute);
        headers = headers.insert(header(&name, value));
    }
    if let Some(content_type) = message.event().content_type() {
        headers = headers.insert(header("content-type", &content_type));
    }
    for (extension, value) in &extensions {
        headers = headers.insert(header(extension, value));
    }
    headers
}

fn header<'a, V: AsRef<str>>(key: &'a str, value: &'a V) -> Header<'a, &'a str> {
    Header {
        key,
        value: Some(value.as_ref()),
    }
}

/// The record: the value is the body's bytes. It is always given, because a record without a value
/// is a tombstone; an empty body becomes a value of length zero.
pub(super) fn record<'a, O: IntoOpaque>(
    topic: &'a str,
    key: &'a str,
    message: &'a Message,
    in_flight: O,
) -> BaseRecord<'a, str, [u8], O> {
    BaseRecord::with_opaque_to(topic, in_flight)
        .key(key)
        .payload(&message.body()[..])
        .headers(headers(message))
}
