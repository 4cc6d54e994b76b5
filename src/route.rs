//! Where an event goes: the sinks of its source, and the lane that names its topic.
//!
//! The lane is decided here, once, against the configured event types; the address itself is
//! rendered by each sink from its own [`Templates`], so that a corrected template also serves the
//! events that already wait. Only names that passed their character set reach a template.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::event::{Content, Event, SinkSet};
use crate::name::{EventType, SourceName};

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
        (Lane::Other, _) => "other",
        _ => "quarantine",
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

    /// Fills the placeholders from the event. A quarantined event may have no type and no object:
    /// `quarantine` and its id stand in their places.
    #[must_use]
    pub fn render(&self, event: &Event) -> String {
        let mut out = String::with_capacity(self.text.len() + 32);
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Source => out.push_str(event.source().as_str()),
                Part::EventType => out.push_str(match event.content() {
                    Content::Understood(content) => content.event_type.as_str(),
                    Content::Quarantined(_) => "quarantine",
                }),
                Part::ObjectId => out.push_str(&object_key(event)),
                Part::Id => out.push_str(&event.id().to_string()),
            }
        }
        out
    }

    /// The names this template can take for one source and the given event types, where it depends
    /// on nothing else; none where it names single objects.
    #[must_use]
    pub fn names(&self, source: &SourceName, event_types: &[EventType]) -> Option<Vec<String>> {
        if self
            .parts
            .iter()
            .any(|part| matches!(part, Part::ObjectId | Part::Id))
        {
            return None;
        }
        let mut names: Vec<String> = event_types
            .iter()
            .map(|event_type| self.fill(source, event_type))
            .collect();
        names.sort();
        names.dedup();
        Some(names)
    }

    fn fill(&self, source: &SourceName, event_type: &EventType) -> String {
        let text = |part: &Part| match part {
            Part::Literal(text) => text.clone(),
            Part::Source => source.to_string(),
            Part::EventType => event_type.to_string(),
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
        Content::Understood(content) => Cow::Borrowed(content.object_id.as_str()),
        Content::Quarantined(_) => Cow::Owned(event.id().to_string()),
    }
}

/// A sink's templates for one name, one per lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Templates {
    /// For configured event types.
    pub typed: Template,
    /// For all other event types.
    pub other: Template,
    /// For quarantined deliveries.
    pub quarantine: Template,
}

impl Templates {
    /// The name for an event in its lane.
    #[must_use]
    pub fn render(&self, event: &Event, lane: Lane) -> String {
        match lane {
            Lane::Typed => self.typed.render(event),
            Lane::Other => self.other.render(event),
            Lane::Quarantine => self.quarantine.render(event),
        }
    }
}
