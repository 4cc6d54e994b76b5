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
            output.line(format_args!(
                "object       {} {}",
                content.object_type, content.object_id
            ))?;
            output.line(format_args!("triggered at {}", content.triggered_at))?;
        }
        Content::Quarantined(quarantine) => output.line(format_args!(
            "quarantined  {}: {}",
            quarantine.reason.as_str(),
            quarantine.detail
        ))?,
    }
    output.line(format_args!("received at  {}", event.received_at()))?;
    output.line(format_args!("origin       {}", event.origin().as_str()))?;
    let signature = event.signature().unwrap_or("(not forwarded)");
    output.line(format_args!("signature    {signature}"))?;
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
