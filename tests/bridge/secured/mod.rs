//! Brokers that prove who they are and want a proof in return, with an authority of the test's own;
//! and what becomes of events while the proofs change. What a certificate of the broker's that does
//! not hold leads to is in the fault matrix, row 30.

pub mod kafka;
mod rabbitmq;
mod rotation;
