//! The store's topics over HTTP: the list of them, and the events of one, by long polling.
//!
//! `GET /topics` answers with a JSON array. `GET /topics/{topic}/events?after=P&limit=N&wait=S&bodies=true`
//! answers with the events after position P, one JSON object a line. A reader goes on from the last
//! position it was given. With `wait` it gets an empty 200 after that many seconds without an event,
//! and a topic that does not exist yet is waited for in the same way: a consumer may start before the
//! first event. Without `wait` such a topic is a 404.
//! A position beyond the topic's end is a 409: the log was started anew, and the reader must too.

mod lines;
mod query;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, ContentType};
use actix_web::{HttpRequest, HttpResponse, web};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::problem::AdminProblem;
use super::route::get;
use crate::sink::store::{TopicLog, TopicReadError};
use query::Query;

/// The readers that wait for an event at once. Each holds a connection for up to a minute, so there
/// may be fewer of them than connections: probes, scrapes and commands get in all the same.
#[derive(Debug)]
struct WaitingReaders(Semaphore);

impl WaitingReaders {
    /// A permit to wait, which is given back when it is dropped.
    fn wait(&self) -> Result<SemaphorePermit<'_>, AdminProblem> {
        self.0.try_acquire().map_err(|_| {
            AdminProblem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too_many_readers",
                "as many readers wait for events as may wait at once: come again, or read without `wait`",
            )
        })
    }
}

/// The topics' routes, for the admin listener; at most `max_waiting` readers wait at once.
pub fn routes(log: TopicLog, max_waiting: usize) -> impl FnOnce(&mut web::ServiceConfig) {
    let readers = web::Data::new(WaitingReaders(Semaphore::new(max_waiting)));
    move |config| {
        config
            .app_data(web::Data::new(log))
            .app_data(readers)
            .route("/topics", get().to(list))
            .route("/topics/{topic}/events", get().to(events));
    }
}

impl From<TopicReadError> for AdminProblem {
    fn from(error: TopicReadError) -> Self {
        let (status, reason) = match &error {
            TopicReadError::UnknownTopic => (StatusCode::NOT_FOUND, "unknown_topic"),
            TopicReadError::Ahead { .. } => (StatusCode::CONFLICT, "position_ahead"),
            TopicReadError::Closed => (StatusCode::SERVICE_UNAVAILABLE, "store_closed"),
            TopicReadError::Unavailable(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable")
            }
        };
        let detail = match error {
            TopicReadError::UnknownTopic => {
                "there is no topic of this name yet; GET /topics lists them, and with `wait` it is waited for".into()
            }
            error => error.to_string(),
        };
        Self::new(status, reason, detail)
    }
}

async fn list(log: web::Data<TopicLog>) -> HttpResponse {
    match log.topics().await {
        Ok(topics) => {
            let body = serde_json::to_vec(&topics).expect("texts and numbers always are JSON");
            answer(StatusCode::OK, ContentType::json().0.as_ref(), body)
        }
        Err(error) => AdminProblem::from(error).response(),
    }
}

async fn events(
    request: HttpRequest,
    topic: web::Path<String>,
    log: web::Data<TopicLog>,
    readers: web::Data<WaitingReaders>,
) -> HttpResponse {
    read(&request, &topic, (&log, &readers))
        .await
        .unwrap_or_else(|problem| problem.response())
}

async fn read(
    request: &HttpRequest,
    topic: &str,
    (log, readers): (&TopicLog, &WaitingReaders),
) -> Result<HttpResponse, AdminProblem> {
    let Query {
        after,
        limit,
        wait,
        bodies,
    } = Query::of(request)?;
    let _permit = if wait.is_zero() {
        None
    } else {
        Some(readers.wait()?)
    };
    let entries = log.read(topic, after, limit, wait).await?;
    let body = lines::write(&entries, bodies);
    Ok(answer(StatusCode::OK, "application/x-ndjson", body))
}

fn answer(status: StatusCode, content_type: &str, body: Vec<u8>) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((header::CONTENT_TYPE, content_type))
        // The same request has another answer as soon as there is another event.
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(body)
}
