//! Reference (d): the same bytes in groups of the same size, appended to a file and synced. Nothing
//! durable is faster on this disk.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{Groups, Limit};

/// What to append.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Disk {
    /// To which file; it is removed in the end.
    pub file: PathBuf,
    /// Bytes of an event.
    pub event_bytes: usize,
    /// Events of a group.
    pub group: usize,
    /// Groups.
    pub groups: usize,
}

impl Disk {
    /// Appends it all.
    pub fn append(self) -> anyhow::Result<Limit> {
        let bytes = vec![b'x'; self.event_bytes * self.group];
        let mut file = File::create(&self.file)?;
        let mut groups = Groups::begin()?;
        for _ in 0..self.groups {
            let begun = Instant::now();
            file.write_all(&bytes)?;
            file.sync_data()?;
            groups.note(begun.elapsed());
        }
        let limit = groups.end((self.group * self.groups) as u64);
        std::fs::remove_file(&self.file)?;
        limit
    }
}
