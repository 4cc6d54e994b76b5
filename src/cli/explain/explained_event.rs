//! The event that a delivery would be, whether it verifies or not. Only a verified delivery is ever
//! read, so one that does not verify is signed anew.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::given_request::GivenRequest;
use crate::event::Event;
use crate::source::{
    DeliveryHead, Hash, HeaderValue, Provider, RequestHead as _, Scheme, Secret, SigningKey,
    Source, Variable,
};

/// The header of a signature that is made here for a provider that has none.
const HEADER: &str = "hookferry-explain";

/// Reads the event; none where something that the signature covers is not there.
pub(super) fn read(source: &Source, request: &GivenRequest) -> Option<Event> {
    let head = request.head(&source.provider);
    // However old it is.
    let source = Source {
        tolerance: Duration::MAX,
        ..source.clone()
    };
    verified(&source, &head, request).or_else(|| signed_anew(source, head, request))
}

fn verified(source: &Source, head: &DeliveryHead, request: &GivenRequest) -> Option<Event> {
    let claim = source.read_signature(head).ok()?;
    let verified = claim.verify(request.inbound(), Timestamp::now(), || i64::MIN);
    verified.ok().map(Event::read)
}

/// The event under a signature of now, by the secret where that can sign.
fn signed_anew(
    mut source: Source,
    mut head: DeliveryHead,
    request: &GivenRequest,
) -> Option<Event> {
    let mut provider = Provider::clone(&source.provider);
    let scheme = &mut provider.signature;
    if !matches!(scheme.scheme(), Scheme::Hmac(_)) {
        scheme.secret.scheme = Scheme::Hmac(Hash::Sha256);
        source.secrets = vec![Secret::from_key(HEADER.as_bytes(), scheme.scheme())];
    }
    if scheme.headers.is_empty() {
        scheme.headers.push(HEADER.to_owned());
    }
    let own_header = match &scheme.timestamp {
        Some(Variable::Header(name)) => name.clone(),
        Some(Variable::Pointer(_)) => {
            scheme.timestamp = None;
            String::new()
        }
        _ => String::new(),
    };
    let is_made_anew = |name: &String| *name == own_header || scheme.headers.contains(name);
    head.headers.retain(|(name, _)| !is_made_anew(name));
    let is_missing = |name: &str| head.header(name) == HeaderValue::Missing;
    let lacks_others = scheme
        .signed_headers()
        .any(|name| *name != own_header && is_missing(name));
    if lacks_others {
        return None;
    }
    let key = SigningKey::Hmac(source.secrets[0].clone());
    let content = (source.url.as_deref().unwrap_or_default(), &request.body[..]);
    head.headers = provider.sign(&key, head.clone(), content, Timestamp::now());
    source.provider = Arc::new(provider);
    verified(&source, &head, request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::provider_argument::find;
    use crate::event::Content;
    use crate::name::SourceName;
    use crate::source::{ProviderTables, built_in};

    fn event(provider: &Arc<Provider>, request: &GivenRequest) -> Option<Event> {
        let provider = Arc::clone(provider);
        let secret = Secret::from_key(b"another secret", provider.signature.scheme());
        let name = SourceName::parse("a").expect("a slug");
        let mut source = Source::new(name, provider, vec![secret]);
        source.url.clone_from(&request.url);
        read(&source, request)
    }

    /// However a provider's deliveries are proven, and with nothing but the headers that it signs.
    #[test]
    fn every_providers_event_is_read_without_its_signature() {
        let tables = ProviderTables::built_in();
        for name in tables.names() {
            let mut request = GivenRequest::of_body(b"{}");
            request.url = Some("https://a.example/hook".to_owned());
            let (provider, _) = find(&tables, name).expect("built in");
            let provider = Arc::new(provider);
            let signed = provider.signature.signed_headers();
            request
                .headers
                .extend(signed.map(|of| (of.to_owned(), "1".to_owned())));
            assert!(event(&provider, &request).is_some(), "{name}");
        }
    }

    #[test]
    fn an_id_that_the_signature_covers_is_not_made_up() {
        let body = br#"{"type":"a.b","data":{"id":"c"}}"#;
        let mut request = GivenRequest::of_body(body);
        let provider = built_in("standard_webhooks").expect("built in");
        assert!(event(&provider, &request).is_none());
        request
            .headers
            .push(("webhook-id".to_owned(), "msg_1".to_owned()));
        let found = event(&provider, &request).expect("all is there");
        let Content::Understood(content) = found.content() else {
            panic!("{:?}", found.content());
        };
        assert_eq!(content.event_type.as_str(), "a.b");
        let again = event(&provider, &request).expect("all is there");
        assert_eq!(found.id(), again.id());
    }
}
