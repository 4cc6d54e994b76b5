//! One event's whole way: `GET /events/{id}`; and the events of an object: `GET /events?object=…`.
//!
//! It is put together of what memory still knows, of the spool, where the event may wait, and of the
//! dead letters. Where all of these know nothing, the ids that are remembered tell whether the event was
//! ever accepted.

mod event_history;
mod object_events;
mod spool_search;
mod step;

use std::sync::Arc;

use actix_web::http::header;
use actix_web::web::{self, Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use arc_swap::ArcSwap;
use serde::Serialize;

use self::event_history::{EventHistory, RememberedIds};
use self::object_events::ObjectEvents;
use super::deliveries::{closed, event_id, invalid};
use super::problem::AdminProblem;
use super::route::get;
use crate::event::EventId;
use crate::ingress::HandlerRules;
use crate::name::ObjectId;
use crate::pipeline::Pipeline;
use crate::source::Replay;

/// What is known of events.
#[derive(Debug)]
pub(super) struct EventKnowledge {
    pub pipeline: Pipeline,
    pub handler: Arc<ArcSwap<HandlerRules>>,
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
    match event_id(&id) {
        Ok(id) => answer(history(id, knowledge.into_inner()).await),
        Err(problem) => problem.response(),
    }
}

async fn history(
    id: EventId,
    knowledge: Arc<EventKnowledge>,
) -> Result<EventHistory, AdminProblem> {
    let looking = Arc::clone(&knowledge);
    let found = web::block(move || EventHistory::read(id, &looking.pipeline)).await;
    let history = found.map_err(|_| closed())??;
    if history.is_known() {
        return Ok(history);
    }
    let spool = &knowledge.pipeline.spool;
    let was_accepted = spool
        .known(vec![id])
        .await
        .ok()
        .map(|known| known == [true]);
    Ok(history.unknown(&RememberedIds {
        was_accepted,
        since: spool.remembers_since(),
        has_other_ids: knowledge.has_other_ids(),
    }))
}

impl EventKnowledge {
    /// Whether the ids of some sources' events are not what is remembered of them.
    fn has_other_ids(&self) -> bool {
        let handler = self.handler.load();
        let mut endpoints = handler.endpoints.values();
        endpoints.any(|endpoint| endpoint.source().provider.replay == Replay::Body)
    }
}

async fn of_object(request: HttpRequest, knowledge: Data<EventKnowledge>) -> HttpResponse {
    let object = match read_object(request.query_string()) {
        Ok(object) => object,
        Err(problem) => return problem.response(),
    };
    let knowledge = knowledge.into_inner();
    let found = web::block(move || ObjectEvents::find(&object, &knowledge.pipeline)).await;
    answer(match found {
        Ok(found) => found.map_err(AdminProblem::from),
        Err(_) => Err(closed()),
    })
}

fn read_object(query: &str) -> Result<ObjectId, AdminProblem> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let (Some((name, value)), None) = (pairs.next(), pairs.next()) else {
        return Err(invalid("ask with the parameter `object`, and no other"));
    };
    if name != "object" {
        return Err(invalid("ask with the parameter `object`, and no other"));
    }
    ObjectId::parse(value.trim()).map_err(|error| invalid(error.to_string()))
}

fn answer<T: Serialize>(result: Result<T, AdminProblem>) -> HttpResponse {
    match result {
        Ok(found) => HttpResponse::Ok()
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .json(found),
        Err(problem) => problem.response(),
    }
}
