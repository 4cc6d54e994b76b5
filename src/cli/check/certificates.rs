//! Until when the certificates count that the configuration names.

use jiff::{SignedDuration, Timestamp};

use crate::config::{IngressTls, SinkKind, Validity};
use crate::sink::{BrokerTls, CertificateFile, Finding, Severity};

/// A certificate that expires within this time should have a successor.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// Those of the public listener: its own, and the authorities of its clients.
pub(super) fn of_listener(tls: &IngressTls) -> Vec<Finding> {
    let clients = tls.clients_until;
    let clients = clients.map(|until| authorities("client_ca_file", until));
    std::iter::once(own(&tls.validity)).chain(clients).collect()
}

/// Those that a sink is configured with.
pub(super) fn of_sink(kind: &SinkKind) -> Vec<Finding> {
    let tls = kind.tls().into_iter();
    tls.flat_map(BrokerTls::certificates).map(of_file).collect()
}

fn of_file(file: &CertificateFile) -> Finding {
    let path = file.path.display();
    match file.key {
        "ca_file" => authorities(&path.to_string(), file.expiry),
        _ => finding(
            format!("{path} counts until {}", file.expiry),
            file.expiry,
            "the broker does not take it any more: put a new one there, with its key",
            "renew it, then reload the bridge",
        ),
    }
}

/// A file of authorities, by the date of the last of them.
fn authorities(file: &str, until: Timestamp) -> Finding {
    finding(
        format!("{file}: the last of its authorities expires on {until}"),
        until,
        "all of them have expired: put one there that counts, then reload the bridge",
        "put its successor beside it, then reload the bridge",
    )
}

fn own(validity: &Validity) -> Finding {
    let Validity { file, from, until } = validity;
    let unusable = "no sender takes it: put one there that counts now";
    let finding = finding(
        format!("{} counts from {from} until {until}", file.display()),
        *until,
        unusable,
        "renew it, then reload the bridge",
    );
    match validity.check(Timestamp::now()) {
        Ok(()) => finding,
        Err(_) => Finding {
            severity: Severity::Error,
            remedy: unusable.to_owned(),
            ..finding
        },
    }
}

/// What was found of a certificate, with the remedy where it has expired or soon will.
fn finding(found: String, until: Timestamp, if_expired: &str, if_soon: &str) -> Finding {
    let left = until.duration_since(Timestamp::now());
    let (severity, remedy) = if left.is_negative() {
        (Severity::Error, if_expired)
    } else if left < SOON {
        (Severity::Warning, if_soon)
    } else {
        (Severity::Good, "")
    };
    Finding {
        severity,
        found,
        remedy: remedy.to_owned(),
    }
}
