//! Hookferry takes signed webhooks, proves who sent them, and puts each event onto RabbitMQ, Kafka
//! or a store of its own, at least once.
//!
//! The README shows it, the book in `docs/` says what it promises and how it is run, and
//! `CONTRIBUTING.md` how it is changed. This page is for a reader of the code: the path, the promise
//! as the types keep it, the map, and the glossary.
//!
//! # The path
//! ```text
//!  bytes ──► Verified ──► Event ──► Routed ──► spool ──► Message ──► Receipt
//!  Inbound   source/      event/    route      spool/    sink/       sink/
//! ```
//! Each arrow is one function. The next stage takes the type on its left by value, and only one
//! module can make the type on its right, so that a stage cannot be left out:
//!
//! | type | is the proof that | only maker |
//! |---|---|---|
//! | [`source::Verified`] | these bytes were signed with a secret of this source, just now | [`source::SignedDelivery::accept`] |
//! | [`source::RecoveredDelivery`] | it stands in the answer of the provider's own API to the source's key, over verified TLS | [`source::RecoveredDelivery::read`] |
//! | [`event::Event`] | the delivery was read; what could not be understood says why | [`event::Event::read`] |
//! | [`route::Routed`] | it has a lane and at least one sink | [`route::Router::route`] |
//! | [`spool::SpoolRecord`] | it lies in the spool, and matches its checksum | the spool |
//! | [`pipeline::Accepted`] | it has reached its milestone and may be answered 200 | [`pipeline::Pipeline::accept`] |
//! | [`sink::Receipt`] | a sink has confirmed it | a sink, after its broker's confirm |
//!
//! There is one path and there are two milestones. Every event is written to the spool, read from
//! it by a dispatcher, and published by a sink; `acknowledge` only says whether the HTTP request is
//! answered after the first of these or after the last. What happens in an outage is what happens
//! always.
//!
//! # The promise
//! Where each clause is kept, and so where a change could break it:
//!
//! - **A 200 is durable.** [`pipeline::Pipeline::accept`] returns after the commit (or the confirm);
//!   the spool's thread answers only then (see [`log`] for what that is worth). Every other outcome is a [`pipeline::Refusal`], which
//!   [`ingress::RequestProblem`] turns into a 503.
//! - **At least once.** A record leaves the spool for a [`sink::Receipt`] or a written dead letter,
//!   and for nothing else: see [`spool::Settlement`] and [`spool::NewDeadLetter`]. A receipt that a crash
//!   loses only publishes the event again.
//! - **Same bytes.** The body is `Bytes` from the socket to the broker. It is read for the id, the
//!   type and the object, and never encoded again.
//! - **Same id.** [`event::EventId`] is made of the event's own fields, and of nothing random and
//!   nothing of the delivery.
//! - **Order.** [`pipeline::Dispatcher`] has at most one publish outstanding for each
//!   [`event::OrderingKey`], and keeps its turn through pauses and retries.
//! - **Honest refusal.** [`ingress::RequestProblem`] alone chooses error statuses.
//! - **Nothing hidden.** [`metrics::Metrics::update`] is held around every change that one scrape must
//!   show as a whole.
//! - **Authentic is never dropped.** [`event::Event::read`] cannot fail: what cannot be understood is
//!   [`event::Content::Quarantined`] with the reason, and takes the same path.
//!
//! # The map
//! Imports point down this list only.
//!
//! | layer | modules | what is there |
//! |---|---|---|
//! | people | [`cli`], [`telemetry`] | the commands, the log |
//! | wiring | [`app`], [`config`] | the composition root with the order of stopping; the file as it is written, and the settings the program runs on |
//! | drivers | [`ingress`], [`admin`], [`backfill`] | the public listener, the operators' listener, gap recovery from the provider's own record |
//! | heart | [`pipeline`], [`history`] | accepting, dispatching, backing off, dead letters; what happened lately, in memory |
//! | edges | [`sink`], [`spool`] | the trait with its three implementations; where accepted events lie |
//! | middle | [`route`], [`event`], [`source`], [`trace`] | where an event goes; what it says; who sent it; whose trace it is in |
//! | ground | [`log`], [`name`], [`json`], [`metrics`], [`path_error`], [`shutdown`], [`descriptors`], [`threads`], [`systemd`], [`crypto`], [`seeded`] | the log on the disk and its rules, parsed names, strict JSON, every metric, why a path cannot be used, the signal that the program stops, who may hold how many descriptors, whether there may be as many threads as are needed, what systemd is told, the cryptography under TLS, the bugs that the suite must catch |
//!
//! lapin is imported in `sink/rabbitmq` only and rdkafka in `sink/kafka` only; actix in [`ingress`]
//! and [`admin`], which are both HTTP listeners; rusqlite in `spool/index`, which keeps the ids of
//! accepted events beside the log.
//!
//! # Glossary
//!
//! | term | meaning |
//! |---|---|
//! | provider | a kind of sender: how it signs, and where its body names the event |
//! | source | a configured sender: a provider, its secrets and its limits |
//! | delivery | one HTTP request of a provider; several may be copies of one event |
//! | verified | proven to be signed with a secret of its source |
//! | event | what a delivery tells of: its id, its type, its object, its time and the body |
//! | object | what an event is about; the ordering key, whose events stay in order |
//! | route | which sinks the events of a source go to |
//! | lane | which kind of address an event has: by its type, `other` or `quarantine` |
//! | spool | the log on disk where accepted events wait until each of their sinks has them |
//! | segment | one file of a log |
//! | batch | what is written and synced together: the group of a group commit |
//! | record | an event as it stands in the spool, with its sequence number and checksum |
//! | recovery | what a start reads, and cuts off, to continue a log that a crash left |
//! | duplicate | a delivery whose event's id was accepted before: answered 200, not published again |
//! | sink | where events are published: RabbitMQ, Kafka or the store |
//! | dispatcher | the task that publishes one sink's events from the spool, in order |
//! | in-flight window | how many publishes may await their confirm at once |
//! | backoff | the growing, jittered delay before an unavailable sink is tried again |
//! | publisher confirm | a broker's word that it keeps a message; Kafka's delivery report |
//! | receipt | the proof of a confirm; only for it, or a dead letter, an event leaves the spool |
//! | unroutable | refused for now: the sink has no topic, binding or permission for the message |
//! | dead letter | an event that a sink can never take, set aside in the spool |
//! | quarantine | where authentic deliveries go that could not be understood |
//! | backpressure | 503 to the sender, before more is held in memory or on disk than is allowed |
//!
//! To add a provider, begin at [`source::Provider`]; to add a sink, at [`sink::Sink`].

pub mod admin;
pub mod app;
pub mod backfill;
pub mod cli;
pub mod config;
pub mod crypto;
pub mod descriptors;
pub mod event;
pub mod history;
pub mod ingress;
pub mod json;
pub mod log;
pub mod metrics;
pub mod name;
pub mod path_error;
pub mod pipeline;
pub mod route;
pub mod seeded;
pub mod shutdown;
pub mod sink;
pub mod source;
pub mod spool;
pub mod systemd;
pub mod telemetry;
pub mod threads;
pub mod trace;

/// Chosen by measurement: docs/src/decisions.md.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
