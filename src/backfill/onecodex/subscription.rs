//! The account's webhook subscriptions (`GET /api/v1/webhooks`), which not every key may read.

use serde::Deserialize;

use crate::sink::Finding;
use crate::source::{ApiError, ApiResponse, Source};

/// A subscription.
#[derive(Debug, Deserialize)]
pub(super) struct Subscription {
    enabled: bool,
    event_type: String,
    post_url: String,
}

impl Subscription {
    /// Reads all of them.
    ///
    /// # Errors
    /// When the answer is no list of them.
    pub fn read(response: &ApiResponse) -> Result<Vec<Self>, ApiError> {
        let read = serde_json::from_slice(response.body());
        read.map_err(|error| ApiError::not_json_of("a list of subscriptions", &error))
    }
}

/// What is found of the subscriptions whose URL is this source's.
pub(super) fn findings(source: &Source, subscriptions: &[Subscription]) -> Vec<Finding> {
    let path = format!("/webhooks/{}", source.name);
    let is_ours = |it: &&Subscription| it.post_url.trim_end_matches('/').ends_with(&path);
    let ours: Vec<&Subscription> = subscriptions.iter().filter(is_ours).collect();
    if ours.is_empty() {
        return vec![Finding::error(
            format!("no subscription's URL ends in {path}, so nothing is delivered to this source"),
            "subscribe the bridge's URL in the account's settings; behind a proxy that changes paths, compare them there",
        )];
    }
    let finding = |it: &&Subscription| {
        let what = format!("the subscription of {} to {}", it.event_type, it.post_url);
        if it.enabled {
            Finding::good(format!("{what} is enabled"))
        } else {
            Finding::error(
                format!("{what} is disabled"),
                "enable it in the account's settings",
            )
        }
    };
    ours.iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::SourceName;
    use crate::source::ONE_CODEX;

    fn subscription(post_url: &str, enabled: bool) -> Subscription {
        Subscription {
            enabled,
            event_type: "*".to_owned(),
            post_url: post_url.to_owned(),
        }
    }

    #[test]
    fn a_subscription_is_known_by_the_path_of_its_source() {
        let name = SourceName::parse("lab").expect("a name");
        let source = Source::new(name, ONE_CODEX.clone(), Vec::new());
        let found = |subscriptions: &[Subscription]| {
            let findings = findings(&source, subscriptions);
            let said: Vec<String> = findings.into_iter().map(|it| it.found).collect();
            said.join("\n")
        };
        let ours = subscription("https://bridge.example.com/webhooks/lab", true);
        assert!(found(&[ours]).ends_with("is enabled"));
        let ours = subscription("https://bridge.example.com/webhooks/lab/", false);
        assert!(found(&[ours]).ends_with("is disabled"));
        let other = subscription("https://bridge.example.com/webhooks/lab2", true);
        assert!(found(&[other]).contains("no subscription's URL ends in /webhooks/lab"));
        assert!(found(&[]).contains("no subscription"));
    }
}
