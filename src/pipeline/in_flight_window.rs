//! The in-flight window: how many publishes may be outstanding. As many as configured while the sink
//! keeps up, one after it did not, and then more and more for as long as it does. Without this, a sink
//! that is only slow would never get anywhere: what it cannot confirm within its deadline is in doubt
//! and goes out again, and the same number of publishes would miss the same deadline each time. The
//! rule is that of TCP's congestion control.

/// The publishes that may be outstanding.
#[derive(Debug, Clone)]
pub(super) struct InFlightWindow {
    most: usize,
    open: usize,
    /// Up to here the window doubles whenever it is used up; beyond it, it grows by one.
    steep_until: usize,
    /// Verdicts that count for the next step beyond.
    spare: usize,
}

impl InFlightWindow {
    /// Fully open.
    pub fn of(most: usize) -> Self {
        Self {
            most,
            open: most,
            steep_until: most,
            spare: 0,
        }
    }

    /// From now on at most so many. A window that was fully open is so again; one that is feeling its
    /// way goes on from where it is.
    pub fn limit(&mut self, most: usize) {
        if self.open == self.most {
            *self = Self::of(most);
        } else {
            self.most = most;
            self.open = self.open.min(most);
            self.steep_until = self.steep_until.min(most);
        }
    }

    /// How many may be outstanding now.
    pub fn open(&self) -> usize {
        self.open
    }

    /// The sink has given its verdict on so many of the publishes that were outstanding. Where it
    /// was not the window that kept their number down, that says nothing about a wider one.
    pub fn worked(&mut self, verdicts: usize, outstanding: usize) {
        if outstanding < self.open {
            return;
        }
        let steep = verdicts.min(self.steep_until.saturating_sub(self.open));
        self.open += steep;
        self.spare += verdicts - steep;
        while self.spare >= self.open && self.open < self.most {
            self.spare -= self.open;
            self.open += 1;
        }
        self.spare = self.spare.min(self.open);
    }

    /// The sink did not take so many outstanding publishes in time.
    pub fn failed(&mut self, outstanding: usize) {
        // One alone that fails means a sink that is away, and says nothing of what it can take.
        if outstanding > 1 {
            self.steep_until = (outstanding.min(self.open) / 2).max(1);
        }
        self.open = 1;
        self.spare = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_limit_is_kept_and_what_was_learnt_is_not_forgotten() {
        let mut window = InFlightWindow::of(8);
        window.limit(20);
        assert_eq!(window.open(), 20);
        window.failed(20);
        window.limit(100);
        assert_eq!(window.open(), 1);
        for _ in 0..1000 {
            window.worked(window.open(), window.open());
        }
        assert_eq!(window.open(), 100);
        window.limit(3);
        assert_eq!(window.open(), 3);
        window.failed(3);
        window.limit(2);
        for _ in 0..10 {
            window.worked(window.open(), window.open());
        }
        assert_eq!(window.open(), 2);
    }

    /// A sink that confirms `pace` publishes within its deadline, or none: how many rounds fail.
    fn failures(window: &mut InFlightWindow, pace: usize, rounds: usize) -> usize {
        let mut failed = 0;
        for _ in 0..rounds {
            let outstanding = window.open();
            if outstanding <= pace {
                window.worked(outstanding, outstanding);
            } else {
                window.failed(outstanding);
                failed += 1;
            }
        }
        failed
    }

    #[test]
    fn a_slow_sink_is_soon_given_what_it_can_take() {
        let mut window = InFlightWindow::of(1024);
        failures(&mut window, 100, 50);
        let failed = failures(&mut window, 100, 1000);
        assert!(failed < 20, "{failed} of 1000");
        assert!((1..=101).contains(&window.open()));
    }

    #[test]
    fn a_sink_that_was_away_is_soon_given_everything_again() {
        let mut window = InFlightWindow::of(1024);
        window.failed(1024);
        for _ in 0..100 {
            window.failed(1);
        }
        assert_eq!(window.open(), 1);
        assert_eq!(failures(&mut window, usize::MAX, 10), 0);
        assert!(window.open() > 512, "{}", window.open());
        failures(&mut window, usize::MAX, 600);
        assert_eq!(window.open(), 1024);
    }

    #[test]
    fn what_is_not_used_does_not_grow() {
        let mut window = InFlightWindow::of(1024);
        window.failed(1024);
        for _ in 0..100 {
            window.worked(3, 3);
        }
        assert_eq!(window.open(), 4);
    }
}
