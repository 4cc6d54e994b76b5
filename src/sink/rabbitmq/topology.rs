//! Exchanges and queues: made, or verified, and remembered so that each is asked for once per
//! connection. What cannot be made is reported and not fatal: the broker has the last word when a
//! message is published.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, ExchangeKind};

use super::connection::{Connection, ConnectionError, within};
use super::settings::{DeclaredQueue, RabbitMqSettings};
use crate::sink::Needs;

/// More exchanges than this are not remembered: an event type per exchange, and event types are
/// the provider's to invent.
const MOST_REMEMBERED: usize = 1024;

/// What a connection has found out about the broker's exchanges.
#[derive(Debug, Default)]
pub(super) struct KnownExchanges {
    inner: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    declared: HashSet<String>,
    /// Exchanges that refuse messages, or may, because they are not as configured: published to one
    /// message at a time. With the broker's words where one has closed a channel.
    refusing: HashMap<String, Option<String>>,
}

impl KnownExchanges {
    /// Whether `exchange` was declared on this connection; from now on it counts as declared.
    pub fn note_declared(&self, exchange: &str) -> bool {
        let mut known = self.lock();
        if known.declared.contains(exchange) {
            return true;
        }
        if known.declared.len() >= MOST_REMEMBERED {
            known.declared.clear();
        }
        known.declared.insert(exchange.to_owned());
        false
    }

    /// Whether `exchange` refuses messages, or may.
    pub fn is_refusing(&self, exchange: &str) -> bool {
        self.lock().refusing.contains_key(exchange)
    }

    /// Whether any exchange does.
    pub fn has_refusing(&self) -> bool {
        !self.lock().refusing.is_empty()
    }

    /// Notes that the exchange may refuse, until it has taken a message.
    pub fn expect_refusal(&self, exchange: &str) {
        self.lock().refusing.entry(exchange.to_owned()).or_default();
    }

    /// Notes that the exchange has closed a channel, and looks for it again before the next try.
    /// Answers whether the reason is news.
    pub fn note_refusal(&self, exchange: &str, reason: &str) -> bool {
        let mut known = self.lock();
        known.declared.remove(exchange);
        if known.refusing.len() >= MOST_REMEMBERED {
            known.refusing.clear();
        }
        let before = known
            .refusing
            .insert(exchange.to_owned(), Some(reason.to_owned()));
        before.flatten().as_deref() != Some(reason)
    }

    /// Notes that the exchange takes messages. Answers whether it refused some before.
    pub fn note_taken(&self, exchange: &str) -> bool {
        self.lock().refusing.remove(exchange).flatten().is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// All exchanges the given sources need, each once.
pub(super) fn needed(settings: &RabbitMqSettings, needs: &Needs) -> Vec<String> {
    let mut exchanges: Vec<String> = needs
        .sources
        .iter()
        .flat_map(|(source, event_types)| settings.exchanges(source, event_types))
        .collect();
    exchanges.sort();
    exchanges.dedup();
    exchanges
}

/// The exchanges a queue is to be bound to.
fn bound_exchanges<'a>(queue: &'a DeclaredQueue, exchanges: &'a [String]) -> Vec<&'a str> {
    match &queue.exchange {
        Some(exchange) => vec![exchange],
        None => exchanges.iter().map(String::as_str).collect(),
    }
}

/// Makes, or verifies, what the settings ask for. Answers what went wrong, in words.
pub(super) async fn set_up(
    connection: &Connection,
    settings: &RabbitMqSettings,
    needs: &Needs,
    known: &KnownExchanges,
) -> Result<Vec<String>, ConnectionError> {
    let exchanges = needed(settings, needs);
    let mut wrong = Vec::new();
    for exchange in &exchanges {
        known.note_declared(exchange);
        let result = ensure_exchange(connection, settings.declare, exchange).await;
        if result.is_err() {
            known.expect_refusal(exchange);
        }
        note(
            &mut wrong,
            connection,
            &format!("exchange {exchange}"),
            result,
        )?;
    }
    for queue in &settings.queues {
        for result in set_up_queue(connection, settings.declare, queue, &exchanges).await {
            note(
                &mut wrong,
                connection,
                &format!("queue {}", queue.name),
                result,
            )?;
        }
    }
    Ok(wrong)
}

/// Makes the queue and binds it, or finds it: what each step came to.
async fn set_up_queue(
    connection: &Connection,
    declare: bool,
    queue: &DeclaredQueue,
    exchanges: &[String],
) -> Vec<Result<(), ConnectionError>> {
    if !declare {
        let found = find_queue(connection, &queue.name).await;
        // From RabbitMQ 4.3 on only who has a right to a queue may look for it, and we need none.
        let is_hidden = found.as_ref().is_err_and(ConnectionError::is_refused);
        return if is_hidden { Vec::new() } else { vec![found] };
    }
    let declared = declare_queue(connection, &queue.name).await;
    // One of another kind, or one that we may not make, is bound as it is.
    let is_there = declared.is_ok() || find_queue(connection, &queue.name).await.is_ok();
    let mut results = Vec::new();
    if !declared.as_ref().is_err_and(has_own_arguments) {
        results.push(declared);
    }
    if is_there {
        results.push(bind_queue(connection, queue, &bound_exchanges(queue, exchanges)).await);
    }
    results
}

/// Whether what was declared is there and differs in arguments alone. They are the operator's own
/// affair: where messages go that nothing takes, how many a queue holds.
pub(super) fn has_own_arguments(error: &ConnectionError) -> bool {
    const OURS: [&str; 5] = ["type", "durable", "auto_delete", "internal", "x-queue-type"];
    let property = error.differs_in();
    property.is_some_and(|property| !OURS.contains(&property.as_str()))
}

/// A refusal is noted; a connection that is gone or silent is an error.
fn note(
    wrong: &mut Vec<String>,
    connection: &Connection,
    what: &str,
    result: Result<(), ConnectionError>,
) -> Result<(), ConnectionError> {
    match result {
        Err(error @ ConnectionError::Broker(_)) if connection.amqp().status().connected() => {
            wrong.push(format!("{what}: {error}"));
            Ok(())
        }
        other => other,
    }
}

/// Makes the exchange, or finds it.
pub(super) async fn ensure_exchange(
    connection: &Connection,
    declare: bool,
    exchange: &str,
) -> Result<(), ConnectionError> {
    if declare {
        declare_exchange(connection, exchange).await
    } else {
        find_exchange(connection, exchange).await
    }
}

/// Makes a durable topic exchange; one that is there is left alone, whatever arguments it has.
pub(super) async fn declare_exchange(
    connection: &Connection,
    exchange: &str,
) -> Result<(), ConnectionError> {
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    match exchange_declare(connection, exchange, options).await {
        Err(error) if has_own_arguments(&error) => Ok(()),
        result => result,
    }
}

/// Whether an exchange of that name is there, of whatever type.
pub(super) async fn find_exchange(
    connection: &Connection,
    exchange: &str,
) -> Result<(), ConnectionError> {
    let options = ExchangeDeclareOptions {
        passive: true,
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    exchange_declare(connection, exchange, options).await
}

/// Each declaration has a channel of its own, because a refusal closes it.
async fn exchange_declare(
    connection: &Connection,
    exchange: &str,
    options: ExchangeDeclareOptions,
) -> Result<(), ConnectionError> {
    let channel = connection.channel().await?;
    let declaring = channel.exchange_declare(
        short(exchange),
        ExchangeKind::Topic,
        options,
        FieldTable::default(),
    );
    within(connection.deadline(), declaring).await?;
    close(connection, &channel).await
}

/// Makes a durable quorum queue; one that is there is left alone.
pub(super) async fn declare_queue(
    connection: &Connection,
    queue: &str,
) -> Result<(), ConnectionError> {
    let channel = connection.channel().await?;
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    let declaring = channel.queue_declare(short(queue), options, arguments);
    within(connection.deadline(), declaring).await?;
    close(connection, &channel).await
}

/// Binds a queue, whatever it is made of.
async fn bind_queue(
    connection: &Connection,
    queue: &DeclaredQueue,
    exchanges: &[&str],
) -> Result<(), ConnectionError> {
    let channel = connection.channel().await?;
    for exchange in exchanges {
        let binding = channel.queue_bind(
            short(&queue.name),
            short(exchange),
            short(&queue.binding),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        within(connection.deadline(), binding).await?;
    }
    close(connection, &channel).await
}

/// Whether a queue of that name is there.
pub(super) async fn find_queue(
    connection: &Connection,
    queue: &str,
) -> Result<(), ConnectionError> {
    let channel = connection.channel().await?;
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let declaring = channel.queue_declare(short(queue), options, FieldTable::default());
    within(connection.deadline(), declaring).await?;
    close(connection, &channel).await
}

async fn close(connection: &Connection, channel: &Channel) -> Result<(), ConnectionError> {
    within(connection.deadline(), channel.close(200, "done".into())).await
}

/// A name as AMQP writes it. Settings and addresses are checked to be short enough before they get
/// here; AMQP has no way to write a longer name, and the empty one is refused by the broker.
pub(super) fn short(name: &str) -> ShortString {
    ShortString::try_new(name).unwrap_or_default()
}
