//! Rows 18 and 35, and what else may lie in the spool's place at start: somebody who has it, a newer
//! format, another program's folder, the file that a spool once was, and a folder that cannot be
//! written. Each is refused with a remedy; nothing is refused and changed.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::delivery::event;
use crate::harness::setup::{SECRET, ends_by};
use crate::harness::{Outlet, Report, Setup};
use crate::spool::layout;

/// Every file below a folder with its bytes; or the file itself, where it is none.
fn files(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![path.to_owned()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(path).unwrap();
            left.extend(entries.map(|entry| entry.unwrap().path()));
        } else {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

/// Asserts that the bridge refuses what lies in the spool's place, says all this, and leaves every
/// file as it was.
async fn assert_refused(setup: &Setup, words: &[&str]) {
    let path = &setup.spool_folder;
    let mut before = files(path);
    let (code, said) = setup.fails().await;
    // 2 where the configuration itself will not do, 1 where what lies there will not.
    assert!(matches!(code, Some(1 | 2)), "{code:?}: {said}");
    let name = path.display().to_string();
    assert!(said.contains(&name), "it names the folder: {said}");
    assert!(!said.contains("panicked"), "{said}");
    for word in words {
        assert!(said.contains(word), "it says {word:?}: {said}");
    }
    let mut after = files(path);
    // The lock is taken before anything is read, because its holder may be changing it.
    for files in [&mut before, &mut after] {
        files.remove(&path.join("lock"));
    }
    assert!(after == before, "what is refused is left as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_18_a_second_instance_is_refused_and_the_first_goes_on() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let accepted = |object| bridge.accepted(&setup.source, event("sample.uploaded", object));
    let first = accepted("a").await;
    let (code, said) = setup.fails().await;
    assert_eq!(code, Some(1), "{said}");
    let held = format!(
        "{} is in use by another process",
        setup.spool_folder.display()
    );
    assert!(said.contains(&held), "{said}");
    assert!(said.contains("a bridge runs on it"), "{said}");
    let second = accepted("b").await;
    Outlet::Store
        .has(&bridge, &setup.source, &[first, second])
        .await;
    bridge.drained().await;
    let metrics = bridge.metrics().await;
    metrics.assert_balanced("store");
    let is = |name: &str, value: f64| {
        assert!(
            (metrics.sum(name, &[]) - value).abs() < f64::EPSILON,
            "{name}"
        );
    };
    is("events_accepted_total", 2.0);
    is("spool_writable", 1.0);
    is("spool_corrupt_records_total", 0.0);
    Report::row(18)
        .did("a second bridge on the same spool")
        .held();
}

#[tokio::test(flavor = "multi_thread")]
async fn row_35_a_newer_format_is_refused_untouched() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
    bridge.kill();
    let segment = setup.spool_folder.join("000000000001.log");
    let mut bytes = fs::read(&segment).unwrap();
    layout::make_newer(&mut bytes, 9);
    fs::write(segment, bytes).unwrap();
    assert_refused(&setup, &["format version 9", "run the newer program"]).await;
    Report::row(35)
        .did("a spool of a newer format: refused, not a byte changed")
        .held();
}

#[tokio::test(flavor = "multi_thread")]
async fn row_35_another_programs_folder_is_refused_untouched() {
    let setup = Setup::store();
    fs::create_dir(&setup.spool_folder).unwrap();
    let file = setup.spool_folder.join("notes.txt");
    fs::write(&file, "listen = \"0.0.0.0:8080\"\n".repeat(400)).unwrap();
    assert_refused(
        &setup,
        &["notes.txt", "no file of this log", "move it away"],
    )
    .await;
    let names = fs::read_dir(&setup.spool_folder).unwrap();
    assert_eq!(names.count(), 1, "nothing is put into it");
    // Nor is a file taken for a segment because of its name.
    fs::rename(file, setup.spool_folder.join("000000000001.log")).unwrap();
    assert_refused(&setup, &["000000000001.log", "no file of this log"]).await;
    Report::row(35)
        .did("another program's folder in the spool's place: refused, not a byte changed")
        .held();
}

#[tokio::test(flavor = "multi_thread")]
async fn row_35_the_file_that_a_spool_once_was_is_refused_untouched() {
    let old = [b"SQLite format 3\0".as_slice(), &[7; 8192]].concat();
    let mut setup = Setup::store();
    setup.spool_folder = setup.path("spool.db");
    fs::write(&setup.spool_folder, &old).unwrap();
    assert_refused(&setup, &["spool.path", "is a file", "name a folder"]).await;
    // The same where the folder around it is named.
    let mut setup = Setup::store();
    setup.spool_folder = setup.path("lib");
    fs::create_dir(&setup.spool_folder).unwrap();
    fs::write(setup.spool_folder.join("spool.db"), &old).unwrap();
    assert_refused(&setup, &["spool.db", "name an empty folder"]).await;
    Report::row(35)
        .did("an old `spool.db`, named or in the folder that is named: refused, not a byte changed")
        .held();
}

/// A setup whose spool lies in a folder of its own, which anybody may enter.
fn setup_with_a_folder() -> (Setup, PathBuf) {
    let mut setup = Setup::store();
    let folder = setup.path("spool");
    fs::create_dir(&folder).unwrap();
    setup.spool_folder.clone_from(&folder);
    for open in [folder.parent().unwrap(), &folder] {
        fs::set_permissions(open, Permissions::from_mode(0o777)).unwrap();
    }
    (setup, folder)
}

fn assert_says_that_it_cannot_write(code: Option<i32>, said: &str, folder: &Path) {
    // 2 where the folder as it is configured will not do, 1 where the file in it will not.
    assert!(matches!(code, Some(1 | 2)), "{code:?}: {said}");
    let folder = folder.display().to_string();
    assert!(said.contains(&folder), "it names the folder: {said}");
    let says = |words: &str| said.contains(words);
    let remedies = ["writable", "give the files to the user"];
    assert!(remedies.into_iter().any(says), "it says what to do: {said}");
    assert!(!said.contains("panicked"), "{said}");
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id is there");
    id.stdout == b"0\n"
}

/// The bridge as somebody whom permissions bind: root, whom they do not, becomes nobody.
fn unprivileged() -> Command {
    let program = env!("CARGO_BIN_EXE_hookferry");
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", program]);
    command
}

#[ignore = "tests/run --faults: as root the bridge has to become somebody else, who can reach its program"]
#[tokio::test(flavor = "multi_thread")]
async fn row_35_a_folder_or_a_segment_without_the_right_to_write_is_named_with_what_to_do() {
    let (setup, folder) = setup_with_a_folder();
    let bridge = setup.start().await;
    bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
    bridge.drained().await;
    bridge.stop().await;
    let before = files(&folder);
    // The sink is not what this is about.
    allow(&setup.path("topics"), 0o777, 0o666);
    // The folder may not be written, nor may its segments; then its segments alone may not.
    for mode in [0o555, 0o777] {
        allow(&folder, 0o777, 0o444);
        fs::set_permissions(folder.join("lock"), Permissions::from_mode(0o666)).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
        let (code, said) = ends_by(&mut unprivileged(), &setup.write()).await;
        assert_says_that_it_cannot_write(code, &said, &folder);
    }
    assert!(files(&folder) == before);
    // Nothing is there yet, and nothing can be made.
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o555)).unwrap();
    let (code, said) = ends_by(&mut unprivileged(), &setup.write()).await;
    assert_says_that_it_cannot_write(code, &said, &folder);
    Report::row(35)
        .did("a spool that may not be written, by permissions: refused with what to do")
        .held();
}

/// The number of threads is the user's, and root has no such limit.
fn with_threads(most: u32) -> Command {
    let inner = unprivileged();
    let mut command = Command::new("prlimit");
    command.arg(format!("--nproc={most}:{most}"));
    command.arg(inner.get_program()).args(inner.get_args());
    command
}

#[ignore = "tests/run --faults: as root the bridge has to become somebody else, who can reach its program"]
#[tokio::test(flavor = "multi_thread")]
async fn without_threads_a_bridge_is_not_ready_and_says_so_but_its_health_can_be_asked() {
    let (setup, folder) = setup_with_a_folder();
    let topics = setup.path("topics");
    fs::create_dir(&topics).unwrap();
    for open in [&folder, &topics] {
        fs::set_permissions(open, Permissions::from_mode(0o777)).unwrap();
    }
    for most in [2, 6] {
        let (code, said) = ends_by(&mut with_threads(most), &setup.write()).await;
        assert_eq!(code, Some(1), "{said}");
        for part in ["no more threads", "pids_limit", "ulimit -u"] {
            assert!(said.contains(part), "{part} is not in {said}");
        }
        assert!(!said.contains("the bridge is ready"), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    let bridge = setup.start().await;
    let url = format!("http://{}", bridge.admin);
    // Neither an address nor this machine's own name has to be looked up.
    for host in ["127.0.0.1", "localhost"] {
        let url = url.replace("127.0.0.1", host);
        let health = with_threads(1).args(["health", "--url", &url]).output();
        let health = health.unwrap();
        assert_eq!(health.stdout, b"ready\n", "{host}: {health:?}");
    }
    let health = ["health", "--url", "http://bridge.invalid:8081"];
    let said = is_short_of_threads(with_threads(1).args(health));
    assert!(
        said.contains("bridge.invalid cannot be looked up"),
        "{said}"
    );
    bridge.stop().await;
}

/// Asserts that the command fails for want of threads, and says what to do; returns what it says.
fn is_short_of_threads(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // 2 where a sink's configuration cannot be tried for want of them.
    assert!(matches!(output.status.code(), Some(1 | 2)), "{output:?}");
    for part in ["no more threads", "pids_limit", "ulimit -u"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
    said
}

#[ignore = "tests/run --faults: as root the bridge has to become somebody else, who can reach its program"]
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_may_have_no_more_threads_says_so() {
    let setup = Setup::kafka("127.0.0.1:9");
    let config = setup.write();
    let folder = config.parent().unwrap();
    allow(folder, 0o777, 0o644);
    // For librdkafka's trial of the configuration, for the runtime, for the client.
    for most in [1, 2, 4, 10] {
        let mut check = with_threads(most);
        check.args(["check", "--connect", "--config"]).arg(&config);
        is_short_of_threads(&mut check);
    }
    let setup = Setup::store();
    let bridge = setup.start().await;
    let url = format!("http://{}/webhooks/{}", bridge.ingress, setup.source);
    let send = |most: u32, more: &[&str]| {
        let mut send = with_threads(most);
        send.args(["send", "--url", &url, "--secret-env", "WEBHOOK_SECRET"]);
        send.args(more).env("WEBHOOK_SECRET", SECRET);
        send
    };
    let one = send(1, &[]).output().unwrap();
    assert!(one.stdout.starts_with(b"200 "), "{one:?}");
    is_short_of_threads(&mut send(3, &["--count", "50", "--parallel", "8"]));
    bridge.stop().await;
}

/// Gives everything below a folder these rights, folders and files.
fn allow(folder: &Path, folders: u32, files: u32) {
    fs::set_permissions(folder, Permissions::from_mode(folders)).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            allow(&path, folders, files);
        } else {
            fs::set_permissions(path, Permissions::from_mode(files)).unwrap();
        }
    }
}

/// A mount that goes with the test.
struct ReadOnly<'a>(&'a Path);

impl<'a> ReadOnly<'a> {
    fn mount(folder: &'a Path) -> Self {
        for options in [&["--bind"][..], &["-o", "remount,bind,ro"]] {
            let mut mount = Command::new("mount");
            mount.args(options).arg(folder);
            if options == ["--bind"] {
                mount.arg(folder);
            }
            assert!(
                mount.status().expect("mount is there").success(),
                "this test needs root"
            );
        }
        Self(folder)
    }
}

impl Drop for ReadOnly<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[ignore = "tests/run --faults: needs root, to mount"]
#[tokio::test(flavor = "multi_thread")]
async fn row_35_a_read_only_disk_is_named_with_what_to_do() {
    let (setup, folder) = setup_with_a_folder();
    let bridge = setup.start().await;
    bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
    bridge.kill();
    let before = files(&folder);
    let mount = ReadOnly::mount(&folder);
    let (code, said) = setup.fails().await;
    assert_says_that_it_cannot_write(code, &said, &folder);
    drop(mount);
    assert!(files(&folder) == before);
    // With the right to write again it goes on where it was.
    let bridge = setup.start().await;
    bridge.drained().await;
    bridge.metrics().await.assert_balanced("store");
    Report::row(35)
        .did("a spool on a disk mounted read-only: refused with what to do, then goes on")
        .held();
}
