//! What a reader asks for: from where, how much, how long, and in which form.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::{StatusCode, header};

use crate::admin::problem::Problem;
use crate::sink::store::{MAX_ENTRIES, MAX_WAIT};

/// Entries in an answer unless the reader says otherwise.
const DEFAULT_LIMIT: usize = 100;

/// The query of a read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Query {
    /// The last position the reader has; 0 for none.
    pub after: u64,
    /// The most entries it wants.
    pub limit: usize,
    /// How long it waits for one.
    pub wait: Duration,
}

impl Query {
    /// Reads the query string; every parameter has a default.
    pub fn of(request: &HttpRequest) -> Result<Self, Problem> {
        Self::parse(request.query_string())
    }

    fn parse(text: &str) -> Result<Self, Problem> {
        let mut query = Self {
            after: 0,
            limit: DEFAULT_LIMIT,
            wait: Duration::ZERO,
        };
        let mut seen = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if seen.contains(&name) {
                return Err(invalid(format!("`{name}` stands twice")));
            }
            seen.push(name);
            match name {
                "after" => query.after = within(name, value, 0..=u64::MAX)?,
                "limit" => query.limit = within(name, value, 1..=MAX_ENTRIES)?,
                "wait" => {
                    query.wait = Duration::from_secs(within(name, value, 0..=MAX_WAIT.as_secs())?);
                }
                // A misspelt `wait` must not turn a consumer into a busy loop.
                _ => {
                    return Err(invalid(
                        "there are the parameters `after`, `limit` and `wait`, and no others",
                    ));
                }
            }
        }
        Ok(query)
    }
}

fn within<T>(name: &str, value: &str, range: RangeInclusive<T>) -> Result<T, Problem>
where
    T: FromStr + PartialOrd + Display,
{
    let number = value
        .bytes()
        .all(|digit| digit.is_ascii_digit())
        .then(|| value.parse().ok())
        .flatten()
        .filter(|number| range.contains(number));
    number.ok_or_else(|| {
        let unit = if name == "wait" { " in seconds" } else { "" };
        invalid(format!(
            "`{name}` must be a whole number{unit} from {} to {}",
            range.start(),
            range.end()
        ))
    })
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "invalid_parameter", detail)
}

/// How the events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One JSON object a line.
    Lines,
    /// A CloudEvents batch.
    Batch,
}

impl Form {
    /// Each form, and what `Accept` may call it, the most exact name first.
    const NAMES: [(Self, [&'static str; 3]); 2] = [
        (
            Self::Lines,
            ["application/x-ndjson", "application/*", "*/*"],
        ),
        (
            Self::Batch,
            ["application/cloudevents-batch+json", "application/*", "*/*"],
        ),
    ];

    /// Reads `Accept` (RFC 9110, section 12.5.1); lines where nothing is asked for, or both are
    /// welcome alike.
    pub fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let values = request.headers().get_all(header::ACCEPT);
        let texts: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
        Self::choose(&texts.join(","))
    }

    fn choose(accept: &str) -> Result<Self, Problem> {
        if accept.trim().is_empty() {
            return Ok(Self::Lines);
        }
        let ranges: Vec<(String, u16)> = accept.split(',').filter_map(range).collect();
        let [(lines, lines_names), (batch, batch_names)] = Self::NAMES;
        match (weight(&ranges, &lines_names), weight(&ranges, &batch_names)) {
            (0, 0) => Err(Problem::new(
                StatusCode::NOT_ACCEPTABLE,
                "not_acceptable",
                "there are application/x-ndjson and application/cloudevents-batch+json",
            )),
            (first, second) if second > first => Ok(batch),
            _ => Ok(lines),
        }
    }
}

/// The weight of the most exact name that stands in `Accept`, in thousandths.
fn weight(ranges: &[(String, u16)], names: &[&str]) -> u16 {
    names
        .iter()
        .find_map(|name| ranges.iter().find(|(range, _)| range == name))
        .map_or(0, |(_, weight)| *weight)
}

/// One item of `Accept`: the media range in small letters, and its weight in thousandths.
fn range(item: &str) -> Option<(String, u16)> {
    let mut parts = item.split(';').map(str::trim);
    let range = parts.next()?.to_ascii_lowercase();
    let weight = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("q")
            .then_some(value.trim())
    });
    let weight = match weight {
        None => 1.0,
        Some(text) => text
            .parse::<f32>()
            .ok()
            .filter(|q| (0.0..=1.0).contains(q))?,
    };
    // Within 0 to 1000 by the line above.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Some((range, (weight * 1000.0) as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<(u64, usize, u64), String> {
        Query::parse(text)
            .map(|query| (query.after, query.limit, query.wait.as_secs()))
            .map_err(|problem| problem.detail)
    }

    #[test]
    fn every_parameter_has_a_default_and_a_range() {
        assert_eq!(parse(""), Ok((0, 100, 0)));
        assert_eq!(parse("after=7&limit=1&wait=60"), Ok((7, 1, 60)));
        assert_eq!(parse("wait=0&limit=1000"), Ok((0, 1000, 0)));
        assert_eq!(parse("after=18446744073709551615"), Ok((u64::MAX, 100, 0)));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_range() {
        for (text, detail) in [
            ("limit=0", "`limit` must be a whole number from 1 to 1000"),
            (
                "limit=1001",
                "`limit` must be a whole number from 1 to 1000",
            ),
            (
                "wait=61",
                "`wait` must be a whole number in seconds from 0 to 60",
            ),
            (
                "wait=1.5",
                "`wait` must be a whole number in seconds from 0 to 60",
            ),
            (
                "wait",
                "`wait` must be a whole number in seconds from 0 to 60",
            ),
            (
                "after=-1",
                "`after` must be a whole number from 0 to 18446744073709551615",
            ),
            (
                "after=+1",
                "`after` must be a whole number from 0 to 18446744073709551615",
            ),
            (
                "after=18446744073709551616",
                "`after` must be a whole number from 0 to 18446744073709551615",
            ),
            ("after=1&after=2", "`after` stands twice"),
            (
                "wiat=5",
                "there are the parameters `after`, `limit` and `wait`, and no others",
            ),
        ] {
            assert_eq!(parse(text), Err(detail.to_owned()), "{text}");
        }
    }

    #[test]
    fn the_form_is_what_the_reader_prefers() {
        for (accept, expected) in [
            ("", Some(Form::Lines)),
            ("*/*", Some(Form::Lines)),
            ("application/*", Some(Form::Lines)),
            ("application/x-ndjson", Some(Form::Lines)),
            ("application/cloudevents-batch+json", Some(Form::Batch)),
            (
                "Application/CloudEvents-Batch+JSON; charset=utf-8",
                Some(Form::Batch),
            ),
            (
                "application/cloudevents-batch+json, */*;q=0.1",
                Some(Form::Batch),
            ),
            (
                "application/cloudevents-batch+json;q=0.5, application/x-ndjson",
                Some(Form::Lines),
            ),
            ("application/x-ndjson;q=0, */*", Some(Form::Batch)),
            ("text/html, application/json", None),
            ("*/*;q=0", None),
            ("application/x-ndjson;q=2", None),
            (";;,", None),
        ] {
            assert_eq!(Form::choose(accept).ok(), expected, "{accept:?}");
        }
    }
}
