//! An event on one line, as text or as JSON, whichever sink it was seen in.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::sink::FollowedMessage;
use crate::spool::Body;

/// What is printed of an event.
#[derive(Debug, Serialize)]
pub(super) struct EventLine<'a> {
    topic: &'a str,
    position: Option<&'a str>,
    #[serde(rename = "type")]
    event_type: Option<&'a str>,
    key: Option<&'a str>,
    id: Option<&'a str>,
    received_at: Option<&'a str>,
    headers: BTreeMap<&'a str, &'a str>,
    #[serde(flatten)]
    body: Body,
}

impl<'a> EventLine<'a> {
    /// The line of a message. Each sink has names of its own for the same thing.
    pub(super) fn of(seen: &'a FollowedMessage) -> Self {
        let headers: BTreeMap<&str, &str> = seen
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let header = |names: &[&str]| names.iter().find_map(|name| headers.get(name).copied());
        let subject = || header(&["ce_subject", "cloudEvents_subject"]);
        Self {
            topic: &seen.address,
            position: seen.position.as_deref(),
            event_type: header(&["ce_type", "cloudEvents_type", "type"]),
            key: seen.key.as_deref().or_else(subject),
            id: header(&["ce_id", "cloudEvents_id", "message_id"]),
            received_at: header(&["hookferry-received-at"]),
            body: Body::of(&seen.body),
            headers,
        }
    }
}

impl fmt::Display for EventLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = [
            Some(self.topic),
            self.position,
            self.event_type,
            self.key,
            self.id,
            self.received_at,
        ];
        for (index, field) in fields.into_iter().enumerate() {
            let space = if index > 0 { " " } else { "" };
            write!(f, "{space}{}", printable(field.unwrap_or("-")))?;
        }
        Ok(())
    }
}

/// A topic may hold what anybody wrote, and a terminal obeys control characters.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || c == ' ' { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(headers: &[(&str, &str)], key: Option<&str>) -> FollowedMessage {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        FollowedMessage {
            address: "topic".into(),
            position: key.map(|_| "7".into()),
            key: key.map(str::to_owned),
            headers: headers.iter().map(owned).collect(),
            body: bytes::Bytes::from_static(b"{}"),
        }
    }

    #[test]
    fn the_same_fields_are_found_in_every_sink() {
        let received = ("hookferry-received-at", "now");
        let kafka = seen(&[("ce_id", "i"), ("ce_type", "t"), received], Some("k"));
        assert_eq!(EventLine::of(&kafka).to_string(), "topic 7 t k i now");
        let rabbit = [
            ("cloudEvents_subject", "k"),
            ("message_id", "i"),
            ("type", "t"),
            received,
        ];
        let rabbit = seen(&rabbit, None);
        assert_eq!(EventLine::of(&rabbit).to_string(), "topic - t k i now");
    }

    #[test]
    fn a_foreign_message_cannot_drive_the_terminal() {
        let foreign = seen(&[("ce_id", "\x1b[2J\n")], None);
        assert_eq!(EventLine::of(&foreign).to_string(), "topic - - - ?[2J? -");
    }
}
