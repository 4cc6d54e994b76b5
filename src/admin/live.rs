//! The page's stream: `GET /live`, server-sent events, one message a second.
//!
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>

mod bridge_state;
mod counter_sums;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::{StatusCode, header};
use actix_web::web::{self, Bytes, Data};
use actix_web::{Error, HttpRequest, HttpResponse};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Interval, MissedTickBehavior};

pub use bridge_state::ObservedBridge;

use self::bridge_state::{BridgeState, StateCache};
use super::deliveries::{DeliveryFilter, ListedDelivery, NewestDeliveries};
use super::problem::AdminProblem;
use super::route::get;
use crate::history::RecordedSpan;

/// How often a viewer is told.
const PERIOD: Duration = Duration::from_secs(1);
/// The most viewers at once: each holds a connection.
const MAX_VIEWERS: usize = 32;
/// Deliveries in the first message, and in each that follows.
const FIRST_DELIVERIES: usize = 100;
const NEXT_DELIVERIES: usize = 50;

/// What all viewers share.
#[derive(Debug)]
pub(super) struct LiveView {
    state: StateCache,
    viewers: Arc<Semaphore>,
}

impl LiveView {
    pub fn of(bridge: ObservedBridge) -> Self {
        Self {
            state: StateCache::of(bridge),
            viewers: Arc::new(Semaphore::new(MAX_VIEWERS)),
        }
    }
}

/// One message.
#[derive(Serialize)]
struct Message<'a> {
    #[serde(flatten)]
    state: &'a BridgeState,
    deliveries: Vec<ListedDelivery>,
    omitted: u64,
}

/// One viewer: a page that is open and seen.
struct Viewer {
    view: Arc<LiveView>,
    filter: DeliveryFilter,
    span: RecordedSpan,
    is_first: bool,
    ticks: Interval,
    _permit: OwnedSemaphorePermit,
}

/// The routes of this file.
pub(super) fn routes(view: Data<LiveView>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |config| {
        config.app_data(view).route("/live", get().to(watch));
    }
}

async fn watch(request: HttpRequest, view: Data<LiveView>) -> HttpResponse {
    match begin(&request, view.into_inner()) {
        Ok(viewer) => HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, "text/event-stream"))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            // A proxy that gathers an answer before it passes it on would pass on nothing.
            .insert_header(("x-accel-buffering", "no"))
            .streaming(stream::unfold(viewer, next_message)),
        Err(problem) => problem.response(),
    }
}

fn begin(request: &HttpRequest, view: Arc<LiveView>) -> Result<Viewer, AdminProblem> {
    let (filter, _) = DeliveryFilter::of_query(request.query_string())?;
    let permit = Arc::clone(&view.viewers).try_acquire_owned();
    let permit = permit.map_err(|_| {
        let detail = "as many pages are open as may be; close one";
        AdminProblem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_viewers", detail)
    })?;
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    Ok(Viewer {
        view,
        filter,
        span: RecordedSpan::default(),
        is_first: true,
        ticks,
        _permit: permit,
    })
}

/// The next message, when its time has come.
async fn next_message(mut viewer: Viewer) -> Option<(Result<Bytes, Error>, Viewer)> {
    viewer.ticks.tick().await;
    // All that is remembered is gone through for the first one: not on the listener's own thread.
    let written = web::block(move || {
        let text = viewer.message();
        (text, viewer)
    });
    let (text, viewer) = written.await.ok()?;
    Some((Ok(text), viewer))
}

impl Viewer {
    fn message(&mut self) -> Bytes {
        let state = self.view.state.get();
        let limit = if std::mem::take(&mut self.is_first) {
            FIRST_DELIVERIES
        } else {
            NEXT_DELIVERIES
        };
        let recorder = self.view.state.recorder();
        let newest = NewestDeliveries::read(recorder, &mut self.span, &self.filter, limit);
        let message = Message {
            state: &state,
            deliveries: newest.deliveries.into(),
            omitted: newest.omitted,
        };
        // JSON has no line break outside its texts, and none in them, so one `data` line is enough.
        let mut text = b"data: ".to_vec();
        serde_json::to_writer(&mut text, &message).expect("texts and numbers always are JSON");
        text.extend_from_slice(b"\n\n");
        text.into()
    }
}
