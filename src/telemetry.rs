//! The log, and what happens at a panic.

mod lines;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use tracing::Metadata;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload::Handle;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::LogSettings;
use crate::config::file::LogFormat;
use crate::metrics::Metrics;
use lines::Lines;

/// How long the last lines may take to standard error when the program ends; where nobody reads it,
/// they are lost.
const LAST_LINES: Duration = Duration::from_secs(1);
/// The same at a panic, after which the program may abort, or go on.
const LINES_OF_A_PANIC: Duration = Duration::from_millis(100);

/// The lines on their way to standard error, once the log has been started.
static LINES: OnceLock<Arc<Lines>> = OnceLock::new();

/// Changes what is logged; there is one log in a process, and so one of these.
static FILTER: OnceLock<Box<dyn Fn(EnvFilter) + Send + Sync>> = OnceLock::new();

/// What is logged, ready to be put in place.
#[derive(Debug)]
pub struct Filter(EnvFilter);

impl Filter {
    /// The configured filter, which has been checked.
    #[must_use]
    pub fn of(log: &LogSettings) -> Self {
        let directives = of_the_bridge(&log.filter);
        Self(EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new("info")))
    }

    /// Logs by this filter from now on.
    pub fn put_in_place(self) {
        if let Some(change) = FILTER.get() {
            change(self.0);
        }
    }
}

/// A filter in which a plain level is the bridge's own: libraries' lines are for whoever names them.
/// Their warnings and errors are shown unless the bridge's are not.
fn of_the_bridge(filter: &str) -> String {
    let directives: Vec<&str> = filter
        .split(',')
        .map(str::trim)
        .filter(|directive| !directive.is_empty())
        .collect();
    let level = |directive: &&str| directive.parse::<LevelFilter>().ok();
    let Some(bridge) = directives.iter().filter_map(level).next_back() else {
        return filter.to_owned();
    };
    let others = bridge.min(LevelFilter::WARN);
    // Behind these two, so that what is named more closely counts.
    let named = directives.iter().filter(|it| level(it).is_none());
    let named: String = named.map(|directive| format!(",{directive}")).collect();
    format!("{others},hookferry={bridge}{named}")
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
    start_lines();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(Filter::of(log).0)
        .log_internal_errors(false)
        .with_writer(|| Output);
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

/// Without a thread for them, lines are written by whoever has one.
fn start_lines() {
    if LINES.get().is_some() {
        return;
    }
    // Not through the standard library's writer, which has a lock.
    let write = |bytes: &[u8]| Ok(rustix::io::write(io::stderr(), bytes)?);
    let tell = |_: &Lines, lines| {
        tracing::warn!(
            lines,
            "standard error did not take everything for a while, and lines of this log were dropped"
        );
    };
    if let Ok(lines) = Lines::start(write, tell) {
        let _ = LINES.set(lines);
    }
}

/// Says what is no line of the log, behind all those before it.
pub fn say(text: &str) {
    let _ = Output.write_all(format!("{text}\n").as_bytes());
}

/// Held for as long as the program runs, however it ends: the last lines are written then.
#[derive(Debug)]
#[must_use = "it is for the end of the program"]
pub struct LastLines;

impl Drop for LastLines {
    fn drop(&mut self) {
        if let Some(lines) = LINES.get() {
            lines.flush(LAST_LINES);
        }
    }
}

/// Standard error, as long as anybody takes it. A log that cannot be written, because its disk is
/// full, its reader is gone or does not read, must not stop the bridge.
struct Output;

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match LINES.get() {
            Some(lines) => lines.push(bytes),
            // There is nobody left to tell.
            None => drop(io::stderr().write_all(bytes)),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Counts lines of the log that are dropped, and every panic, which is logged too.
pub fn count_in(metrics: Arc<Metrics>) {
    if let Some(lines) = LINES.get() {
        lines.count_in(&metrics.log_lines_dropped_total);
    }
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        metrics.panics_total.inc();
        log(panic);
        match LINES.get() {
            Some(lines) if tracing::enabled!(tracing::Level::ERROR) => {
                lines.flush(LINES_OF_A_PANIC);
            }
            // It writes to standard error by itself, which may block.
            _ => previous(panic),
        }
    }));
}

/// Logs a panic with all that the standard library would say of it.
fn log(panic: &PanicHookInfo<'_>) {
    let current = thread::current();
    let thread = current.name().unwrap_or("unnamed");
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => {
            tracing::error!(thread, %panic, %backtrace, "a panic");
        }
        _ => tracing::error!(thread, %panic, "a panic"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_level_is_the_bridges_own_and_what_is_named_is_as_it_was_asked_for() {
        for (written, meant) in [
            ("info", "warn,hookferry=info"),
            ("DEBUG", "warn,hookferry=debug"),
            ("error", "error,hookferry=error"),
            ("off", "off,hookferry=off"),
            (
                "info,actix_server=warn",
                "warn,hookferry=info,actix_server=warn",
            ),
            (
                " info , hookferry::sink=debug,librdkafka=debug,",
                "warn,hookferry=info,hookferry::sink=debug,librdkafka=debug",
            ),
            (
                "hookferry=debug,info",
                "warn,hookferry=info,hookferry=debug",
            ),
            // Who names everything is taken at his word.
            ("hookferry::sink=debug", "hookferry::sink=debug"),
            ("", ""),
        ] {
            assert_eq!(of_the_bridge(written), meant, "{written}");
            assert!(EnvFilter::try_new(meant).is_ok(), "{meant}");
        }
    }
}
