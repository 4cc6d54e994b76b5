use std::io::BufRead as _;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Running, Said, hookferry, run};

#[test]
fn the_demo_shows_every_stage_within_five_seconds_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let mut command = hookferry(&["demo", "--once"]);
    let said = Said::of(command.env("TMPDIR", folder.path()).output().unwrap()).with_code(0);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    for text in [
        "200 accepted",
        "200 duplicate",
        "200 quarantined",
        "401 signature_mismatch",
        "4 accepted, 1 of them quarantined: 4 delivered, 0 pending, 0 unaccounted for",
        "topic onecodex.sample.uploaded",
        "topic onecodex.analysis.failed",
        "topic onecodex.analysis.succeeded",
        "topic onecodex.quarantine",
        "hookferry-signature: t=",
    ] {
        assert!(said.out.contains(text), "{text} is not in:\n{}", said.out);
    }
    assert_eq!(said.out.matches("the same bytes as were sent").count(), 4);
    assert!(!said.out.contains('\x1b'), "no colours into a pipe");
    // It ends at once, so there is nothing to watch.
    assert!(!said.out.contains("Watch it live"), "{}", said.out);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_demos_commands_work_when_pasted_and_it_stops_on_a_signal() {
    for signal in ["TERM", "INT"] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = hookferry(&["demo"]);
        command.env("TMPDIR", folder.path());
        let mut demo = Running::start(command);
        let mut shown = Vec::new();
        for line in demo.stdout().lines() {
            shown.push(line.unwrap());
            if shown
                .last()
                .is_some_and(|line| line.starts_with("metrics "))
            {
                break;
            }
        }
        let page = shown[0].strip_prefix("Watch it live: ").unwrap();
        let last = shown
            .iter()
            .position(|line| *line == format!("page    {page}"));
        let last = last.unwrap_or_else(|| panic!("{page} is not named again: {shown:#?}"));
        assert!(shown[last + 1].starts_with("webhook http://"), "{shown:#?}");
        let admin = page.strip_suffix('/').unwrap();
        assert_eq!(shown.last().unwrap(), &format!("metrics {admin}/metrics"));
        run(&["ui", "--no-open", "--admin", page]).with_code(0);
        let start = shown
            .iter()
            .position(|line| line.starts_with("4. Send"))
            .unwrap()
            + 2;
        let pasted = shown[start..start + 4].join("\n");
        let answer = Command::new("sh").args(["-c", &pasted]).output().unwrap();
        let answer = String::from_utf8(answer.stdout).unwrap();
        assert!(
            answer.contains("\"status\":\"accepted\""),
            "{answer}\n{pasted}"
        );
        let send = shown
            .iter()
            .find_map(|line| line.trim().strip_prefix("or     hookferry "));
        let program = env!("CARGO_BIN_EXE_hookferry");
        let send = format!("{program} {}", send.unwrap());
        assert!(
            Command::new("sh")
                .args(["-c", &send])
                .output()
                .unwrap()
                .status
                .success()
        );
        assert_eq!(demo.stop(signal).code(), Some(0), "SIG{signal}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_demo_in_a_folder_of_its_own_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo").display().to_string();
    for round in ["position 1 ", "position 2 "] {
        let said = Said::of(
            hookferry(&["demo", "--once", "--folder", &path])
                .output()
                .unwrap(),
        );
        let said = said.with_code(0);
        assert_eq!(said.out.matches(round).count(), 4, "{}", said.out);
    }
}
