//! Log lines on their way to standard error; whoever writes one is never held up.
//!
//! Standard error may be a pipe that nobody reads, and a write to it then blocks for ever. So one
//! thread writes, and nobody else does. What it has not got rid of waits here up to a limit; beyond
//! it lines are dropped and counted, and once there is room again a line says how many.
//!
//! The crate `tracing-appender` has such a thread too, but it bounds lines and not bytes, does not say
//! what it has dropped, and holds the standard library's lock on standard error while it is stuck:
//! a panic, or the last word of a program that ends, would then wait there.

use std::io::{self, ErrorKind};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use prometheus::IntCounter;

/// So many bytes may wait beside those that are being written: some thousand lines.
const MAX_WAITING_BYTES: usize = 1 << 20;
/// When to try again where somebody has made standard error non-blocking, and it is full.
const PAUSE: Duration = Duration::from_millis(50);

/// The lines that wait.
#[derive(Default)]
pub(super) struct Lines {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    is_writing: bool,
    /// Whether the last write worked. As long as none does, a line about it would be lost as well.
    works: bool,
    /// Lines dropped that no line has told of yet.
    untold: u64,
    /// Lines dropped before there was a counter.
    uncounted: u64,
    counter: Option<IntCounter>,
}

impl State {
    fn has_to_tell(&self) -> bool {
        self.works && self.untold > 0
    }

    fn count_dropped(&mut self, lines: u64) {
        self.untold += lines;
        match &self.counter {
            Some(counter) => counter.inc_by(lines),
            None => self.uncounted += lines,
        }
    }
}

impl Lines {
    /// Starts the thread that hands lines to `write`, and `tell`s how many were dropped once that
    /// works again.
    ///
    /// # Errors
    /// When there can be no further thread.
    pub fn start(
        write: impl FnMut(&[u8]) -> io::Result<usize> + Send + 'static,
        tell: impl FnMut(&Self, u64) + Send + 'static,
    ) -> io::Result<Arc<Self>> {
        let lines = Arc::new(Self::default());
        let written = Arc::clone(&lines);
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || written.run(write, tell))?;
        Ok(lines)
    }

    /// Takes a line, or drops it where too many wait.
    pub fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.waiting.len() + line.len() > MAX_WAITING_BYTES {
            state.count_dropped(1);
            return;
        }
        state.waiting.extend_from_slice(line);
        self.changed.notify_all();
    }

    /// Counts dropped lines here, those before included.
    pub fn count_in(&self, counter: &IntCounter) {
        let mut state = self.lock();
        counter.inc_by(mem::take(&mut state.uncounted));
        state.counter = Some(counter.clone());
    }

    /// Returns once everything has been written, or after this time.
    pub fn flush(&self, timeout: Duration) {
        let is_busy = |state: &mut State| {
            state.is_writing || !state.waiting.is_empty() || state.has_to_tell()
        };
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), timeout, is_busy);
        // What has not been written by then is lost with the program.
        drop(waited);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(
        &self,
        mut write: impl FnMut(&[u8]) -> io::Result<usize>,
        mut tell: impl FnMut(&Self, u64),
    ) {
        loop {
            let (batch, dropped) = self.next();
            if dropped > 0 {
                tell(self, dropped);
            }
            self.written(write_all(&mut write, &batch));
        }
    }

    /// Waits for something to write, or to tell: the first behind which there is room again.
    fn next(&self) -> (Vec<u8>, u64) {
        let is_idle = |state: &mut State| state.waiting.is_empty() && !state.has_to_tell();
        let mut state = self
            .changed
            .wait_while(self.lock(), is_idle)
            .unwrap_or_else(PoisonError::into_inner);
        state.is_writing = true;
        let dropped = if state.has_to_tell() {
            mem::take(&mut state.untold)
        } else {
            0
        };
        (mem::take(&mut state.waiting), dropped)
    }

    fn written(&self, lost: u64) {
        let mut state = self.lock();
        state.is_writing = false;
        state.works = lost == 0;
        state.count_dropped(lost);
        self.changed.notify_all();
    }
}

/// Writes everything, and returns how many lines could not be.
fn write_all(write: &mut impl FnMut(&[u8]) -> io::Result<usize>, mut bytes: &[u8]) -> u64 {
    while !bytes.is_empty() {
        match write(bytes) {
            Ok(written @ 1..) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
            // The disk is full, or the reader is gone.
            _ => return bytes.split_inclusive(|byte| *byte == b'\n').count() as u64,
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Longer than any of this takes.
    const LONG: Duration = Duration::from_secs(30);

    /// Lines whose writer shows what it has, and then waits for a word of how that went.
    struct Held {
        lines: Arc<Lines>,
        shown: Receiver<Vec<u8>>,
        outcome: Sender<io::Result<usize>>,
    }

    impl Held {
        fn new() -> Self {
            let (show, shown) = channel();
            let (outcome, outcomes) = channel();
            let write = move |bytes: &[u8]| {
                // An error means that the test has ended.
                let _ = show.send(bytes.to_vec());
                outcomes.recv().unwrap_or(Ok(bytes.len()))
            };
            let tell =
                |lines: &Lines, dropped| lines.push(format!("{dropped} dropped\n").as_bytes());
            let lines = Lines::start(write, tell).expect("a thread");
            Self {
                lines,
                shown,
                outcome,
            }
        }

        fn writes(&self) -> Vec<u8> {
            self.shown.recv_timeout(LONG).expect("something is written")
        }

        fn went(&self, outcome: io::Result<usize>) {
            self.outcome.send(outcome).expect("the thread waits for it");
        }
    }

    #[test]
    fn everything_is_written_in_order_before_a_flush_returns() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&written);
        // Never more than seven bytes at once, as a pipe may take them, and now and then interrupted.
        let mut calls = 0;
        let write = move |bytes: &[u8]| {
            calls += 1;
            if calls % 3 == 0 {
                return Err(ErrorKind::Interrupted.into());
            }
            let taken = bytes.len().min(7);
            to.lock()
                .expect("no panic")
                .extend_from_slice(&bytes[..taken]);
            Ok(taken)
        };
        let lines = Lines::start(write, |_, _| ()).expect("a thread");
        let expected: String = (0..500).map(|number| format!("line {number}\n")).collect();
        for line in expected.split_inclusive('\n') {
            lines.push(line.as_bytes());
        }
        lines.flush(LONG);
        let written = String::from_utf8(written.lock().expect("no panic").clone());
        assert_eq!(written.expect("text"), expected);
    }

    #[test]
    fn while_nobody_reads_lines_are_dropped_and_counted_and_told_of_once_somebody_does() {
        let held = Held::new();
        held.lines.push(b"first\n");
        assert_eq!(held.writes(), b"first\n");
        // The writer is stuck; whoever writes a line is not.
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        let fit = (MAX_WAITING_BYTES / line.len()) as u64;
        for _ in 0..fit + 3 {
            held.lines.push(&line);
        }
        let counter = IntCounter::new("dropped", "Lines.").expect("a name");
        held.lines.count_in(&counter);
        assert_eq!(counter.get(), 3, "those before there was a counter");
        held.lines.push(&line);
        assert_eq!(counter.get(), 4);
        held.lines.flush(Duration::from_millis(1));
        held.went(Ok(6));
        assert_eq!(held.writes().len(), MAX_WAITING_BYTES);
        held.went(Ok(MAX_WAITING_BYTES));
        assert_eq!(held.writes(), b"4 dropped\n");
        held.went(Ok(10));
        held.lines.flush(LONG);
        assert_eq!(counter.get(), 4);
    }

    #[test]
    fn a_failed_write_costs_its_lines_and_is_told_of_only_when_one_works() {
        let held = Held::new();
        let counter = IntCounter::new("dropped", "Lines.").expect("a name");
        held.lines.count_in(&counter);
        held.lines.push(b"a\nb\n");
        assert_eq!(held.writes(), b"a\nb\n");
        held.went(Err(ErrorKind::StorageFull.into()));
        held.lines.flush(LONG);
        assert_eq!(counter.get(), 2);
        held.lines.push(b"c\n");
        assert_eq!(held.writes(), b"c\n", "nothing is told into the void");
        held.went(Ok(2));
        assert_eq!(held.writes(), b"2 dropped\n");
        held.went(Ok(10));
        held.lines.flush(LONG);
        assert_eq!(counter.get(), 2);
    }
}
