//! Bugs on purpose. A check is worth something only if it can fail, so the suite starts the bridge
//! with one of these bugs and asserts that it is caught, and by which clause of the promise.
//!
//! None of it is in a released program: without the feature `seeded-bugs` a constant answers every
//! question, and the compiler leaves the bugs out. With it a program is sound, too, until its `main`
//! calls `sow`, which only `tests/seeded/program.rs` does.
//!
//! Panics are bugs like the others. Most strike over a body with a [`MARK`] in it, so that a test
//! says which request or task it wants to see fall.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// What must be in a text for a panic to strike over it.
pub const MARK: &[u8] = b"stumble";

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
    BypassGate,
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
    /// A dispatcher that never comes round again.
    StickInDispatcher,
    /// A panic in the thread of the embedded store.
    PanicInStore,
    /// A panic in the task that owns RabbitMQ's connection, when it loses one.
    PanicInSupervisor,
    /// A panic in the task that creates Kafka's topics, over the name of one.
    PanicInTopicCreation,
}

#[cfg(feature = "seeded-bugs")]
static SOWN: std::sync::OnceLock<Bug> = std::sync::OnceLock::new();

#[cfg(test)]
thread_local! {
    static OF_THIS_THREAD: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug on this thread for as long as `work` runs: a unit test that shows that it is found.
#[cfg(test)]
pub(crate) fn with<T>(bug: Bug, work: impl FnOnce() -> T) -> T {
    OF_THIS_THREAD.set(Some(bug));
    let result = work();
    OF_THIS_THREAD.set(None);
    result
}

/// Plants the bug that `HOOKFERRY_SEEDED_BUG` names, if it is set.
///
/// # Errors
/// When there is no such bug: a sound program that was meant to be broken would make a test pass for the
/// wrong reason. The text lists the names.
#[cfg(feature = "seeded-bugs")]
pub fn sow() -> Result<(), String> {
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
    SOWN.set(bug)
        .map_err(|_| "a bug has been planted before".to_owned())
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
    SOWN.get() == Some(&bug)
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

/// The body as it is, or what becomes of it where the bug is to encode it again.
#[must_use]
pub fn kept_or_encoded_again(body: Bytes) -> Bytes {
    if !is(Bug::EncodeBodyAgain) {
        return body;
    }
    let encoded = serde_json::from_slice::<serde_json::Value>(&body).map(|json| json.to_string());
    encoded.map_or(body, Bytes::from)
}

fn is_marked(text: &[u8]) -> bool {
    text.windows(MARK.len()).any(|part| part == MARK)
}

/// Never returns from a text with the [`MARK`], where that is the bug.
pub fn stick(bug: Bug, text: &[u8]) {
    while is(bug) && is_marked(text) {
        std::thread::park();
    }
}

/// Panics over a text with the [`MARK`], where that is the bug.
///
/// # Panics
/// That is the purpose.
pub fn stumble(bug: Bug, text: &[u8]) {
    let marked = || is_marked(text);
    assert!(!(is(bug) && marked()), "a panic on purpose: {bug:?}");
}
