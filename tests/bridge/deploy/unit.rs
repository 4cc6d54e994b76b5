//! The systemd unit: hardened as far as it says, and not further than the program can bear.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{is_good, place, text};
use crate::eventually::eventually;
use crate::harness::program::RELEASED;
use crate::harness::{Bridge, Outlet, Setup, amqp_url, event, kafka_brokers};

const UNIT: &str = "deploy/systemd/hookferry.service";
const CONFIG: &str = "deploy/systemd/hookferry.toml";

/// The unit's settings, each with its values in order.
fn settings() -> BTreeMap<String, Vec<String>> {
    let mut settings: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text(UNIT).lines().filter(|line| !line.starts_with('#')) {
        if let Some((key, value)) = line.split_once('=') {
            settings
                .entry(key.to_owned())
                .or_default()
                .push(value.to_owned());
        }
    }
    settings
}

fn one(key: &str) -> String {
    let mut settings = settings();
    let values = settings
        .remove(key)
        .unwrap_or_else(|| panic!("{key} is not set"));
    assert_eq!(values.len(), 1, "{key}: {values:?}");
    values.into_iter().next().unwrap()
}

fn time(key: &str) -> Duration {
    humantime::parse_duration(&one(key)).unwrap()
}

fn analyze(arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new("systemd-analyze");
    let output = command
        .args(arguments)
        .output()
        .expect("systemd-analyze is there");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn the_unit_is_well_formed_and_exposed_by_one_and_a_half_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("hookferry.service");
    let here = text(UNIT).replace("/usr/local/bin/hookferry", RELEASED);
    std::fs::write(&unit, &here).unwrap();
    let unit = unit.display().to_string();
    assert_eq!(analyze(&["verify", &unit]), (true, String::new()));
    let secure = ["security", "--offline=true", "--threshold=15", &unit];
    let (held, said) = analyze(&secure);
    assert!(held, "{said}");
    // Both can fail.
    std::fs::write(&unit, here.replace("RestrictRealtime", "RestrictRealtimes")).unwrap();
    assert!(analyze(&["verify", &unit]).1.contains("RestrictRealtimes"));
    std::fs::write(
        &unit,
        here.replace("CapabilityBoundingSet=\n", "")
            .replace("SystemCallFilter", "#"),
    )
    .unwrap();
    assert!(!analyze(&secure).0);
}

#[test]
fn the_unit_and_its_configuration_belong_together() {
    let config = text(CONFIG);
    let stop = is_good(CONFIG, &config);
    assert!(time("TimeoutStopSec") > stop + Duration::from_secs(5));
    assert!(time("WatchdogSec") >= Duration::from_secs(60));
    assert!(time("TimeoutStartSec") >= Duration::from_secs(600));
    assert_eq!(one("Type"), "notify");
    assert_eq!(one("Restart"), "always");
    assert_eq!(one("DynamicUser"), "yes");
    let state = format!("/var/lib/{}", one("StateDirectory"));
    let table: toml::Table = config.parse().unwrap();
    for file in [&table["spool"]["path"], &table["sink"]["store"]["path"]] {
        assert_eq!(
            Path::new(file.as_str().unwrap()).parent(),
            Some(Path::new(&state))
        );
    }
    let credential = one("LoadCredential");
    let name = credential.split(':').next().unwrap();
    let secrets = table["source"]["onecodex"]["secrets"].as_array().unwrap();
    let file = secrets[0]["file"].as_str().unwrap();
    assert_eq!(file, format!("${{CREDENTIALS_DIRECTORY}}/{name}"));
    assert!(one("ExecStart").ends_with("serve --config /etc/hookferry/hookferry.toml"));
    let files: Vec<_> = std::fs::read_dir(place("deploy/systemd"))
        .unwrap()
        .collect();
    assert_eq!(files.len(), 2, "a file that no test reads: {files:?}");
}

/// The calls in a set of systemd's, and in those that it names.
fn calls(set: &str) -> BTreeSet<String> {
    if !set.starts_with('@') {
        return BTreeSet::from([set.to_owned()]);
    }
    let (found, said) = analyze(&["syscall-filter", set]);
    assert!(found, "{set}: {said}");
    let names = said.lines().skip(1).map(str::trim);
    let names = names.filter(|line| !line.is_empty() && !line.starts_with('#'));
    names.flat_map(calls).collect()
}

/// The calls that the unit allows.
fn allowed() -> BTreeSet<String> {
    let mut allowed = BTreeSet::new();
    for line in &settings()["SystemCallFilter"] {
        match line.strip_prefix('~') {
            Some(sets) => {
                for set in sets.split(' ') {
                    allowed = &allowed - &calls(set);
                }
            }
            None => allowed.extend(line.split(' ').flat_map(calls)),
        }
    }
    assert!(allowed.len() > 100, "{allowed:?}");
    allowed
}

/// The calls of a trace, as `name(arguments) = result`.
fn made(trace: &str) -> impl Iterator<Item = (&str, &str)> {
    trace.lines().filter_map(|line| {
        let (_, line) = line.split_once(' ')?;
        let line = line.trim_start();
        let (name, arguments) = line.split_once('(')?;
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        name.chars().all(is_name).then_some((name, arguments))
    })
}

/// Calls that are refused without harm.
const HARMLESS: [(&str, &str); 2] = [
    // The C library asks for this machine's addresses when it looks up a name, and goes on without.
    ("socket", "AF_NETLINK"),
    // SQLite leaves its files to the owner of the first where root runs it; the unit's user is not.
    ("fchown", ", 0, 0"),
];

fn is_harmless(name: &str, arguments: &str) -> bool {
    HARMLESS
        .iter()
        .any(|(harmless, with)| *harmless == name && arguments.contains(with))
}

/// What the unit would have refused.
fn refused(trace: &str) -> BTreeSet<String> {
    let (allowed, families) = (allowed(), one("RestrictAddressFamilies"));
    let families: Vec<&str> = families.split(' ').collect();
    let mut refused = BTreeSet::new();
    for (name, arguments) in made(trace).filter(|(name, with)| !is_harmless(name, with)) {
        let family = arguments.split([',', ')']).next().unwrap_or_default();
        let writes_code = arguments.contains("PROT_EXEC")
            && (name == "mprotect" || arguments.contains("PROT_WRITE"));
        if !allowed.contains(name)
            || (name == "socket" && !families.contains(&family))
            || (["mmap", "mprotect"].contains(&name) && writes_code)
        {
            refused.insert(format!("{name}({arguments}"));
        }
    }
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bridge_makes_no_system_call_that_the_unit_refuses() {
    let setup = Setup::rabbitmq(&amqp_url()).and_store().and_kafka(
        &kafka_brokers(),
        "create_topics = { partitions = 1, replication = 1 }\n",
    );
    let mut rabbit = Outlet::rabbitmq(&setup).await;
    let socket = setup.path("notify");
    let systemd = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
    systemd.set_nonblocking(true).unwrap();
    let trace = setup.path("trace");
    let trace_file = trace.display().to_string();
    let notify = format!("NOTIFY_SOCKET={}", socket.display());
    // -D: the program is our child, and the tracer ends with it.
    let through = [
        "env",
        &notify,
        "WATCHDOG_USEC=1000000",
        "strace",
        "-D",
        "-f",
        "-q",
        "-o",
        &trace_file,
    ];
    let mut bridge = Bridge::start_through(&through, &setup.write()).await;
    let id = bridge
        .accepted(&setup.source, event("sample.uploaded", "a"))
        .await;
    rabbit
        .has(&bridge, &setup.source, std::slice::from_ref(&id))
        .await;
    bridge.drained().await;
    bridge.signal("HUP");
    eventually("the reload", async || bridge.said("is in force")).await;
    assert_eq!(bridge.ask("/topics").await.status, 200);
    let pid = bridge.pid().to_string();
    bridge.signal("TERM");
    assert_eq!(bridge.ended().await.code(), Some(0), "{}", bridge.log());
    let text = eventually("the trace is whole", async || {
        let text = std::fs::read_to_string(&trace).unwrap();
        let is_the_end =
            |line: &str| line.starts_with(&pid) && line.ends_with("+++ exited with 0 +++");
        text.lines().any(is_the_end).then_some(text)
    })
    .await;
    let names: BTreeSet<&str> = made(&text).map(|(name, _)| name).collect();
    for name in [
        "execve",
        "fdatasync",
        "sendto",
        "socket",
        "connect",
        "accept4",
        "epoll_wait",
        "mmap",
    ] {
        assert!(
            names.contains(name),
            "the trace is not of a bridge at work: {names:?}"
        );
    }
    assert_eq!(refused(&text), BTreeSet::new());
}

#[test]
fn a_call_that_the_unit_refuses_is_found_in_a_trace() {
    let trace = "7 read(3, \"\", 1) = 0\n7 ptrace(PTRACE_TRACEME) = 0\n7  socket(AF_PACKET, SOCK_RAW, 0) = 5\n\
        7 socket(AF_INET, SOCK_STREAM, 0) = 5\n7 <... read resumed>) = 1\n7 --- SIGHUP {si_signo=SIGHUP} ---\n\
        7 mmap(NULL, 1, PROT_READ|PROT_EXEC, MAP_PRIVATE, 3, 0) = 1\n7 mprotect(0x1, 2, PROT_READ|PROT_EXEC) = 0\n\
        7 mmap(NULL, 1, PROT_WRITE|PROT_EXEC, MAP_PRIVATE, 3, 0) = 1\n7 chown(\"a\", 0, 0) = 0\n7 fchown(3, 7, 7) = 0\n";
    let refused: Vec<String> = refused(trace).into_iter().collect();
    let names: Vec<&str> = refused
        .iter()
        .map(|call| call.split('(').next().unwrap())
        .collect();
    assert_eq!(
        names,
        ["chown", "fchown", "mmap", "mprotect", "ptrace", "socket"],
        "{refused:?}"
    );
}
