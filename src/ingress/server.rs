//! The HTTP server around the door: connections, head limits, and stopping.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Request};
use actix_service::{IntoServiceFactory as _, ServiceFactoryExt as _, fn_service, map_config};
use actix_web::dev::{AppConfig, Server, ServerHandle};
use actix_web::http::StatusCode;
use actix_web::rt::net::TcpStream;
use actix_web::web::{self, Data, Payload};
use actix_web::{App, HttpRequest, HttpResponse};
use arc_swap::ArcSwap;
use tokio::net::TcpSocket;

use super::arrival::{Arrivals, Reception};
use super::door::Door;
use super::stream::{Progress, Stream, Waits};

/// Connections that the system completes and keeps for us while all workers are at their limit.
const BACKLOG: u32 = 2048;
/// The server reads the time of its keep-alive from a clock that it sets twice a second.
const CLOCK_STEP: Duration = Duration::from_millis(500);
/// How long an answered sender may go on with the rest of a request that is not wanted.
const LINGER: Duration = Duration::from_secs(1);

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
    /// How a connection begins.
    pub reception: Arc<ArcSwap<Reception>>,
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
/// The parts of actix-web's own server are put together here, because each connection is a
/// `Stream` of ours.
///
/// # Errors
/// When the address cannot be bound.
pub fn bind(public: &Public, door: &Door) -> io::Result<Listening> {
    let listener = listen(public.listen)?;
    let address = listener.local_addr()?;
    let builder = Server::build()
        .workers(public.workers)
        // The limit is each worker's own.
        .max_concurrent_connections((public.max_connections / public.workers).max(1))
        .shutdown_timeout(public.shutdown_timeout.as_secs().max(1))
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let waits = Waits {
        head_timeout: public.head_timeout,
        keep_alive: public.keep_alive,
    };
    let (door, reception) = (door.clone(), Arc::clone(&public.reception));
    let connections = move || {
        // Once for each worker, on its own thread.
        let stopping = stopping.clone();
        let (door, answering) = door.for_this_thread();
        actix_web::rt::spawn(answering);
        let door = Data::new(door);
        let arrivals = Rc::new(Arrivals {
            reception: Arc::clone(&reception),
            waits,
            draining: door.pipeline.draining.clone(),
            metrics: Arc::clone(&door.metrics),
        });
        let expecting = door.clone();
        let app = App::new()
            .app_data(door)
            .default_service(web::to(receive))
            .into_factory();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(waits.keep_alive + CLOCK_STEP)
            // The connection has its own deadlines for heads: see `Stream`.
            .client_request_timeout(Duration::ZERO)
            .client_disconnect_timeout(LINGER)
            .on_connect_ext(|stream: &Stream, data| {
                data.insert(stream.progress());
                data.insert(stream.caller());
            })
            .expect(move |request: Request| {
                let answer = expect(request, &expecting);
                async move { answer }
            })
            .h1(map_config(app, |()| AppConfig::default()));
        let arrive = move |socket: TcpStream| {
            let arrivals = Rc::clone(&arrivals);
            async move { arrivals.receive(socket).await.map_err(DispatchError::Io) }
        };
        fn_service(arrive).and_then(http)
    };
    let server = builder.listen("ingress", listener, connections)?.run();
    let handle = server.handle();
    Ok(Listening {
        address,
        server,
        handle,
    })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A restarted bridge gets its port back while old connections are still being forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// Whether a sender that asks before it sends the body may go on.
#[expect(
    clippy::result_large_err,
    reason = "the form that actix-http's service for `Expect` has"
)]
fn expect(request: Request, door: &Door) -> Result<Request, HttpResponse> {
    let progress = request.conn_data::<Rc<Progress>>().cloned();
    if let Some(progress) = &progress {
        progress.reached();
    }
    let answer = door.expect(request);
    if let (Err(_), Some(progress)) = (&answer, progress) {
        progress.answered(false);
    }
    answer
}

async fn receive(request: HttpRequest, payload: Payload, door: Data<Door>) -> HttpResponse {
    let progress = request.conn_data::<Rc<Progress>>();
    if let Some(progress) = progress {
        progress.reached();
    }
    let response = door.answer(&request, payload.into_inner()).await;
    if let Some(progress) = progress {
        // Every other answer ends the connection.
        progress.answered(response.status() == StatusCode::OK);
    }
    response
}
