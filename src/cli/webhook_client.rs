//! A client that signs deliveries as their provider does, and sends them to a webhook's URL.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Deserialize;

use super::http_client::HttpClient;
use crate::source::{Provider, Sample, Scheme, SigningKey, with_query};

/// Where deliveries go, and what they are signed with.
#[derive(Clone)]
pub(super) struct WebhookClient {
    http: HttpClient,
    /// Without its query: what is signed, where the provider signs the URL.
    url: String,
    query: Option<String>,
    provider: Arc<Provider>,
    key: SigningKey,
}

/// A signed delivery, as it goes over the wire.
#[derive(Debug)]
pub(super) struct SignedRequest {
    /// Where it goes, with a secret in the path and the query.
    pub url: String,
    /// All headers that tell of it.
    pub headers: Vec<(String, String)>,
}

/// What the other side answered.
#[derive(Debug)]
pub(super) struct WebhookResponse {
    /// The status code.
    pub status: u16,
    /// What it said: for a 200 the event's status, else the reason.
    pub said: String,
    /// The event's id, where it was accepted.
    pub id: Option<String>,
    /// How long it took.
    pub took: Duration,
}

/// The body of a 200.
#[derive(Deserialize)]
struct Accepted {
    id: String,
    status: String,
}

/// A URL, and the query behind it.
pub(super) fn url_and_query(url: &str) -> (String, Option<String>) {
    match url.split_once('?') {
        Some((url, query)) => (url.to_owned(), Some(query.to_owned())),
        None => (url.to_owned(), None),
    }
}

impl WebhookClient {
    /// A client of the webhook at `url`.
    pub(super) fn new(
        http: HttpClient,
        url: &str,
        provider: Arc<Provider>,
        key: SigningKey,
    ) -> Self {
        let (url, query) = url_and_query(url);
        Self {
            http,
            url,
            query,
            provider,
            key,
        }
    }

    /// The same with another key.
    pub(super) fn with_key(&self, key: SigningKey) -> Self {
        Self {
            key,
            ..self.clone()
        }
    }

    /// Signs a delivery as of `signed_at`.
    pub(super) fn sign(&self, delivery: &Sample, signed_at: Timestamp) -> SignedRequest {
        let mut head = delivery.head.clone();
        head.query.clone_from(&self.query);
        let content = (self.url.as_str(), delivery.body.as_slice());
        let signed = self.provider.sign(&self.key, head, content, signed_at);
        let mut headers = vec![("content-type".to_owned(), delivery.content_type.clone())];
        headers.extend(signed);
        SignedRequest {
            url: self.request_url(),
            headers,
        }
    }

    /// Signs a delivery as of `signed_at` and sends it.
    pub(super) fn deliver(
        &self,
        delivery: &Sample,
        signed_at: Timestamp,
    ) -> anyhow::Result<WebhookResponse> {
        let SignedRequest { url, headers } = self.sign(delivery, signed_at);
        let headers = headers.iter();
        let headers: Vec<(&str, &str)> = headers
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let began = Instant::now();
        let answer = self.http.post(&url, &headers, &delivery.body)?;
        let took = began.elapsed();
        let accepted = serde_json::from_slice::<Accepted>(&answer.body).ok();
        let (said, id) = match accepted {
            Some(Accepted { id, status }) => (status, Some(id)),
            None => (answer.message(), None),
        };
        Ok(WebhookResponse {
            status: answer.status,
            said,
            id,
            took,
        })
    }

    fn request_url(&self) -> String {
        let mut url = self.url.clone();
        if let (Scheme::Url, SigningKey::Token(secret)) =
            (self.provider.signature.scheme(), &self.key)
        {
            url.push('/');
            url.push_str(secret);
        }
        with_query(&url, self.query.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::built_in;

    fn client(provider: &str, url: &str, token: &str) -> WebhookClient {
        let provider = built_in(provider).expect("built in");
        let key = SigningKey::Token(token.to_owned());
        WebhookClient::new(HttpClient::new(Duration::ZERO), url, provider, key)
    }

    #[test]
    fn a_secret_stands_in_the_path_of_those_that_sign_nothing() {
        let url = "https://bridge.example/webhooks/hub";
        let of = |provider, url: &str| client(provider, url, "a~b-1").request_url();
        assert_eq!(of("docker_hub", url), format!("{url}/a~b-1"));
        let asked = format!("{url}?tag=1");
        assert_eq!(of("docker_hub", &asked), format!("{url}/a~b-1?tag=1"));
        assert_eq!(of("gitlab_token", &asked), asked);
    }

    #[test]
    fn a_url_is_taken_apart_at_its_query() {
        assert_eq!(
            url_and_query("https://a/b"),
            ("https://a/b".to_owned(), None)
        );
        let (url, query) = url_and_query("https://a/b?c=d?e");
        assert_eq!(
            (url.as_str(), query.as_deref()),
            ("https://a/b", Some("c=d?e"))
        );
    }
}
