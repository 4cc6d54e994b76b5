//! docker-compose.yml: each service bounded and on loopback, each profile with a configuration that a
//! bridge takes, and each command for it that is written down anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{is_good, is_pinned, place, span, strings, text, yaml};
use crate::harness::Setup;
use crate::repository::files_below;

const FILE: &str = "docker-compose.yml";
const PROFILES: [&str; 3] = ["store", "kafka", "rabbitmq"];

fn services() -> BTreeMap<String, Value> {
    let documents = yaml(&text(FILE));
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
    let documents = yaml(&text(FILE));
    let declared = documents[0]["volumes"].as_object().unwrap();
    let mut used = Vec::new();
    for (name, service) in services() {
        for mount in strings(&service["volumes"]) {
            let parts: Vec<&str> = mount.split(':').collect();
            if let Some(path) = parts[0].strip_prefix("./") {
                assert!(place(path).exists(), "{name}: {mount}");
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
    let text = text(FILE);
    let asked: Vec<&str> = text.split("${").skip(1).collect();
    assert!(!asked.is_empty());
    for variable in asked {
        let variable = variable.split_once('}').unwrap().0;
        assert!(variable.contains(":-"), "{variable} has no default");
    }
    let profile = of_env("COMPOSE_PROFILES").expect("a default profile");
    assert!(PROFILES.contains(&profile.as_str()));
}

/// A variable that Compose reads from the file beside its own.
fn of_env(name: &str) -> Option<String> {
    let env = text(".env");
    let mut lines = env.lines().filter_map(|line| line.split_once('='));
    let (_, value) = lines.find(|(variable, _)| *variable == name)?;
    Some(value.to_owned())
}

/// Debian's own Compose reads the file by a schema that is older than some keys.
#[test]
fn there_is_no_key_that_compose_1_29_does_not_know() {
    let document = &yaml(&text(FILE))[0];
    for key in document.as_object().unwrap().keys() {
        let known = ["services", "volumes"].contains(&key.as_str()) || key.starts_with("x-");
        assert!(known, "{key}");
    }
    let known = ["test", "interval", "timeout", "retries", "start_period"];
    for (name, service) in services() {
        for key in service["healthcheck"].as_object().unwrap().keys() {
            assert!(known.contains(&key.as_str()), "{name}: {key}");
        }
    }
}

/// Its name is the first part of each volume's, and no folder's name decides it.
#[test]
fn the_project_is_called_the_same_wherever_it_lies() {
    let project = of_env("COMPOSE_PROJECT_NAME").expect("a name");
    assert_eq!(project, env!("CARGO_PKG_NAME"));
    let document = &yaml(&text(FILE))[0];
    let declared = document["volumes"].as_object().unwrap();
    let manual = text("docs/src/docker.md");
    let spans = manual.split('`').skip(1).step_by(2);
    let prefix = format!("{project}_");
    let named: BTreeSet<&str> = spans
        .filter_map(|span| span.strip_prefix(&prefix))
        .collect();
    assert!(named.len() >= PROFILES.len(), "{named:?}");
    for volume in named {
        assert!(declared.contains_key(volume), "{volume}");
    }
}

/// A command for Compose, as it is written down somewhere.
#[derive(Debug)]
struct ComposeCommand {
    place: String,
    is_v1: bool,
    profiles: Vec<String>,
    verb: String,
}

impl ComposeCommand {
    /// Of the words of a command; none where it is another.
    fn parse(place: &str, words: &[&str]) -> Option<Self> {
        let (is_v1, rest) = match words {
            ["docker", "compose", rest @ ..] => (false, rest),
            ["docker-compose", rest @ ..] => (true, rest),
            _ => return None,
        };
        let mut profiles = Vec::new();
        let mut rest = rest.iter();
        loop {
            match *rest.next()? {
                "--profile" => profiles.push(rest.next()?.trim_matches('\'').to_owned()),
                verb => {
                    return Some(Self {
                        place: place.to_owned(),
                        is_v1,
                        profiles,
                        verb: verb.to_owned(),
                    });
                }
            }
        }
    }

    fn names_all_profiles(&self) -> bool {
        let named: BTreeSet<&str> = self.profiles.iter().map(String::as_str).collect();
        let star = !self.is_v1 && named == BTreeSet::from(["*"]);
        star || named == BTreeSet::from(PROFILES)
    }
}

/// The commands in the head of the file, in the manual and in the README: in its blocks, and within
/// its sentences.
fn written_commands() -> Vec<ComposeCommand> {
    let mut found = Vec::new();
    let mut look = |place: &str, line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        found.extend(ComposeCommand::parse(place, &words));
    };
    let file = text(FILE);
    let head = file.lines().map_while(|line| line.strip_prefix('#'));
    for line in head {
        // Behind some spaces, what it does.
        look(
            FILE,
            line.trim_start().split("  ").next().unwrap_or_default(),
        );
        let (_, behind) = line.split_once(": ").unwrap_or_default();
        look(FILE, behind);
    }
    let pages = files_below("docs/src", "md").into_iter();
    let pages = pages.map(|page| format!("docs/src/{page}"));
    for page in pages.chain(["README.md".to_owned()]) {
        let mut is_block = false;
        for line in text(&page).lines() {
            if line.starts_with("```") {
                is_block = !is_block;
            } else if is_block {
                look(&page, line.split(" #").next().unwrap_or_default());
            } else {
                line.split('`')
                    .skip(1)
                    .step_by(2)
                    .for_each(|span| look(&page, span));
            }
        }
    }
    found
}

/// Whoever ends the services of one profile leaves the broker of another one running.
#[test]
fn every_command_that_is_written_down_names_profiles_that_are_there_and_all_of_them_to_end() {
    let commands = written_commands();
    let mut ends = BTreeSet::new();
    for command in &commands {
        if ["down", "stop"].contains(&command.verb.as_str()) {
            assert!(command.names_all_profiles(), "{command:?}");
            ends.insert((command.place.as_str(), command.is_v1));
            continue;
        }
        let is_there = |name: &String| PROFILES.contains(&name.as_str());
        assert!(command.profiles.iter().all(is_there), "{command:?}");
    }
    for place in [FILE, "docs/src/docker.md"] {
        for is_v1 in [false, true] {
            assert!(ends.contains(&(place, is_v1)), "{place}: {ends:?}");
        }
    }
    let of_file = commands.iter().filter(|command| command.place == FILE);
    let started: BTreeSet<&str> = of_file
        .filter(|command| command.verb == "up")
        .map(|command| command.profiles.first().map_or("store", String::as_str))
        .collect();
    assert_eq!(started, BTreeSet::from(PROFILES));
}

#[test]
fn a_command_is_told_from_its_words() {
    let parsed = |text: &str| {
        let words: Vec<&str> = text.split(' ').collect();
        ComposeCommand::parse("", &words)
    };
    for (text, all) in [
        ("docker compose --profile '*' down", true),
        ("docker compose down --volumes", false),
        ("docker compose --profile kafka down", false),
        ("docker-compose --profile '*' down", false),
        (
            "docker-compose --profile store --profile kafka --profile rabbitmq down",
            true,
        ),
    ] {
        let command = parsed(text).expect(text);
        assert_eq!(command.verb, "down", "{text}");
        assert_eq!(command.names_all_profiles(), all, "{text}");
    }
    for other in ["docker run", "docker compose", "docker-compose.yml"] {
        assert!(parsed(other).is_none(), "{other}");
    }
}

/// The port at which a profile's bridge reaches its broker.
fn broker_port(profile: &str) -> u16 {
    let services = of_profile(profile);
    let environment = &services[&format!("hookferry-{profile}")]["environment"];
    let address = environment["KAFKA_BROKERS"]
        .as_str()
        .or(environment["AMQP_URL"].as_str());
    let (_, port) = address.expect("its broker's").rsplit_once(':').unwrap();
    port.split('/').next().unwrap().parse().expect("a port")
}

/// Every few seconds, for as long as the broker runs: a connection, and no virtual machine that is
/// started to make one.
#[test]
fn a_brokers_health_is_whether_it_listens_for_the_bridge() {
    for broker in ["kafka", "rabbitmq"] {
        let service = &services()[broker];
        let test = strings(&service["healthcheck"]["test"]);
        let ["CMD", program, arguments @ ..] = &test[..] else {
            panic!("{broker}: {test:?}");
        };
        // In both images: their entry points are scripts of it.
        assert_eq!(*program, "bash", "{broker}");
        let port = broker_port(broker).to_string();
        let is_well = |listens_at: u16| {
            let put = |argument: &&str| {
                assert!(argument.matches(&port).count() <= 1, "{argument}");
                argument.replace(&port, &listens_at.to_string())
            };
            let mut check = Command::new(program);
            check.args(arguments.iter().map(put));
            let checked = check.output().expect("bash is there");
            checked.status.success()
        };
        assert!(arguments.concat().contains(&port), "{broker}: {test:?}");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(is_well(address.port()), "{broker}");
        drop(listener);
        assert!(!is_well(address.port()), "{broker}");
    }
}

/// A size as Compose and RabbitMQ write it, in powers of 1024.
fn bytes(text: &str) -> u64 {
    let units = [("GiB", 30), ("MiB", 20), ("g", 30), ("m", 20)];
    let number = |(unit, shift): (&str, u32)| {
        let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
        Some(number << shift)
    };
    units
        .into_iter()
        .find_map(number)
        .unwrap_or_else(|| panic!("{text} is no size"))
}

/// Where RabbitMQ raises its alarm, by a configuration that may know nothing of the machine's memory.
fn watermark(file: &str) -> u64 {
    let text = text(file);
    let settings: BTreeMap<&str, &str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" = "))
        .collect();
    let key = "vm_memory_high_watermark.relative";
    assert_eq!(settings.get(key), None, "{file}: a share of which memory?");
    bytes(settings["vm_memory_high_watermark.absolute"])
}

/// Or the kernel would end it before it blocked anybody. Half, because a garbage collection may need
/// as much again.
#[test]
fn rabbitmq_raises_its_alarm_at_half_of_what_its_container_may_have() {
    let service = &services()["rabbitmq"];
    let mounts = strings(&service["volumes"]);
    let configured = mounts.iter().find_map(|mount| {
        let (file, inside) = mount.strip_prefix("./")?.split_once(':')?;
        // The image's own files are there too, and are read before this one.
        let name = inside.strip_prefix("/etc/rabbitmq/conf.d/90-")?;
        assert!(name.ends_with(".conf:ro"), "{mount}");
        Some(file)
    });
    let limit = bytes(service["mem_limit"].as_str().unwrap());
    let alarm = watermark(configured.expect("a configuration of its own"));
    assert!(
        alarm <= limit / 2 && alarm >= limit / 4,
        "{alarm} of {limit}"
    );
    watermark("deploy/rabbitmq/rabbitmq.conf");
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

/// Where there is a client, its own reading counts; it needs no engine for that. Version 1 lists the
/// services of all profiles, whatever it is told.
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
    let is_v1 = client == &clients[1] && {
        let version = Command::new(client[0])
            .args(["version", "--short"])
            .output();
        version.expect("as before").stdout.starts_with(b"1.")
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
        let listed = if is_v1 {
            services()
        } else {
            of_profile(profile)
        };
        assert_eq!(named, Vec::from_iter(listed.into_keys()), "{profile}");
    }
}

/// The secret that stands there for a trial does not get into earnest unnoticed.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_warns_of_the_secret_that_everybody_knows() {
    let text = text(FILE);
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
