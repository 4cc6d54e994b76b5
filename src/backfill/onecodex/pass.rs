//! One way through a list of pages that may change meanwhile.

use std::collections::HashSet;

use super::row::RowKey;
use crate::source::ApiError;

/// After so many pages in a row without a row that is new to the pass, the list goes in a circle.
const MAX_IDLE_PAGES: u32 = 10;

/// Where a page is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Pages are counted from 1.
    Number(u64),
    /// The provider has said where.
    Cursor(String),
}

impl Place {
    pub fn is_behind_the_first(&self) -> bool {
        *self != Self::Number(1)
    }

    /// The place behind this one, whose answer has named this cursor. Which of the two ways is gone, the
    /// first answer decides.
    pub fn next(&self, cursor: Option<&str>) -> Option<Self> {
        let cursor = cursor.filter(|it| !it.is_empty());
        match (self, cursor) {
            (Self::Number(1) | Self::Cursor(_), Some(cursor)) => {
                Some(Self::Cursor(cursor.to_owned()))
            }
            (Self::Cursor(_), None) => None,
            (Self::Number(page), _) => Some(Self::Number(page + 1)),
        }
    }
}

/// One way through the list.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// From 1.
    pub number: u32,
    /// Where it goes on; none, once it has ended.
    pub next: Option<Place>,
    pub requests: u32,
    /// Whether it has found what no pass before it had.
    pub found_new: bool,
    /// Its rows: one that comes twice has pushed another one out of its page.
    rows: HashSet<RowKey>,
    idle_pages: u32,
}

impl Pass {
    pub fn of(number: u32) -> Self {
        Self {
            number,
            next: Some(Place::Number(1)),
            ..Self::default()
        }
    }

    /// Takes the rows of a page, behind which `next` would be.
    ///
    /// # Errors
    /// When the list goes in a circle before all rows were seen.
    pub fn take(
        &mut self,
        rows: impl ExactSizeIterator<Item = RowKey>,
        next: Option<Place>,
        total: Option<u64>,
    ) -> Result<(), ApiError> {
        self.requests += 1;
        let (is_empty, before) = (rows.len() == 0, self.rows.len());
        self.rows.extend(rows);
        let is_idle = self.rows.len() == before;
        self.idle_pages = if is_idle { self.idle_pages + 1 } else { 0 };
        let is_counted = matches!(next, Some(Place::Number(_)));
        let is_whole = total.is_some_and(|total| self.rows.len() as u64 >= total);
        let is_over = is_empty || (is_counted && is_whole);
        self.next = next.filter(|_| !is_over);
        if self.next.is_some() && self.idle_pages >= MAX_IDLE_PAGES {
            let said = "its pages repeat each other and come to no end";
            return Err(ApiError::Invalid(said.to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> RowKey {
        RowKey::of(&[number])
    }

    /// Takes these pages, of a list that says it has so many rows; the places the pass goes on at.
    fn places(pages: &[&[u8]], total: Option<u64>) -> Vec<Option<Place>> {
        let mut pass = Pass::of(1);
        let mut places = Vec::new();
        for (page, number) in pages.iter().zip(2..) {
            let rows = page.iter().map(|it| key(*it)).collect::<Vec<_>>();
            let taken = pass.take(rows.into_iter(), Some(Place::Number(number)), total);
            assert_eq!(taken, Ok(()));
            places.push(pass.next.clone());
        }
        places
    }

    #[test]
    fn pages_are_counted_until_all_rows_were_seen() {
        let on = |number| Some(Place::Number(number));
        assert_eq!(places(&[&[1, 2], &[3]], Some(3)), [on(2), None]);
        assert_eq!(
            places(&[&[1, 2], &[2], &[3]], Some(3)),
            [on(2), on(3), None]
        );
        assert_eq!(places(&[&[1], &[2], &[]], None), [on(2), on(3), None]);
        assert_eq!(places(&[&[1], &[]], Some(9)), [on(2), None]);
        assert_eq!(places(&[&[]], Some(0)), [None]);
    }

    #[test]
    fn pages_that_repeat_each_other_come_to_an_end() {
        let mut pass = Pass::of(1);
        let mut taken = 0;
        let cursor = Some(Place::Cursor("again".to_owned()));
        while pass
            .take([key(1)].into_iter(), cursor.clone(), Some(2))
            .is_ok()
        {
            taken += 1;
        }
        assert_eq!(taken, MAX_IDLE_PAGES);
    }

    #[test]
    fn the_first_answer_decides_whether_there_are_cursors() {
        let cursor = |text: &str| Some(Place::Cursor(text.to_owned()));
        assert_eq!(Place::Number(1).next(Some("a")), cursor("a"));
        assert_eq!(Place::Number(1).next(None), Some(Place::Number(2)));
        assert_eq!(Place::Number(2).next(Some("a")), Some(Place::Number(3)));
        let on_cursor = Place::Cursor("a".to_owned());
        assert_eq!(on_cursor.next(Some("b")), cursor("b"));
        assert_eq!(on_cursor.next(Some("")), None);
    }
}
