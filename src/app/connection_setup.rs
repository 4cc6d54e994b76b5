//! The setup of new connections, under the settings of the start and of each reload.

use jiff::Timestamp;

use crate::config::{IngressSettings, Untimely};
use crate::ingress::ConnectionSetup;

/// At the start. An expired certificate is no reason not to start: what is held must be delivered.
pub(super) fn first(ingress: &IngressSettings) -> ConnectionSetup {
    if let Err(error) = check(ingress) {
        tracing::error!("{error}; until then no sender takes it");
    }
    asked_for(ingress)
}

/// After a reload. Whether connections are encrypted at all, and whether they begin with a PROXY
/// header, stays until a restart: a key that was lost must not open the listener to anybody.
///
/// # Errors
/// When no sender would take the new certificate now.
pub(super) fn next(
    ingress: &IngressSettings,
    before: &ConnectionSetup,
) -> Result<ConnectionSetup, Untimely> {
    let asked = asked_for(ingress);
    let encrypts = asked.tls.is_some() == before.tls.is_some();
    if encrypts {
        check(ingress)?;
    }
    let proxied = asked.proxies.is_some() == before.proxies.is_some();
    Ok(ConnectionSetup {
        tls: if encrypts {
            asked.tls
        } else {
            before.tls.clone()
        },
        proxies: if proxied {
            asked.proxies
        } else {
            before.proxies.clone()
        },
    })
}

fn check(ingress: &IngressSettings) -> Result<(), Untimely> {
    match &ingress.tls {
        Some(tls) => tls.validity.check(Timestamp::now()),
        None => Ok(()),
    }
}

fn asked_for(ingress: &IngressSettings) -> ConnectionSetup {
    let proxies = ingress.trusted_proxies.clone();
    ConnectionSetup {
        tls: ingress.tls.as_ref().map(|tls| tls.tls.clone()),
        proxies: ingress.proxy_protocol.then_some(proxies),
    }
}
