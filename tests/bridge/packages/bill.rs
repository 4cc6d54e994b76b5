//! The bill of materials: which crates and which libraries in C are in the program.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use super::{artifact, said};
use crate::repository::place;

/// The libraries in C.
const IN_C: [&str; 8] = [
    "aws-lc",
    "jemalloc",
    "librdkafka",
    "lz4",
    "openssl",
    "sqlite",
    "zlib",
    "zstd",
];

fn bill() -> Value {
    let text = std::fs::read_to_string(artifact("hookferry-", ".cdx.json")).unwrap();
    assert!(
        !text.contains(env!("CARGO_MANIFEST_DIR")),
        "a path of this machine"
    );
    serde_json::from_str(&text).unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("{key} in {value}"))
}

/// What cargo says of the crates that the program is built of.
fn cargo(arguments: &[&str]) -> String {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = cargo.args(arguments).arg("--locked").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn tree() -> String {
    let target = "x86_64-unknown-linux-musl";
    let edges = "normal,build";
    cargo(&[
        "tree", "--edges", edges, "--prefix", "none", "--target", target, "--format", "{p}",
    ])
}

/// The crates by name and version.
fn crates() -> BTreeSet<(String, String)> {
    let pair = |line: &str| {
        let mut words = line.split(' ');
        let name = words.next()?.to_owned();
        let version = words.next()?.trim_start_matches('v').to_owned();
        (name != "hookferry").then_some((name, version))
    };
    tree().lines().filter_map(pair).collect()
}

#[test]
#[ignore = "tests/run --packages: needs what deploy/release makes"]
fn the_bill_names_every_crate_and_every_library_in_c() {
    let bill = bill();
    assert_eq!(text(&bill, "bomFormat"), "CycloneDX");
    let program = &bill["metadata"]["component"];
    assert_eq!(text(program, "name"), "hookferry");
    assert_eq!(text(program, "version"), env!("CARGO_PKG_VERSION"));
    let components = bill["components"].as_array().unwrap();
    let listed: BTreeSet<(String, String)> = components
        .iter()
        .map(|component| {
            (
                text(component, "name").to_owned(),
                text(component, "version").to_owned(),
            )
        })
        .collect();
    let crates = crates();
    assert!(crates.len() > 100, "{crates:?}");
    let missing: Vec<_> = crates.difference(&listed).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let others = listed.difference(&crates).map(|(name, _)| name.as_str());
    assert_eq!(others.collect::<Vec<_>>(), IN_C);
    for library in IN_C {
        let found = components
            .iter()
            .find(|component| text(component, "name") == library);
        let found = found.unwrap_or_else(|| panic!("{library}"));
        let version = text(found, "version");
        assert!(
            version.starts_with(|first: char| first.is_ascii_digit()) && version.contains('.'),
            "{found}"
        );
        let reference = text(found, "bom-ref");
        let dependencies = bill["dependencies"].as_array().unwrap();
        let needs = |of: &&Value| {
            let on = of["dependsOn"].as_array().map_or(&[][..], Vec::as_slice);
            on.iter().any(|name| name == reference)
        };
        assert!(
            dependencies.iter().any(|of| needs(&of)),
            "nobody needs {library}"
        );
    }
}

#[test]
#[ignore = "tests/run --packages: needs what deploy/release makes"]
fn the_bill_holds_by_the_schema_of_cyclonedx() {
    let file = artifact("hookferry-", ".cdx.json");
    let python = std::env::var("HOOKFERRY_TEST_CYCLONEDX").expect("run tests/run --packages");
    let check = "import sys\n\
        from cyclonedx.schema import SchemaVersion\n\
        from cyclonedx.validation.json import JsonStrictValidator\n\
        found = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read())\n\
        sys.exit(found and str(found))";
    let checked = |file: &std::path::Path| {
        Command::new(&python)
            .args(["-c", check])
            .arg(file)
            .output()
            .unwrap()
    };
    said(Command::new(&python).args(["-c", check]).arg(&file));
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("wrong.json");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &wrong,
        text.replace("\"type\": \"library\"", "\"type\": \"libary\""),
    )
    .unwrap();
    assert!(!checked(&wrong).status.success());
}

#[test]
#[ignore = "tests/run --packages: needs what deploy/release makes"]
fn a_crate_with_an_unknown_library_in_c_is_asked_about() {
    let folder = tempfile::tempdir().unwrap();
    let crates = folder.path().join("crates");
    std::fs::write(&crates, tree()).unwrap();
    let of = |metadata: &Value| {
        let file = folder.path().join("metadata.json");
        std::fs::write(&file, metadata.to_string()).unwrap();
        let mut script = Command::new(place("deploy/package/c-libraries"));
        script.arg(artifact("hookferry-", ".cdx.json")).arg(&crates);
        script.env("SOURCE_DATE_EPOCH", "0");
        script.stdin(std::fs::File::open(file).unwrap());
        script.output().unwrap()
    };
    let mut metadata =
        serde_json::from_str(&cargo(&["metadata", "--format-version", "1"])).unwrap();
    assert!(of(&metadata).status.success());
    let packages = metadata["packages"].as_array_mut().unwrap();
    let serde = packages
        .iter_mut()
        .find(|package| package["name"] == "serde");
    serde.unwrap()["links"] = "serde_in_c".into();
    let output = of(&metadata);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && said.contains("bring along? serde"),
        "{said}"
    );
}
