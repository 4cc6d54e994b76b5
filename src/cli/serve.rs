//! `serve`: runs the bridge until it is told to stop.

use clap::Args;

use super::command_error::CommandError;
use super::config_changes::ConfigChanges;
use super::config_file::ConfigFile;
use super::runtime::block_on;
use super::signals::Signals;
use super::watchdog;
use crate::app::{Bridge, Reloaded};
use crate::config::Settings;
use crate::source::Secret;
use crate::systemd::Systemd;
use crate::telemetry;

/// Run the bridge.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hookferry serve --config /etc/hookferry/hookferry.toml
  kill -HUP <pid>    takes over new secrets, certificates, sources, routes and limits; a bad file changes nothing
  kill -TERM <pid>   answers what is under way, keeps the rest, and stops")]
pub(super) struct ServeCommand {
    #[command(flatten)]
    config: ConfigFile,
}

impl ServeCommand {
    pub(super) fn run(&self) -> Result<(), CommandError> {
        let mut changes = ConfigChanges::since_now(self.config.path());
        let settings = self.config.load()?;
        changes.poll_every(settings.reload_interval);
        telemetry::start(&settings.log);
        warn_of_guessable_secrets(&settings);
        warn(&settings);
        let systemd = Systemd::from_environment();
        block_on(async {
            let mut signals = Signals::new()?;
            let mut bridge = Bridge::start(settings)?;
            bridge.serving().await?;
            let metrics = bridge.metrics_listener().map(tracing::field::display);
            tracing::info!(ingress = %bridge.ingress(), admin = %bridge.admin(), metrics, version = env!("CARGO_PKG_VERSION"), "the bridge is ready");
            systemd.ready();
            let liveness = bridge.liveness();
            let outcome = tokio::select! {
                outcome = self.serve(&mut bridge, (&mut signals, &mut changes), &systemd) => outcome,
                never = watchdog::watch(&systemd, &liveness) => match never {},
            };
            systemd.stopping();
            let stopped = bridge.stop().await;
            outcome.and(stopped).map_err(CommandError::from)
        })
    }

    /// Serves until a signal says stop, or a part fails.
    async fn serve(
        &self,
        bridge: &mut Bridge,
        (signals, changes): (&mut Signals, &mut ConfigChanges),
        systemd: &Systemd,
    ) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                stop = signals.stop_or_reload() => if stop { break },
                () = changes.next() => {}
                error = bridge.failed() => return Err(error),
            }
            systemd.reloading();
            systemd.reloaded(self.reload(bridge, changes));
        }
        tracing::info!("stopping");
        Ok(())
    }

    /// Whether the new configuration was taken over.
    fn reload(&self, bridge: &Bridge, changes: &mut ConfigChanges) -> bool {
        changes.mark_seen();
        let read = self.config.load_again(bridge.folders());
        let reloaded = read.and_then(|settings| {
            warn_of_guessable_secrets(&settings);
            warn(&settings);
            let reloaded = bridge.reload(&settings)?;
            changes.poll_every(settings.reload_interval);
            Ok(reloaded)
        });
        match &reloaded {
            Ok(reloaded) => say(reloaded, changes.mark_applied()),
            Err(error) => {
                bridge.reload_failed();
                let file = self.config.path().display();
                tracing::error!(%file, %error, "the new configuration is not taken over; the old one stays");
            }
        }
        reloaded.is_ok()
    }
}

fn say(reloaded: &Reloaded, is_new: bool) {
    if !reloaded.restart_for.is_empty() {
        let keys = reloaded.restart_for.join(", ");
        tracing::warn!(%keys, "these keys have changed too, but need a restart; until then they stay as they were");
    }
    if is_new {
        tracing::info!("the new configuration is in force");
    } else {
        tracing::info!(
            "nothing new was found, neither in the file nor in those that it names; what was taken over before is in force"
        );
    }
}

/// What an operator may not have meant.
fn warn(settings: &Settings) {
    for warning in settings.warnings() {
        tracing::warn!(key = %warning.path, "{warning}");
    }
}

/// A short secret works, as for a trial, and must not go unnoticed into earnest.
fn warn_of_guessable_secrets(settings: &Settings) {
    for source in &settings.sources {
        if source.source.secrets.iter().any(Secret::is_guessable) {
            tracing::warn!(source = %source.source.name, "a secret of this source is so short that it can be guessed: whoever reaches the listener could send events; have the provider make a longer one");
        }
    }
}
