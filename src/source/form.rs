//! Form bodies: `application/x-www-form-urlencoded`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// Whether a content type says that a body is a form.
#[must_use]
pub fn is_form(content_type: Option<&str>) -> bool {
    has_media_type(content_type, "application/x-www-form-urlencoded")
}

/// Whether a content type is this media type, whatever its parameters.
#[must_use]
pub fn has_media_type(content_type: Option<&str>, media_type: &str) -> bool {
    let essence = content_type.and_then(|text| text.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(media_type))
}

/// The fields of a form, decoded, in their order.
pub fn fields(body: &[u8]) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    form_urlencoded::parse(body)
}

/// The parameters as Twilio signs them: the names sorted by their bytes, of each name the set of its
/// values, sorted; name and value without anything between them
/// (<https://www.twilio.com/docs/usage/security#validating-requests>).
#[must_use]
pub fn sorted(body: &[u8]) -> String {
    let mut parameters: BTreeMap<Cow<'_, str>, BTreeSet<Cow<'_, str>>> = BTreeMap::new();
    for (name, value) in fields(body) {
        parameters.entry(name).or_default().insert(value);
    }
    let mut text = String::new();
    for (name, values) in parameters {
        for value in values {
            text.push_str(&name);
            text.push_str(&value);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_sorted_and_a_value_that_stands_twice_counts_once() {
        let body = b"b=2&a=z&a=y&a=z&C=%F0%9F%A7%AC+x&empty=";
        assert_eq!(sorted(body), "C\u{1f9ec} xayazb2empty");
        assert_eq!(sorted(b""), "");
    }

    #[test]
    fn a_content_type_is_known_by_its_essence() {
        for text in [
            "application/x-www-form-urlencoded",
            "Application/X-WWW-Form-Urlencoded; charset=utf-8",
        ] {
            assert!(is_form(Some(text)), "{text}");
        }
        for text in [
            None,
            Some(""),
            Some("application/json"),
            Some("x; application/x-www-form-urlencoded"),
        ] {
            assert!(!is_form(text), "{text:?}");
        }
    }
}
