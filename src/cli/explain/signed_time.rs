//! The time that a delivery's signature covers, as it stands there.

use super::given_request::GivenRequest;
use crate::json;
use crate::source::{Provider, RequestHead as _, Variable};

/// Reads the text of the time; none where the provider signs none, or it is not there.
pub(super) fn signed_time(provider: &Provider, request: &GivenRequest) -> Option<String> {
    let scheme = &provider.signature;
    let head = request.head(provider);
    match scheme.timestamp.as_ref()? {
        Variable::Header(name) => head.header(name).text().map(str::to_owned),
        Variable::Item(name) => {
            let read = scheme.read(&head).ok()?;
            let mut items = read.items().iter();
            items
                .find(|(of, _)| of == name)
                .map(|(_, text)| text.clone())
        }
        Variable::Pointer(pointer) => json::text_at(&request.body, pointer),
        _ => None,
    }
}
