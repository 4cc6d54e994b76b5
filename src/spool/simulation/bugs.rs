//! Each bug that the simulation must find: it is planted, and some seed must fail.
//!
//! Two rules of the log have no bug here, because breaking them loses nothing. That a header is
//! synced before its file has a segment's name, and a recycled file's name before it is overwritten,
//! is kept so that no file ever has a segment's name and another's header, which a start would report
//! as damage; but such a header counts for nothing, salt and number are then those of the batches,
//! and the first batch is written only after both syncs in either order.

use super::attempt;
use super::fault_plan::FaultPlan;
use crate::seeded::{self, Bug};

/// Seeds that are tried before a bug counts as not found.
const MOST_SEEDS: u64 = 400;

fn is_found(bug: Bug, plan: FaultPlan) {
    let found = seeded::with(bug, || {
        (1..=MOST_SEEDS).find_map(|seed| Some((seed, attempt(seed, plan).err()?)))
    });
    let (seed, text) = found.unwrap_or_else(|| panic!("{bug:?} was not found"));
    let first = text.lines().next().unwrap_or_default();
    println!("{bug:?}: seed {seed}: {first}");
}

macro_rules! found {
    ($($name:ident: $bug:ident, $plan:ident;)+) => {
        $(#[test]
        fn $name() {
            is_found(Bug::$bug, FaultPlan::$plan);
        })+
    };
}

found! {
    an_answer_before_the_commit_is_found: AcknowledgeBeforeCommit, Faults;
    an_id_that_is_kept_of_a_failed_commit_is_found: KeepIdOfFailedCommit, Faults;
    a_sync_left_out_is_found: SkipSync, Crashes;
    a_folder_sync_left_out_is_found: SkipFolderSync, Crashes;
    an_end_stated_before_the_copies_is_found: EndBeforeCopies, Crashes;
    a_tail_delivered_before_it_is_durable_is_found: DeliverUnprovenTail, Crashes;
    a_torn_end_taken_for_damage_is_found: TakeTornEndForDamage, Crashes;
    damage_taken_for_a_torn_end_is_found: TakeDamageForTornEnd, Rot;
    a_trusted_id_of_a_lost_event_is_found: TrustLostIds, Rot;
    a_segment_recycled_before_progress_is_durable_is_found: RecycleBeforeProgress, Crashes;
    progress_before_the_confirm_is_found: ProgressBeforeConfirm, Crashes;
    progress_before_the_letter_is_found: ProgressBeforeLetter, Faults;
    sequences_given_twice_are_found: ReuseSequences, Crashes;
}
