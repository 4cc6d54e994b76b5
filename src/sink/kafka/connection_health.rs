//! The health of a Kafka sink's connections, for its metrics and its log: reconnects, failures by
//! stage, the last error. It outlives the single client, which may be replaced.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::types::RDKafkaErrorCode;

use super::client_error::{ClientError, ClientErrorKind};
use crate::sink::Stage;

/// Reconnects, failures and the last error of all clients of a sink.
#[derive(Debug)]
pub(super) struct ConnectionHealth {
    ever_connected: AtomicBool,
    reconnects: AtomicU64,
    failures: Mutex<BTreeMap<Stage, u64>>,
    last_error: Mutex<Option<ClientError>>,
}

impl Default for ConnectionHealth {
    fn default() -> Self {
        Self {
            ever_connected: AtomicBool::default(),
            reconnects: AtomicU64::default(),
            failures: Mutex::new(Stage::ALL.map(|stage| (stage, 0)).into()),
            last_error: Mutex::default(),
        }
    }
}

impl ConnectionHealth {
    /// How often a connection was made anew.
    pub(super) fn reconnects(&self) -> u64 {
        self.reconnects.load(Ordering::Relaxed)
    }

    pub(super) fn count_reconnect(&self) {
        self.reconnects.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that a client has connected. The first time in the sink's life is no reconnect; the first
    /// connection of a client that replaced another is one.
    pub(super) fn note_connect(&self) {
        *self.lock_last_error() = None;
        if self.ever_connected.swap(true, Ordering::Relaxed) {
            self.count_reconnect();
        }
    }

    /// How often librdkafka said that a connection could not be made, by stage. It says the same of
    /// one broker twice in 30 s at most.
    pub(super) fn failures(&self) -> BTreeMap<Stage, u64> {
        self.lock_failures().clone()
    }

    /// The last error of a client, unless it has connected since.
    pub(super) fn last_error(&self) -> Option<ClientError> {
        self.lock_last_error().clone()
    }

    /// Keeps the error; logs it when it is of another kind than the one before.
    pub(super) fn note_error(&self, code: RDKafkaErrorCode, reason: &str) {
        let error = ClientError::of(code, reason);
        if let ClientErrorKind::Connection(stage) = error.kind {
            *self.lock_failures().entry(stage).or_default() += 1;
        }
        let mut last_error = self.lock_last_error();
        if last_error
            .as_ref()
            .is_none_or(|last| last.kind != error.kind)
        {
            tracing::warn!(error = error.reason, "the Kafka client reports trouble");
        }
        *last_error = Some(error);
    }

    fn lock_failures(&self) -> MutexGuard<'_, BTreeMap<Stage, u64>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_last_error(&self) -> MutexGuard<'_, Option<ClientError>> {
        self.last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_fails_is_counted_by_its_stage_and_is_news_once() {
        let health = ConnectionHealth::default();
        let refused = "ssl://b:9092/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: verify that ssl.ca.location is correctly configured (after 4ms in state SSL_HANDSHAKE)";
        let again = "ssl://b:9092/bootstrap: error:0A000086:SSL routines::certificate verify failed (after 12ms in state SSL_HANDSHAKE)";
        health.note_error(RDKafkaErrorCode::SSL, refused);
        let told = health.last_error();
        health.note_error(RDKafkaErrorCode::BrokerTransportFailure, again);
        assert_eq!(health.last_error(), told, "one thing, said in two ways");
        let connect = "b:9092/bootstrap: Connect to ipv4#127.0.0.1:9092 failed: Connection refused (after 0ms in state CONNECT)";
        health.note_error(RDKafkaErrorCode::BrokerTransportFailure, connect);
        let told = health.last_error().expect("some");
        assert_eq!(told.reason, connect);
        health.note_error(
            RDKafkaErrorCode::BrokerTransportFailure,
            "b: Disconnected (after 9ms in state UP)",
        );
        let counts: Vec<u64> = health.failures().into_values().collect();
        assert_eq!(counts, [0, 1, 2, 0], "lookup, connect, tls, login");
    }
}
