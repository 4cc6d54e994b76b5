//! `hookferry backfill`: what is missing, by hand, through the bridge or by itself.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::{
    HOUR, RecoverySetup, ago, assert_backfilled, assert_keeps_the_key, bodies, bodies_of, failed,
    idle, missed,
};
use crate::harness::delivery::event_at;
use crate::harness::events_api::{EventStatus, KEY, Row};
use crate::harness::program::Program;
use crate::harness::{Bridge, Connection, Setup};

/// What a command has said.
#[derive(Debug)]
pub struct Ended {
    code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// The output of a command that must have ended with this code, and never shows the key.
    #[track_caller]
    pub fn with_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        assert!(
            !self.out.contains(KEY) && !self.err.contains(KEY),
            "{self:?}"
        );
        self
    }

    /// What it says is missing, and how it ended, of `--json`.
    #[track_caller]
    pub fn lines(&self) -> (Vec<Value>, Value) {
        let lines = self.out.lines();
        let mut lines: Vec<Value> = lines
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
            .collect();
        let mut last = lines.pop().expect("a summary");
        let summary = last["summary"].take();
        assert!(summary.is_object(), "{}", self.out);
        let mut missing = Vec::new();
        for mut line in lines {
            let event = line["missing"].take();
            for key in ["id", "event_type", "object_id", "triggered_at", "status"] {
                assert!(event[key].is_string(), "{key}: {event}");
            }
            missing.push(event);
        }
        (missing, summary)
    }
}

/// Runs a command of the program to its end, on a thread of its own.
pub async fn run(arguments: Vec<String>) -> Ended {
    let mut command: Command = Program::Released.command();
    command
        .args(arguments)
        .env_remove("HOOKFERRY_CONFIG")
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.expect("no panic").expect("the program starts");
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

fn arguments(setup: &Setup, more: &[&str]) -> Vec<String> {
    let config = setup.write().display().to_string();
    let all = ["backfill", "--source", &setup.source, "--config", &config];
    let all = all.iter().chain(more);
    all.map(|argument| (*argument).to_owned()).collect()
}

/// Where no bridge runs.
pub async fn backfill(recovery: &RecoverySetup, more: &[&str]) -> Ended {
    run(arguments(&recovery.setup, more)).await
}

/// Through the bridge.
async fn through(bridge: &Bridge, recovery: &RecoverySetup, more: &[&str]) -> Ended {
    let mut all = arguments(&recovery.setup, more);
    all.extend(["--admin".to_owned(), format!("http://{}", bridge.admin)]);
    run(all).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_bridge_fetches_what_is_missing_when_it_is_told_to() {
    let (recovery, bridge) = idle().await;
    let rows = failed(5);
    recovery.api.adds_all(rows.clone());
    let known = missed("known", 60, 0);
    bridge.accepted(recovery.source(), known.as_str()).await;
    recovery.api.adds(Row::object(&known));
    let ended = through(&bridge, &recovery, &["--json"]).await.with_code(0);
    let (missing, summary) = ended.lines();
    assert_eq!(missing.len(), 5, "{summary}");
    for (key, expected) in [
        ("listed", 6),
        ("missing", 5),
        ("recovered", 5),
        ("redelivered", 0),
        ("known", 1),
        ("forgotten", 0),
        ("too_young", 0),
        ("unreadable", 0),
        ("dropped", 0),
    ] {
        assert_eq!(summary[key], expected, "{key}: {summary}");
    }
    assert_eq!(summary["dry_run"], false);
    let seen = recovery.published(&bridge, 6).await;
    for event in &missing {
        let found = seen.iter().find(|one| one.id == event["id"]);
        let found = found.expect("it is said by its id");
        assert_backfilled(found);
        assert_eq!(event["object_id"], found.key);
        assert_eq!(event["event_type"], "sample.uploaded");
        assert_eq!(event["status"], "failed");
    }
    // There is nothing more to do.
    let ended = through(&bridge, &recovery, &["--json"]).await.with_code(0);
    let (missing, summary) = ended.lines();
    assert_eq!((missing.len(), &summary["known"]), (0, &6.into()));
    recovery.published(&bridge, 6).await;
    recovery.assert_polite(&bridge);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_bridge_it_fetches_by_itself_and_the_next_start_publishes() {
    let recovery = RecoverySetup::store().await;
    // A spool that the command made would be its user's.
    let ended = backfill(&recovery, &[]).await.with_code(1);
    assert!(ended.err.contains("there is no spool yet"), "{}", ended.err);
    let recovery = recovery.with_spool().await;
    let rows = failed(5);
    recovery.api.adds_all(rows.clone());
    let ended = backfill(&recovery, &["--json"]).await.with_code(0);
    let (missing, summary) = ended.lines();
    assert_eq!((missing.len(), &summary["recovered"]), (5, &5.into()));
    // It knows now what it has.
    let (missing, summary) = backfill(&recovery, &["--json"]).await.with_code(0).lines();
    assert_eq!((missing.len(), &summary["known"]), (0, &5.into()));
    recovery.api.forgets_all();
    let bridge = recovery.start().await;
    let seen = recovery.published(&bridge, 5).await;
    assert_eq!(bodies(&seen), bodies_of(&rows));
    seen.iter().for_each(assert_backfilled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_the_same_and_changes_nothing() {
    let (recovery, bridge) = idle().await;
    recovery.api.adds_all(failed(3));
    let said = |ended: &Ended| {
        let (missing, summary) = ended.lines();
        assert_eq!((missing.len(), &summary["missing"]), (3, &3.into()));
        assert_eq!(
            (&summary["recovered"], &summary["dry_run"]),
            (&0.into(), &true.into())
        );
        missing
    };
    let dry = ["--dry-run", "--json"];
    let running = said(&through(&bridge, &recovery, &dry).await.with_code(0));
    recovery.published(&bridge, 0).await;
    assert!(recovery.found(&bridge, "recovered").await < 0.5);
    bridge.stop().await;
    let alone = said(&backfill(&recovery, &dry).await.with_code(0));
    assert_eq!(running, alone);
    // A person reads as much.
    let ended = backfill(&recovery, &["--dry-run"]).await.with_code(0);
    for event in &running {
        let id = event["id"].as_str().expect("an id");
        assert!(ended.out.contains(id), "{id} is not in:\n{}", ended.out);
    }
    recovery.api.forgets_all();
    let bridge = recovery.start().await;
    recovery.ends(&bridge, "completed", 1.0).await;
    recovery.published(&bridge, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_told_from_when_and_until_when_and_of_which_types() {
    let (recovery, bridge) = idle().await;
    let of = |event_type: &str, hours: i64| {
        let object = format!("h{hours}");
        Row::object(&event_at(event_type, &object, &ago(hours * HOUR), 0))
    };
    recovery.api.adds_all([
        of("sample.uploaded", 1),
        of("analysis.failed", 10),
        of("sample.uploaded", 20),
        of("analysis.succeeded", 30).status(EventStatus::Retryable),
        of("sample.uploaded", 90),
    ]);
    let until = ago(15 * HOUR);
    for (more, hours) in [
        (&["--since", "15h"][..], &[1, 10][..]),
        (&["--since", "2d", "--until", until.as_str()], &[20, 30]),
        (&["--until", "50h"], &[90]),
        (&["--event-type", "sample.uploaded"], &[1, 20, 90]),
        (
            &[
                "--event-type",
                "analysis.failed",
                "--event-type",
                "analysis.succeeded",
                "--since",
                "25h",
            ],
            &[10],
        ),
    ] {
        let more = [more, &["--dry-run", "--json"]].concat();
        let ended = through(&bridge, &recovery, &more).await.with_code(0);
        let (missing, _) = ended.lines();
        let mut objects: Vec<String> = missing
            .iter()
            .map(|event| event["object_id"].as_str().expect("text").to_owned())
            .collect();
        objects.sort_unstable();
        let mut expected: Vec<String> = hours.iter().map(|hours| format!("h{hours}")).collect();
        expected.sort_unstable();
        assert_eq!(objects, expected, "{more:?}");
    }
    assert_keeps_the_key(&bridge);
}

/// What is older may have been accepted and forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn it_looks_back_no_further_than_what_is_remembered() {
    let (recovery, bridge) = idle().await;
    recovery.api.records_anew();
    for ended in [through(&bridge, &recovery, &["--since", "31d"]).await, {
        bridge.stop().await;
        backfill(&recovery, &["--since", "31d"]).await
    }] {
        let ended = ended.with_code(1);
        assert!(ended.err.contains("look_back"), "{}", ended.err);
    }
    assert_eq!(recovery.api.requests(), 0);
}

/// Nobody hears the run any more, and it ends where it stands; what it has brought is counted.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_operator_hangs_up_is_counted_and_the_next_goes_on() {
    const MISSED: usize = 600;
    let (recovery, bridge) = idle().await;
    recovery.api.adds_all(failed(MISSED));
    let path = format!("/backfills/{}", recovery.source());
    let request = bridge.operators_request("POST", &path);
    let mut connection = Connection::open(bridge.admin).await.unwrap();
    connection.send(request.as_bytes()).await.unwrap();
    let source = [("source", recovery.source())];
    bridge.counts("events_accepted_total", &source, 1.0).await;
    drop(connection);
    let ended = through(&bridge, &recovery, &["--json"]).await.with_code(0);
    let (_, summary) = ended.lines();
    recovery.published(&bridge, MISSED).await;
    let known = summary["known"].as_f64().expect("a number");
    let recovered = summary["recovered"].as_f64().expect("a number");
    let all = f64::from(u32::try_from(MISSED).unwrap());
    assert!((known + recovered - all).abs() < 0.5, "{summary}");
    // One may have been on its way when the run ended.
    let counted = recovery.found(&bridge, "recovered").await;
    assert!(
        (counted - all).abs() < 1.5,
        "{counted} are counted: {summary}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_said_and_ends_with_1() {
    let (recovery, bridge) = idle().await;
    recovery.api.revokes(KEY);
    for ended in [
        through(&bridge, &recovery, &[]).await,
        through(&bridge, &recovery, &["--json"]).await,
    ] {
        let ended = ended.with_code(1);
        assert!(ended.err.contains("401"), "{}", ended.err);
    }
    bridge.stop().await;
    let ended = backfill(&recovery, &[]).await.with_code(1);
    assert!(ended.err.contains("401"), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_does_not_recover_or_a_time_that_is_none_is_refused() {
    let recovery = RecoverySetup::store().await.with_spool().await;
    let plain = Setup::store();
    plain.start().await.stop().await;
    for (setup, more, part) in [
        (&plain, &[][..], "recovery"),
        (&recovery.setup, &["--since", "yesterday"], "--since"),
        (&recovery.setup, &["--event-type", "a b"], "--event-type"),
    ] {
        let ended = run(arguments(setup, more)).await;
        assert!(matches!(ended.code, Some(1 | 2)), "{ended:?}");
        assert!(ended.err.contains(part), "{part}: {}", ended.err);
    }
    assert_eq!(recovery.api.requests(), 0);
}
