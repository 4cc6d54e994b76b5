//! What `send` sends: the provider's sample with what the person wants otherwise, or a body of theirs.

use std::sync::Arc;

use jiff::Timestamp;

use super::SendCommand;
use crate::cli::command_error::CommandError;
use crate::cli::{body_input, sample_delivery};
use crate::name::{EventType, ObjectId};
use crate::source::{DeliveryHead, Provider, Sample, SampleValues, Variable};

/// A delivery for each time it is asked.
pub(super) struct Deliveries {
    provider: Arc<Provider>,
    body: DeliveryBody,
    headers: Vec<(String, String)>,
    content_type: Option<String>,
    signed_at: Option<Timestamp>,
}

enum DeliveryBody {
    /// The same each time.
    Given(Vec<u8>),
    /// A new event each time.
    Sample(EventType, Option<ObjectId>),
}

impl Deliveries {
    /// Those that the command line asks for.
    pub(super) fn of(
        command: &SendCommand,
        provider: &Arc<Provider>,
    ) -> Result<Self, CommandError> {
        let body = match &command.body {
            Some(file) => DeliveryBody::Given(body_input::read(file)?),
            None => sample(command, provider)?,
        };
        for (name, _) in &command.header {
            if provider.signature.headers.contains(name) {
                return Err(CommandError::Usage(format!(
                    "--header: {name} is the signature, which is made here; leave it out"
                )));
            }
        }
        Ok(Self {
            provider: Arc::clone(provider),
            signed_at: signed_at(command, provider, &body)?,
            body,
            headers: command.header.clone(),
            content_type: command.content_type.clone(),
        })
    }

    /// The next delivery, and the time to sign it as of.
    pub(super) fn next(&self) -> Result<(Sample, Timestamp), CommandError> {
        let now = Timestamp::now();
        let signed_at = self.signed_at.unwrap_or(now);
        let mut delivery = match &self.body {
            DeliveryBody::Given(body) => Sample {
                head: DeliveryHead::default(),
                content_type: self.provider.sample_content_type().to_owned(),
                body: body.clone(),
            },
            DeliveryBody::Sample(event_type, object) => {
                let values = SampleValues {
                    object: object.clone().unwrap_or_else(sample_delivery::object_id),
                    event_type: event_type.clone(),
                    time: if signs_time_of_body(&self.provider) {
                        signed_at
                    } else {
                        now
                    },
                };
                let sample = sample_delivery::new(&self.provider, &values);
                sample.ok_or_else(|| no_sample(&self.provider))?
            }
        };
        let headers = &mut delivery.head.headers;
        headers.retain(|(name, _)| !self.headers.iter().any(|(given, _)| given == name));
        headers.extend(self.headers.iter().cloned());
        if let Some(content_type) = &self.content_type {
            delivery.content_type.clone_from(content_type);
        }
        Ok((delivery, signed_at))
    }
}

fn sample(command: &SendCommand, provider: &Provider) -> Result<DeliveryBody, CommandError> {
    if provider.sample.is_none() {
        return Err(no_sample(provider));
    }
    if command.event_type.is_some() && !provider.sample_takes_type() {
        return Err(CommandError::Usage(format!(
            "--event-type: the sample of {} has a type of its own; give a delivery of another type with --body, and with --header where a header says the type",
            provider.name
        )));
    }
    let event_type = command.event_type.clone();
    let event_type = event_type.unwrap_or_else(|| sample_delivery::event_type(provider));
    Ok(DeliveryBody::Sample(event_type, command.object_id.clone()))
}

fn no_sample(provider: &Provider) -> CommandError {
    CommandError::Usage(format!(
        "{} has no sample; give a delivery with --body",
        provider.name
    ))
}

/// The time that `--timestamp` names, where the provider signs one that can be chosen.
fn signed_at(
    command: &SendCommand,
    provider: &Provider,
    body: &DeliveryBody,
) -> Result<Option<Timestamp>, CommandError> {
    let Some(seconds) = command.timestamp else {
        return Ok(None);
    };
    let problem = |found: &str| CommandError::Usage(format!("--timestamp: {found}"));
    if provider.signature.timestamp.is_none() {
        return Err(problem(&format!("{} signs no time", provider.name)));
    }
    if signs_time_of_body(provider) && matches!(body, DeliveryBody::Given(_)) {
        let found = format!("the time that {} signs stands in the body", provider.name);
        return Err(problem(&found));
    }
    let time = Timestamp::from_second(seconds);
    time.map(Some).map_err(|error| problem(&error.to_string()))
}

fn signs_time_of_body(provider: &Provider) -> bool {
    let timestamp = &provider.signature.timestamp;
    matches!(timestamp, Some(Variable::Pointer(_)))
}
