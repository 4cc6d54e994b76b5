//! Kafka in trouble: it stops, freezes, slows down, fills up, refuses, moves or is somebody else.
//! Deliveries are answered 200 throughout, memory stays bounded, the store beside it does not notice,
//! and when the trouble is over, nobody has to do anything about the bridge.

mod address;
mod cluster;
mod full;
mod network;
mod outage;
mod places;
mod secured;
mod stop;

/// The labels of the sink this is about.
const KAFKA: [(&str, &str); 1] = [("sink", "kafka")];
