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

/// Asserts that a container of the bridge's is nobody's root, and bound by what `service`, as Compose
/// reads it, asks for.
pub fn is_confined(container: &Value, service: &Value) {
    let pid = container["State"]["Pid"].as_u64().expect("it runs");
    let status = status(pid);
    let of = |name: &str| status[name].as_str();
    for kind in ["Uid", "Gid"] {
        assert_eq!(of(kind), "65532 65532 65532 65532", "{kind}");
    }
    for kind in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let set = u64::from_str_radix(of(kind), 16).expect("a set in hex");
        assert_eq!(set, 0, "{kind}");
    }
    assert_eq!(of("NoNewPrivs"), "1");
    let number = |key: &str| {
        let text = service[key].as_str().map(str::to_owned);
        text.unwrap_or_else(|| service[key].to_string())
    };
    let memory = ["memory.max", "memory.limit_in_bytes"];
    assert_eq!(limit(pid, "memory", memory), number("mem_limit"));
    let processes = ["pids.max", "pids.max"];
    assert_eq!(limit(pid, "pids", processes), number("pids_limit"));
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let files: Vec<&str> = files.expect("a limit").split_whitespace().collect();
    let nofile = service["ulimits"]["nofile"].to_string();
    assert_eq!(files[3..5], [nofile.as_str(), nofile.as_str()]);
    is_read_only(pid);
}

/// Even root cannot write anywhere in it but to the spool.
fn is_read_only(pid: u64) {
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    for folder in ["", "usr/local/bin", "etc", "etc/hookferry", "tmp"] {
        let refused = std::fs::write(root.join(folder).join("written"), "").expect_err(folder);
        let error = refused.raw_os_error().expect("of the system");
        assert_eq!(error, Errno::ROFS.raw_os_error(), "{folder}");
    }
    let spool = root.join("var/lib/hookferry/written");
    std::fs::write(&spool, "").expect("the spool is writable");
    std::fs::remove_file(&spool).expect("as before");
}
