//! docker-compose.yml: each service bounded and on loopback, each profile with a configuration that a
//! bridge takes.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{is_good, is_pinned, place, span, strings, text, yaml};
use crate::harness::Setup;

const PROFILES: [&str; 3] = ["store", "kafka", "rabbitmq"];

fn services() -> BTreeMap<String, Value> {
    let documents = yaml(&text("docker-compose.yml"));
    let services = documents[0]["services"].as_object().expect("services");
    assert!(services.len() >= 7, "{:?}", services.keys());
    services.clone().into_iter().collect()
}

/// The services that a profile starts.
fn of_profile(profile: &str) -> BTreeMap<String, Value> {
    let mut services = services();
    services.retain(|_, service| {
        let profiles = strings(&service["profiles"]);
        profiles.is_empty() || profiles.contains(&profile)
    });
    services
}

#[test]
fn every_service_is_pinned_bounded_watched_and_on_loopback() {
    for (name, service) in services() {
        assert!(is_pinned(service["image"].as_str().unwrap()), "{name}");
        let ports = strings(&service["ports"]);
        assert!(!ports.is_empty(), "{name}");
        for port in ports {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port}");
        }
        for bound in ["mem_limit", "cpus", "pids_limit"] {
            assert!(!service[bound].is_null(), "{name} has no {bound}");
        }
        let health = &service["healthcheck"];
        assert!(!strings(&health["test"]).is_empty(), "{name}");
        assert!(
            span(&health["timeout"]) <= span(&health["interval"]) * 2,
            "{name}"
        );
        assert_eq!(strings(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(
            strings(&service["security_opt"]),
            ["no-new-privileges:true"],
            "{name}"
        );
        assert_eq!(service["restart"], "unless-stopped", "{name}");
        assert_eq!(service["logging"]["options"]["max-size"], "10m", "{name}");
        // The brokers' images write into themselves at the start.
        let writes = ["kafka", "rabbitmq"].contains(&name.as_str());
        assert_eq!(service["read_only"] == true, !writes, "{name}");
    }
}

#[test]
fn every_mount_is_there_and_every_volume_is_declared() {
    let documents = yaml(&text("docker-compose.yml"));
    let declared = documents[0]["volumes"].as_object().unwrap();
    let mut used = Vec::new();
    for (name, service) in services() {
        for mount in strings(&service["volumes"]) {
            let parts: Vec<&str> = mount.split(':').collect();
            if let Some(path) = parts[0].strip_prefix("./") {
                assert!(place(path).is_dir(), "{name}: {mount}");
                assert_eq!(parts.get(2), Some(&"ro"), "{name}: {mount}");
            } else {
                assert!(declared.contains_key(parts[0]), "{name}: {mount}");
                used.push(parts[0].to_owned());
            }
        }
    }
    used.sort_unstable();
    let mut declared: Vec<&String> = declared.keys().collect();
    declared.sort_unstable();
    assert_eq!(
        used.iter().collect::<Vec<_>>(),
        declared,
        "each has one owner"
    );
}

#[test]
fn nothing_has_to_be_set() {
    let text = text("docker-compose.yml");
    let asked: Vec<&str> = text.split("${").skip(1).collect();
    assert!(!asked.is_empty());
    for variable in asked {
        let variable = variable.split_once('}').unwrap().0;
        assert!(variable.contains(":-"), "{variable} has no default");
    }
    let env = super::text(".env");
    let profile = env
        .lines()
        .find_map(|line| line.strip_prefix("COMPOSE_PROFILES="));
    assert!(PROFILES.contains(&profile.expect("a default profile")));
}

#[test]
fn each_profile_starts_one_bridge_with_a_good_configuration_of_its_own() {
    let mut spools = Vec::new();
    for profile in PROFILES {
        let services = of_profile(profile);
        let bridges: Vec<&Value> = services
            .values()
            .filter(|service| service["image"] == "hookferry:0.1.0")
            .collect();
        let [bridge] = bridges[..] else {
            panic!("{profile}: {:?}", services.keys());
        };
        // Prometheus looks for this name.
        assert_eq!(
            strings(&bridge["networks"]["default"]["aliases"]),
            ["hookferry"]
        );
        assert!(text("deploy/prometheus/prometheus.yml").contains("hookferry:8082"));
        let environment = &bridge["environment"];
        let config = environment["HOOKFERRY_CONFIG"].as_str().unwrap();
        let file = config.replace("/etc/hookferry/", "deploy/config/");
        assert_eq!(file, format!("deploy/config/{profile}.toml"));
        let text = text(&file);
        let stop = is_good(&file, &text);
        assert!(span(&bridge["stop_grace_period"]) > stop + Duration::from_secs(1));
        for variable in [
            "KAFKA_BROKERS",
            "AMQP_URL",
            "HOOKFERRY_ADMIN_LISTEN",
            "HOOKFERRY_ADMIN_TOKEN",
            "HOOKFERRY_METRICS_LISTEN",
            "ONECODEX_SECRET",
        ] {
            assert_eq!(
                text.contains(variable),
                !environment[variable].is_null(),
                "{profile}: {variable}"
            );
        }
        // Prometheus and the health check ask the listener that needs no token.
        assert_eq!(environment["HOOKFERRY_METRICS_LISTEN"], "0.0.0.0:8082");
        let published = strings(&bridge["ports"]);
        assert!(published.contains(&"127.0.0.1:8082:8082"), "{published:?}");
        let has_admin = published.iter().any(|port| port.ends_with(":8081"));
        assert_eq!(
            has_admin,
            text.contains("HOOKFERRY_ADMIN_TOKEN"),
            "{profile}"
        );
        // A broker is spoken to under the name of a service that this profile starts.
        if let Some(address) = environment["KAFKA_BROKERS"]
            .as_str()
            .or(environment["AMQP_URL"].as_str())
        {
            let host = address
                .rsplit('@')
                .next()
                .unwrap()
                .split(':')
                .next()
                .unwrap();
            assert!(services.contains_key(host), "{profile}: {host}");
        }
        spools.push(strings(&bridge["volumes"]).join(" "));
        for name in ["prometheus", "grafana"] {
            assert!(services.contains_key(name), "{profile}");
        }
    }
    spools.dedup();
    assert_eq!(
        spools.len(),
        PROFILES.len(),
        "two profiles share a spool: {spools:?}"
    );
}

/// Where there is a client, its own reading counts; it needs no engine for that.
#[test]
fn docker_compose_itself_takes_the_file() {
    let clients: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];
    let answers = |client: &&[&str]| {
        let mut command = Command::new(client[0]);
        let asked = command.args(&client[1..]).arg("version").output();
        asked.is_ok_and(|output| output.status.success())
    };
    let Some(client) = clients.iter().find(|client| answers(client)) else {
        println!("there is no docker compose here");
        return;
    };
    for profile in PROFILES {
        let mut command = Command::new(client[0]);
        command
            .args(&client[1..])
            .args(["--profile", profile, "config", "--services"]);
        let output = command.current_dir(place("")).output().unwrap();
        assert!(output.status.success(), "{profile}: {output:?}");
        let mut named: Vec<String> = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect();
        named.sort_unstable();
        assert_eq!(
            named,
            Vec::from_iter(of_profile(profile).into_keys()),
            "{profile}"
        );
    }
}

/// The secret that stands there for a trial does not get into earnest unnoticed.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_warns_of_the_secret_that_everybody_knows() {
    let text = text("docker-compose.yml");
    let (_, default) = text.split_once("${ONECODEX_SECRET:-").unwrap();
    let setup = Setup::store();
    std::fs::write(setup.path("secret"), default.split('}').next().unwrap()).unwrap();
    let bridge = setup.start().await;
    let warning = bridge.said("it can be guessed").expect("a warning");
    assert_eq!(
        (&warning["level"], &warning["source"]),
        (&"WARN".into(), &setup.source.as_str().into())
    );
    bridge.stop().await;
    std::fs::write(setup.path("secret"), "a secret of the tests, long enough").unwrap();
    let bridge = setup.start().await;
    assert!(bridge.said("it can be guessed").is_none());
    bridge.stop().await;
}
