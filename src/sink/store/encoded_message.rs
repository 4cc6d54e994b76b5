//! A message as the log keeps it, before it is written and after it is read.
//!
//! A record is the topic's name, the position in it, when it was stored (milliseconds since 1970),
//! the event's id, the key, the headers as a count and as many pairs of name and value, and the body
//! up to the end. Every record names its topic itself, so no damage elsewhere makes it unreadable.

use bytes::Bytes;

use super::stored_message::StoredMessage;
use crate::log::codec::{Decoder, put, put_bytes};
use crate::route::Template;
use crate::sink::Message;

/// What is written for one message, made before it waits for its batch.
#[derive(Debug)]
pub(super) struct EncodedMessage {
    /// The topic's name.
    pub topic: String,
    /// Id, key and headers, as the record has them.
    fields: Vec<u8>,
    /// The body, as received.
    pub body: Bytes,
    /// The position it was written with before, where a start found it.
    pub position: Option<u64>,
}

/// Which message a record holds: what is needed to find it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordHead<'a> {
    pub topic: &'a str,
    pub position: u64,
    pub stored_ms: u64,
}

impl EncodedMessage {
    /// Encodes a message. The headers' names are those of the Kafka sink, so that a consumer can
    /// change over without a new parser.
    pub fn of(message: &Message, topic: &Template) -> Self {
        let (attributes, extensions) = (message.cloud_event(), message.extensions());
        let mut fields = Vec::with_capacity(1024);
        put_bytes(&mut fields, message.id().to_string().as_bytes());
        put_bytes(&mut fields, message.key().as_bytes());
        let content_type = message.event().content_type();
        let headers = attributes.len() + extensions.len() + usize::from(content_type.is_some());
        put(&mut fields, headers as u64);
        if let Some(content_type) = content_type {
            put_bytes(&mut fields, b"content-type");
            put_bytes(&mut fields, content_type.as_bytes());
        }
        for (name, value) in &attributes {
            put_bytes(&mut fields, format!("ce_{name}").as_bytes());
            put_bytes(&mut fields, value.as_bytes());
        }
        for (name, value) in &extensions {
            put_bytes(&mut fields, name.as_bytes());
            put_bytes(&mut fields, value.as_bytes());
        }
        Self {
            topic: message.name(topic),
            fields,
            body: message.body().clone(),
            position: None,
        }
    }

    /// Reads the message of a record, to write it again: its body stays among the fields.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let mut from = Decoder(payload);
        let place = RecordHead::take(&mut from)?;
        Some(Self {
            topic: place.topic.to_owned(),
            fields: from.0.to_owned(),
            body: Bytes::new(),
            position: Some(place.position),
        })
    }

    /// What the message takes, in bytes, without the log's own structure.
    pub fn bytes(&self) -> usize {
        self.topic.len() + self.fields.len() + self.body.len()
    }

    /// No record of it is longer: the topic's length, the position and the time take up to ten bytes
    /// each.
    pub fn max_record_bytes(&self) -> usize {
        self.bytes() + 30
    }

    /// The record's parts behind the encoded [`RecordHead`].
    pub fn parts<'a>(&'a self, place: &'a [u8]) -> [&'a [u8]; 3] {
        [place, &self.fields, &self.body]
    }
}

impl<'a> RecordHead<'a> {
    /// The beginning of a record.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Vec::with_capacity(self.topic.len() + 16);
        put_bytes(&mut to, self.topic.as_bytes());
        put(&mut to, self.position);
        put(&mut to, self.stored_ms);
        to
    }

    /// Reads the beginning of a record.
    pub fn decode(payload: &'a [u8]) -> Option<Self> {
        Self::take(&mut Decoder(payload))
    }

    fn take(from: &mut Decoder<'a>) -> Option<Self> {
        Some(Self {
            topic: from.text()?,
            position: from.number()?,
            stored_ms: from.number()?,
        })
    }
}

/// The message in a record.
pub(super) fn entry(payload: &Bytes) -> Option<StoredMessage> {
    let mut from = Decoder(payload);
    let position = RecordHead::take(&mut from)?.position;
    let (id, key) = (from.text()?.to_owned(), from.text()?.to_owned());
    let headers = from.list(|from| Some((from.text()?.to_owned(), from.text()?.to_owned())))?;
    Some(StoredMessage {
        position,
        id,
        key,
        headers: headers.into_iter().collect(),
        body: payload.slice(payload.len() - from.0.len()..),
    })
}

#[cfg(test)]
impl EncodedMessage {
    /// A message without headers.
    pub fn plain(topic: &str, key: &str, body: Bytes) -> Self {
        let mut fields = Vec::new();
        put_bytes(&mut fields, b"id");
        put_bytes(&mut fields, key.as_bytes());
        put(&mut fields, 0);
        Self {
            topic: topic.into(),
            fields,
            body,
            position: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Vec<u8> {
        let place = RecordHead {
            topic: "a.b",
            position: 300,
            stored_ms: 1_800_000_000_000,
        };
        let mut bytes = place.encode();
        put_bytes(&mut bytes, b"id");
        put_bytes(&mut bytes, b"key");
        put(&mut bytes, 2);
        for text in ["one", "1", "two", ""] {
            put_bytes(&mut bytes, text.as_bytes());
        }
        bytes.extend(b"\xffbody");
        bytes
    }

    #[test]
    fn a_record_comes_back_as_an_entry() {
        let payload = Bytes::from(record());
        let entry = entry(&payload).expect("whole");
        assert_eq!(
            (entry.position, &*entry.id, &*entry.key),
            (300, "id", "key")
        );
        let headers: Vec<_> = entry
            .headers
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        assert_eq!(headers, [("one", "1"), ("two", "")]);
        assert_eq!(&entry.body[..], b"\xffbody");
        let place = RecordHead::decode(&payload).expect("whole");
        assert_eq!((place.topic, place.stored_ms), ("a.b", 1_800_000_000_000));
        let encoded = EncodedMessage::decode(&payload).expect("whole");
        assert_eq!(encoded.position, Some(300));
        assert_eq!(encoded.parts(&place.encode()).concat(), payload);
    }

    #[test]
    fn what_is_cut_off_before_the_body_is_no_entry() {
        let whole = record();
        for length in 0..whole.len() - 5 {
            assert_eq!(
                entry(&Bytes::copy_from_slice(&whole[..length])),
                None,
                "{length}"
            );
        }
    }
}
