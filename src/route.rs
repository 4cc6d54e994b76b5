//! Where an event goes: the sinks of its source, and the lane that names its topic.
//!
//! The lane is decided here, once, against the configured event types; the address itself is
//! rendered by each sink from its own [`Template`], so that a corrected template also serves the
//! events that already wait. Only names that passed their character set reach a template.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::event::{Content, Event, SinkSet, Understood};
use crate::name::{EventType, SourceName};

/// What stands for the type of an event whose type is not configured, in names and labels.
const OTHER: &str = "other";
/// What stands for the type of a delivery that was not understood.
const QUARANTINE: &str = "quarantine";
/// The names that no event type may have: its events would lie among others.
pub const RESERVED_EVENT_TYPES: [&str; 2] = [OTHER, QUARANTINE];

/// Which of a source's topics an event belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lane {
    /// The topic of its event type.
    Typed,
    /// The catch-all: an event type the configuration does not list.
    Other,
    /// Authentic, but not understood.
    Quarantine,
}

/// An event with its destinations; only [`Router::route`] makes one.
#[derive(Debug)]
pub struct Routed {
    event: Event,
    lane: Lane,
    sinks: SinkSet,
}

impl Routed {
    /// The event.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// Its lane.
    #[must_use]
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// Its sinks; never none.
    #[must_use]
    pub fn sinks(&self) -> SinkSet {
        self.sinks
    }

    /// Takes the event out.
    #[must_use]
    pub fn into_event(self) -> Event {
        self.event
    }
}

/// One configured route: the sinks that take a source's events, or some types of them.
#[derive(Debug, Clone)]
pub struct Route {
    /// The source.
    pub source: SourceName,
    /// The event types it takes; none named takes them all, quarantined deliveries included.
    pub event_types: Option<HashSet<EventType>>,
    /// The sinks.
    pub sinks: SinkSet,
}

/// The configured routes and event types.
#[derive(Debug)]
pub struct Router {
    tables: HashMap<SourceName, Table>,
    every_sink: SinkSet,
}

/// What is configured for one source.
#[derive(Debug, Default)]
struct Table {
    routes: Vec<Route>,
    /// The event types that have topics of their own.
    known: HashSet<EventType>,
}

impl Router {
    /// Builds the tables. `known` lists the event types of each source that have topics of their own.
    #[must_use]
    pub fn new(routes: Vec<Route>, known: HashMap<SourceName, HashSet<EventType>>) -> Self {
        let every_sink = routes.iter().flat_map(|route| route.sinks.iter()).collect();
        let mut tables: HashMap<SourceName, Table> = HashMap::new();
        for (source, known) in known {
            tables.entry(source).or_default().known = known;
        }
        for route in routes {
            let table = tables.entry(route.source.clone()).or_default();
            table.routes.push(route);
        }
        Self { tables, every_sink }
    }

    /// Routes the event. An event that no route takes goes to every sink rather than to none; the
    /// configuration is checked so that this cannot happen.
    #[must_use]
    pub fn route(&self, event: Event) -> Routed {
        let event_type = match event.content() {
            Content::Understood(content) => Some(&content.event_type),
            Content::Quarantined(_) => None,
        };
        let table = self.tables.get(event.source());
        let lane = match event_type {
            None => Lane::Quarantine,
            Some(it) if table.is_some_and(|table| table.known.contains(it)) => Lane::Typed,
            Some(_) => Lane::Other,
        };
        let sinks: SinkSet = table
            .map_or(&[][..], |table| &table.routes)
            .iter()
            .filter(|route| route.takes(event_type))
            .flat_map(|route| route.sinks.iter())
            .collect();
        let sinks = if sinks.is_empty() {
            self.every_sink
        } else {
            sinks
        };
        Routed { event, lane, sinks }
    }
}

impl Route {
    fn takes(&self, event_type: Option<&EventType>) -> bool {
        match (&self.event_types, event_type) {
            (None, _) => true,
            (Some(types), Some(event_type)) => types.contains(event_type),
            (Some(_), None) => false,
        }
    }
}

/// The closed-set label of an event in metrics: its type where that is configured, else its lane.
#[must_use]
pub fn event_label(event: &Event, lane: Lane) -> &str {
    match (lane, event.content()) {
        (Lane::Typed, Content::Understood(content)) => content.event_type.as_str(),
        (Lane::Other, _) => OTHER,
        _ => QUARANTINE,
    }
}

/// A name with placeholders: `{source}`, `{event_type}`, `{object_id}` and `{id}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Source,
    EventType,
    ObjectId,
    Id,
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// An opening brace without its closing one, or the other way round.
    #[error("the braces do not match")]
    Unbalanced,
    /// A placeholder nobody fills.
    #[error(
        "`{{{0}}}` is not a placeholder; there are {{source}}, {{event_type}}, {{object_id}} and {{id}}"
    )]
    UnknownPlaceholder(String),
    /// A literal character that brokers do not allow in names.
    #[error("`{0}` is not allowed; use A-Z, a-z, 0-9, `.`, `_` and `-` around the placeholders")]
    Character(char),
    /// Nothing at all.
    #[error("the template is empty")]
    Empty,
}

impl Template {
    /// Parses the template.
    ///
    /// # Errors
    /// When it is empty, a brace or a placeholder is wrong, or a character is outside the set.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.is_empty() {
            return Err(TemplateError::Empty);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let (literal, after) = rest.split_at(open);
            let close = after.find('}').ok_or(TemplateError::Unbalanced)?;
            push_literal(&mut parts, literal)?;
            parts.push(placeholder(&after[1..close])?);
            rest = &after[close + 1..];
        }
        push_literal(&mut parts, rest)?;
        Ok(Self {
            text: text.to_owned(),
            parts,
        })
    }

    /// Fills the placeholders from the event. `{event_type}` is the type where the lane is that of
    /// configured types, else the lane's name: no sender can make up a topic. A quarantined event
    /// may have no object: its id stands in the place of one.
    #[must_use]
    pub fn render(&self, event: &Event, lane: Lane) -> String {
        let mut out = String::with_capacity(self.text.len() + 32);
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Source => out.push_str(event.source().as_str()),
                Part::EventType => out.push_str(event_label(event, lane)),
                Part::ObjectId => out.push_str(&object_key(event)),
                Part::Id => out.push_str(&event.id().to_string()),
            }
        }
        out
    }

    /// The names this template can take for one source with these configured event types: theirs in
    /// order, then those of all other types and of quarantined deliveries. None where it names single
    /// objects.
    #[must_use]
    pub fn names(&self, source: &SourceName, event_types: &[EventType]) -> Option<Vec<String>> {
        let is_single = |part: &Part| matches!(part, Part::ObjectId | Part::Id);
        if self.parts.iter().any(is_single) {
            return None;
        }
        let mut types: Vec<&str> = event_types.iter().map(EventType::as_str).collect();
        types.sort_unstable();
        types.extend([OTHER, QUARANTINE]);
        let mut names = Vec::new();
        for name in types.into_iter().map(|it| self.fill(source, it)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Some(names)
    }

    fn fill(&self, source: &SourceName, event_type: &str) -> String {
        let text = |part: &Part| match part {
            Part::Literal(text) => text.clone(),
            Part::Source => source.to_string(),
            Part::EventType => event_type.to_owned(),
            Part::ObjectId | Part::Id => String::new(),
        };
        self.parts.iter().map(text).collect()
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn push_literal(parts: &mut Vec<Part>, text: &str) -> Result<(), TemplateError> {
    if let Some(wrong) = text
        .chars()
        .find(|c| !matches!(c, 'A'..='Z' | 'a'..='z' | '0'..='9' | '.' | '_' | '-'))
    {
        return Err(if wrong == '}' {
            TemplateError::Unbalanced
        } else {
            TemplateError::Character(wrong)
        });
    }
    if !text.is_empty() {
        parts.push(Part::Literal(text.to_owned()));
    }
    Ok(())
}

fn placeholder(name: &str) -> Result<Part, TemplateError> {
    match name {
        "source" => Ok(Part::Source),
        "event_type" => Ok(Part::EventType),
        "object_id" => Ok(Part::ObjectId),
        "id" => Ok(Part::Id),
        other => Err(TemplateError::UnknownPlaceholder(other.to_owned())),
    }
}

/// The key of an event's message: its object id, or its own id where it has none.
#[must_use]
pub fn object_key(event: &Event) -> Cow<'_, str> {
    match event.content() {
        Content::Understood(Understood {
            object_id: Some(object),
            ..
        }) => Cow::Borrowed(object.as_str()),
        _ => Cow::Owned(event.id().to_string()),
    }
}
