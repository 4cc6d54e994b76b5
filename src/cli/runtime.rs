//! The asynchronous runtime of a command.

use anyhow::anyhow;
use tokio::runtime::{Builder, Runtime};

use super::command_error::CommandError;
use crate::threads;

/// The runtime's threads.
const WORKERS: usize = 2;

/// Those beside them that a command may come to have, of a broker's client and of calls that block:
/// where the first of these cannot be made, tokio panics.
const BESIDE: usize = 8;

/// Runs a command to its end. A call that still waits in a thread of its own, such as one for a name
/// that no name server answers, is left behind: it would delay the end of the program.
pub(super) fn block_on<T>(
    command: impl Future<Output = Result<T, CommandError>>,
) -> Result<T, CommandError> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(command);
    runtime.shutdown_background();
    outcome
}

fn runtime() -> Result<Runtime, CommandError> {
    threads::can_be_made(WORKERS + BESIDE).map_err(|error| CommandError::Failed(error.into()))?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("hookferry")
        .enable_all()
        .build();
    runtime.map_err(|error| CommandError::Failed(anyhow!("the runtime cannot be started: {error}")))
}
