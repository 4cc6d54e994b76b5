//! A message like those of the bridge: the same headers, with values as long.

use uuid::{Builder, Uuid};

use crate::delivery::Events;

/// An id of the bridge's form: its first 48 bits are the time, the others differ.
pub fn id(events: Events, number: u64) -> Uuid {
    let micros = events.from.unsigned_abs() + number;
    let (milliseconds, rest) = (micros / 1000, number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let high = u128::from(milliseconds) << 80;
    Builder::from_custom_bytes((high | u128::from(rest)).to_be_bytes()).into_uuid()
}

/// The headers, without the prefix that a transport has for the first six.
pub fn headers(events: Events, number: u64) -> [(&'static str, String); 11] {
    let time = events.time(number);
    [
        ("specversion", "1.0".to_owned()),
        ("id", id(events, number).to_string()),
        ("source", "https://app.onecodex.com".to_owned()),
        ("type", "sample.uploaded".to_owned()),
        ("subject", events.object(number)),
        ("time", time.clone()),
        ("content-type", "application/json".to_owned()),
        ("hookferry-received-at", time),
        ("hookferry-origin", "webhook".to_owned()),
        (
            "hookferry-signature",
            format!("t=1800000000 v1={}", "0".repeat(64)),
        ),
        (
            "traceparent",
            format!("00-{:032x}-{:016x}-00", number + 1, number + 1),
        ),
    ]
}
