//! The names that a sender's headers may have instead of those that were given.

use super::given_request::GivenRequest;
use super::variant::Variant;

/// Beginnings of header names that mean the same: senders change from one to the other.
const FAMILIES: [(&str, &str); 4] = [
    ("svix-", "webhook-"),
    ("webhook-", "svix-"),
    ("x-shopify-", "shopify-"),
    ("shopify-", "x-shopify-"),
];

/// The request with the headers of one family under the names of the other.
pub(super) fn header_variants(request: &GivenRequest) -> Vec<Variant<GivenRequest>> {
    let renamed = |(from, to): (&str, &str)| {
        let mut renamed = request.clone();
        for (name, _) in &mut renamed.headers {
            if let Some(rest) = name.strip_prefix(from)
                && request.value(&format!("{to}{rest}")).is_none()
            {
                *name = format!("{to}{rest}");
            }
        }
        let difference = format!("if the headers {from}… were called {to}…");
        let is_other = renamed.headers != request.headers;
        is_other.then(|| Variant::of(difference, renamed))
    };
    FAMILIES.into_iter().filter_map(renamed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_of_headers_gets_the_other_names() {
        let mut request = GivenRequest::of_body(b"{}");
        let given = ["svix-id", "webhook-id", "svix-timestamp", "x-other"];
        request.headers = given.map(|name| (name.to_owned(), name.to_owned())).into();
        let names: Vec<Vec<String>> = header_variants(&request)
            .into_iter()
            .map(|it| it.value.headers.into_iter().map(|(name, _)| name).collect())
            .collect();
        // Of what is there under both names, each stays.
        assert_eq!(
            names,
            [["svix-id", "webhook-id", "webhook-timestamp", "x-other"]]
        );
    }
}
