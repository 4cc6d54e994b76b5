//! The Kubernetes overlays as kustomize renders them: valid, restricted, and of one piece, with the
//! monitoring and without it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::{is_good, is_pinned, place, python, strings, text, yaml};
use crate::generated::{self, RENEWAL};
use crate::harness::promtool;

const FOLDER: &str = "deploy/kubernetes";
/// What the component takes from beside that folder.
const DASHBOARDS: &str = "deploy/grafana/dashboards";
/// How an overlay names the component, and how it does without.
const MONITORED: &str = "\ncomponents:\n  - ../../components/monitoring\n";
const UNMONITORED: &str = "\n# components:\n#   - ../../components/monitoring\n";
/// The kinds of the Prometheus operator, of which Kubernetes has no schema.
pub(super) const OF_THE_OPERATOR: [&str; 2] = ["ServiceMonitor", "PrometheusRule"];
/// The address of NodeLocal DNSCache on each node.
const NODE_LOCAL_DNS: &str = "169.254.20.10/32";
/// The oldest version that has all that is used, and the newest that is known here.
pub(super) const VERSIONS: [&str; 2] = ["1.30", "1.37"];
/// The newest that does not know all that is used. (1.29 knows it, behind a gate that is off.)
pub(super) const REFUSED: &str = "1.28";

/// An overlay, rendered.
pub(super) struct Overlay {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) resources: Vec<Value>,
}

/// The overlays as they are.
pub(super) fn overlays() -> Vec<Overlay> {
    rendered(&place(FOLDER))
}

/// The overlays with the monitoring, as the comment in each says.
pub(super) fn monitored() -> Vec<Overlay> {
    let folder = tempfile::tempdir().unwrap();
    for part in [FOLDER, DASHBOARDS] {
        let to = folder.path().join(part);
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        let mut copy = Command::new("cp");
        assert!(
            copy.arg("-r")
                .args([place(part), to])
                .status()
                .unwrap()
                .success()
        );
    }
    let copied = folder.path().join(FOLDER);
    for entry in std::fs::read_dir(copied.join("overlays")).unwrap() {
        let file = entry.unwrap().path().join("kustomization.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text.matches(UNMONITORED).count(), 1, "{}", file.display());
        std::fs::write(file, text.replace(UNMONITORED, MONITORED)).unwrap();
    }
    rendered(&copied)
}

/// The overlays of a folder such as `deploy/kubernetes`.
fn rendered(folder: &Path) -> Vec<Overlay> {
    let entries = std::fs::read_dir(folder.join("overlays")).unwrap();
    let mut folders: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let overlays: Vec<Overlay> = folders.iter().map(|it| Overlay::rendered(it)).collect();
    assert!(overlays.len() >= 3);
    overlays
}

impl Overlay {
    fn rendered(folder: &Path) -> Self {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let mut kustomize = Command::new(place("tests/kustomize"));
        let output = kustomize.arg(folder).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
        assert!(
            !said.to_lowercase().contains("deprecated"),
            "{name}: {said}"
        );
        let text = String::from_utf8(output.stdout).unwrap();
        let resources = yaml(&text);
        Self {
            name,
            text,
            resources,
        }
    }

    fn all(&self, kind: &str) -> Vec<&Value> {
        let of_kind = |resource: &&Value| resource["kind"] == kind;
        self.resources.iter().filter(of_kind).collect()
    }

    fn one(&self, kind: &str) -> &Value {
        let all = self.all(kind);
        assert_eq!(all.len(), 1, "{}: {kind}", self.name);
        all[0]
    }

    /// The StatefulSet or the Deployment.
    fn workload(&self) -> &Value {
        self.one(if self.is_stateless() {
            "Deployment"
        } else {
            "StatefulSet"
        })
    }

    fn is_stateless(&self) -> bool {
        self.name == "stateless"
    }

    fn pod(&self) -> &Value {
        &self.workload()["spec"]["template"]["spec"]
    }

    fn container(&self) -> &Value {
        let containers = self.pod()["containers"].as_array().unwrap();
        assert_eq!(containers.len(), 1, "{}", self.name);
        &containers[0]
    }

    fn service(&self, name: &str) -> &Value {
        self.named("Service", name)
    }

    /// The resource of this kind and name.
    fn named(&self, kind: &str, name: &str) -> &Value {
        let all = self.all(kind);
        let named = all
            .into_iter()
            .find(|resource| resource["metadata"]["name"] == name);
        named.unwrap_or_else(|| panic!("{}: no {kind} {name}", self.name))
    }

    fn configuration(&self) -> &str {
        self.one("ConfigMap")["data"]["hookferry.toml"]
            .as_str()
            .expect("the file")
    }

    /// Whether labels to be matched are all on the pods.
    fn selects_the_pods(&self, selector: &Value) -> bool {
        let selector = selector.as_object().expect("labels to match");
        let labels = &self.workload()["spec"]["template"]["metadata"]["labels"];
        !selector.is_empty() && selector.iter().all(|(key, value)| labels[key] == *value)
    }
}

/// Whoever has an older cluster learns it from the manual, and not from the API server.
#[test]
fn the_manual_names_the_versions_that_refuse_the_pods() {
    let manual = super::text("docs/src/kubernetes.md");
    let oldest = format!("Kubernetes {} or later", VERSIONS[0]);
    let line = manual.lines().find(|line| line.starts_with(&oldest));
    let line = line.expect("the oldest version");
    let field = "spec.template.spec.containers[0].lifecycle.preStop.sleep";
    for part in ["refuses the pods", REFUSED, field] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
}

#[test]
fn every_resource_is_valid_by_the_schemas_of_kubernetes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rendered.yaml");
    let validate = |text: &str, version: &str| {
        std::fs::write(&file, text).unwrap();
        let mut command = python();
        command.args(["-m", "kubernetes_validate", "--strict", "-k", version]);
        let output = command.arg(&file).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.success(), said)
    };
    for overlay in overlays().into_iter().chain(monitored()) {
        for version in VERSIONS {
            let (valid, said) = validate(&overlay.text, version);
            assert!(valid, "{}: {said}", overlay.name);
            // See the tests of the others' fields.
            let others = OF_THE_OPERATOR.map(|kind| overlay.all(kind).len());
            let known = overlay.resources.len() - others.iter().sum::<usize>();
            assert_eq!(
                said.matches(" passed for resource ").count(),
                known,
                "{said}"
            );
        }
        let wrong = overlay
            .text
            .replace("terminationGracePeriodSeconds", "terminationGracePeriod");
        assert_ne!(wrong, overlay.text);
        assert!(
            !validate(&wrong, VERSIONS[0]).0,
            "a key that Kubernetes does not know"
        );
        let (valid, said) = validate(&overlay.text, REFUSED);
        assert!(!valid && said.contains("lifecycle.preStop"), "{said}");
    }
}

/// What `pod-security.kubernetes.io/enforce=restricted` asks for (Pod Security Standards), and a
/// read-only root file system besides.
#[test]
fn every_pod_is_restricted() {
    for overlay in overlays() {
        let (name, pod, container) = (&overlay.name, overlay.pod(), overlay.container());
        let security = &pod["securityContext"];
        assert_eq!(security["runAsNonRoot"], true, "{name}");
        assert!(security["runAsUser"].as_u64().unwrap() > 0, "{name}");
        assert_eq!(
            security["seccompProfile"]["type"], "RuntimeDefault",
            "{name}"
        );
        // Or a user that is not root could neither read a Secret nor write to a volume.
        assert_eq!(security["fsGroup"], security["runAsGroup"], "{name}");
        for key in ["hostNetwork", "hostPID", "hostIPC", "initContainers"] {
            assert!(pod[key].is_null(), "{name}: {key}");
        }
        let security = &container["securityContext"];
        assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
        assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
        assert_eq!(
            strings(&security["capabilities"]["drop"]),
            ["ALL"],
            "{name}"
        );
        assert!(security["capabilities"]["add"].is_null(), "{name}");
        assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
        let account = overlay.one("ServiceAccount");
        assert_eq!(account["automountServiceAccountToken"], false, "{name}");
        assert_eq!(
            pod["serviceAccountName"], account["metadata"]["name"],
            "{name}"
        );
        let volumes = pod["volumes"].as_array().unwrap();
        let kinds = ["configMap", "secret"];
        assert!(
            volumes
                .iter()
                .all(|volume| kinds.iter().any(|kind| !volume[kind].is_null())),
            "{name}"
        );
        assert!(is_pinned(container["image"].as_str().unwrap()), "{name}");
        assert!(
            container["image"]
                .as_str()
                .unwrap()
                .ends_with(env!("CARGO_PKG_VERSION")),
            "{name}"
        );
        assert!(
            !container["resources"]["requests"]["cpu"].is_null(),
            "{name}"
        );
        assert!(
            !container["resources"]["limits"]["memory"].is_null(),
            "{name}"
        );
        assert_eq!(
            pod["topologySpreadConstraints"].as_array().unwrap().len(),
            2,
            "{name}"
        );
    }
}

#[test]
fn no_secret_is_shipped() {
    for overlay in overlays() {
        assert_eq!(overlay.all("Secret").len(), 0, "{}", overlay.name);
        let volumes = overlay.pod()["volumes"].as_array().unwrap();
        let secret = volumes
            .iter()
            .find(|volume| !volume["secret"].is_null())
            .unwrap();
        assert_eq!(
            secret["secret"]["secretName"], "hookferry",
            "{}",
            overlay.name
        );
        // The command that makes it names each key that the configuration reads.
        let kustomization = super::text(&format!(
            "{FOLDER}/overlays/{}/kustomization.yaml",
            overlay.name
        ));
        let folder = "/run/secrets/hookferry/";
        let configuration: Vec<&str> = overlay
            .configuration()
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        let keys: BTreeSet<String> = configuration
            .join("\n")
            .split(folder)
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap().to_owned())
            .collect();
        assert!(!keys.is_empty());
        for key in keys {
            assert!(
                kustomization.contains(&format!("--from-file={key}=FILE")),
                "{}: {key}",
                overlay.name
            );
        }
        let mounts = overlay.container()["volumeMounts"].as_array().unwrap();
        let mounted = |name: &Value, path: &str| {
            mounts.iter().any(|mount| {
                mount["name"] == *name && mount["mountPath"] == path && mount["readOnly"] == true
            })
        };
        assert!(
            mounted(&secret["name"], folder.trim_end_matches('/')),
            "{}",
            overlay.name
        );
        let configuration = volumes
            .iter()
            .find(|volume| !volume["configMap"].is_null())
            .unwrap();
        assert!(
            mounted(&configuration["name"], "/etc/hookferry"),
            "{}",
            overlay.name
        );
        let generated = &overlay.one("ConfigMap")["metadata"]["name"];
        assert_eq!(
            configuration["configMap"]["name"], *generated,
            "{}",
            overlay.name
        );
    }
}

#[test]
fn the_configuration_is_good_and_its_stop_fits_into_the_grace_period() {
    for overlay in overlays() {
        let name = &overlay.name;
        let stop = is_good(name, overlay.configuration());
        let container = overlay.container();
        let pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
            .as_u64()
            .unwrap();
        let grace = overlay.pod()["terminationGracePeriodSeconds"]
            .as_u64()
            .unwrap();
        assert!(
            pause > 0 && Duration::from_secs(grace - pause) > stop + Duration::from_secs(5),
            "{name}"
        );
        let table: toml::Table = overlay.configuration().parse().unwrap();
        assert_eq!(
            table["spool"].as_str() == Some("memory"),
            overlay.is_stateless(),
            "{name}"
        );
        let acknowledge = if overlay.is_stateless() {
            "delivered"
        } else {
            "spooled"
        };
        assert_eq!(table["acknowledge"].as_str(), Some(acknowledge), "{name}");
        assert!(
            table.contains_key("reload_interval"),
            "{name}: nobody sends a signal"
        );
        let arguments = strings(&container["args"]);
        assert_eq!(
            arguments,
            ["serve", "--config", "/etc/hookferry/hookferry.toml"],
            "{name}"
        );
        // Whoever may enter the pod may see events and drop them, and nobody else.
        assert_eq!(
            table["admin"]["listen"].as_str(),
            Some("127.0.0.1:8081"),
            "{name}"
        );
        let ports = container["ports"].as_array().unwrap();
        assert_eq!(ports.len(), 2, "{name}");
        for (port, section) in [("webhooks", "ingress"), ("metrics", "metrics")] {
            let number = &ports.iter().find(|one| one["name"] == port).unwrap()["containerPort"];
            assert_eq!(
                table[section]["listen"].as_str(),
                Some(format!("0.0.0.0:{number}").as_str()),
                "{name}"
            );
        }
    }
}

#[test]
fn probes_ask_what_a_restart_or_a_pause_would_mend() {
    for overlay in overlays() {
        let (name, container) = (&overlay.name, overlay.container());
        for (probe, path) in [
            ("startupProbe", "/livez"),
            ("livenessProbe", "/livez"),
            ("readinessProbe", "/readyz"),
        ] {
            let probe = &container[probe];
            assert_eq!(probe["httpGet"]["path"], path, "{name}");
            assert_eq!(probe["httpGet"]["port"], "metrics", "{name}");
            assert!(
                probe["timeoutSeconds"].as_u64() <= probe["periodSeconds"].as_u64(),
                "{name}"
            );
        }
        let start = &container["startupProbe"];
        let patience =
            start["periodSeconds"].as_u64().unwrap() * start["failureThreshold"].as_u64().unwrap();
        assert!(
            patience >= if overlay.is_stateless() { 60 } else { 900 },
            "{name}: {patience} s"
        );
    }
}

#[test]
fn every_selector_finds_the_pods_and_every_port_is_theirs() {
    for overlay in overlays() {
        let name = &overlay.name;
        let workload = &overlay.workload()["spec"];
        assert!(
            overlay.selects_the_pods(&workload["selector"]["matchLabels"]),
            "{name}"
        );
        let budget = &overlay.one("PodDisruptionBudget")["spec"];
        assert!(
            overlay.selects_the_pods(&budget["selector"]["matchLabels"]),
            "{name}"
        );
        assert_eq!(budget["maxUnavailable"], 1, "{name}");
        for spread in overlay.pod()["topologySpreadConstraints"]
            .as_array()
            .unwrap()
        {
            assert!(
                overlay.selects_the_pods(&spread["labelSelector"]["matchLabels"]),
                "{name}"
            );
        }
        let ports: Vec<&Value> = overlay.container()["ports"]
            .as_array()
            .unwrap()
            .iter()
            .map(|port| &port["name"])
            .collect();
        for service in overlay.all("Service") {
            assert!(
                overlay.selects_the_pods(&service["spec"]["selector"]),
                "{name}"
            );
            for port in service["spec"]["ports"].as_array().unwrap() {
                assert!(ports.contains(&&port["targetPort"]), "{name}: {port}");
            }
        }
        let namespaces: BTreeSet<&str> = overlay
            .resources
            .iter()
            .filter_map(|resource| resource["metadata"]["namespace"].as_str())
            .collect();
        assert_eq!(namespaces, BTreeSet::from(["hookferry"]), "{name}");
    }
}

/// `kubectl apply` fails where it meets a kind that the cluster does not know.
#[test]
fn an_overlay_asks_for_no_operator_until_its_monitoring_is_switched_on() {
    for (overlay, monitored) in overlays().iter().zip(monitored()) {
        let name = &overlay.name;
        assert_eq!(*name, monitored.name);
        for resource in &overlay.resources {
            let group = resource["apiVersion"].as_str().unwrap();
            let group = group.split_once('/').map_or("", |(group, _)| group);
            let is_built_in = !group.contains('.') || group.ends_with(".k8s.io");
            assert!(is_built_in, "{name}: {group}");
        }
        let is_added = |resource: &&Value| !overlay.resources.contains(*resource);
        let added = monitored.resources.iter().filter(is_added);
        let added: BTreeSet<(&str, &str)> = added
            .map(|resource| {
                let metadata = &resource["metadata"];
                assert_eq!(metadata["namespace"], "hookferry", "{name}");
                // What a Prometheus of kube-prometheus-stack selects by.
                let release = &metadata["labels"]["release"];
                assert_eq!(release, "kube-prometheus-stack", "{name}");
                let kind = resource["kind"].as_str().unwrap();
                (kind, metadata["name"].as_str().unwrap())
            })
            .collect();
        let expected = [
            ("ConfigMap", "hookferry-dashboard"),
            ("PrometheusRule", "hookferry-alerts"),
            ("PrometheusRule", "hookferry-recording"),
            ("PrometheusRule", "hookferry-volumes"),
            ("ServiceMonitor", "hookferry"),
        ];
        assert_eq!(added, BTreeSet::from(expected), "{name}");
        assert_eq!(
            monitored.resources.len(),
            overlay.resources.len() + expected.len(),
            "{name}"
        );
    }
}

/// The rules of deploy/prometheus as resources of the operator.
fn operators_rules() -> String {
    let resource = |name: &str| {
        let rules = text(&format!("deploy/prometheus/rules/{name}.yml"));
        let indented: Vec<String> = rules
            .lines()
            .map(|line| format!("  {line}").trim_end().to_owned())
            .collect();
        format!(
            "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: hookferry-{name}\n  labels: {{ app.kubernetes.io/name: hookferry, app.kubernetes.io/instance: hookferry }}\nspec:\n{}\n",
            indented.join("\n")
        )
    };
    let resources = ["alerts", "recording"].map(resource);
    format!(
        "# The rules of deploy/prometheus/rules for the Prometheus operator, word for word: change them there, then\n\
         #\n\
         #   {RENEWAL}\n{}",
        resources.join("---\n")
    )
}

/// Kustomize reads no file that is no resource into one, so this is a copy; it is renewed as the book's
/// pages are.
#[test]
fn the_operators_rules_are_current_as_the_book_is() {
    let file = format!("{FOLDER}/components/monitoring/stack/prometheusrule.yaml");
    generated::is_current(&file, &operators_rules());
}

#[test]
fn the_cluster_gets_the_rules_and_the_dashboard_that_are_tested() {
    let groups = |name: &str| {
        let file = format!("deploy/prometheus/rules/{name}.yml");
        yaml(&text(&file))[0]["groups"].clone()
    };
    let dashboard: Value =
        serde_json::from_str(&text(&format!("{DASHBOARDS}/hookferry.json"))).unwrap();
    for overlay in monitored() {
        let name = &overlay.name;
        for file in ["alerts", "recording"] {
            let rule = overlay.named("PrometheusRule", &format!("hookferry-{file}"));
            assert!(rule["spec"]["groups"].as_array().unwrap().len() > 2);
            assert_eq!(rule["spec"], json!({ "groups": groups(file) }), "{name}");
        }
        let map = overlay.named("ConfigMap", "hookferry-dashboard");
        // What Grafana's sidecar selects by.
        assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
        assert_eq!(map["data"].as_object().unwrap().len(), 1, "{name}");
        let shown = map["data"]["hookferry.json"].as_str().unwrap();
        let shown: Value = serde_json::from_str(shown).unwrap();
        assert_eq!(shown, dashboard, "{name}");
        // `kubectl apply` notes each resource in an annotation, which has at most 256 KiB.
        let largest = overlay.resources.iter().map(|it| it.to_string().len());
        assert!(largest.max().unwrap() < 240 * 1024, "{name}");
    }
}

/// A series of a test of promtool.
fn series(of: &str, values: &str) -> Value {
    json!({ "series": of, "values": values })
}

/// What `hookferry-1` leaves behind: its volume, the last that was scraped of it (under each address
/// that it had), and itself for so long.
fn left_behind(scraped: &[(&str, &str)], pod: &str) -> Vec<Value> {
    let volume = "namespace=\"hookferry\", persistentvolumeclaim=\"spool-hookferry-1\"";
    let mut given = vec![
        series(
            &format!("kube_persistentvolumeclaim_info{{{volume}}}"),
            "1+0x120",
        ),
        series(
            &format!(
                "kube_pod_spec_volumes_persistentvolumeclaims_info{{{volume}, pod=\"hookferry-1\"}}"
            ),
            pod,
        ),
    ];
    given.extend(scraped.iter().map(|(instance, values)| {
        let labels = format!(
            "job=\"hookferry\", namespace=\"hookferry\", pod=\"hookferry-1\", instance=\"{instance}\", sink=\"kafka\""
        );
        series(&format!("hookferry_spool_events{{{labels}}}"), values)
    }));
    given
}

#[test]
fn a_volume_that_a_pod_has_left_behind_is_told_of() {
    const ALERTS: [&str; 2] = ["HookferryEventsLeftBehind", "HookferryVolumeLeftBehind"];
    let all = monitored();
    let rules = &all[0].named("PrometheusRule", "hookferry-volumes")["spec"];
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &Value| {
        let path = folder.path().join(name);
        std::fs::write(&path, content.to_string()).unwrap();
        path
    };
    write("rules.yml", rules);
    // Which fire after a while, and which after two hours.
    let case = |given: Vec<Value>, soon: [bool; 2], late: [bool; 2]| {
        let judged = [("30m", soon), ("110m", late)];
        let judged = judged.iter().flat_map(|(time, fires)| {
            ALERTS.iter().zip(fires).map(move |(alert, fires)| {
                let query = format!(
                    "count(ALERTS{{alertname=\"{alert}\", alertstate=\"firing\"}}) or vector(0)"
                );
                let value = u8::from(*fires);
                json!({ "expr": query, "eval_time": time, "exp_samples": [{ "labels": "{}", "value": value }] })
            })
        });
        let judged: Vec<Value> = judged.collect();
        json!({ "interval": "1m", "input_series": given, "promql_expr_test": judged })
    };
    let gone = "1+0x9 stale";
    let tests = [
        case(
            left_behind(&[("a", "5+0x9 stale")], gone),
            [true, false],
            [true, true],
        ),
        // It came back once, and then delivered all.
        case(
            left_behind(&[("a", "5+0x4 stale"), ("b", "_x5 3 0+0x3 stale")], gone),
            [false, false],
            [false, true],
        ),
        // It is away for a while, as when its node is.
        case(
            left_behind(&[("a", "5+0x9 stale")], "1+0x120"),
            [false, false],
            [false, false],
        ),
    ];
    let file = write(
        "tests.yml",
        &json!({ "rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests }),
    );
    let said = promtool(&[Path::new("test"), Path::new("rules"), &file]);
    assert!(said.content, "{}", said.text);
    let runbook = text("docs/src/runbook.md");
    let named = rules["groups"][0]["rules"].as_array().unwrap().iter();
    let alerts: Vec<&Value> = named.filter(|rule| rule["alert"].is_string()).collect();
    assert_eq!(alerts.len(), ALERTS.len());
    for alert in alerts {
        let section = alert["annotations"]["runbook_section"].as_str().unwrap();
        assert!(runbook.contains(&format!("\n## {section}\n")), "{section}");
    }
}

#[test]
fn prometheus_finds_each_pod_even_one_that_is_not_ready() {
    for overlay in monitored() {
        let name = &overlay.name;
        let monitor = &overlay.one("ServiceMonitor")["spec"];
        let service = overlay.service("hookferry-pods");
        let wanted = monitor["selector"]["matchLabels"].as_object().unwrap();
        let has = |service: &Value| {
            wanted
                .iter()
                .all(|(key, value)| service["metadata"]["labels"][key] == *value)
        };
        assert!(has(service), "{name}");
        assert!(
            !has(overlay.service("hookferry")),
            "{name}: every pod would be scraped twice"
        );
        assert_eq!(service["spec"]["publishNotReadyAddresses"], true, "{name}");
        assert_eq!(service["spec"]["clusterIP"], "None", "{name}");
        let endpoint = &monitor["endpoints"][0];
        assert_eq!(
            endpoint["port"], service["spec"]["ports"][0]["name"],
            "{name}"
        );
        assert_eq!(endpoint["path"], "/metrics", "{name}");
        // The rules and the dashboard know the bridge by this job.
        let label = monitor["jobLabel"].as_str().unwrap();
        assert_eq!(service["metadata"]["labels"][label], "hookferry", "{name}");
    }
}

#[test]
fn the_network_is_closed_but_for_webhooks_scrapes_names_and_the_broker() {
    for overlay in overlays() {
        let name = &overlay.name;
        let policies = overlay.all("NetworkPolicy");
        let mut types = BTreeSet::new();
        let (mut ways_in, mut ways_out) = (BTreeSet::new(), BTreeSet::new());
        let mut addresses = 0;
        for policy in policies {
            let spec = &policy["spec"];
            assert!(
                overlay.selects_the_pods(&spec["podSelector"]["matchLabels"]),
                "{name}"
            );
            types.extend(strings(&spec["policyTypes"]));
            for (direction, peers, ways) in [
                ("ingress", "from", &mut ways_in),
                ("egress", "to", &mut ways_out),
            ] {
                for rule in spec[direction].as_array().into_iter().flatten() {
                    let peers = rule[peers].as_array().expect("not everybody");
                    let ports = rule["ports"].as_array().expect("not every port");
                    for peer in peers {
                        let is_selected = !peer["namespaceSelector"]["matchLabels"].is_null();
                        let is_dns = peer["ipBlock"] == json!({ "cidr": NODE_LOCAL_DNS })
                            && ports.iter().all(|port| port["port"] == 53);
                        assert!(is_selected || is_dns, "{name}: {peer}");
                        addresses += usize::from(is_dns);
                    }
                    ways.extend(ports.iter().map(|port| port["port"].to_string()));
                }
            }
        }
        assert_eq!(types, BTreeSet::from(["Ingress", "Egress"]), "{name}");
        assert_eq!(addresses, 1, "{name}: the names of NodeLocal DNSCache");
        assert_eq!(
            ways_in,
            BTreeSet::from(["\"metrics\"", "\"webhooks\""].map(str::to_owned)),
            "{name}"
        );
        let table: toml::Table = overlay.configuration().parse().unwrap();
        let (_, sink) = table["sink"].as_table().unwrap().iter().next().unwrap();
        let address = sink
            .get("brokers")
            .or(sink.get("url"))
            .unwrap()
            .as_str()
            .unwrap();
        let address = address
            .rsplit('@')
            .next()
            .unwrap()
            .split('/')
            .next()
            .unwrap();
        let port = address.rsplit(':').next().unwrap();
        assert_eq!(
            ways_out,
            BTreeSet::from(["53", port].map(str::to_owned)),
            "{name}"
        );
        // Over TLS, with an authority of the site's own.
        let of_tls = match sink["type"].as_str() {
            Some("kafka") => "9093",
            _ => "5671",
        };
        assert_eq!(port, of_tls, "{name}");
        let tls = sink.get("tls").unwrap_or(sink);
        assert!(tls["ca_file"].is_str(), "{name}");
        let url = sink.get("url").and_then(toml::Value::as_str);
        assert!(url.is_none_or(|url| url.starts_with("amqps://")), "{name}");
        // A name such as rabbitmq.NAMESPACE.svc.
        let namespace = address.split('.').nth(1).unwrap();
        assert!(
            overlay
                .text
                .contains(&format!("kubernetes.io/metadata.name: {namespace}\n")),
            "{name}"
        );
    }
}

#[test]
fn only_pods_without_a_spool_come_and_go_with_the_load() {
    for overlay in overlays() {
        let (name, workload) = (&overlay.name, &overlay.workload()["spec"]);
        if overlay.is_stateless() {
            let scaler = &overlay.one("HorizontalPodAutoscaler")["spec"];
            let target = &scaler["scaleTargetRef"];
            assert_eq!(
                (&target["kind"], &target["name"]),
                (
                    &overlay.workload()["kind"],
                    &overlay.workload()["metadata"]["name"]
                )
            );
            assert!(scaler["minReplicas"].as_u64().unwrap() >= 2);
            // By what docs/src/performance.md measures, a thousand events a second to Kafka take 350
            // thousandths of a processor: one pod's, before there is another.
            let cpu = &overlay.container()["resources"]["requests"]["cpu"];
            let millis = cpu.as_str().unwrap().strip_suffix('m').unwrap();
            let metric = &scaler["metrics"][0]["resource"];
            assert_eq!(metric["name"], "cpu");
            let share = metric["target"]["averageUtilization"].as_u64().unwrap();
            assert!(millis.parse::<u64>().unwrap() * share / 100 >= 350);
            let up = &scaler["behavior"]["scaleUp"];
            assert!(up["stabilizationWindowSeconds"].as_u64().unwrap() >= 60);
            assert!(
                workload["replicas"].is_null(),
                "the autoscaler's, at every change"
            );
            continue;
        }
        assert_eq!(overlay.all("HorizontalPodAutoscaler").len(), 0, "{name}");
        assert_eq!(
            workload["serviceName"],
            overlay.service("hookferry-pods")["metadata"]["name"]
        );
        let kept = &workload["persistentVolumeClaimRetentionPolicy"];
        assert_eq!(
            (&kept["whenDeleted"], &kept["whenScaled"]),
            (&"Retain".into(), &"Retain".into()),
            "{name}"
        );
        let claim = &workload["volumeClaimTemplates"][0];
        let modes = strings(&claim["spec"]["accessModes"]);
        assert_eq!(modes, ["ReadWriteOncePod"], "{name}: a spool has one owner");
        let mounts = overlay.container()["volumeMounts"].as_array().unwrap();
        let mount = mounts
            .iter()
            .find(|mount| mount["name"] == claim["metadata"]["name"])
            .unwrap();
        let table: toml::Table = overlay.configuration().parse().unwrap();
        let spool = table["spool"]["path"].as_str().unwrap();
        assert!(
            spool.starts_with(&format!("{}/", mount["mountPath"].as_str().unwrap())),
            "{name}"
        );
        // The index of the ids lies beside what max_size bounds, which may have to be raised.
        let volume = claim["spec"]["resources"]["requests"]["storage"]
            .as_str()
            .unwrap();
        let gibibytes = |text: &str| {
            text.trim_end_matches("iB")
                .trim_end_matches("Gi")
                .trim_end_matches('G')
                .parse::<u64>()
                .unwrap()
        };
        assert!(
            gibibytes(volume) > 2 * gibibytes(table["spool"]["max_size"].as_str().unwrap()),
            "{name}"
        );
    }
}

/// The pods of both kinds are the same but for what the spool asks for.
#[test]
fn the_pods_with_and_without_a_spool_differ_in_nothing_else() {
    let overlays = overlays();
    let pod = |name: &str| {
        let overlay = overlays
            .iter()
            .find(|overlay| overlay.name == name)
            .unwrap();
        let mut pod = overlay.pod().clone();
        pod["containers"][0]["startupProbe"] = Value::Null;
        let mounts = pod["containers"][0]["volumeMounts"].as_array_mut().unwrap();
        mounts.retain(|mount| mount["name"] != "spool");
        let security = pod["securityContext"].as_object_mut().unwrap();
        security.remove("fsGroupChangePolicy");
        for volume in pod["volumes"].as_array_mut().unwrap() {
            volume["configMap"] = Value::Null;
        }
        pod
    };
    assert_eq!(pod("kafka"), pod("stateless"));
    assert_eq!(pod("kafka"), pod("rabbitmq"));
}

/// Every file is part of something that is rendered, and so was read above.
#[test]
fn no_file_lies_there_for_nothing() {
    let mut folders = vec![place(FOLDER)];
    let (mut files, mut used) = (BTreeSet::new(), BTreeSet::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.ends_with("kustomization.yaml") {
                let file = &yaml(&std::fs::read_to_string(&path).unwrap())[0];
                let named = ["resources", "components"].map(|key| strings(&file[key]));
                let generated = strings(&file["configMapGenerator"][0]["files"]);
                for name in named.into_iter().flatten().chain(generated) {
                    let path = folder.join(name).canonicalize().expect("it is there");
                    if path.starts_with(place(FOLDER)) {
                        used.insert(path);
                    }
                }
                // A component is for who names it, as `monitored` does.
                let roots = ["overlays", "components"].map(|part| place(FOLDER).join(part));
                let parent = folder.parent();
                if roots.iter().any(|root| parent == Some(root.as_path())) {
                    used.insert(folder.clone());
                }
                // A kustomization is used where its folder is.
                files.insert(folder.clone());
            } else {
                files.insert(path);
            }
        }
    }
    assert!(files.len() >= 15, "{files:?}");
    assert_eq!(files, used);
}
