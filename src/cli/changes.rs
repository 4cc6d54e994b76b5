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
    /// What was seen when it was last taken over.
    in_force: Fingerprint,
    interval: Option<Duration>,
}

impl Changes {
    /// Changes from now on.
    pub fn since_now(path: &Path) -> Self {
        let seen = config::fingerprint_of(path);
        Self {
            path: path.to_owned(),
            seen,
            in_force: seen,
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

    /// What has been seen last is in force now; whether that is something new.
    pub fn are_in_force(&mut self) -> bool {
        std::mem::replace(&mut self.in_force, self.seen) != self.seen
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn new_is_what_differs_from_what_is_in_force_and_not_from_what_was_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("hookferry.toml");
        fs::write(&file, "a = 1").expect("written");
        let mut changes = Changes::since_now(&file);
        changes.are_seen();
        assert!(!changes.are_in_force());
        // A mistake that was not taken over, and then corrected.
        fs::write(&file, "a = ").expect("written");
        changes.are_seen();
        fs::write(&file, "a = 1").expect("written");
        changes.are_seen();
        assert!(!changes.are_in_force());
        fs::write(&file, "a = 2").expect("written");
        changes.are_seen();
        assert!(changes.are_in_force() && !changes.are_in_force());
    }
}
