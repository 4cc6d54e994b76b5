//! The spool and the dead letters over HTTP, for the commands of the same names: listing, requeueing and
//! dropping.
//!
//! What is read is read from the files, on a thread that may block: neither the spool's thread nor
//! other requests wait for it.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};
use actix_web::web::{self, Data, Path, Query};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::problem::AdminProblem;
use super::route::get;
use crate::event::EventId;
use crate::history::{Recorder, SinkRecord, SinkStep};
use crate::name::SinkName;
use crate::spool::{DeadLetterName, InspectionError, Spool, SpoolView};

/// Access to the spool, and the sinks whose events must not be dropped: a dispatcher may hold them.
pub(super) struct SpoolAccess {
    pub spool: Spool,
    pub served: Vec<SinkName>,
    /// Remembers what operators change.
    pub recorder: Arc<Recorder>,
}

impl SpoolAccess {
    /// The event of a dead letter, unless it does not check.
    async fn event_of(&self, name: &DeadLetterName) -> Option<EventId> {
        let (view, name) = (self.spool.view(), name.clone());
        let letter = web::block(move || view.dead_letter(&name)).await.ok()?;
        Some(letter.ok()?.event?.id())
    }

    /// Remembers what was done with an event, or with all that waited for the sink, and when it began.
    fn record(&self, at: Timestamp, sink: &SinkName, id: Option<EventId>, step: SinkStep<'_>) {
        if let Some(sink) = self.spool.sink(sink) {
            self.recorder.sink(&SinkRecord { at, sink, id, step });
        }
    }
}

/// Which part of a list; `after` is the place before its first entry.
#[derive(Debug, Deserialize)]
struct Page<P> {
    after: Option<P>,
    #[serde(default = "page_size")]
    limit: usize,
    #[serde(default)]
    bodies: bool,
}

fn page_size() -> usize {
    100
}

/// How many were changed.
#[derive(Debug, Serialize, Deserialize)]
pub struct ChangeCount {
    /// The number.
    pub count: u64,
}

/// The routes of this file.
pub(super) fn routes(access: Data<SpoolAccess>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |config| {
        config
            .app_data(access)
            .route("/spool", get().to(overview))
            .route("/spool/events", get().to(pending))
            .route("/spool/events/{sequence}", get().to(pending_one))
            .route("/spool/sinks/{sink}", web::delete().to(drop_pending))
            .route("/dead-letters", get().to(dead_letters))
            .route("/dead-letters/{name}", get().to(dead_letter))
            .route("/dead-letters/{name}", web::delete().to(drop_dead_letter))
            .route("/dead-letters/{name}/requeue", web::post().to(requeue));
    }
}

/// Answers with what is seen of the spool.
async fn look<T, F>(access: &SpoolAccess, see: F) -> HttpResponse
where
    T: Serialize + Send + 'static,
    F: FnOnce(&SpoolView) -> Result<T, InspectionError> + Send + 'static,
{
    let view = access.spool.view();
    let seen = web::block(move || see(&view)).await;
    // Without a thread to look in, the bridge is about to end.
    answer(seen.unwrap_or(Err(InspectionError::Closed)))
}

async fn overview(access: Data<SpoolAccess>) -> HttpResponse {
    look(&access, SpoolView::overview).await
}

async fn pending(access: Data<SpoolAccess>, page: Query<Page<u64>>) -> HttpResponse {
    let Page {
        after,
        limit,
        bodies,
    } = page.into_inner();
    look(&access, move |view| {
        view.pending(after.unwrap_or_default(), limit, bodies)
    })
    .await
}

async fn pending_one(access: Data<SpoolAccess>, sequence: Path<u64>) -> HttpResponse {
    look(&access, move |view| view.pending_one(*sequence)).await
}

/// Only for a sink that is no longer configured: a dispatcher may hold the others' events already.
async fn drop_pending(access: Data<SpoolAccess>, sink: Path<String>) -> HttpResponse {
    let known = access
        .spool
        .sinks()
        .iter()
        .find(|(_, name)| name.as_str() == *sink);
    let Some((index, name)) = known else {
        return answer::<ChangeCount>(Err(InspectionError::NotFound(format!(
            "sink {sink} in the spool"
        ))));
    };
    if access.served.contains(name) {
        let text = format!(
            "sink {name} is configured and its events are on their way; take it out of the configuration and restart first"
        );
        return answer::<ChangeCount>(Err(InspectionError::Impossible(text)));
    }
    let at = Timestamp::now();
    let dropped = access.spool.drop_pending(*index).await;
    if dropped.is_ok() {
        access.record(at, name, None, SinkStep::Discarded);
    }
    answer(dropped.map(|count| ChangeCount { count }))
}

async fn dead_letters(
    access: Data<SpoolAccess>,
    page: Query<Page<DeadLetterName>>,
) -> HttpResponse {
    let Page {
        after,
        limit,
        bodies,
    } = page.into_inner();
    look(&access, move |view| {
        view.dead_letters(after.as_ref(), limit, bodies)
    })
    .await
}

async fn dead_letter(access: Data<SpoolAccess>, name: Path<DeadLetterName>) -> HttpResponse {
    look(&access, move |view| view.dead_letter(&name)).await
}

async fn drop_dead_letter(access: Data<SpoolAccess>, name: Path<DeadLetterName>) -> HttpResponse {
    let (at, event) = (Timestamp::now(), access.event_of(&name).await);
    let dropped = access.spool.drop_dead_letter(name.clone()).await;
    if dropped.is_ok() && event.is_some() {
        access.record(at, &name.sink, event, SinkStep::Discarded);
    }
    answer(dropped.map(|()| ChangeCount { count: 1 }))
}

async fn requeue(access: Data<SpoolAccess>, name: Path<DeadLetterName>) -> HttpResponse {
    let at = Timestamp::now();
    let requeued = access.spool.requeue(name.clone()).await;
    if let Ok(event) = &requeued {
        access.record(at, &name.sink, Some(*event), SinkStep::Requeued);
    }
    answer(requeued.map(|_| ChangeCount { count: 1 }))
}

fn answer<T: Serialize>(result: Result<T, InspectionError>) -> HttpResponse {
    match result {
        // The same request has another answer as soon as an event has left; and bodies are nobody's to keep.
        Ok(found) => HttpResponse::Ok()
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .json(found),
        Err(error) => AdminProblem::from(error).response(),
    }
}

impl From<InspectionError> for AdminProblem {
    fn from(error: InspectionError) -> Self {
        let (status, reason) = match &error {
            InspectionError::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            InspectionError::Impossible(_) => (StatusCode::CONFLICT, "impossible"),
            InspectionError::Unavailable(_) => {
                (StatusCode::SERVICE_UNAVAILABLE, "spool_unavailable")
            }
            InspectionError::Closed => (StatusCode::SERVICE_UNAVAILABLE, "spool_closed"),
        };
        Self::new(status, reason, error.to_string())
    }
}
