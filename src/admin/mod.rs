//! The operators' listener: metrics, health, the store's topics, the spool. It has no
//! authentication and belongs on a private address; loopback is the default.

mod health;
mod server;
mod spool;
pub mod topics;

pub use health::Watch;
pub use server::{Operators, bind};
pub use spool::Counted;
