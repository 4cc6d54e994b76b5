//! What the owner thread tells everyone else: the last position of each topic, and whether the disk
//! takes commits. A reader that waits looks here, and goes to the disk only when there is something.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use rusqlite::Connection;
use tokio::sync::watch;

use crate::sink::Health;

/// The most read-only connections kept for the next reader.
const MAX_IDLE: usize = 4;

/// The state that the owner writes and the others read.
#[derive(Debug)]
pub(super) struct Shared {
    positions: RwLock<HashMap<String, u64>>,
    changes: watch::Sender<()>,
    closed: AtomicBool,
    writable: AtomicBool,
    openings: AtomicU64,
    idle: Mutex<Idle>,
}

/// Connections to the file of the last opening; one to an earlier file is not kept.
#[derive(Debug, Default)]
struct Idle {
    opening: u64,
    connections: Vec<Connection>,
}

impl Shared {
    /// Nothing open yet.
    pub fn new() -> Self {
        Self {
            positions: RwLock::default(),
            changes: watch::Sender::new(()),
            closed: AtomicBool::new(false),
            writable: AtomicBool::new(false),
            openings: AtomicU64::new(0),
            idle: Mutex::default(),
        }
    }

    /// The file was opened, perhaps another one than before.
    pub fn opened<'a>(&self, positions: impl Iterator<Item = (&'a str, u64)>) {
        let opening = self.openings.fetch_add(1, Ordering::Relaxed) + 1;
        // First, so that nobody takes a connection to an earlier file for the positions of this one.
        *self.lock_idle() = Idle {
            opening,
            connections: Vec::new(),
        };
        let positions = positions.map(|(topic, last)| (topic.to_owned(), last));
        *self
            .positions
            .write()
            .unwrap_or_else(PoisonError::into_inner) = positions.collect();
        if opening == 1 {
            self.writable.store(true, Ordering::Relaxed);
        }
        self.changes.send_replace(());
    }

    /// A group was committed; these topics have these last positions now.
    pub fn committed<'a>(&self, topics: impl Iterator<Item = (&'a str, u64)>) {
        {
            let mut positions = self
                .positions
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            for (topic, last) in topics {
                match positions.get_mut(topic) {
                    Some(position) => *position = last,
                    None if last > 0 => drop(positions.insert(topic.to_owned(), last)),
                    None => {}
                }
            }
        }
        if !self.writable.swap(true, Ordering::Relaxed) {
            tracing::info!("The topic log is written again");
        }
        self.changes.send_replace(());
    }

    /// A commit failed.
    pub fn commit_failed(&self, text: &str) {
        if self.writable.swap(false, Ordering::Relaxed) {
            tracing::error!(
                error = text,
                "The topic log cannot be written; nothing is confirmed until a commit has worked"
            );
        }
    }

    /// The file was given back.
    pub fn closed(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.writable.store(false, Ordering::Relaxed);
        self.lock_idle().connections.clear();
        self.changes.send_replace(());
    }

    /// Whether the file was given back.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// The last position of a topic, if it exists.
    pub fn last_position(&self, topic: &str) -> Option<u64> {
        let positions = self
            .positions
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        positions.get(topic).copied()
    }

    /// Tells of every change from now on.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// A connection that a reader gave back, and the opening it belongs to.
    pub fn take_idle(&self) -> (u64, Option<Connection>) {
        let mut idle = self.lock_idle();
        (idle.opening, idle.connections.pop())
    }

    /// Gives a connection of that opening back.
    pub fn keep_idle(&self, opening: u64, connection: Connection) {
        let mut idle = self.lock_idle();
        if idle.opening == opening && idle.connections.len() < MAX_IDLE && !self.is_closed() {
            idle.connections.push(connection);
        }
    }

    /// Connected means that the last commit worked.
    pub fn health(&self) -> Health {
        Health {
            connected: self.writable.load(Ordering::Relaxed),
            reconnects: self.openings.load(Ordering::Relaxed).saturating_sub(1),
            ..Health::default()
        }
    }

    fn lock_idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
