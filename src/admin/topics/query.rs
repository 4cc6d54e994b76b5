//! The query of a read: from where, how much, and how long to wait.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use actix_web::HttpRequest;

use crate::admin::problem::AdminProblem;
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
    /// Whether it wants the bodies.
    pub bodies: bool,
}

impl Query {
    /// Reads the query string; every parameter has a default.
    pub fn of(request: &HttpRequest) -> Result<Self, AdminProblem> {
        Self::parse(request.query_string())
    }

    fn parse(text: &str) -> Result<Self, AdminProblem> {
        let mut query = Self {
            after: 0,
            limit: DEFAULT_LIMIT,
            wait: Duration::ZERO,
            bodies: true,
        };
        let mut seen = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if seen.contains(&name) {
                return Err(AdminProblem::invalid(format!("`{name}` stands twice")));
            }
            seen.push(name);
            match name {
                "after" => query.after = within(name, value, 0..=u64::MAX)?,
                "limit" => query.limit = within(name, value, 1..=MAX_ENTRIES)?,
                "wait" => {
                    query.wait = Duration::from_secs(within(name, value, 0..=MAX_WAIT.as_secs())?);
                }
                "bodies" => {
                    let bodies = value.parse();
                    query.bodies = bodies
                        .map_err(|_| AdminProblem::invalid("`bodies` must be true or false"))?;
                }
                // A misspelt `wait` must not turn a consumer into a busy loop.
                _ => {
                    return Err(AdminProblem::invalid(
                        "there are the parameters `after`, `limit`, `wait` and `bodies`, and no others",
                    ));
                }
            }
        }
        Ok(query)
    }
}

fn within<T>(name: &str, value: &str, range: RangeInclusive<T>) -> Result<T, AdminProblem>
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
        AdminProblem::invalid(format!(
            "`{name}` must be a whole number{unit} from {} to {}",
            range.start(),
            range.end()
        ))
    })
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
                "there are the parameters `after`, `limit`, `wait` and `bodies`, and no others",
            ),
        ] {
            assert_eq!(parse(text), Err(detail.to_owned()), "{text}");
        }
    }
}
