//! Reads the fields of a delivery by its provider's templates. Only what identifies and routes an
//! event is looked at; the rest of the body is the consumer's.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::Utf8Error;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::content::{Content, ParsedDelivery, Understood};
use super::id::{EventId, EventIdentity};
use super::quarantine::{Quarantine, QuarantineReason};
use super::unsigned::{UnsignedField, UnsignedFields};
use crate::json::{self, FoundValues};
use crate::name::{EventType, ObjectId, SourceName};
use crate::source::{
    AuthenticDelivery, EventField, EventTemplates, FieldTemplate, HeadValues, Inbound, Provider,
    Variable, form,
};

/// The most bytes of an attribute that the sender gives its events: they are for people and filters.
const MAX_ATTRIBUTE_BYTES: usize = 256;

/// Reads a delivery; where it cannot be understood, what is returned says why.
pub(super) fn read(
    source: &SourceName,
    provider: &Provider,
    head: &HeadValues,
    inbound: &Inbound,
) -> ParsedDelivery {
    let templates = provider.event_of(inbound.content_type.as_deref());
    let document = match document_of(provider, templates, inbound) {
        Ok(document) => document,
        Err(quarantine) => return ParsedDelivery::quarantined(quarantine),
    };
    let found = document
        .as_deref()
        .map(|text| json::read(text, &templates.pointers));
    let found = match found.transpose() {
        Ok(found) => found,
        Err(error) => {
            return ParsedDelivery::quarantined(quarantine(QuarantineReason::InvalidJson, &error));
        }
    };
    let delivery = Delivery {
        source,
        templates,
        head,
        found: found.as_ref(),
    };
    delivery.read().unwrap_or_else(ParsedDelivery::quarantined)
}

/// The JSON of a delivery; none where nothing is looked for in it.
fn document_of<'a>(
    provider: &Provider,
    templates: &EventTemplates,
    inbound: &'a Inbound,
) -> Result<Option<Cow<'a, str>>, Quarantine> {
    if templates.pointers.is_empty() {
        return Ok(None);
    }
    if inbound.body.is_empty() {
        let detail = "the body has no bytes";
        return Err(quarantine(QuarantineReason::EmptyBody, &detail));
    }
    let document = document(provider, templates, inbound);
    document
        .map(Some)
        .map_err(|error| quarantine(QuarantineReason::NotUtf8, &error))
}

/// The body, or the JSON of a form body. No signature covers the content type: a body that begins as
/// JSON's objects and arrays do is JSON, whatever it says; and where the parameters of a form are
/// signed, the body is one.
fn document<'a>(
    provider: &Provider,
    templates: &EventTemplates,
    inbound: &'a Inbound,
) -> Result<Cow<'a, str>, Utf8Error> {
    let begins_as_json = inbound.body.starts_with(b"{") || inbound.body.starts_with(b"[");
    let is_form = !begins_as_json && form::is_form(inbound.content_type.as_deref());
    let is_form = is_form || provider.signature.signs_form();
    if let Some(field) = templates.form.as_deref().filter(|_| is_form) {
        return Ok(Cow::Owned(form_document(field, &inbound.body)));
    }
    std::str::from_utf8(&inbound.body).map(Cow::Borrowed)
}

/// The JSON that lies in a field of a form; without that field, an object of the fields.
fn form_document(field: &str, body: &[u8]) -> String {
    let payload = form::fields(body).find(|(name, _)| name == field);
    if let Some((_, payload)) = payload {
        return payload.into_owned();
    }
    let mut object = serde_json::Map::new();
    for (name, value) in form::fields(body) {
        object
            .entry(name.into_owned())
            .or_insert(value.into_owned().into());
    }
    serde_json::Value::Object(object).to_string()
}

/// A delivery whose fields are read.
struct Delivery<'a> {
    source: &'a SourceName,
    templates: &'a EventTemplates,
    head: &'a HeadValues,
    found: Option<&'a FoundValues<'a, 'a>>,
}

/// A field that was found.
struct Field<'a> {
    text: Cow<'a, str>,
    is_signed: bool,
}

impl<'a> Delivery<'a> {
    fn read(&self) -> Result<ParsedDelivery, Quarantine> {
        let templates = self.templates;
        let mut unsigned = UnsignedFields::default();
        let id = self.first(&templates.id);
        let event_type = self.first(&templates.event_type);
        let object = self.first(&templates.object);
        let time = self.time(id.is_some())?;
        let of = |field: &Option<Field<'_>>| field.as_ref().map(|field| field.is_signed);
        for (name, is_signed) in [
            (UnsignedField::Id, of(&id)),
            (UnsignedField::Type, of(&event_type)),
            (UnsignedField::Object, of(&object)),
            (
                UnsignedField::Time,
                time.as_ref().map(|(_, is_signed)| *is_signed),
            ),
        ] {
            if is_signed == Some(false) {
                unsigned.insert(name);
            }
        }
        if id.is_none() && !templates.id.is_empty() {
            return Err(missing("id", &templates.id));
        }
        let event_type = event_type.ok_or_else(|| missing("type", &templates.event_type))?;
        if id.is_none() && object.is_none() {
            return Err(missing("object", &templates.object));
        }
        let time = time.map(|(time, _)| time);
        let identity = match &id {
            Some(id) => EventIdentity::Own { id: &id.text, time },
            None => EventIdentity::Derived {
                event_type: &event_type.text,
                object: object.as_ref().map_or("", |object| &object.text),
                time: time.unwrap_or_default(),
            },
        };
        Ok(ParsedDelivery {
            id: Some(EventId::of_identity(self.source, &identity)),
            content: Content::Understood(Understood {
                event_type: event_type_name(&event_type.text),
                object_id: object.map(|object| object_id(&object.text)),
                triggered_at: time,
            }),
            attributes: self.attributes(),
            events: self.events(),
            unsigned,
        })
    }

    /// The first of these that can be filled in.
    fn first(&self, fields: &'a [EventField]) -> Option<Field<'a>> {
        fields.iter().find_map(|field| {
            let text = field.template.fill(|variable| self.value(variable))?;
            let is_signed = field.is_signed;
            Some(Field { text, is_signed })
        })
    }

    fn value(&self, variable: &Variable) -> Option<Cow<'a, str>> {
        match variable {
            Variable::Pointer(pointer) => self.found?.text(pointer),
            variable => self.head.value(variable),
        }
    }

    /// When it happened. An event that has an id of its sender's can do without.
    fn time(&self, has_id: bool) -> Result<Option<(Timestamp, bool)>, Quarantine> {
        let Some(field) = self.first(&self.templates.time) else {
            if has_id {
                return Ok(None);
            }
            return Err(missing("time", &self.templates.time));
        };
        let invalid = |detail: &dyn Display| quarantine(QuarantineReason::InvalidTime, detail);
        let time = match self.templates.unit.event_time(&field.text) {
            Some(time) if time >= Timestamp::UNIX_EPOCH => time,
            _ if has_id => return Ok(None),
            Some(_) => return Err(invalid(&"the time is before 1970")),
            None => {
                return Err(invalid(&format!(
                    "{:?} is no time in this unit",
                    field.text
                )));
            }
        };
        Ok(Some((time, field.is_signed)))
    }

    fn attributes(&self) -> Vec<(String, String)> {
        let attribute = |(name, template): &(String, FieldTemplate)| {
            let text = template.fill(|variable| self.value(variable))?;
            let text: String = text.chars().filter(|c| matches!(c, ' '..='~')).collect();
            let end = text.len().min(MAX_ATTRIBUTE_BYTES);
            (end > 0).then(|| (name.clone(), text[..end].to_owned()))
        };
        self.templates
            .attributes
            .iter()
            .filter_map(attribute)
            .collect()
    }

    fn events(&self) -> Option<u32> {
        let list = self.templates.list.as_ref()?;
        u32::try_from(self.found?.items(list)?).ok()
    }
}

/// What the conditions of the source's routes ask for, in their order.
pub(super) fn conditions(delivery: &AuthenticDelivery) -> Vec<Option<String>> {
    let asked = delivery.conditions();
    let inbound = delivery.inbound();
    let provider = delivery.provider();
    let document = (!asked.pointers().is_empty()).then(|| {
        let of_event = provider.event_of(inbound.content_type.as_deref());
        document(provider, of_event, inbound).unwrap_or_default()
    });
    let found = document.as_deref();
    let found = found.and_then(|text| json::read(text, asked.pointers()).ok());
    let value = |variable: &Variable| match variable {
        Variable::Pointer(pointer) => found.as_ref()?.text(pointer),
        variable => delivery.head().value(variable),
    };
    let fill = |template: &FieldTemplate| template.fill(value).map(Cow::into_owned);
    asked.templates().iter().map(fill).collect()
}

/// The event type that a sender's own becomes: `/`, `:` and spaces become dots, and what is none then
/// is known by its hash.
fn event_type_name(text: &str) -> EventType {
    let separators = ['/', ':', ' '];
    let parsed = match text.contains(separators) {
        true => EventType::parse(&text.replace(separators, ".")),
        false => EventType::parse(text),
    };
    parsed.unwrap_or_else(|_| {
        EventType::parse(&hashed(text)).expect("a word of letters, digits and a hyphen")
    })
}

/// The object id: what stands after the last `/`, or its hash where that is none.
fn object_id(text: &str) -> ObjectId {
    let last = text.rsplit('/').next().unwrap_or_default();
    ObjectId::parse(last).unwrap_or_else(|_| {
        ObjectId::parse(&hashed(text)).expect("a word of letters, digits and a hyphen")
    })
}

/// A name for what fits no topic and no key: always the same for the same text.
fn hashed(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    format!("h-{}", hex::encode(&digest[..8]))
}

fn missing(name: &str, fields: &[EventField]) -> Quarantine {
    let places: Vec<String> = fields
        .iter()
        .map(|field| field.template.to_string())
        .collect();
    let detail = format!("there is no {name}: {}", places.join(", "));
    quarantine(QuarantineReason::InvalidFields, &detail)
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
mod tests;
