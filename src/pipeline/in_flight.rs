//! The publishes in flight: one future per event, no task.

use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use crate::sink::{PublishError, Receipt, Sink};
use crate::spool::SpoolRecord;

/// The most bytes of records outstanding, unless one alone has more: clients of brokers keep copies.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// A publish that has ended.
#[derive(Debug)]
pub(super) struct PublishAttempt {
    pub record: Arc<SpoolRecord>,
    pub result: Result<Receipt, PublishError>,
    pub started: Instant,
}

impl PublishAttempt {
    /// Whether the sink has said what it thinks of the message, whatever that is.
    pub fn is_verdict(&self) -> bool {
        !matches!(self.result, Err(PublishError::Unavailable(_)))
    }
}

/// The publishes outstanding at one sink.
#[derive(Debug)]
pub(super) struct PublishesInFlight {
    sink: Arc<dyn Sink>,
    outstanding: FuturesUnordered<BoxFuture<'static, PublishAttempt>>,
    bytes: usize,
}

impl PublishesInFlight {
    pub fn to(sink: Arc<dyn Sink>) -> Self {
        Self {
            sink,
            outstanding: FuturesUnordered::new(),
            bytes: 0,
        }
    }

    /// The address the sink would publish the record to.
    pub fn address(&self, record: &SpoolRecord) -> String {
        self.sink.address(&record.message())
    }

    /// Whether the record may be outstanding beside those that are, by its bytes.
    pub fn has_room_for(&self, record: &SpoolRecord) -> bool {
        self.is_empty() || self.bytes + bytes(record) <= MOST_BYTES
    }

    /// Starts one.
    pub fn start(&mut self, record: Arc<SpoolRecord>) {
        self.bytes += bytes(&record);
        let sink = Arc::clone(&self.sink);
        let attempt = async move {
            let started = Instant::now();
            let message = record.message();
            let result = sink.publish(&message).await;
            PublishAttempt {
                record,
                result,
                started,
            }
        };
        self.outstanding.push(attempt.boxed());
    }

    pub fn len(&self) -> usize {
        self.outstanding.len()
    }

    pub fn is_empty(&self) -> bool {
        self.outstanding.is_empty()
    }

    /// Waits for one to end, and takes those that have ended with it, up to `most`.
    pub async fn ended(&mut self, most: usize) -> Vec<PublishAttempt> {
        let Some(first) = self.outstanding.next().await else {
            return Vec::new();
        };
        let mut attempts = vec![first];
        while attempts.len() < most
            && let Some(Some(attempt)) = self.outstanding.next().now_or_never()
        {
            attempts.push(attempt);
        }
        let ended = attempts.iter().map(|attempt| bytes(&attempt.record));
        self.bytes -= ended.sum::<usize>();
        attempts
    }
}

/// The bytes of a record.
pub(super) fn bytes(record: &SpoolRecord) -> usize {
    record.position().bytes as usize
}
