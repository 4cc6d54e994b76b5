//! The public listener: `POST /webhooks/{source}` and nothing else.
//!
//! The cheap checks come first, before the body is read: path, method, encoding, length, rate,
//! whether an event could be kept at all, the signature header's form. Then the body, once, within
//! its limit and its deadline; then the proof; then the pipeline. [`Problem`] alone chooses the
//! statuses of errors.

mod body;
mod caller;
mod door;
mod problem;
mod server;
mod stream;

pub use door::{Door, Entrance, Limits, Rules, Sources};
pub use problem::Problem;
pub use server::{Listening, Public, bind};
pub use stream::Unheard;
