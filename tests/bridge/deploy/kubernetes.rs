//! The Kubernetes overlays as kustomize renders them: valid, restricted, and of one piece.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{is_good, is_pinned, place, python, strings, yaml};

const FOLDER: &str = "deploy/kubernetes";
/// The oldest version that has all that is used, and the newest that is known here.
const VERSIONS: [&str; 2] = ["1.30", "1.37"];

/// An overlay, rendered.
struct Overlay {
    name: String,
    text: String,
    resources: Vec<Value>,
}

fn overlays() -> Vec<Overlay> {
    let folder = place(FOLDER).join("overlays");
    let names = std::fs::read_dir(folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let overlays: Vec<Overlay> = names.map(Overlay::rendered).collect();
    assert!(overlays.len() >= 3);
    overlays
}

impl Overlay {
    fn rendered(name: String) -> Self {
        let mut kustomize = Command::new(place("tests/kustomize"));
        let output = kustomize
            .arg(place(FOLDER).join("overlays").join(&name))
            .output()
            .unwrap();
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
        let services = self.all("Service");
        let named = services
            .into_iter()
            .find(|service| service["metadata"]["name"] == name);
        named.unwrap_or_else(|| panic!("{}: no service {name}", self.name))
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
    for overlay in overlays() {
        for version in VERSIONS {
            let (valid, said) = validate(&overlay.text, version);
            assert!(valid, "{}: {said}", overlay.name);
            // The operator's own kind has no schema there; see the test of its fields.
            let known = overlay.resources.len() - overlay.all("ServiceMonitor").len();
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

#[test]
fn prometheus_finds_each_pod_even_one_that_is_not_ready() {
    for overlay in overlays() {
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
                    assert!(
                        peers
                            .iter()
                            .all(|peer| !peer["namespaceSelector"]["matchLabels"].is_null()),
                        "{name}"
                    );
                    let ports = rule["ports"].as_array().expect("not every port");
                    ways.extend(ports.iter().map(|port| port["port"].to_string()));
                }
            }
        }
        assert_eq!(types, BTreeSet::from(["Ingress", "Egress"]), "{name}");
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
                    used.insert(folder.join(name).canonicalize().expect("it is there"));
                }
                if folder.parent() == Some(&place(FOLDER).join("overlays")) {
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
