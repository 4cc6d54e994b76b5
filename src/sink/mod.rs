//! Where messages go: one trait, three implementations, one contract.
//!
//! A sink publishes and tells the truth about it. It never retries, never sleeps on a failure and
//! never touches the spool: backing off, keeping the order and setting aside belong to the
//! dispatcher, which reacts to the name of the error. Every await on a broker has a deadline of its
//! own, so a frozen broker is an error like any other.

mod destination;
pub mod kafka;
mod message;
pub mod rabbitmq;
pub mod store;
mod tls;

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

pub use destination::Destination;
pub use message::{Attribute, Message, Receipt};
pub use tls::{BrokerTls, CertificateFile, ClientIdentity, ClientPrivateKey};

/// Why a message was not confirmed, named by what the dispatcher does about it. The text says what
/// the broker said, for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The sink cannot take anything now, or did not answer in time: pause, then try again.
    /// Whether the message arrived is in doubt, so it goes out again with the same id.
    #[error("{0}")]
    Unavailable(String),
    /// The sink is well but has no place for this message yet (no binding, no such topic, no leader,
    /// no permission, a full queue): hold its object and its address back, let the others go on.
    #[error("{0}")]
    Unroutable(String),
    /// The sink can never take this message: set it aside.
    #[error("{reason}: {detail}")]
    Refused {
        /// The closed-set name of the cause, a metric label.
        reason: RefusalReason,
        /// What the broker said.
        detail: String,
    },
}

/// Why a message can never be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalReason {
    /// Larger than the broker takes.
    TooLarge,
    /// An address the broker does not allow.
    InvalidAddress,
    /// Anything else the broker says no to for good.
    Rejected,
}

impl RefusalReason {
    /// Every reason, so that each has a series from the first scrape on.
    pub const ALL: [Self; 3] = [Self::TooLarge, Self::InvalidAddress, Self::Rejected];

    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::InvalidAddress => "invalid_address",
            Self::Rejected => "rejected",
        }
    }
}

impl std::fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a connection to a sink looks like from inside it: read at every scrape, and by the log
/// when it changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SinkHealth {
    /// Whether the sink answers.
    pub connected: bool,
    /// Whether the broker has asked publishers to stop (`connection.blocked`).
    pub blocked: bool,
    /// How often a connection was made anew since the start.
    pub reconnects: u64,
    /// How often one could not be made, by the stage it failed at; empty where a sink cannot tell.
    pub failures: BTreeMap<Stage, u64>,
}

/// The stages on the way to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The broker's name is looked up.
    Lookup,
    /// The network leads to it.
    Connect,
    /// It shows a certificate that holds.
    Tls,
    /// It lets us in.
    Login,
}

impl Stage {
    /// Every stage, so that each has a series from the first scrape on.
    pub const ALL: [Self; 4] = [Self::Lookup, Self::Connect, Self::Tls, Self::Login];

    /// The stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Login => "login",
        }
    }
}

/// One result of a check, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was found.
    pub found: String,
    /// What to do about it; empty where all is well.
    pub remedy: String,
}

impl Finding {
    pub(crate) fn good(found: impl Into<String>) -> Self {
        Self {
            severity: Severity::Good,
            found: found.into(),
            remedy: String::new(),
        }
    }

    pub(crate) fn warning(found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            found: found.into(),
            remedy: remedy.into(),
        }
    }

    pub(crate) fn error(found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            found: found.into(),
            remedy: remedy.into(),
        }
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// As it should be.
    Good,
    /// Works, but the promise is weaker than it could be.
    Warning,
    /// Events would not be delivered.
    Error,
}

/// A message a follower of a topic sees.
#[derive(Debug, Clone)]
pub struct FollowedMessage {
    /// The topic, or exchange and routing key.
    pub address: String,
    /// The position in the topic, where there is one.
    pub position: Option<String>,
    /// The key, where there is one.
    pub key: Option<String>,
    /// The headers, as text.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: bytes::Bytes,
}

/// What a sink that runs has done with settings that may hold other credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// They are the same.
    Unchanged,
    /// It takes the credentials over.
    Taken,
    /// More has changed than credentials, which needs another sink: nothing is taken over.
    Refused,
}

impl Renewed {
    /// The reaction to these differences.
    fn of(is_same: bool, is_same_but_for_credentials: bool) -> Self {
        match (is_same, is_same_but_for_credentials) {
            (true, _) => Self::Unchanged,
            (false, true) => Self::Taken,
            (false, false) => Self::Refused,
        }
    }
}

/// Where messages go.
#[async_trait]
pub trait Sink: Send + Sync + std::fmt::Debug {
    /// Which kind of sink it is, as `type` in the configuration has it.
    fn kind(&self) -> &'static str;

    /// Publishes one message and returns when the sink has confirmed it. Dropping the future gives
    /// the message up: it may or may not arrive.
    ///
    /// Sinks batch inside: many publishes are outstanding at once, by many callers.
    ///
    /// # Errors
    /// Named by what to do next.
    async fn publish(&self, message: &Message) -> Result<Receipt, PublishError>;

    /// Where the message would go, as far as others go there too: messages of one address mostly have
    /// a place together, or none. What is there for a single object alone is left out, or each
    /// object of an event type that nobody takes would have to be tried by itself.
    fn address(&self, message: &Message) -> String;

    /// Looks at the sink with an operator's eyes: is it reachable, is everything there that the
    /// given source and event types need, is it durable.
    async fn check(&self, needs: &Needs) -> Vec<Finding>;

    /// A number that changes whenever the sink takes messages again after it took none: whoever
    /// waits out a failure then need not wait any longer. It never changes where a sink cannot tell.
    fn recoveries(&self) -> watch::Receiver<u64> {
        watch::Sender::default().subscribe()
    }

    /// The connection's state now.
    fn health(&self) -> SinkHealth;

    /// Returns when a task or thread of the sink has ended, and never while all is well: without it
    /// events would wait for ever, so the program stops, and its next start begins anew.
    async fn ended(&self);

    /// Closes the connection, within `deadline`. Publishes still outstanding fail.
    async fn close(&self, deadline: Duration);
}

/// What the configuration will send to a sink.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    /// The sources and their configured event types.
    pub sources: Vec<(crate::name::SourceName, Vec<crate::name::EventType>)>,
}
