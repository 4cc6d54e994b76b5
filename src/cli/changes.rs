//! Changes of the configuration on the disk, for where nobody can send a signal: a secret that is
//! mounted into a container is renewed by whoever mounts it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{self, Fingerprint};

/// What has been seen of the configuration, and how often to look again.
#[derive(Debug)]
pub(super) struct Changes {
    path: PathBuf,
    seen: Fingerprint,
    interval: Option<Duration>,
}

impl Changes {
    /// Changes from now on.
    pub fn since_now(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            seen: config::fingerprint_of(path),
            interval: None,
        }
    }

    /// Looks so often from now on; without an interval, never.
    pub fn look_every(&mut self, interval: Option<Duration>) {
        self.interval = interval;
    }

    /// What lies there now is about to be read. Taken before that, so that what changes meanwhile is
    /// a change again.
    pub fn are_seen(&mut self) {
        self.seen = config::fingerprint_of(&self.path);
    }

    /// Returns once there is a change that has not been seen. It counts when two looks in a row have
    /// found the same: half of a file that is still being written is no configuration.
    pub async fn come(&self) {
        let Some(interval) = self.interval else {
            return std::future::pending().await;
        };
        let mut last = self.seen;
        loop {
            tokio::time::sleep(interval).await;
            let now = config::fingerprint_of(&self.path);
            if now != self.seen && now == last {
                return;
            }
            last = now;
        }
    }
}
