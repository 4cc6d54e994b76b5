//! The configuration a command works with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::Failure;
use super::token::TokenPlace;
use crate::admin::Token;
use crate::config::{self, HealthListener, Problems, Settings};

/// Where the configuration is.
#[derive(Debug, Args)]
pub(super) struct ConfigFile {
    /// The configuration file (TOML); `hookferry config example` prints one.
    #[arg(long, value_name = "FILE", env = "HOOKFERRY_CONFIG")]
    config: PathBuf,
}

impl ConfigFile {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.config
    }

    /// Reads it; whatever is wrong is said at once.
    pub(super) fn load(&self) -> Result<Settings, Failure> {
        config::load(&self.config).map_err(|problems| cannot_be_used(&self.config, &problems))
    }

    /// Reads it for a command that only looks, and needs no right to write.
    pub(super) fn load_to_look(&self) -> Result<Settings, Failure> {
        config::load_to_look(&self.config)
            .map_err(|problems| cannot_be_used(&self.config, &problems))
    }

    /// Reads it again, for a bridge that has these folders open.
    pub(super) fn load_again(&self, open: &[PathBuf]) -> Result<Settings, Failure> {
        config::load_again(&self.config, open)
            .map_err(|problems| cannot_be_used(&self.config, &problems))
    }
}

fn cannot_be_used(file: &Path, problems: &Problems) -> Failure {
    let file = file.display();
    Failure::Usage(format!(
        "the configuration {file} cannot be used:\n{problems}"
    ))
}

/// Where a running bridge is asked for its health.
#[derive(Debug, Args)]
pub(super) struct HealthPlace {
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
    token: TokenPlace,
}

impl HealthPlace {
    /// The listener's base URL, and the token that it asks for.
    pub(super) fn read(&self) -> Result<(String, Option<Token>), Failure> {
        let (Some(file), None) = (&self.config, &self.url) else {
            let text = "name the listener with --url, or the configuration with --config";
            let url = self
                .url
                .as_deref()
                .ok_or_else(|| Failure::Usage(text.into()))?;
            let url = url.trim_end_matches('/').to_owned();
            return Ok((url, self.token.read(None)?));
        };
        let listener =
            config::health_listener(file).map_err(|problems| cannot_be_used(file, &problems))?;
        let (listener, configured) = match listener {
            HealthListener::Metrics(listen) => (("metrics.listen", listen), None),
            HealthListener::Admin(admin) => (("admin.listen", admin.listen), admin.rules.token),
        };
        let token = self.token.read(configured.as_ref())?;
        Ok((admin_url(None, listener)?, token))
    }
}

/// The base URL of a running bridge's listener: the one given, or the configured one, which comes with
/// its key.
pub(super) fn admin_url(
    given: Option<&str>,
    (key, listen): (&str, SocketAddr),
) -> Result<String, Failure> {
    if let Some(url) = given {
        return Ok(url.trim_end_matches('/').to_owned());
    }
    if listen.port() == 0 {
        let text = format!(
            "{key} has port 0, so where it listens shows only in the bridge's log: name it with --admin, or for `health` with --url"
        );
        return Err(Failure::Usage(text));
    }
    Ok(format!("http://{}", reachable(listen)))
}

/// An address that listens everywhere is reached on this machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_admin_listener_is_where_it_can_be_reached() {
        let url = |given, listen: &str| {
            let listen = listen.parse().expect("an address");
            admin_url(given, ("admin.listen", listen)).ok()
        };
        for (given, listen, expected) in [
            (None, "127.0.0.1:8081", Some("http://127.0.0.1:8081")),
            (None, "0.0.0.0:8081", Some("http://127.0.0.1:8081")),
            (None, "[::]:8081", Some("http://[::1]:8081")),
            (None, "127.0.0.1:0", None),
            (
                Some("http://bridge:1/"),
                "127.0.0.1:0",
                Some("http://bridge:1"),
            ),
        ] {
            assert_eq!(
                url(given, listen).as_deref(),
                expected,
                "{given:?} {listen}"
            );
        }
    }
}
