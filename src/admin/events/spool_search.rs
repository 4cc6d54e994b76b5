//! What the spool holds of the events that somebody looks for: those that wait, and dead letters.

use crate::event::Event;
use crate::spool::{DeadLetter, InspectionError, PendingEvent, SpoolView};

/// Events that are looked at, of each: a million would take the disk for long.
const MAX_LOOKED_AT: usize = 20_000;
/// Those of one reading.
const PAGE: usize = 1000;

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
    /// Goes through the spool, oldest first.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn run(
        view: &SpoolView,
        is_wanted: impl Fn(&Event) -> bool,
    ) -> Result<Self, InspectionError> {
        let mut found = Self::default();
        let all_waiting = found.look_at_waiting(view, &is_wanted)?;
        let all_dead_letters = found.look_at_dead_letters(view, &is_wanted)?;
        found.is_whole = all_waiting && all_dead_letters;
        Ok(found)
    }

    fn look_at_waiting(
        &mut self,
        view: &SpoolView,
        is_wanted: impl Fn(&Event) -> bool,
    ) -> Result<bool, InspectionError> {
        let (mut after, mut looked_at) = (0, 0);
        while looked_at < MAX_LOOKED_AT {
            let page = view.pending(after, PAGE, false)?;
            let Some(last) = page.last() else {
                return Ok(true);
            };
            after = last.sequence;
            looked_at += page.len();
            let wanted = page.into_iter().filter(|it| is_wanted(&it.event));
            self.waiting.extend(wanted);
        }
        Ok(false)
    }

    fn look_at_dead_letters(
        &mut self,
        view: &SpoolView,
        is_wanted: impl Fn(&Event) -> bool,
    ) -> Result<bool, InspectionError> {
        let (mut after, mut looked_at) = (None, 0);
        while looked_at < MAX_LOOKED_AT {
            let page = view.dead_letters(after.as_ref(), PAGE, false)?;
            let Some(last) = page.last() else {
                return Ok(true);
            };
            after = Some(last.name.clone());
            looked_at += page.len();
            let is_wanted = |it: &DeadLetter| it.event.as_ref().is_some_and(&is_wanted);
            self.dead_letters.extend(page.into_iter().filter(is_wanted));
        }
        Ok(false)
    }

    /// What to say where not everything was looked at.
    pub fn note(&self) -> Option<String> {
        let text = format!(
            "Of what waits and of the dead letters, only the first {MAX_LOOKED_AT} each were looked at."
        );
        (!self.is_whole).then_some(text)
    }
}
