//! The log, and what happens at a panic.

use std::io::{self, Write};
use std::panic;
use std::sync::Arc;

use tracing_subscriber::EnvFilter;

use crate::config::LogSettings;
use crate::config::file::LogFormat;
use crate::metrics::Metrics;

/// Starts logging to standard error. A second start in one process changes nothing.
pub fn start(log: &LogSettings) {
    let filter = EnvFilter::try_new(&log.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    // lapin logs every returned message with its body, and bodies never belong in a log. actix_http
    // logs every malformed head as an error: those are counted, and whoever sends them must not be
    // able to fill the disk.
    let filter = ["lapin=off", "actix_http=off"]
        .iter()
        .fold(filter, |filter, off| {
            filter.add_directive(off.parse().expect("a directive"))
        });
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .log_internal_errors(false)
        .with_writer(|| Quiet);
    // An error says that logging has been started before.
    let _ = match log.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder
            .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
            .try_init(),
    };
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
