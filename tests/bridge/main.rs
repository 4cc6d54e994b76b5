//! The bridge's promises, against real parts.
#![allow(clippy::unwrap_used, missing_docs)]

mod store_sink;
