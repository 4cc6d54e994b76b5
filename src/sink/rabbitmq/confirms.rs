//! The publisher confirms of a batch, and what they say of each message: pure functions over what the
//! broker answered.

use std::collections::HashSet;

use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPSoftError};
use lapin::{Confirmation, ErrorKind};

use super::connection::said;
use super::publish_queue::{PendingPublish, PublishVerdict};
use crate::seeded::{self, Bug};
use crate::sink::{PublishError, RefusalReason};

/// How a batch ended that did not close the channel.
#[derive(Debug)]
pub(super) enum BatchOutcome {
    /// Every message was confirmed or nacked; one verdict each, in order.
    Confirmed(Vec<PublishVerdict>),
    /// Nobody can tell, but the connection is well.
    Doubt(String),
    /// Nobody can tell, and the connection is of no more use.
    Lost(String),
}

/// What the broker minds about a message that closed the channel alone.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ChannelFault {
    /// Its exchange, and so every message to it, for this reason.
    Exchange(String),
    /// The message.
    Message(PublishError),
}

/// Reads the answers to a batch.
///
/// # Errors
/// When the broker closed the channel over something in the batch.
pub(super) fn judge(
    batch: &[PendingPublish],
    results: Vec<lapin::Result<Confirmation>>,
    connected: bool,
) -> Result<BatchOutcome, AMQPError> {
    let confirmations = match confirmations(results) {
        Ok(confirmations) => confirmations,
        Err(error) => return failure(&error, connected),
    };
    let acknowledged: Vec<bool> = confirmations.iter().map(Confirmation::is_ack).collect();
    let mut returned: HashSet<String> = HashSet::new();
    for message in confirmations
        .into_iter()
        .filter_map(Confirmation::take_message)
    {
        match message.properties.message_id() {
            Some(id) => returned.insert(id.to_string()),
            None => {
                let reason = "the broker returned a message without its id";
                return Ok(BatchOutcome::Doubt(reason.into()));
            }
        };
    }
    if seeded::is(Bug::IgnoreReturn) {
        returned.clear();
    }
    if seeded::is(Bug::TakeAnothersConfirm) {
        returned = followers(batch, &returned);
    }
    let verdicts = batch
        .iter()
        .zip(acknowledged)
        .map(|(publish, acknowledged)| verdict_on(publish, acknowledged, &returned))
        .collect();
    Ok(BatchOutcome::Confirmed(verdicts))
}

/// What a seeded bug takes for returned: the messages behind those that were.
fn followers(batch: &[PendingPublish], returned: &HashSet<String>) -> HashSet<String> {
    let ids = || batch.iter().map(|publish| publish.message.id().to_string());
    let pairs = ids().zip(ids().cycle().skip(1));
    pairs
        .filter(|(id, _)| returned.contains(id))
        .map(|(_, next)| next)
        .collect()
}

fn verdict_on(
    publish: &PendingPublish,
    acknowledged: bool,
    returned: &HashSet<String>,
) -> PublishVerdict {
    // Most batches have no returns, and need no id as text.
    if !returned.is_empty() && returned.contains(&publish.message.id().to_string()) {
        return Err(PublishError::Unroutable(format!(
            "exchange {} has no queue bound for routing key {}",
            publish.exchange, publish.routing_key
        )));
    }
    if acknowledged {
        Ok(())
    } else {
        Err(PublishError::Unroutable(format!(
            "a queue behind exchange {} rejects the message with routing key {}, as full ones do",
            publish.exchange, publish.routing_key
        )))
    }
}

/// All confirmations, or the error that says most: the broker's own where there is one, because the
/// other messages of a closed channel fail for no reason of their own.
fn confirmations(
    results: Vec<lapin::Result<Confirmation>>,
) -> Result<Vec<Confirmation>, lapin::Error> {
    let mut confirmations = Vec::with_capacity(results.len());
    let mut worst: Option<lapin::Error> = None;
    for result in results {
        match result {
            Ok(confirmation) => confirmations.push(confirmation),
            Err(error) if worst.is_none() || error.is_amqp_soft_error() => worst = Some(error),
            Err(_) => {}
        }
    }
    worst.map_or(Ok(confirmations), Err)
}

fn failure(error: &lapin::Error, connected: bool) -> Result<BatchOutcome, AMQPError> {
    match error.kind() {
        ErrorKind::ProtocolError(error) if is_soft(error) => Err(error.clone()),
        _ if connected => Ok(BatchOutcome::Doubt(said(error))),
        _ => Ok(BatchOutcome::Lost(said(error))),
    }
}

fn is_soft(error: &AMQPError) -> bool {
    matches!(error.kind(), AMQPErrorKind::Soft(_))
}

/// What is at fault where a message closed the channel alone.
pub(super) fn fault(error: &AMQPError) -> ChannelFault {
    let detail = error.get_message().to_string();
    if concerns_exchange(error) {
        return ChannelFault::Exchange(detail);
    }
    let reason = match error.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::CONTENTTOOLARGE) => RefusalReason::TooLarge,
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) if detail.contains("size") => {
            RefusalReason::TooLarge
        }
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => RefusalReason::Rejected,
        _ => return ChannelFault::Message(PublishError::Unroutable(detail)),
    };
    ChannelFault::Message(PublishError::Refused { reason, detail })
}

/// Whether the broker minds the exchange, and not a message or its routing key.
fn concerns_exchange(error: &AMQPError) -> bool {
    match error.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => true,
        // With topic permissions, some routing keys of an exchange may be refused and others not.
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => {
            !error.get_message().as_str().contains("topic '")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault_of(code: u16, text: &str) -> ChannelFault {
        fault(&AMQPError::from_id(code, text.into()).expect("one of AMQP's numbers"))
    }

    #[test]
    fn what_closes_a_channel_is_the_exchange_or_the_message() {
        for (code, text) in [
            (404, "NOT_FOUND - no exchange 'x' in vhost '/'"),
            (
                403,
                "ACCESS_REFUSED - write access to exchange 'x' in vhost '/' refused for user 'u'",
            ),
        ] {
            assert_eq!(
                fault_of(code, text),
                ChannelFault::Exchange(text.to_owned())
            );
        }
        let topic =
            "ACCESS_REFUSED - write access to topic 'k' in exchange 'x' in vhost '/' refused";
        assert_eq!(
            fault_of(403, topic),
            ChannelFault::Message(PublishError::Unroutable(topic.to_owned()))
        );
        for (code, text, reason) in [
            (
                406,
                "PRECONDITION_FAILED - message size 20 is larger than configured max size 10",
                RefusalReason::TooLarge,
            ),
            (311, "CONTENT_TOO_LARGE", RefusalReason::TooLarge),
            (
                406,
                "PRECONDITION_FAILED - invalid message",
                RefusalReason::Rejected,
            ),
        ] {
            let detail = text.to_owned();
            let refused = PublishError::Refused { reason, detail };
            assert_eq!(fault_of(code, text), ChannelFault::Message(refused));
        }
    }
}
