//! The HTTP servers of the operators: the listener for everything, and the one for metrics and
//! health alone.

use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Extensions, Server};
use actix_web::middleware::from_fn;
use actix_web::rt::net::TcpStream;
use actix_web::web::{self, Data};
use actix_web::{App, HttpResponse, HttpServer, Route, guard};
use arc_swap::ArcSwap;

use super::access::{self, AccessRules, CameTo};
use super::health::{self, Watch};
use super::{spool, topics};
use crate::ingress::Listening;
use crate::name::SinkName;
use crate::sink::store::TopicLog;

/// How long a request's head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// What operators may see.
#[derive(Debug)]
pub struct Operators {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Who may ask.
    pub rules: Arc<ArcSwap<AccessRules>>,
    /// What is watched.
    pub watch: Arc<Watch>,
    /// The store's topics, where there is a store.
    pub topics: Option<TopicLog>,
    /// The most connections at once.
    pub max_connections: usize,
    /// The most readers of topics that wait at once, fewer than connections.
    pub max_waiting: usize,
    /// The sinks that a dispatcher serves.
    pub served: Vec<SinkName>,
}

/// A route for what is looked at: `GET`, and `HEAD`, which is the same without the body.
pub(super) fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// Binds the operators' listener; it serves once the server is awaited.
///
/// # Errors
/// When the address cannot be bound.
pub fn bind(operators: Operators) -> io::Result<Listening> {
    let watch = Data::from(operators.watch);
    let access = Data::new(spool::Access {
        spool: watch.pipeline.spool.clone(),
        served: operators.served,
    });
    let rules = Data::from(operators.rules);
    let (topics, max_waiting) = (operators.topics, operators.max_waiting);
    let app = move || {
        let app = App::new()
            .app_data(rules.clone())
            .configure(health::routes(watch.clone()))
            .configure(spool::routes(access.clone()));
        let app = match topics.clone() {
            Some(log) => app.configure(topics::routes(log, max_waiting)),
            None => app,
        };
        app.default_service(web::to(no_such_page))
            .wrap(from_fn(access::guard))
            .wrap(from_fn(access::refuse_body))
    };
    let server = HttpServer::new(app)
        .workers(1)
        .max_connections(operators.max_connections)
        .client_request_timeout(HEAD_TIMEOUT)
        // A reader that hangs up ends its request, and what that holds.
        .h1_allow_half_closed(false)
        .on_connect(note_address)
        .shutdown_timeout(1)
        .disable_signals()
        .bind(operators.listen)?;
    let address = server.addrs().first().copied();
    Ok(listening(address.unwrap_or(operators.listen), server.run()))
}

/// Binds the listener for scrapers and probes, which shows no event and changes nothing, so that it
/// asks nobody for a token.
///
/// # Errors
/// When the address cannot be bound.
pub fn bind_metrics(
    listen: SocketAddr,
    watch: Arc<Watch>,
    max_connections: usize,
) -> io::Result<Listening> {
    let watch = Data::from(watch);
    let app = move || {
        App::new()
            .configure(health::routes(watch.clone()))
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
    Ok(listening(address.unwrap_or(listen), server.run()))
}

fn listening(address: SocketAddr, server: Server) -> Listening {
    let handle = server.handle();
    Listening {
        address,
        server,
        handle,
    }
}

async fn no_such_page() -> HttpResponse {
    HttpResponse::NotFound().body("there is no such page\n")
}

/// Notes the address that a connection came to, which a listener on every address has many of.
fn note_address(connection: &dyn Any, data: &mut Extensions) {
    let socket = connection.downcast_ref::<TcpStream>();
    if let Some(Ok(address)) = socket.map(TcpStream::local_addr) {
        data.insert(CameTo(address.ip()));
    }
}
