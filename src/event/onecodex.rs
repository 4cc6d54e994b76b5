//! Reads One Codex's delivery. Only what identifies and routes an event is looked at; the rest of
//! the body is the consumer's.

use std::borrow::Cow;
use std::fmt::Display;

use jiff::Timestamp;

use super::content::{Content, EventIdentity, ParsedBody, Understood};
use super::json::{self, Field};
use super::quarantine::{Quarantine, QuarantineReason};
use crate::name::{EventType, ObjectId};

/// The texts that identify and route an event.
const FIELDS: [Field; 4] = [
    of_document("event_type"),
    of_document("object_type"),
    of_document("triggered_at"),
    Field {
        within: Some("object"),
        name: "$uri",
    },
];

const fn of_document(name: &'static str) -> Field {
    Field { within: None, name }
}

/// Those texts, all there.
struct Delivery<'a> {
    event_type: Cow<'a, str>,
    object_type: Cow<'a, str>,
    triggered_at: Cow<'a, str>,
    object_uri: Cow<'a, str>,
}

/// Reads the body; where it cannot be understood, what is returned says why.
pub(super) fn read(body: &[u8]) -> ParsedBody<'_> {
    match delivery(body) {
        Ok(delivery) => from_delivery(delivery),
        Err(quarantine) => ParsedBody {
            identity: None,
            content: Content::Quarantined(quarantine),
        },
    }
}

fn delivery(body: &[u8]) -> Result<Delivery<'_>, Quarantine> {
    if body.is_empty() {
        return Err(quarantine(
            QuarantineReason::EmptyBody,
            &"the body has no bytes",
        ));
    }
    let text = std::str::from_utf8(body).map_err(|e| quarantine(QuarantineReason::NotUtf8, &e))?;
    let texts =
        json::read(text, &FIELDS).map_err(|e| quarantine(QuarantineReason::InvalidJson, &e))?;
    if !texts.is_object {
        return Err(quarantine(
            QuarantineReason::InvalidFields,
            &"the document is not an object",
        ));
    }
    let [event_type, object_type, triggered_at, object_uri] = texts.found;
    Ok(Delivery {
        event_type: required(event_type, "event_type")?,
        object_type: required(object_type, "object_type")?,
        triggered_at: required(triggered_at, "triggered_at")?,
        object_uri: required(object_uri, "object.$uri")?,
    })
}

fn required<'a>(text: Option<Cow<'a, str>>, name: &str) -> Result<Cow<'a, str>, Quarantine> {
    text.ok_or_else(|| {
        let detail = format!("there is no text `{name}`");
        quarantine(QuarantineReason::InvalidFields, &detail)
    })
}

fn from_delivery(delivery: Delivery<'_>) -> ParsedBody<'_> {
    let triggered_at = match triggered_at(&delivery.triggered_at) {
        Ok(time) => time,
        Err(quarantine) => {
            return ParsedBody {
                identity: None,
                content: Content::Quarantined(quarantine),
            };
        }
    };
    let content = match understand(&delivery, triggered_at) {
        Ok(understood) => Content::Understood(understood),
        Err(quarantine) => Content::Quarantined(quarantine),
    };
    let identity = EventIdentity {
        event_type: delivery.event_type,
        object_type: delivery.object_type,
        object_uri: delivery.object_uri,
        triggered_at,
    };
    ParsedBody {
        identity: Some(identity),
        content,
    }
}

fn triggered_at(text: &str) -> Result<Timestamp, Quarantine> {
    let time: Timestamp = text
        .parse()
        .map_err(|e| quarantine(QuarantineReason::InvalidTriggeredAt, &e))?;
    if time < Timestamp::UNIX_EPOCH {
        return Err(quarantine(
            QuarantineReason::InvalidTriggeredAt,
            &"triggered_at is before 1970",
        ));
    }
    Ok(time)
}

fn understand(delivery: &Delivery<'_>, triggered_at: Timestamp) -> Result<Understood, Quarantine> {
    let event_type = EventType::parse(&delivery.event_type)
        .map_err(|e| quarantine(QuarantineReason::InvalidEventType, &e))?;
    let last = delivery.object_uri.rsplit('/').next().unwrap_or_default();
    let object_id =
        ObjectId::parse(last).map_err(|e| quarantine(QuarantineReason::InvalidObjectId, &e))?;
    Ok(Understood {
        event_type,
        object_type: bounded(&delivery.object_type).to_owned(),
        object_id,
        triggered_at,
    })
}

/// As much of a text as is kept where it is for people to read only, and nothing is decided by it.
fn bounded(text: &str) -> &str {
    const MAX_BYTES: usize = 64;
    &text[..text.floor_char_boundary(MAX_BYTES)]
}

/// The detail ends in a header, so it is cut short and kept printable.
fn quarantine(reason: QuarantineReason, detail: &dyn Display) -> Quarantine {
    let detail = format!("{detail}")
        .chars()
        .filter(|c| matches!(c, ' '..='~'))
        .take(200)
        .collect();
    Quarantine { reason, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(event_type: &str, uri: &str, triggered_at: &str) -> String {
        format!(
            r#"{{"api_version":"v1","event_type":"{event_type}","object_type":"analysis","triggered_at":"{triggered_at}","object":{{"$uri":"{uri}","success":null,"error_msg":null}}}}"#
        )
    }

    fn reason(body: &[u8]) -> QuarantineReason {
        match read(body).content {
            Content::Quarantined(quarantine) => quarantine.reason,
            Content::Understood(understood) => panic!("understood: {understood:?}"),
        }
    }

    const TIME: &str = "2026-03-02T09:31:07.029311-08:00";

    #[test]
    fn the_object_id_is_the_last_segment_whatever_the_middle_one() {
        for middle in [
            "samples",
            "analyses",
            "functional_profiles",
            "classifications",
            "panels",
            "a/b",
        ] {
            let body = body(
                "analysis.succeeded",
                &format!("/api/v1/{middle}/eec4ac90d9104d1e"),
                TIME,
            );
            let Content::Understood(understood) = read(body.as_bytes()).content else {
                panic!("{middle}")
            };
            assert_eq!(understood.object_id.as_str(), "eec4ac90d9104d1e");
            assert_eq!(
                understood.triggered_at,
                "2026-03-02T17:31:07.029311Z".parse().expect("RFC 3339")
            );
        }
    }

    #[test]
    fn an_object_type_of_any_length_is_kept_in_part() {
        let long = "\u{e9}".repeat(100_000);
        let body = body("analysis.succeeded", "/api/v1/analyses/1", TIME)
            .replace("\"analysis\"", &format!("\"{long}\""));
        let parsed = read(body.as_bytes());
        let Content::Understood(understood) = parsed.content else {
            panic!("its type and object are known")
        };
        assert_eq!(understood.object_type, "\u{e9}".repeat(32));
        // The id is that of the whole.
        let identity = parsed.identity.expect("all of it is there");
        assert_eq!(identity.object_type, long.as_str());
    }

    #[test]
    fn a_new_event_type_is_understood() {
        let body = body("report.published", "/api/v1/reports/1", TIME);
        assert!(matches!(
            read(body.as_bytes()).content,
            Content::Understood(_)
        ));
    }

    #[test]
    fn what_cannot_be_read_has_a_reason_and_no_identity() {
        let missing = body("a", "/x/1", TIME).replace("triggered_at", "triggered");
        for (bytes, expected) in [
            (&b""[..], QuarantineReason::EmptyBody),
            (b"\xff\xfe", QuarantineReason::NotUtf8),
            (b"{\"a\":\"\xc3\x28\"}", QuarantineReason::NotUtf8),
            (b"hello", QuarantineReason::InvalidJson),
            (b"null", QuarantineReason::InvalidFields),
            (b"[]", QuarantineReason::InvalidFields),
            (
                b"[\"a\",\"b\",\"2026-03-02T09:31:07Z\",[\"/x/1\"]]",
                QuarantineReason::InvalidFields,
            ),
            (b"{}", QuarantineReason::InvalidFields),
            (missing.as_bytes(), QuarantineReason::InvalidFields),
            (
                body("a", "/x/1", "yesterday").as_bytes(),
                QuarantineReason::InvalidTriggeredAt,
            ),
            (
                body("a", "/x/1", "2026-03-02T09:31:07").as_bytes(),
                QuarantineReason::InvalidTriggeredAt,
            ),
            (
                body("a", "/x/1", "1969-12-31T23:59:59Z").as_bytes(),
                QuarantineReason::InvalidTriggeredAt,
            ),
        ] {
            assert_eq!(
                reason(bytes),
                expected,
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
            assert!(read(bytes).identity.is_none());
        }
    }

    #[test]
    fn what_is_no_json_is_told_before_what_it_lacks() {
        for body in [
            r#"{"event_type":1,"x":1e400}"#,
            r#"{"object":[],"event_type":null,"event_type":"a"}"#,
            r#"{"object":{"$uri":1,"x":"\ud800"}}"#,
            r#"["a"]x"#,
        ] {
            let reason = reason(body.as_bytes());
            assert_eq!(reason, QuarantineReason::InvalidJson, "{body}");
        }
    }

    #[test]
    fn the_detail_names_the_field_that_is_no_text() {
        let whole = body("a", "/x/1", TIME);
        for (from, to, name) in [
            (r#""event_type":"a""#, r#""event_type":1"#, "`event_type`"),
            (r#""object_type":"#, r#""object_kind":"#, "`object_type`"),
            (r#""triggered_at":"#, r#""triggered":"#, "`triggered_at`"),
            (r#""$uri":"/x/1""#, r#""$uri":null"#, "`object.$uri`"),
            (r#""object":{"#, r#""object":[],"x":{"#, "`object.$uri`"),
        ] {
            let body = whole.replace(from, to);
            let Content::Quarantined(quarantine) = read(body.as_bytes()).content else {
                panic!("understood: {body}")
            };
            assert_eq!(quarantine.reason, QuarantineReason::InvalidFields, "{body}");
            assert!(quarantine.detail.contains(name), "{quarantine:?}");
        }
    }

    #[test]
    fn names_outside_the_character_set_are_quarantined_but_identified() {
        for (body, expected) in [
            (
                body("sample/../uploaded", "/x/1", TIME),
                QuarantineReason::InvalidEventType,
            ),
            (
                body("sample.uploaded", "/api/v1/samples/", TIME),
                QuarantineReason::InvalidObjectId,
            ),
            (
                body("sample.uploaded", "/api/v1/samples/a.b", TIME),
                QuarantineReason::InvalidObjectId,
            ),
        ] {
            assert_eq!(reason(body.as_bytes()), expected);
            assert!(read(body.as_bytes()).identity.is_some());
        }
    }

    #[test]
    fn the_detail_is_printable_and_short() {
        let body = body("a", "/x/1", &"\\u0007é".repeat(500));
        let Content::Quarantined(quarantine) = read(body.as_bytes()).content else {
            panic!("understood")
        };
        assert!(
            quarantine.detail.len() <= 200
                && quarantine.detail.bytes().all(|b| matches!(b, b' '..=b'~')),
            "{quarantine:?}"
        );
    }
}
