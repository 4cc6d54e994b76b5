//! The spool and the dead letters over HTTP, for the commands of the same names: what waits, what
//! was set aside, requeueing and dropping.

use actix_web::HttpResponse;
use actix_web::web::{self, Data, Path, Query};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::name::SinkName;
use crate::spool::{InspectionError, Spool};

/// Access to the spool, and the sinks whose events must not be dropped under a dispatcher's hands.
pub(super) struct Access {
    pub spool: Spool,
    pub served: Vec<SinkName>,
}

/// Which part of a list.
#[derive(Debug, Deserialize)]
struct Page {
    #[serde(default)]
    after: u64,
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
pub struct Counted {
    /// The number.
    pub count: u64,
}

/// The routes of this file.
pub(super) fn routes(access: Data<Access>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |config| {
        config
            .app_data(access)
            .route("/spool", web::get().to(overview))
            .route("/spool/events", web::get().to(pending))
            .route("/spool/events/{sequence}", web::get().to(pending_one))
            .route("/spool/sinks/{sink}", web::delete().to(discard))
            .route("/dead-letters", web::get().to(dead_letters))
            .route("/dead-letters/{number}", web::get().to(dead_letter))
            .route("/dead-letters/{number}", web::delete().to(drop_dead_letter))
            .route("/dead-letters/{number}/requeue", web::post().to(requeue));
    }
}

async fn overview(access: Data<Access>) -> HttpResponse {
    answer(access.spool.inspect(|spool| spool.overview()).await)
}

async fn pending(access: Data<Access>, page: Query<Page>) -> HttpResponse {
    let Page {
        after,
        limit,
        bodies,
    } = page.into_inner();
    answer(
        access
            .spool
            .inspect(move |spool| spool.pending(after, limit, bodies))
            .await,
    )
}

async fn pending_one(access: Data<Access>, sequence: Path<u64>) -> HttpResponse {
    answer(
        access
            .spool
            .inspect(move |spool| spool.pending_one(*sequence))
            .await,
    )
}

/// Only for a sink that is no longer configured: a dispatcher may hold the others' events already.
async fn discard(access: Data<Access>, sink: Path<String>) -> HttpResponse {
    let known = access
        .spool
        .sinks()
        .iter()
        .find(|(_, name)| name.as_str() == *sink);
    let Some((index, name)) = known else {
        return answer::<Counted>(Err(InspectionError::NotFound(format!(
            "sink {sink} in the spool"
        ))));
    };
    if access.served.contains(name) {
        let text = format!(
            "sink {name} is configured and its events are on their way; take it out of the configuration and restart first"
        );
        return answer::<Counted>(Err(InspectionError::Impossible(text)));
    }
    let index = *index;
    let discarded = access
        .spool
        .inspect(move |spool| spool.discard_pending(index))
        .await;
    answer(discarded.map(|count| Counted { count }))
}

async fn dead_letters(access: Data<Access>, page: Query<Page>) -> HttpResponse {
    let Page {
        after,
        limit,
        bodies,
    } = page.into_inner();
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    answer(
        access
            .spool
            .inspect(move |spool| spool.dead_letters(after, limit, bodies))
            .await,
    )
}

async fn dead_letter(access: Data<Access>, number: Path<i64>) -> HttpResponse {
    answer(
        access
            .spool
            .inspect(move |spool| spool.dead_letter_one(*number))
            .await,
    )
}

async fn drop_dead_letter(access: Data<Access>, number: Path<i64>) -> HttpResponse {
    let dropped = access
        .spool
        .inspect(move |spool| spool.discard_dead_letter(*number))
        .await;
    answer(dropped.map(|()| Counted { count: 1 }))
}

async fn requeue(access: Data<Access>, number: Path<i64>) -> HttpResponse {
    let requeued = access
        .spool
        .inspect(move |spool| spool.requeue(*number))
        .await;
    answer(requeued.map(|()| Counted { count: 1 }))
}

fn answer<T: Serialize>(result: Result<T, InspectionError>) -> HttpResponse {
    match result {
        Ok(found) => HttpResponse::Ok().json(found),
        Err(error) => {
            let mut response = match &error {
                InspectionError::NotFound(_) => HttpResponse::NotFound(),
                InspectionError::Impossible(_) => HttpResponse::Conflict(),
                InspectionError::Database(_) | InspectionError::Closed => {
                    HttpResponse::ServiceUnavailable()
                }
            };
            response.json(json!({ "error": error.to_string() }))
        }
    }
}
