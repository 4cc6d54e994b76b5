//! What a container may do, as its processes have it: read from the kernel, not from the file that asks
//! for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde_json::Value;

/// The lines of /proc/PID/status.
fn status(pid: u64) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let words: Vec<&str> = value.split_whitespace().collect();
        Some((name.to_owned(), words.join(" ")))
    };
    text.lines().filter_map(line).collect()
}

/// A file of the control group that the process is in, by its names in both versions of them.
fn limit(pid: u64, controller: &str, files: [&str; 2]) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it runs");
    let group = text.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let is_it = controllers.split(',').any(|one| one == controller);
        (is_it || controllers.is_empty()).then(|| (controllers.to_owned(), path.to_owned()))
    });
    let (controllers, path) = group.expect("a group");
    let root = if controllers.is_empty() {
        PathBuf::from("/sys/fs/cgroup")
    } else {
        Path::new("/sys/fs/cgroup").join(controller)
    };
    let group = root.join(path.trim_start_matches('/'));
    let read = files.map(|file| std::fs::read_to_string(group.join(file)));
    let text = read.into_iter().find_map(Result::ok);
    let text = text.unwrap_or_else(|| panic!("{} has none of {files:?}", group.display()));
    text.trim().to_owned()
}

fn pid_of(container: &Value) -> u64 {
    container["State"]["Pid"].as_u64().expect("it runs")
}

/// Asserts that a container is bound by what `asked`, its service as Compose reads it, asks for.
pub fn is_bound(service: &str, container: &Value, asked: &Value) {
    let pid = pid_of(container);
    let status = status(pid);
    let set = |kind: &str| u64::from_str_radix(&status[kind], 16).expect("a set in hex");
    let added = asked["cap_add"].as_array().map_or(0, Vec::len);
    for kind in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let count = set(kind).count_ones() as usize;
        assert!(count <= added, "{service}: {kind} has {count}");
    }
    assert_eq!(status["NoNewPrivs"], "1", "{service}");
    let number = |key: &str| {
        let text = asked[key].as_str().map(str::to_owned);
        text.unwrap_or_else(|| asked[key].to_string())
    };
    let memory = ["memory.max", "memory.limit_in_bytes"];
    assert_eq!(
        limit(pid, "memory", memory),
        number("mem_limit"),
        "{service}"
    );
    let processes = ["pids.max", "pids.max"];
    assert_eq!(
        limit(pid, "pids", processes),
        number("pids_limit"),
        "{service}"
    );
    if let Some(files) = asked["ulimits"].get("nofile") {
        assert_eq!(open_files(pid), [files.to_string(), files.to_string()]);
    }
    if asked["read_only"] == true {
        is_refused(pid, "");
    }
}

/// The soft and the hard limit on open files.
fn open_files(pid: u64) -> [String; 2] {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
    let mut lines = limits.lines();
    let line = lines.find_map(|line| line.strip_prefix("Max open files"));
    let mut words = line.expect("a limit").split_whitespace().map(str::to_owned);
    [(); 2].map(|()| words.next().expect("two limits"))
}

/// Asserts that a container of the bridge's is its user's, with no place to write to but the spool.
pub fn is_nobodys_root(container: &Value) {
    let pid = pid_of(container);
    let status = status(pid);
    for kind in ["Uid", "Gid"] {
        assert_eq!(status[kind], "65532 65532 65532 65532", "{kind}");
    }
    for folder in ["", "usr/local/bin", "etc", "etc/hookferry", "tmp"] {
        is_refused(pid, folder);
    }
    let spool = PathBuf::from(format!("/proc/{pid}/root/var/lib/hookferry/written"));
    std::fs::write(&spool, "").expect("the spool is writable");
    std::fs::remove_file(&spool).expect("as before");
}

/// Not even root can write to that folder of it.
fn is_refused(pid: u64, folder: &str) {
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    let refused = std::fs::write(root.join(folder).join("written"), "").expect_err(folder);
    let error = refused.raw_os_error().expect("of the system");
    assert_eq!(error, Errno::ROFS.raw_os_error(), "{folder}");
}
