//! Form bodies: `application/x-www-form-urlencoded`.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// The most fields of a form that are sorted, which is done before the proof; frameworks for forms take
/// as many.
const MAX_SIGNED_FIELDS: usize = 1000;

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
/// (<https://www.twilio.com/docs/usage/security#validating-requests>). None where there are more
/// than 1000.
///
/// They stay bytes: decoded as text, all bytes that are no UTF-8 would be one and the same character,
/// and bodies that differ there would have one signature.
#[must_use]
pub fn sorted(body: &[u8]) -> Option<Vec<u8>> {
    let parts = body.split(|b| *b == b'&').filter(|part| !part.is_empty());
    if parts.clone().nth(MAX_SIGNED_FIELDS).is_some() {
        return None;
    }
    let mut parameters: Vec<SignedField<'_>> = parts
        .map(|part| {
            let equals = part.iter().position(|b| *b == b'=').unwrap_or(part.len());
            let value = part.get(equals + 1..).unwrap_or_default();
            (decoded(&part[..equals]), decoded(value))
        })
        .collect();
    parameters.sort_unstable();
    parameters.dedup();
    let mut text = Vec::with_capacity(body.len());
    for (name, value) in parameters {
        text.extend_from_slice(&name);
        text.extend_from_slice(&value);
    }
    Some(text)
}

/// A field's name and its value, decoded.
type SignedField<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// A name or a value with its `+` as spaces and its `%XX` as bytes; a `%` that begins no encoding is
/// itself.
fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'+') {
        return percent_decode(text).into();
    }
    let spaced: Vec<u8> = text
        .iter()
        .map(|b| if *b == b'+' { b' ' } else { *b })
        .collect();
    Cow::Owned(percent_decode(&spaced).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_sorted_and_a_value_that_stands_twice_counts_once() {
        let body = b"b=2&a=z&a=y&a=z&C=%F0%9F%A7%AC+x&empty=";
        let expected = "C\u{1f9ec} xayazb2empty".as_bytes();
        assert_eq!(sorted(body).as_deref(), Some(expected));
        assert_eq!(sorted(b"").as_deref(), Some(&b""[..]));
        let odd = b"&&=x&a&b=1=2&c=100%&d=%zz%4";
        assert_eq!(sorted(odd).as_deref(), Some(&b"xab1=2c100%d%zz%4"[..]));
    }

    #[test]
    fn bytes_that_are_no_text_are_told_apart() {
        assert_eq!(sorted(b"a=%FF").as_deref(), Some(&b"a\xff"[..]));
        assert_ne!(sorted(b"a=%FF"), sorted(b"a=%EF%BF%BD"));
    }

    #[test]
    fn a_form_of_too_many_fields_is_not_sorted() {
        let fields = "a=1&".repeat(MAX_SIGNED_FIELDS);
        assert_eq!(sorted(fields.as_bytes()).as_deref(), Some(&b"a1"[..]));
        assert_eq!(sorted(format!("{fields}b=2").as_bytes()), None);
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
