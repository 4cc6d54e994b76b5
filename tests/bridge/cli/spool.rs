use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use hookferry::metrics::Metrics;
use hookferry::name::SinkName;
use hookferry::sink::RefusalReason;
use hookferry::spool::{Milestone, NewDeadLetter, Spool};

use super::{Said, Setup, hookferry, run};
use crate::message::{Sender, body};

/// A bridge whose only sink is away, so that everything waits.
fn waiting() -> Setup {
    Setup::with_sink(
        "rabbit",
        "type = \"rabbitmq\"\nurl = \"amqp://127.0.0.1:1\"",
    )
}

fn verb(setup: &Setup, arguments: &[&str], admin: Option<&str>) -> Said {
    let config = setup.config();
    let mut all = arguments.to_vec();
    all.extend(["--config", &config]);
    all.extend(admin.into_iter().flat_map(|url| ["--admin", url]));
    run(&all)
}

/// A change is for a running bridge alone: without one it is refused, with what to do.
#[track_caller]
fn must_start_first(said: Said) {
    let said = said.with_code(1);
    for part in ["no bridge runs", "hookferry serve --config ", "then repeat"] {
        assert!(said.err.contains(part), "it says {part:?}: {}", said.err);
    }
}

fn json(said: Said) -> serde_json::Value {
    serde_json::from_str(&said.with_code(0).out).unwrap()
}

#[test]
fn the_spool_reads_alike_through_a_bridge_and_from_its_files() {
    let setup = waiting();
    let said = verb(&setup, &["spool", "list"], None).with_code(1);
    assert!(said.err.contains("there is no spool yet"), "{}", said.err);
    let mut served = setup.serve();
    setup.send(&served, 20);
    let running = |arguments: &[&str]| verb(&setup, arguments, Some(&served.admin));
    let listed = json(running(&["spool", "list", "--json"]));
    let spool = &listed["spool"];
    assert_eq!(spool["lost_records"], 0, "{spool}");
    assert_eq!(spool["sinks"][0]["lost"], 0, "{spool}");
    let bytes = ["bytes", "file_bytes", "max_bytes"].map(|key| spool[key].as_u64().unwrap());
    assert!(bytes[0] > 0 && bytes.is_sorted(), "{spool}");
    let table = running(&["spool", "list", "--limit", "2"]).with_code(0).out;
    let exported = running(&["spool", "export"]).with_code(0).out;
    let events = listed["events"].as_array().unwrap();
    assert_eq!((events.len(), exported.lines().count()), (20, 20));
    assert!(
        table.contains("sample.uploaded") && table.contains("rabbit"),
        "{table}"
    );
    assert!(
        table.contains("LOST") && table.contains(" of 4.0 GiB; at most 1000000 events"),
        "{table}"
    );
    let sequence = events[7]["sequence"].to_string();
    let shown = json(running(&["spool", "show", &sequence, "--json"]));
    assert!(
        shown["body"]
            .as_str()
            .unwrap()
            .contains("\"event_type\":\"sample.uploaded\"")
    );
    running(&["spool", "show", "999999999"]).with_code(1);
    let said = running(&["spool", "drop", "--sink", "rabbit"]).with_code(2);
    assert!(said.err.contains("--yes"), "{}", said.err);
    running(&["spool", "drop", "--sink", "nobody", "--yes"]).with_code(1);
    let said = running(&["spool", "drop", "--sink", "rabbit", "--yes"]).with_code(1);
    assert!(said.err.contains("is configured"), "{}", said.err);
    let said = verb(&setup, &["spool", "list"], None).with_code(2);
    assert!(
        said.err.contains("--admin"),
        "a held spool is asked for through its bridge: {}",
        said.err
    );

    assert_eq!(served.running.stop("TERM").code(), Some(0));
    let direct = |arguments: &[&str]| verb(&setup, arguments, None);
    let stopped = json(direct(&["spool", "list", "--json"]));
    assert_eq!(stopped["events"], listed["events"]);
    for bound in ["max_bytes", "max_events"] {
        assert_eq!(stopped["spool"][bound], spool[bound], "{bound}");
    }
    assert_eq!(json(direct(&["spool", "show", &sequence, "--json"])), shown);
    let file = setup.path("export").display().to_string();
    assert_eq!(
        direct(&["spool", "export", "--output", &file])
            .with_code(0)
            .out,
        ""
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), exported);
    must_start_first(direct(&["spool", "drop", "--sink", "rabbit", "--yes"]));
    assert_eq!(
        direct(&["spool", "export"])
            .with_code(0)
            .out
            .lines()
            .count(),
        20
    );

    // The sink is taken out of the configuration: then its events can be dropped.
    let text = fs::read_to_string(setup.config()).unwrap();
    let renamed = text
        .replace("[sink.rabbit]", "[sink.other]")
        .replace("[\"rabbit\"]", "[\"other\"]");
    fs::write(setup.config(), renamed).unwrap();
    let served = setup.serve();
    let running = |arguments: &[&str]| verb(&setup, arguments, Some(&served.admin));
    let said = running(&["spool", "drop", "--sink", "rabbit", "--yes"]).with_code(0);
    assert!(said.err.contains("20 dropped"), "{}", said.err);
    assert_eq!(running(&["spool", "export"]).with_code(0).out, "");
}

/// Sets `count` events aside, as a dispatcher does.
async fn set_aside_events(setup: &Setup, count: usize) {
    let text = std::fs::read_to_string(setup.path("hookferry.toml")).unwrap();
    let settings = hookferry::config::parse(&text, &|_| None).unwrap();
    let name = SinkName::parse("rabbit").unwrap();
    let metrics = std::sync::Arc::new(Metrics::new().unwrap());
    let (spool, _stopped) =
        Spool::open(settings.spool, std::slice::from_ref(&name), metrics).unwrap();
    let sink = spool.sink(&name).unwrap();
    let mut after = 0;
    for number in 0..count {
        let routed = Sender::new("onecodex").routed(body("sample.uploaded", &format!("o{number}")));
        spool.append(routed, Milestone::Spooled).await.unwrap();
        let record = spool
            .fetch(sink, after, 1, 1 << 20)
            .await
            .unwrap()
            .remove(0);
        after = record.position().sequence;
        let dead_letter = NewDeadLetter {
            record,
            sink,
            reason: RefusalReason::TooLarge,
            detail: "larger than the broker takes".into(),
        };
        spool.set_aside(dead_letter).await.unwrap();
    }
    spool.close().await;
}

fn names(listed: &serde_json::Value) -> Vec<String> {
    let letters = listed.as_array().unwrap();
    let name = |letter: &serde_json::Value| letter["name"].as_str().unwrap().to_owned();
    letters.iter().map(name).collect()
}

/// Two dead letters behind this one.
fn page_after(name: &str) -> [&str; 7] {
    let list = ["dead-letters", "list", "--json"];
    [list[0], list[1], list[2], "--limit", "2", "--after", name]
}

#[tokio::test]
async fn dead_letters_of_a_stopped_bridge_are_listed_and_no_more() {
    let setup = waiting();
    set_aside_events(&setup, 5).await;
    let direct = |arguments: &[&str]| verb(&setup, arguments, None);
    let text = names(&json(direct(&["dead-letters", "list", "--json"])));
    assert_eq!(text.len(), 5);
    let sequences: Vec<u64> = text
        .iter()
        .map(|name| name.strip_suffix("-rabbit").unwrap().parse().unwrap())
        .collect();
    assert!(sequences.is_sorted(), "{text:?}");
    let page = page_after(&text[1]);
    assert_eq!(names(&json(direct(&page))), text[2..4]);
    let table = direct(&["dead-letters", "list"]).with_code(0).out;
    assert!(
        table.contains("too_large") && table.contains("larger than the broker takes"),
        "{table}"
    );
    let shown = direct(&["dead-letters", "show", &text[0]]).with_code(0).out;
    assert!(
        shown.contains("sample.uploaded") && shown.contains("o0"),
        "{shown}"
    );
    must_start_first(direct(&["dead-letters", "requeue", &text[0]]));
    must_start_first(direct(&["dead-letters", "drop", &text[0], "--yes"]));
    assert_eq!(
        names(&json(direct(&["dead-letters", "list", "--json"]))),
        text
    );
    direct(&["dead-letters", "requeue"]).with_code(2);
    let said = direct(&["dead-letters", "show", "7"]).with_code(2);
    assert!(said.err.contains("4711-kafka"), "{}", said.err);
}

#[tokio::test]
async fn dead_letters_are_listed_requeued_and_dropped() {
    let setup = waiting();
    set_aside_events(&setup, 5).await;
    let served = setup.serve();
    let running = |arguments: &[&str]| verb(&setup, arguments, Some(&served.admin));
    let text = names(&json(running(&["dead-letters", "list", "--json"])));
    assert_eq!(text.len(), 5);
    let page = page_after(&text[1]);
    running(&["dead-letters", "requeue", &text[0]]).with_code(0);
    assert_eq!(
        running(&["spool", "export"])
            .with_code(0)
            .out
            .lines()
            .count(),
        1
    );
    let said = running(&["dead-letters", "drop", &text[1]]).with_code(2);
    assert!(said.err.contains("--yes"), "{}", said.err);
    let said = running(&["dead-letters", "drop", &text[0], &text[1], "--yes"]).with_code(1);
    assert!(
        said.err.contains("1 dropped"),
        "the other one is gone already: {}",
        said.err
    );
    assert_eq!(
        names(&json(running(&["dead-letters", "list", "--json"]))),
        text[2..]
    );
    assert_eq!(names(&json(running(&page))), text[2..4]);
    let url = format!("{}/dead-letters/{}", served.admin, text[2]);
    assert_eq!(ureq::get(url).call().unwrap().status(), 200);
    for path in [
        "dead-letters/7",
        "dead-letters/7-nobody",
        "dead-letters?after=7",
    ] {
        let url = format!("{}/{path}", served.admin);
        assert!(ureq::get(url).call().is_err(), "{path}");
    }
    assert_eq!(
        running(&["dead-letters", "export"])
            .with_code(0)
            .out
            .lines()
            .count(),
        3
    );
    running(&["dead-letters", "drop", &text[2], "--yes"]).with_code(0);
    running(&["dead-letters", "requeue", "--all"]).with_code(0);
    assert_eq!(
        names(&json(running(&["dead-letters", "list", "--json"]))),
        [""; 0]
    );
    assert_eq!(
        running(&["spool", "export"])
            .with_code(0)
            .out
            .lines()
            .count(),
        3
    );
}

/// Everything below a folder, and the folder itself: contents, and when and how they were changed.
fn state(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, [i64; 5])> {
    let mut found = BTreeMap::new();
    let mut left = vec![folder.to_owned()];
    while let Some(path) = left.pop() {
        let about = fs::metadata(&path).unwrap();
        let times = [
            about.mtime(),
            about.mtime_nsec(),
            about.ctime(),
            about.ctime_nsec(),
            i64::from(about.mode()),
        ];
        let mut bytes = Vec::new();
        if about.is_dir() {
            left.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else {
            bytes = fs::read(&path).unwrap();
        }
        found.insert(path, (bytes, times));
    }
    found
}

/// The program as the spool's owner, whom permissions bind: root would be let in whatever they say,
/// so where root runs this, it is without any of root's rights.
fn bound_by_permissions(program: &Command) -> Command {
    let id = Command::new("id").arg("-u").output().expect("id is there");
    let mut command = if id.stdout == b"0\n" {
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set=-all", "--inh-caps=-all"]);
        command.arg(program.get_program());
        command
    } else {
        Command::new(program.get_program())
    };
    command.args(program.get_args());
    command.env_remove("HOOKFERRY_CONFIG");
    command
}

/// A backup that is looked at, a volume that is mounted read-only, a spool that must not be touched
/// until somebody has seen what happened: looking needs the right to read, and leaves no trace.
#[tokio::test]
async fn looking_at_the_spool_of_a_stopped_bridge_changes_nothing_and_needs_no_right_to() {
    let setup = waiting();
    set_aside_events(&setup, 3).await;
    let mut served = setup.serve();
    setup.send(&served, 10);
    // Not stopped in order: its last batch looks as if nobody had been answered for it.
    served.running.stop("KILL");
    let spool = setup.path("spool");
    let listed = |what: &str| json(verb(&setup, &[what, "list", "--json"], None));
    let sequence = listed("spool")["events"][0]["sequence"].to_string();
    let letters = listed("dead-letters");
    let name = letters[0]["name"].as_str().unwrap().to_owned();
    // Nobody may write to it, not even its owner.
    for (path, (_, [.., mode])) in state(&spool) {
        let read_only = u32::try_from(mode).unwrap() & 0o7555;
        fs::set_permissions(path, Permissions::from_mode(read_only)).unwrap();
    }
    let before = state(setup.folder.path());
    let as_owner = |arguments: &[&str]| {
        let config = setup.config();
        let mut all = arguments.to_vec();
        all.extend(["--config", &config]);
        let mut command = bound_by_permissions(&hookferry(&all));
        Said::of(command.output().expect("the program starts"))
    };
    let commands: [(&[&str], usize); 7] = [
        (&["spool", "list"], 15),
        (&["spool", "list", "--json"], 1),
        (&["spool", "show", &sequence, "--json"], 1),
        (&["spool", "export"], 10),
        (&["dead-letters", "list"], 4),
        (&["dead-letters", "show", &name, "--json"], 1),
        (&["dead-letters", "export"], 3),
    ];
    for (arguments, lines) in commands {
        let said = as_owner(arguments).with_code(0);
        assert_eq!(said.out.lines().count(), lines, "{}", said.out);
        assert!(state(setup.folder.path()) == before, "{arguments:?}");
    }
    must_start_first(as_owner(&["spool", "drop", "--sink", "rabbit", "--yes"]));
    assert!(state(setup.folder.path()) == before);
    for path in before.keys().rev().filter(|path| path.starts_with(&spool)) {
        let mode = if path.is_dir() { 0o700 } else { 0o600 };
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
}
