//! A request as it was given to the command.

use bytes::Bytes;

use crate::cli::command_error::CommandError;
use crate::ingress::decoded_path;
use crate::source::{DeliveryHead, Inbound, Provider, Rejection, Source, is_header_name};
use crate::trace::TraceContext;

/// A request, as far as it was given.
#[derive(Debug, Clone)]
pub(super) struct GivenRequest {
    /// The headers by their names in lower case.
    pub headers: Vec<(String, String)>,
    /// A value without a name: of the header that holds the provider's signature.
    pub unnamed: Option<String>,
    /// The method.
    pub method: String,
    /// The webhook's URL, without its query.
    pub url: Option<String>,
    /// The query, without its question mark.
    pub query: Option<String>,
    /// The content type.
    pub content_type: Option<String>,
    /// The body.
    pub body: Bytes,
}

/// A header, as somebody has pasted it: with its name, in lower case, or without.
pub(super) fn header(pasted: &str) -> (Option<String>, String) {
    let pasted = pasted.trim();
    let named = pasted.split_once(':').map(|(name, value)| {
        let name = name.trim().to_ascii_lowercase();
        (name, value.trim().to_owned())
    });
    match named.filter(|(name, _)| is_header_name(name)) {
        Some((name, value)) => (Some(name), value),
        None => (None, pasted.to_owned()),
    }
}

impl GivenRequest {
    /// Takes the headers as they were pasted.
    pub fn add_headers(&mut self, pasted: &[String]) -> Result<(), CommandError> {
        for text in pasted {
            match header(text) {
                (Some(name), value) => self.headers.push((name, value)),
                (None, value) if self.unnamed.is_none() => self.unnamed = Some(value),
                (None, _) => {
                    let text = "--header: two values have no name; write each as 'Name: value', or leave the name of the signature's header alone out";
                    return Err(CommandError::Usage(text.into()));
                }
            }
        }
        if self.content_type.is_none() {
            self.content_type = self.value("content-type").map(str::to_owned);
        }
        Ok(())
    }

    /// The header of this name, in lower case.
    pub fn value(&self, name: &str) -> Option<&str> {
        let named = self.headers.iter().find(|(of, _)| of == name);
        named.map(|(_, value)| value.as_str())
    }

    /// Its head, as the bridge would see it at a webhook of this provider.
    pub fn head(&self, provider: &Provider) -> DeliveryHead {
        let mut headers = self.headers.clone();
        let is_free = |name: &&String| self.value(name).is_none();
        let place = provider.signature.headers.first().filter(is_free);
        if let (Some(value), Some(name)) = (&self.unnamed, place) {
            headers.push((name.clone(), value.clone()));
        }
        let path = self.url.as_deref().and_then(|url| url.rsplit_once('/'));
        DeliveryHead {
            headers,
            query: self.query.clone(),
            path_secret: path.and_then(|(_, last)| decoded_path(last)),
            method: Some(self.method.clone()),
        }
    }

    /// What came besides its head.
    pub fn inbound(&self) -> Inbound {
        Inbound {
            body: self.body.clone(),
            content_type: self.content_type.clone(),
            trace: TraceContext::start(false),
        }
    }

    /// Whether the bridge finds a signature of the source's secret in it, whenever it was made; none
    /// where it finds no signature to compare with.
    pub fn is_signed_for(&self, source: &Source) -> Option<bool> {
        let head = self.head(&source.provider);
        let claim = source.read_signature(&head).ok()?;
        let proven = claim.prove(self.inbound());
        Some(!matches!(proven, Err(Rejection::SignatureMismatch)))
    }
}

#[cfg(test)]
impl GivenRequest {
    /// A POST of this body, without anything else.
    pub fn of_body(body: &[u8]) -> Self {
        Self {
            headers: Vec::new(),
            unnamed: None,
            method: "POST".to_owned(),
            url: None,
            query: None,
            content_type: None,
            body: Bytes::copy_from_slice(body),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_may_come_with_its_name_or_without() {
        for (pasted, name, value) in [
            ("t=1 v1=x", None, "t=1 v1=x"),
            (
                "X-OneCodex-Signature: t=1 v1=x",
                Some("x-onecodex-signature"),
                "t=1 v1=x",
            ),
            (" x-a:t=1:2\n", Some("x-a"), "t=1:2"),
            ("v1,a+b/c=: x", None, "v1,a+b/c=: x"),
            (": x", None, ": x"),
        ] {
            assert_eq!(
                header(pasted),
                (name.map(str::to_owned), value.to_owned()),
                "{pasted}"
            );
        }
    }
}
