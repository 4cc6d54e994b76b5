//! Threads: whether the system lets there be as many as are needed. The libraries that make most of
//! them panic where it does not, with a message that names no remedy, so it is asked beforehand.

use std::io;
use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};

/// The system allows fewer threads.
#[derive(Debug, thiserror::Error)]
#[error(
    "the system allows no more threads than {made} of the {needed} that are needed ({error}): raise the limit (`pids_limit` of a container, `TasksMax=` of a systemd unit, `ulimit -u`)"
)]
pub struct TooFewThreads {
    made: usize,
    needed: usize,
    error: io::Error,
}

/// Starts a thread that nobody waits for. `std::thread::spawn` would panic where there can be none.
///
/// # Errors
/// When the system refuses it.
pub fn start(name: &str, run: impl FnOnce() + Send + 'static) -> Result<(), TooFewThreads> {
    let thread = Builder::new().name(name.to_owned());
    let started = thread.spawn(run);
    started.map(drop).map_err(|error| TooFewThreads {
        made: 0,
        needed: 1,
        error,
    })
}

/// Makes so many threads at once, and lets them end.
///
/// # Errors
/// When the system refuses one.
pub fn can_be_made(needed: usize) -> Result<(), TooFewThreads> {
    let mut made: Vec<(JoinHandle<()>, mpsc::Sender<()>)> = Vec::with_capacity(needed);
    let mut refused = None;
    while made.len() < needed && refused.is_none() {
        let (enough, until) = mpsc::channel::<()>();
        // Waits for the others, so that all of them are there at one time. Nothing is ever sent.
        let wait = move || until.iter().for_each(drop);
        match Builder::new().name("start".into()).spawn(wait) {
            Ok(thread) => made.push((thread, enough)),
            Err(error) => refused = Some(error),
        }
    }
    let count = made.len();
    for (thread, enough) in made {
        drop(enough);
        // It does nothing that could panic.
        let _ = thread.join();
    }
    match refused {
        None => Ok(()),
        Some(error) => Err(TooFewThreads {
            made: count,
            needed,
            error,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_can_be_made_again_and_again() {
        for needed in [0, 1, 8, 8] {
            assert!(can_be_made(needed).is_ok(), "{needed}");
        }
    }

    #[test]
    fn a_thread_has_its_name_and_does_its_work() {
        let (tell, told) = mpsc::channel();
        let run = move || {
            let name = std::thread::current().name().map(str::to_owned);
            tell.send(name).expect("it is waited for");
        };
        start("lookup", run).expect("there may be one more");
        assert_eq!(told.recv(), Ok(Some("lookup".to_owned())));
    }

    #[test]
    fn a_refusal_names_the_remedies() {
        let said = TooFewThreads {
            made: 3,
            needed: 9,
            error: io::ErrorKind::WouldBlock.into(),
        }
        .to_string();
        for part in ["3 of the 9", "pids_limit", "TasksMax=", "ulimit -u"] {
            assert!(said.contains(part), "{part} is not in {said}");
        }
    }
}
