//! The configuration a command works with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::config::{self, Settings};

/// Where the configuration is.
#[derive(Debug, Args)]
pub(super) struct ConfigFile {
    /// The configuration file (TOML); `hookferry config example` prints one.
    #[arg(long, value_name = "FILE", env = "HOOKFERRY_CONFIG")]
    config: PathBuf,
}

impl ConfigFile {
    /// Reads it; whatever is wrong is said at once.
    pub(super) fn load(&self) -> Result<Settings, Failure> {
        config::load(&self.config).map_err(|problems| {
            let file = self.config.display();
            Failure::Usage(format!(
                "the configuration {file} cannot be used:\n{problems}"
            ))
        })
    }
}

/// The base URL of a running bridge's admin listener: the one given, or the configured one.
pub(super) fn admin_url(given: Option<&str>, listen: SocketAddr) -> Result<String, Failure> {
    if let Some(url) = given {
        return Ok(url.trim_end_matches('/').to_owned());
    }
    if listen.port() == 0 {
        let text = "admin.listen has port 0, so where it listens shows only in the bridge's log: name it with --admin";
        return Err(Failure::Usage(text.into()));
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
        let url = |given, listen: &str| admin_url(given, listen.parse().expect("an address")).ok();
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
