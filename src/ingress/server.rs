//! The HTTP server around the door: connections, head limits, and stopping.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::web::{self, Data, Payload};
use actix_web::{App, HttpRequest, HttpServer};

use super::door::Door;

/// How the public listener treats connections.
#[derive(Debug, Clone)]
pub struct Public {
    /// Where it listens.
    pub listen: SocketAddr,
    /// How long a request's head may take.
    pub head_timeout: Duration,
    /// How long an idle connection is kept.
    pub keep_alive: Duration,
    /// The most connections at once, over all workers.
    pub max_connections: usize,
    /// The threads that receive.
    pub workers: usize,
    /// How long requests may take to end once the server stops.
    pub shutdown_timeout: Duration,
}

/// A bound server, to be awaited by its owner.
pub struct Listening {
    /// The address it was bound to.
    pub address: SocketAddr,
    /// Runs it.
    pub server: Server,
    /// Stops it.
    pub handle: ServerHandle,
}

/// Binds the public listener; it serves once the server is awaited.
///
/// # Errors
/// When the address cannot be bound.
pub fn bind(public: &Public, door: Arc<Door>) -> io::Result<Listening> {
    let door = Data::from(door);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(door.clone())
            .default_service(web::to(receive))
    })
    .workers(public.workers)
    .max_connections(public.max_connections.div_ceil(public.workers))
    .client_request_timeout(public.head_timeout)
    .client_disconnect_timeout(Duration::from_secs(1))
    .keep_alive(public.keep_alive)
    .shutdown_timeout(public.shutdown_timeout.as_secs().max(1))
    .disable_signals()
    .bind(public.listen)?;
    let address = server.addrs().first().copied().unwrap_or(public.listen);
    let server = server.run();
    let handle = server.handle();
    Ok(Listening {
        address,
        server,
        handle,
    })
}

async fn receive(
    request: HttpRequest,
    payload: Payload,
    door: Data<Door>,
) -> actix_web::HttpResponse {
    door.answer(&request, payload).await
}
