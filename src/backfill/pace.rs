//! The pace of one source's requests, from one run to the next.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Between two requests. One Codex lets an account have ten a second, which are not ours alone.
const INTERVAL: Duration = Duration::from_millis(500);

/// When the next request may be sent. Cloning it shares it.
#[derive(Debug, Clone, Default)]
pub struct Pace(Arc<Mutex<Option<Instant>>>);

impl Pace {
    /// Returns once it is this request's turn.
    pub(super) async fn turn(&self) {
        sleep_until(self.next_turn(Instant::now())).await;
    }

    /// The next turn that nobody has; the one behind it comes an interval later.
    fn next_turn(&self, now: Instant) -> Instant {
        let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = next.map_or(now, |next| next.max(now));
        *next = Some(turn + INTERVAL);
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_apart_whoever_sends_them() {
        let (one, now) = (Pace::default(), Instant::now());
        let other = one.clone();
        assert_eq!(one.next_turn(now), now, "the first waits for nobody");
        assert_eq!(other.next_turn(now), now + INTERVAL);
        assert_eq!(one.next_turn(now), now + 2 * INTERVAL);
        let later = now + 10 * INTERVAL;
        assert_eq!(other.next_turn(later), later);
        assert_eq!(
            one.next_turn(later),
            later + INTERVAL,
            "a pause is not made up for"
        );
    }
}
