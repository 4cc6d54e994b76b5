//! The checker: what was sent and answered, held against what lies on the topics.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::Seen;
use super::delivery::verifies;
use super::load::{Journal, Sent, digest};

/// Whether an event may be on its topic twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copies {
    /// Nothing happened that could leave a publish in doubt.
    Once,
    /// A crash or an outage left the outcome of some publishes in doubt.
    InDoubt,
}

/// What the checker found: each list names the events that break a clause of the promise.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Events that were answered 200.
    pub acknowledged: usize,
    /// P2: answered 200, and neither on a topic nor set aside.
    pub lost: Vec<String>,
    /// P3: on a topic with bytes that nobody sent, or with a signature that does not cover them.
    pub changed: Vec<String>,
    /// P4: one event with two ids, or with another id than it was answered with.
    pub renamed: Vec<String>,
    /// P5: first occurrences of one object in another order than they were sent in.
    pub inversions: Vec<String>,
    /// P6: answered with anything but 200 or 503.
    pub misanswered: Vec<String>,
    /// Copies beyond the first.
    pub duplicates: usize,
}

impl Verdict {
    /// Holds the journal against everything that lies on the source's topics.
    pub fn of(journal: &Journal, seen: &[Seen]) -> Self {
        Self::with_set_aside(journal, seen, &[])
    }

    /// The same where the bridge keeps some events as dead letters: their ids.
    pub fn with_set_aside(journal: &Journal, seen: &[Seen], set_aside: &[String]) -> Self {
        let by_digest: HashMap<[u8; 32], &Sent> =
            journal.0.iter().map(|sent| (sent.digest, sent)).collect();
        let mut verdict = Self {
            acknowledged: journal.0.iter().filter(|sent| is_answered(sent)).count(),
            misanswered: journal.0.iter().flat_map(misanswers).collect(),
            ..Self::default()
        };
        let firsts = verdict.read(&by_digest, seen);
        let aside: HashSet<&str> = set_aside.iter().map(String::as_str).collect();
        for sent in journal.0.iter().filter(|sent| is_answered(sent)) {
            let kept = sent.ids().all(|id| aside.contains(id));
            if !firsts.contains_key(&sent.digest) && !kept {
                verdict.lost.push(name(sent));
            }
        }
        verdict.renamed.extend(
            journal
                .0
                .iter()
                .filter(|sent| sent.ids().collect::<HashSet<_>>().len() > 1)
                .map(name),
        );
        verdict.inversions = inversions(&by_digest, &firsts);
        verdict
    }

    /// Reads the topics: whether each message is what was sent, and where each event came first.
    fn read(
        &mut self,
        by_digest: &HashMap<[u8; 32], &Sent>,
        seen: &[Seen],
    ) -> HashMap<[u8; 32], usize> {
        let mut firsts = HashMap::new();
        for (place, message) in seen.iter().enumerate() {
            let body = digest(&message.body);
            let Some(sent) = by_digest.get(&body) else {
                self.changed.push(message.id.clone());
                continue;
            };
            let signature = message.header("hookferry-signature");
            let secrets = sent.attempts.iter().map(|attempt| attempt.secret);
            if !secrets
                .into_iter()
                .any(|secret| verifies(secret, signature, &message.body))
            {
                self.changed.push(name(sent));
            }
            if sent.ids().any(|id| id != message.id) {
                self.renamed.push(name(sent));
            }
            match firsts.entry(body) {
                Entry::Occupied(_) => self.duplicates += 1,
                Entry::Vacant(first) => {
                    first.insert(place);
                }
            }
        }
        firsts
    }

    /// The clauses that are broken, by the names of their lists.
    pub fn broken(&self) -> Vec<&'static str> {
        let lists = [
            ("lost", &self.lost),
            ("changed", &self.changed),
            ("renamed", &self.renamed),
            ("inversions", &self.inversions),
            ("misanswered", &self.misanswered),
        ];
        let broken = lists.iter().filter(|(_, list)| !list.is_empty());
        broken.map(|(name, _)| *name).collect()
    }

    /// Every clause that the topics can show holds.
    ///
    /// # Panics
    /// When one does not.
    pub fn assert_kept(&self, copies: Copies) {
        assert!(
            self.acknowledged > 0,
            "nothing was acknowledged, so nothing is shown"
        );
        assert!(self.lost.is_empty(), "lost: {:?}", self.lost);
        assert!(self.changed.is_empty(), "changed: {:?}", self.changed);
        assert!(self.renamed.is_empty(), "renamed: {:?}", self.renamed);
        assert!(
            self.inversions.is_empty(),
            "out of order: {:?}",
            self.inversions
        );
        assert!(
            self.misanswered.is_empty(),
            "answered neither 200 nor 503: {:?}",
            self.misanswered
        );
        assert!(
            copies == Copies::InDoubt || self.duplicates == 0,
            "{} copies although no outcome was in doubt",
            self.duplicates
        );
    }
}

fn name(sent: &Sent) -> String {
    format!("{} of {}", sent.number, sent.object)
}

fn is_answered(sent: &Sent) -> bool {
    sent.ids().next().is_some()
}

fn misanswers(sent: &Sent) -> Vec<String> {
    let wrong = |status: &u16| ![200, 503].contains(status);
    let statuses = sent.attempts.iter().filter_map(|attempt| attempt.status);
    statuses
        .filter(wrong)
        .map(|status| format!("{}: {status}", name(sent)))
        .collect()
}

/// Each object's events in the order of their first places; a number smaller than one before it is
/// an inversion.
fn inversions(
    by_digest: &HashMap<[u8; 32], &Sent>,
    firsts: &HashMap<[u8; 32], usize>,
) -> Vec<String> {
    let mut places: BTreeMap<usize, &Sent> = BTreeMap::new();
    for (digest, place) in firsts {
        places.insert(*place, by_digest[digest]);
    }
    let mut reached: HashMap<&str, usize> = HashMap::new();
    let mut found = Vec::new();
    for sent in places.values() {
        match reached.get(sent.object.as_str()) {
            Some(before) if *before > sent.number => {
                found.push(format!("{} after number {before}", name(sent)));
            }
            _ => {
                reached.insert(&sent.object, sent.number);
            }
        }
    }
    found
}

/// The checker itself: each clause is seen to break.
mod tests {
    use std::time::{Duration, Instant};

    use super::super::delivery::signature;
    use super::super::load::Attempt;
    use super::super::setup::SECRET;
    use super::*;

    fn good() -> (Journal, Vec<Seen>) {
        let body = |number: usize| format!("body{number}").into_bytes();
        let attempt = |status, id| Attempt {
            began: Instant::now(),
            took: Duration::ZERO,
            secret: SECRET,
            status,
            id,
        };
        let sent = |number: usize| Sent {
            object: "object".to_owned(),
            number,
            digest: digest(&body(number)),
            attempts: vec![
                attempt(None, None),
                attempt(Some(503), None),
                attempt(Some(200), Some(format!("id{number}"))),
            ],
        };
        let message = |number: usize| Seen {
            address: "topic".to_owned(),
            key: "object".to_owned(),
            id: format!("id{number}"),
            headers: BTreeMap::from([(
                "hookferry-signature".to_owned(),
                signature(SECRET, 7, &body(number)),
            )]),
            body: body(number),
        };
        (
            Journal((0..3).map(sent).collect()),
            (0..3).map(message).collect(),
        )
    }

    #[test]
    fn a_good_run_and_late_copies_are_taken() {
        let (journal, mut seen) = good();
        Verdict::of(&journal, &seen).assert_kept(Copies::Once);
        seen.push(seen[0].clone());
        let verdict = Verdict::of(&journal, &seen);
        assert_eq!((verdict.duplicates, verdict.acknowledged), (1, 3));
        verdict.assert_kept(Copies::InDoubt);
    }

    #[test]
    #[should_panic(expected = "no outcome was in doubt")]
    fn the_oracle_sees_a_copy_without_a_reason() {
        let (journal, mut seen) = good();
        seen.push(seen[0].clone());
        Verdict::of(&journal, &seen).assert_kept(Copies::Once);
    }

    #[test]
    #[should_panic(expected = "out of order")]
    fn the_oracle_sees_a_wrong_order() {
        let (journal, mut seen) = good();
        seen.swap(0, 1);
        Verdict::of(&journal, &seen).assert_kept(Copies::InDoubt);
    }

    #[test]
    #[should_panic(expected = "lost")]
    fn the_oracle_sees_a_lost_event() {
        let (journal, mut seen) = good();
        seen.pop();
        Verdict::of(&journal, &seen).assert_kept(Copies::InDoubt);
    }

    #[test]
    fn a_dead_letter_is_not_lost() {
        let (journal, mut seen) = good();
        seen.pop();
        Verdict::with_set_aside(&journal, &seen, &["id2".to_owned()]).assert_kept(Copies::Once);
    }

    #[test]
    #[should_panic(expected = "changed")]
    fn the_oracle_sees_a_changed_byte() {
        let (journal, mut seen) = good();
        let mut copy = seen[1].clone();
        copy.body[0] = b'X';
        seen.push(copy);
        let verdict = Verdict::of(&journal, &seen);
        assert!(verdict.lost.is_empty());
        verdict.assert_kept(Copies::InDoubt);
    }

    #[test]
    #[should_panic(expected = "changed")]
    fn the_oracle_sees_a_signature_that_does_not_cover_the_body() {
        let (journal, mut seen) = good();
        seen[1].headers = seen[0].headers.clone();
        Verdict::of(&journal, &seen).assert_kept(Copies::InDoubt);
    }

    #[test]
    #[should_panic(expected = "renamed")]
    fn the_oracle_sees_a_second_id() {
        let (journal, mut seen) = good();
        seen[1].id = "another".to_owned();
        Verdict::of(&journal, &seen).assert_kept(Copies::InDoubt);
    }

    #[test]
    #[should_panic(expected = "neither 200 nor 503")]
    fn the_oracle_sees_a_refusal_that_blames_the_sender() {
        let (mut journal, seen) = good();
        journal.0[1].attempts[0].status = Some(400);
        Verdict::of(&journal, &seen).assert_kept(Copies::InDoubt);
    }
}
