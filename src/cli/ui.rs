//! `ui`: the address of a running bridge's page for operators, opened in a browser where there is one.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Args;
use serde_json::Value;
use ureq::http::Uri;

use super::admin_arguments::configured_url;
use super::command_error::{CommandError, say};
use super::config_file::cannot_be_used;
use super::http_client::{HttpClient, HttpResponse};
use super::output::Output;
use crate::config;

/// How long each answer of the bridge may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Open the page of a running bridge, which shows what becomes of each delivery.
#[derive(Debug, Args)]
#[command(
    after_help = "The page's address is printed, and opened where there is a browser; on Linux that is, where DISPLAY
or WAYLAND_DISPLAY is set. Elsewhere standard error says that none was found, and the exit code is 0
all the same. Exit code 1: no bridge answers there.

Of the configuration only admin.listen is looked at. Where the listener demands a token, the page
asks for it: this command needs none, and shows none.
A bridge that listens on every address is asked on loopback.

The page of a server's bridge, from another machine:
  ssh -L 8081:127.0.0.1:8081 SERVER       # then http://127.0.0.1:8081/ in the browser there

Examples:
  hookferry ui --config /etc/hookferry/hookferry.toml
  hookferry ui --admin http://127.0.0.1:8081 --no-open"
)]
pub(super) struct UiCommand {
    /// The configuration file of the bridge (TOML), whose admin.listen is where the page is.
    #[arg(
        long,
        value_name = "FILE",
        env = "HOOKFERRY_CONFIG",
        required_unless_present = "admin"
    )]
    config: Option<PathBuf>,
    /// The admin listener of the running bridge; from the configuration unless given.
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// Only print the address.
    #[arg(long)]
    no_open: bool,
}

impl UiCommand {
    pub(super) fn run(&self) -> Result<(), CommandError> {
        let page = self.page()?;
        let access = find_page(&page)?;
        Output::new().line(&page)?;
        if access == PageAccess::ByToken {
            say(
                "the page asks for the token, which admin.token of the bridge's configuration names",
            );
        }
        if !self.no_open && !is_opened(&page) {
            say("no browser was found here: open the address in one");
        }
        Ok(())
    }

    /// The page's address.
    fn page(&self) -> Result<String, CommandError> {
        let url = match (&self.admin, &self.config) {
            (Some(url), _) => url.clone(),
            (None, Some(file)) => {
                let listen = config::admin_listen(file)
                    .map_err(|problems| cannot_be_used(file, &problems))?;
                configured_url("admin.listen", listen)?
            }
            (None, None) => {
                let text = "name the listener with --admin, or the configuration with --config";
                return Err(CommandError::Usage(text.into()));
            }
        };
        page_at(&url).ok_or_else(|| {
            let text = "--admin: give scheme, host and port alone, as in http://127.0.0.1:8081";
            CommandError::Usage(text.into())
        })
    }
}

/// What a listener asks of whoever wants to see what it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PageAccess {
    /// Nothing.
    Open,
    /// The operators' token.
    ByToken,
}

impl PageAccess {
    /// As a bridge's answer to `GET /livez` without a token tells; none where it is no bridge's.
    fn told_by(answer: &HttpResponse) -> Option<Self> {
        let document: Value = serde_json::from_slice(&answer.body).ok()?;
        let text = |field: &str| document.get(field).and_then(Value::as_str);
        match (answer.status, text("status"), text("reason")) {
            (200, Some("live"), _) => Some(Self::Open),
            (401, _, Some("token_missing")) => Some(Self::ByToken),
            _ => None,
        }
    }
}

/// The page of the listener at this URL; none where it is not one of HTTP, or says more than where
/// the listener is. A path would be another page, and a password would be shown.
fn page_at(url: &str) -> Option<String> {
    let url: Uri = url.parse().ok()?;
    let (scheme, authority) = (url.scheme_str()?, url.authority()?);
    let is_http = ["http", "https"].contains(&scheme);
    let is_bare = url.path() == "/" && url.query().is_none() && !authority.as_str().contains('@');
    (is_http && is_bare).then(|| format!("{scheme}://{authority}/"))
}

/// Makes sure that a bridge answers there, and that it has the page.
fn find_page(page: &str) -> Result<PageAccess, CommandError> {
    let http = HttpClient::new(DEADLINE);
    let get = |path: &str| {
        http.get(&format!("{page}{path}")).with_context(|| {
            format!("no bridge answers at {page}: start it (hookferry serve), or name its admin listener with --admin")
        })
    };
    let live = get("livez")?;
    let access = PageAccess::told_by(&live).ok_or_else(|| match live.status {
        421 => anyhow!("{page}: {}", live.message()),
        code => anyhow!(
            "{page}livez answers {code}, which is not a bridge's answer: is it the address of an admin listener?"
        ),
    })?;
    match get("")?.status {
        200 => Ok(access),
        code => Err(CommandError::Failed(anyhow!(
            "{page} answers {code}: a bridge is there, but not its page; is it the listener of [metrics], or an older version?"
        ))),
    }
}

/// Opens it in a browser, where there is one: by the first of the system's launchers that is there. It
/// may run for as long as the browser, so nobody waits for it.
fn is_opened(page: &str) -> bool {
    let launch = |mut launcher: Command| {
        launcher
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .is_ok()
    };
    has_screen(&|name| std::env::var_os(name)) && open::commands(page).into_iter().any(launch)
}

/// Whether there may be a screen to show a browser on. On Linux these variables tell; without them
/// `xdg-open` would begin a text browser, which nobody could see or end.
fn has_screen(variable: &dyn Fn(&str) -> Option<OsString>) -> bool {
    cfg!(any(windows, target_os = "macos"))
        || ["DISPLAY", "WAYLAND_DISPLAY"]
            .into_iter()
            .any(|name| variable(name).is_some_and(|value| !value.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_at_a_listener_and_nothing_else() {
        for (url, expected) in [
            ("http://127.0.0.1:8081", Some("http://127.0.0.1:8081/")),
            ("http://127.0.0.1:8081/", Some("http://127.0.0.1:8081/")),
            ("http://[::1]:8081", Some("http://[::1]:8081/")),
            (
                "https://bridge.example.com",
                Some("https://bridge.example.com/"),
            ),
            ("127.0.0.1:8081", None),
            ("localhost", None),
            ("/etc/passwd", None),
            ("file:///etc/passwd", None),
            ("ftp://bridge.example.com/", None),
            ("http://bridge.example.com/page", None),
            ("http://bridge.example.com/?token=1", None),
            ("http://operator:hush@bridge.example.com/", None),
            ("--help", None),
            ("", None),
        ] {
            assert_eq!(page_at(url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn a_bridge_is_told_from_what_else_may_answer() {
        for (status, body, expected) in [
            (200, r#"{"status":"live"}"#, Some(PageAccess::Open)),
            (
                401,
                r#"{"status":401,"reason":"token_missing"}"#,
                Some(PageAccess::ByToken),
            ),
            (200, r#"{"status":"ok"}"#, None),
            (200, "live", None),
            (401, r#"{"reason":"login first"}"#, None),
            (404, r#"{"status":"live"}"#, None),
            (302, "", None),
        ] {
            let answer = HttpResponse {
                status,
                body: body.into(),
            };
            assert_eq!(PageAccess::told_by(&answer), expected, "{status} {body}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn without_a_screen_no_browser_is_tried() {
        for (name, value, expected) in [
            ("DISPLAY", ":0", true),
            ("WAYLAND_DISPLAY", "wayland-0", true),
            ("DISPLAY", "", false),
            ("BROWSER", "lynx", false),
        ] {
            let found = has_screen(&|asked| (asked == name).then(|| value.into()));
            assert_eq!(found, expected, "{name}={value}");
        }
    }
}
