//! The heart: events in by [`Pipeline::accept`], out by one [`Dispatcher`] per sink, the spool in
//! between. Nothing here knows HTTP or a broker.

mod accept;
mod again;
mod backoff;
mod dispatcher;
mod gate;
mod instruments;
mod logged;
mod parked;
mod place;
mod publishing;
mod pulse;
mod reading;
mod reference;
mod window;

pub use accept::{Accepted, Pipeline, Refusal, Status, Terms};
pub use backoff::{Backoff, Schedule};
pub use dispatcher::{Dispatcher, Pace, Served};
pub use logged::LoggedObjects;
pub use pulse::{Ended, Pulse};
