//! Rows 18 and 35, and what else may lie in the spool's place at start: somebody who has it, a former
//! format, a newer one, a file that is no spool, and a folder that cannot be written. Each is carried
//! over or refused with a remedy; nothing is refused and changed.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::damage::original::{Left, Original, beside, folder, put};
use crate::harness::delivery::event;
use crate::harness::setup::ends_by;
use crate::harness::{Outlet, Report, Setup};

/// The files of a spool, whichever there are.
fn files(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = ["", "-wal", "-shm", "-journal"].map(|suffix| beside(path, suffix));
    let read = |path: PathBuf| fs::read(&path).ok().map(|bytes| (path, bytes));
    files.into_iter().filter_map(read).collect()
}

/// Asserts that the bridge refuses what lies in the spool's place, says all this, and leaves every
/// file as it was.
async fn assert_refused(setup: &Setup, words: &[&str]) {
    let path = setup.path("spool.db");
    let before = files(&path);
    let (code, said) = setup.fails().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("spool.db"), "it names the file: {said}");
    assert!(!said.contains("panicked"), "{said}");
    for word in words {
        assert!(said.contains(word), "it says {word:?}: {said}");
    }
    assert!(files(&path) == before, "a refused file is left as it was");
}

/// Opens the spool as another program would, and leaves what that changes in the log.
fn change(path: &Path, statements: &str) {
    let connection = Connection::open(path).unwrap();
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .unwrap();
    connection.execute_batch(statements).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn row_18_a_second_instance_is_refused_and_the_first_goes_on() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    let accepted = |object| bridge.accepted(&setup.source, event("sample.uploaded", object));
    let first = accepted("a").await;
    let (code, said) = setup.fails().await;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("spool.db is in use by another process"),
        "{said}"
    );
    assert!(said.contains("a path of its own"), "{said}");
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

/// The tables as format 1 had them, and what makes them of those of today.
const FORMAT_1: &str = "
CREATE TABLE sink (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE record (seq INTEGER PRIMARY KEY, sinks INTEGER NOT NULL, crc INTEGER NOT NULL, head BLOB NOT NULL, body BLOB NOT NULL);
CREATE TABLE settled (seq INTEGER, sink INTEGER, PRIMARY KEY (seq, sink)) WITHOUT ROWID;
CREATE TABLE ledger (id BLOB PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE ledger_untimed (id BLOB PRIMARY KEY, seq INTEGER NOT NULL, accepted_at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE dead_letter (number INTEGER PRIMARY KEY AUTOINCREMENT, seq INTEGER NOT NULL, sink INTEGER NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL, buried_at INTEGER NOT NULL, sinks INTEGER NOT NULL, crc INTEGER NOT NULL, head BLOB NOT NULL, body BLOB NOT NULL);
CREATE TABLE tally (name TEXT, sink INTEGER, value INTEGER NOT NULL, PRIMARY KEY (name, sink)) WITHOUT ROWID;
";
const FILL_FORMAT_1: &str = "
INSERT INTO sink SELECT number, name FROM new.sink;
INSERT INTO record SELECT seq, sinks, crc, head, body FROM new.record;
INSERT INTO settled SELECT seq, sink FROM new.settled;
INSERT INTO ledger SELECT id, seq FROM new.ledger;
INSERT INTO ledger_untimed SELECT id, seq, accepted_at FROM new.ledger_untimed;
INSERT INTO dead_letter SELECT number, seq, sink, reason, detail, buried_at, sinks, crc, head, body FROM new.dead_letter;
INSERT INTO tally SELECT name, sink, value FROM new.tally WHERE name <> 'ids';
";

/// The same spool in format 1: the file, and the log that a crash left.
async fn in_format_1(left: Left) -> Original {
    let mut original = Original::make(Left::Closed).await;
    let folder = folder();
    let (new, old) = (folder.path().join("new.db"), folder.path().join("old.db"));
    put(&new, original.files.each_ref().map(Vec::as_slice));
    let header = "PRAGMA page_size = 4096; PRAGMA application_id = 0x48465350; PRAGMA user_version = 0x00010001";
    Connection::open(&old)
        .and_then(|made| {
            made.execute_batch(&format!("{header}; {FORMAT_1}; PRAGMA journal_mode = WAL"))
        })
        .unwrap();
    change(
        &old,
        &format!("ATTACH {:?} AS new; {FILL_FORMAT_1}", new.display()),
    );
    if left == Left::Closed {
        drop(
            Connection::open(&old)
                .and_then(|old| old.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")),
        );
    }
    original.files = ["", "-wal"].map(|suffix| fs::read(beside(&old, suffix)).unwrap_or_default());
    original
}

async fn assert_carried_over(original: &Original, left: Left) {
    let files = original.files.each_ref().map(Vec::as_slice);
    let outcome = original.outcome(files).await;
    assert!(outcome.is_whole(), "{left:?}: {outcome:?}");
    assert!(outcome.kept_aside, "{left:?}: the old file is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_35_a_spool_of_format_1_is_carried_over_whole_and_kept() {
    for left in [Left::Closed, Left::Killed] {
        assert_carried_over(&in_format_1(left).await, left).await;
    }
    Report::row(35)
        .did("a spool of format 1: carried over, the old file kept")
        .held();
}

/// The same spool in format 2, whose tables are the same: as a file, and with the version in the log
/// that a crash left.
async fn in_format_2(left: Left) -> Original {
    let mut original = Original::make(left).await;
    let folder = folder();
    let path = folder.path().join("spool.db");
    put(&path, original.files.each_ref().map(Vec::as_slice));
    change(&path, "PRAGMA user_version = 0x00020002");
    original.files = ["", "-wal"].map(|suffix| fs::read(beside(&path, suffix)).unwrap_or_default());
    original
}

#[tokio::test(flavor = "multi_thread")]
async fn row_35_a_spool_of_format_2_is_carried_over_whole_and_kept() {
    for left in [Left::Closed, Left::Killed] {
        assert_carried_over(&in_format_2(left).await, left).await;
    }
    Report::row(35)
        .did("a spool of format 2: carried over, the old file kept")
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
    let path = setup.path("spool.db");
    // At first the version stands in the log alone, then in the file.
    change(&path, "PRAGMA user_version = 0x00090009");
    assert!(files(&path).len() > 1, "there is a log");
    let words = ["format 9", "run the newer program", "move the file away"];
    assert_refused(&setup, &words).await;
    drop(
        Connection::open(&path)
            .and_then(|file| file.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")),
    );
    assert_refused(&setup, &words).await;
    fs::write(
        beside(&path, "-wal"),
        b"a log of the newer program".repeat(500),
    )
    .unwrap();
    assert_refused(&setup, &words).await;
    Report::row(35)
        .did("a spool of a newer format: refused, not a byte changed")
        .held();
}

#[tokio::test(flavor = "multi_thread")]
async fn row_17_a_file_that_is_no_spool_is_refused_untouched() {
    let setup = Setup::store();
    let path = setup.path("spool.db");
    let words = ["is no spool file", "give another path"];
    fs::write(&path, "listen = \"0.0.0.0:8080\"\n".repeat(400)).unwrap();
    assert_refused(&setup, &words).await;
    fs::write(beside(&path, "-wal"), b"a stray log".repeat(900)).unwrap();
    assert_refused(&setup, &words).await;
    for suffix in ["", "-wal"] {
        fs::remove_file(beside(&path, suffix)).unwrap();
    }
    change(
        &path,
        "PRAGMA journal_mode = WAL; CREATE TABLE accounts (name TEXT); INSERT INTO accounts VALUES ('a')",
    );
    assert_refused(&setup, &words).await;
    Report::row(17)
        .did("another program's file in the spool's place: refused, not a byte changed")
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
    assert!(said.contains("writable"), "it says what to do: {said}");
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
async fn row_35_a_folder_or_a_file_without_the_right_to_write_is_named_with_what_to_do() {
    let (setup, folder) = setup_with_a_folder();
    let bridge = setup.start().await;
    bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
    bridge.drained().await;
    bridge.stop().await;
    let before = files(&folder.join("spool.db"));
    // The lock may be written, the file may not.
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let mode = if path.ends_with("spool.db") {
            0o444
        } else {
            0o666
        };
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    for mode in [0o777, 0o555] {
        fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
        let (code, said) = ends_by(&mut unprivileged(), &setup.write()).await;
        assert_says_that_it_cannot_write(code, &said, &folder);
    }
    assert!(files(&folder.join("spool.db")) == before);
    // Nothing is there yet, and nothing can be made.
    for entry in fs::read_dir(&folder).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let (code, said) = ends_by(&mut unprivileged(), &setup.write()).await;
    assert_says_that_it_cannot_write(code, &said, &folder);
    Report::row(35)
        .did("a spool that may not be written, by permissions: refused with what to do")
        .held();
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
    let before = files(&folder.join("spool.db"));
    let mount = ReadOnly::mount(&folder);
    let (code, said) = setup.fails().await;
    assert_says_that_it_cannot_write(code, &said, &folder);
    drop(mount);
    assert!(files(&folder.join("spool.db")) == before);
    // With the right to write again it goes on where it was.
    let bridge = setup.start().await;
    bridge.drained().await;
    bridge.metrics().await.assert_balanced("store");
    Report::row(35)
        .did("a spool on a disk mounted read-only: refused with what to do, then goes on")
        .held();
}
