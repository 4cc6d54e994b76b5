//! The public listener: `POST /webhooks/{source}` and nothing else.
//!
//! The cheap checks come first, before the body is read: the client's address and how often it comes,
//! a place among those being answered, path, method, encoding, length, whether an event could be kept
//! at all, the signature header's form. Then the body, once, within its limit and its deadline; then
//! the proof, and only then the source's quota, which nobody else can use up; then the pipeline. [`Problem`] alone chooses the
//! statuses of errors.

mod body;
mod caller;
mod client;
mod door;
mod guard;
mod in_flight;
mod networks;
mod problem;
mod quota;
mod server;
mod stream;

pub use client::{ClientAddress, Origin};
pub use door::{Door, Entrance, Limits, Rules, Sources};
pub use guard::Guard;
pub use in_flight::InFlight;
pub use networks::{Network, Networks};
pub use problem::Problem;
pub use server::{Listening, Public, bind};
pub use stream::Unheard;
