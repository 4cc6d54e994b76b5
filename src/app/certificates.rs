//! The dates on which an outage begins unless somebody renews a certificate.

use jiff::Timestamp;

use crate::config::SinkSettings;
use crate::metrics::Metrics;

/// The files a sink may be configured with, as metric labels.
const FILES: [&str; 2] = ["ca_file", "client_certificate_file"];

/// Shows when the certificates of a sink's files expire. What has expired already is an error in the
/// log and no reason to stop: events are accepted, and wait.
pub(super) fn show(metrics: &Metrics, sink: &SinkSettings, now: Timestamp) {
    let (tls, component) = (sink.kind.tls(), format!("sink.{}", sink.name));
    let gauge = &metrics.tls_certificate_expiry_timestamp_seconds;
    for key in FILES {
        let file = tls.and_then(|tls| tls.certificates().find(|file| file.key == key));
        let labels = [component.as_str(), key];
        let Some(file) = file else {
            // It may have been there before a reload; else there is nothing to remove.
            let _ = gauge.remove_label_values(&labels);
            continue;
        };
        gauge
            .with_label_values(&labels)
            .set(file.expiry.as_second());
        if file.expiry <= now {
            let which = if key == "ca_file" {
                "every authority in the file"
            } else {
                "a certificate in the file"
            };
            tracing::error!(
                sink = %sink.name,
                file = %file.path.display(),
                expired = %file.expiry,
                "{key}: {which} has expired; put a new one into it and send SIGHUP"
            );
        }
    }
}

/// Shows when certificates expire that others look at.
pub(super) fn show_expiries(
    metrics: &Metrics,
    component: &str,
    expiries: impl Iterator<Item = (&'static str, Timestamp)>,
) {
    for (file, expiry) in expiries {
        metrics
            .tls_certificate_expiry_timestamp_seconds
            .with_label_values(&[component, file])
            .set(expiry.as_second());
    }
}
