//! Worlds of the bridge's own, made of the kernel's namespaces: a network whose wires can be pulled,
//! and a view of the files in which a name means what the test says. Both need root.

use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::net::UdpSocket;

/// A network namespace on two wires: one to the test, one to the broker.
pub struct Island {
    name: String,
    /// The first three parts of its addresses.
    net: String,
}

impl Island {
    pub fn new() -> Self {
        // Interface names hold 15 characters.
        let [a, b, ..] = rand::random::<u32>().to_ne_bytes();
        let island = Self {
            name: format!("hf{}", std::process::id()),
            net: format!("10.{}.{b}", 128 + a / 2),
        };
        ip(&format!("netns add {}", island.name));
        island.lay("f", 1);
        island.lay("b", 5);
        island
    }

    /// A wire, with the outer end at this address and the inner end at the next.
    fn lay(&self, letter: &str, outer: u8) {
        let (name, net) = (&self.name, &self.net);
        let (end, inner) = (format!("{name}{letter}"), format!("{name}{letter}i"));
        ip(&format!(
            "link add {end} type veth peer name {inner} netns {name}"
        ));
        ip(&format!("addr add {net}.{outer}/30 dev {end}"));
        ip(&format!("link set {end} up"));
        ip(&format!(
            "-n {name} addr add {net}.{}/30 dev {inner}",
            outer + 1
        ));
        ip(&format!("-n {name} link set {inner} up"));
    }

    /// Where the bridge listens, inside.
    pub fn bridge(&self) -> String {
        format!("{}.2", self.net)
    }

    /// Where the broker listens, outside.
    pub fn broker(&self) -> String {
        format!("{}.5", self.net)
    }

    /// What the bridge is started through.
    pub fn command(&self) -> Vec<String> {
        ["ip", "netns", "exec", &self.name]
            .map(str::to_owned)
            .to_vec()
    }

    pub fn cut_off_broker(&self) {
        ip(&format!("link set {}b down", self.name));
    }

    pub fn reconnect_broker(&self) {
        ip(&format!("link set {}b up", self.name));
    }
}

impl Drop for Island {
    fn drop(&mut self) {
        // The wires go with it.
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .expect("ip starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {said}");
}

/// A mount namespace whose only name server hears every question and answers none.
pub struct NoAnswer {
    server: UdpSocket,
    resolver: PathBuf,
    order: PathBuf,
}

impl NoAnswer {
    /// The server. The files are kept in this folder; a question is waited for half a minute.
    pub async fn new(folder: &Path) -> Self {
        let [a, b, c, _] = rand::random::<u32>().to_ne_bytes();
        let address = format!("127.{}.{b}.{c}", 1 + a / 2);
        let server = UdpSocket::bind(format!("{address}:53")).await;
        let this = Self {
            server: server.expect("root, and nobody else there"),
            resolver: folder.join("resolv.conf"),
            order: folder.join("nsswitch.conf"),
        };
        let lines = format!("nameserver {address}\noptions timeout:30 attempts:1\n");
        std::fs::write(&this.resolver, lines).expect("writable");
        std::fs::write(&this.order, "hosts: dns\n").expect("writable");
        this
    }

    /// Returns once a name has been asked for.
    pub async fn is_asked(&self) {
        self.server.recv(&mut [0; 512]).await.expect("a question");
    }

    /// What the bridge is started through.
    pub fn command(&self) -> Vec<String> {
        mounted([
            (&self.resolver, "/etc/resolv.conf"),
            (&self.order, "/etc/nsswitch.conf"),
        ])
    }
}

/// A mount namespace in which each of these files has the place behind it.
fn mounted(files: [(&Path, &str); 2]) -> Vec<String> {
    const MOUNT: &str =
        "mount --bind \"$1\" $2 && mount --bind \"$3\" $4 && shift 4 && exec \"$@\"";
    let mut command = ["unshare", "--mount", "sh", "-c", MOUNT, "sh"]
        .map(str::to_owned)
        .to_vec();
    for (file, place) in files {
        command.extend([file.to_str().expect("UTF-8").to_owned(), place.to_owned()]);
    }
    command
}

/// A mount namespace in which the system trusts this authority alone, and no variable says otherwise:
/// the place is that of Debian.
pub fn trusting(authority: &Path) -> Vec<String> {
    const MOUNT: &str =
        "mount --bind \"$1\" /etc/ssl/certs/ca-certificates.crt && shift && exec \"$@\"";
    let without = ["env", "-u", "SSL_CERT_FILE", "-u", "SSL_CERT_DIR"];
    let mount = ["unshare", "--mount", "sh", "-c", MOUNT, "sh"];
    let mut command = [&without[..], &mount[..]].concat();
    command.push(authority.to_str().expect("UTF-8"));
    command.into_iter().map(str::to_owned).collect()
}

/// A mount namespace with an `/etc/hosts` of its own, and no other way to look up a name.
pub struct Names {
    hosts: PathBuf,
    order: PathBuf,
}

impl Names {
    /// Nobody is known yet. The files are kept in this folder.
    pub fn new(folder: &Path) -> Self {
        let names = Self {
            hosts: folder.join("hosts"),
            order: folder.join("nsswitch.conf"),
        };
        names.none();
        std::fs::write(&names.order, "hosts: files\n").expect("writable");
        names
    }

    /// No name is known.
    pub fn none(&self) {
        std::fs::write(&self.hosts, "").expect("writable");
    }

    /// This name alone is known. The file stays the same one, because it is mounted.
    pub fn point(&self, name: &str, address: &str) {
        std::fs::write(&self.hosts, format!("{address} {name}\n")).expect("writable");
    }

    /// The same of a name with several addresses, in this order.
    pub fn point_to_all(&self, name: &str, addresses: &[&str]) {
        let line = |address: &&str| format!("{address} {name}\n");
        let lines: String = addresses.iter().map(line).collect();
        std::fs::write(&self.hosts, lines).expect("writable");
    }

    /// What the bridge is started through.
    pub fn command(&self) -> Vec<String> {
        mounted([
            (&self.hosts, "/etc/hosts"),
            (&self.order, "/etc/nsswitch.conf"),
        ])
    }
}
