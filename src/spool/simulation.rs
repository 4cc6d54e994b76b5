//! The whole spool on a simulated disk, against a model. One seed is one run: events come, are
//! confirmed, set aside and requeued in any order, sinks come and go, calls fail, sectors rot, the
//! process or the power fails at any call, and after each start the model says what must be there.
//!
//! The number of crash states of each plan is `HOOKFERRY_TEST_CRASH_STATES`; a failure names its
//! seed, and `HOOKFERRY_TEST_SEED` runs that one alone.

mod bugs;
pub(super) mod events;
mod fault_plan;
mod happenings;
mod model;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use fault_plan::FaultPlan;
use happenings::HappeningSet;
use world::World;

/// Crash states of each plan in a usual run.
const CRASH_STATES: u64 = 10_000;

/// Runs one seed. Returns the crash states it went through, and what has happened.
fn run(seed: u64, plan: FaultPlan) -> (u64, HappeningSet) {
    let mut world = World::new(seed, plan);
    world.run();
    (world.crashes(), world.seen())
}

/// Runs a seed; what it says where it fails.
fn attempt(seed: u64, plan: FaultPlan) -> Result<(u64, HappeningSet), String> {
    let result = catch_unwind(AssertUnwindSafe(|| run(seed, plan)));
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        text.unwrap_or_else(|| "a panic without a text".to_owned())
    })
}

fn wanted_states() -> u64 {
    let text = std::env::var("HOOKFERRY_TEST_CRASH_STATES");
    text.map_or(CRASH_STATES, |text| text.parse().expect("a number"))
}

/// Runs seeds on both cores until so many crash states were seen. Everything that can happen must
/// have happened in some of them.
fn explore(plan: FaultPlan, first_seed: u64) {
    if let Ok(seed) = std::env::var("HOOKFERRY_TEST_SEED") {
        run(seed.parse().expect("a number"), plan);
        return;
    }
    let (states, next) = (AtomicU64::new(0), AtomicU64::new(first_seed));
    let (wanted, seen) = (wanted_states(), Mutex::new(HappeningSet::default()));
    let work = || {
        while states.load(Ordering::Relaxed) < wanted {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            match attempt(seed, plan) {
                Ok((crashes, has_happened)) => {
                    states.fetch_add(crashes, Ordering::Relaxed);
                    seen.lock().expect("no panic").join(has_happened);
                }
                Err(text) => panic!("seed {seed} with {plan:?}: {text}"),
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        for thread in threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
    let seeds = next.load(Ordering::Relaxed) - first_seed;
    println!(
        "{plan:?}: {} crash states, seeds {first_seed} to {}",
        states.load(Ordering::Relaxed),
        first_seed + seeds - 1
    );
    let missing = seen.lock().expect("no panic").missing(plan);
    assert!(
        missing.is_empty() || wanted < CRASH_STATES,
        "there was no {missing:?}"
    );
}

#[test]
fn whatever_fails_what_was_acknowledged_is_delivered() {
    explore(FaultPlan::Crashes, 1);
}

#[test]
fn failing_calls_and_full_disks_lose_nothing() {
    explore(FaultPlan::Faults, 1_000_000_000);
}

#[test]
fn rot_is_counted_exactly_and_sending_again_heals_it() {
    explore(FaultPlan::Rot, 2_000_000_000);
}
