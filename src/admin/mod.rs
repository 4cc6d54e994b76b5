//! The admin listener.

pub mod topics;
