//! The image, as far as it can be told without building one.

use std::path::Path;
use std::process::Command;

use super::{place, text};

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
    let copied = Command::new("cp").arg("-r").arg(from).arg(to).status();
    assert!(copied.expect("cp is there").success(), "{}", from.display());
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
                    copy(&place(source), folder.path());
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
    // Without these the image would hold another program than the one that is tested.
    assert!(folder.path().join(".cargo/config.toml").exists());
}

#[test]
fn no_file_lies_there_for_nothing() {
    let files = std::fs::read_dir(place("deploy/docker")).unwrap();
    let names: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names, ["Dockerfile"]);
}
