//! The page's stream: `GET /live`, server-sent events, one message a second.
//!
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html>

mod bridge_state;
mod component_status;
mod metric_sums;
mod sink_findings;
mod status_finding;
mod verdict;

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::http::{StatusCode, header};
use actix_web::web::{self, Bytes, Data};
use actix_web::{Error, HttpRequest, HttpResponse};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Interval, MissedTickBehavior};

pub use bridge_state::ObservedBridge;

use self::bridge_state::{BridgeState, StateCache};
use super::access::AccessRules;
use super::deliveries::{DeliveryFilter, ListedDelivery, NewestDeliveries};
use super::problem::AdminProblem;
use crate::history::RecordedSpan;

/// How often a viewer is told.
const PERIOD: Duration = Duration::from_secs(1);
/// After so long a stream ends, and the page asks for another one: who may look is asked then.
const LIFETIME: Duration = Duration::from_mins(10);
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
    /// Of this bridge, for so many at once.
    pub fn of(bridge: ObservedBridge, max_viewers: usize) -> Self {
        Self {
            state: StateCache::of(bridge),
            viewers: Arc::new(Semaphore::new(max_viewers)),
        }
    }
}

/// The last message of a stream: the page is to ask for another one at once.
const RENEW: &[u8] = b"event: renew\ndata: {}\n\n";

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
    /// Whom it was let in by.
    access: Arc<AccessRules>,
    until: Instant,
    is_over: bool,
    _permit: OwnedSemaphorePermit,
}

/// The routes of this file.
pub(super) fn routes(view: Data<LiveView>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |config| {
        config.app_data(view).route("/live", web::get().to(watch));
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
        access: view.state.access(),
        until: Instant::now() + LIFETIME,
        is_over: false,
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
    if viewer.is_over {
        return None;
    }
    viewer.ticks.tick().await;
    if viewer.must_ask_again() {
        viewer.is_over = true;
        return Some((Ok(Bytes::from_static(RENEW)), viewer));
    }
    // All that is remembered is gone through for the first one: not on the listener's own thread.
    let written = web::block(move || {
        let text = viewer.message();
        (text, viewer)
    });
    let (text, viewer) = written.await.ok()?;
    Some((Ok(text), viewer))
}

impl Viewer {
    /// Whether its time is over, or others may look now than when it came.
    fn must_ask_again(&self) -> bool {
        let now = self.view.state.access();
        Instant::now() >= self.until || now.token != self.access.token
    }

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
