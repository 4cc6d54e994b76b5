//! Each profile of docker-compose.yml, started by the command in the file's head.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::delivered::come_out;
use super::stack::Stack;
use super::trial::TOKEN;
use super::{asked_prometheus, confined, head};
use crate::eventually::eventually;

/// The status of a GET, as somebody with the trial's token and the brokers' password.
fn status(url: &str, credentials: &str) -> u16 {
    let request = ureq::get(url).header("authorization", credentials);
    let request = request.config().http_status_as_error(false).build();
    let answer = request
        .call()
        .unwrap_or_else(|error| panic!("{url}: {error}"));
    answer.status().as_u16()
}

/// Asserts that every address in the head of the file that this profile has answers.
fn every_address_answers(profile: &str) {
    let mut answered = BTreeSet::new();
    for listed in head::listed() {
        let of_profile = match listed.name.as_str() {
            "Topics" => "store",
            "Kafka" => "kafka",
            "RabbitMQ" => "rabbitmq",
            _ => profile,
        };
        if of_profile != profile {
            continue;
        }
        for host in listed.hosts() {
            TcpStream::connect(host).unwrap_or_else(|error| panic!("{host}: {error}"));
        }
        for url in listed.urls() {
            // hookferry:hookferry, as the line says.
            let credentials = match listed.name.as_str() {
                "RabbitMQ" => "Basic aG9va2ZlcnJ5Omhvb2tmZXJyeQ==".to_owned(),
                _ => format!("Bearer {TOKEN}"),
            };
            let url = match listed.name.as_str() {
                "RabbitMQ" => format!("{url}/api/whoami"),
                // Neither stand-in has its pages.
                "Prometheus" => format!("{url}/-/healthy"),
                "Grafana" => format!("{url}/api/health"),
                _ => url.to_owned(),
            };
            // A webhook is only posted to.
            let wanted = if listed.name == "Webhooks" { 405 } else { 200 };
            assert_eq!(status(&url, &credentials), wanted, "{url}");
        }
        for path in listed.text.split(", ").filter(|part| part.starts_with('/')) {
            let root = listed.urls()[0].rsplit_once('/').expect("a path").0;
            assert_eq!(status(&format!("{root}{path}"), ""), 200, "{path}");
        }
        answered.insert(listed.name);
    }
    assert!(answered.len() >= 6, "{answered:?}");
}

/// A command of the head that is written down for the store's bridge, for this profile's.
fn of_bridge(words: &str, stack: &Stack) -> String {
    let line = head::command(words);
    let named = line.replace("exec hookferry-store", &format!("exec {}", stack.bridge()));
    assert!(named.contains(&stack.bridge()), "{line}");
    named
}

/// Sends an event by the command of the head: its id.
fn sends(stack: &Stack) -> String {
    let said = stack.types(&of_bridge("hookferry send", stack)).good();
    let id = said.trim().strip_prefix("200 accepted ");
    id.unwrap_or_else(|| panic!("{said}")).to_owned()
}

/// All that the file says of a profile, from `up` to `down`.
async fn is_as_its_file_says(profile: &'static str, jobs: &[&str]) {
    let stack = Stack::new(profile);
    stack
        .types(&format!("{} --detach", head::up(profile)))
        .good();
    let mut started = vec![
        stack.bridge(),
        "grafana".to_owned(),
        "prometheus".to_owned(),
    ];
    if profile != "store" {
        started.push(profile.to_owned());
    }
    started.sort_unstable();
    assert_eq!(stack.services(), started);
    stack.is_healthy(&started).await;
    every_address_answers(profile);
    let id = sends(&stack);
    assert_eq!(come_out(&stack, 1).await, BTreeSet::from([id]));
    let listed = stack
        .types(&of_bridge("hookferry spool list", &stack))
        .good();
    assert!(listed.contains(profile), "{listed}");
    let config = stack.config();
    for service in &started {
        let asked = &config["services"][service];
        confined::is_bound(service, &stack.inspect(service), asked);
    }
    confined::is_nobodys_root(&stack.inspect(&stack.bridge()));
    asked_prometheus::has_targets("http://127.0.0.1:9090", jobs).await;
    asked_prometheus::has_every_rule("http://127.0.0.1:9090").await;
    stops_in_time(&stack);
    comes_back_by_itself(&stack).await;
    stack.types(&head::command("down --volumes")).good();
    assert_eq!(stack.services(), [""; 0]);
    let project = stack.types("docker volume ls --quiet --filter name=$COMPOSE_PROJECT_NAME");
    assert_eq!(project.good(), "", "`down --volumes` forgets everything");
}

/// A stop is one that the bridge brings to its end itself.
fn stops_in_time(stack: &Stack) {
    let id = stack.id(&stack.bridge());
    let grace = stack.inspect(&stack.bridge())["Config"]["StopTimeout"].clone();
    let grace = Duration::from_secs(grace.as_u64().expect("a grace period"));
    let began = Instant::now();
    stack.types(&format!("docker stop {id}")).good();
    assert!(began.elapsed() < grace, "{:?}", began.elapsed());
    let state = &stack.inspect(&stack.bridge())["State"];
    assert_eq!(
        (&state["ExitCode"], &state["OOMKilled"]),
        (&0.into(), &false.into())
    );
    stack.types(&format!("docker start {id}")).good();
}

/// One that is killed by anybody but its operator is started again.
async fn comes_back_by_itself(stack: &Stack) {
    stack.is_healthy(&[stack.bridge()]).await;
    let pid = stack.inspect(&stack.bridge())["State"]["Pid"].take();
    stack.types(&format!("kill -KILL {pid}")).good();
    eventually("the bridge is started again", async || {
        let state = stack.inspect(&stack.bridge())["State"].take();
        let is_another = state["Running"] == true && state["Pid"] != pid;
        is_another.then_some(())
    })
    .await;
    stack.is_healthy(&[stack.bridge()]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --containers: needs an engine of its own, with the image"]
async fn the_store_is_as_its_file_says() {
    is_as_its_file_says("store", &["hookferry", "prometheus"]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --containers: needs an engine of its own, with the image"]
async fn kafka_is_as_its_file_says() {
    is_as_its_file_says("kafka", &["hookferry", "prometheus"]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --containers: needs an engine of its own, with the image"]
async fn rabbitmq_is_as_its_file_says() {
    is_as_its_file_says("rabbitmq", &["hookferry", "prometheus", "rabbitmq"]).await;
}

/// It would otherwise be a share of the machine's memory, of which the container has a part.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --containers: needs an engine of its own, with the image"]
async fn rabbitmqs_alarm_is_below_the_limit_of_its_container() {
    let stack = Stack::new("rabbitmq");
    stack.compose(&["up", "--detach", "rabbitmq"]);
    stack.is_healthy(&["rabbitmq".to_owned()]).await;
    let command = "rabbitmqctl eval 'vm_memory_monitor:get_memory_limit().'";
    let line = format!("docker compose exec --user rabbitmq rabbitmq {command}");
    let alarm: u64 = stack.types(&line).good().trim().parse().expect("bytes");
    let limit = stack.inspect("rabbitmq")["HostConfig"]["Memory"].clone();
    assert_eq!(Some(alarm), limit.as_u64().map(|bytes| bytes / 2));
}

/// Debian 12's own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "tests/run --containers: needs an engine of its own, with the image"]
async fn compose_1_29_starts_a_profile_and_ends_it_by_the_command_of_the_head() {
    let stack = Stack::new("store");
    let version = stack.types("docker-compose version --short").good();
    if !version.starts_with("1.") {
        println!("this machine has Compose {version}");
        return;
    }
    let up = head::up("store").replace("docker compose", "docker-compose");
    stack.types(&format!("{up} --detach")).good();
    let started = [
        stack.bridge(),
        "grafana".to_owned(),
        "prometheus".to_owned(),
    ];
    stack.is_healthy(&started).await;
    stack.types(&head::command("docker-compose ")).good();
    assert_eq!(stack.services(), [""; 0]);
}
