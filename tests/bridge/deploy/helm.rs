//! The Helm chart: it makes the objects that kustomize makes of the overlays, they are valid, and its
//! values are checked, described and used.

mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::kubernetes::{OF_THE_OPERATOR, Overlay, REFUSED, VERSIONS, monitored, overlays};
use super::{place, python, text, yaml};
use crate::generated;

const CHART: &str = "deploy/helm";
/// The values with which the chart makes the objects of an overlay.
const OF_AN_OVERLAY: [(&str, &[&str]); 3] = [
    ("kafka", &[]),
    ("rabbitmq", &["sink=\"rabbitmq\""]),
    ("stateless", &["stateless.enabled=true"]),
];
const MONITORED: &str = "monitoring.enabled=true";
/// The last three versions of Kubernetes, and the oldest that takes the pods.
const VALIDATED: [&str; 4] = ["1.37", "1.36", "1.35", VERSIONS[0]];

/// The chart reads nothing beside itself, so these are copies. (Helm follows a symbolic link, and says so
/// of each, at every command.)
const COPIES: [(&str, &str); 7] = [
    ("kafka.toml", "kubernetes/overlays/kafka/hookferry.toml"),
    (
        "rabbitmq.toml",
        "kubernetes/overlays/rabbitmq/hookferry.toml",
    ),
    (
        "stateless.toml",
        "kubernetes/overlays/stateless/hookferry.toml",
    ),
    ("alerts.yml", "prometheus/rules/alerts.yml"),
    ("recording.yml", "prometheus/rules/recording.yml"),
    (
        "volumes.yaml",
        "kubernetes/components/monitoring/stack/volumes.yaml",
    ),
    ("hookferry.json", "grafana/dashboards/hookferry.json"),
];

/// All that may differ between the chart's objects and those of the overlay, each with its reason.
mod exceptions {
    /// Labels of every object by which Helm and its users know its own; no pod and no selector has them.
    pub const LABELS: [&str; 2] = ["helm.sh/chart", "app.kubernetes.io/managed-by"];
    /// By this annotation another configuration is another set of pods. Kustomize gives the ConfigMap
    /// another name instead: Helm would delete the former one while pods still run with it.
    pub const CHECKSUM: &str = "/spec/template/metadata/annotations/checksum~1configuration";
    /// What the ConfigMap of the configuration is called before kustomize's ten characters.
    pub const HASHED: &str = "hookferry-";
}

/// The arguments without a cluster, and without what the user of Helm has set up.
fn helm(arguments: &[&str]) -> Result<String, String> {
    let home = tempfile::tempdir().unwrap();
    let mut helm = Command::new(place("tests/helm"));
    for name in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        helm.env(name, home.path());
    }
    helm.args(arguments)
        .env("KUBECONFIG", home.path().join("none"));
    let output = helm.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    // tests/helm itself says that it builds the program.
    let said: Vec<&str> = said
        .lines()
        .filter(|line| !line.starts_with("helm: "))
        .collect();
    let said = said.join("\n");
    let printed = String::from_utf8(output.stdout).unwrap();
    if !output.status.success() {
        return Err(printed + &said);
    }
    assert_eq!(said, "", "{arguments:?}");
    Ok(printed)
}

/// The objects of a release in the namespace `hookferry` with these values, on the newest Kubernetes.
fn release(chart: &Path, name: &str, values: &[&str]) -> Result<String, String> {
    let chart = chart.to_str().unwrap();
    let newest = format!("{}.0", VERSIONS[1]);
    let mut arguments = vec!["template", name, chart, "--namespace", "hookferry"];
    arguments.extend(["--kube-version", &newest]);
    arguments.extend(values.iter().flat_map(|value| ["--set-json", value]));
    helm(&arguments)
}

/// Those of the chart as the release `hookferry`.
fn template(values: &[&str]) -> Result<String, String> {
    release(&place(CHART), "hookferry", values)
}

/// Objects by what a cluster knows them by.
type Objects = BTreeMap<String, Value>;

fn by_name(objects: Vec<Value>) -> Objects {
    let count = objects.len();
    let named = objects.into_iter().map(|object| {
        let metadata = &object["metadata"];
        let name = format!(
            "{} {}",
            object["kind"].as_str().unwrap(),
            metadata["name"].as_str().unwrap()
        );
        (name, object)
    });
    let named: Objects = named.collect();
    assert_eq!(named.len(), count, "two of one name");
    named
}

/// The chart's objects with these values, which are good.
fn objects(values: &[&str]) -> Objects {
    by_name(yaml(
        &template(values).unwrap_or_else(|said| panic!("{values:?}: {said}")),
    ))
}

/// Where two values differ, as lines `PATH: OLD -> NEW`.
fn differences(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                differences(&format!("{path}/{key}"), &old[key], &new[key], found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differences(&format!("{path}/{index}"), a, b, found);
            }
        }
        _ if old != new => found.push(format!("{path}: {old} -> {new}")),
        _ => {}
    }
}

/// The same of all objects, the paths of which begin with the object's kind and name.
fn changed(old: &Objects, new: &Objects) -> Vec<String> {
    let mut found = Vec::new();
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let [old, new] = [old, new].map(|of| of.get(name).unwrap_or(&Value::Null));
        differences(name, old, new, &mut found);
    }
    found
}

/// The chart's objects for an overlay without what kustomize does not have.
fn of_the_chart(name: &str, more: &[&str]) -> Objects {
    let (_, values) = OF_AN_OVERLAY
        .iter()
        .find(|(overlay, _)| *overlay == name)
        .expect("values");
    let mut objects = objects(&[values, more].concat());
    for (name, object) in &mut objects {
        let labels = object["metadata"]["labels"].as_object_mut().unwrap();
        for label in exceptions::LABELS {
            assert!(labels.remove(label).is_some(), "{name}: {label}");
        }
        let Some(checksum) = object.pointer(exceptions::CHECKSUM) else {
            continue;
        };
        assert_eq!(checksum.as_str().unwrap().len(), 64, "{name}");
        let metadata = object["spec"]["template"]["metadata"]
            .as_object_mut()
            .unwrap();
        let annotations = metadata.remove("annotations").unwrap();
        assert_eq!(annotations.as_object().unwrap().len(), 1, "{name}");
    }
    objects
}

/// An overlay's objects with the ConfigMap as the chart calls it.
fn of_kustomize(overlay: &Overlay) -> Objects {
    let is_hashed = |object: &&Value| {
        let name = object["metadata"]["name"].as_str().unwrap();
        let hash = name.strip_prefix(exceptions::HASHED).unwrap_or_default();
        object["kind"] == "ConfigMap" && hash.len() == 10
    };
    let hashed = overlay
        .resources
        .iter()
        .find(is_hashed)
        .expect("the configuration");
    let name = hashed["metadata"]["name"].as_str().unwrap();
    by_name(yaml(
        &overlay
            .text
            .replace(name, exceptions::HASHED.trim_end_matches('-')),
    ))
}

#[test]
fn the_chart_makes_the_objects_of_the_overlays() {
    for (overlays, more) in [(overlays(), &[][..]), (monitored(), &[MONITORED][..])] {
        assert_eq!(overlays.len(), OF_AN_OVERLAY.len());
        for overlay in overlays {
            let differ = changed(&of_kustomize(&overlay), &of_the_chart(&overlay.name, more));
            assert!(differ.is_empty(), "{} {more:?}: {differ:#?}", overlay.name);
        }
    }
}

/// They are renewed as the book's pages are.
#[test]
fn the_charts_files_are_current_as_the_book_is() {
    for (file, of) in COPIES {
        generated::is_current(
            &format!("{CHART}/files/{file}"),
            &text(&format!("deploy/{of}")),
        );
    }
    let files = std::fs::read_dir(place(CHART).join("files")).unwrap();
    assert_eq!(files.count(), COPIES.len());
}

#[test]
fn what_differs_is_found() {
    let old = by_name(vec![
        json!({ "kind": "A", "metadata": { "name": "a" }, "spec": { "list": [1, 2], "one": 1 } }),
    ]);
    let new = by_name(vec![
        json!({ "kind": "A", "metadata": { "name": "a" }, "spec": { "list": [1, 3], "two": null } }),
        json!({ "kind": "B", "metadata": { "name": "b" } }),
    ]);
    assert_eq!(
        changed(&old, &new),
        [
            "A a/spec/list/1: 2 -> 3",
            "A a/spec/one: 1 -> null",
            "B b: null -> {\"kind\":\"B\",\"metadata\":{\"name\":\"b\"}}",
        ]
    );
    assert!(changed(&new, &new).is_empty());
}

/// The schemas of kubernetes-validate as kubeconform reads them: theirs lead to each other by addresses
/// in the Internet.
fn schemas(folder: &Path, kinds: &BTreeSet<(String, String)>) {
    let mut command = python();
    let found = command
        .args([
            "-c",
            "import kubernetes_validate, os; print(os.path.dirname(kubernetes_validate.__file__))",
        ])
        .output()
        .unwrap();
    let package = PathBuf::from(String::from_utf8(found.stdout).unwrap().trim());
    let names = kinds.iter().map(|(version, kind)| {
        let version = version.replace(".k8s.io/", "/").replace('/', "-");
        format!("{}-{version}.json", kind.to_lowercase())
    });
    let names: Vec<String> = names.chain(["_definitions.json".to_owned()]).collect();
    for version in VALIDATED.iter().chain([&REFUSED]) {
        let of_version = package.join(format!("kubernetes-json-schema/v{version}.0-local-strict"));
        std::fs::create_dir(folder.join(version)).unwrap();
        for name in &names {
            let schema = std::fs::read_to_string(of_version.join(name))
                .unwrap_or_else(|error| panic!("{version}, {name}: {error}"));
            let mut schema: Value = serde_json::from_str(
                &schema.replace("\"/api/_definitions.json", "\"_definitions.json"),
            )
            .unwrap();
            schema.as_object_mut().unwrap().remove("$id");
            std::fs::write(folder.join(version).join(name), schema.to_string()).unwrap();
        }
    }
}

/// Asks kubeconform about files; returns whether all are valid, and what it says.
fn conform(folder: &Path, version: &str, files: &[PathBuf]) -> (bool, String) {
    let location = format!(
        "{}/{version}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json",
        folder.display()
    );
    let mut command = Command::new(place("tests/kubeconform"));
    command.args(["-strict", "-summary", "-skip", &OF_THE_OPERATOR.join(",")]);
    command.args(["-schema-location", &location]).args(files);
    let output = command.output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.success(), said)
}

/// Both ways, with all that the chart can make.
#[test]
fn the_objects_of_both_ways_conform_to_the_last_versions() {
    let folder = tempfile::tempdir().unwrap();
    let mut texts = Vec::new();
    for overlay in overlays().into_iter().chain(monitored()) {
        texts.push(overlay.text);
    }
    for (_, values) in OF_AN_OVERLAY {
        texts.push(template(values).unwrap());
        texts.push(template(&[values, values::ALL_OF_IT, &[MONITORED]].concat()).unwrap());
    }
    let all = texts.iter().flat_map(|text| yaml(text));
    let all: Vec<(String, String)> = all
        .map(|it| {
            ["apiVersion", "kind"]
                .map(|key| it[key].as_str().unwrap().to_owned())
                .into()
        })
        .collect();
    let (operators, known): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|(_, kind)| OF_THE_OPERATOR.contains(&kind.as_str()));
    let kinds: BTreeSet<_> = known.iter().cloned().collect();
    assert!(kinds.len() >= 9, "{kinds:?}");
    schemas(folder.path(), &kinds);
    let mut files = Vec::new();
    for (number, text) in texts.iter().enumerate() {
        files.push(folder.path().join(format!("{number}.yaml")));
        std::fs::write(&files[number], text).unwrap();
    }
    let summary = format!(
        "Summary: {} resources found in {} files - Valid: {}, Invalid: 0, Errors: 0, Skipped: {}\n",
        known.len() + operators.len(),
        files.len(),
        known.len(),
        operators.len()
    );
    for version in VALIDATED {
        let (valid, said) = conform(folder.path(), version, &files);
        assert!(valid && said == summary, "{version}: {said}");
    }
    let (valid, said) = conform(folder.path(), REFUSED, &files);
    assert!(!valid && said.contains("preStop"), "{said}");
    let wrong = folder.path().join("wrong.yaml");
    let text = texts[0].replace("terminationGracePeriodSeconds", "terminationGracePeriod");
    assert_ne!(text, texts[0]);
    std::fs::write(&wrong, text).unwrap();
    let (valid, said) = conform(folder.path(), VERSIONS[1], &[wrong]);
    assert!(
        !valid && said.contains("'terminationGracePeriod' not allowed"),
        "{said}"
    );
}

#[test]
fn helm_has_nothing_against_the_chart() {
    let chart = place(CHART);
    let lint = |chart: &Path, values: &[&str]| {
        let mut arguments = vec!["lint", "--strict", chart.to_str().unwrap()];
        arguments.extend(["--kube-version", VERSIONS[1]]);
        arguments.extend(values.iter().flat_map(|value| ["--set-json", value]));
        helm(&arguments)
    };
    for (name, values) in OF_AN_OVERLAY {
        let said = lint(&chart, &[values, values::ALL_OF_IT, &[MONITORED]].concat())
            .unwrap_or_else(|said| panic!("{name}: {said}"));
        let lines = said.lines().filter(|line| line.starts_with('['));
        // An icon is for the catalogue of a registry.
        let beyond: Vec<&str> = lines
            .filter(|line| *line != "[INFO] Chart.yaml: icon is recommended")
            .collect();
        assert_eq!(beyond, [""; 0], "{name}");
        assert!(
            said.contains("1 chart(s) linted, 0 chart(s) failed"),
            "{said}"
        );
    }
    let said = lint(&chart, &["sink=\"sqs\""]).unwrap_err();
    assert!(said.contains("'/sink'"), "{said}");
    // What is only a warning is one too many.
    let (_folder, wrong) = copy();
    let file = wrong.join("templates/poddisruptionbudget.yaml");
    let current = std::fs::read_to_string(&file).unwrap();
    std::fs::write(file, current.replace("policy/v1", "policy/v1beta1")).unwrap();
    let said = lint(&wrong, &[]).unwrap_err();
    assert!(said.contains("policy/v1beta1"), "{said}");
}

/// A copy of the chart by itself, as it is when it has been packed.
fn copy() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("hookferry");
    let mut copy = Command::new("cp");
    assert!(
        copy.arg("-rL")
            .args([place(CHART), to.clone()])
            .status()
            .unwrap()
            .success()
    );
    (folder, to)
}

/// What is rendered of the folder here and of the chart that users get.
#[test]
fn the_packed_chart_is_whole_and_of_the_programs_version() {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().to_str().unwrap();
    helm(&[
        "package",
        place(CHART).to_str().unwrap(),
        "--destination",
        to,
    ])
    .unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let packed = folder.path().join(format!("hookferry-{version}.tgz"));
    for (name, values) in OF_AN_OVERLAY {
        let values = [values, &[MONITORED][..]].concat();
        let rendered = release(&packed, "hookferry", &values).unwrap();
        assert_eq!(rendered, template(&values).unwrap(), "{name}");
    }
    let about = &yaml(&text(&format!("{CHART}/Chart.yaml")))[0];
    assert_eq!(about["appVersion"], version);
    assert_eq!(about["kubeVersion"], format!(">={}.0-0", VERSIONS[0]));
}

#[test]
fn an_older_kubernetes_is_refused_before_anything_is_made() {
    let template = |version: &str| {
        helm(&[
            "template",
            place(CHART).to_str().unwrap(),
            "--kube-version",
            version,
        ])
    };
    let said = template(&format!("{REFUSED}.0")).unwrap_err();
    let why = format!("chart requires kubeVersion: >={}.0-0", VERSIONS[0]);
    assert!(said.contains(&why), "{said}");
    assert!(template("1.33.1-gke.100").is_ok());
}

/// The selector of a StatefulSet and its volumes cannot be changed: an update would be refused.
#[test]
fn what_cannot_change_does_not_change_with_labels_and_versions() {
    let (_folder, next) = copy();
    let about = next.join("Chart.yaml");
    let newer = std::fs::read_to_string(&about)
        .unwrap()
        .replace(env!("CARGO_PKG_VERSION"), "9.8.7");
    std::fs::write(about, newer).unwrap();
    let values = [
        "commonLabels.team=\"a\"",
        "podLabels.tier=\"b\"",
        "commonAnnotations.note=\"c\"",
    ];
    let next = by_name(yaml(&release(&next, "hookferry", &values).unwrap()));
    let (old, new) = (
        &objects(&[])["StatefulSet hookferry"],
        &next["StatefulSet hookferry"],
    );
    for key in [
        "selector",
        "volumeClaimTemplates",
        "serviceName",
        "podManagementPolicy",
    ] {
        assert_eq!(old["spec"][key], new["spec"][key]);
        assert!(!old["spec"][key].is_null(), "{key}");
    }
    let pod = &new["spec"]["template"];
    assert_eq!(pod["metadata"]["labels"]["team"], "a");
    // A new version of the chart with the same image is not another set of pods.
    assert!(!pod.to_string().contains("hookferry-9.8.7"));
    assert_eq!(
        new["metadata"]["labels"]["helm.sh/chart"],
        "hookferry-9.8.7"
    );
}

/// What selects the pods of one release does not select those of another beside it.
#[test]
fn two_releases_in_one_namespace_leave_each_other_alone() {
    let [one, other] = ["one", "other"].map(|name| {
        let text = release(&place(CHART), name, &[MONITORED]).unwrap();
        by_name(yaml(&text))
    });
    assert_eq!(
        one.keys().filter(|name| other.contains_key(*name)).count(),
        0
    );
    let pod = &other["StatefulSet other-hookferry"]["spec"]["template"]["metadata"]["labels"];
    let (mut selectors, mut pending) = (0, Vec::from_iter(one.values()));
    while let Some(value) = pending.pop() {
        pending.extend(value.as_array().into_iter().flatten());
        for (key, value) in value.as_object().into_iter().flatten() {
            pending.push(value);
            let labels = value.get("matchLabels").unwrap_or(value);
            let of_pods = ["selector", "podSelector", "labelSelector"].contains(&key.as_str());
            if of_pods && labels["app.kubernetes.io/name"] == "hookferry" {
                let mut labels = labels.as_object().unwrap().iter();
                assert!(
                    labels.any(|(key, value)| pod[key] != *value),
                    "{key}: {value}"
                );
                selectors += 1;
            }
        }
    }
    assert!(selectors >= 8, "{selectors}");
    let rule = one["PrometheusRule one-hookferry-volumes"].to_string();
    assert!(rule.contains("spool-one-hookferry-[0-9]+") && !rule.contains("spool-hookferry-"));
    let long = "a".repeat(53);
    let text = release(&place(CHART), &long, &[MONITORED]).unwrap();
    for object in yaml(&text) {
        // The revision of a StatefulSet adds eleven.
        let name = object["metadata"]["name"].as_str().unwrap();
        assert!(name.len() <= 63 && !name.ends_with('-'), "{name}");
    }
}

#[test]
fn what_is_said_after_an_installation_fits_the_release() {
    for (values, wanted, unwanted) in [
        (
            &[][..],
            &[
                "only an example",
                "secret generic a-hookferry --from-file=onecodex=FILE --from-file=kafka-ca.pem=FILE",
                "rollout status statefulset a-hookferry",
                "exec a-hookferry-0 -- hookferry check",
                "spool-a-hookferry-N",
            ][..],
            "https://",
        ),
        (
            &[
                "sink=\"rabbitmq\"",
                "existingSecret=\"vault\"",
                "ingress={\"enabled\":true,\"host\":\"hooks.example.com\"}",
            ][..],
            &[
                "secret generic vault --from-file=onecodex=FILE --from-file=rabbitmq=FILE",
                "https://hooks.example.com/webhooks",
            ][..],
            "kafka",
        ),
        (
            &[
                "stateless.enabled=true",
                "image.repository=\"ours/hookferry\"",
                "secrets={\"onecodex\":\"a\",\"kafka-ca.pem\":\"b\"}",
            ][..],
            &[
                "rollout status deployment a-hookferry",
                "exec deploy/a-hookferry -- ",
            ][..],
            "leaves the volumes",
        ),
    ] {
        let chart = place(CHART).display().to_string();
        let mut arguments = vec![
            "install",
            "a",
            &chart,
            "--namespace",
            "events",
            "--dry-run=client",
        ];
        arguments.extend(values.iter().flat_map(|value| ["--set-json", value]));
        let said = helm(&arguments).unwrap();
        let (_, notes) = said.split_once("\nNOTES:\n").expect("notes");
        for part in wanted {
            assert!(notes.contains(part), "{part} is not in {notes}");
        }
        assert!(!notes.contains(unwanted), "{unwanted} is in {notes}");
    }
}
