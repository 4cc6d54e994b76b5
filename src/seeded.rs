//! Fault injection: bugs that the tests switch on to show that they are caught, and by which clause of
//! the promise. A check that cannot fail proves nothing.
//!
//! No released program has them: without the feature `seeded-bugs` [`is`] is constant, and the compiler
//! leaves the bugs out. With it a program has one only once its `main` calls `activate`, which only
//! `tests/seeded/program.rs` does.
//!
//! Most panics happen over a body that contains the [`TRIGGER`], so that a test chooses the request or
//! the task that fails.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// What a text must contain for a panic over it.
pub const TRIGGER: &[u8] = b"stumble";

/// One bug, named by what the bridge does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "seeded-bugs", derive(clap::ValueEnum))]
pub enum Bug {
    /// P1: answers a delivery before the commit that makes it durable.
    AcknowledgeBeforeCommit,
    /// P1: remembers the id of an event whose batch failed, and calls the next copy a duplicate.
    KeepIdOfFailedCommit,
    /// P1: answers for a batch that was written and not synced.
    SkipSync,
    /// P1: answers for a batch in a segment whose name is not durable.
    SkipFolderSync,
    /// P1: states that a segment has ended before the records behind that end are copied.
    EndBeforeCopies,
    /// P1: delivers what a start finds at the end of the log before it is written anew.
    DeliverUnprovenTail,
    /// P1: takes acknowledged records that are damaged for the torn end of the log.
    TakeDamageForTornEnd,
    /// P7: takes the torn end of the log for damage.
    TakeTornEndForDamage,
    /// P1: calls an event a duplicate of one that was lost.
    TrustLostIds,
    /// P2: recycles a segment before it is durable that nothing in it is waited for.
    RecycleBeforeProgress,
    /// P2: notes progress for events that no sink has confirmed.
    ProgressBeforeConfirm,
    /// P2: lets go of an event before its dead letter is durable.
    ProgressBeforeLetter,
    /// P5: gives sequences again, after a start, that the last batch may hold.
    ReuseSequences,
    /// P1: answers the duplicate of an event that is still on its way.
    AnswerDuplicateEarly,
    /// P2: lets go of a record when it is handed to the sink, not when the sink has confirmed it.
    ForgetBeforeReceipt,
    /// P2: takes a message that RabbitMQ returned for delivered.
    IgnoreReturn,
    /// P2: takes what RabbitMQ said of one message for the next one of its batch.
    TakeAnothersConfirm,
    /// P2: settles a refused event without writing the dead letter.
    DropDeadLetter,
    /// P3: encodes the JSON of a body again.
    EncodeBodyAgain,
    /// P4: makes an event's id of randomness.
    MakeRandomIds,
    /// P5: lets several events of one object be on their way at once.
    BypassKeyOrder,
    /// P6: blames the sender for what the bridge cannot do.
    BlameSender,
    /// P7: delivers without counting it.
    MissCount,
    /// P8: answers a delivery that it does not understand, and throws it away.
    DropQuarantined,
    /// A panic in a request.
    PanicInRequest,
    /// A panic in the spool's thread, in the middle of a transaction.
    PanicInSpool,
    /// A panic in a dispatcher.
    PanicInDispatcher,
    /// A dispatcher that hangs.
    HangInDispatcher,
    /// A panic in the thread of the embedded store.
    PanicInStore,
    /// A panic in the task that owns RabbitMQ's connection, when it loses one.
    PanicInSupervisor,
    /// A panic in the task that creates Kafka's topics, over the name of one.
    PanicInTopicCreation,
}

#[cfg(feature = "seeded-bugs")]
static ACTIVE: std::sync::OnceLock<Bug> = std::sync::OnceLock::new();

#[cfg(test)]
thread_local! {
    static OF_THIS_THREAD: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Runs `work` with a bug on this thread, for a unit test that shows that it is found.
#[cfg(test)]
pub(crate) fn with<T>(bug: Bug, work: impl FnOnce() -> T) -> T {
    OF_THIS_THREAD.set(Some(bug));
    let result = work();
    OF_THIS_THREAD.set(None);
    result
}

/// Switches on the bug that `HOOKFERRY_SEEDED_BUG` names, if it is set.
///
/// # Errors
/// When there is no such bug: without one a test would pass for the wrong reason. The text lists the
/// names.
#[cfg(feature = "seeded-bugs")]
pub fn activate() -> Result<(), String> {
    use clap::ValueEnum as _;

    let Ok(name) = std::env::var("HOOKFERRY_SEEDED_BUG") else {
        return Ok(());
    };
    let bug = Bug::from_str(&name, false).map_err(|_| {
        let known = Bug::value_variants().iter();
        let names: Vec<String> = known
            .filter_map(clap::ValueEnum::to_possible_value)
            .map(|value| value.get_name().to_owned())
            .collect();
        format!(
            "HOOKFERRY_SEEDED_BUG=\"{name}\" names no bug; there are {}",
            names.join(", ")
        )
    })?;
    ACTIVE
        .set(bug)
        .map_err(|_| "a bug is active already".to_owned())
}

/// Whether this program has the bug.
#[cfg(test)]
#[must_use]
pub fn is(bug: Bug) -> bool {
    OF_THIS_THREAD.get() == Some(bug)
}

/// Whether this program has the bug.
#[cfg(all(feature = "seeded-bugs", not(test)))]
#[must_use]
pub fn is(bug: Bug) -> bool {
    ACTIVE.get() == Some(&bug)
}

/// Whether this program has the bug: no.
#[cfg(not(any(feature = "seeded-bugs", test)))]
#[must_use]
pub const fn is(_: Bug) -> bool {
    false
}

/// Whether this program has the bug and was asked about this key before.
#[must_use]
pub fn again(bug: Bug, key: &[u8; 16]) -> bool {
    static KEYS: Mutex<Option<HashSet<[u8; 16]>>> = Mutex::new(None);
    if !is(bug) {
        return false;
    }
    let mut keys = KEYS.lock().unwrap_or_else(PoisonError::into_inner);
    !keys.get_or_insert_default().insert(*key)
}

/// The body as it is, or encoded again where that is the bug.
#[must_use]
pub fn kept_or_encoded_again(body: Bytes) -> Bytes {
    if !is(Bug::EncodeBodyAgain) {
        return body;
    }
    let encoded = serde_json::from_slice::<serde_json::Value>(&body).map(|json| json.to_string());
    encoded.map_or(body, Bytes::from)
}

fn has_trigger(text: &[u8]) -> bool {
    text.windows(TRIGGER.len()).any(|part| part == TRIGGER)
}

/// Hangs over a text with the [`TRIGGER`], where that is the bug.
pub fn hang_over(bug: Bug, text: &[u8]) {
    while is(bug) && has_trigger(text) {
        std::thread::park();
    }
}

/// Panics over a text with the [`TRIGGER`], where that is the bug.
///
/// # Panics
/// That is the purpose.
pub fn panic_over(bug: Bug, text: &[u8]) {
    assert!(
        !(is(bug) && has_trigger(text)),
        "a panic on purpose: {bug:?}"
    );
}
