//! What a batch came to: pure judgement over what the broker answered.

use std::collections::HashSet;

use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPSoftError};
use lapin::{Confirmation, ErrorKind};

use super::connection::said;
use super::queue::{Job, Verdict};
use crate::seeded::{self, Bug};
use crate::sink::{PublishError, RefusalReason};

/// What a batch came to.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Every message was confirmed or nacked; one verdict each, in order.
    Confirmed(Vec<Verdict>),
    /// The broker closed the channel over something in the batch.
    Closed(AMQPError),
    /// Nobody can tell, but the connection is well.
    Doubt(String),
    /// Nobody can tell, and the connection is of no more use.
    Lost(String),
}

/// Who is to blame for a closed channel.
#[derive(Debug)]
pub(super) enum Blame {
    /// The one exchange of these messages, and what the broker has against it.
    Exchange(Vec<Job>, String),
    /// This message.
    Message(Job, PublishError),
    /// Not to be told; to be published again in these smaller groups.
    Unclear(Vec<Vec<Job>>),
}

/// Judges the answers to a batch.
pub(super) fn judge(
    jobs: &[Job],
    results: Vec<lapin::Result<Confirmation>>,
    connected: bool,
) -> Outcome {
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
            None => return Outcome::Doubt("the broker returned a message without its id".into()),
        };
    }
    if seeded::is(Bug::IgnoreReturn) {
        returned.clear();
    }
    if seeded::is(Bug::TakeAnothersConfirm) {
        returned = followers(jobs, &returned);
    }
    let verdicts = jobs
        .iter()
        .zip(acknowledged)
        .map(|(job, acknowledged)| verdict(job, acknowledged, &returned))
        .collect();
    Outcome::Confirmed(verdicts)
}

/// What a seeded bug takes for returned: the messages behind those that were.
fn followers(jobs: &[Job], returned: &HashSet<String>) -> HashSet<String> {
    let ids = || jobs.iter().map(|job| job.message.id().to_string());
    let pairs = ids().zip(ids().cycle().skip(1));
    pairs
        .filter(|(id, _)| returned.contains(id))
        .map(|(_, next)| next)
        .collect()
}

fn verdict(job: &Job, acknowledged: bool, returned: &HashSet<String>) -> Verdict {
    // Most batches have no returns, and need no id as text.
    if !returned.is_empty() && returned.contains(&job.message.id().to_string()) {
        return Err(PublishError::Unroutable(format!(
            "exchange {} has no queue bound for routing key {}",
            job.exchange, job.routing_key
        )));
    }
    if acknowledged {
        Ok(job.message.receipt())
    } else {
        Err(PublishError::Unroutable(format!(
            "a queue behind exchange {} rejects the message with routing key {}, as full ones do",
            job.exchange, job.routing_key
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

fn failure(error: &lapin::Error, connected: bool) -> Outcome {
    match error.kind() {
        ErrorKind::ProtocolError(error) if is_soft(error) => Outcome::Closed(error.clone()),
        _ if connected => Outcome::Doubt(said(error)),
        _ => Outcome::Lost(said(error)),
    }
}

fn is_soft(error: &AMQPError) -> bool {
    matches!(error.kind(), AMQPErrorKind::Soft(_))
}

/// Finds out who is to blame, or how to find out.
pub(super) fn blame(mut jobs: Vec<Job>, error: &AMQPError) -> Blame {
    if !is_one_exchange(&jobs) {
        return Blame::Unclear(by_exchange(jobs));
    }
    if concerns_exchange(error) {
        return Blame::Exchange(jobs, error.get_message().to_string());
    }
    let second = jobs.split_off(jobs.len() / 2);
    match <[Job; 1]>::try_from(second) {
        Ok([job]) if jobs.is_empty() => Blame::Message(job, conviction(error)),
        Ok(second) => Blame::Unclear(vec![jobs, second.into()]),
        Err(second) => Blame::Unclear(vec![jobs, second]),
    }
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

fn conviction(error: &AMQPError) -> PublishError {
    let detail = error.get_message().to_string();
    let reason = match error.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::CONTENTTOOLARGE) => RefusalReason::TooLarge,
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) if detail.contains("size") => {
            RefusalReason::TooLarge
        }
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => RefusalReason::Rejected,
        _ => return PublishError::Unroutable(detail),
    };
    PublishError::Refused { reason, detail }
}

fn is_one_exchange(jobs: &[Job]) -> bool {
    jobs.windows(2)
        .all(|pair| pair[0].exchange == pair[1].exchange)
}

/// The jobs of each exchange together.
pub(super) fn by_exchange(mut jobs: Vec<Job>) -> Vec<Vec<Job>> {
    jobs.sort_by(|a, b| a.exchange.cmp(&b.exchange));
    let mut groups: Vec<Vec<Job>> = Vec::new();
    for job in jobs {
        match groups.last_mut() {
            Some(group) if group[0].exchange == job.exchange => group.push(job),
            _ => groups.push(vec![job]),
        }
    }
    groups
}
