//! What a process has used so far, as the kernel counts it (`proc(5)`).

use std::ops::Sub;

use procfs::process::Process;
use serde::{Deserialize, Serialize};

/// What a process has used.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Seconds of processor time, in user and kernel mode.
    pub cpu_seconds: f64,
    /// Bytes sent to the disk: all files together, and a page twice if it was written out twice.
    pub written_bytes: u64,
    /// Bytes resident now.
    pub resident_bytes: u64,
    /// The most there ever were.
    pub peak_bytes: u64,
}

impl Usage {
    /// Of that process.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let process = Process::new(i32::try_from(pid)?)?;
        let (stat, status) = (process.stat()?, process.status()?);
        #[allow(clippy::cast_precision_loss, reason = "seconds to read")]
        let cpu_seconds = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
        Ok(Self {
            cpu_seconds,
            written_bytes: process.io()?.write_bytes,
            resident_bytes: status.vmrss.unwrap_or_default() * 1024,
            peak_bytes: status.vmhwm.unwrap_or_default() * 1024,
        })
    }

    /// Of this process.
    pub fn own() -> anyhow::Result<Self> {
        Self::of(std::process::id())
    }
}

impl Sub for Usage {
    type Output = Self;

    /// What was used between two moments; memory is that of the later one.
    fn sub(self, before: Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
            written_bytes: self.written_bytes - before.written_bytes,
            ..self
        }
    }
}
