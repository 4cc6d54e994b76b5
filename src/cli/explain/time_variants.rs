//! The writings of a timestamp that a sender may have signed instead of the one that was given, and
//! the units in which a time may be meant.

use jiff::Timestamp;

use super::given_request::GivenRequest;
use super::variant::Variant;
use crate::source::{Provider, TimeUnit, Variable};

/// The units by the names that a provider's table has for them, with what a person calls them.
const UNITS: [(TimeUnit, &str, &str); 3] = [
    (TimeUnit::Seconds, "s", "seconds since 1970"),
    (TimeUnit::Milliseconds, "ms", "milliseconds since 1970"),
    (TimeUnit::Rfc3339, "rfc3339", "RFC 3339"),
];
/// The times at which a delivery that somebody asks about may have been sent, in seconds since 1970:
/// from 2001 to 2100. A time in the wrong unit is far from it.
const PLAUSIBLE: std::ops::Range<i64> = 978_307_200..4_102_444_800;

/// The request with its signed time written in seconds instead of milliseconds, or the reverse.
pub(super) fn time_variants(
    request: &GivenRequest,
    provider: &Provider,
) -> Vec<Variant<GivenRequest>> {
    let scheme = &provider.signature;
    match &scheme.timestamp {
        Some(Variable::Header(name)) if request.value(name).is_some() => {
            rewritten(request, name, other_writing)
        }
        Some(Variable::Item(item)) => {
            let before = format!("{item}{}", scheme.pair);
            let names = scheme.headers.iter();
            let in_header = |name: &String| {
                rewritten(request, name, |value| {
                    let (start, rest) = value.split_once(&before)?;
                    let end = rest
                        .find(|c: char| !c.is_ascii_digit())
                        .unwrap_or(rest.len());
                    let (digits, rest) = rest.split_at(end);
                    let (name, digits) = other_writing(digits)?;
                    Some((name, format!("{start}{before}{digits}{rest}")))
                })
            };
            names.flat_map(in_header).collect()
        }
        _ => Vec::new(),
    }
}

/// The digits in the other of the two units, and which one that is.
fn other_writing(digits: &str) -> Option<(&'static str, String)> {
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    match digits.len() {
        9..=10 if is_number => Some(("milliseconds", format!("{digits}000"))),
        12..=13 if is_number => Some(("seconds", digits[..digits.len() - 3].to_owned())),
        _ => None,
    }
}

/// The request with another value of this header, or of the one without a name.
fn rewritten(
    request: &GivenRequest,
    header: &str,
    write: impl Fn(&str) -> Option<(&'static str, String)>,
) -> Vec<Variant<GivenRequest>> {
    let mut edited = request.clone();
    let named = edited.headers.iter_mut().find(|(name, _)| name == header);
    let value = match named {
        Some((_, value)) => Some(value),
        None => edited.unnamed.as_mut(),
    };
    let Some((value, (unit, text))) = value.and_then(|value| {
        let written = write(value)?;
        Some((value, written))
    }) else {
        return Vec::new();
    };
    *value = text;
    vec![Variant::of(
        format!("if the timestamp were in {unit}"),
        edited,
    )]
}

/// What a person calls a unit.
pub(super) fn unit_name(unit: TimeUnit) -> &'static str {
    let known = UNITS.iter().find(|(of, _, _)| *of == unit);
    known.map_or("", |(_, _, name)| name)
}

/// What a text would be in a unit that suits it better; nothing where its own does.
pub(super) fn better_unit(text: &str, unit: TimeUnit) -> Option<String> {
    let plausible = |unit: TimeUnit| {
        let seconds = unit.signed_seconds(text);
        seconds.filter(|seconds| PLAUSIBLE.contains(seconds))
    };
    if plausible(unit).is_some() {
        return None;
    }
    UNITS.iter().find_map(|(other, key, name)| {
        let time = Timestamp::from_second(plausible(*other)?).ok()?;
        Some(format!("as {name} (unit = \"{key}\") it would be {time}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{ONE_CODEX, built_in};

    fn given(name: Option<&str>, value: &str) -> GivenRequest {
        let mut request = GivenRequest::of_body(b"{}");
        match name {
            Some(name) => request.headers.push((name.to_owned(), value.to_owned())),
            None => request.unnamed = Some(value.to_owned()),
        }
        request
    }

    #[test]
    fn a_time_in_the_other_unit_is_tried_in_header_and_item() {
        let hubspot = built_in("hubspot").expect("built in");
        let name = "x-hubspot-request-timestamp";
        for (value, expected) in [
            ("1492774577", "1492774577000"),
            ("1492774577123", "1492774577"),
        ] {
            let found = time_variants(&given(Some(name), value), &hubspot);
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].value.value(name), Some(expected));
        }
        let found = time_variants(&given(None, "t=1492774577c v1=ab"), &ONE_CODEX);
        let value = found[0].value.unnamed.as_deref();
        assert_eq!(value, Some("t=1492774577000c v1=ab"));
        assert_eq!(
            found[0].differences,
            ["if the timestamp were in milliseconds"]
        );
        for value in ["t=x v1=ab", "v1=ab", "t=17 v1=ab", "t= v1=ab"] {
            assert!(
                time_variants(&given(None, value), &ONE_CODEX).is_empty(),
                "{value}"
            );
        }
    }

    #[test]
    fn a_time_in_the_wrong_unit_is_recognised() {
        let milliseconds = better_unit("1492774577123", TimeUnit::Seconds);
        let milliseconds = milliseconds.expect("far away as seconds");
        assert!(milliseconds.contains("\"ms\"") && milliseconds.contains("2017-04-21"));
        let seconds = better_unit("1492774577", TimeUnit::Milliseconds).expect("of 1970");
        assert!(seconds.contains("\"s\""), "{seconds}");
        let text = better_unit("2017-04-21T11:36:17Z", TimeUnit::Seconds).expect("a date");
        assert!(text.contains("\"rfc3339\""), "{text}");
        assert_eq!(better_unit("1492774577", TimeUnit::Seconds), None);
        assert_eq!(better_unit("soon", TimeUnit::Seconds), None);
    }
}
