//! The log, and what happens at a panic.

use std::io::{self, Write};
use std::panic;
use std::sync::{Arc, OnceLock};

use tracing::Metadata;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload::Handle;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogSettings;
use crate::config::file::LogFormat;
use crate::metrics::Metrics;

/// Changes what is logged; there is one log in a process, and so one of these.
static FILTER: OnceLock<Box<dyn Fn(EnvFilter) + Send + Sync>> = OnceLock::new();

/// What is logged, ready to be put in place.
#[derive(Debug)]
pub struct Filter(EnvFilter);

impl Filter {
    /// The configured filter, which has been checked.
    #[must_use]
    pub fn of(log: &LogSettings) -> Self {
        Self(EnvFilter::try_new(&log.filter).unwrap_or_else(|_| EnvFilter::new("info")))
    }

    /// Logs by this filter from now on.
    pub fn put_in_place(self) {
        if let Some(change) = FILTER.get() {
            change(self.0);
        }
    }
}

/// Whether it may be logged at all, whatever the filter says: one that names a module of a library
/// is more specific than any ban on the library in it.
///
/// lapin logs every returned message with its body, and bodies never belong in a log. actix_http
/// logs every malformed head as an error: those are counted, and whoever sends them must not be
/// able to fill the disk.
fn is_fit_to_print(metadata: &Metadata<'_>) -> bool {
    let library = metadata.target().split("::").next();
    !matches!(library, Some("lapin" | "actix_http"))
}

/// Starts logging to standard error. A second start in one process changes nothing.
pub fn start(log: &LogSettings) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(Filter::of(log).0)
        .log_internal_errors(false)
        .with_writer(|| Quiet);
    match log.format {
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            let log = builder.finish().with(filter_fn(is_fit_to_print));
            started(log.try_init().is_ok(), handle);
        }
        LogFormat::Text => {
            let is_terminal = io::IsTerminal::is_terminal(&io::stderr());
            let builder = builder.with_ansi(is_terminal).with_filter_reloading();
            let handle = builder.reload_handle();
            let log = builder.finish().with(filter_fn(is_fit_to_print));
            started(log.try_init().is_ok(), handle);
        }
    }
}

/// Keeps the handle of a log that has been started; otherwise another has been before it.
fn started<S: 'static>(first: bool, handle: Handle<EnvFilter, S>) {
    if first {
        // An error says that the log has ended, which it does with the process.
        let change = move |filter| drop(handle.reload(filter));
        let _ = FILTER.set(Box::new(change));
    }
}

/// Standard error, as long as anybody takes it. A log that cannot be written, because its disk is
/// full or its reader is gone, must not stop the bridge.
struct Quiet;

impl Write for Quiet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // There is nobody left to tell.
        let _ = io::stderr().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Counts and logs every panic, then does what would have been done without us.
pub fn count_panics(metrics: Arc<Metrics>) {
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        metrics.panics_total.inc();
        tracing::error!(%panic, "a panic");
        previous(panic);
    }));
}
