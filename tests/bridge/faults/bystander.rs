//! Honest senders that go on while somebody else attacks: what no attack may touch.

use std::time::{Duration, Instant};

use crate::harness::{Bridge, Copies, Load, Outlet, Report, Setup, Target, Verdict};

const SENDERS: usize = 4;
/// Slow enough to leave the machine to the attack, fast enough to notice what it does.
const EVERY: Duration = Duration::from_millis(5);
/// So many answers make a p99 that means something.
const ENOUGH: usize = 150;
/// The most that others' p99 may suffer from an attack.
const SUFFERED: Duration = Duration::from_millis(50);

/// A bridge with honest load, from before an attack to its end.
pub struct Bystander {
    pub setup: Setup,
    pub bridge: Bridge,
    load: Load,
    began: Instant,
    attacked: Instant,
    memory_bytes: f64,
}

/// What the attack has left as it was.
pub struct Unharmed {
    pub bridge: Bridge,
    verdict: Verdict,
    before: Duration,
    during: Duration,
    grown_bytes: f64,
}

impl Bystander {
    /// Starts the bridge and the load, and returns when the attack may begin.
    pub async fn start(setup: Setup) -> Self {
        let bridge = setup.start().await;
        Self::of(setup, bridge).await
    }

    /// The same with a bridge that was started otherwise.
    pub async fn of(setup: Setup, bridge: Bridge) -> Self {
        let began = Instant::now();
        let target = Target::new(bridge.ingress);
        let load = Load::paced(&target, &setup.source, (SENDERS, usize::MAX), EVERY);
        load.reaches(ENOUGH).await;
        let memory_bytes = bridge.metrics().await.process("resident_memory_bytes");
        Self {
            setup,
            bridge,
            load,
            began,
            attacked: Instant::now(),
            memory_bytes,
        }
    }

    /// Waits until the honest senders have got on by a good deal: an attack that is held for this
    /// long would have stopped them.
    pub async fn get_on(&self) {
        self.load.reaches(self.load.answered() + ENOUGH).await;
    }

    /// Ends it, and asserts that nobody but the attacker noticed: only 200s, every event kept once,
    /// no panic, and not much memory.
    pub async fn unharmed(self, grown_at_most_bytes: f64) -> Unharmed {
        self.get_on().await;
        let ended = Instant::now();
        let journal = self.load.stop().await;
        let statuses: Vec<u16> = journal.statuses().into_keys().collect();
        assert_eq!(statuses, [200], "the honest senders were refused");
        let seen = Outlet::Store
            .has(&self.bridge, &self.setup.source, &journal.ids())
            .await;
        // What the attacker has had accepted lies beside it.
        let honest: Vec<_> = seen
            .into_iter()
            .filter(|seen| seen.key.starts_with("object"))
            .collect();
        let verdict = Verdict::of(&journal, &honest);
        verdict.assert_kept(Copies::Once);
        self.bridge.drained().await;
        let metrics = self.bridge.metrics().await;
        metrics.assert_balanced("store");
        assert!(metrics.sum("panics_total", &[]).abs() < f64::EPSILON);
        #[allow(clippy::cast_precision_loss, reason = "bytes of memory")]
        let grown_bytes = self.bridge.peak_memory_bytes() as f64 - self.memory_bytes;
        assert!(
            grown_bytes <= grown_at_most_bytes,
            "{grown_bytes} bytes more at the peak"
        );
        Unharmed {
            bridge: self.bridge,
            verdict,
            before: journal.p99(self.began, self.attacked),
            during: journal.p99(self.attacked, ended),
            grown_bytes,
        }
    }
}

impl Unharmed {
    /// The honest senders were answered as fast as before: for runs that have the machine alone.
    pub fn assert_as_fast(self) -> Self {
        println!(
            "p99 {:?} before, {:?} during; {} bytes more",
            self.before, self.during, self.grown_bytes
        );
        assert!(
            self.during <= self.before + SUFFERED,
            "others' p99 went from {:?} to {:?}",
            self.before,
            self.during
        );
        self
    }

    /// How much larger the bridge was at its largest than before the attack.
    pub fn grown_mib(&self) -> f64 {
        self.grown_bytes / 1024.0 / 1024.0
    }

    /// Leaves a line in the table of results.
    pub fn report(&self, row: u8, did: &str) {
        Report::row(row).sink("store").did(did).write(&self.verdict);
    }
}
