//! The `event` and `structured` tables.

use super::super::table::EventTable;
use super::super::{EventField, EventTemplates};
use super::Problems;
use super::signature::unit;
use crate::json::Pointers;
use crate::source::signature::SignatureScheme;
use crate::source::template::{self, FieldTemplate, Variable};
use crate::source::time_unit::TimeUnit;

/// What no extension attribute may be called: CloudEvents has these, or the bridge writes them.
const RESERVED: [&str; 9] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "data",
];

/// Reads it; none where something is wrong with it.
pub fn templates(
    problems: &mut Problems,
    path: &str,
    table: &EventTable,
    signature: Option<&SignatureScheme>,
) -> Option<EventTemplates> {
    let before = problems.0.len();
    let mut fields = |key: &str, texts| {
        let key = format!("{path}.{key}");
        let templates = problems.templates(&key, texts, |it| goes_here(it, signature));
        let mut is_signed = true;
        let field = |template: FieldTemplate| {
            // Who can take away what is not signed decides that the next one counts.
            is_signed &= signature.is_some_and(|it| template.variables().all(|v| it.covers(v)));
            EventField {
                template,
                is_signed,
            }
        };
        templates
            .into_iter()
            .map(field)
            .collect::<Vec<EventField>>()
    };
    let id = fields("id", table.id.as_ref());
    let event_type = fields("type", table.event_type.as_ref());
    let object = fields("object", table.object.as_ref());
    let time = fields("time", table.time.as_ref());
    if table.event_type.is_none() {
        problems.add(
            format!("{path}.type"),
            "there is none",
            "say where a delivery has its type; it may be a word, such as \"push\"",
        );
    }
    for (name, given) in [("object", &table.object), ("time", &table.time)] {
        if table.id.is_none() && given.is_none() {
            let found = "there is neither an `id` nor this, and without an id it is made of type, object and time";
            problems.add(format!("{path}.{name}"), found, "add one of the two");
        }
    }
    let mut templates = EventTemplates {
        is_identity_signed: is_identity_signed(&id, [&event_type, &object, &time]),
        id,
        event_type,
        object,
        time,
        unit: unit(table.unit).unwrap_or(TimeUnit::Rfc3339),
        form: table.form.clone(),
        list: table.list.clone(),
        attributes: attributes(problems, path, table, signature),
        pointers: Pointers::default(),
    };
    templates.pointers = pointers(problems, path, &templates);
    (problems.0.len() == before).then_some(templates)
}

/// What a field may be made of. Of the items only the signature and those that it covers are kept; and
/// a token or a secret is for nobody but the bridge.
fn goes_here(variable: &Variable, signature: Option<&SignatureScheme>) -> bool {
    match (variable, signature) {
        (Variable::Item(name), Some(it)) => {
            it.scheme().signs() && (*name == it.tag || it.covers(variable))
        }
        (Variable::Header(name), Some(it)) => it.scheme().signs() || !it.headers.contains(name),
        _ => variable.is_of_event(),
    }
}

/// Whether a signature covers what the event's id is made of: the sender's own and the time, or the
/// other three.
fn is_identity_signed(id: &[EventField], derived: [&[EventField]; 3]) -> bool {
    let [_, _, time] = derived;
    let fields = if id.is_empty() {
        derived.concat()
    } else {
        [id, time].concat()
    };
    fields.iter().all(|field| field.is_signed)
}

fn attributes(
    problems: &mut Problems,
    path: &str,
    table: &EventTable,
    signature: Option<&SignatureScheme>,
) -> Vec<(String, FieldTemplate)> {
    let mut attributes = Vec::new();
    for (name, text) in table.attributes.iter().flatten() {
        let key = format!("{path}.attributes.{name}");
        let is_name = (1..=20).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !is_name || RESERVED.contains(&name.as_str()) {
            problems.add(
                &key,
                "no extension attribute of CloudEvents can be called so",
                "take 1 to 20 characters out of a-z and 0-9, and none of CloudEvents' own names",
            );
        }
        let template = problems.template_of(&key, text, |it| goes_here(it, signature));
        attributes.extend(template.map(|template| (name.clone(), template)));
    }
    attributes
}

fn pointers(problems: &mut Problems, path: &str, templates: &EventTemplates) -> Pointers {
    let variables = templates.templates().flat_map(FieldTemplate::variables);
    let mut pointers = template::pointers(variables);
    if let Some(list) = &templates.list
        && let Err(error) = pointers.add(list)
    {
        problems.add(
            format!("{path}.list"),
            error,
            "write it as \"/data/events\"",
        );
    }
    pointers
}
