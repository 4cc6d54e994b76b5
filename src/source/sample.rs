//! A delivery of our own invention, made of what a provider's `sample` table says: for `send`, the
//! demo and tests.

use jiff::Timestamp;
use uuid::Builder;

use super::head::DeliveryHead;
use super::provider::Provider;
use crate::name::{EventType, ObjectId};

/// The content type of a sample whose table names none.
const JSON: &str = "application/json";

/// What is put in the place of a sample's placeholders. `<id>`, 16 hex digits, and `<uuid>` are new in
/// each sample, and the same wherever they stand in it.
#[derive(Debug, Clone)]
pub struct SampleValues {
    /// `<object>`: what it happened to.
    pub object: ObjectId,
    /// `<type>`: what happened.
    pub event_type: EventType,
    /// When it happened, to the microsecond: `<now>` in RFC 3339, `<now:s>` and `<now:ms>` since 1970.
    pub time: Timestamp,
}

/// A delivery that nobody has signed yet.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The headers besides those of the signature and of the content.
    pub head: DeliveryHead,
    /// The content type.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Provider {
    /// A new delivery; none where the provider's table has no sample.
    #[must_use]
    pub fn new_sample(&self, values: &SampleValues) -> Option<Sample> {
        let table = self.sample.as_ref()?;
        let fills = Placeholders::new(values);
        let headers = table.headers.iter().flatten();
        let headers = headers.map(|(name, value)| (name.to_lowercase(), fills.fill(value)));
        Some(Sample {
            head: DeliveryHead::of(headers.collect()),
            content_type: self.sample_content_type().to_owned(),
            body: fills.fill(table.body.as_deref()?).into_bytes(),
        })
    }

    /// The content type of its deliveries, as far as its sample tells.
    #[must_use]
    pub fn sample_content_type(&self) -> &str {
        let table = self.sample.as_ref();
        table
            .and_then(|table| table.content_type.as_deref())
            .unwrap_or(JSON)
    }

    /// Whether the event type of its sample can be chosen.
    #[must_use]
    pub fn sample_takes_type(&self) -> bool {
        self.sample.as_ref().is_some_and(|table| {
            let takes_type = |text: &String| text.contains("<type>");
            table.body.iter().any(takes_type)
                || table
                    .headers
                    .iter()
                    .flat_map(|headers| headers.values())
                    .any(takes_type)
        })
    }
}

/// What each placeholder of one sample stands for.
struct Placeholders([(&'static str, String); 7]);

impl Placeholders {
    fn new(values: &SampleValues) -> Self {
        let time = Timestamp::from_microsecond(values.time.as_microsecond());
        let time = time.unwrap_or(values.time);
        let uuid = Builder::from_random_bytes(rand::random()).into_uuid();
        Self([
            ("<id>", format!("{:016x}", rand::random::<u64>())),
            ("<uuid>", uuid.to_string()),
            ("<object>", values.object.to_string()),
            ("<type>", values.event_type.to_string()),
            ("<now>", time.to_string()),
            ("<now:s>", time.as_second().to_string()),
            ("<now:ms>", time.as_millisecond().to_string()),
        ])
    }

    /// The text with its placeholders filled in. Any other `<` is itself.
    fn fill(&self, text: &str) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('<') {
            filled.push_str(&rest[..at]);
            rest = &rest[at..];
            let known = self.0.iter().find(|(name, _)| rest.starts_with(name));
            let (length, value) = known.map_or((1, "<"), |(name, value)| (name.len(), value));
            filled.push_str(value);
            rest = &rest[length..];
        }
        filled + rest
    }
}

#[cfg(test)]
mod tests;
