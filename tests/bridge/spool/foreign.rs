//! What may lie in the spool's place and is not its own, or not for this program: refused with a
//! remedy, and not touched.

use std::fs;
use std::path::Path;
use std::time::Duration;

use hookferry::sink::Sink as _;
use hookferry::spool::{SpoolLocation, SpoolView};

use super::folder::{Folder, Opened, settings, store, try_store};
use super::layout;
use crate::message::Sender;

/// What an operator reads who looks at it.
fn look_refuses(path: &Path) -> String {
    SpoolView::open(path)
        .expect_err("it is refused")
        .to_string()
}

/// Asserts that neither a start nor a look takes the folder, that both say all this, and that every
/// file in it is as it was.
fn assert_refused(folder: &Folder, words: &[&str]) {
    let mut before = folder.files();
    for said in [folder.refuses(&["store"]), look_refuses(&folder.path())] {
        let path = folder.path().display().to_string();
        assert!(said.contains(&path), "it names the folder: {said}");
        for word in words {
            assert!(said.contains(word), "it says {word:?}: {said}");
        }
    }
    // The lock is taken before anything is read, because its holder may be changing it.
    let mut after = folder.files();
    before.remove(Path::new("lock"));
    after.remove(Path::new("lock"));
    assert!(after == before, "what is refused is left as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_of_another_program_is_refused_and_nothing_is_put_into_it() {
    for name in ["notes.txt", "spool.db", "000000000001.log.bak", "1.log"] {
        let folder = Folder::new();
        fs::create_dir(folder.path()).unwrap();
        fs::write(folder.path().join(name), "somebody's").unwrap();
        assert_refused(&folder, &[name, "no file of this log", "move it away"]);
        let names = fs::read_dir(folder.path()).unwrap();
        assert_eq!(names.count(), 1, "nothing was put into it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_programs_file_with_a_segments_name_is_refused() {
    let folder = Folder::new();
    fs::create_dir(folder.path()).unwrap();
    fs::write(folder.segment(1), "listen = \"0.0.0.0:8080\"\n".repeat(400)).unwrap();
    assert_refused(&folder, &["000000000001.log", "no file of this log"]);
    let folder = Folder::new();
    folder.filled(0..3).await;
    fs::write(folder.segment(2), "listen = \"0.0.0.0:8080\"\n".repeat(400)).unwrap();
    assert_refused(&folder, &["000000000002.log", "move it away"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_of_a_store_is_no_spool_and_that_of_a_spool_no_store() {
    let folder = Folder::new();
    let store = store(&folder.path());
    let message = Sender::new("onecodex").event("sample.uploaded", "a");
    store.publish(&message).await.expect("it is kept");
    store.close(Duration::from_secs(5)).await;
    assert_refused(&folder, &["no file of this log", "move it away"]);

    let folder = Folder::new();
    folder.filled(0..3).await;
    fs::remove_file(folder.path().join("ids.db")).unwrap();
    let before = folder.files();
    let said = try_store(&folder.path()).expect_err("it is refused");
    assert!(said.to_string().contains("move it away"), "{said}");
    assert!(
        folder.files() == before,
        "what is refused is left as it was"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_version_is_refused_wherever_it_is_found() {
    for segment in [1, 2] {
        let folder = Folder::new();
        folder.filled(0..3).await;
        folder.filled(3..6).await;
        folder.change(segment, |bytes| layout::make_newer(bytes, 9));
        assert_refused(&folder, &["format version 9", "run the newer program"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_of_another_log_is_refused() {
    let (folder, other) = (Folder::new(), Folder::new());
    for spool in [&folder, &other] {
        spool.filled(0..3).await;
        spool.filled(3..6).await;
    }
    fs::copy(other.segment(2), folder.segment(2)).unwrap();
    assert_refused(&folder, &["another log", "move it away"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_spool_file_is_refused_with_what_to_do() {
    let folder = Folder::new();
    let old = [b"SQLite format 3\0".as_slice(), &[7; 4096]].concat();
    fs::write(folder.path(), &old).unwrap();
    for said in [folder.refuses(&["store"]), look_refuses(&folder.path())] {
        for word in ["spool.path", "is a file", "name a folder", "deliver"] {
            assert!(said.contains(word), "it says {word:?}: {said}");
        }
    }
    assert!(fs::read(folder.path()).unwrap() == old);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_somebody_has_is_refused_and_its_owner_goes_on() {
    let folder = Folder::new();
    let opened = folder.open();
    opened.append("o0").await;
    let said = folder.refuses(&["store"]);
    assert!(said.contains("in use by another process"), "{said}");
    assert!(
        said.contains(&folder.path().display().to_string()),
        "{said}"
    );
    assert!(SpoolView::open(&folder.path()).unwrap().is_none());
    opened.append("o1").await;
    assert_eq!(opened.waiting(2).await.len(), 2);
    opened.close().await;
    let opened = folder.open();
    assert_eq!(opened.shown("store"), 2);
    opened.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_made_is_named_with_what_to_do() {
    let folder = Folder::new();
    // Not even root can make one there.
    for path in [folder.beside("no/such/spool"), "/proc/spool".into()] {
        let refused = Opened::try_at(&settings(SpoolLocation::Folder(path.clone())), &["store"]);
        let said = refused.map(drop).expect_err("it is refused").to_string();
        assert!(said.contains(&path.display().to_string()), "{said}");
        assert!(said.contains("does not exist; make the folder"), "{said}");
        let said = look_refuses(&path);
        assert!(said.contains(&path.display().to_string()), "{said}");
    }
}

/// A kill while the index of ids is made leaves a journal of `SQLite`'s beside it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_kill_leaves_of_the_index_of_ids_is_no_foreign_file() {
    for name in ["ids.db-journal", "ids.db-wal", "ids.db-shm"] {
        let folder = Folder::new();
        let appended = folder.filled(0..3).await;
        fs::write(folder.path().join(name), "left behind").unwrap();
        let opened = folder.open();
        let waiting = opened.waiting(appended.len()).await;
        assert_eq!(waiting.len(), appended.len(), "{name}");
    }
}
