//! How many requests are being answered at once. Each may hold a whole body, so this is also the
//! bound on their memory.

use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::IntGauge;

/// The requests that are being answered.
#[derive(Debug)]
pub struct InFlight {
    count: AtomicUsize,
    shown: IntGauge,
}

/// A request's place among them; dropping it, as a request that is given up does, frees it.
#[derive(Debug)]
pub(super) struct Place<'a>(&'a InFlight);

impl InFlight {
    /// None yet.
    #[must_use]
    pub fn shown_by(shown: IntGauge) -> Self {
        Self {
            count: AtomicUsize::new(0),
            shown,
        }
    }

    /// A place for one more, where there are fewer than `most`.
    pub(super) fn enter(&self, most: usize) -> Option<Place<'_>> {
        // Counted first, so that two cannot take the last place.
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        self.shown.inc();
        let place = Place(self);
        (before < most).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
        self.0.shown.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_however_the_request_ended() {
        let gauge = IntGauge::new("in_flight", "as in the metrics").expect("a good name");
        let requests = InFlight::shown_by(gauge.clone());
        let first = requests.enter(2).expect("nobody is there");
        let second = requests.enter(2).expect("one is there");
        assert!(requests.enter(2).is_none() && requests.enter(1).is_none());
        assert_eq!(gauge.get(), 2);
        drop(first);
        assert!(requests.enter(2).is_some());
        drop(second);
        assert_eq!(gauge.get(), 0);
    }
}
