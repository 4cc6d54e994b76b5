//! The pipeline: events in by [`Pipeline::accept`], out by one [`Dispatcher`] per sink, the spool in
//! between. Nothing here knows HTTP or a broker.

mod accept;
mod address_queue;
mod backoff;
mod dispatcher;
mod dispatcher_metrics;
mod event_ref;
mod health_probe;
mod held_back;
mod in_flight;
mod in_flight_window;
mod key_order;
mod logged_objects;
mod publish_recording;
mod read_ahead;
mod reread_queue;

pub use accept::{AcceptStatus, Accepted, Pipeline, Refusal, Terms};
pub use backoff::{Backoff, RetrySchedule};
pub use dispatcher::{Dispatcher, DispatcherSettings, ServedSink};
pub use health_probe::{HealthProbe, LoopEnded};
pub use logged_objects::LoggedObjects;
