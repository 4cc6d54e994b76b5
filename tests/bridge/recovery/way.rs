//! The way to the provider: through the proxy of the environment, where there is one.

use std::net::SocketAddr;
use std::process::Command;

use super::{RecoverySetup, failed};
use crate::harness::program::Program;
use crate::harness::{Bridge, ConnectProxy, EventsApi, Setup, free_port};

/// The program in an environment with these variables.
fn with(variables: &[(&str, &str)]) -> Command {
    let mut command = Program::Released.command();
    for (name, value) in variables {
        command.env(name, value);
    }
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_the_environment_names_leads_to_the_provider() {
    // A name that the proxy alone can resolve.
    let api = EventsApi::calling_itself("DNS:events.example").await;
    let proxy = ConnectProxy::to(SocketAddr::from(([127, 0, 0, 1], api.port()))).await;
    let recovery = RecoverySetup::of(Setup::store(), api);
    let recovery = recovery.with("url", "\"https://events.example\"");
    recovery.api.adds_all(failed(2));
    let command = with(&[("HTTPS_PROXY", &proxy.url())]);
    let bridge = Bridge::start_by(command, &recovery.setup.write()).await;
    recovery.published(&bridge, 2).await;
    let asked = proxy.asked();
    assert!(
        !asked.is_empty() && asked.iter().all(|host| host == "events.example:443"),
        "{asked:?}"
    );
    for one in recovery.api.recorded() {
        assert_eq!(one.request.header("host"), Some("events.example"));
        assert!(one.request.header("proxy-authorization").is_none());
    }
    recovery.assert_polite(&bridge);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_proxy_is_asked_for_a_host_that_the_environment_excepts() {
    let recovery = RecoverySetup::store().await;
    recovery.api.adds_all(failed(2));
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let command = with(&[("HTTPS_PROXY", &nobody), ("NO_PROXY", "127.0.0.1")]);
    let bridge = Bridge::start_by(command, &recovery.setup.write()).await;
    recovery.published(&bridge, 2).await;
}
