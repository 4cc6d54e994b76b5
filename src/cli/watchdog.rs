//! The pings that systemd's watchdog waits for: each is sent only once the spool's thread and every
//! dispatcher have answered.
//!
//! Four go out in the period that systemd allows, so that a commit which hangs on a slow disk for up to
//! three quarters of it is no reason to end the program.

use std::convert::Infallible;

use tokio::time::{MissedTickBehavior, interval};

use crate::app::Liveness;
use crate::systemd::Systemd;

/// The pings in one period.
const PINGS: u32 = 4;

/// Sends pings for as long as it is awaited.
pub(super) async fn watch(systemd: &Systemd, liveness: &Liveness) -> Infallible {
    let Some(period) = systemd.watchdog() else {
        return std::future::pending().await;
    };
    let pause = period / PINGS;
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match liveness.check(pause).await {
            Ok(()) => systemd.notify_watchdog(),
            Err(silent) => {
                tracing::error!(
                    ?silent,
                    seconds = pause.as_secs_f64(),
                    "parts of the bridge have not answered, so systemd gets no watchdog notification"
                );
            }
        }
    }
}
