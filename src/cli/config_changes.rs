//! Changes of the configuration's files, found by polling, for where nobody can send a signal: a secret
//! that is mounted into a container is renewed by whoever mounts it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{self, Fingerprint};

/// What has been seen of the configuration, and the interval of polling.
#[derive(Debug)]
pub(super) struct ConfigChanges {
    path: PathBuf,
    seen: Fingerprint,
    /// What was seen when it was last applied.
    applied: Fingerprint,
    interval: Option<Duration>,
}

impl ConfigChanges {
    /// Changes from now on.
    pub fn since_now(path: &Path) -> Self {
        let seen = config::fingerprint_of(path);
        Self {
            path: path.to_owned(),
            seen,
            applied: seen,
            interval: None,
        }
    }

    /// Polls at this interval from now on; without one, never.
    pub fn poll_every(&mut self, interval: Option<Duration>) {
        self.interval = interval;
    }

    /// Notes what lies there now. Called before it is read, so that what changes meanwhile is a change
    /// again.
    pub fn mark_seen(&mut self) {
        self.seen = config::fingerprint_of(&self.path);
    }

    /// Notes that what was seen last is applied now; returns whether it is something new.
    pub fn mark_applied(&mut self) -> bool {
        std::mem::replace(&mut self.applied, self.seen) != self.seen
    }

    /// Returns once there is a change that has not been seen. It counts when two polls in a row have
    /// found the same: half of a file that is still being written is no configuration.
    pub async fn next(&self) {
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn new_is_what_differs_from_what_is_in_force_and_not_from_what_was_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("hookferry.toml");
        fs::write(&file, "a = 1").expect("written");
        let mut changes = ConfigChanges::since_now(&file);
        changes.mark_seen();
        assert!(!changes.mark_applied());
        // A mistake that was not taken over, and then corrected.
        fs::write(&file, "a = ").expect("written");
        changes.mark_seen();
        fs::write(&file, "a = 1").expect("written");
        changes.mark_seen();
        assert!(!changes.mark_applied());
        fs::write(&file, "a = 2").expect("written");
        changes.mark_seen();
        assert!(changes.mark_applied() && !changes.mark_applied());
    }
}
