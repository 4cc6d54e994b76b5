//! The store sink.
