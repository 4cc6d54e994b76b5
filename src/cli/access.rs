//! Access to the spool for an operator: through the bridge that runs on it, or, where none runs,
//! straight to the files. A command that only looks changes nothing there and needs no right to.

mod direct;
mod running;

use clap::Args;

use super::config_file::{ConfigFile, admin_url};
use super::failure::Failure;
use super::terminal_log;
use super::token::TokenPlace;
use crate::config::Settings;
use crate::name::SinkName;
use crate::spool::{DeadLetter, DeadLetterName, PendingEvent, SpoolOverview};
use direct::{Held, Stopped};
use running::Running;

/// What can be seen of a spool.
pub(super) trait Look {
    /// The spool in numbers.
    fn overview(&self) -> Result<SpoolOverview, Failure>;
    /// The events after a sequence, oldest first.
    fn pending(&self, page: &Page<u64>) -> Result<Vec<PendingEvent>, Failure>;
    /// One event, with its body.
    fn pending_one(&self, sequence: u64) -> Result<PendingEvent, Failure>;
    /// The dead letters after one, oldest first.
    fn dead_letters(&self, page: &Page<DeadLetterName>) -> Result<Vec<DeadLetter>, Failure>;
    /// One dead letter, with its body.
    fn dead_letter(&self, name: &DeadLetterName) -> Result<DeadLetter, Failure>;
}

/// What can be changed in a spool.
pub(super) trait Change {
    /// What can be seen of it meanwhile.
    fn look(&self) -> &dyn Look;
    /// Drops what waits for a sink; returns how many that were.
    fn drop_pending(&self, sink: &SinkName) -> Result<u64, Failure>;
    /// Puts a dead letter back among the events that wait.
    fn requeue(&self, name: &DeadLetterName) -> Result<(), Failure>;
    /// Drops a dead letter.
    fn drop_dead_letter(&self, name: &DeadLetterName) -> Result<(), Failure>;
}

/// Which part of a list.
#[derive(Debug, Clone)]
pub(super) struct Page<P> {
    /// The place before its first entry; none at the beginning.
    pub after: Option<P>,
    /// The most entries.
    pub limit: usize,
    /// Whether the bodies come along.
    pub bodies: bool,
}

impl<P: Clone> Page<P> {
    /// As many entries as this page may have, or all there are. One answer is bounded in bytes and
    /// may hold fewer, so it is asked until there are enough, or no more.
    pub fn fill<T>(
        &self,
        ask: impl Fn(&Self) -> Result<Vec<T>, Failure>,
        place: impl Fn(&T) -> P,
    ) -> Result<Vec<T>, Failure> {
        let (mut next, mut entries) = (self.clone(), Vec::new());
        while next.limit > 0 {
            let found = ask(&next)?;
            let Some(last) = found.last() else { break };
            next.after = Some(place(last));
            next.limit = next.limit.saturating_sub(found.len());
            entries.extend(found);
        }
        Ok(entries)
    }
}

/// Whose spool it is.
#[derive(Debug, Args)]
pub(super) struct SpoolPlace {
    #[command(flatten)]
    config: ConfigFile,
    /// The admin listener of the bridge that runs; from the configuration unless given.
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    #[command(flatten)]
    token: TokenPlace,
}

impl SpoolPlace {
    /// Looks at the files; where a bridge has them, asks that bridge.
    pub(super) fn look(&self) -> Result<Box<dyn Look>, Failure> {
        terminal_log::start();
        let settings = self.config.load_to_look()?;
        if self.admin.is_none()
            && let Some(stopped) = Stopped::open(&settings)?
        {
            return Ok(Box::new(stopped));
        }
        Ok(Box::new(self.running(&settings)?))
    }

    /// Opens the spool for a change, and keeps bridges away meanwhile; where a bridge has it, goes
    /// through that bridge.
    pub(super) fn change(&self) -> Result<Box<dyn Change>, Failure> {
        terminal_log::start();
        let settings = self.config.load()?;
        if self.admin.is_none()
            && let Some(held) = Held::open(&settings)?
        {
            return Ok(Box::new(held));
        }
        Ok(Box::new(self.running(&settings)?))
    }

    fn running(&self, settings: &Settings) -> Result<Running, Failure> {
        let admin = &settings.admin;
        let url = admin_url(self.admin.as_deref(), ("admin.listen", admin.listen))?;
        let token = self.token.read(admin.rules.token.as_ref())?;
        Ok(Running::new(url, token))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Asks for so many of the numbers up to 10, of which an answer has three at most: what came,
    /// and how often it was asked.
    fn filled(after: Option<u64>, limit: usize) -> (Vec<u64>, usize) {
        let asked = Cell::new(0);
        let page = Page {
            after,
            limit,
            bodies: false,
        };
        let ask = |page: &Page<u64>| {
            asked.set(asked.get() + 1);
            let first = page.after.unwrap_or(0) + 1;
            Ok((first..=10).take(page.limit.min(3)).collect())
        };
        let entries = page.fill(ask, |number: &u64| *number);
        (entries.expect("nothing fails"), asked.get())
    }

    #[test]
    fn a_page_is_filled_by_as_many_answers_as_it_takes() {
        assert_eq!(filled(None, 5), ((1..=5).collect(), 2));
        assert_eq!(filled(Some(7), 100), ((8..=10).collect(), 2));
        assert_eq!(filled(Some(10), 100), (Vec::new(), 1));
        assert_eq!(filled(None, 0), (Vec::new(), 0));
    }
}
