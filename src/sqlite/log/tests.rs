//! Logs that SQLite itself has written, whole and damaged.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use tempfile::TempDir;

use super::*;

/// How far apart the bytes are that a test changes: a prime, so that every kind of word is met.
const STRIDE: usize = 61;

/// A database with one row for each commit, and its log.
fn written(commits: usize) -> (TempDir, Connection) {
    let folder = TempDir::new().expect("a folder");
    let connection = Connection::open(folder.path().join("a.db")).expect("made");
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .expect("set");
    connection
        .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x)")
        .expect("a log");
    add(&connection, commits);
    (folder, connection)
}

fn add(connection: &Connection, commits: usize) {
    for number in 0..commits {
        connection
            .execute(
                "INSERT INTO t VALUES (hex(randomblob(900)) || ?1)",
                [number],
            )
            .expect("committed");
    }
}

fn log_of(folder: &TempDir) -> Vec<u8> {
    fs::read(folder.path().join("a.db-wal")).expect("a log")
}

/// The pages by one of the guesses.
fn pages(frames: &[Frame<'_>], guess: usize) -> Vec<(u32, Vec<u8>)> {
    let content = |frame: &Frame<'_>| {
        let content = frame.content(guess);
        (content.page_number, content.page.to_vec())
    };
    frames.iter().map(content).collect()
}

fn guesses(log: &Log<'_>) -> usize {
    let guesses = log.committed().iter().map(Frame::guesses);
    guesses.max().expect("frames")
}

fn rows(path: &Path) -> i64 {
    let connection = Connection::open(path).expect("opened");
    let count = "SELECT count(*) FROM t";
    connection
        .query_row(count, (), |row| row.get(0))
        .expect("read")
}

#[test]
fn a_whole_log_is_read_as_it_was_written() {
    let (folder, _open) = written(9);
    let bytes = log_of(&folder);
    let log = Log::read(&bytes);
    assert_eq!(log.damage(), None);
    assert_eq!(log.readable().len(), (bytes.len() - HEADER) / FRAME);
    assert_eq!(log.committed().len(), log.readable().len());
}

#[test]
fn one_changed_byte_anywhere_is_noticed_and_nearly_always_put_right() {
    let (folder, _open) = written(4);
    let sound = log_of(&folder);
    let expected = pages(Log::read(&sound).committed(), 0);
    let headers = (HEADER..sound.len()).step_by(FRAME);
    let headers = (0..HEADER).chain(headers.flat_map(|at| at..at + FRAME_HEADER));
    let (mut tried, mut mended) = (0, 0);
    for offset in headers.chain((0..sound.len()).step_by(STRIDE)) {
        for change in [0xff, 0x10] {
            let mut damaged = sound.clone();
            damaged[offset] ^= change;
            let log = Log::read(&damaged);
            assert!(log.damage().is_some(), "byte {offset} ^ {change:#x}");
            let right = |guess| pages(log.committed(), guess) == expected;
            tried += 1;
            mended += u32::from((0..guesses(&log)).any(right));
            assert!(guesses(&log) <= MAX_MENDED + 1);
        }
    }
    assert!(mended * 100 > tried * 85, "{mended} of {tried}");
}

#[test]
fn what_a_crash_cut_off_is_no_damage_and_costs_no_whole_commit() {
    let (folder, _open) = written(3);
    let sound = log_of(&folder);
    let commits: Vec<usize> = Log::read(&sound)
        .committed()
        .iter()
        .enumerate()
        .filter(|(_, frame)| frame.commits)
        .map(|(at, _)| at + 1)
        .collect();
    for length in (0..sound.len()).step_by(STRIDE) {
        let log = Log::read(&sound[..length]);
        let whole = length.saturating_sub(HEADER) / FRAME;
        let expected = commits.iter().filter(|end| **end <= whole).max();
        assert_eq!(log.damage(), None, "{length} bytes");
        assert_eq!(
            log.readable().len(),
            *expected.unwrap_or(&0),
            "{length} bytes"
        );
    }
}

#[test]
fn frames_nobody_was_answered_for_are_no_damage_whatever_they_hold() {
    let (folder, _open) = written(3);
    let mut bytes = log_of(&folder);
    let last = bytes.len() - FRAME;
    bytes[last + 4..last + 8].fill(0);
    bytes[last + 100..last + 200].fill(7);
    let log = Log::read(&bytes);
    assert_eq!(log.damage(), None);
    assert_eq!(log.committed().len(), log.readable().len());
}

#[test]
fn frames_of_an_earlier_log_behind_a_new_one_are_no_damage() {
    let (folder, connection) = written(8);
    let before = log_of(&folder).len();
    connection
        .execute_batch("PRAGMA wal_checkpoint(FULL)")
        .expect("written back");
    add(&connection, 1);
    let bytes = log_of(&folder);
    assert_eq!(bytes.len(), before);
    let log = Log::read(&bytes);
    assert_eq!(log.damage(), None);
    assert!((1..8).contains(&log.readable().len()), "{log:?}");
}

#[test]
fn larger_damage_leaves_the_frames_on_both_of_its_sides() {
    let (folder, _open) = written(6);
    let sound = log_of(&folder);
    let all = Log::read(&sound).committed().len();
    for (from, to, left) in [(0, HEADER, all), (HEADER, HEADER + FRAME, all - 1)] {
        let mut damaged = sound.clone();
        damaged[from..to].fill(0);
        let log = Log::read(&damaged);
        assert!(log.damage().is_some());
        assert_eq!((log.readable().len(), log.committed().len()), (0, left));
    }
    let mut damaged = sound;
    let middle = HEADER + FRAME * (all / 2) + 500;
    damaged[middle..middle + 700].fill(0xa5);
    let log = Log::read(&damaged);
    assert!(log.damage().is_some());
    assert!(log.readable().len() <= all / 2);
    assert_eq!(log.committed().len(), all);
}

#[test]
fn sqlite_reads_a_log_that_was_sealed_anew() {
    let (folder, connection) = written(7);
    let bytes = log_of(&folder);
    let log = Log::read(&bytes);
    let contents = || log.committed().iter().map(|frame| frame.content(0));
    let size = contents().next_back().expect("frames").commit;
    let copy = folder.path().join("b.db");
    fs::copy(folder.path().join("a.db"), &copy).expect("copied");
    let sealed = seal(contents(), size);
    fs::write(folder.path().join("b.db-wal"), sealed).expect("written");
    assert_eq!(rows(&copy), 7);
    assert!(seal([].iter(), 5).is_empty());
    drop(connection);
}
