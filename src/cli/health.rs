//! `health`: asks a bridge on this machine how it is, for an image that has neither a shell nor curl.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use serde_json::Value;

use super::admin_arguments::configured_url;
use super::command_error::CommandError;
use super::config_file::cannot_be_used;
use super::http_client::{HttpClient, HttpResponse};
use super::output::Output;
use super::token_arguments::TokenArguments;
use crate::admin::AdminToken;
use crate::config::{self, HealthListener};

/// Ask a bridge whether it is well, for a container's health check.
#[derive(Debug, Args)]
#[command(
    after_help = "It is well when it could accept a delivery now; with --live, when it answers at all. A broker that
is away is no reason to be unwell: deliveries wait in the spool.
One line says what was found. Exit code 0: it is well. 1: it is not, or nobody answered.

Of the configuration only the tables metrics and admin are looked at, so a file that is being changed
does not matter. Where there is a metrics.listen, that is asked, which needs no token.
A bridge that listens on every address is asked on loopback.

Examples:
  hookferry health --config /etc/hookferry/hookferry.toml
  hookferry health --url http://127.0.0.1:8081 --live --timeout 1s"
)]
pub(super) struct HealthCommand {
    /// The configuration file of the bridge (TOML), whose metrics.listen is asked, or else its admin.listen.
    #[arg(
        long,
        value_name = "FILE",
        env = "HOOKFERRY_CONFIG",
        required_unless_present = "url"
    )]
    config: Option<PathBuf>,
    /// The listener's URL; from the configuration unless given.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    token: TokenArguments,
    /// Ask only whether it answers, not whether it could accept a delivery.
    #[arg(long)]
    live: bool,
    /// How long the answer may take.
    #[arg(long, value_name = "SPAN", default_value = "2s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

impl HealthCommand {
    pub(super) fn run(&self) -> Result<(), CommandError> {
        // A health check knows only 0 and 1: Docker reserves every other exit code.
        let (url, token) = self.listener().map_err(|failure| {
            let text = failure.to_string();
            anyhow!("{}", text.split_whitespace().collect::<Vec<_>>().join(" "))
        })?;
        let path = if self.live { "/livez" } else { "/readyz" };
        let answer = HttpClient::to_operators(self.timeout, token)
            .get(&format!("{url}{path}"))
            .context("the bridge does not answer")?;
        let status = status(&answer).ok_or_else(|| match answer.status {
            401 | 421 => anyhow!("{url}{path}: {}", answer.message()),
            code => anyhow!("{url}{path} answers {code}, which is not a bridge's answer: is it the address of an admin listener?"),
        })?;
        Output::new().line(&status)?;
        if answer.status == 200 {
            Ok(())
        } else {
            Err(CommandError::Negative)
        }
    }

    /// The listener's base URL, and the token that it demands.
    fn listener(&self) -> Result<(String, Option<AdminToken>), CommandError> {
        if let Some(url) = &self.url {
            return Ok((url.trim_end_matches('/').to_owned(), self.token.read(None)?));
        }
        let file = self.config.as_ref().ok_or_else(|| {
            let text = "name the listener with --url, or the configuration with --config";
            CommandError::Usage(text.into())
        })?;
        let listener =
            config::health_listener(file).map_err(|problems| cannot_be_used(file, &problems))?;
        let (key, listen, token) = match listener {
            HealthListener::Metrics(listen) => ("metrics.listen", listen, None),
            HealthListener::Admin(admin) => ("admin.listen", admin.listen, admin.rules.token),
        };
        let token = self.token.read(token.as_ref())?;
        Ok((configured_url(key, listen)?, token))
    }
}

/// What a bridge says of itself, with the reason where it gives one.
fn status(answer: &HttpResponse) -> Option<String> {
    let document: Value = serde_json::from_slice(&answer.body).ok()?;
    let status = document.get("status")?.as_str()?;
    Some(match document.get("reason").and_then(Value::as_str) {
        Some(reason) => format!("{status}: {reason}"),
        None => status.to_owned(),
    })
}
