//! RabbitMQ in trouble: frozen, blocked, half open, slow, refusing, full, gone, or somebody else.
//! Deliveries are answered 200 throughout, because the spool takes them; the store beside it does
//! not notice; and when the trouble is over, nobody has to do anything.

mod address;
mod certificate;
mod outage;
mod refusal;
mod stop;
