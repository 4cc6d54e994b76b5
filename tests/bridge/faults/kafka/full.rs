//! The broker's disk is full. Kafka then gives up its folder of logs and, having no other, ends; an
//! operator makes room and starts it again.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::faults::scene::Scene;
use crate::harness::{Copies, Node, Report, Wishes};

/// A small disk in memory.
struct Disk(TempDir);

impl Disk {
    /// Enough for a broker that has just begun.
    fn small() -> Self {
        let disk = Self(TempDir::new().expect("a temporary folder"));
        disk.mount("size=24m");
        disk
    }

    /// Fills it with a file, up to the last byte.
    fn fill(&self) {
        let zeros = std::fs::File::open("/dev/zero").expect("there");
        let mut file = std::fs::File::create(self.0.path().join("filler")).expect("writable");
        let error = std::io::copy(&mut { zeros }, &mut file).expect_err("it fills");
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    }

    fn make_room(&self) {
        std::fs::remove_file(self.0.path().join("filler")).expect("there");
    }

    fn mount(&self, options: &str) {
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(self.0.path())
            .status();
        assert!(status.expect("mount starts").success());
    }

    fn folder(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --faults: root, and a broker of its own"]
async fn row_04_a_broker_whose_disk_is_full_is_waited_for() {
    let disk = Disk::small();
    let data = disk.folder().join("data");
    std::fs::create_dir(&data).expect("a fresh disk");
    let mut node = Node::kafka_with(&Wishes {
        data: Some(data),
        ..Wishes::default()
    })
    .await;
    let scene = Scene::at_kafka(&node.brokers()).await;
    disk.fill();
    scene.is_paused().await;
    scene.goes_on(200).await;
    node.gone();
    scene.shows("sink_connected", 0.0).await;
    disk.make_room();
    node.restart().await;
    let recovered = scene.recovers().await;
    let (_, verdict) = scene.ends_well(Copies::InDoubt).await;
    Report::row(4)
        .sink("kafka")
        .did("the broker's disk is full and it ends; started again with room")
        .recovered_in(recovered)
        .write(&verdict);
}
