//! The checks of the broker that an operator asks for, over a connection of their own. They change
//! nothing: what is missing is not made here.

use super::connection::{Connection, ConnectionError, NotConnected};
use super::settings::RabbitMqSettings;
use super::topology::{
    declare_exchange, declare_queue, find_exchange, find_queue, has_own_arguments, needed,
};
use crate::sink::{Finding, Needs, Severity, Stage};

/// All there is to find.
pub(super) async fn check(settings: &RabbitMqSettings, needs: &Needs) -> Vec<Finding> {
    let connection = match Connection::open(settings).await {
        Ok(connection) => connection,
        Err(error) => return vec![unreachable(settings, &error)],
    };
    let mut findings = vec![Finding::good(format!(
        "the broker answers at {}",
        settings.address
    ))];
    for exchange in needed(settings, needs) {
        findings.push(exchange_finding(&connection, settings, &exchange).await);
    }
    for queue in &settings.queues {
        findings.push(queue_finding(&connection, settings, &queue.name).await);
    }
    if settings.queues.is_empty() {
        findings.push(Finding::warning(
            "no queue is configured, and AMQP does not tell whether any is bound",
            "bind a queue for every routing key, or name it under `queue`: an event that no queue \
             takes is held back until one does",
        ));
    }
    connection.close(settings.publish_timeout).await;
    findings
}

fn unreachable(settings: &RabbitMqSettings, error: &NotConnected) -> Finding {
    let address = &settings.address;
    Finding::error(
        format!("the broker does not let us in at {address}: {error}"),
        remedy(error),
    )
}

/// What to do about a broker that cannot be reached, by how far it went.
fn remedy(failure: &NotConnected) -> &'static str {
    match failure.stage {
        Stage::Lookup => "correct the host in `url`, or let this machine look it up",
        Stage::Connect => {
            "check the host and the port in `url`, that the broker listens there, and the firewalls \
             in between"
        }
        Stage::Tls => {
            "check that the port speaks TLS, the authority in `ca_file`, the name in the broker's \
             certificate, and the client certificate where the broker wants one"
        }
        _ if failure.error.is_over_limit() => {
            "let the broker take one connection more, or look again while the bridge does not run"
        }
        _ => {
            "check the user, the password and the virtual host, and that the port speaks AMQP: TLS \
             has another one"
        }
    }
}

/// Whether the exchange is there, durable, and of type topic. A passive declaration tells only the
/// first; an active one of an exchange that is there changes nothing and tells the rest.
async fn exchange_finding(
    connection: &Connection,
    settings: &RabbitMqSettings,
    exchange: &str,
) -> Finding {
    match find_exchange(connection, exchange).await {
        Err(error) if is_missing(&error) && settings.declare => Finding::good(format!(
            "exchange {exchange} is not there yet and will be declared"
        )),
        // Not to write either; or it is RabbitMQ 4.2.6 or 4.3.0, and the right to configure is missing.
        Err(error) if error.is_refused() && !settings.declare => Finding::warning(
            format!("exchange {exchange} is not shown: {error}"),
            "grant the permission to write to it",
        ),
        Err(error) => Finding::error(
            format!("exchange {exchange}: {error}"),
            "declare it as a durable topic exchange, or set `declare = true`",
        ),
        Ok(()) => match declare_exchange(connection, exchange).await {
            Ok(()) => Finding::good(format!("exchange {exchange} is a durable topic exchange")),
            // Who declares nothing needs no right to, and is better without.
            Err(error) if error.is_refused() && !settings.declare => Finding::good(format!(
                "exchange {exchange} is there; its type is not shown to a user who may not configure it"
            )),
            Err(error) if error.is_refused() => Finding::warning(
                format!("exchange {exchange} is there, but its type is hidden: {error}"),
                "make sure that it is a durable topic exchange, or grant the permission to configure \
                 it",
            ),
            Err(error) => other_exchange(exchange, settings.declare, &error),
        },
    }
}

/// An exchange that is there, and is not what a sink publishes to.
fn other_exchange(exchange: &str, declare: bool, error: &ConnectionError) -> Finding {
    let (severity, what) = match error.differs_in().as_deref() {
        Some("auto_delete") => (Severity::Warning, "goes with its last binding"),
        Some("internal") => (Severity::Error, "takes nothing from clients"),
        _ => (Severity::Error, "is not a durable topic exchange"),
    };
    let remedy = if declare {
        "delete it and let it be declared again, or configure another `exchange`"
    } else {
        "make it anew as a durable topic exchange, or configure another `exchange`"
    };
    Finding {
        severity,
        found: format!("exchange {exchange} {what}: {error}"),
        remedy: remedy.to_owned(),
    }
}

/// Whether the queue is there, and of what it is made: see [`exchange_finding`].
async fn queue_finding(
    connection: &Connection,
    settings: &RabbitMqSettings,
    queue: &str,
) -> Finding {
    match find_queue(connection, queue).await {
        Ok(()) => match declare_queue(connection, queue).await {
            Err(error) if has_own_arguments(&error) => {
                Finding::good(format!("queue {queue} is there, with arguments of its own"))
            }
            Err(error) if error.differs_in().is_some() => Finding::warning(
                format!(
                    "queue {queue} is there, but is not a durable quorum queue, and is used as it is: {error}"
                ),
                format!(
                    "let its consumers empty it, delete it, and {} as a durable quorum queue, which survives the loss of a broker",
                    if settings.declare {
                        "let it be declared again"
                    } else {
                        "make it anew"
                    }
                ),
            ),
            // Who may not configure it is shown no more of it.
            Err(error) if !error.is_refused() => Finding::warning(
                format!("queue {queue} is there, but what it is was not shown: {error}"),
                "look again",
            ),
            Ok(()) | Err(_) => Finding::good(format!("queue {queue} is there")),
        },
        Err(error) if is_missing(&error) && settings.declare => Finding::good(format!(
            "queue {queue} is not there yet and will be declared"
        )),
        // Nor does who declares nothing need a right to it.
        Err(error) if error.is_refused() && !settings.declare => Finding::warning(
            format!("queue {queue} is not shown to a user who has no right to it: {error}"),
            "look for it with `rabbitmqctl list_queues`, or grant the permission to write to it",
        ),
        Err(error) => Finding::error(
            format!("queue {queue}: {error}"),
            "declare it and bind it to the exchange, or set `declare = true`",
        ),
    }
}

fn is_missing(error: &ConnectionError) -> bool {
    error.reply_code() == Some(404)
}
