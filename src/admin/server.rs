//! The HTTP servers of the operators: the listener for everything, and the one for metrics and
//! health alone.

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Extensions;
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::web::{self, Data};
use actix_web::{App, HttpResponse, HttpServer};
use arc_swap::ArcSwap;

use super::access::{self, AccessRules, LocalAddress};
use super::events::EventKnowledge;
use super::health::{self, HealthState};
use super::live::{LiveView, ObservedBridge};
use super::wrong_tokens::WrongTokens;
use super::{backfills, deliveries, events, live, login, page, spool, topics};
use crate::backfill::RecoveryHandle;
use crate::history::Recorder;
use crate::ingress::{BoundServer, HandlerRules};
use crate::metrics::Metrics;
use crate::name::SinkName;
use crate::sink::store::TopicLog;

/// How long a request's head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Threads that read the disk for whoever looks: more would only wait for one another.
const BLOCKING_THREADS: usize = 8;
/// How long what was sent may stay unread before the connection is given up, in milliseconds
/// (`TCP_USER_TIMEOUT`, tcp(7)).
#[cfg(target_os = "linux")]
const UNREAD_TIMEOUT_MS: u32 = 30_000;

/// What the operators' listener serves.
#[derive(Debug)]
pub struct AdminServer {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Who may ask.
    pub rules: Arc<ArcSwap<AccessRules>>,
    /// What health and metrics are read from.
    pub health: Arc<HealthState>,
    /// The store's topics, where there is a store.
    pub topics: Option<TopicLog>,
    /// The most connections at once.
    pub max_connections: usize,
    /// The most readers of topics that wait at once, fewer than connections.
    pub max_waiting: usize,
    /// The most people who look at the page at once; with the readers, fewer than connections.
    pub max_viewers: usize,
    /// The sinks that a dispatcher serves.
    pub served: Vec<SinkName>,
    /// Where backfills are asked for.
    pub recovery: RecoveryHandle,
    /// What the webhook handler goes by: the page shows its sources.
    pub handler: Arc<ArcSwap<HandlerRules>>,
}

/// Binds the operators' listener, which shows where deliveries are received; it serves once the server
/// is awaited.
///
/// # Errors
/// When the address cannot be bound.
pub fn bind(settings: AdminServer, ingress: SocketAddr) -> io::Result<BoundServer> {
    let seen = PageData::of(&settings, ingress);
    let health = Data::from(settings.health);
    let access = Data::new(spool::SpoolAccess {
        spool: health.pipeline.spool.clone(),
        served: settings.served,
        recorder: Arc::clone(&health.pipeline.recorder),
    });
    let recovery = Data::new(settings.recovery);
    let rules = Data::from(settings.rules);
    let (topics, max_waiting) = (settings.topics, settings.max_waiting);
    let app = move || {
        let app = App::new()
            .app_data(rules.clone())
            .configure(seen.routes())
            .configure(health::routes(health.clone()))
            .configure(spool::routes(access.clone()))
            .configure(backfills::routes(recovery.clone()));
        let app = match topics.clone() {
            Some(log) => app.configure(topics::routes(log, max_waiting)),
            None => app,
        };
        app.default_service(web::to(no_such_page))
            .wrap(from_fn(access::check))
            .wrap(from_fn(access::refuse_body))
    };
    let server = HttpServer::new(app)
        .workers(1)
        .worker_max_blocking_threads(BLOCKING_THREADS)
        .max_connections(settings.max_connections)
        .client_request_timeout(HEAD_TIMEOUT)
        // A reader that hangs up ends its request, and what that holds.
        .h1_allow_half_closed(false)
        .on_connect(prepare_connection)
        .shutdown_timeout(1)
        .disable_signals()
        .bind(settings.listen)?;
    let address = server.addrs().first().copied();
    let address = address.unwrap_or(settings.listen);
    Ok(BoundServer::new(address, server.run()))
}

/// What the page shows, and what stands before it.
#[derive(Clone)]
struct PageData {
    live: Data<LiveView>,
    events: Data<EventKnowledge>,
    recorder: Data<Recorder>,
    metrics: Data<Metrics>,
    wrong_tokens: Data<WrongTokens>,
}

impl PageData {
    fn of(settings: &AdminServer, ingress: SocketAddr) -> Self {
        let pipeline = &settings.health.pipeline;
        let observed = ObservedBridge {
            health: Arc::clone(&settings.health),
            handler: Arc::clone(&settings.handler),
            access: Arc::clone(&settings.rules),
            ingress,
        };
        Self {
            recorder: Data::from(Arc::clone(&pipeline.recorder)),
            metrics: Data::from(Arc::clone(&pipeline.metrics)),
            wrong_tokens: Data::new(WrongTokens::default()),
            events: Data::new(EventKnowledge::of(
                pipeline.clone(),
                Arc::clone(&settings.handler),
            )),
            live: Data::new(LiveView::of(observed, settings.max_viewers)),
        }
    }

    /// The routes of the page, and what access control counts with.
    fn routes(&self) -> impl FnOnce(&mut web::ServiceConfig) {
        let (metrics, wrong_tokens) = (self.metrics.clone(), self.wrong_tokens.clone());
        let live = live::routes(self.live.clone());
        let events = events::routes(self.events.clone());
        let deliveries = deliveries::routes(self.recorder.clone());
        move |config| {
            config
                .app_data(metrics)
                .app_data(wrong_tokens)
                .configure(page::routes)
                .configure(login::routes)
                .configure(live)
                .configure(events)
                .configure(deliveries);
        }
    }
}

/// Binds the listener for scrapers and probes, which shows no event and changes nothing, so that it
/// asks nobody for a token.
///
/// # Errors
/// When the address cannot be bound.
pub fn bind_metrics(
    listen: SocketAddr,
    health: Arc<HealthState>,
    max_connections: usize,
) -> io::Result<BoundServer> {
    let health = Data::from(health);
    let app = move || {
        App::new()
            .configure(health::routes(health.clone()))
            .default_service(web::to(no_such_page))
            .wrap(from_fn(access::refuse_body))
    };
    let server = HttpServer::new(app)
        .workers(1)
        .max_connections(max_connections)
        .client_request_timeout(HEAD_TIMEOUT)
        .shutdown_timeout(1)
        .disable_signals()
        .bind(listen)?;
    let address = server.addrs().first().copied();
    Ok(BoundServer::new(address.unwrap_or(listen), server.run()))
}

async fn no_such_page() -> HttpResponse {
    HttpResponse::NotFound().body("there is no such page\n")
}

/// Notes the local address of a connection, because a listener on every address has many; and bounds how
/// long it is kept for somebody who does not read.
fn prepare_connection(connection: &dyn Any, data: &mut Extensions) {
    let Some(socket) = connection.downcast_ref::<TcpStream>() else {
        return;
    };
    if let Ok(address) = socket.local_addr() {
        data.insert(LocalAddress(address.ip()));
    }
    // Where the system has no such option, a reader that has gone is noticed later.
    #[cfg(target_os = "linux")]
    let _ = rustix::net::sockopt::set_tcp_user_timeout(socket, UNREAD_TIMEOUT_MS);
}
