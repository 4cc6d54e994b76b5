//! The machine's clock as one program sees it, which can be set while it runs.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::process::Command;

use jiff::SignedDuration;

use super::preload::Preload;

/// A wall clock. The monotonic clock is left alone, and a wait takes as long as it should.
pub struct Clock {
    preload: Preload,
    file: File,
}

impl Clock {
    /// A clock that is right, for a program that is yet to be started.
    pub fn compile() -> Self {
        let preload = Preload::build("clock");
        let file = File::create(preload.file("shift")).expect("writable");
        let clock = Self { preload, file };
        clock.shift(SignedDuration::ZERO);
        clock
    }

    /// The command whose program goes by this clock.
    pub fn load_into(&self, command: Command) -> Command {
        let mut command = self.preload.load_into(command);
        command.env("CLOCK_SHIFT_FILE", self.preload.file("shift"));
        command
    }

    /// Sets the clock: from now on it is ahead by so much, or behind. Zero is the right time.
    pub fn shift(&self, by: SignedDuration) {
        let nanoseconds = i64::try_from(by.as_nanos()).expect("less than three hundred years");
        // In place: the program has the file mapped.
        self.file
            .write_all_at(&nanoseconds.to_ne_bytes(), 0)
            .expect("writable");
    }
}
