//! First pages of our own files, of others, and of damaged ones.

use rusqlite::Connection;
use tempfile::TempDir;

use super::super::{Former, fill};
use super::*;

const FORMER: &[Former] = &[Former {
    version: 1,
    schema: "CREATE TABLE a (x INTEGER PRIMARY KEY, text TEXT NOT NULL); CREATE TABLE b (y)",
}];

const OURS: Identity = Identity {
    name: "test",
    application_id: 0x0102_0304,
    version: 2,
    schema: "CREATE TABLE b (y, z, CHECK (y < z)); CREATE TABLE a (x INTEGER PRIMARY KEY, text TEXT NOT NULL)",
    former: FORMER,
};

/// The bytes of a file of this identity, as SQLite writes it to a disk.
fn file(identity: &Identity) -> Vec<u8> {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("a.db");
    let mut connection = Connection::open(&path).expect("made");
    fill(&mut connection, identity).expect("filled");
    connection
        .execute_batch("PRAGMA journal_mode = WAL; INSERT INTO b (y) VALUES (1)")
        .expect("filled");
    drop(connection);
    std::fs::read(path).expect("written")
}

fn verdict(bytes: &[u8]) -> Verdict {
    judge(&bytes[..bytes.len().min(4096)], &OURS).expect("judged")
}

#[test]
fn one_changed_byte_makes_no_file_of_ours_foreign_or_newer() {
    let sound = file(&OURS);
    assert_eq!(verdict(&sound), Verdict::Ours);
    for offset in 0..4096 {
        for change in [0xff, 0x01] {
            let mut damaged = sound.clone();
            damaged[offset] ^= change;
            let verdict = verdict(&damaged);
            assert!(
                matches!(verdict, Verdict::Ours | Verdict::Damaged(_)),
                "byte {offset} ^ {change:#x}: {verdict:?}"
            );
        }
    }
}

#[test]
fn a_file_of_ours_that_was_cut_off_is_damaged() {
    let sound = file(&OURS);
    for length in 0..4096 {
        let verdict = verdict(&sound[..length]);
        assert!(
            matches!(verdict, Verdict::Damaged(_)),
            "{length}: {verdict:?}"
        );
    }
}

#[test]
fn a_newer_file_is_newer_even_where_its_name_is_damaged() {
    let newer = Identity { version: 9, ..OURS };
    let mut bytes = file(&newer);
    assert_eq!(verdict(&bytes), Verdict::Newer(9));
    bytes[APPLICATION_ID.start] ^= 0xff;
    assert_eq!(verdict(&bytes), Verdict::Newer(9));
}

#[test]
fn other_programs_files_are_foreign() {
    let other = Identity {
        application_id: 7,
        schema: "CREATE TABLE other (what TEXT, when_it_was INTEGER); CREATE TABLE b (y)",
        ..OURS
    };
    let other = verdict(&file(&other));
    assert_eq!(
        other,
        Verdict::Foreign("its application id is 0x00000007".into())
    );
    for bytes in [
        &b"[spool]\npath = \"x\"\n".repeat(300)[..],
        b"text",
        b"SQLite format 4\0",
    ] {
        let text = "it is not an SQLite file";
        assert_eq!(verdict(bytes), Verdict::Foreign(text.into()));
    }
}

#[test]
fn a_renewed_page_is_the_one_that_was_there() {
    for (identity, version) in [(OURS, 2), (OURS.as_of(&FORMER[0]), 1)] {
        let sound = file(&identity);
        let pages = u32::try_from(sound.len() / 4096).expect("few");
        let mut damaged = sound[..4096].to_vec();
        damaged[..100].fill(0);
        damaged[4000] ^= 0xff;
        let renewed = renew(&damaged, &OURS, pages).expect("renewed");
        assert_eq!(renewed.version, version);
        assert_eq!(renewed.page[100..], sound[100..4096]);
        assert_eq!(renewed.page[..24], sound[..24]);
        assert_eq!(renewed.page[SIZE], sound[SIZE]);
    }
}
