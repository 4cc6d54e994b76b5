//! The HTTP server of the operators' listener.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use actix_web::web::{self, Data};
use actix_web::{App, HttpResponse, HttpServer};

use super::health::{self, Watch};
use super::{spool, topics};
use crate::ingress::Listening;
use crate::name::SinkName;
use crate::sink::store::TopicLog;

/// What operators may see.
#[derive(Debug)]
pub struct Operators {
    /// Where it listens.
    pub listen: SocketAddr,
    /// What is watched.
    pub watch: Watch,
    /// The store's topics, where there is a store.
    pub topics: Option<TopicLog>,
    /// The most connections at once.
    pub max_connections: usize,
    /// The sinks that a dispatcher serves.
    pub served: Vec<SinkName>,
}

/// Binds the listener; it serves once the server is awaited.
///
/// # Errors
/// When the address cannot be bound.
pub fn bind(operators: Operators) -> io::Result<Listening> {
    let watch = Data::new(operators.watch);
    let access = Data::new(spool::Access {
        spool: watch.pipeline.spool.clone(),
        served: operators.served,
    });
    let topics = operators.topics;
    let app = move || {
        let app = App::new()
            .configure(health::routes(watch.clone()))
            .configure(spool::routes(access.clone()));
        let app = match topics.clone() {
            Some(log) => app.configure(topics::routes(log)),
            None => app,
        };
        app.default_service(web::to(|| async {
            HttpResponse::NotFound().body("there is no such page\n")
        }))
    };
    let server = HttpServer::new(app)
        .workers(1)
        .max_connections(operators.max_connections)
        .client_request_timeout(Duration::from_secs(5))
        .shutdown_timeout(1)
        .disable_signals()
        .bind(operators.listen)?;
    let address = server.addrs().first().copied().unwrap_or(operators.listen);
    let server = server.run();
    let handle = server.handle();
    Ok(Listening {
        address,
        server,
        handle,
    })
}
