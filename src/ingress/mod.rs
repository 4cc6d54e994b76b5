//! The public listener: `POST /webhooks/{source}`, and the handshakes of the sources.
//!
//! The cheap checks come first, before the body is read: the client's address and its rate limit, the
//! number of requests in flight, path, whether it is a handshake that the head alone decides, method,
//! encoding, length, whether an event could be kept at all, the signature header's form. Then the
//! body, once, within its limit and its deadline; then the proof, and only then the source's rate
//! limit, which nobody else can use up; then the pipeline, unless it is a signed handshake.
//! [`RequestProblem`] alone chooses the statuses of errors.
//!
//! Before all that, a connection may have to begin with a PROXY header, and with a TLS handshake.

mod access_control;
mod allowed_methods;
mod answer;
mod body;
mod client;
mod connection_failure;
mod connection_setup;
mod connection_stream;
mod delivery_recording;
mod endpoint;
mod handler;
mod handshake;
mod handshake_result;
mod in_flight;
pub mod networks;
mod open_connection;
mod path;
mod peer;
mod problem;
mod proxy_header;
mod rate_limit;
mod refusal_log;
mod request_id;
mod rules;
mod server;
mod setup_error;
mod subscriber_network;
mod tls;
mod transport;
mod upgrade;
mod usual_cause;
mod webhook_request;

pub use access_control::AccessControl;
pub use allowed_methods::AllowedMethods;
pub use client::{AddressOrigin, Client, ClientAddress};
pub use connection_failure::ConnectionFailure;
pub use connection_setup::ConnectionSetup;
pub use endpoint::{EndpointSettings, SourceEndpoint, SourceEndpoints};
pub use handler::WebhookHandler;
pub use handshake::HandshakeFailure;
pub use handshake_result::HandshakeResult;
pub use in_flight::InFlight;
pub use networks::IpNet;
pub use path::decoded as decoded_path;
pub use problem::{EarlyBody, RequestProblem};
pub use proxy_header::read as read_proxy_header;
pub use refusal_log::RefusalLog;
pub use rules::{HandlerRules, RequestLimits};
pub use server::{BoundServer, IngressServer, bind};
pub use subscriber_network::SubscriberNetwork;
pub use tls::{CertificateChain, ClientVerification, KeyPairError, PemError, ServerKey, ServerTls};
pub use usual_cause::{UsualCause, usual_cause};
