//! The chart's values: each is described, known to the schema and does something; wrong ones are named.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{CHART, MONITORED, OF_AN_OVERLAY, Objects, changed, objects, template};
use crate::deploy::{is_good, text, yaml};

/// All that can be had with every sink, and more than one of each.
pub(super) const ALL_OF_IT: &[&str] = &[
    r#"secrets={"onecodex":"a","rabbitmq":"b","kafka-ca.pem":"c","rabbitmq-ca.pem":"d"}"#,
    r#"image.pullSecrets=[{"name":"registry"},{"name":"mirror"}]"#,
    r#"persistence.storageClass="fast""#,
    r#"service={"type":"LoadBalancer","annotations":{"a":"b"}}"#,
    r#"ingress={"enabled":true,"className":"nginx","host":"hooks.example.com","tlsSecret":"hooks","annotations":{"a":"b"}}"#,
    r#"networkPolicy.extraEgress=[{"to":[{"ipBlock":{"cidr":"0.0.0.0/0","except":["10.0.0.0/8"]}}],"ports":[{"protocol":"TCP","port":443}]}]"#,
    r#"networkPolicy.extraIngress=[{"from":[{"podSelector":{}}],"ports":[{"port":"webhooks"}]}]"#,
    r#"commonLabels={"team":"a"}"#,
    r#"commonAnnotations={"note":"a"}"#,
    r#"podLabels={"tier":"a"}"#,
    r#"podAnnotations={"note":"b"}"#,
    r#"serviceAccount.annotations={"note":"c"}"#,
    r#"extraEnv=[{"name":"HTTPS_PROXY","value":"http://proxy:3128"}]"#,
    r#"extraVolumes=[{"name":"tls","secret":{"secretName":"hookferry-tls"}}]"#,
    r#"extraVolumeMounts=[{"name":"tls","mountPath":"/run/tls","readOnly":true}]"#,
    r#"nodeSelector={"disk":"fast"}"#,
    r#"tolerations=[{"key":"events","operator":"Exists"}]"#,
    r#"affinity={"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"kubernetes.io/hostname","labelSelector":{"matchLabels":{"app.kubernetes.io/name":"hookferry"}}}]}}"#,
    r#"priorityClassName="high""#,
];

const STATELESS: &str = "stateless.enabled=true";
const INGRESS: &str = r#"ingress={"enabled":true,"host":"hooks.example.com"}"#;

/// For each value: with what else it is set, to what, and what then differs in the objects.
const EFFECTS: &[(&str, &[&str], &str, &str)] = &[
    (
        "sink",
        &[],
        r#""rabbitmq""#,
        "NetworkPolicy hookferry-kafka: ",
    ),
    (
        "kafka.brokers",
        &[],
        r#""a.b.svc:9094,c.b.svc:9094""#,
        r#"brokers = \"a.b.svc:9094,c.b.svc:9094\""#,
    ),
    (
        "rabbitmq.url",
        &[r#"sink="rabbitmq""#],
        r#""amqps://u@a:5671/v""#,
        r#"url      = \"amqps://u@a:5671/v\""#,
    ),
    ("stateless.enabled", &[], "true", "StatefulSet hookferry: "),
    (
        "stateless.autoscaling.enabled",
        &[STATELESS],
        "false",
        "Deployment hookferry/spec/replicas: null -> 2",
    ),
    (
        "stateless.autoscaling.minReplicas",
        &[STATELESS],
        "3",
        "/spec/minReplicas: 2 -> 3",
    ),
    (
        "stateless.autoscaling.maxReplicas",
        &[STATELESS],
        "4",
        "/spec/maxReplicas: 10 -> 4",
    ),
    (
        "stateless.autoscaling.targetCPUUtilizationPercentage",
        &[STATELESS],
        "50",
        "/averageUtilization: 70 -> 50",
    ),
    (
        "existingConfigMap",
        &[],
        r#""ours""#,
        r#"/volumes/0/configMap/name: "hookferry" -> "ours""#,
    ),
    (
        "existingSecret",
        &[],
        r#""ours""#,
        r#"/volumes/1/secret/secretName: "hookferry" -> "ours""#,
    ),
    (
        "secrets",
        &[],
        r#"{"onecodex":"a secret","kafka-ca.pem":"b"}"#,
        r#""onecodex":"YSBzZWNyZXQ=""#,
    ),
    (
        "image.repository",
        &[],
        r#""ours:5000/a/hookferry""#,
        r#"-> "ours:5000/a/hookferry:"#,
    ),
    (
        "image.tag",
        &[],
        r#""1.2.3""#,
        r#"-> "registry.example.com/hookferry:1.2.3""#,
    ),
    (
        "image.digest",
        &[r#"image.tag="1.2.3""#],
        r#""sha256:00000000000000000000000000000000ffffffffffffffffffffffffffffffff""#,
        r#"-> "registry.example.com/hookferry@sha256:00000000000000000000000000000000ffffffffffffffffffffffffffffffff""#,
    ),
    (
        "image.pullPolicy",
        &[],
        r#""Always""#,
        r#"/imagePullPolicy: "IfNotPresent" -> "Always""#,
    ),
    (
        "image.pullSecrets",
        &[],
        r#"[{"name":"a"}]"#,
        r#"/imagePullSecrets: null -> [{"name":"a"}]"#,
    ),
    (
        "replicas",
        &[],
        "3",
        "StatefulSet hookferry/spec/replicas: 2 -> 3",
    ),
    (
        "resources.requests",
        &[],
        r#"{"cpu":"1"}"#,
        r#"/resources/requests/cpu: "500m" -> "1""#,
    ),
    (
        "resources.limits",
        &[],
        r#"{"memory":"2Gi"}"#,
        r#"/resources/limits/memory: "1Gi" -> "2Gi""#,
    ),
    (
        "persistence.size",
        &[],
        r#""20Gi""#,
        r#"/requests/storage: "10Gi" -> "20Gi""#,
    ),
    (
        "persistence.storageClass",
        &[],
        r#""fast""#,
        r#"/storageClassName: null -> "fast""#,
    ),
    (
        "persistence.accessModes",
        &[],
        r#"["ReadWriteOnce"]"#,
        r#"/accessModes/0: "ReadWriteOncePod" -> "ReadWriteOnce""#,
    ),
    (
        "service.type",
        &[],
        r#""NodePort""#,
        r#"Service hookferry/spec/type: null -> "NodePort""#,
    ),
    (
        "service.port",
        &[],
        "8080",
        "Service hookferry/spec/ports/0/port: 80 -> 8080",
    ),
    (
        "service.annotations",
        &[],
        r#"{"a":"b"}"#,
        r#"Service hookferry/metadata/annotations: null -> {"a":"b"}"#,
    ),
    (
        "ingress.enabled",
        &[r#"ingress.host="hooks.example.com""#],
        "true",
        "Ingress hookferry: null -> ",
    ),
    (
        "ingress.className",
        &[INGRESS],
        r#""nginx""#,
        r#"/spec/ingressClassName: null -> "nginx""#,
    ),
    (
        "ingress.annotations",
        &[INGRESS],
        r#"{"a":"b"}"#,
        r#"Ingress hookferry/metadata/annotations: null -> {"a":"b"}"#,
    ),
    (
        "ingress.host",
        &[INGRESS],
        r#""a.example.com""#,
        r#"/spec/tls/0/hosts/0: "hooks.example.com" -> "a.example.com""#,
    ),
    (
        "ingress.path",
        &[INGRESS],
        r#""/webhooks/onecodex""#,
        r#"/path: "/webhooks" -> "/webhooks/onecodex""#,
    ),
    (
        "ingress.tlsSecret",
        &[INGRESS],
        r#""hooks""#,
        r#"/spec/tls/0/secretName: null -> "hooks""#,
    ),
    (
        "networkPolicy.enabled",
        &[],
        "false",
        "NetworkPolicy hookferry-kafka: ",
    ),
    (
        "networkPolicy.webhooksFrom",
        &[],
        r#"[{"podSelector":{}}]"#,
        "NetworkPolicy hookferry/spec/ingress/0/from/0/",
    ),
    (
        "networkPolicy.metricsFrom",
        &[],
        r#"[{"podSelector":{}}]"#,
        "NetworkPolicy hookferry/spec/ingress/1/from/0/",
    ),
    (
        "networkPolicy.dns",
        &[],
        r#"[{"podSelector":{}}]"#,
        "NetworkPolicy hookferry/spec/egress/0/to: ",
    ),
    (
        "networkPolicy.kafka.to",
        &[],
        r#"[{"podSelector":{}}]"#,
        "NetworkPolicy hookferry-kafka/spec/egress/0/to/0/",
    ),
    (
        "networkPolicy.kafka.ports",
        &[],
        "[9094]",
        "NetworkPolicy hookferry-kafka/spec/egress/0/ports/0/port: 9093 -> 9094",
    ),
    (
        "networkPolicy.rabbitmq.to",
        &[r#"sink="rabbitmq""#],
        r#"[{"podSelector":{}}]"#,
        "NetworkPolicy hookferry-rabbitmq/spec/egress/0/to/0/",
    ),
    (
        "networkPolicy.rabbitmq.ports",
        &[r#"sink="rabbitmq""#],
        "[5672]",
        "NetworkPolicy hookferry-rabbitmq/spec/egress/0/ports/0/port: 5671 -> 5672",
    ),
    (
        "networkPolicy.extraEgress",
        &[],
        r#"[{"to":[{"podSelector":{}}]}]"#,
        "NetworkPolicy hookferry/spec/egress: ",
    ),
    (
        "networkPolicy.extraIngress",
        &[],
        r#"[{"from":[{"podSelector":{}}]}]"#,
        "NetworkPolicy hookferry/spec/ingress: ",
    ),
    (
        "monitoring.enabled",
        &[],
        "true",
        "ServiceMonitor hookferry: null -> ",
    ),
    (
        "monitoring.labels",
        &[MONITORED],
        r#"{"release":"ours"}"#,
        r#"PrometheusRule hookferry-volumes/metadata/labels/release: "kube-prometheus-stack" -> "ours""#,
    ),
    (
        "monitoring.serviceMonitor.enabled",
        &[MONITORED],
        "false",
        "ServiceMonitor hookferry: ",
    ),
    (
        "monitoring.serviceMonitor.interval",
        &[MONITORED],
        r#""30s""#,
        r#"/interval: "15s" -> "30s""#,
    ),
    (
        "monitoring.serviceMonitor.scrapeTimeout",
        &[MONITORED],
        r#""5s""#,
        r#"/scrapeTimeout: "10s" -> "5s""#,
    ),
    (
        "monitoring.rules.enabled",
        &[MONITORED],
        "false",
        "PrometheusRule hookferry-alerts: ",
    ),
    (
        "monitoring.dashboard.enabled",
        &[MONITORED],
        "false",
        "ConfigMap hookferry-dashboard: ",
    ),
    (
        "monitoring.dashboard.labels",
        &[MONITORED],
        r#"{"ours":"1"}"#,
        r#"ConfigMap hookferry-dashboard/metadata/labels/ours: null -> "1""#,
    ),
    (
        "podDisruptionBudget.enabled",
        &[],
        "false",
        "PodDisruptionBudget hookferry: ",
    ),
    (
        "podDisruptionBudget.maxUnavailable",
        &[],
        r#""50%""#,
        r#"/spec/maxUnavailable: 1 -> "50%""#,
    ),
    (
        "serviceAccount.create",
        &[],
        "false",
        r#"/serviceAccountName: "hookferry" -> "default""#,
    ),
    (
        "serviceAccount.name",
        &[],
        r#""ours""#,
        r#"/serviceAccountName: "hookferry" -> "ours""#,
    ),
    (
        "serviceAccount.annotations",
        &[],
        r#"{"a":"b"}"#,
        r#"ServiceAccount hookferry/metadata/annotations: null -> {"a":"b"}"#,
    ),
    (
        "fullnameOverride",
        &[],
        r#""bridge""#,
        "StatefulSet bridge: null -> ",
    ),
    (
        "commonLabels",
        &[],
        r#"{"team":"a"}"#,
        r#"StatefulSet hookferry/spec/template/metadata/labels/team: null -> "a""#,
    ),
    (
        "commonAnnotations",
        &[],
        r#"{"note":"a"}"#,
        r#"ConfigMap hookferry/metadata/annotations: null -> {"note":"a"}"#,
    ),
    (
        "podLabels",
        &[],
        r#"{"tier":"a"}"#,
        r#"/spec/template/metadata/labels/tier: null -> "a""#,
    ),
    (
        "podAnnotations",
        &[],
        r#"{"note":"a"}"#,
        r#"/spec/template/metadata/annotations/note: null -> "a""#,
    ),
    (
        "extraEnv",
        &[],
        r#"[{"name":"A","value":"b"}]"#,
        r#"/env: null -> [{"name":"A","value":"b"}]"#,
    ),
    (
        "extraVolumes",
        &[],
        r#"[{"name":"a","emptyDir":{}}]"#,
        r#"{"emptyDir":{},"name":"a"}]"#,
    ),
    (
        "extraVolumeMounts",
        &[],
        r#"[{"name":"a","mountPath":"/a"}]"#,
        r#"{"mountPath":"/a","name":"a"}]"#,
    ),
    (
        "terminationGracePeriodSeconds",
        &[],
        "90",
        "/terminationGracePeriodSeconds: 45 -> 90",
    ),
    (
        "nodeSelector",
        &[],
        r#"{"disk":"fast"}"#,
        r#"/nodeSelector: null -> {"disk":"fast"}"#,
    ),
    (
        "tolerations",
        &[],
        r#"[{"operator":"Exists"}]"#,
        r#"/tolerations: null -> [{"operator":"Exists"}]"#,
    ),
    (
        "affinity",
        &[],
        r#"{"nodeAffinity":{}}"#,
        r#"/affinity: null -> {"nodeAffinity":{}}"#,
    ),
    ("topologySpread", &[], "[]", "/topologySpreadConstraints: "),
    (
        "priorityClassName",
        &[],
        r#""high""#,
        r#"/priorityClassName: null -> "high""#,
    ),
    (
        "podSecurityContext",
        &[],
        r#"{"runAsUser":null}"#,
        "/spec/template/spec/securityContext/runAsUser: 65532 -> null",
    ),
    (
        "securityContext",
        &[],
        r#"{"privileged":false}"#,
        "/securityContext/privileged: null -> false",
    ),
];

/// Values that are wrong, and what is said of them, which names the key.
const WRONG: &[(&[&str], &str)] = &[
    (
        &["sinks=\"kafka\""],
        "additional properties 'sinks' not allowed",
    ),
    (
        &["sink=\"sqs\""],
        "at '/sink': value must be one of 'kafka', 'rabbitmq'",
    ),
    (
        &["image.name=\"a\""],
        "at '/image': additional properties 'name' not allowed",
    ),
    (&["image.digest=\"latest\""], "at '/image/digest'"),
    (
        &["image.repository=\"Ours/hookferry\""],
        "at '/image/repository'",
    ),
    (
        &["replicas=\"two\""],
        "at '/replicas': got string, want integer",
    ),
    (&["replicas=-1"], "at '/replicas'"),
    (
        &["autoscaling.enabled=true"],
        "additional properties 'autoscaling' not allowed",
    ),
    (
        &["stateless=true"],
        "at '/stateless': got boolean, want object",
    ),
    (
        &[STATELESS, "stateless.autoscaling.minReplicas=11"],
        "stateless.autoscaling.minReplicas: this is more than maxReplicas",
    ),
    (
        &[STATELESS, "sink=\"rabbitmq\""],
        "stateless.enabled: the chart's own configuration without a volume is for Kafka",
    ),
    (&["kafka.brokers=\"kafka\""], "at '/kafka/brokers'"),
    (&["kafka.brokers=\"a:1\\\"\\n[b]\""], "at '/kafka/brokers'"),
    (
        &["sink=\"rabbitmq\"", "kafka.brokers=\"a:1\""],
        "kafka.brokers: the sink is rabbitmq",
    ),
    (
        &["rabbitmq.url=\"amqps://a:1\""],
        "rabbitmq.url: the sink is kafka",
    ),
    (
        &["sink=\"rabbitmq\"", "rabbitmq.url=\"a:1\""],
        "at '/rabbitmq/url'",
    ),
    (
        &["existingConfigMap=\"a\"", "kafka.brokers=\"a:1\""],
        "kafka.brokers: this is for the chart's own configuration",
    ),
    (
        &["existingConfigMap=\"a\"", "configuration=\"b\""],
        "configuration, existingConfigMap: the configuration is given twice",
    ),
    (
        &["existingSecret=\"a\"", "secrets.a=\"b\""],
        "secrets, existingSecret: the Secret is given twice",
    ),
    (
        &["secrets.onecodex=\"a\""],
        "secrets.kafka-ca.pem: this is missing",
    ),
    (
        &["secrets={\"kafka-ca.pem\":\"a\"}"],
        "secrets.onecodex: this is missing",
    ),
    (
        &["secrets={\"onecodex\":\"\",\"kafka-ca.pem\":\"a\"}"],
        "at '/secrets/onecodex'",
    ),
    (
        &["podLabels={\"app.kubernetes.io/name\":\"a\"}"],
        "podLabels: the chart sets the label app.kubernetes.io/name itself",
    ),
    (
        &["commonLabels={\"app.kubernetes.io/instance\":\"a\"}"],
        "commonLabels: the chart sets the label app.kubernetes.io/instance itself",
    ),
    (
        &["monitoring.labels={\"app.kubernetes.io/component\":\"a\"}"],
        "monitoring.labels: the chart sets the label app.kubernetes.io/component itself",
    ),
    (
        &["monitoring.dashboard.labels={\"helm.sh/chart\":\"a\"}"],
        "monitoring.dashboard.labels: the chart sets the label helm.sh/chart itself",
    ),
    (
        &["monitoring.prometheusRule.enabled=true"],
        "at '/monitoring': additional properties 'prometheusRule' not allowed",
    ),
    (&["persistence.size=\"10\""], "at '/persistence/size'"),
    (
        &["persistence.accessModes=[\"ReadWriteMany\"]"],
        "at '/persistence/accessModes/0'",
    ),
    (
        &["networkPolicy.kafka.ports=[\"9093\"]"],
        "at '/networkPolicy/kafka/ports/0'",
    ),
    (
        &["networkPolicy.webhooksFrom=[]"],
        "at '/networkPolicy/webhooksFrom'",
    ),
    (
        &["networkPolicy.dns=[{\"cidr\":\"10.0.0.1/32\"}]"],
        "at '/networkPolicy/dns/0'",
    ),
    (
        &["ingress.enabled=true"],
        "ingress.host: an Ingress wants a public name",
    ),
    (
        &["podDisruptionBudget.maxUnavailable=0"],
        "at '/podDisruptionBudget/maxUnavailable'",
    ),
    (
        &["resources.cpu=\"1\""],
        "at '/resources': additional properties 'cpu' not allowed",
    ),
];

/// A configuration that the chart takes, for Kafka and one pod or more.
const OWN: &str = r#"
acknowledge = "spooled"
reload_interval = "30s"
[ingress]
listen = "0.0.0.0:8080"
[metrics]
listen = "0.0.0.0:8082"
[spool]
path = "/var/lib/hookferry/spool"
[source.onecodex]
provider = "onecodex"
secrets = [{ file = "/run/secrets/hookferry/onecodex" }]
# [source.onecodex.recovery]
# key = { file = "/run/secrets/hookferry/api-key" }
[sink.queue]
type = "kafka"
brokers = "kafka:9092"
[[route]]
source = "onecodex"
sinks = ["queue"]
"#;

/// What stands in its place, with which values, and what is said then; nothing is said of what is good.
const CONFIGURATIONS: &[(&str, &str, &[&str], Option<&str>)] = &[
    ("", "", &[], None),
    (
        "[[route]]",
        "[route",
        &[],
        Some("configuration: this is no TOML: "),
    ),
    (
        "",
        "",
        &["sink=\"rabbitmq\""],
        Some("sink: the configuration has no sink of the type rabbitmq, but kafka"),
    ),
    (
        "[sink.queue]",
        "[other.queue]",
        &[],
        Some("sink: the configuration has no sink of the type kafka, but none"),
    ),
    (
        "",
        "",
        &["kafka.brokers=\"a:1\""],
        Some("kafka.brokers: this is for the chart's own configuration"),
    ),
    (
        "",
        "",
        &[STATELESS],
        Some("stateless.enabled: the configuration's spool is on a volume"),
    ),
    (
        "[spool]\npath = \"/var/lib/hookferry/spool\"\n",
        "",
        &[STATELESS],
        Some("stateless.enabled: the configuration's spool is on a volume"),
    ),
    (
        IN_MEMORY.0,
        IN_MEMORY.1,
        &[],
        Some("stateless.enabled: the configuration's spool is in memory"),
    ),
    (IN_MEMORY.0, IN_MEMORY.1, &[STATELESS], None),
    (
        "8080",
        "80",
        &[],
        Some(
            "configuration: [ingress] has to listen at 0.0.0.0:8080, where the pod has its port, and not at \"0.0.0.0:80\"",
        ),
    ),
    (
        "[metrics]",
        "[other]",
        &[],
        Some("configuration: [metrics] has to listen at 0.0.0.0:8082"),
    ),
    (
        "# [source.onecodex.recovery]\n#",
        "[source.onecodex.recovery]\n",
        &[],
        Some("replicas: a recovery ([source.onecodex.recovery]) is for one pod"),
    ),
    (
        "# [source.onecodex.recovery]\n#",
        "[source.onecodex.recovery]\n",
        &["replicas=1"],
        None,
    ),
    (
        "",
        "",
        &["secrets.other=\"a\""],
        Some(
            "secrets.onecodex: this is missing; the configuration reads /run/secrets/hookferry/onecodex",
        ),
    ),
    ("", "", &["secrets.onecodex=\"a\""], None),
    (
        "# [source.onecodex.recovery]\n#",
        "[source.onecodex.recovery]\n",
        &["replicas=1", "secrets.onecodex=\"a\""],
        Some("secrets.api-key: this is missing"),
    ),
];

/// Without a volume.
const IN_MEMORY: (&str, &str) = (
    "acknowledge = \"spooled\"\nreload_interval = \"30s\"\n[ingress]\nlisten = \"0.0.0.0:8080\"\n[metrics]\nlisten = \"0.0.0.0:8082\"\n[spool]\npath = \"/var/lib/hookferry/spool\"\n",
    "acknowledge = \"delivered\"\nspool = \"memory\"\n[ingress]\nlisten = \"0.0.0.0:8080\"\n[metrics]\nlisten = \"0.0.0.0:8082\"\n",
);

fn schema() -> Value {
    serde_json::from_str(&text(&format!("{CHART}/values.schema.json"))).unwrap()
}

/// The keys of the values, each with its section's; a map that is the user's own is one of them.
fn keys(schema: &Value) -> Vec<String> {
    let properties = schema["properties"].as_object().unwrap().iter();
    let below = properties.flat_map(|(name, value)| match value["additionalProperties"] {
        Value::Bool(false) => keys(value)
            .iter()
            .map(|key| format!("{name}.{key}"))
            .collect(),
        _ => vec![name.clone()],
    });
    below.collect()
}

#[test]
fn each_value_does_something() {
    let named: BTreeSet<String> = EFFECTS.iter().map(|row| row.0.to_owned()).collect();
    // Helm's own, and the one that is tried below.
    let others = ["global", "configuration"].map(str::to_owned);
    let all: BTreeSet<String> = keys(&schema()).into_iter().collect();
    assert_eq!(
        named
            .union(&BTreeSet::from(others))
            .cloned()
            .collect::<BTreeSet<_>>(),
        all
    );
    for (key, with, value, effect) in EFFECTS {
        let set = format!("{key}={value}");
        let differ = changed(
            &objects(with),
            &objects(&[*with, &[set.as_str()][..]].concat()),
        );
        assert!(
            differ.iter().any(|line| line.contains(effect)),
            "{set}: {effect} is not in {differ:#?}"
        );
    }
}

#[test]
fn a_wrong_value_is_named() {
    for (values, why) in WRONG {
        let said = template(values).expect_err(&values.join(" "));
        assert!(said.contains(why), "{values:?}: {why} is not in {said}");
    }
}

#[test]
fn a_configuration_that_the_pods_could_not_run_is_refused() {
    for (from, to, values, refusal) in CONFIGURATIONS {
        assert!(OWN.contains(from), "{from}");
        let text = OWN.replace(from, to);
        let configuration = format!("configuration={}", json!(text));
        let rendered = template(&[*values, &[configuration.as_str()][..]].concat());
        match refusal {
            None => assert!(rendered.is_ok(), "{to} {values:?}: {rendered:?}"),
            Some(why) => {
                let said = rendered.expect_err(why);
                assert!(said.contains(why), "{to}: {why} is not in {said}");
            }
        }
    }
    is_good("the configuration above", OWN);
}

/// The objects with the values of a file.
fn of_a_file(values: &Value) -> Objects {
    let values = values.as_object().unwrap().iter();
    let values: Vec<String> = values
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    objects(&values)
}

/// The file and the values that the manual shows are taken, and make the overlays.
#[test]
fn the_values_in_the_manual_are_good() {
    let manual = text("docs/src/kubernetes.md");
    let (_, section) = manual.split_once("\n## With Helm\n").expect("there is one");
    let section = section.split("\n## ").next().unwrap();
    let (_, shown) = section.split_once("```yaml\n").expect("a file of values");
    let shown = &yaml(shown.split("```").next().unwrap())[0];
    assert!(of_a_file(shown).contains_key("ServiceMonitor hookferry"));
    for (name, values) in OF_AN_OVERLAY {
        let row = format!("\n| `{name}` | ");
        let (_, said) = section.split_once(&row).expect(name);
        let said = said.split(" |").next().unwrap().trim_matches('`');
        let said = &yaml(if said == "none" { "{}" } else { said })[0];
        assert_eq!(of_a_file(said), objects(values), "{name}");
    }
}

/// Your own file comes into the pods as it is, and another file is another set of pods.
#[test]
fn the_configuration_is_not_touched_on_its_way() {
    let shown = |text: &str| {
        let configuration = format!("configuration={}", json!(text));
        let objects = objects(&[&configuration]);
        let map = &objects["ConfigMap hookferry"]["data"]["hookferry.toml"];
        let checksum = objects["StatefulSet hookferry"].pointer(super::exceptions::CHECKSUM);
        (map.as_str().unwrap().to_owned(), checksum.unwrap().clone())
    };
    let hard = format!("\n  # {{{{ .Release.Name }}}} ${{HOME}} : - ' \" \\ ü\n\n\n{OWN}");
    assert_eq!(shown(&hard).0, hard);
    let without_an_end = OWN.trim_end();
    assert_eq!(shown(without_an_end).0, without_an_end);
    assert_ne!(shown(&hard).1, shown(OWN).1);
    assert_eq!(shown(OWN).1, shown(OWN).1);
}

/// Whoever mistypes a key learns it.
#[test]
fn the_schema_knows_each_value_and_takes_no_other() {
    let values = &yaml(&text(&format!("{CHART}/values.yaml")))[0];
    for key in keys(&schema()) {
        let pointer = format!("/{}", key.replace('.', "/"));
        let is_there = values.pointer(&pointer).is_some();
        // Helm's own is in no chart's file.
        assert!(is_there != (key == "global"), "{key}");
    }
    let (mut closed, mut pending) = (0, vec![schema()]);
    while let Some(part) = pending.pop() {
        if part["type"] == "object" && !part["properties"].is_null() && part["required"].is_null() {
            assert!(!part["additionalProperties"].is_null(), "{part}");
            closed += 1;
        }
        pending.extend(
            part.as_object()
                .into_iter()
                .flatten()
                .map(|(_, value)| value.clone()),
        );
        pending.extend(part.as_array().into_iter().flatten().cloned());
    }
    assert!(closed >= 15, "{closed}");
}
