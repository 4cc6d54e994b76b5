//! Coverage of the simulation: what has happened in its runs. One in which nothing is ever copied says
//! nothing of copies.

use super::fault_plan::FaultPlan;

/// Something that must happen in some run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Happening {
    SegmentEnded,
    SegmentRecycled,
    SegmentRemoved,
    SegmentKept,
    RecordCopied,
    TailCarried,
    LetterRequeued,
    LetterRefused,
    DamageRescued,
    RecordLost,
    SnapshotForced,
    DiskFull,
    SpoolFull,
    IdsEntered,
    IdsNotEntered,
    SinkTakenOutThatOwes,
    NumberGivenAgain,
    SinkDropped,
    DeliveryAwaited,
    DeadLetterAwaited,
    DuplicateAnswered,
    OtherBodyAnswered,
    StartCrashed,
    Stopped,
}

impl Happening {
    const ALL: [Self; 24] = [
        Self::SegmentEnded,
        Self::SegmentRecycled,
        Self::SegmentRemoved,
        Self::SegmentKept,
        Self::RecordCopied,
        Self::TailCarried,
        Self::LetterRequeued,
        Self::LetterRefused,
        Self::DamageRescued,
        Self::RecordLost,
        Self::SnapshotForced,
        Self::DiskFull,
        Self::SpoolFull,
        Self::IdsEntered,
        Self::IdsNotEntered,
        Self::SinkTakenOutThatOwes,
        Self::NumberGivenAgain,
        Self::SinkDropped,
        Self::DeliveryAwaited,
        Self::DeadLetterAwaited,
        Self::DuplicateAnswered,
        Self::OtherBodyAnswered,
        Self::StartCrashed,
        Self::Stopped,
    ];

    fn can_happen(self, plan: FaultPlan) -> bool {
        match self {
            Self::SegmentKept | Self::DamageRescued | Self::RecordLost => plan == FaultPlan::Rot,
            Self::LetterRefused | Self::DiskFull | Self::IdsNotEntered => plan == FaultPlan::Faults,
            // Where a disk is not full, it is rare.
            Self::SnapshotForced => plan == FaultPlan::Faults,
            Self::SinkTakenOutThatOwes | Self::NumberGivenAgain | Self::SinkDropped => {
                plan != FaultPlan::Rot
            }
            _ => true,
        }
    }
}

/// What has happened so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct HappeningSet(u32);

impl HappeningSet {
    /// It has happened.
    pub fn note(&mut self, happening: Happening) {
        self.0 |= 1 << happening as u32;
    }

    /// What has happened elsewhere counts here as well.
    pub fn join(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// What can happen by this plan and has not.
    pub fn missing(self, plan: FaultPlan) -> Vec<Happening> {
        let mut all = Happening::ALL.to_vec();
        all.retain(|happening| {
            happening.can_happen(plan) && self.0 & (1 << *happening as u32) == 0
        });
        all
    }
}
