//! A limit on memory that the system holds a bridge to. Only root can set one.

use std::path::PathBuf;

use super::{Bridge, Setup, unique};

/// A control group for memory, of version 1 or 2; it goes with this value.
pub struct MemoryGroup(PathBuf);

impl MemoryGroup {
    /// One with so many bytes.
    pub fn limited(bytes: usize) -> Self {
        let old = PathBuf::from("/sys/fs/cgroup/memory");
        let (root, file) = if old.exists() {
            (old, "memory.limit_in_bytes")
        } else {
            (PathBuf::from("/sys/fs/cgroup"), "memory.max")
        };
        let group = Self(root.join(unique("hookferry")));
        std::fs::create_dir(&group.0).expect("only root may make a control group");
        std::fs::write(group.0.join(file), bytes.to_string()).expect("memory is controlled here");
        group
    }

    /// Starts a bridge in it: a shell puts itself there and becomes the bridge.
    pub async fn start(&self, setup: &Setup) -> Bridge {
        let entry = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", self.0.display());
        Bridge::start_through(&["sh", "-c", &entry, "sh"], &setup.write()).await
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}
