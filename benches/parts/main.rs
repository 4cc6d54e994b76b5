//! The pure parts of the path, each by itself: what one event costs at each arrow between the socket
//! and the broker, without HTTP, without a network and without the other parts.
//!
//! ```text
//! cargo bench --bench parts                  # all of them, in about two minutes
//! cargo bench --bench parts -- verify        # those whose names contain "verify"
//! cargo bench --bench parts -- --save-baseline before; …; cargo bench --bench parts -- --baseline before
//! ```
//!
//! | group | measures | one iteration is |
//! |---|---|---|
//! | `header` | `Source::read_signature` | one header |
//! | `verify` | `Claim::verify` | one delivery |
//! | `trace` | `TraceContext::received` and `::start` | one delivery |
//! | `event` | `Event::read` | one delivery |
//! | `route` | `Router::route` | one event |
//! | `message` | what a sink asks of a message before it encodes it | one message |
//! | `append` | `Spool::append`, from the call to the answer, its fsync included | one group |
//! | `settle` | `Spool::settle`, which a later batch carries | one group |
//! | `history` | what `Recorder` keeps of an event that goes to one sink | one event |
//!
//! `append` and `settle` are measured by two clocks: the time that passes, most of which is the
//! disk's, and the processor time of this process, which is what the bridge pays. Their folder lies
//! under the target directory; that must be on the disk that is meant, not in memory.
//!
//! Each body is read many times over, so the processor guesses every branch right and finds every
//! byte in its cache: an event that comes once costs more. To compare two ways of doing the same
//! thing, counted instructions are steadier than either clock:
//!
//! ```text
//! valgrind --tool=callgrind --toggle-collect='*Event*read' target/release/deps/parts-… --bench --profile-time 1 '^event/1 KiB'
//! ```

mod delivery;
mod event;
mod history;
mod message;
mod route;
mod signature;
mod spool;
mod trace;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(50)
        .configure_from_args();
    signature::bench(&mut criterion);
    trace::bench(&mut criterion);
    event::bench(&mut criterion);
    route::bench(&mut criterion);
    message::bench(&mut criterion);
    spool::bench(&mut criterion);
    history::bench(&mut criterion);
    criterion.final_summary();
}
