//! An event as lines of text.

use super::command_error::CommandError;
use super::output::Output;
use crate::event::{Content, Event};
use crate::spool::Body;

/// Everything but the body, a line each.
pub(super) fn event_lines(event: &Event, output: &mut Output) -> Result<(), CommandError> {
    output.line(format_args!("id           {}", event.id()))?;
    output.line(format_args!("source       {}", event.source()))?;
    match event.content() {
        Content::Understood(content) => {
            output.line(format_args!("type         {}", content.event_type))?;
            if let Some(object) = &content.object_id {
                output.line(format_args!("object       {object}"))?;
            }
            if let Some(time) = content.triggered_at {
                output.line(format_args!("triggered at {time}"))?;
            }
        }
        Content::Quarantined(quarantine) => output.line(format_args!(
            "quarantined  {}: {}",
            quarantine.reason.as_str(),
            quarantine.detail
        ))?,
    }
    output.line(format_args!("received at  {}", event.received_at()))?;
    output.line(format_args!("origin       {}", event.origin().as_str()))?;
    let forwarded = event.forwarded();
    let signature = forwarded.signature.as_deref();
    let signature = signature.unwrap_or("(not forwarded)");
    output.line(format_args!("signature    {signature}"))?;
    for (name, value) in forwarded.headers.iter().chain(event.attributes()) {
        output.line(format_args!("{name:<12} {value}"))?;
    }
    if let Some(content_type) = event.content_type() {
        output.line(format_args!("content type {content_type}"))?;
    }
    output.line(format_args!(
        "traceparent  {}",
        event.traceparent().as_str()
    ))
}

/// The body under an empty line; one that is no text as base64.
pub(super) fn body_lines(body: Option<&Body>, output: &mut Output) -> Result<(), CommandError> {
    match body {
        None => Ok(()),
        Some(Body::Text(text)) => output.line(format_args!("\n{text}")),
        Some(Body::Base64(text)) => output.line(format_args!("\n(base64) {text}")),
    }
}
