//! The image, as far as it can be told without building one.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::{place, text};
use crate::harness::program::RELEASED;
use crate::harness::setup::{ADMIN_TOKEN, SECRET};
use crate::harness::{Bridge, event};
use crate::repository::files_below;

const FILE: &str = "deploy/docker/Dockerfile";

/// The instructions, each on one line.
fn instructions() -> Vec<(String, String)> {
    let text = text(FILE);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let split = |line: &str| {
        let (name, rest) = line.trim().split_once(' ')?;
        Some((name.to_owned(), rest.trim().to_owned()))
    };
    joined.lines().filter_map(split).collect()
}

/// The instructions of the stage that becomes the image.
fn image() -> Vec<(String, String)> {
    let all = instructions();
    let last = all
        .iter()
        .rposition(|(name, _)| name == "FROM")
        .expect("a stage");
    all[last..].to_vec()
}

fn of<'a>(instructions: &'a [(String, String)], wanted: &str) -> Vec<&'a str> {
    let with_name = instructions.iter().filter(|(name, _)| name == wanted);
    with_name.map(|(_, rest)| rest.as_str()).collect()
}

#[test]
fn the_image_has_no_shell_and_no_root_and_asks_the_bridge_for_its_health() {
    for from in of(&instructions(), "FROM") {
        let name = from.split(' ').next().unwrap();
        let (_, tag) = name.rsplit_once(':').expect("a tag");
        assert_ne!(tag, "latest", "{from}");
    }
    let image = image();
    assert!(of(&image, "FROM")[0].starts_with("gcr.io/distroless/"));
    assert_eq!(of(&image, "RUN"), [""; 0], "there is no shell to run it");
    let user = of(&image, "USER")[0];
    let (user, group) = user.split_once(':').expect("a user and a group");
    let number = |text: &str| {
        text.parse::<u32>()
            .expect("a number, or nobody could check that it is not root")
    };
    assert!(number(user) > 0 && number(group) > 0);
    let program = "/usr/local/bin/hookferry";
    let (_, health) = of(&image, "HEALTHCHECK")[0].split_once("CMD ").unwrap();
    assert_eq!(health, format!("[\"{program}\", \"health\"]"));
    assert_eq!(of(&image, "ENTRYPOINT"), [format!("[\"{program}\"]")]);
    assert_eq!(of(&image, "STOPSIGNAL"), ["SIGTERM"]);
    // A volume takes its owner from the folder in the image.
    assert_eq!(of(&image, "VOLUME"), ["/var/lib/hookferry"]);
    let owned = format!("--chown={user}:{group} /spool /var/lib/hookferry");
    assert!(of(&image, "COPY").iter().any(|copy| copy.ends_with(&owned)));
    let version = concat!("image.version=\"", env!("CARGO_PKG_VERSION"), "\"");
    assert!(of(&image, "LABEL")[0].contains(version));
}

/// The same Debian on both sides: the program is linked against the C library of the one that builds.
#[test]
fn the_image_is_of_the_debian_that_the_program_was_built_on() {
    let all = instructions();
    let from = of(&all, "FROM");
    assert!(
        from[0].contains("bookworm") && from[1].contains("debian12"),
        "{from:?}"
    );
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.parent().expect("below the folder")).unwrap();
    let copied = Command::new("cp").arg("-r").arg(from).arg(to).status();
    assert!(copied.expect("cp is there").success(), "{}", from.display());
}

/// The files that a file of the program is compiled with, besides other Rust.
fn included(file: &Path) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(file).unwrap();
    let after = ["include_str!(\"", "include_bytes!(\""]
        .into_iter()
        .flat_map(|call| text.split(call).skip(1));
    let named = after.filter_map(|rest| rest.split('"').next());
    named.map(|name| file.with_file_name(name)).collect()
}

/// Follows the stage that builds, in a folder that has what it copies and nothing else. Where it
/// compiles, the package is only looked at: the compilation is that of every other test.
#[test]
fn the_build_has_all_that_it_needs_with_the_dependencies_in_a_layer_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let ignored = text(".dockerignore");
    assert!(
        ignored.lines().any(|line| line == "*"),
        "everything else stays outside"
    );
    let build = "cargo build --release --locked --bin hookferry";
    let mut built = 0;
    for (name, rest) in instructions() {
        match name.as_str() {
            "FROM" if built > 0 => break,
            "COPY" => {
                let words: Vec<&str> = rest.split_whitespace().collect();
                for source in &words[..words.len() - 1] {
                    assert!(
                        ignored.lines().any(|line| line == format!("!{source}")),
                        "{source}"
                    );
                    copy(&place(source), &folder.path().join(words[words.len() - 1]));
                }
            }
            "RUN" if rest.contains(build) => {
                built += 1;
                let script = rest
                    .replace(
                        build,
                        "cargo tree --locked --offline --edges normal,build --depth 1",
                    )
                    .replace("/spool", "spool");
                let mut shell = Command::new("sh");
                let ran = shell
                    .args(["-e", "-c", &script])
                    .current_dir(folder.path())
                    .output()
                    .unwrap();
                assert!(ran.status.success(), "{script}: {ran:?}");
                assert!(String::from_utf8(ran.stdout).unwrap().contains("rdkafka"));
            }
            _ => {}
        }
    }
    assert_eq!(built, 2, "the dependencies, then the program");
    assert!(folder.path().join("src/main.rs").exists());
    let files = files_below("src", "rs").into_iter();
    let included: Vec<PathBuf> = files
        .flat_map(|file| included(&folder.path().join("src").join(file)))
        .collect();
    assert!(!included.is_empty());
    for file in included {
        assert!(file.exists(), "{} is not copied", file.display());
    }
    // Without these the image would hold another program than the one that is tested.
    assert!(folder.path().join(".cargo/config.toml").exists());
}

#[test]
fn no_file_lies_there_for_nothing() {
    let files = std::fs::read_dir(place("deploy/docker")).unwrap();
    let names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names, ["Dockerfile"]);
}

/// What distroless/cc has of shared libraries, and the kernel's own.
const LIBRARIES: [&str; 8] = [
    "ld-linux-",
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libpthread.so.0",
    "librt.so.1",
    "linux-vdso.so.1",
];

/// The shared libraries of the program: each name, and the file where it is one.
fn libraries() -> Vec<(String, Option<String>)> {
    let output = Command::new("ldd")
        .arg(RELEASED)
        .output()
        .expect("ldd is there");
    let text = String::from_utf8(output.stdout).unwrap();
    let library = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let name = words[0].rsplit('/').next().unwrap_or_default().to_owned();
        let file = words.iter().find(|word| word.starts_with('/'));
        (name, file.map(|file| (*file).to_owned()))
    };
    text.lines().map(library).collect()
}

/// A root file system like the image's, with the configuration that compose gives it.
fn image_of(config: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let put = |file: &str, to: &str| {
        let to = folder.path().join(to.trim_start_matches('/'));
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(file, to).unwrap();
    };
    put(RELEASED, "usr/local/bin/hookferry");
    for file in libraries().into_iter().filter_map(|(_, file)| file) {
        put(&file, &file);
    }
    for empty in ["proc", "etc/hookferry", "var/lib/hookferry"] {
        std::fs::create_dir_all(folder.path().join(empty)).unwrap();
    }
    std::fs::write(folder.path().join("etc/hookferry/hookferry.toml"), config).unwrap();
    let readable = Command::new("chmod")
        .arg("0755")
        .arg(folder.path())
        .status();
    assert!(readable.unwrap().success());
    folder
}

/// Becomes the program as user 65532 on a root file system that is read-only but for the spool's
/// folder: without a shell, without /tmp, without anything that the image does not have.
const BECOME: &str = r#"set -e
mount --bind "$0" "$0"
mount -t tmpfs -o uid=65532,gid=65532,mode=0750 tmpfs "$0/var/lib/hookferry"
mount -t proc proc "$0/proc"
mount -o remount,bind,ro "$0"
shift
exec chroot --userspec=65532:65532 "$0" /usr/local/bin/hookferry "$@""#;

#[tokio::test(flavor = "multi_thread")]
async fn the_program_needs_nothing_that_the_image_does_not_have() {
    for (name, _) in libraries() {
        let known = LIBRARIES.iter().any(|library| name.starts_with(library));
        assert!(known, "{name} is not in the image");
    }
    if !rustix::process::geteuid().is_root() {
        println!("only root can try it");
        return;
    }
    let config = text("deploy/config/store.toml").replace("0.0.0.0:8080", "127.0.0.1:0");
    let image = image_of(&format!("{config}\n[log]\nformat = \"json\"\n"));
    let root = image.path().display().to_string();
    let secret = format!("ONECODEX_SECRET={SECRET}");
    let listen = [
        "HOOKFERRY_ADMIN_LISTEN=127.0.0.1:0",
        "HOOKFERRY_METRICS_LISTEN=127.0.0.1:0",
    ];
    let token = format!("HOOKFERRY_ADMIN_TOKEN={ADMIN_TOKEN}");
    let through = [
        "env", &secret, &token, listen[0], listen[1], "unshare", "--mount", "bash", "-c", BECOME,
        &root,
    ];
    let inside = Path::new("/etc/hookferry/hookferry.toml");
    let bridge = Bridge::start_through(&through, inside).await;
    bridge
        .accepted("onecodex", event("sample.uploaded", "a"))
        .await;
    bridge.drained().await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", bridge.pid())).unwrap();
    assert!(status.contains("Uid:\t65532\t65532"), "{status}");
    // As the image's health check does, by the listener that asks for no token.
    let url = format!("http://{}", bridge.metrics_listener.unwrap());
    let health = Command::new(RELEASED)
        .args(["health", "--url", &url])
        .status();
    assert!(health.unwrap().success());
    bridge.stop().await;
}
