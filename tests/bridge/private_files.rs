//! What the bridge puts on the disk is its user's alone, and nothing leads it elsewhere.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Bridge, Setup, event};

/// Everything in a folder and below, itself included, with its mode.
fn modes(folder: &Path) -> Vec<(PathBuf, u32)> {
    let (mut found, mut left) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(path) = left.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            let entries = fs::read_dir(&path).unwrap();
            left.extend(entries.map(|entry| entry.unwrap().path()));
        }
        found.push((path, metadata.permissions().mode() & 0o777));
    }
    found
}

fn assert_private(setup: &Setup) {
    for folder in [&setup.spool_folder, &setup.path("topics")] {
        let found = modes(folder);
        assert!(found.len() > 2, "{found:?}");
        for (path, mode) in found {
            let expected = if path.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode, expected, "{}: {mode:o}", path.display());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_the_bridges_users_alone_whatever_the_umask() {
    for umask in ["000", "022", "277"] {
        let setup = Setup::store();
        let become_it = format!("umask {umask}; exec \"$0\" \"$@\"");
        let through = ["sh", "-c", &become_it];
        let bridge = Bridge::start_through(&through, &setup.write()).await;
        bridge
            .accepted(&setup.source, event("sample.uploaded", "a"))
            .await;
        bridge.drained().await;
        assert_private(&setup);
        bridge.stop().await;
        assert_private(&setup);
    }
}

/// An earlier version may have left them open.
#[tokio::test(flavor = "multi_thread")]
async fn files_that_others_could_read_are_closed_to_them_at_the_next_start() {
    let setup = Setup::store();
    let bridge = setup.start().await;
    bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
    bridge.drained().await;
    bridge.stop().await;
    let opened: Vec<PathBuf> = ["lock", "ids.db"]
        .map(|name| setup.spool_folder.join(name))
        .into_iter()
        .chain([setup.path("topics/lock")])
        .collect();
    for path in &opened {
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    }
    let bridge = setup.start().await;
    for path in &opened {
        let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}: {mode:o}", path.display());
    }
    bridge.stop().await;
}

/// Whoever may write to the folder beforehand could have a file emptied that only the bridge may write.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_in_the_spools_folder_leads_to_no_other_file() {
    let setup = Setup::store();
    fs::create_dir(&setup.spool_folder).unwrap();
    let precious = setup.path("precious");
    fs::write(&precious, "kept").unwrap();
    symlink(&precious, setup.spool_folder.join("lock")).unwrap();
    let config = setup.write();
    let check = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hookferry"));
        let command = command.args(["check", "--config"]).arg(&config).args(more);
        command.output().unwrap()
    };
    for more in [&[][..], &["--connect"]] {
        check(more);
        assert_eq!(fs::read(&precious).unwrap(), b"kept");
        let names: Vec<_> = fs::read_dir(&setup.spool_folder).unwrap().collect();
        assert_eq!(names.len(), 1, "a check puts nothing there");
    }
    let (code, said) = setup.fails().await;
    assert_eq!(code, Some(1), "{said}");
    for part in ["spool.path: ", "/lock: ", "move the link away"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert_eq!(fs::read(&precious).unwrap(), b"kept");
}
