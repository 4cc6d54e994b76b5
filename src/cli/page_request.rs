//! Which part of a list is asked for, and asking for it answer by answer.

use super::command_error::CommandError;

/// A part of a list.
#[derive(Debug, Clone)]
pub(super) struct PageRequest<P> {
    /// The entry before its first one; none at the beginning.
    pub after: Option<P>,
    /// The most entries.
    pub limit: usize,
    /// Whether the bodies come along.
    pub bodies: bool,
}

impl<P: Clone> PageRequest<P> {
    /// All of a list.
    pub(super) fn all(bodies: bool) -> Self {
        Self {
            after: None,
            limit: usize::MAX,
            bodies,
        }
    }

    /// Asks until there are as many entries as this wants, or no more: one answer is bounded in bytes
    /// and may hold fewer.
    pub(super) fn each_answer<T>(
        &self,
        ask: impl Fn(&Self) -> Result<Vec<T>, CommandError>,
        position: impl Fn(&T) -> P,
        mut take: impl FnMut(Vec<T>) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        let mut next = self.clone();
        while next.limit > 0 {
            let entries = ask(&next)?;
            let Some(last) = entries.last() else { break };
            next.after = Some(position(last));
            next.limit = next.limit.saturating_sub(entries.len());
            take(entries)?;
        }
        Ok(())
    }

    /// The entries of all these answers.
    pub(super) fn entries<T>(
        &self,
        ask: impl Fn(&Self) -> Result<Vec<T>, CommandError>,
        position: impl Fn(&T) -> P,
    ) -> Result<Vec<T>, CommandError> {
        let mut all = Vec::new();
        self.each_answer(ask, position, |entries| {
            all.extend(entries);
            Ok(())
        })?;
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Asks for so many of the numbers up to 10, of which an answer has three at most: what came,
    /// and how often it was asked.
    fn entries(after: Option<u64>, limit: usize) -> (Vec<u64>, usize) {
        let asked = Cell::new(0);
        let page = PageRequest {
            after,
            limit,
            bodies: false,
        };
        let ask = |page: &PageRequest<u64>| {
            asked.set(asked.get() + 1);
            let first = page.after.unwrap_or(0) + 1;
            Ok((first..=10).take(page.limit.min(3)).collect())
        };
        let entries = page.entries(ask, |number: &u64| *number);
        (entries.expect("nothing fails"), asked.get())
    }

    #[test]
    fn a_page_is_filled_by_as_many_answers_as_it_takes() {
        assert_eq!(entries(None, 5), ((1..=5).collect(), 2));
        assert_eq!(entries(Some(7), 100), ((8..=10).collect(), 2));
        assert_eq!(entries(Some(10), 100), (Vec::new(), 1));
        assert_eq!(entries(None, 0), (Vec::new(), 0));
    }
}
