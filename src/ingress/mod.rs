//! The public listener: `POST /webhooks/{source}` and nothing else.
//!
//! The cheap checks come first, before the body is read: the client's address and how often it comes,
//! a place among those being answered, path, method, encoding, length, whether an event could be kept
//! at all, the signature header's form. Then the body, once, within its limit and its deadline; then
//! the proof, and only then the source's quota, which nobody else can use up; then the pipeline. [`Problem`] alone chooses the
//! statuses of errors.
//!
//! Before all that, a connection may have to begin with a PROXY header, and with a TLS handshake.

mod arrival;
mod body;
mod caller;
mod client;
mod door;
mod early;
mod guard;
mod handshake;
mod in_flight;
mod networks;
mod open;
mod path;
mod problem;
mod proxy_header;
mod quota;
mod refusal_log;
mod server;
mod stream;
mod tls;
mod unheard;
mod upgrade;
mod wire;

pub use arrival::{Reception, Unreceived};
pub use client::{Client, ClientAddress, Origin};
pub use door::{Door, Entrance, Limits, Rules, Sources};
pub use early::Early;
pub use guard::Guard;
pub use handshake::HandshakeFailure;
pub use in_flight::InFlight;
pub use networks::{Network, Networks};
pub use problem::Problem;
pub use proxy_header::read as read_proxy_header;
pub use refusal_log::RefusalLog;
pub use server::{Listening, Public, bind};
pub use tls::{BadFile, Chain, Clients, Key, NoPair, Tls};
pub use unheard::Unheard;
