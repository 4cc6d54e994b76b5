//! Outages of the listener, as far as the bridge itself sees them: deliveries were refused, or nobody
//! ran at all. After one the provider's record is asked at once.

use std::time::Duration;

use crate::metrics::Metrics;
use crate::pipeline::Refusal;
use crate::source::ProofLabel;

/// How often it is looked.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// So long nothing must have been refused.
const CALM: Duration = Duration::from_secs(5);
/// A look that comes so much too late says that the process was stopped, or the machine was asleep.
const LONGEST_GAP: Duration = Duration::from_secs(30);

/// Tells when an outage is over.
#[derive(Debug, Default)]
pub struct OutageDetector {
    refused: u64,
    /// For how long all has been well since an outage; none, where none was.
    calm: Option<Duration>,
}

/// How many deliveries were refused so far.
pub(super) fn refused(metrics: &Metrics) -> u64 {
    let refused = &metrics.deliveries_refused_total;
    let of = |reason: Refusal| {
        ProofLabel::ALL.map(|proof| {
            let labels = [reason.reason(), proof.as_str()];
            refused.with_label_values(&labels).get()
        })
    };
    Refusal::ALL.into_iter().flat_map(of).sum()
}

impl OutageDetector {
    /// Looks, so long after the last look: whether an outage is over now. `refused` counts the
    /// deliveries that were refused so far; `is_open` says whether they are taken now.
    pub fn look(&mut self, passed: Duration, refused: u64, is_open: bool) -> bool {
        let is_out = !is_open || refused > self.refused || passed > LONGEST_GAP;
        self.refused = refused;
        if is_out {
            self.calm = Some(Duration::ZERO);
            return false;
        }
        let calm = self.calm.map(|calm| calm + passed);
        let is_over = calm.is_some_and(|calm| calm >= CALM);
        self.calm = calm.filter(|_| !is_over);
        is_over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The looks at which an outage is over, from 0.
    fn ends(looks: &[(Duration, u64, bool)]) -> Vec<usize> {
        let mut detector = OutageDetector::default();
        let looks = looks.iter().enumerate();
        let over = looks
            .filter(|(_, (passed, refused, is_open))| detector.look(*passed, *refused, *is_open));
        over.map(|(at, _)| at).collect()
    }

    #[test]
    fn an_outage_is_over_once_nothing_was_refused_for_a_while() {
        let calm = [(SECOND, 3, true); 12];
        assert_eq!(ends(&[(SECOND, 0, true); 12]), [0; 0]);
        let refused = [&[(SECOND, 0, true), (SECOND, 3, true)][..], &calm].concat();
        assert_eq!(ends(&refused), [6], "once");
        let closed = [&[(SECOND, 3, true), (SECOND, 3, false)][..], &calm].concat();
        assert_eq!(ends(&closed), [6]);
        let asleep = [&[(SECOND * 3600, 3, true)][..], &calm].concat();
        assert_eq!(ends(&asleep), [5]);
    }

    #[test]
    fn an_outage_that_goes_on_is_not_over() {
        let looks: Vec<_> = (0..20).map(|at| (SECOND * 4, at, true)).collect();
        assert_eq!(ends(&looks), [0; 0]);
    }
}
