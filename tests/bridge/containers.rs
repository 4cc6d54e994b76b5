//! The image, the compose file and the commands of the manual, in containers of a real engine: all of
//! these run with `tests/run --containers` alone, one after the other, because each profile publishes the
//! same ports.

mod asked_prometheus;
mod confined;
mod delivered;
mod engine;
mod head;
mod image;
mod lasting;
mod manual;
mod profiles;
mod refused_starts;
mod stack;
mod trial;
mod volume;
