//! The HTTP server of the public listener: accepted connections, keep-alive, and stopping.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{ConnectionType, HttpService, Request};
use actix_service::{
    IntoServiceFactory as _, ServiceFactory, ServiceFactoryExt as _, fn_service, map_config,
};
use actix_web::dev::{AppConfig, Server, ServerHandle};
use actix_web::http::StatusCode;
use actix_web::rt::net::TcpStream;
use actix_web::web::{self, Data, Payload};
use actix_web::{App, HttpRequest, HttpResponse};
use arc_swap::ArcSwap;
use tokio::net::TcpSocket;

use super::connection_setup::{ConnectionAcceptor, ConnectionSetup};
use super::connection_stream::{ConnectionStream, ConnectionTimeouts, RequestProgress};
use super::handler::WebhookHandler;

/// Connections that the system completes and keeps for us while all workers are at their limit.
const BACKLOG: u32 = 2048;
/// The server reads the time of its keep-alive from a clock that it sets twice a second.
const CLOCK_STEP: Duration = Duration::from_millis(500);
/// How long an answered sender may go on with the rest of a request that is not wanted.
const LINGER: Duration = Duration::from_secs(1);

/// How the public listener treats connections.
#[derive(Debug, Clone)]
pub struct IngressServer {
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
    /// What a connection begins with.
    pub setup: Arc<ArcSwap<ConnectionSetup>>,
    /// How long requests may take to end once the server stops.
    pub shutdown_timeout: Duration,
}

/// A bound server, to be awaited by its owner.
pub struct BoundServer {
    /// The address it was bound to.
    pub address: SocketAddr,
    /// Runs it.
    pub server: Server,
    /// Stops it.
    pub handle: ServerHandle,
}

impl BoundServer {
    /// The server that runs, bound to this address.
    #[must_use]
    pub fn new(address: SocketAddr, server: Server) -> Self {
        let handle = server.handle();
        Self {
            address,
            server,
            handle,
        }
    }
}

/// Binds the public listener; it serves once the server is awaited.
///
/// The parts of actix-web's own server are put together here, because each connection is a
/// `ConnectionStream`.
///
/// # Errors
/// When the address cannot be bound.
pub fn bind(settings: &IngressServer, handler: &WebhookHandler) -> io::Result<BoundServer> {
    let listener = listen(settings.listen)?;
    let address = listener.local_addr()?;
    let builder = Server::build()
        .workers(settings.workers)
        // The limit is each worker's own.
        .max_concurrent_connections((settings.max_connections / settings.workers).max(1))
        .shutdown_timeout(settings.shutdown_timeout.as_secs().max(1))
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let timeouts = ConnectionTimeouts {
        head_timeout: settings.head_timeout,
        keep_alive: settings.keep_alive,
    };
    let (handler, setup) = (handler.clone(), Arc::clone(&settings.setup));
    // Called once for each worker, on its own thread.
    let worker = move || {
        let (handler, answering) = handler.for_this_thread();
        actix_web::rt::spawn(answering);
        let acceptor = Rc::new(ConnectionAcceptor {
            setup: Arc::clone(&setup),
            timeouts,
            draining: handler.pipeline.draining.clone(),
            metrics: Arc::clone(&handler.metrics),
        });
        let stopping = stopping.clone();
        let stopped = move || {
            let stopping = stopping.clone();
            async move { stopping.notified().await }
        };
        let accept = move |socket: TcpStream| {
            let acceptor = Rc::clone(&acceptor);
            async move { acceptor.accept(socket).await.map_err(DispatchError::Io) }
        };
        fn_service(accept).and_then(http(Data::new(handler), timeouts, stopped))
    };
    let server = builder.listen("ingress", listener, worker)?.run();
    Ok(BoundServer::new(address, server))
}

/// HTTP on the connections of one worker, until the server stops.
fn http<F>(
    handler: Data<WebhookHandler>,
    timeouts: ConnectionTimeouts,
    stopped: impl Fn() -> F + 'static,
) -> impl ServiceFactory<
    (ConnectionStream, Option<SocketAddr>),
    Config = (),
    Response = (),
    Error = DispatchError,
    InitError = (),
>
where
    F: Future<Output = ()> + 'static,
{
    let app = App::new()
        .app_data(handler.clone())
        .default_service(web::to(handle))
        .into_factory();
    HttpService::build()
        .graceful_shutdown_signal(stopped)
        .keep_alive(timeouts.keep_alive + CLOCK_STEP)
        // The connection has its own deadlines for heads: see `ConnectionStream`.
        .client_request_timeout(Duration::ZERO)
        .client_disconnect_timeout(LINGER)
        .on_connect_ext(|stream: &ConnectionStream, data| {
            data.insert(stream.progress());
            data.insert(stream.peer());
        })
        .expect(move |request: Request| {
            let answer = expect_continue(request, &handler);
            async move { answer }
        })
        .h1(map_config(app, |()| AppConfig::default()))
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
fn expect_continue(request: Request, handler: &WebhookHandler) -> Result<Request, HttpResponse> {
    let progress = request.conn_data::<Rc<RequestProgress>>().cloned();
    if let Some(progress) = &progress {
        progress.reached();
    }
    let answer = handler.expect_continue(request);
    if let (Err(_), Some(progress)) = (&answer, progress) {
        progress.answered(false);
    }
    answer
}

async fn handle(
    request: HttpRequest,
    payload: Payload,
    handler: Data<WebhookHandler>,
) -> HttpResponse {
    let progress = request.conn_data::<Rc<RequestProgress>>();
    if let Some(progress) = progress {
        progress.reached();
    }
    let response = handler.handle(&request, payload.into_inner()).await;
    if let Some(progress) = progress {
        // Every other answer ends the connection, and some of these do.
        let is_kept = response.head().connection_type() != ConnectionType::Close;
        progress.answered(response.status() == StatusCode::OK && is_kept);
    }
    response
}
