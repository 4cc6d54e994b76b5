//! The age of a signed time: the bridge's tolerance of 300 s to the second, on both sides, beside that of
//! each library.

use hookferry::source::TimeUnit;

use super::ours::Ours;
use super::rows::{NOW, Programs, Row};
use crate::harness::Question;

/// Linear signs it within the body.
const BODY: &[u8] = br#"{"webhookTimestamp":1700000000000}"#;
const TOLERANCE: i64 = 300;

/// A library, and for how many seconds it takes a delivery from the past and from the future; none where
/// it takes any.
const LIBRARIES: &[(&str, Option<i64>, Option<i64>)] = &[
    ("standard_webhooks", Some(300), Some(300)),
    ("svix", Some(300), Some(300)),
    // Looks at the past alone.
    ("stripe", Some(300), None),
    ("slack", Some(300), Some(300)),
    // Wants clocks that agree, and no retry that lies in a queue.
    ("paddle", Some(5), Some(5)),
    // Counts 300 s themselves as too old, and looks at the past alone.
    ("hubspot", Some(299), None),
    // Signs the time, and compares it with nothing.
    ("sendgrid", None, None),
    ("benchling", Some(300), Some(300)),
    ("linear", Some(60), Some(60)),
];

#[test]
fn a_signed_time_is_taken_for_as_long_as_the_tolerance_to_the_second() {
    let mut programs = Programs::default();
    for (library, past, future) in LIBRARIES {
        let row = Row::of(library);
        let ours = Ours::named(row.providers[0]);
        let [pair, _] = row.key.pairs();
        let headers = ours.sign(&row.unsigned(&pair, BODY));
        let at = |seconds: i64| Question {
            timestamp: NOW + seconds,
            ..row.signed(&pair, BODY, &headers)
        };
        let sdk = programs.of(row);
        let mut theirs = |seconds: i64| sdk.verify(&at(seconds)).is_ok();
        for (limit, sign) in [(past, 1), (future, -1)] {
            let Some(limit) = limit else {
                assert!(theirs(sign * 1_000_000), "{library}: any time, {sign}");
                continue;
            };
            assert!(theirs(sign * limit), "{library}: {limit} s, {sign}");
            assert!(!theirs(sign * (limit + 1)), "{library}: {limit} s, {sign}");
        }
        let refused = |reason: &str| Err(reason.to_owned());
        for (seconds, verdict) in [
            (TOLERANCE, Ok(())),
            (TOLERANCE + 1, refused("timestamp_stale")),
            (-TOLERANCE, Ok(())),
            (-TOLERANCE - 1, refused("timestamp_future")),
        ] {
            assert_eq!(ours.verify(&at(seconds)), verdict, "{library}: {seconds} s");
        }
    }
}

/// Seconds where milliseconds are signed are 1970, and milliseconds where seconds are signed are no time.
#[test]
fn another_unit_is_another_time_to_both() {
    let mut programs = Programs::default();
    for (library, header, reason) in [
        ("hubspot", "x-hubspot-request-timestamp", "timestamp_stale"),
        ("slack", "x-slack-request-timestamp", "timestamp_malformed"),
        (
            "standard_webhooks",
            "webhook-timestamp",
            "timestamp_malformed",
        ),
    ] {
        let row = Row::of(library);
        let ours = Ours::named(row.providers[0]);
        let [pair, _] = row.key.pairs();
        let wrong = match ours.unit() {
            TimeUnit::Milliseconds => NOW,
            _ => NOW * 1000,
        };
        let time = [(header.to_owned(), wrong.to_string())];
        let headers = ours.sign(&row.unsigned(&pair, BODY).with(&time));
        let question = row.signed(&pair, BODY, &headers);
        let theirs = programs.of(row).verify(&question);
        assert!(theirs.is_err(), "{library}: the library takes it");
        let ours = ours.verify(&question);
        assert_eq!(ours, Err(reason.to_owned()), "{library}");
    }
}
