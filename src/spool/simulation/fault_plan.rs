//! What goes wrong in a run of the simulation.

/// The kinds of faults of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FaultPlan {
    /// The process and the power.
    Crashes,
    /// These, and calls that fail, and full disks.
    Faults,
    /// The process and the power, and sectors of what was acknowledged.
    Rot,
}
