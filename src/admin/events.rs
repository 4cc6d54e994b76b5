//! One event's whole way: `GET /events/{id}`; and the events of an object: `GET /events?object=…`.
//!
//! It is put together of what memory still knows, of the spool, where the event may wait, and of the
//! dead letters. Where all of these know nothing, the ids that are remembered tell whether the event was
//! ever accepted.

mod event_history;
mod object_events;
mod remembered_ids;
mod spool_search;
mod step;

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::web::{self, Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use arc_swap::ArcSwap;
use serde::Serialize;
use tokio::sync::{Semaphore, SemaphorePermit};

use self::event_history::EventHistory;
use self::object_events::ObjectEvents;
use self::remembered_ids::RememberedIds;
use super::problem::AdminProblem;
use super::route::get;
use crate::event::EventId;
use crate::ingress::HandlerRules;
use crate::name::ObjectId;
use crate::pipeline::Pipeline;
use crate::source::Replay;

/// How many events are looked for at once: each looks through memory, and reads the disk.
const MAX_SEARCHES: usize = 2;
/// How long somebody waits for a turn.
const TURN_PATIENCE: Duration = Duration::from_secs(5);

/// What is known of events.
#[derive(Debug)]
pub(super) struct EventKnowledge {
    pipeline: Pipeline,
    handler: Arc<ArcSwap<HandlerRules>>,
    searches: Semaphore,
}

/// The routes of this file.
pub(super) fn routes(knowledge: Data<EventKnowledge>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |config| {
        config
            .app_data(knowledge)
            .route("/events", get().to(of_object))
            .route("/events/{id}", get().to(one));
    }
}

async fn one(id: Path<String>, knowledge: Data<EventKnowledge>) -> HttpResponse {
    match read_id(&id) {
        Ok(id) => answer(knowledge.history(id).await),
        Err(problem) => problem.response(),
    }
}

fn read_id(text: &str) -> Result<EventId, AdminProblem> {
    let id = EventId::try_from(text.trim().to_owned());
    id.map_err(|_| {
        AdminProblem::invalid("an event's id is a UUID, as in 019caf8c-94e8-8118-be14-ca800c4677aa")
    })
}

impl EventKnowledge {
    pub fn of(pipeline: Pipeline, handler: Arc<ArcSwap<HandlerRules>>) -> Self {
        Self {
            pipeline,
            handler,
            searches: Semaphore::new(MAX_SEARCHES),
        }
    }

    /// Everything that is known of an event.
    async fn history(&self, id: EventId) -> Result<EventHistory, AdminProblem> {
        let _turn = self.turn().await?;
        let spool = &self.pipeline.spool;
        let ids = RememberedIds {
            sequences: spool.sequences_of(id).await.ok(),
            since: self.remembered_since(),
            are_others: self.has_other_ids(),
        };
        let pipeline = self.pipeline.clone();
        let read = web::block(move || EventHistory::read(id, &ids, &pipeline)).await;
        Ok(read.map_err(|_| AdminProblem::stopping())??)
    }

    /// The events of an object.
    async fn of_object(&self, object: ObjectId) -> Result<ObjectEvents, AdminProblem> {
        let _turn = self.turn().await?;
        let pipeline = self.pipeline.clone();
        let found = web::block(move || ObjectEvents::find(&object, &pipeline)).await;
        Ok(found.map_err(|_| AdminProblem::stopping())??)
    }

    /// The turn of a search. One that is given up goes on to its end, and keeps its thread until then.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, AdminProblem> {
        let turn = tokio::time::timeout(TURN_PATIENCE, self.searches.acquire()).await;
        turn.ok().and_then(Result::ok).ok_or_else(|| {
            let detail = "others are looking for events; come again in a moment";
            AdminProblem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail)
        })
    }

    /// Since when the ids of all accepted events are remembered, in seconds since 1970: a spool in
    /// memory remembers nothing of before the start.
    fn remembered_since(&self) -> i64 {
        let since = self.pipeline.spool.remembers_since();
        if self.pipeline.keeps_dead_letters {
            since
        } else {
            since.max(self.pipeline.recorder.started_at().as_second())
        }
    }

    /// Whether the ids of some sources' events are not what is remembered of them.
    fn has_other_ids(&self) -> bool {
        let handler = self.handler.load();
        let mut endpoints = handler.endpoints.values();
        endpoints.any(|endpoint| endpoint.source().provider.replay == Replay::Body)
    }
}

async fn of_object(request: HttpRequest, knowledge: Data<EventKnowledge>) -> HttpResponse {
    match read_object(request.query_string()) {
        Ok(object) => answer(knowledge.of_object(object).await),
        Err(problem) => problem.response(),
    }
}

fn read_object(query: &str) -> Result<ObjectId, AdminProblem> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let only = pairs.next().filter(|(name, _)| name == "object");
    let (Some((_, value)), None) = (only, pairs.next()) else {
        return Err(AdminProblem::invalid(
            "ask with the parameter `object`, and no other",
        ));
    };
    ObjectId::parse(value.trim()).map_err(|error| AdminProblem::invalid(error.to_string()))
}

fn answer<T: Serialize>(result: Result<T, AdminProblem>) -> HttpResponse {
    match result {
        Ok(found) => HttpResponse::Ok()
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .json(found),
        Err(problem) => problem.response(),
    }
}
