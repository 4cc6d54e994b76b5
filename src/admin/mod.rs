//! The operators' listener: the page, metrics, health, the store's topics, the spool, backfills; and one for
//! metrics and health alone.
//!
//! Whoever reaches the first sees events and can drop them. So it listens on loopback unless it has a
//! token to ask for; it answers by its own names alone, and a change needs a header that no page of
//! another site can send. The second shows numbers, and asks for nothing.

mod access;
mod backfills;
mod deliveries;
mod events;
mod health;
mod host;
mod live;
mod login;
mod page;
mod problem;
mod route;
mod runbook;
mod server;
mod session;
mod spool;
mod token;
pub mod topics;
mod wrong_tokens;

pub use access::{AccessRules, REQUEST_HEADER};
pub use health::HealthState;
pub use host::{Host, InvalidHost};
pub use server::{AdminServer, bind, bind_metrics};
pub use spool::ChangeCount;
pub use token::{AdminToken, TokenError};
