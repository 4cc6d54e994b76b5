//! Every way a file can be opened or not.

use super::*;
use std::io::{Read, Seek, SeekFrom, Write};
use tempfile::TempDir;

const OURS: Identity = Identity {
    name: "test",
    application_id: 0x0102_0304,
    version: 1,
    schema: "CREATE TABLE rows (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT",
    former: &[],
};

fn folder() -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("test.db");
    (folder, path)
}

fn open(path: &Path) -> Result<(Claim, Connection), OpenError> {
    let claim = Claim::take(path, OURS)?;
    let connection = claim.open(Sharing::Exclusive)?;
    Ok((claim, connection))
}

fn insert(connection: &Connection, text: &str) {
    connection
        .execute("INSERT INTO rows (text) VALUES (?1)", [text])
        .expect("inserted");
}

fn count(connection: &Connection) -> i64 {
    connection
        .query_row("SELECT count(*) FROM rows", (), |row| row.get(0))
        .expect("counted")
}

fn overwrite(path: &Path, offset: u64, bytes: &[u8]) {
    let mut file = File::options().write(true).open(path).expect("there");
    file.seek(SeekFrom::Start(offset)).expect("within");
    file.write_all(bytes).expect("written");
}

#[test]
fn what_was_committed_is_there_again() {
    for sharing in [Sharing::Exclusive, Sharing::Readers] {
        let (_folder, path) = folder();
        let claim = Claim::take(&path, OURS).expect("free");
        insert(&claim.open(sharing).expect("made"), "one");
        assert_eq!(count(&claim.open(sharing).expect("again")), 1);
    }
}

#[test]
fn every_setting_is_the_one_that_was_named() {
    let (_folder, path) = folder();
    let (_claim, connection) = open(&path).expect("made");
    for (name, expected) in [
        ("journal_mode", "wal"),
        ("locking_mode", "exclusive"),
        ("synchronous", "2"),
        ("temp_store", "2"),
        ("page_size", "4096"),
        ("wal_autocheckpoint", "4000"),
        ("application_id", "16909060"),
    ] {
        let value: rusqlite::types::Value = connection
            .pragma_query_value(None, name, |row| row.get(0))
            .expect("known");
        let text = match value {
            rusqlite::types::Value::Integer(number) => number.to_string(),
            rusqlite::types::Value::Text(text) => text,
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(text, expected, "{name}");
    }
    assert!(!beside(&path, "-shm").exists());
}

#[test]
fn a_second_owner_is_refused_and_told_the_file() {
    let (_folder, path) = folder();
    let first = open(&path).expect("made");
    let error = open(&path).expect_err("held");
    assert!(matches!(error, OpenError::Held { .. }), "{error}");
    assert!(error.to_string().contains("test.db is in use"), "{error}");
    drop(first);
    assert!(open(&path).is_ok());
}

#[test]
fn a_program_that_knows_nothing_of_claims_is_noticed_and_kept_out() {
    let (_folder, path) = folder();
    drop(open(&path).expect("made"));
    let stranger = Connection::open(&path).expect("opened");
    stranger
        .execute_batch("BEGIN; SELECT * FROM rows")
        .expect("read");
    assert!(matches!(open(&path), Err(OpenError::Held { .. })));
    stranger.execute_batch("COMMIT").expect("ended");
    drop(stranger);
    let _ours = open(&path).expect("free again");
    let stranger = Connection::open(&path).expect("opened");
    stranger.busy_timeout(Duration::ZERO).expect("set");
    assert!(stranger.execute_batch("SELECT * FROM rows").is_err());
}

#[test]
fn readers_see_what_the_owner_committed_and_cannot_write() {
    let (_folder, path) = folder();
    let claim = Claim::take(&path, OURS).expect("free");
    let owner = claim.open(Sharing::Readers).expect("made");
    let reader = open_reader(claim.path()).expect("readable");
    insert(&owner, "one");
    assert_eq!(count(&reader), 1);
    assert!(reader.execute("DELETE FROM rows", ()).is_err());
}

#[test]
fn a_newer_format_is_refused_with_both_versions() {
    let (_folder, path) = folder();
    let newer = Identity { version: 7, ..OURS };
    drop(
        Claim::take(&path, newer)
            .expect("free")
            .open(Sharing::Exclusive),
    );
    match open(&path) {
        Err(OpenError::Newer {
            found: 7, known: 1, ..
        }) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn foreign_files_are_named_and_not_changed_by_a_byte() {
    let (_folder, path) = folder();
    let other = Connection::open(&path).expect("made");
    let script = "PRAGMA journal_mode=WAL; CREATE TABLE t (x); INSERT INTO t VALUES (1)";
    other.execute_batch(script).expect("filled");
    drop(other);
    assert_foreign(&path);
    fs::write(
        &path,
        b"not a database, but long enough to look at".repeat(200),
    )
    .expect("written");
    assert_foreign(&path);
}

fn assert_foreign(path: &Path) {
    let before = fs::read(path).expect("there");
    let error = open(path).expect_err("foreign");
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    assert_eq!(fs::read(path).expect("there"), before);
}

#[test]
fn damage_is_told_from_a_newer_program() {
    for (offset, bytes, what) in [
        (60, &[0, 9][..], "half of the version"),
        (100, &[0xff; 8][..], "the schema's page"),
    ] {
        let (_folder, path) = folder();
        drop(open(&path).expect("made"));
        overwrite(&path, offset, bytes);
        let error = open(&path).expect_err(what);
        assert!(
            matches!(error, OpenError::Damaged { .. }),
            "{what}: {error}"
        );
    }
}

#[test]
fn a_changed_name_in_the_schema_is_damage() {
    let (_folder, path) = folder();
    drop(open(&path).expect("made"));
    let mut bytes = Vec::new();
    File::open(&path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .expect("read");
    let name = b"text TEXT";
    let at = bytes.windows(name.len()).position(|window| window == name);
    overwrite(&path, at.expect("in the schema") as u64, b"test");
    assert!(matches!(open(&path), Err(OpenError::Damaged { .. })));
}

#[test]
fn a_file_without_its_bytes_is_damage_and_never_a_new_one() {
    let (_folder, path) = folder();
    File::create(&path).expect("made");
    assert!(matches!(open(&path), Err(OpenError::Damaged { .. })));
    fs::rename(&path, beside(&path, "-wal")).expect("renamed");
    fs::write(beside(&path, "-wal"), b"frames").expect("written");
    assert!(matches!(open(&path), Err(OpenError::Damaged { .. })));
}

#[test]
fn a_missing_folder_and_a_full_name_are_the_systems_errors() {
    let (folder, _) = folder();
    let error = open(&folder.path().join("missing/test.db")).expect_err("no folder");
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
    assert!(
        error.to_string().contains("the folder must exist"),
        "{error}"
    );
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn what_a_crash_left_of_an_unfinished_file_does_not_matter() {
    let (_folder, path) = folder();
    fs::write(beside(&path, ".new"), b"half a page").expect("written");
    fs::write(beside(&path, ".new-journal"), b"half a journal").expect("written");
    assert_eq!(count(&open(&path).expect("made").1), 0);
    assert!(!beside(&path, ".new").exists());
}

#[test]
fn a_file_moved_aside_makes_room_and_keeps_its_content() {
    let (_folder, path) = folder();
    let (claim, connection) = open(&path).expect("made");
    insert(&connection, "one");
    drop(connection);
    let first = claim.move_aside(1_800_000_000).expect("moved");
    assert!(first.ends_with("test.db.damaged-1800000000"), "{first:?}");
    assert_eq!(count(&Connection::open(&first).expect("kept")), 1);
    assert_eq!(count(&claim.open(Sharing::Exclusive).expect("new")), 0);
    assert_ne!(claim.move_aside(1_800_000_000).expect("moved"), first);
}

#[test]
fn in_memory_it_has_the_same_tables() {
    let connection = open_in_memory(&OURS).expect("memory");
    insert(&connection, "one");
    assert_eq!(count(&connection), 1);
}
