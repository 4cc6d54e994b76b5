//! A bridge whose broker is away until a test says otherwise: what it accepts stays in its spool, and
//! leaves it at once when the broker is back.

use std::collections::HashMap;
use std::path::Path;

use crate::eventually::eventually;
use crate::harness::{Answer, Bridge, Disk, Injection, Outlet, Post, Program, Setup, event};
use crate::order::proxied;
use crate::proxy::Proxy;

/// Why a spool that cannot be written takes nothing.
pub const UNWRITABLE: [&str; 2] = ["disk_full", "spool_unwritable"];
/// A delivery that takes some space.
const LARGE: usize = 20_000;

/// A bridge's configuration, and the broker that may be away.
pub struct Away {
    pub setup: Setup,
    pub outlet: Outlet,
    proxy: Proxy,
}

/// A delivery that was answered 200.
#[derive(Debug, Clone)]
pub struct Taken {
    pub post: Post,
    pub id: String,
}

impl Away {
    /// The broker is there. These are the spool's keys.
    pub async fn new(spool: &str) -> Self {
        let (proxy, url) = proxied().await;
        let setup = Setup::rabbitmq(&url).spool(spool);
        let outlet = Outlet::rabbitmq(&setup).await;
        Self {
            setup,
            outlet,
            proxy,
        }
    }

    /// The same with the spool on this disk.
    pub async fn on(disk: &Disk, spool: &str) -> Self {
        let mut away = Self::new(spool).await;
        away.setup.spool_folder = disk.path().join("spool");
        away
    }

    pub fn leaves(&self) {
        self.proxy.cut();
    }

    pub fn comes_back(&self) {
        self.proxy.restore();
    }

    /// A delivery that takes some space.
    pub fn large(&self, number: usize) -> Post {
        large(&self.setup.source, &format!("o{}", number % 7))
    }

    /// Sends until so many deliveries in a row are refused, large ones and then small ones, because
    /// there is no space; what was accepted.
    pub async fn fill(&self, bridge: &Bridge, refusals: usize) -> Vec<Taken> {
        let source = self.setup.source.as_str();
        let small = |number: usize| {
            let object = format!("small{}", number % 7);
            Post::signed(source, event("sample.uploaded", &object))
        };
        let mut taken = Vec::new();
        send_until_refused(bridge, &|number| self.large(number), refusals, &mut taken).await;
        send_until_refused(bridge, &small, refusals, &mut taken).await;
        taken
    }

    /// Accepts one more.
    pub async fn takes(&self, bridge: &Bridge) -> Taken {
        let post = large(&self.setup.source, "after");
        let answer = bridge.post(&post).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let id = answer.id();
        Taken { post, id }
    }

    /// Each of these lies in its queue once, byte for byte, and the counters add up.
    pub async fn has_each_once(&mut self, bridge: &Bridge, taken: &[Taken]) {
        let ids: Vec<String> = taken.iter().map(|one| one.id.clone()).collect();
        let seen = self.outlet.has(bridge, &self.setup.source, &ids).await;
        assert_eq!(seen.len(), ids.len(), "each once");
        let bodies: HashMap<&str, &[u8]> = seen
            .iter()
            .map(|seen| (seen.id.as_str(), seen.body.as_slice()))
            .collect();
        for one in taken {
            let body = bodies.get(one.id.as_str());
            assert_eq!(body, Some(&one.post.body.as_slice()));
        }
        bridge.drained().await;
        bridge.metrics().await.assert_balanced("rabbitmq");
    }
}

async fn send_until_refused(
    bridge: &Bridge,
    delivery: &impl Fn(usize) -> Post,
    refusals: usize,
    taken: &mut Vec<Taken>,
) {
    let mut refused = 0;
    for number in 0..5000 {
        let post = delivery(number);
        let answer = bridge.post(&post).await;
        if answer.status == 503 {
            assert_refused(&answer, &["disk_full"]);
            refused += 1;
            if refused == refusals {
                return;
            }
            continue;
        }
        assert_eq!(answer.status, 200, "{answer:?}");
        refused = 0;
        let id = answer.id();
        taken.push(Taken { post, id });
    }
    panic!("a disk that is full takes everything");
}

/// Starts a bridge by a command that changes how it sees its disk.
pub async fn start_by(
    setup: &Setup,
    load_into: impl FnOnce(std::process::Command) -> std::process::Command,
) -> Bridge {
    Bridge::start_by(load_into(Program::Released.command()), &setup.write()).await
}

/// A delivery that takes some space.
pub fn large(source: &str, object: &str) -> Post {
    let mut body = event("sample.uploaded", object).into_bytes();
    body.resize(LARGE, b' ');
    Post::signed(source, body)
}

/// 503 for one of these reasons, and when to come again.
pub fn assert_refused(answer: &Answer, reasons: &[&str]) {
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(reasons.contains(&answer.reason().as_str()), "{answer:?}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
}

/// A new delivery is refused, for one of these reasons.
pub async fn refused(bridge: &Bridge, source: &str, reasons: &[&str]) {
    let post = Post::signed(source, event("sample.uploaded", "refused"));
    assert_refused(&bridge.post(&post).await, reasons);
}

/// What `/readyz` says.
pub async fn readiness(bridge: &Bridge) -> (u16, String) {
    let answer = bridge.ask("/readyz").await;
    let reason = answer.json()["reason"].as_str().map(str::to_owned);
    (answer.status, reason.unwrap_or_default())
}

/// Waits until the bridge says that it is not ready, and why.
pub async fn is_not_ready(bridge: &Bridge, reason: &str) {
    eventually(&format!("not ready: {reason}"), async || {
        (readiness(bridge).await == (503, reason.to_owned())).then_some(())
    })
    .await;
}

/// Waits until the bridge is ready.
pub async fn is_ready_again(bridge: &Bridge) {
    eventually("the bridge is ready again", async || {
        (readiness(bridge).await.0 == 200).then_some(())
    })
    .await;
}

/// The files of a spool and their sizes, dead letters apart.
pub fn files(folder: &Path) -> Vec<(String, u64)> {
    let files = std::fs::read_dir(folder).expect("there");
    let mut found: Vec<(String, u64)> = files
        .filter_map(|file| {
            let file = file.expect("readable");
            // It may have another name by now.
            let about = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
            Some((file.file_name().into_string().expect("text"), about.len()))
        })
        .collect();
    found.sort();
    found
}

/// Bytes of all of them.
pub fn file_bytes(folder: &Path) -> u64 {
    files(folder).iter().map(|(_, bytes)| bytes).sum()
}

/// The newest segment's name.
pub fn newest_segment(folder: &Path) -> String {
    let names = files(folder).into_iter().map(|(name, _)| name);
    let newest = names.filter(|name| name.ends_with(".log")).max();
    newest.expect("there is a segment")
}

/// The calls on a short-lived spool's files and on its folder; those on spares that are not finished,
/// of which there are hundreds and all alike, only where they are wanted.
pub fn on_spool(injection: Injection, folder: &Path, with_unfinished: bool) -> Injection {
    let beside = [
        "lock",
        "ids.db",
        "ids.db-wal",
        "ids.db-shm",
        "ids.db-journal",
        "letters",
    ];
    let mut names: Vec<String> = beside.map(str::to_owned).into();
    for number in 1..=24 {
        names.push(format!("{number:012}.log"));
        names.push(format!("spare-{number}"));
        if with_unfinished {
            names.push(format!("spare-{number}.tmp"));
        }
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    injection.on(folder, &names)
}
