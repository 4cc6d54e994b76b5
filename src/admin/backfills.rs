//! Backfills over HTTP, for the command of that name: a run is asked for, and heard of line by line.

use std::str::FromStr;

use actix_web::http::{StatusCode, header};
use actix_web::web::{self, Bytes, Data, Path};
use actix_web::{Error, HttpRequest, HttpResponse};
use futures_util::stream;
use tokio::sync::mpsc;

use super::problem::AdminProblem;
use crate::backfill::{BackfillRequest, NoRecovery, RecoveryHandle, RunLine};
use crate::name::EventType;

/// The routes of this file.
pub(super) fn routes(recovery: Data<RecoveryHandle>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |config| {
        config
            .app_data(recovery)
            .route("/backfills/{source}", web::post().to(start));
    }
}

async fn start(
    request: HttpRequest,
    source: Path<String>,
    recovery: Data<RecoveryHandle>,
) -> HttpResponse {
    let started = parse(request.query_string())
        .and_then(|asked| recovery.start(&source, &asked).map_err(AdminProblem::from));
    match started {
        Ok(lines) => HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "application/x-ndjson"))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .streaming(stream::unfold(lines, next_line)),
        Err(problem) => problem.response(),
    }
}

/// The next line of a run; none at its end.
async fn next_line(
    mut lines: mpsc::Receiver<RunLine>,
) -> Option<(Result<Bytes, Error>, mpsc::Receiver<RunLine>)> {
    let line = lines.recv().await?;
    let mut text = serde_json::to_vec(&line).expect("texts and numbers always are JSON");
    text.push(b'\n');
    Some((Ok(text.into()), lines))
}

/// Reads the query.
fn parse(query: &str) -> Result<BackfillRequest, AdminProblem> {
    let mut asked = BackfillRequest::default();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "since" => asked.since = Some(read(&name, &value, "a time as RFC 3339 writes it")?),
            "until" => asked.until = Some(read(&name, &value, "a time as RFC 3339 writes it")?),
            "dry_run" => asked.dry_run = read(&name, &value, "true or false")?,
            "event_type" => {
                let event_type = EventType::parse(&value);
                asked
                    .event_types
                    .push(event_type.map_err(|error| invalid(error.to_string()))?);
            }
            _ => {
                return Err(invalid(
                    "there are the parameters `since`, `until`, `event_type` and `dry_run`, and no others",
                ));
            }
        }
    }
    Ok(asked)
}

fn read<T: FromStr>(name: &str, value: &str, expected: &str) -> Result<T, AdminProblem> {
    let read = value.parse();
    read.map_err(|_| invalid(format!("`{name}` must be {expected}")))
}

fn invalid(detail: impl Into<String>) -> AdminProblem {
    AdminProblem::new(StatusCode::BAD_REQUEST, "invalid_query", detail)
}

impl From<NoRecovery> for AdminProblem {
    fn from(error: NoRecovery) -> Self {
        let (status, reason) = match &error {
            NoRecovery::NotConfigured(_) => (StatusCode::NOT_FOUND, "not_found"),
            NoRecovery::InvalidPeriod(_) => (StatusCode::BAD_REQUEST, "invalid_period"),
            NoRecovery::Busy(_) => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        };
        Self::new(status, reason, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_and_a_wrong_one_named() {
        let asked = parse("since=2026-11-01T00:00:00Z&event_type=a.b&event_type=c&dry_run=true");
        let asked = asked.expect("a query");
        let times = (asked.since.map(|it| it.to_string()), asked.until);
        assert_eq!(times, (Some("2026-11-01T00:00:00Z".to_owned()), None));
        assert_eq!((asked.event_types.len(), asked.dry_run), (2, true));
        for (query, part) in [
            ("since=yesterday", "`since` must be a time"),
            ("dry_run=perhaps", "true or false"),
            ("event_type=a/b", "event type"),
            ("sinc=1", "no others"),
        ] {
            let said = parse(query).expect_err(query).detail;
            assert!(said.contains(part), "{query}: {said}");
        }
    }
}
