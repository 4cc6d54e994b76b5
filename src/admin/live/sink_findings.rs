//! What is not as it should be with a sink.

use jiff::Timestamp;

use super::component_status::SinkStatus;
use super::status_finding::{StatusFinding, StatusLevel, finding, span};

/// An event that waits for longer than this although its sink answers is late, in seconds.
const LATE: i64 = 600;

/// Everything that is wrong with a sink.
pub(super) fn of_sink(sink: &SinkStatus, now: Timestamp) -> Vec<StatusFinding> {
    let mut findings: Vec<StatusFinding> = of_connection(sink, now)
        .or_else(|| of_lateness(sink, now))
        .into_iter()
        .collect();
    let (name, section) = (&sink.sink, "unroutable-dead-letters-quarantine");
    if sink.unroutable > 0 {
        let text = format!(
            "Sink {name} has no place for {}: no such topic, no binding, no permission, or a full queue.",
            events(sink.unroutable)
        );
        let remedy = "`hookferry check --connect` names what is missing; they are published once it is there.";
        findings.push(finding(StatusLevel::Bad, text, (remedy, section)));
    }
    if sink.dead_letters > 0 {
        let text = format!(
            "{} set aside as dead letters of sink {name}.",
            is_or_are(sink.dead_letters)
        );
        let remedy = "Look at the reasons below, then requeue or drop them.";
        findings.push(finding(StatusLevel::Warning, text, (remedy, section)));
    }
    findings
}

fn of_connection(sink: &SinkStatus, now: Timestamp) -> Option<StatusFinding> {
    let (name, waiting) = (&sink.sink, waiting(sink, now));
    if !sink.served {
        if sink.pending == 0 {
            return None;
        }
        let text = format!(
            "{} for sink {name}, which is not configured.",
            wait(sink.pending)
        );
        let remedy = "Configure the sink again, or drop what waits for it.";
        return Some(finding(
            StatusLevel::Warning,
            text,
            (remedy, "the-spool-fills"),
        ));
    }
    let what = if sink.blocked {
        "has asked publishers to stop (connection.blocked)"
    } else if !sink.connected {
        "does not answer"
    } else if sink.paused {
        "takes no events now"
    } else {
        return None;
    };
    let level = if sink.pending > 0 {
        StatusLevel::Bad
    } else {
        StatusLevel::Warning
    };
    let text = format!("Sink {name} {what}; {waiting}.");
    let remedy = "Bring the broker back; deliveries are accepted meanwhile, and nothing has to be done to the bridge.";
    Some(finding(level, text, (remedy, "a-broker-is-down")))
}

/// A sink that answers, and does not keep up.
fn of_lateness(sink: &SinkStatus, now: Timestamp) -> Option<StatusFinding> {
    let age = now.duration_since(sink.oldest_at?).as_secs();
    if sink.pending == 0 || sink.unroutable > 0 || age < LATE {
        return None;
    }
    let text = format!(
        "Sink {} does not keep up: {}.",
        sink.sink,
        waiting(sink, now)
    );
    let remedy =
        "See whether what waits becomes less; the sink, or the way to it, may be too slow.";
    Some(finding(
        StatusLevel::Warning,
        text,
        (remedy, "a-broker-is-down"),
    ))
}

fn waiting(sink: &SinkStatus, now: Timestamp) -> String {
    match (sink.pending, sink.oldest_at) {
        (0, _) => "nothing waits for it".to_owned(),
        (pending, None) => format!("{} for it", wait(pending)),
        (pending, Some(oldest)) => {
            let age = now.duration_since(oldest).as_secs().max(0);
            format!("{} for it, the oldest for {}", wait(pending), span(age))
        }
    }
}

fn events(count: u64) -> String {
    if count == 1 {
        "1 event".to_owned()
    } else {
        format!("{count} events")
    }
}

fn wait(count: u64) -> String {
    let verb = if count == 1 { "waits" } else { "wait" };
    format!("{} {verb}", events(count))
}

fn is_or_are(count: u64) -> String {
    let verb = if count == 1 { "is" } else { "are" };
    format!("{} {verb}", events(count))
}
