//! A provider: how one kind of sender signs its deliveries, and where they say what happened. It is
//! data, read from a table: see [`ProviderTables`].

mod compile;
mod problem;
mod table;
mod tables;

use std::time::Duration;

use super::scheme::Replay;
use super::signature::SignatureScheme;
use super::template::{FieldTemplate, Variable};
use super::time_unit::TimeUnit;
use crate::json::Pointers;
use crate::name::EventType;

pub use compile::provider;
pub use problem::ProviderProblem;
pub use table::{
    AnswerForm, EventTable, FactsTable, HandshakeTable, ProviderTable, RecordName, RetriesName,
    SampleTable, SignatureTable,
};
pub use tables::{BUILT_IN, ONE_CODEX, ProviderTables, built_in};

/// A kind of sender.
#[derive(Debug, Clone)]
pub struct Provider {
    /// The name a configuration uses.
    pub name: String,
    /// The CloudEvents `source` unless the configuration names another.
    pub uri: String,
    /// The event types with topics of their own, unless the configuration names others.
    pub event_types: Vec<EventType>,
    /// What the body of a 200 is.
    pub answer: AnswerForm,
    /// The API of its own record of events, where it has one that is known here.
    pub recovery: Option<RecordName>,
    /// How its deliveries are proven.
    pub signature: SignatureScheme,
    /// What tells a repeated delivery.
    pub replay: Replay,
    /// Where they say what happened.
    pub event: EventTemplates,
    /// The same for CloudEvents in structured mode, where that is another place.
    pub structured: Option<EventTemplates>,
    /// How it makes sure of a webhook.
    pub handshakes: Vec<Handshake>,
    /// What the vendor says of its deliveries.
    pub facts: ProviderFacts,
    /// A delivery of our own invention.
    pub sample: Option<SampleTable>,
    /// What of a head is looked at besides the signature's own header.
    pub(super) of_head: Vec<Variable>,
}

impl Provider {
    /// Where a delivery of this content type says what happened.
    #[must_use]
    pub fn event_of(&self, content_type: Option<&str>) -> &EventTemplates {
        let is_structured =
            super::form::has_media_type(content_type, "application/cloudevents+json");
        let structured = self.structured.as_ref().filter(|_| is_structured);
        structured.unwrap_or(&self.event)
    }

    /// Whether a body alone says what its event is known by.
    #[must_use]
    pub fn is_known_by_its_body(&self) -> bool {
        let is_of_body = |it: &Variable| matches!(it.operand(), Variable::Pointer(_));
        let fields = [
            &self.event.id,
            &self.event.event_type,
            &self.event.object,
            &self.event.time,
        ];
        let mut templates = fields.into_iter().flatten().map(|field| &field.template);
        self.replay == Replay::Id && templates.all(|it| it.variables().all(is_of_body))
    }

    /// What of a head is looked at besides the signature's own header.
    fn variables_of_head(&self) -> Vec<Variable> {
        let events = std::iter::once(&self.event).chain(&self.structured);
        let of_events = events.flat_map(EventTemplates::templates);
        let of_handshakes = self.handshakes.iter().flat_map(Handshake::templates);
        let templates = of_events.chain(of_handshakes);
        let all = templates.flat_map(FieldTemplate::variables);
        let all = all.chain(self.signature.signed.variables());
        let mut wanted: Vec<Variable> = Vec::new();
        for variable in all.chain(&self.signature.timestamp).map(Variable::operand) {
            let is_kept = match variable {
                Variable::Header(_) | Variable::Query(_) | Variable::Method => true,
                Variable::Item(name) => *name == self.signature.tag,
                _ => false,
            };
            if is_kept && !wanted.contains(variable) {
                wanted.push(variable.clone());
            }
        }
        wanted
    }
}

/// Where a delivery says what happened.
#[derive(Debug, Clone)]
pub struct EventTemplates {
    /// The sender's own id; the event's is derived from the other three where there is none.
    pub id: Vec<EventField>,
    /// What happened.
    pub event_type: Vec<EventField>,
    /// What it happened to.
    pub object: Vec<EventField>,
    /// When it happened.
    pub time: Vec<EventField>,
    /// How that time is written.
    pub unit: TimeUnit,
    /// The field of a form in which the JSON lies.
    pub form: Option<String>,
    /// The array of events, by its JSON pointer.
    pub list: Option<String>,
    /// CloudEvents extension attributes.
    pub attributes: Vec<(String, FieldTemplate)>,
    /// Every pointer of these.
    pub pointers: Pointers,
    /// Whether the id is made of what a signature covers.
    pub is_identity_signed: bool,
}

impl EventTemplates {
    fn templates(&self) -> impl Iterator<Item = &FieldTemplate> {
        let fields = [&self.id, &self.event_type, &self.object, &self.time];
        let fields = fields.into_iter().flatten().map(|field| &field.template);
        fields.chain(self.attributes.iter().map(|(_, template)| template))
    }
}

/// One way to a field of the event.
#[derive(Debug, Clone)]
pub struct EventField {
    /// What gives it.
    pub template: FieldTemplate,
    /// Whether a signature covers all of it.
    pub is_signed: bool,
}

/// A request by which a sender makes sure of the webhook.
#[derive(Debug, Clone)]
pub struct Handshake {
    /// Its method.
    pub method: &'static str,
    /// Whether it is signed as a delivery is.
    pub is_signed: bool,
    /// What must hold.
    pub when: Vec<(FieldTemplate, HandshakeCondition)>,
    /// The answer.
    pub answer: HandshakeAnswer,
    /// Every pointer of these.
    pub pointers: Pointers,
}

impl Handshake {
    /// Whether its answer holds an HMAC that anybody gets who asks.
    pub(super) fn signs_for_strangers(&self) -> bool {
        let is_hmac = |it: &Variable| matches!(it, Variable::HmacHex(_) | Variable::HmacBase64(_));
        let mut variables = self.templates().flat_map(FieldTemplate::variables);
        !self.is_signed && variables.any(is_hmac)
    }

    fn templates(&self) -> impl Iterator<Item = &FieldTemplate> {
        let conditions = self.when.iter().map(|(template, _)| template);
        let mut of_answer = Vec::new();
        self.answer.collect(&mut of_answer);
        conditions.chain(of_answer)
    }
}

/// What a template of a handshake must give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandshakeCondition {
    /// Anything.
    Present,
    /// This text.
    Equals(String),
    /// The source's `verify`.
    VerifySecret,
}

/// The answer to a handshake.
#[derive(Debug, Clone)]
pub enum HandshakeAnswer {
    /// No body.
    Empty,
    /// A plain text.
    Text(FieldTemplate),
    /// A JSON object.
    Json(Vec<(String, HandshakeValue)>),
}

/// A member of a JSON answer.
#[derive(Debug, Clone)]
pub enum HandshakeValue {
    /// A text that is filled in.
    Template(FieldTemplate),
    /// Itself.
    Constant(serde_json::Value),
}

impl HandshakeAnswer {
    fn collect<'a>(&'a self, templates: &mut Vec<&'a FieldTemplate>) {
        match self {
            Self::Empty => {}
            Self::Text(template) => templates.push(template),
            Self::Json(members) => {
                templates.extend(members.iter().filter_map(|(_, value)| match value {
                    HandshakeValue::Template(template) => Some(template),
                    HandshakeValue::Constant(_) => None,
                }))
            }
        }
    }
}

/// What the vendor says of its deliveries.
#[derive(Debug, Clone, Default)]
pub struct ProviderFacts {
    /// How long it waits for an answer.
    pub deadline: Option<Duration>,
    /// The largest body it sends, in bytes.
    pub max_body_bytes: Option<u64>,
    /// What it sends again.
    pub retries: RetriesName,
    /// Where the vendor says so.
    pub link: Option<String>,
}
