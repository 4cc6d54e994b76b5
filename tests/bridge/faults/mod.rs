//! The fault matrix: every fault the bridge is made for, brought about for real, and what must be
//! true all the same. A test's name begins with the number of its row.
//!
//! What takes seconds, no root and no broker of its own runs with all other tests. The rest is left
//! out there and runs with `tests/run --faults`, one test after the other and with an optimised
//! bridge; only there does a test look at how long something took. Each test of a row leaves a line
//! for the table in docs/src/evidence.md, see [`Report`](crate::harness::Report).

mod away;
mod backlog;
mod bystander;
mod clients;
mod clock;
mod content;
mod crash;
mod damage;
mod disk;
mod full;
mod kafka;
mod labels;
mod large;
mod limits;
mod namespace;
mod panics;
mod rabbitmq;
mod repetition;
mod rotation;
pub mod scene;
mod scrape;
mod seeded;
mod signature;
mod start;
mod syscalls;
