//! What the spool holds of the events that somebody looks for: those that wait, and dead letters.

use std::time::{Duration, Instant};

use crate::event::{Event, EventId};
use crate::spool::{DeadLetter, InspectionError, PendingEvent, SpoolView};

/// How long the spool is gone through: a million events would take the disk for long.
const MAX_TIME: Duration = Duration::from_secs(2);
/// Those of one reading.
const PAGE: usize = 500;
/// The same of dead letters, each of which is a file.
const PAGE_OF_FILES: usize = 50;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct SpoolSearch {
    /// Events that wait, without their bodies.
    pub waiting: Vec<PendingEvent>,
    /// Dead letters, without their bodies.
    pub dead_letters: Vec<DeadLetter>,
    /// Whether everything was looked at.
    pub is_whole: bool,
}

impl SpoolSearch {
    /// Looks for an event that was accepted with one of these sequences, and, where it is at none of
    /// them, through the spool: a dead letter that was put back has another sequence.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn of_event(
        view: &SpoolView,
        id: EventId,
        sequences: &[u64],
    ) -> Result<Self, InspectionError> {
        let mut found = Self {
            waiting: view.pending_at(sequences)?,
            dead_letters: view.dead_letters_of(sequences)?,
            is_whole: true,
        };
        found.waiting.retain(|it| it.event.id() == id);
        if found.waiting.is_empty() && found.dead_letters.is_empty() {
            return Self::through(view, |event| event.id() == id);
        }
        Ok(found)
    }

    /// Goes through the spool, oldest first, for as long as that may take.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn through(
        view: &SpoolView,
        is_wanted: impl Fn(&Event) -> bool,
    ) -> Result<Self, InspectionError> {
        let (mut found, until) = (Self::default(), Instant::now() + MAX_TIME);
        let all_dead_letters = found.look_at_dead_letters(view, until, &is_wanted)?;
        let all_waiting = found.look_at_waiting(view, until, &is_wanted)?;
        found.is_whole = all_waiting && all_dead_letters;
        Ok(found)
    }

    fn look_at_waiting(
        &mut self,
        view: &SpoolView,
        until: Instant,
        is_wanted: impl Fn(&Event) -> bool,
    ) -> Result<bool, InspectionError> {
        let mut after = 0;
        while Instant::now() < until {
            let page = view.pending(after, PAGE, false)?;
            let Some(last) = page.last() else {
                return Ok(true);
            };
            after = last.sequence;
            let wanted = page.into_iter().filter(|it| is_wanted(&it.event));
            self.waiting.extend(wanted);
        }
        Ok(false)
    }

    fn look_at_dead_letters(
        &mut self,
        view: &SpoolView,
        until: Instant,
        is_wanted: impl Fn(&Event) -> bool,
    ) -> Result<bool, InspectionError> {
        let mut after = None;
        while Instant::now() < until {
            let page = view.dead_letters(after.as_ref(), PAGE_OF_FILES, false)?;
            let Some(last) = page.last() else {
                return Ok(true);
            };
            after = Some(last.name.clone());
            let is_wanted = |it: &DeadLetter| it.event.as_ref().is_some_and(&is_wanted);
            self.dead_letters.extend(page.into_iter().filter(is_wanted));
        }
        Ok(false)
    }

    /// What to say where not everything was looked at.
    pub fn note(&self) -> Option<String> {
        let text = "So many events wait, or are set aside, that not all of them were looked at.";
        (!self.is_whole).then(|| text.to_owned())
    }
}
