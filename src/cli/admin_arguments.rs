//! The arguments that say where a running bridge's operators' listener is, and the token that it
//! demands.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use clap::Args;

use super::command_error::CommandError;
use super::token_arguments::TokenArguments;
use crate::admin::AdminToken;
use crate::config::Settings;

/// Where it is.
#[derive(Debug, Args)]
pub(super) struct AdminArguments {
    /// The admin listener of the running bridge; from the configuration unless given.
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    #[command(flatten)]
    token: TokenArguments,
}

impl AdminArguments {
    /// Whether the listener was named on the command line.
    pub(super) fn is_given(&self) -> bool {
        self.admin.is_some()
    }

    /// The listener's base URL, and the token that it demands.
    pub(super) fn read(
        &self,
        settings: &Settings,
    ) -> Result<(String, Option<AdminToken>), CommandError> {
        let admin = &settings.admin;
        let url = match &self.admin {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => configured_url("admin.listen", admin.listen)?,
        };
        Ok((url, self.token.read(admin.rules.token.as_ref())?))
    }
}

/// The base URL of the listener that `key` configures. One that listens on every address is reached on
/// this machine.
pub(super) fn configured_url(key: &str, listen: SocketAddr) -> Result<String, CommandError> {
    if listen.port() == 0 {
        let text = format!(
            "{key} has port 0, so where it listens shows only in the bridge's log: name it with --admin, or for `health` with --url"
        );
        return Err(CommandError::Usage(text));
    }
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Ok(format!("http://{}", SocketAddr::new(ip, listen.port())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_admin_listener_is_where_it_can_be_reached() {
        for (listen, expected) in [
            ("127.0.0.1:8081", Some("http://127.0.0.1:8081")),
            ("0.0.0.0:8081", Some("http://127.0.0.1:8081")),
            ("[::]:8081", Some("http://[::1]:8081")),
            ("127.0.0.1:0", None),
        ] {
            let address = listen.parse().expect("an address");
            let url = configured_url("admin.listen", address).ok();
            assert_eq!(url.as_deref(), expected, "{listen}");
        }
    }
}
