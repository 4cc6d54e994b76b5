//! An event in the provider's record.

use std::fmt::Write as _;

/// What became of an event's deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventStatus {
    Pending,
    Retryable,
    Success,
    Failed,
}

impl EventStatus {
    pub const ALL: [Self; 4] = [Self::Pending, Self::Retryable, Self::Success, Self::Failed];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Retryable => "retryable",
            Self::Success => "success",
            Self::Failed => "failed",
        }
    }
}

/// How the event's payload is written.
#[derive(Debug, Clone)]
enum Payload {
    /// JSON as it stands.
    Object(String),
    /// The content of a string.
    Text(String),
    /// The whole row is something else.
    Other(String),
}

/// A row of the list.
#[derive(Debug, Clone)]
pub struct Row {
    /// 16 hexadecimal digits.
    pub id: String,
    pub status: EventStatus,
    payload: Payload,
    /// In the order of their making: what a cursor goes by.
    pub(super) number: u64,
}

impl Row {
    fn of(payload: Payload) -> Self {
        Self {
            id: format!("{:016x}", rand::random::<u64>()),
            status: EventStatus::Failed,
            payload,
            number: 0,
        }
    }

    /// A failed event whose payload is this JSON, byte for byte.
    pub fn object(json: &str) -> Self {
        Self::of(Payload::Object(json.to_owned()))
    }

    /// A failed event whose payload is a string of this content.
    pub fn text(content: &str) -> Self {
        Self::of(Payload::Text(content.to_owned()))
    }

    /// Something that is no event.
    pub fn other(json: &str) -> Self {
        Self::of(Payload::Other(json.to_owned()))
    }

    /// The same with another status.
    pub fn status(self, status: EventStatus) -> Self {
        Self { status, ..self }
    }

    pub(super) fn numbered(self, number: u64) -> Self {
        Self { number, ..self }
    }

    /// What a delivery's body would be: the bytes of the object, or the content of the string.
    pub fn body(&self) -> &[u8] {
        match &self.payload {
            // What stands around a value is not part of it.
            Payload::Object(json) => json.trim_ascii().as_bytes(),
            Payload::Text(text) | Payload::Other(text) => text.as_bytes(),
        }
    }

    pub(super) fn uri(&self) -> String {
        format!("/api/v1/events/{}", self.id)
    }

    /// Whether the payload holds this text.
    pub(super) fn text_of_payload(&self) -> &str {
        match &self.payload {
            Payload::Object(text) | Payload::Text(text) | Payload::Other(text) => text,
        }
    }

    /// The row as JSON: the order of its fields, the white space and the escapes differ from row to
    /// row, as JSON allows.
    pub(super) fn json(&self) -> String {
        let payload = match &self.payload {
            Payload::Object(json) => json.clone(),
            Payload::Text(content) => escaped(content),
            Payload::Other(json) => return json.clone(),
        };
        let (uri, status) = (self.uri(), self.status.as_str());
        match self.number % 3 {
            0 => format!("{{\"$uri\":\"{uri}\",\"payload\":{payload},\"status\":\"{status}\"}}"),
            1 => format!(
                "{{ \"status\" : \"{status}\" ,\n\t\"payload\" :  {payload} , \"$uri\":\"{}\" }}",
                uri.replace('/', "\\/")
            ),
            _ => format!(
                "{{\"payload\": {payload}\r\n, \"\\u0024uri\": \"{uri}\", \"status\":\"{status}\"}}"
            ),
        }
    }
}

/// A string in which all that need not stand for itself does not.
fn escaped(content: &str) -> String {
    let mut json = "\"".to_owned();
    for unit in content.encode_utf16() {
        match char::from_u32(u32::from(unit)) {
            Some('"') => json.push_str("\\\""),
            Some('/') => json.push_str("\\/"),
            Some('\n') => json.push_str("\\n"),
            Some(plain) if plain.is_ascii_alphanumeric() => json.push(plain),
            _ => {
                let _ = write!(json, "\\u{unit:04X}");
            }
        }
    }
    json.push('"');
    json
}
