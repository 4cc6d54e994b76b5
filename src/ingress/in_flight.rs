//! How many requests are being answered at once, and how much memory their bodies take.

use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::IntGauge;

/// The requests that are being answered.
#[derive(Debug)]
pub struct InFlight {
    count: AtomicUsize,
    body_bytes: AtomicUsize,
    shown: IntGauge,
    shown_body_bytes: IntGauge,
}

/// The permit of a request that is being answered, with the memory of its body. Dropping it, as a
/// request that is given up does, frees both.
#[derive(Debug)]
pub(super) struct InFlightPermit<'a> {
    requests: &'a InFlight,
    body_bytes: usize,
}

impl InFlight {
    /// None yet. The gauges show how many there are, and how many bytes their bodies take.
    #[must_use]
    pub fn shown_by(shown: IntGauge, shown_body_bytes: IntGauge) -> Self {
        Self {
            count: AtomicUsize::new(0),
            body_bytes: AtomicUsize::new(0),
            shown,
            shown_body_bytes,
        }
    }

    /// A permit for one more, where there are fewer than `most`.
    pub(super) fn acquire(&self, most: usize) -> Option<InFlightPermit<'_>> {
        // Counted first, so that two cannot take the last permit.
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        self.shown.inc();
        let permit = InFlightPermit {
            requests: self,
            body_bytes: 0,
        };
        (before < most).then_some(permit)
    }
}

impl InFlightPermit<'_> {
    /// Reserves memory for so many more bytes of the body, where all bodies together then have at most
    /// `most`. Whether it was.
    #[must_use]
    pub fn reserve(&mut self, bytes: usize, most: usize) -> bool {
        let requests = self.requests;
        let with_these = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= most);
        let taken =
            requests
                .body_bytes
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, with_these);
        if taken.is_ok() {
            self.body_bytes += bytes;
            requests.shown_body_bytes.add(shown(bytes));
        }
        taken.is_ok()
    }
}

impl Drop for InFlightPermit<'_> {
    fn drop(&mut self) {
        let requests = self.requests;
        requests.count.fetch_sub(1, Ordering::Relaxed);
        requests.shown.dec();
        requests
            .body_bytes
            .fetch_sub(self.body_bytes, Ordering::Relaxed);
        requests.shown_body_bytes.sub(shown(self.body_bytes));
    }
}

fn shown(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauge() -> IntGauge {
        IntGauge::new("in_flight", "as in the metrics").expect("a good name")
    }

    #[test]
    fn a_place_is_free_again_however_the_request_ended() {
        let shown = gauge();
        let requests = InFlight::shown_by(shown.clone(), gauge());
        let first = requests.acquire(2).expect("nobody is there");
        let second = requests.acquire(2).expect("one is there");
        assert!(requests.acquire(2).is_none() && requests.acquire(1).is_none());
        assert_eq!(shown.get(), 2);
        drop(first);
        assert!(requests.acquire(2).is_some());
        drop(second);
        assert_eq!(shown.get(), 0);
    }

    #[test]
    fn bodies_share_their_memory_and_give_it_back() {
        let shown = gauge();
        let requests = InFlight::shown_by(gauge(), shown.clone());
        let mut first = requests.acquire(2).expect("nobody is there");
        let mut second = requests.acquire(2).expect("one is there");
        assert!(first.reserve(60, 100) && second.reserve(30, 100));
        assert!(!second.reserve(11, 100) && !second.reserve(usize::MAX, 100));
        assert!(second.reserve(10, 100));
        assert_eq!(shown.get(), 100);
        drop(first);
        assert_eq!(shown.get(), 40);
        assert!(second.reserve(60, 100));
        drop(second);
        assert_eq!(shown.get(), 0);
    }
}
