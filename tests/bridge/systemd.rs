//! What systemd is told, held against what is so: the test's socket plays systemd.

use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use tokio::net::TcpStream;

use crate::eventually::eventually;
use crate::harness::{Bridge, Injection, Post, Program, Setup, event, unique};

/// Systemd's end of the socket.
struct Notified {
    socket: UnixDatagram,
    address: String,
}

impl Notified {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("free");
        Self::by(socket, path.display().to_string())
    }

    /// In the abstract namespace, as for a container.
    fn abstract_one() -> Self {
        let name = unique("hookferry");
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let socket = UnixDatagram::bind_addr(&address).expect("free");
        Self::by(socket, format!("@{name}"))
    }

    fn by(socket: UnixDatagram, address: String) -> Self {
        socket.set_nonblocking(true).expect("a socket");
        Self { socket, address }
    }

    /// What a unit's process finds in its environment.
    fn environment(&self, watchdog: &str) -> [String; 3] {
        [
            "env".to_owned(),
            format!("NOTIFY_SOCKET={}", self.address),
            format!("WATCHDOG_USEC={watchdog}"),
        ]
    }

    fn next(&self) -> Option<String> {
        let mut bytes = [0; 4096];
        match self.socket.recv(&mut bytes) {
            Ok(length) => Some(String::from_utf8(bytes[..length].to_vec()).expect("text")),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                None
            }
        }
    }

    /// The next message that is no watchdog notification.
    async fn says(&self, what: &str) -> Vec<String> {
        let message = eventually(what, async || {
            std::iter::from_fn(|| self.next()).find(|message| message != "WATCHDOG=1")
        })
        .await;
        let lines: Vec<String> = message.lines().map(str::to_owned).collect();
        assert_eq!(lines[0], what, "{lines:?}");
        lines
    }

    async fn hears_a_sign_of_life(&self) {
        eventually("a watchdog notification", async || {
            self.next().filter(|message| message == "WATCHDOG=1")
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_hears_of_the_start_of_reloads_and_of_the_stop() {
    let setup = Setup::store();
    for notified in [
        Notified::at(&setup.path("notify")),
        Notified::abstract_one(),
    ] {
        let mut bridge = Bridge::start_through(&notified.environment("0"), &setup.write()).await;
        notified.says("READY=1").await;
        TcpStream::connect(bridge.ingress)
            .await
            .expect("it listens when it says so");
        TcpStream::connect(bridge.admin)
            .await
            .expect("the operators' listener too");

        for (file, status) in [
            (setup.text(), "STATUS=ready, with the new configuration"),
            (
                format!("no_such_key = 1\n{}", setup.text()),
                "STATUS=ready; the new configuration has mistakes, the old one stays: see the log",
            ),
        ] {
            std::fs::write(setup.path("hookferry.toml"), file).unwrap();
            bridge.signal("HUP");
            let reloading = notified.says("RELOADING=1").await;
            let time = reloading[1]
                .strip_prefix("MONOTONIC_USEC=")
                .expect("the time");
            // The same clock tells how long the machine has run.
            let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
            let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
            let age = uptime - time.parse::<f64>().unwrap() / 1e6;
            assert!((-1.0..30.0).contains(&age), "{age} s");
            assert_eq!(notified.says("READY=1").await[1], status);
        }
        bridge.signal("TERM");
        notified.says("STOPPING=1").await;
        assert_eq!(bridge.ended().await.code(), Some(0));
        assert_eq!(notified.next(), None, "that was the last word");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_cannot_listen_is_never_ready_to_systemd() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut setup = Setup::store();
    let listen = taken.local_addr().unwrap().to_string();
    let text = setup.text().replacen(
        "listen = \"127.0.0.1:0\"",
        &format!("listen = \"{listen}\""),
        1,
    );
    setup.more = String::new();
    let config = setup.write();
    std::fs::write(&config, text).unwrap();
    let notified = Notified::at(&setup.path("notify"));
    let mut command = std::process::Command::new("env");
    command
        .args(&notified.environment("0")[1..])
        .arg(crate::harness::program::RELEASED);
    let (code, said) = crate::harness::setup::ends_by(&mut command, &config).await;
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(notified.next(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notify_socket_that_is_not_there_disturbs_nobody() {
    let setup = Setup::store();
    for address in ["/no/such/socket", "@nobody-listens", "vsock:2:9", ""] {
        let environment = [
            "env".to_owned(),
            format!("NOTIFY_SOCKET={address}"),
            "WATCHDOG_USEC=400000".to_owned(),
        ];
        let bridge = Bridge::start_through(&environment, &setup.write()).await;
        bridge
            .accepted(&setup.source, event("sample.uploaded", "a"))
            .await;
        bridge.drained().await;
        bridge.stop().await;
    }
}

/// The watchdog is about the spool's thread, not about a timer: while a commit hangs, no notification
/// is sent, although everything else goes on.
#[tokio::test(flavor = "multi_thread")]
async fn signs_of_life_end_while_the_disk_is_frozen_and_come_back() {
    let setup = Setup::store();
    let notified = Notified::abstract_one();
    let bridge = Bridge::start_through(&notified.environment("6000000"), &setup.write()).await;
    for _ in 0..3 {
        notified.hears_a_sign_of_life().await;
    }
    assert!(bridge.said("have not answered").is_none());
    let minutes = Injection::new("fdatasync", "delay_enter=300s");
    let frozen = minutes
        .on(
            &setup.spool_folder,
            &["000000000001.log", "000000000002.log"],
        )
        .attach(&bridge)
        .await;
    let post = Post::signed(&setup.source, event("sample.uploaded", "a"));
    let ingress = bridge.ingress;
    let answer = tokio::spawn(async move { post.to(ingress).await });
    let line = eventually("the log says who is silent", async || {
        bridge.said("have not answered")
    })
    .await;
    assert!(
        line["silent"]
            .as_str()
            .unwrap()
            .contains("the spool's thread"),
        "{line}"
    );
    assert!(
        !line["silent"].as_str().unwrap().contains("dispatcher"),
        "{line}"
    );
    // The line stands at the end of a time without a sign; whatever is in the socket is older.
    while notified.next().is_some() {}
    let silent = || bridge.log().matches("have not answered").count();
    let before = silent();
    eventually("three more times in vain", async || {
        (silent() >= before + 3).then_some(())
    })
    .await;
    assert_eq!(notified.next(), None);
    assert_eq!(
        bridge.ask("/livez").await.status,
        200,
        "a timer would have gone on"
    );
    drop(frozen);
    notified.hears_a_sign_of_life().await;
    assert_eq!(answer.await.unwrap().unwrap().status, 200);
    bridge.drained().await;
    bridge.stop().await;
}

/// Nor is it about the spool alone: a dispatcher that is stuck delivers nothing, although the bridge
/// goes on accepting.
#[tokio::test(flavor = "multi_thread")]
async fn signs_of_life_end_with_a_dispatcher_that_is_stuck() {
    let setup = Setup::store();
    let notified = Notified::abstract_one();
    let mut command = Program::Seeded("hang-in-dispatcher").command();
    command.env("NOTIFY_SOCKET", &notified.address);
    command.env("WATCHDOG_USEC", "6000000");
    let bridge = Bridge::start_by(command, &setup.write()).await;
    notified.hears_a_sign_of_life().await;
    bridge
        .accepted(&setup.source, event("sample.uploaded", "stumble"))
        .await;
    let silent = || bridge.log().matches("have not answered").count();
    eventually("twice in vain", async || (silent() >= 2).then_some(())).await;
    let line = bridge.said("have not answered").expect("just now");
    let silent = line["silent"].as_str().unwrap();
    assert!(silent.contains("the dispatcher of sink store"), "{line}");
    assert!(!silent.contains("spool"), "{line}");
    while notified.next().is_some() {}
    bridge
        .accepted(&setup.source, event("sample.uploaded", "b"))
        .await;
    assert_eq!(notified.next(), None);
}
