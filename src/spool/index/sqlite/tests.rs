//! What becomes of the file.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use rusqlite::{Transaction, ffi};
use tempfile::TempDir;

use super::super::tests::{entry, id, sequence, timed};
use super::*;

/// Every statement about ids.
const STATEMENTS: [&str; 9] = [
    FIND,
    ENTER,
    RENEW,
    REMOVE,
    FORGET,
    OLD_TIMED,
    OLD_UNTIMED,
    FORGET_TIMED,
    FORGET_UNTIMED,
];

const MAX_IDS: u64 = 100_000;
/// Beyond all sequences of the tests.
const LOG_NEXT: u64 = 1_000_000;

struct SpoolLocation {
    _folder: TempDir,
    path: PathBuf,
}

impl SpoolLocation {
    fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let path = folder.path().join("ids.db");
        Self {
            _folder: folder,
            path,
        }
    }

    /// A place with an index that knows so many ids.
    fn with(count: u64) -> Self {
        let place = Self::new();
        let added = place.open().add(&timed(1, count), count);
        assert_eq!(added.expect("add"), 0);
        place
    }

    fn open(&self) -> SqliteIndex {
        self.open_for(MAX_IDS)
    }

    fn open_for(&self, max_ids: u64) -> SqliteIndex {
        SqliteIndex::open(self.path.clone(), LOG_NEXT, max_ids)
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        PathBuf::from(format!("{}{suffix}", self.path.display()))
    }

    /// Changes the file by SQL.
    fn change(&self, sql: &str) {
        let connection = Connection::open(&self.path).expect("a database");
        connection.execute_batch(sql).expect("a change");
    }

    /// The file must be found unfit, and what takes its place must work.
    fn assert_made_anew(&self) {
        assert_begins_anew(&self.open());
        let again = self.open();
        assert_eq!(again.through(), 70);
        assert_eq!(sequence(&again, id(70, 7)), Some(70));
    }
}

fn assert_begins_anew(index: &SqliteIndex) {
    assert_eq!(index.through(), 0);
    for entry in timed(1, 60) {
        assert_eq!(sequence(index, entry.id), None);
    }
    assert_eq!(index.add(&timed(70, 1), 70).expect("add"), 0);
    assert_eq!(index.through(), 70);
    assert_eq!(sequence(index, id(70, 7)), Some(70));
}

/// Does something in a transaction of the index.
fn in_transaction(
    index: &SqliteIndex,
    work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
) -> Result<(), IndexError> {
    index.write(|writer| {
        let transaction = writer.connection.transaction()?;
        work(&transaction)?;
        Ok(transaction.commit()?)
    })
}

/// How many ids it counts.
fn count(index: &SqliteIndex) -> u64 {
    let writer = lock(&index.writer);
    let connection = &writer.as_ref().expect("a writer").connection;
    let count = connection.query_row(COUNT, [], |row| row.get(0));
    count.expect("a count")
}

fn overwrite(path: &Path, from: u64, to: u64) {
    let file = File::options().write(true).open(path).expect("the file");
    let junk = vec![0xa5; usize::try_from(to - from).expect("a size")];
    file.write_all_at(&junk, from).expect("a write");
}

#[test]
fn everything_is_there_after_it_was_closed() {
    let place = SpoolLocation::new();
    let added = [timed(1, 2_000), vec![entry(id(0, 4), 2_001, 5)]].concat();
    place.open().add(&added, 2_001).expect("add");
    assert!(!place.beside("-wal").exists());
    let index = place.open();
    assert_eq!(index.through(), 2_001);
    let newest = lock(&index.reader).as_ref().expect("a reader").newest;
    assert_eq!(newest, *id(2_000, 7).as_bytes());
    for entry in &added {
        assert_eq!(sequence(&index, entry.id), Some(entry.sequence));
    }
    assert_eq!(sequence(&index, id(2_001, 7)), None);
}

#[test]
fn everything_is_there_after_a_kill() {
    let (killed, place) = (SpoolLocation::new(), SpoolLocation::new());
    let index = killed.open();
    index.add(&timed(1, 50), 50).expect("add");
    index.add(&timed(51, 10), 60).expect("add");
    for suffix in ["", "-wal"] {
        fs::copy(killed.beside(suffix), place.beside(suffix)).expect("a copy");
    }
    let index = place.open();
    // What a failed sync may have left in the cache alone is written again before it is built upon.
    let log = fs::metadata(place.beside("-wal")).expect("a log").len();
    assert_eq!(log, 0);
    assert_eq!(index.through(), 60);
    assert_eq!(sequence(&index, id(60, 7)), Some(60));
    assert_eq!(sequence(&index, id(1, 7)), Some(1));
}

#[test]
fn a_torn_commit_is_none() {
    let (killed, place) = (SpoolLocation::new(), SpoolLocation::new());
    let index = killed.open();
    index.add(&timed(1, 50), 50).expect("add");
    let whole = fs::metadata(killed.beside("-wal")).expect("a log").len();
    index.add(&timed(51, 10), 60).expect("add");
    for suffix in ["", "-wal"] {
        fs::copy(killed.beside(suffix), place.beside(suffix)).expect("a copy");
    }
    overwrite(&place.beside("-wal"), whole + 100, whole + 200);
    let index = place.open();
    assert_eq!(index.through(), 50);
    assert_eq!(sequence(&index, id(50, 7)), Some(50));
    assert_eq!(sequence(&index, id(51, 7)), None);
    assert_eq!(index.add(&timed(51, 10), 60).expect("add"), 0);
    assert_eq!(sequence(&index, id(51, 7)), Some(51));
}

#[test]
fn all_files_are_the_owners_alone() {
    let place = SpoolLocation::new();
    let index = place.open();
    index.add(&timed(1, 5), 5).expect("add");
    for suffix in ["", "-wal", "-shm"] {
        let found = fs::metadata(place.beside(suffix)).expect("a file");
        assert_eq!(found.permissions().mode() & 0o777, 0o600, "{suffix}");
    }
}

#[test]
fn the_write_ahead_log_stays_small() {
    let place = SpoolLocation::new();
    let index = place.open();
    for first in (1..60_000).step_by(1_000) {
        index.add(&timed(first, 1_000), first + 999).expect("add");
        while index.expire(id(first, 0), 0, &|_| false).expect("ok").more {}
        let log = fs::metadata(place.beside("-wal")).expect("a log").len();
        assert!(log < 4 << 20, "{log} bytes");
    }
    // Every id takes 36 bytes and more, and what was forgotten makes space for what comes.
    let file = fs::metadata(&place.path).expect("a file").len();
    assert!(file < 1 << 20, "{file} bytes");
}

#[test]
fn an_id_takes_less_than_fifty_bytes() {
    let place = SpoolLocation::with(50_000);
    let bytes = fs::metadata(&place.path).expect("a file").len();
    assert!(bytes < 50 * 50_000, "{bytes} bytes");
}

#[test]
fn no_statement_reads_more_than_it_is_about() {
    let place = SpoolLocation::with(1);
    let connection = Connection::open(&place.path).expect("a database");
    for sql in STATEMENTS {
        let explain = format!("EXPLAIN QUERY PLAN {sql}");
        let mut statement = connection.prepare(&explain).expect("a statement");
        let wanted = statement.parameter_count();
        let nulls = rusqlite::params_from_iter(vec![None::<i64>; wanted]);
        let steps = statement
            .query_map(nulls, |row| row.get(3))
            .expect("a plan");
        let steps = steps.collect::<rusqlite::Result<Vec<String>>>();
        let steps = steps.expect("steps").join("; ");
        assert!(!steps.contains("SCAN"), "{sql}: {steps}");
        assert!(!steps.contains("ORDER BY"), "{sql}: {steps}");
        let by_hour = [OLD_UNTIMED, FORGET_UNTIMED].contains(&sql);
        assert_eq!(by_hour, steps.contains("untimed_by_hour"), "{sql}: {steps}");
    }
}

#[test]
fn a_bound_that_was_lowered_is_reached_in_bounded_steps() {
    let place = SpoolLocation::with(3_000);
    let index = place.open_for(100);
    let steps = (0..8).map(|_| index.add(&[], 0).expect("add"));
    assert_eq!(
        steps.collect::<Vec<_>>(),
        [512, 512, 512, 512, 512, 340, 0, 0]
    );
    assert_eq!(sequence(&index, id(2_900, 7)), None);
    assert_eq!(sequence(&index, id(2_901, 7)), Some(2_901));
    assert_eq!(index.through(), 3_000);
}

/// A transaction that is not committed holds the writer; a find neither waits for it nor sees it.
#[test]
fn a_find_does_not_wait_for_an_add() {
    let place = SpoolLocation::with(60);
    let index = &place.open();
    let (held, is_held) = mpsc::channel();
    let (found, is_found) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            in_transaction(index, |transaction| {
                for new in timed(61, 2_000) {
                    enter(transaction, &new)?;
                }
                lock(&index.reader).as_mut().expect("a reader").newest = [0xff; 16];
                held.send(()).expect("a listener");
                is_found.recv().expect("it was found");
                Ok(())
            })
        });
        is_held.recv().expect("a transaction");
        assert_eq!(index.through(), 60);
        assert_eq!(sequence(index, id(60, 7)), Some(60));
        assert_eq!(sequence(index, id(61, 7)), None);
        found.send(()).expect("the writer");
    });
    assert_eq!(sequence(index, id(61, 7)), Some(61));
}

#[test]
fn finds_stay_right_beside_adds_and_checkpoints() {
    let place = SpoolLocation::new();
    let index = place.open();
    thread::scope(|scope| {
        let adds = scope.spawn(|| {
            for first in (1..20_000).step_by(500) {
                index.add(&timed(first, 500), first + 499).expect("add");
            }
        });
        let mut number = 0;
        while !adds.is_finished() {
            let through = index.through();
            if through > 0 {
                number = (number + 7_919) % through;
                let wanted = number + 1;
                assert_eq!(sequence(&index, id(wanted, 7)), Some(wanted));
            }
        }
    });
}

#[test]
fn a_transaction_that_fails_leaves_nothing() {
    let place = SpoolLocation::with(60);
    let index = place.open();
    let full = || {
        let error = ffi::Error::new(ffi::SQLITE_FULL);
        rusqlite::Error::SqliteFailure(error, None)
    };
    let failed = in_transaction(&index, |transaction| {
        enter(transaction, &entry(id(40, 1), 61, 0))?;
        execute(transaction, ENTERED, [61, 1])?;
        Err(full())
    });
    assert!(matches!(failed, Err(IndexError::Full(_))));
    assert_eq!(index.through(), 60);
    assert_eq!(sequence(&index, id(40, 1)), None);
    assert_eq!(count(&index), 60);
    assert_eq!(index.add(&timed(61, 1), 61).expect("add"), 0);
    assert_eq!((index.through(), count(&index)), (61, 61));
    index.remove(id(7, 7)).expect("remove");
    index.remove(id(7, 7)).expect("remove");
    assert_eq!(count(&index), 60);
}

#[test]
fn errors_are_named_by_what_to_do_about_them() {
    let place = SpoolLocation::with(60);
    let index = place.open();
    let fail = |code| {
        let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        index.write(|_| Err::<(), _>(error.into())).err()
    };
    for code in [ffi::SQLITE_FULL, ffi::SQLITE_IOERR_SHMSIZE] {
        assert!(matches!(fail(code), Some(IndexError::Full(_))));
    }
    for code in [
        ffi::SQLITE_BUSY,
        ffi::SQLITE_IOERR_WRITE,
        ffi::SQLITE_IOERR_FSYNC,
    ] {
        assert!(matches!(fail(code), Some(IndexError::Unavailable(_))));
    }
    assert_eq!(index.through(), 60);
    for code in [ffi::SQLITE_CORRUPT, ffi::SQLITE_IOERR_READ] {
        assert!(matches!(fail(code), Some(IndexError::Damaged(_))));
        assert_begins_anew(&index);
    }
}

#[test]
fn a_missing_file_is_made_and_an_old_write_ahead_log_is_not_taken_for_its_own() {
    let (killed, place) = (SpoolLocation::new(), SpoolLocation::new());
    let index = killed.open();
    index.add(&timed(1, 60), 60).expect("add");
    fs::copy(killed.beside("-wal"), place.beside("-wal")).expect("a copy");
    place.assert_made_anew();
}

#[test]
fn files_that_are_no_index_are_made_anew() {
    let contents: [&[u8]; 3] = [b"", b"ids", &[b'x'; 9_000]];
    for content in contents {
        let place = SpoolLocation::new();
        fs::write(&place.path, content).expect("a file");
        place.assert_made_anew();
    }
}

#[test]
fn databases_that_are_no_index_of_this_format_are_made_anew() {
    for change in [
        "PRAGMA application_id = 1",
        "PRAGMA application_id = 0x48464901",
        "PRAGMA application_id = 0x48464903",
        "DROP TABLE ids",
        "DROP TABLE state",
        "DELETE FROM state",
        "ALTER TABLE ids RENAME COLUMN digest TO hash",
        "UPDATE state SET through = -1",
        "UPDATE state SET through = 'x'",
        "INSERT INTO ids VALUES (x'ff', 0, 0, 0)",
        "DELETE FROM ids; INSERT INTO ids VALUES ('text', 0, 0, 0)",
    ] {
        let place = SpoolLocation::with(60);
        place.change(change);
        eprintln!("{change}");
        place.assert_made_anew();
    }
    let foreign = SpoolLocation::new();
    foreign.change("CREATE TABLE ids (id); INSERT INTO ids VALUES (1)");
    foreign.assert_made_anew();
}

#[test]
fn an_index_of_another_log_is_made_anew() {
    let open = |place: &SpoolLocation, next| {
        let index = SqliteIndex::open(place.path.clone(), next, MAX_IDS);
        (index.through(), sequence(&index, id(60, 7)))
    };
    let place = SpoolLocation::with(60);
    assert_eq!(open(&place, 61), (60, Some(60)));
    assert_eq!(open(&place, 60), (0, None));
    assert_eq!(open(&place, 61), (0, None));
    assert_eq!(open(&SpoolLocation::with(60), 1), (0, None));
    // A log that has given no sequence yet, and an index that was just made.
    let place = SpoolLocation::new();
    assert_eq!(open(&place, 0), (0, None));
    let index = SqliteIndex::open(place.path.clone(), 0, MAX_IDS);
    index.add(&timed(60, 1), 0).expect("add");
    drop(index);
    assert_eq!(open(&place, 0), (0, Some(60)));
}

#[test]
fn files_cut_anywhere_are_made_anew() {
    for pages in [0, 1, 2, 5, 20, 40] {
        for odd in [0, 1_000] {
            let place = SpoolLocation::with(8_000);
            let file = File::options().write(true).open(&place.path);
            let cut = pages * 4_096 + odd;
            file.expect("the file").set_len(cut).expect("a cut");
            place.assert_made_anew();
        }
    }
}

#[test]
fn a_file_with_damaged_pages_is_made_anew_when_that_is_noticed() {
    for (from, to) in [(0, 16), (0, 4_096), (100, 200), (4_096, 16_384)] {
        let place = SpoolLocation::with(8_000);
        overwrite(&place.path, from, to);
        assert_breaks_and_begins_anew(&place.open());
    }
}

/// The damage was found at the opening, or is by the first call that reads there.
fn assert_breaks_and_begins_anew(index: &SqliteIndex) {
    if index.through() != 0 {
        assert_eq!(index.through(), 8_000);
        let broken = timed(1, 8_000)
            .iter()
            .find_map(|entry| index.find(entry.id).err());
        assert!(matches!(broken, Some(IndexError::Damaged(_))));
        assert_eq!(index.through(), 0);
        let refused = index.add(&timed(8_001, 1), 8_001);
        assert!(matches!(refused, Err(IndexError::Damaged(_))));
    }
    assert_begins_anew(index);
}

#[test]
fn damage_that_a_find_meets_is_noticed_by_the_next_call_of_any_kind() {
    type Call = fn(&SqliteIndex) -> Result<(), IndexError>;
    let calls: [Call; 3] = [
        |index| index.add(&timed(9_000, 1), 9_000).map(drop),
        |index| index.expire(id(1, 0), 1, &|_| false).map(drop),
        |index| index.remove(id(1, 7)),
    ];
    for call in calls {
        let place = SpoolLocation::with(8_000);
        // The leaves, but neither the schema nor the roots.
        let index = place.open();
        let end = fs::metadata(&place.path).expect("a file").len();
        overwrite(&place.path, 8 * 4_096, end - 8 * 4_096);
        let found = index.find(id(4_000, 7));
        assert!(matches!(found, Err(IndexError::Damaged(_))), "{found:?}");
        assert_eq!(index.through(), 0);
        assert!(matches!(call(&index), Err(IndexError::Damaged(_))));
        assert_begins_anew(&index);
    }
}

#[test]
fn damage_that_forgetting_meets_is_noticed() {
    let place = SpoolLocation::with(8_000);
    let index = place.open();
    let end = fs::metadata(&place.path).expect("a file").len();
    overwrite(&place.path, 8 * 4_096, end - 8 * 4_096);
    let slices = (0..20).map(|_| index.expire(id(8_000, 0), 1, &|_| false));
    let broken = slices.filter_map(Result::err).next();
    assert!(matches!(broken, Some(IndexError::Damaged(_))), "{broken:?}");
    assert_begins_anew(&index);
}

/// The folder is gone for a while: nothing is known, nothing panics, and then it goes on.
#[test]
fn where_it_cannot_be_made_anew_that_is_tried_again() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("spool").join("ids.db");
    fs::create_dir(folder.path().join("spool")).expect("a folder");
    let index = SqliteIndex::open(path, LOG_NEXT, MAX_IDS);
    index.add(&timed(1, 60), 60).expect("add");
    fs::remove_dir_all(folder.path().join("spool")).expect("a removal");
    index.is_damaged.store(true, Ordering::Release);
    for _ in 0..3 {
        let failed = index.add(&timed(61, 1), 61);
        assert!(matches!(failed, Err(IndexError::Unavailable(_))));
        assert_eq!(index.through(), 0);
        assert!(index.find(id(1, 7)).is_err());
        assert!(index.find(id(99, 7)).is_err());
    }
    fs::create_dir(folder.path().join("spool")).expect("a folder");
    let refused = index.add(&timed(61, 1), 61);
    assert!(matches!(refused, Err(IndexError::Damaged(_))));
    assert_begins_anew(&index);
}

#[test]
fn where_it_cannot_be_opened_that_is_tried_again_and_what_is_there_stays() {
    let (place, aside) = (SpoolLocation::with(60), SpoolLocation::new());
    fs::rename(&place.path, &aside.path).expect("a move");
    fs::create_dir(&place.path).expect("a folder");
    let index = place.open();
    for _ in 0..3 {
        assert_eq!(index.through(), 0);
        for unknown in [id(1, 7), id(99, 7), id(0, 7)] {
            let found = index.find(unknown);
            assert!(matches!(found, Err(IndexError::Unavailable(_))));
        }
        let refused = index.add(&timed(61, 1), 61);
        assert!(matches!(refused, Err(IndexError::Unavailable(_))));
    }
    fs::remove_dir(&place.path).expect("a folder");
    fs::rename(&aside.path, &place.path).expect("a move");
    assert_eq!(index.add(&timed(1, 2), 2).expect("add"), 0);
    assert_eq!(index.through(), 60);
    assert_eq!(sequence(&index, id(60, 7)), Some(60));
    assert_eq!(index.find(id(99, 7)).expect("find"), []);
}
