//! From a provider's table to the provider, or to everything that is wrong with it.

mod event;
mod handshake;
mod signature;

use std::fmt::Display;

use super::problem::ProviderProblem;
use super::table::{FactsTable, OneOrSeveral, ProviderTable, SampleTable};
use super::{Provider, ProviderFacts};
use crate::name::EventType;
use crate::source::template::{FieldTemplate, FieldTemplateError, Variable};

/// Reads a table with what it extends filled in.
///
/// # Errors
/// Everything that is wrong with it.
pub fn provider(name: &str, table: &ProviderTable) -> Result<Provider, Vec<ProviderProblem>> {
    let mut problems = Problems::default();
    let signature = signature::signature(&mut problems, table.signature.as_ref());
    let event = match &table.event {
        Some(event) => event::templates(&mut problems, "event", event, signature.as_ref()),
        None => problems.none(
            "event",
            "there is none",
            "say where a delivery has its type, object and time",
        ),
    };
    let mut structured = table.structured.as_ref().and_then(|structured| {
        event::templates(&mut problems, "structured", structured, signature.as_ref())
    });
    let mut handshakes = Vec::new();
    for (index, handshake) in table.handshake.iter().flatten().enumerate() {
        let path = format!("handshake[{index}]");
        handshakes.extend(handshake::handshake(&mut problems, &path, handshake));
    }
    let event_types = event_types(&mut problems, table);
    let facts = facts(&mut problems, table.facts.as_ref());
    check_sample(&mut problems, table.sample.as_ref());
    match (signature, event) {
        (Some(signature), Some(mut event)) if problems.0.is_empty() => {
            let uri = table.uri.clone();
            let content_type = Variable::Header("content-type".to_owned());
            if structured.is_some() && !signature.covers(&content_type) {
                // By the content type one of the two is taken, and each gives another id.
                let tables = std::iter::once(&mut event).chain(&mut structured);
                tables.for_each(|it| it.is_identity_signed = false);
            }
            let mut provider = Provider {
                name: name.to_owned(),
                uri: uri.unwrap_or_else(|| format!("urn:hookferry:{name}")),
                event_types,
                answer: table.answer.unwrap_or_default(),
                recovery: table.recovery,
                replay: signature.replay(event.is_identity_signed),
                signature,
                event,
                structured,
                handshakes,
                facts,
                sample: table.sample.clone(),
                of_head: Vec::new(),
            };
            provider.of_head = provider.variables_of_head();
            Ok(provider)
        }
        _ => Err(problems.0),
    }
}

/// What is wrong, as far as it was found.
#[derive(Debug, Default)]
struct Problems(Vec<ProviderProblem>);

impl Problems {
    fn add(&mut self, key: impl Into<String>, found: impl Display, remedy: impl Into<String>) {
        self.0.push(ProviderProblem {
            key: key.into(),
            found: found.to_string(),
            remedy: remedy.into(),
        });
    }

    /// Notes a problem in the place of a value.
    fn none<T>(&mut self, key: &str, found: impl Display, remedy: &str) -> Option<T> {
        self.add(key, found, remedy);
        None
    }

    /// Reads a template.
    fn template(&mut self, key: &str, text: &str) -> Option<FieldTemplate> {
        match FieldTemplate::parse(text) {
            Ok(template) => Some(template),
            Err(error) => self.none(key, error, FieldTemplateError::REMEDY),
        }
    }

    /// Reads a template in which only some variables make sense.
    fn template_of(
        &mut self,
        key: &str,
        text: &str,
        takes: impl Fn(&Variable) -> bool,
    ) -> Option<FieldTemplate> {
        let template = self.template(key, text)?;
        let wrong: Vec<String> = template
            .variables()
            .filter(|variable| !takes(variable))
            .map(|variable| format!("`{{{variable}}}`"))
            .collect();
        if wrong.is_empty() {
            return Some(template);
        }
        let found = format!("{} does not go here", wrong.join(", "));
        self.none(
            key,
            found,
            "take it out, or put another variable in its place",
        )
    }

    /// Reads each of them.
    fn templates(
        &mut self,
        key: &str,
        texts: Option<&OneOrSeveral>,
        takes: impl Fn(&Variable) -> bool,
    ) -> Vec<FieldTemplate> {
        let Some(texts) = texts else {
            return Vec::new();
        };
        if texts.as_slice().is_empty() {
            self.add(key, "the list is empty", "name one, or leave the key out");
        }
        let mut templates = Vec::new();
        for text in texts.as_slice() {
            templates.extend(self.template_of(key, text, &takes));
        }
        templates
    }
}

fn event_types(problems: &mut Problems, table: &ProviderTable) -> Vec<EventType> {
    let mut event_types = Vec::new();
    for text in table.event_types.iter().flatten() {
        match EventType::parse(text) {
            Ok(event_type) => event_types.push(event_type),
            Err(error) => problems.add("event_types", error, "correct the event type"),
        }
    }
    event_types
}

fn facts(problems: &mut Problems, table: Option<&FactsTable>) -> ProviderFacts {
    let Some(table) = table else {
        return ProviderFacts::default();
    };
    let deadline = table.deadline.as_deref().and_then(|text| {
        let read = humantime::parse_duration(text);
        read.map_err(|error| problems.add("facts.deadline", error, "write it as \"10s\""))
            .ok()
    });
    let max_body_bytes = table.max_body.as_deref().and_then(|text| {
        let read = text.parse::<bytesize::ByteSize>();
        read.map_err(|error| problems.add("facts.max_body", error, "write it as \"25MiB\""))
            .ok()
            .map(|size| size.as_u64())
    });
    ProviderFacts {
        deadline,
        max_body_bytes,
        retries: table.retries.unwrap_or_default(),
        link: table.link.clone(),
    }
}

fn check_sample(problems: &mut Problems, sample: Option<&SampleTable>) {
    let lacks_body = sample.is_some_and(|sample| sample.body.is_none());
    if lacks_body {
        problems.add(
            "sample.body",
            "there is none",
            "write the body of a delivery",
        );
    }
}

#[cfg(test)]
mod tests;
