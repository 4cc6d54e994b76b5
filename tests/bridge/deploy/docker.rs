//! The image, as far as it can be told without building one, and what the manual says of it.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;

use super::{is_good, place, text};
use crate::harness::program::RELEASED;
use crate::harness::setup::{ADMIN_TOKEN, SECRET};
use crate::harness::{Bridge, event};
use crate::repository::files_below;

const FILE: &str = "deploy/docker/Dockerfile";
const MANUAL: &str = "docs/src/docker.md";
/// Where the image has the volume.
const SPOOL: &str = "/var/lib/hookferry";

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
    assert_eq!(of(&image, "VOLUME"), [SPOOL]);
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
    let build = "cargo build --release --locked --bin hookferry";
    let mut built = 0;
    // What each of the two layers is made anew for.
    let mut copied = [BTreeSet::new(), BTreeSet::new()];
    for (name, rest) in instructions() {
        match name.as_str() {
            "FROM" if built > 0 => break,
            "COPY" => {
                let words: Vec<&str> = rest.split_whitespace().collect();
                for source in &words[..words.len() - 1] {
                    copied[built].insert((*source).to_owned());
                    copy(&place(source), &folder.path().join(words[words.len() - 1]));
                }
            }
            "RUN" if rest.contains(build) => {
                built += 1;
                let mut look =
                    "cargo tree --locked --offline --edges normal,build --depth 1".to_owned();
                if built == 1 {
                    look.push_str(&lint());
                }
                let script = rest.replace(build, &look).replace("/image", "image");
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
    let needed = [".cargo/config.toml", "Cargo.toml", "Cargo.lock"];
    assert_eq!(
        copied[0],
        needed.map(str::to_owned).into(),
        "what the dependencies are compiled by"
    );
    let ignored = text(".dockerignore");
    let let_in: BTreeSet<String> = ignored
        .lines()
        .filter_map(|line| line.strip_prefix('!'))
        .map(str::to_owned)
        .collect();
    let copied: BTreeSet<String> = copied.into_iter().flatten().collect();
    assert_eq!(let_in, copied, "nothing else is sent to the engine");
    let first = ignored.lines().find(|line| !line.starts_with('#'));
    assert_eq!(first, Some("*"), "everything else stays outside");
    the_spool_is_for_the_user_alone(folder.path());
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

/// The lints of the package, held against the programs that do nothing: a warning there would be one of
/// every build of the image.
fn lint() -> String {
    let manifest: toml::Table = text("Cargo.toml").parse().unwrap();
    let level = |(name, level): (&String, &toml::Value)| {
        let flag = match level.as_str().expect("a level") {
            "allow" => "-A",
            "forbid" => "-F",
            _ => "-D",
        };
        format!("{flag} {name}")
    };
    let lints = manifest["lints"]["rust"].as_table().unwrap();
    let lints: Vec<String> = lints.iter().map(level).collect();
    assert!(lints.contains(&"-D missing_docs".to_owned()), "{lints:?}");
    let edition = manifest["package"]["edition"].as_str().unwrap();
    let compile = |kind: &str, file: &str| {
        format!(
            " && rustc --edition {edition} -D warnings {} --crate-type {kind} --emit metadata --out-dir looked-at {file}",
            lints.join(" ")
        )
    };
    compile("lib", "src/lib.rs") + &compile("bin", "src/main.rs")
}

/// A new volume takes owner and mode from the folder in the image. COPY gives what is in a folder its
/// mode, and the folder itself another, so the one around the spool's has to be copied.
fn the_spool_is_for_the_user_alone(build: &Path) {
    let image = image();
    let copies = of(&image, "COPY").into_iter();
    let spool = Path::new(SPOOL);
    let around = spool.parent().unwrap();
    let mut found = 0;
    for words in copies.map(|copy| copy.split_whitespace().collect::<Vec<_>>()) {
        let (options, paths): (Vec<&str>, Vec<&str>) =
            words.iter().partition(|word| word.starts_with("--"));
        let [from, to] = paths[..] else {
            panic!("{words:?}");
        };
        assert_ne!(Path::new(to), spool, "it would be made with 0755");
        if Path::new(to) != around {
            continue;
        }
        found += 1;
        let owner = format!("--chown={}", of(&image, "USER")[0]);
        assert!(options.contains(&owner.as_str()), "{words:?}");
        let made = build.join(from.trim_start_matches('/'));
        let names = std::fs::read_dir(&made).unwrap();
        let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [spool.file_name().unwrap()], "and nothing else");
        let mode = made
            .join(&names[0])
            .metadata()
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o750);
    }
    assert_eq!(found, 1);
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
    for empty in ["proc", "tmp", "etc/hookferry", "var/lib/hookferry"] {
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
/// folder: without a shell, without a /tmp to write to, without anything that the image does not have.
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

/// Runs the program to its end in such a root.
fn run_inside(root: &Path, script: &str, arguments: &[&str]) -> Output {
    let mut inside = Command::new("unshare");
    inside.args(["--mount", "bash", "-c", script]).arg(root);
    // The program's own name, which the script drops.
    inside.arg("hookferry").args(arguments);
    inside
        .env("HOOKFERRY_CONFIG", "/etc/hookferry/hookferry.toml")
        .env("HOOKFERRY_ADMIN_TOKEN", ADMIN_TOKEN)
        .env("ONECODEX_SECRET", SECRET)
        .env_remove("TMPDIR");
    inside.output().expect("unshare is there")
}

/// As the manual says of `docker run`, where a container cannot be had.
#[test]
fn what_the_manual_says_of_a_read_only_root_and_of_a_folder_of_root_is_so() {
    if !rustix::process::geteuid().is_root() {
        println!("only root can try it");
        return;
    }
    let image = image_of(&text("deploy/config/store.toml"));
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let demo = ["demo", "--once"];
    let read_only = run_inside(image.path(), BECOME, &demo);
    assert_eq!(read_only.status.code(), Some(1), "{read_only:?}");
    assert!(said(&read_only).contains("/tmp/"), "{read_only:?}");
    let with_tmp = BECOME.replace(
        "mount -o remount",
        "mount -t tmpfs -o mode=1777 tmpfs \"$0/tmp\"\nmount -o remount",
    );
    let shown = run_inside(image.path(), &with_tmp, &demo);
    assert!(shown.status.success(), "{shown:?}");
    let of_root = BECOME.replace("uid=65532,gid=65532,mode=0750", "mode=0755");
    assert_ne!(of_root, BECOME);
    let refused = run_inside(image.path(), &of_root, &["serve"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    let remedy = format!("chown -R 65532 {SPOOL}");
    assert!(said(&refused).contains(&remedy), "{refused:?}");
}

/// A `docker run` of the manual.
struct DockerRun {
    options: Vec<(String, String)>,
    image: String,
    arguments: Vec<String>,
}

/// The options that take no value.
const FLAGS: [&str; 3] = ["--detach", "--read-only", "--rm"];

impl DockerRun {
    /// Of the words behind `docker run`; none where they are only a part of a command.
    fn parse(words: &[&str]) -> Option<Self> {
        let mut words = words.iter().copied();
        let mut options = Vec::new();
        loop {
            let word = words.next()?;
            if !word.starts_with("--") {
                return (word != "…").then(|| Self {
                    options,
                    image: word.to_owned(),
                    arguments: words.map(str::to_owned).collect(),
                });
            }
            let value = if FLAGS.contains(&word) {
                ""
            } else {
                words.next()?
            };
            options.push((word.to_owned(), value.to_owned()));
        }
    }

    fn all(&self, option: &str) -> Vec<&str> {
        let named = self.options.iter().filter(|(name, _)| name == option);
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// Asserts that a bridge that stays up has what the compose file gives one, and a folder for its
    /// spool that was made its user's.
    fn serves_safely(&self, commands: &[String]) {
        assert_eq!(self.all("--cap-drop"), ["ALL"]);
        assert_eq!(self.all("--security-opt"), ["no-new-privileges:true"]);
        for bound in ["--memory", "--cpus", "--pids-limit"] {
            assert_eq!(self.all(bound).len(), 1, "{bound}");
        }
        let configured = "/etc/hookferry/hookferry.toml";
        let config = commands.iter().find_map(|command| {
            let (from, to) = command.strip_prefix("install -m 0644 ")?.split_once(' ')?;
            (to == configured).then_some(from)
        });
        let config = config.expect("the configuration is put in its place");
        let stop = is_good(config, &text(config));
        let patience = self.all("--stop-timeout")[0].parse().unwrap();
        assert!(Duration::from_secs(patience) > stop + Duration::from_secs(1));
        for port in self.all("--publish") {
            assert!(port.starts_with("127.0.0.1:"), "{port}");
        }
        let mut spools = 0;
        for mount in self.all("--volume") {
            let parts: Vec<&str> = mount.split(':').collect();
            assert!(parts[0].starts_with('/'), "{mount}");
            if parts[1] != SPOOL {
                assert_eq!(parts.get(2), Some(&"ro"), "{mount}");
                assert!(configured.starts_with(parts[1]), "{mount}");
                continue;
            }
            spools += 1;
            assert_eq!(parts.len(), 2, "{mount}");
            let owner = of(&image(), "USER")[0].to_owned();
            let given = format!("chown {owner} {}", parts[0]);
            let is_given = |command: &String| command.split(" && ").any(|part| part == given);
            assert!(commands.iter().any(is_given), "{given}");
        }
        assert_eq!(spools, 1);
    }
}

/// The commands in the blocks of shell of a page, each on one line.
fn shell_commands(page: &str) -> Vec<String> {
    let mut commands = Vec::new();
    for block in page.split("```sh\n").skip(1) {
        let block = block.split("```").next().unwrap_or_default();
        let joined = block.replace("\\\n", " ");
        commands.extend(joined.lines().map(|line| {
            let words: Vec<&str> = line
                .split_whitespace()
                .take_while(|word| *word != "#")
                .collect();
            words.join(" ")
        }));
    }
    commands
}

#[test]
fn each_docker_run_of_the_manual_is_one_that_works() {
    let commands = shell_commands(&text(MANUAL));
    let (mut served, mut shown) = (0, 0);
    for command in &commands {
        let Some(rest) = command.strip_prefix("docker run ") else {
            continue;
        };
        let Some(run) = DockerRun::parse(&rest.split(' ').collect::<Vec<_>>()) else {
            continue;
        };
        assert_eq!(run.image, concat!("hookferry:", env!("CARGO_PKG_VERSION")));
        assert_eq!(run.all("--read-only").len(), 1, "{command}");
        if run.arguments.is_empty() {
            served += 1;
            run.serves_safely(&commands);
            continue;
        }
        let words = std::iter::once("hookferry").chain(run.arguments.iter().map(String::as_str));
        let parsed = hookferry::cli::command().try_get_matches_from(words);
        let parsed = parsed.unwrap_or_else(|error| panic!("{command}: {error}"));
        if parsed.subcommand_name() == Some("demo") {
            shown += 1;
            assert_eq!(run.all("--tmpfs"), ["/tmp"], "{command}");
        }
    }
    assert_eq!((served, shown), (1, 1), "{commands:#?}");
}
