//! Whether the bridge is well, in words: the answer to the first question, with the reason and the
//! section of the runbook where it is not.

use jiff::Timestamp;
use serde::Serialize;

use super::component_status::{ListenerStatus, SinkStatus, SpoolStatus};
use super::metric_sums::MetricSums;
use super::sink_findings::of_sink;
use super::status_finding::{StatusFinding, StatusLevel, finding, span};
use crate::history::{LastRejection, RejectionCount};
use crate::metrics::Metrics;
use crate::pipeline::Refusal;
use crate::source::Rejection;

/// Above this the spool is worth a word.
const FULL_SOON: f64 = 0.8;
/// A certificate that expires in less is worth a word, in seconds.
const EXPIRES_SOON: f64 = 21.0 * 86_400.0;
/// A wrong signature is news for so long, in seconds.
const RECENT: i64 = 15 * 60;
/// A refusal is news for so long, in seconds: as long as somebody needs to read it.
const JUST_NOW: i64 = 60;
/// How long after its start the bridge need not be connected to its brokers yet, in seconds.
const STARTING: i64 = 10;
/// A recovery has failed when it has not come to an end for so many of its intervals.
const MISSED_RUNS: f64 = 2.5;

/// The verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Verdict {
    level: StatusLevel,
    text: String,
    /// The worst first.
    findings: Vec<StatusFinding>,
}

/// What of the program is judged besides the parts that a delivery goes through.
#[derive(Debug)]
pub(super) struct SeenProgram<'a> {
    pub metrics: &'a Metrics,
    /// What was turned away.
    pub rejections: Vec<RejectionCount>,
    pub started_at: Timestamp,
    /// When it is judged.
    pub now: Timestamp,
}

/// Judges what was read at this time.
pub(super) fn verdict(
    listener: &ListenerStatus,
    spool: &SpoolStatus,
    sinks: &[SinkStatus],
    program: &SeenProgram<'_>,
) -> Verdict {
    let SeenProgram { metrics, now, .. } = *program;
    let mut findings: Vec<StatusFinding> = match of_listener(listener) {
        Some(finding) => vec![finding],
        None => of_refusals(&program.rejections, now),
    };
    let is_starting = now.as_second() - program.started_at.as_second() < STARTING;
    let (connecting, others): (Vec<&SinkStatus>, Vec<&SinkStatus>) = sinks
        .iter()
        .partition(|sink| is_starting && sink.served && !sink.connected);
    findings.extend(others.into_iter().flat_map(|sink| of_sink(sink, now)));
    findings.extend(of_fill(spool.fill));
    findings.extend(of_secrets(metrics, &program.rejections, now));
    findings.extend(of_program(metrics));
    findings.extend(of_configuration(metrics));
    findings.extend(of_certificates(metrics, now));
    findings.extend(of_recoveries(metrics, program.started_at, now));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    let level = findings
        .first()
        .map_or(StatusLevel::Good, |worst| worst.level);
    let text = match &findings[..] {
        [] if !connecting.is_empty() => "The bridge has just started: deliveries are accepted, and it is connecting to its sinks.".to_owned(),
        [] => "All is well: deliveries are accepted, and every sink takes its events.".to_owned(),
        [only] => only.text.clone(),
        [worst, others @ ..] => format!("{} And {} more.", worst.text, others.len()),
    };
    Verdict {
        level,
        text,
        findings,
    }
}

fn of_listener(listener: &ListenerStatus) -> Option<StatusFinding> {
    let reason = listener.reason?;
    let (why, remedy) = match reason {
        "spool_full" => (
            "the spool is full",
            (
                "Bring back the sink that events wait for, or raise the spool's bounds.",
                "the-spool-fills",
            ),
        ),
        "disk_full" => (
            "the spool's disk is full",
            (
                "Free space on the file system, outside the spool's folder.",
                "the-spools-disk",
            ),
        ),
        "spool_unwritable" | "spool_unreadable" => (
            "the spool's disk fails",
            ("Look at the log and at the disk.", "the-spools-disk"),
        ),
        "overloaded" => (
            "more comes in than the disk takes",
            (
                "Look at the duration of commits and at who else writes.",
                "overload",
            ),
        ),
        _ => {
            return Some(StatusFinding {
                level: StatusLevel::Warning,
                text: "The bridge is being stopped: deliveries are refused with 503, and senders repeat them.".to_owned(),
                remedy: "It is ready again after its next start.",
                runbook: None,
            });
        }
    };
    let text = format!("Deliveries are refused with 503 ({reason}): {why}.");
    Some(finding(StatusLevel::Bad, text, remedy))
}

/// What was refused just now although deliveries could be accepted again: each was answered with an
/// error that is not its sender's fault.
fn of_refusals(rejections: &[RejectionCount], now: Timestamp) -> Vec<StatusFinding> {
    let mut reasons: Vec<&'static str> = Vec::new();
    for refused in rejections {
        let ago = now.as_second() - refused.last.at.as_second();
        let is_ours = [500, 503].contains(&refused.last.status);
        let is_asked_for = refused.reason == Refusal::Draining.reason()
            || refused.reason == Rejection::SignatureMismatch.reason();
        if is_ours && !is_asked_for && ago < JUST_NOW && !reasons.contains(&refused.reason) {
            reasons.push(refused.reason);
        }
    }
    let finding = |reason: &str| {
        let text = format!(
            "Deliveries were refused within the last minute ({reason}); senders repeat them."
        );
        let remedy = "See the usual cause among the rejections below.";
        finding(StatusLevel::Bad, text, (remedy, "deliveries-are-refused"))
    };
    reasons.into_iter().map(finding).collect()
}

fn of_fill(fill: f64) -> Option<StatusFinding> {
    if !(FULL_SOON..1.0).contains(&fill) {
        return None;
    }
    let text = format!(
        "The spool is {:.0} % full; at its bound deliveries are refused.",
        fill * 100.0
    );
    let remedy = "Bring back the sink that events wait for, or raise the spool's bounds.";
    Some(finding(
        StatusLevel::Warning,
        text,
        (remedy, "the-spool-fills"),
    ))
}

/// Sources whose last delivery was signed with no secret of theirs, and none since with one. Strangers
/// can bring that about where a source is quiet; it is nothing that wakes anybody.
#[allow(clippy::cast_precision_loss, reason = "seconds since 1970")]
fn of_secrets(
    metrics: &Metrics,
    rejections: &[RejectionCount],
    now: Timestamp,
) -> Vec<StatusFinding> {
    let used = MetricSums::most_by(&metrics.secret_last_used_timestamp_seconds, "source");
    let ago = |last: &LastRejection| now.as_second() - last.at.as_second();
    let unproven = rejections
        .iter()
        .filter(|it| it.reason == Rejection::SignatureMismatch.reason())
        .map(|it| &it.last)
        .filter(|last| ago(last) <= RECENT && used.of(&last.source) < last.at.as_second() as f64);
    unproven
        .map(|last| {
            let text = format!(
                "The last delivery of source {} was signed with none of its secrets, {} ago.",
                last.source,
                span(ago(last).max(0))
            );
            let remedy = "Compare the secret with the provider's; `hookferry explain` tells what it does verify with.";
            finding(StatusLevel::Warning, text, (remedy, "a-wrong-secret"))
        })
        .collect()
}

fn of_program(metrics: &Metrics) -> Vec<StatusFinding> {
    let (unaccounted, panics) = (metrics.events_unaccounted.get(), metrics.panics_total.get());
    let damaged = metrics.spool_corrupt_records_total.get();
    let forgotten = metrics.spool_forgotten_ids_total.get();
    let mut findings = Vec::new();
    if unaccounted != 0 {
        let text = format!("The counts do not add up: {unaccounted} events are not accounted for.");
        findings.push(finding(
            StatusLevel::Bad,
            text,
            ("It is a bug: report it.", "a-bug"),
        ));
    }
    if panics > 0 {
        let text = format!("The program has panicked {panics} times since its start.");
        let remedy = "It is a bug: report it, with the lines of the log.";
        findings.push(finding(StatusLevel::Bad, text, (remedy, "a-bug")));
    }
    if damaged > 0 {
        let text = format!("{damaged} records of the spool are damaged or gone.");
        let remedy = "Save the damaged files, and let a recovery fetch what is lost.";
        findings.push(finding(
            StatusLevel::Bad,
            text,
            (remedy, "a-spool-was-damaged"),
        ));
    }
    if forgotten > 0 {
        let text = format!(
            "{forgotten} ids of accepted events were forgotten before their time: a copy of such an event would be published again."
        );
        let remedy = "Look at the log: the index of ids is at its bound, or its disk fails.";
        findings.push(finding(
            StatusLevel::Warning,
            text,
            (remedy, "the-spools-disk"),
        ));
    }
    findings
}

fn of_configuration(metrics: &Metrics) -> Option<StatusFinding> {
    let (text, remedy) = if metrics.config_last_reload_successful.get() == 0 {
        (
            "The last reload of the configuration failed; the one before it is in use.",
            "`hookferry check` names every problem; then send SIGHUP.",
        )
    } else if metrics.config_restart_required.get() == 1 {
        (
            "The configuration's file differs from what runs in keys that only a restart takes over.",
            "Restart the bridge; what waits is published afterwards.",
        )
    } else {
        return None;
    };
    Some(finding(
        StatusLevel::Warning,
        text,
        (remedy, "the-configuration"),
    ))
}

#[allow(clippy::cast_precision_loss, reason = "seconds since 1970")]
fn of_certificates(metrics: &Metrics, now: Timestamp) -> Vec<StatusFinding> {
    let expiries = MetricSums::least_by(
        &metrics.tls_certificate_expiry_timestamp_seconds,
        "component",
    );
    let now = now.as_second() as f64;
    let soon = expiries
        .each()
        .filter(|(_, expiry)| expiry - now < EXPIRES_SOON);
    soon.map(|(component, expiry)| {
        let (level, text) = if expiry <= now {
            (
                StatusLevel::Bad,
                format!("A certificate of {component} has expired."),
            )
        } else {
            let days = ((expiry - now) / 86_400.0).floor();
            let text = format!("A certificate of {component} expires in {days} days.");
            (StatusLevel::Warning, text)
        };
        let remedy = "Put a new one into its file and send SIGHUP.";
        finding(level, text, (remedy, "a-certificate-expires"))
    })
    .collect()
}

#[allow(clippy::cast_precision_loss, reason = "seconds since 1970")]
fn of_recoveries(metrics: &Metrics, started_at: Timestamp, now: Timestamp) -> Vec<StatusFinding> {
    let intervals = MetricSums::by(&metrics.backfill_interval_seconds, "source");
    let last = MetricSums::by(&metrics.backfill_last_success_timestamp_seconds, "source");
    let (started, now) = (started_at.as_second() as f64, now.as_second() as f64);
    let late = intervals.each().filter(|(source, interval)| {
        // Before the first time it is 0, and a restart gives it time.
        let last = last.of(source).max(started);
        *interval > 0.0 && now - last > MISSED_RUNS * interval
    });
    late.map(|(source, _)| {
        let text = format!("The recovery of source {source} has not come to an end for long.");
        let remedy = "The log says why; `hookferry check --connect` asks the provider's API.";
        finding(StatusLevel::Warning, text, (remedy, "the-recovery-fails"))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::runbook;
    use crate::history::Recorder;
    use crate::name::SinkName;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn sink(change: impl FnOnce(&mut SinkStatus)) -> SinkStatus {
        let mut sink = SinkStatus {
            sink: SinkName::parse("kafka").expect("a slug"),
            kind: Some("kafka"),
            served: true,
            delivered: 7,
            pending: 0,
            oldest_at: None,
            dead_letters: 0,
            in_flight: 0,
            unroutable: 0,
            connected: true,
            blocked: false,
            paused: false,
            last_delivery_at: None,
        };
        change(&mut sink);
        sink
    }

    fn well() -> Metrics {
        let metrics = Metrics::new().expect("no name twice");
        metrics.config_last_reload_successful.set(1);
        metrics
    }

    /// A program that was started at second 1,000, and is judged then.
    fn seen(metrics: &Metrics, now: i64) -> SeenProgram<'_> {
        SeenProgram {
            metrics,
            rejections: Vec::new(),
            started_at: at(1_000),
            now: at(now),
        }
    }

    fn judge(sinks: &[SinkStatus], fill: f64, metrics: &Metrics) -> Verdict {
        let (listener, spool) = (ListenerStatus::accepting(), SpoolStatus::filled(fill));
        verdict(&listener, &spool, sinks, &seen(metrics, 100_000))
    }

    fn is_in_the_runbook(link: &str) {
        let section = link.strip_prefix("/runbook#").expect("in the runbook");
        let section = format!("id=\"{section}\"");
        assert!(runbook::document().contains(&section), "{section}");
    }

    /// The verdict on one thing that is wrong, whose section of the runbook is there.
    fn only(found: Verdict) -> (StatusLevel, String) {
        let [finding] = &found.findings[..] else {
            panic!("{found:?}");
        };
        assert_eq!((found.level, &found.text), (finding.level, &finding.text));
        is_in_the_runbook(finding.runbook.as_deref().expect("it leads somewhere"));
        assert!(!finding.remedy.is_empty());
        (found.level, found.text)
    }

    #[test]
    fn a_bridge_that_is_well_says_so() {
        let verdict = judge(&[sink(|_| {})], 0.5, &well());
        assert_eq!(
            (verdict.level, verdict.findings.len()),
            (StatusLevel::Good, 0)
        );
        assert!(verdict.text.starts_with("All is well"), "{}", verdict.text);
    }

    #[test]
    fn a_sink_that_is_away_is_bad_once_events_wait_for_it() {
        let of = |change: fn(&mut SinkStatus)| only(judge(&[sink(change)], 0.0, &well()));
        let away = of(|sink| sink.connected = false);
        let text = "Sink kafka does not answer; nothing waits for it.";
        assert_eq!(away, (StatusLevel::Warning, text.to_owned()));
        let away = of(|sink| {
            (sink.connected, sink.pending) = (false, 2);
            sink.oldest_at = Some(at(100_000 - 180));
        });
        let text = "Sink kafka does not answer; 2 events wait for it, the oldest for 3 min.";
        assert_eq!(away, (StatusLevel::Bad, text.to_owned()));
        let (_, blocked) = of(|sink| (sink.blocked, sink.pending) = (true, 1));
        assert!(blocked.contains("connection.blocked"), "{blocked}");
        assert!(blocked.contains("1 event waits"), "{blocked}");
        let (level, unroutable) = of(|sink| sink.unroutable = 3);
        assert_eq!(level, StatusLevel::Bad);
        assert!(unroutable.contains("no place for 3 events"), "{unroutable}");
        let (level, letters) = of(|sink| sink.dead_letters = 1);
        assert_eq!(level, StatusLevel::Warning);
        assert!(letters.contains("1 event is set aside"), "{letters}");
        let (level, late) = of(|sink| {
            sink.pending = 5;
            sink.oldest_at = Some(at(100_000 - 3_600));
        });
        assert_eq!(level, StatusLevel::Warning);
        assert!(late.contains("does not keep up"), "{late}");
        let (_, gone) = of(|sink| (sink.served, sink.connected, sink.pending) = (false, false, 4));
        assert!(gone.contains("which is not configured"), "{gone}");
    }

    #[test]
    fn the_program_and_its_configuration_are_judged_too() {
        let of = |change: fn(&Metrics)| {
            let metrics = well();
            change(&metrics);
            only(judge(&[], 0.0, &metrics))
        };
        assert_eq!(of(|it| it.events_unaccounted.set(-1)).0, StatusLevel::Bad);
        assert_eq!(of(|it| it.panics_total.inc()).0, StatusLevel::Bad);
        assert_eq!(
            of(|it| it.spool_corrupt_records_total.inc()).0,
            StatusLevel::Bad
        );
        let reload = of(|it| it.config_last_reload_successful.set(0));
        assert_eq!(reload.0, StatusLevel::Warning);
        assert_eq!(
            of(|it| it.config_restart_required.set(1)).0,
            StatusLevel::Warning
        );
        let expiry = |seconds| {
            let metrics = well();
            let gauge = &metrics.tls_certificate_expiry_timestamp_seconds;
            gauge.with_label_values(&["ingress", "a"]).set(9_000_000);
            gauge.with_label_values(&["ingress", "b"]).set(seconds);
            only(judge(&[], 0.0, &metrics))
        };
        assert_eq!(expiry(99_999).0, StatusLevel::Bad);
        assert!(expiry(100_000 + 2 * 86_400).1.contains("in 2 days"));
        let late = of(|it| {
            let source = &["onecodex"];
            it.backfill_interval_seconds
                .with_label_values(source)
                .set(60);
            let last = &it.backfill_last_success_timestamp_seconds;
            last.with_label_values(source).set(99_000);
        });
        assert_eq!(late.0, StatusLevel::Warning);
        assert_eq!(only(judge(&[], 0.9, &well())).0, StatusLevel::Warning);
    }

    #[test]
    fn every_refusal_has_its_words_and_the_worst_comes_first() {
        for refusal in Refusal::ALL {
            let mut listener = ListenerStatus::accepting();
            listener.reason = Some(refusal.reason());
            let found = of_listener(&listener).expect("it is a finding");
            assert!(found.text.contains("503"), "{}", found.text);
            if let Some(runbook) = &found.runbook {
                is_in_the_runbook(runbook);
            }
        }
        let sinks = [
            sink(|sink| sink.dead_letters = 1),
            sink(|sink| (sink.connected, sink.pending) = (false, 1)),
        ];
        let verdict = judge(&sinks, 0.0, &well());
        let levels: Vec<StatusLevel> = verdict.findings.iter().map(|it| it.level).collect();
        assert_eq!(levels, [StatusLevel::Bad, StatusLevel::Warning]);
        assert!(verdict.text.ends_with("And 1 more."), "{}", verdict.text);
    }

    #[test]
    fn what_was_refused_just_now_is_told_although_the_bridge_is_ready() {
        let recorder = Recorder::default();
        let refused = |reason, status, second| {
            let last = LastRejection {
                at: at(second),
                source: "onecodex".to_owned(),
                address: None,
                request_id: String::new(),
                status,
            };
            recorder.rejection(reason, last);
        };
        refused("not_in_time", 503, 990);
        refused("draining", 503, 990);
        refused("signature_mismatch", 503, 990);
        refused("body_too_large", 413, 990);
        refused("overloaded", 503, 900);
        let found: Vec<String> = of_refusals(&recorder.rejections(), at(1_000))
            .into_iter()
            .map(|it| it.text)
            .collect();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("(not_in_time)"), "{found:?}");
    }

    #[test]
    fn a_bridge_that_has_just_started_may_connect_first() {
        let away = [sink(|sink| sink.connected = false)];
        let (listener, spool) = (ListenerStatus::accepting(), SpoolStatus::filled(0.0));
        let of = |now| verdict(&listener, &spool, &away, &seen(&well(), now));
        assert_eq!(of(1_009).level, StatusLevel::Good);
        assert!(of(1_009).text.contains("connecting"), "{}", of(1_009).text);
        assert_eq!(of(1_010).level, StatusLevel::Warning);
    }

    #[test]
    fn a_wrong_secret_is_told_until_a_right_one_comes() {
        let (metrics, recorder) = (well(), Recorder::default());
        let last = LastRejection {
            at: at(99_970),
            source: "onecodex".to_owned(),
            address: None,
            request_id: String::new(),
            status: 401,
        };
        recorder.rejection(Rejection::SignatureMismatch.reason(), last);
        let used = &metrics.secret_last_used_timestamp_seconds;
        let of = |now| {
            of_secrets(&metrics, &recorder.rejections(), at(now))
                .pop()
                .map(|it| it.text)
        };
        let told = of(100_000).expect("a finding");
        assert!(
            told.contains("onecodex") && told.contains("30 s ago"),
            "{told}"
        );
        assert_eq!(of(99_970 + RECENT + 1), None, "it is no news any more");
        used.with_label_values(&["onecodex", "1"]).set(99_980);
        used.with_label_values(&["onecodex", "0"]).set(5);
        assert_eq!(of(100_000), None);
    }
}
