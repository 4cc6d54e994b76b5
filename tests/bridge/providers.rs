//! Every built-in provider end to end: what its sample becomes on each sink, repetitions, names, forms,
//! CloudEvents, and what of a request travels with its message.

mod carried;
mod cloud_events;
mod expected;
mod forms;
mod names;
mod repetitions;
mod samples;
mod senders;
