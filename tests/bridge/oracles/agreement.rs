//! Forty bodies: what a vendor's library signs is taken by the bridge's, and the other way round; a
//! changed byte and another secret are refused by both.

use super::bodies::{Body, bodies};
use super::ours::Ours;
use super::rows::{Pair, ROWS, Row};
use crate::harness::{Language, Sdk};

/// A longer body is signed and verified once, and not changed.
const LONG: usize = 100_000;

#[test]
fn the_libraries_for_python_agree() {
    agrees(Language::Python, 11);
}

#[test]
fn the_libraries_for_node_agree() {
    agrees(Language::Node, 5);
}

#[test]
fn the_libraries_for_go_agree() {
    agrees(Language::Go, 1);
}

fn agrees(language: Language, libraries: usize) {
    let (mut sdk, bodies) = (Sdk::start(language), bodies());
    let rows = ROWS.iter().filter(|row| row.language == language);
    let mut asked = 0;
    for row in rows {
        let [pair, other] = row.key.pairs();
        let ours: Vec<Ours> = row.providers.iter().map(|name| Ours::named(name)).collect();
        let mut case = Case {
            sdk: &mut sdk,
            row,
            ours: &ours,
            pair: &pair,
            other: &other,
        };
        let sent = bodies.iter().filter(|body| case.holds(body)).count();
        // Linear's have a field more, so that they are objects.
        let expected = if row.library == "linear" { 27 } else { 40 };
        assert_eq!(sent, expected, "bodies for {}", row.library);
        asked += 1;
    }
    assert_eq!(asked, libraries);
}

struct Case<'a> {
    sdk: &'a mut Sdk,
    row: &'a Row,
    ours: &'a [Ours],
    pair: &'a Pair,
    other: &'a Pair,
}

impl Case<'_> {
    /// Whether there is such a body.
    fn holds(&mut self, body: &Body) -> bool {
        let Some(bytes) = self.row.prepared(body) else {
            return false;
        };
        let what = format!(
            "{:?} {}, {}",
            self.row.language, self.row.library, body.name
        );
        self.ours_takes_theirs(&bytes, &what);
        self.theirs_takes_ours(body, &bytes, &what);
        true
    }

    fn ours_takes_theirs(&mut self, bytes: &[u8], what: &str) {
        let row = self.row;
        let headers = match self.sdk.sign(&row.unsigned(self.pair, bytes)) {
            Ok(headers) => headers,
            Err(reason) if row.signs => {
                let expected = row.signing_refusal(bytes);
                let expected = expected.unwrap_or_else(|| panic!("{what}: {reason}"));
                assert!(reason.starts_with(expected), "{what}: {reason}");
                return;
            }
            Err(reason) => {
                assert!(reason.ends_with(" only"), "{what}: {reason}");
                return;
            }
        };
        assert!(row.signs && row.signing_refusal(bytes).is_none(), "{what}");
        for ours in self.ours {
            let verdict = ours.verify(&row.signed(self.pair, bytes, &headers));
            assert_eq!(verdict, Ok(()), "{what}: {}", ours.0.name);
        }
    }

    fn theirs_takes_ours(&mut self, body: &Body, bytes: &[u8], what: &str) {
        let (row, first) = (self.row, &self.ours[0]);
        let headers = first.sign(&row.unsigned(self.pair, bytes));
        for alike in &self.ours[1..] {
            let signed = alike.sign(&row.unsigned(self.pair, bytes));
            assert_eq!(signed, headers, "{what}: {}", alike.0.name);
        }
        let verdict = self.sdk.verify(&row.signed(self.pair, bytes, &headers));
        match row.refusal(bytes) {
            None => assert_eq!(verdict, Ok(()), "{what}"),
            Some(expected) => {
                let reason = verdict.expect_err(what);
                assert!(reason.starts_with(expected), "{what}: {reason}");
            }
        }
        let verdict = first.verify(&row.signed(self.pair, bytes, &headers));
        assert_eq!(verdict, our_verdict(row, body), "{what}: our own");
        if bytes.len() > LONG {
            return;
        }
        let changed = changed(bytes);
        for (pair, bytes, which) in [
            (self.pair, changed.as_slice(), "a byte changed"),
            (self.other, bytes, "another secret"),
        ] {
            let question = row.signed(pair, bytes, &headers);
            let theirs = self.sdk.verify(&question);
            assert!(theirs.is_err(), "{what}: {which}, and the library takes it");
            let ours = first.verify(&question);
            assert_eq!(ours, mismatch(), "{what}: {which}");
        }
    }
}

/// What the bridge says of a body that was rightly signed. Linear's time is read from the body, and only
/// where no two readers could find two times in it: the library takes the last of two fields.
fn our_verdict(row: &Row, body: &Body) -> Result<(), String> {
    match (row.library, body.name) {
        ("linear", "a field that is there twice") => Err("timestamp_malformed".to_owned()),
        _ => Ok(()),
    }
}

fn mismatch() -> Result<(), String> {
    Err("signature_mismatch".to_owned())
}

/// Another last byte, which is ASCII in all of the bodies; one more where there is none.
fn changed(bytes: &[u8]) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    match changed.last_mut() {
        Some(last) => *last ^= 1,
        None => changed.push(b'x'),
    }
    changed
}
