//! `serve`: runs the bridge until it is told to stop.

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{ConfigFile, Failure, runtime, watchdog};
use crate::app::Bridge;
use crate::systemd::Systemd;
use crate::telemetry;

/// Run the bridge.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hookferry serve --config /etc/hookferry/hookferry.toml
  kill -HUP <pid>    takes over new secrets, tolerances, rate limits and routes; a bad file changes nothing
  kill -TERM <pid>   answers what is under way, keeps the rest, and stops")]
pub(super) struct Serve {
    #[command(flatten)]
    config: ConfigFile,
}

impl Serve {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let settings = self.config.load()?;
        telemetry::start(&settings.log);
        let systemd = Systemd::from_environment();
        runtime()?.block_on(async {
            let mut signals = Signals::new()?;
            let mut bridge = Bridge::start(settings)?;
            tracing::info!(ingress = %bridge.ingress(), admin = %bridge.admin(), version = env!("CARGO_PKG_VERSION"), "the bridge is ready");
            systemd.ready();
            let vitals = bridge.vitals();
            let outcome = tokio::select! {
                outcome = self.serve(&mut bridge, &mut signals, &systemd) => outcome,
                never = watchdog::watch(&systemd, &vitals) => match never {},
            };
            systemd.stopping();
            let stopped = bridge.stop().await;
            outcome.and(stopped).map_err(Failure::from)
        })
    }

    /// Serves until a signal says stop, or a part fails.
    async fn serve(
        &self,
        bridge: &mut Bridge,
        signals: &mut Signals,
        systemd: &Systemd,
    ) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
                _ = signals.hangup.recv() => {
                    systemd.reloading();
                    systemd.reloaded(self.reload(bridge));
                }
                error = bridge.failed() => return Err(error),
            }
        }
        tracing::info!("stopping");
        Ok(())
    }

    /// Whether the new configuration was taken over.
    fn reload(&self, bridge: &Bridge) -> bool {
        let reloaded = self
            .config
            .load()
            .and_then(|settings| Ok(bridge.reload(&settings)?));
        match &reloaded {
            Ok(()) => tracing::info!(
                "the new sources and routes are in force; other changes need a restart"
            ),
            Err(error) => {
                bridge.reload_failed();
                tracing::error!(%error, "the new configuration is not taken over; the old one stays");
            }
        }
        reloaded.is_ok()
    }
}

/// The signals that are listened for, from before the bridge starts.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be listened for");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Returns once the program shall stop.
    pub(super) async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
