//! The log lines of refused requests: one each, so that the `request_id` of an answer leads
//! to its reason.
//!
//! At `debug` every line is there. At `info` there are a few a minute for each reason: whoever sends
//! what is refused must not be able to fill the disk, and a scanner's requests to paths of no
//! webhook are not worth a line.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_web::dev::RequestHead;
use actix_web::http::Method;

use super::client::Client;
use super::path;
use super::problem::RequestProblem;
use super::request_id::RequestId;

/// Lines at `info` for each reason in each [`PERIOD`].
const MAX_LINES: u32 = 10;
const PERIOD: Duration = Duration::from_secs(60);
/// More of a path says no more, and a path may be as long as a head.
const MAX_PATH_CHARS: usize = 200;

/// A request that is refused.
#[derive(Debug, Clone, Copy)]
pub(super) struct RefusedRequest<'a> {
    pub head: &'a RequestHead,
    pub client: Client,
    /// The source's label.
    pub source: &'a str,
    pub problem: RequestProblem,
}

/// Logs refused requests; one for all threads.
#[derive(Debug, Default)]
pub struct RefusalLog(Mutex<HashMap<&'static str, LineCount>>);

/// The lines of one reason.
#[derive(Debug)]
struct LineCount {
    since: Instant,
    lines: u32,
    left_out: u64,
}

/// Whether a request has a line at `info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineDecision {
    /// It has one, before which so many were left out; the last is the last of its period.
    Line { left_out: u64, is_last: bool },
    /// It is left out.
    LeftOut,
}

impl RefusalLog {
    /// Logs it under a new id.
    pub(super) fn write(&self, refused: RefusedRequest<'_>) -> RequestId {
        let id = RequestId::random();
        let decision = if is_delivery(refused.head) {
            self.decide(refused.problem.reason(), Instant::now())
        } else {
            LineDecision::LeftOut
        };
        write(refused, decision, &id);
        id
    }

    fn decide(&self, reason: &'static str, now: Instant) -> LineDecision {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(reason).or_insert(LineCount {
            since: now,
            lines: 0,
            left_out: 0,
        });
        if now.saturating_duration_since(count.since) >= PERIOD {
            (count.since, count.lines) = (now, 0);
        }
        if count.lines == MAX_LINES {
            count.left_out += 1;
            return LineDecision::LeftOut;
        }
        count.lines += 1;
        LineDecision::Line {
            left_out: std::mem::take(&mut count.left_out),
            is_last: count.lines == MAX_LINES,
        }
    }
}

/// Whether it was meant for a webhook, wherever it went.
fn is_delivery(head: &RequestHead) -> bool {
    head.method == Method::POST || head.uri.path().starts_with("/webhooks")
}

fn write(refused: RefusedRequest<'_>, decision: LineDecision, request_id: &RequestId) {
    let request_id = request_id.as_str();
    let RefusedRequest { head, source, .. } = refused;
    let (reason, address) = (refused.problem.reason(), refused.client.counted_as());
    let method = head.method.as_str();
    // Without the query, in which some senders put a token.
    let path = path::shown(head.uri.path());
    let path: String = path.chars().take(MAX_PATH_CHARS).collect();
    let repeats = if refused.problem == RequestProblem::RetriedMismatch {
        "; it is answered 503, so that the sender repeats it (on_mismatch = \"retry\")"
    } else {
        ""
    };
    match decision {
        LineDecision::Line { left_out, is_last } => {
            // A field without a value is left out.
            let left_out = (left_out > 0).then_some(left_out);
            let then = if is_last {
                "; more with this reason are logged at debug only, for the rest of a minute"
            } else {
                ""
            };
            tracing::info!(request_id, source, reason, %address, method, path, left_out, "a request was refused{repeats}{then}");
        }
        LineDecision::LeftOut => {
            tracing::debug!(request_id, source, reason, %address, method, path, "a request was refused{repeats}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_so_many_lines_a_minute_and_says_how_many_were_left_out() {
        let log = RefusalLog::default();
        let start = Instant::now();
        let decisions = |reason, seconds, count: u32| -> Vec<LineDecision> {
            let now = start + Duration::from_secs(seconds);
            (0..count).map(|_| log.decide(reason, now)).collect()
        };
        let line = |left_out, is_last| LineDecision::Line { left_out, is_last };
        let first = decisions("unknown_source", 0, MAX_LINES + 5);
        assert_eq!(first[0], line(0, false));
        assert_eq!(first[MAX_LINES as usize - 1], line(0, true));
        assert_eq!(first[MAX_LINES as usize..], [LineDecision::LeftOut; 5]);
        // No other reason is left out for it.
        assert_eq!(decisions("signature_mismatch", 1, 1), [line(0, false)]);
        assert_eq!(
            decisions("unknown_source", 59, 2),
            [LineDecision::LeftOut; 2]
        );
        let later = decisions("unknown_source", 60, 2);
        assert_eq!(later, [line(7, false), line(0, false)]);
    }
}
