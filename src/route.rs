//! Where an event goes: the sinks of its source, and the lane that names its topic.
//!
//! It goes to the sinks of every route that takes it. Only where there is none, a route may drop it,
//! and never a delivery that was not understood: that goes to every sink of its source rather than to
//! none.
//!
//! The lane is decided here, once, against the configured event types; the address itself is
//! rendered by each sink from its own [`Template`], so that a corrected template also serves the
//! events that already wait. Only names that passed their character set reach a template.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
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

/// What becomes of an event.
#[derive(Debug)]
pub enum Routing {
    /// It goes to sinks.
    To(Routed),
    /// Nobody wants it: a route drops it.
    Dropped {
        /// The event.
        event: Event,
        /// Its lane.
        lane: Lane,
    },
}

impl Routing {
    /// The event with its destinations; none where it is dropped.
    #[must_use]
    pub fn routed(self) -> Option<Routed> {
        match self {
            Self::To(routed) => Some(routed),
            Self::Dropped { .. } => None,
        }
    }
}

/// One configured route: where the events of a source go, or some of them.
#[derive(Debug, Clone)]
pub struct Route {
    /// The source.
    pub source: SourceName,
    /// The event types it takes; none named takes them all, quarantined deliveries included.
    pub event_types: Option<HashSet<EventType>>,
    /// What else must hold of an event that it takes.
    pub conditions: Vec<RouteCondition>,
    /// Where they go.
    pub target: RouteTarget,
}

/// Where the events of a route go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteTarget {
    /// To these sinks, of which there is one at least.
    Sinks(SinkSet),
    /// Nowhere, where no other route with a condition takes them to a sink.
    Nowhere,
}

/// That one of the values that [`Event::conditions`] lists is one of these texts.
#[derive(Debug, Clone)]
pub struct RouteCondition {
    /// Its place among them.
    pub place: usize,
    /// The texts.
    pub texts: BTreeSet<String>,
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
    /// The routes to sinks.
    kept: Vec<(Route, SinkSet)>,
    /// Those that lead nowhere.
    dropped: Vec<Route>,
    /// The sinks of all its routes.
    every_sink: SinkSet,
    /// The event types that have topics of their own.
    known: HashSet<EventType>,
}

impl Router {
    /// Builds the tables. `known` lists the event types of each source that have topics of their own.
    #[must_use]
    pub fn new(routes: Vec<Route>, known: HashMap<SourceName, HashSet<EventType>>) -> Self {
        let mut every_sink = SinkSet::default();
        let mut tables: HashMap<SourceName, Table> = HashMap::new();
        for (source, known) in known {
            tables.entry(source).or_default().known = known;
        }
        for route in routes {
            let table = tables.entry(route.source.clone()).or_default();
            match route.target {
                RouteTarget::Sinks(sinks) => {
                    table.every_sink = table.every_sink.union(sinks);
                    every_sink = every_sink.union(sinks);
                    table.kept.push((route, sinks));
                }
                RouteTarget::Nowhere => table.dropped.push(route),
            }
        }
        Self { tables, every_sink }
    }

    /// The event's lane, wherever it goes.
    #[must_use]
    pub fn lane(&self, event: &Event) -> Lane {
        lane(self.tables.get(event.source()), event)
    }

    /// Routes the event. A route that drops gives way to one with sinks and a condition, and goes
    /// before one that takes everything. What no route takes goes to every sink of its source, or to every sink there
    /// is, rather than to none: a quarantined delivery can come to that, and other events cannot,
    /// because the configuration is checked.
    #[must_use]
    pub fn route(&self, event: Event) -> Routing {
        let table = self.tables.get(event.source());
        let lane = lane(table, &event);
        let sinks_of = |is_conditional| {
            table.map_or_else(SinkSet::default, |table| {
                table.sinks(&event, is_conditional)
            })
        };
        let chosen = sinks_of(true);
        let may_drop = chosen.is_empty() && lane != Lane::Quarantine;
        if may_drop && table.is_some_and(|table| table.drops(&event)) {
            return Routing::Dropped { event, lane };
        }
        let sinks = chosen.union(sinks_of(false));
        if !sinks.is_empty() {
            return Routing::To(Routed { event, lane, sinks });
        }
        let of_source = table.map_or_else(SinkSet::default, |table| table.every_sink);
        let sinks = if of_source.is_empty() {
            self.every_sink
        } else {
            of_source
        };
        Routing::To(Routed { event, lane, sinks })
    }
}

fn lane(table: Option<&Table>, event: &Event) -> Lane {
    match (event.content(), table) {
        (Content::Quarantined(_), _) => Lane::Quarantine,
        (Content::Understood(it), Some(table)) if table.known.contains(&it.event_type) => {
            Lane::Typed
        }
        (Content::Understood(_), _) => Lane::Other,
    }
}

impl Table {
    /// The sinks of the routes that take the event: of those with a condition, or of the others.
    fn sinks(&self, event: &Event, is_conditional: bool) -> SinkSet {
        let routes = self.kept.iter();
        let routes = routes.filter(|(route, _)| route.is_conditional() == is_conditional);
        let taking = routes.filter(|(route, _)| route.takes(event));
        taking.fold(SinkSet::default(), |all, (_, sinks)| all.union(*sinks))
    }

    fn drops(&self, event: &Event) -> bool {
        self.dropped.iter().any(|route| route.takes(event))
    }
}

impl Route {
    /// A route that takes all events of a source to these sinks.
    #[must_use]
    pub fn new(source: SourceName, sinks: SinkSet) -> Self {
        Self {
            source,
            event_types: None,
            conditions: Vec::new(),
            target: RouteTarget::Sinks(sinks),
        }
    }

    /// Whether it takes only some events of its source.
    fn is_conditional(&self) -> bool {
        self.event_types.is_some() || !self.conditions.is_empty()
    }

    fn takes(&self, event: &Event) -> bool {
        let has_type = match (&self.event_types, event.content()) {
            (None, _) => true,
            (Some(types), Content::Understood(content)) => types.contains(&content.event_type),
            (Some(_), Content::Quarantined(_)) => false,
        };
        has_type && self.conditions.iter().all(|it| it.holds(event))
    }
}

impl RouteCondition {
    /// What could not be filled in equals nothing.
    fn holds(&self, event: &Event) -> bool {
        let value = event.conditions().get(self.place);
        let value = value.and_then(Option::as_ref);
        value.is_some_and(|value| self.texts.contains(value))
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

#[cfg(test)]
mod tests;
