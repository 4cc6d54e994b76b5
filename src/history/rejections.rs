//! The deliveries that were turned away, counted by reason and source, with the last of each.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;

/// The last delivery that was turned away for a reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRejection {
    /// When.
    pub at: Timestamp,
    /// The label of its source.
    pub source: String,
    /// Whose it was.
    pub address: Option<IpAddr>,
    /// What its sender was told to ask by.
    pub request_id: String,
    /// The status of the answer.
    pub status: u16,
}

/// How often deliveries of a source were turned away for a reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectionCount {
    /// The reason of the answers.
    pub reason: &'static str,
    /// How often, since the start.
    pub count: u64,
    /// The last one.
    pub last: LastRejection,
}

/// All of them. Reasons are a closed set, and so are the labels of sources.
#[derive(Debug, Default)]
pub(super) struct Rejections(BTreeMap<(&'static str, String), RejectionCount>);

impl Rejections {
    pub fn add(&mut self, reason: &'static str, last: LastRejection) {
        let of_source = self.0.entry((reason, last.source.clone()));
        let counted = of_source.or_insert_with(|| RejectionCount {
            reason,
            count: 0,
            last: last.clone(),
        });
        counted.count += 1;
        counted.last = last;
    }

    pub fn counts(&self) -> Vec<RejectionCount> {
        self.0.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_and_source_has_its_count_and_its_last() {
        let mut rejections = Rejections::default();
        let add = |rejections: &mut Rejections, reason, source: &str, second| {
            let last = LastRejection {
                at: Timestamp::from_second(second).expect("in range"),
                source: source.to_owned(),
                address: None,
                request_id: String::new(),
                status: 401,
            };
            rejections.add(reason, last);
        };
        add(&mut rejections, "a", "one", 1);
        add(&mut rejections, "a", "other", 2);
        add(&mut rejections, "a", "one", 3);
        add(&mut rejections, "b", "one", 4);
        let found = rejections.counts().into_iter().map(|it| {
            let second = it.last.at.as_second();
            (it.reason, it.last.source, it.count, second)
        });
        let found: Vec<_> = found.collect();
        let expected = [("a", "one", 2, 3), ("a", "other", 1, 2), ("b", "one", 1, 4)];
        assert_eq!(found, expected.map(|(a, b, c, d)| (a, b.to_owned(), c, d)));
    }
}
