//! One profile of docker-compose.yml that runs, under a project name of the test's own.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::engine::{Ran, docker, inspect, ran, shell};
use crate::eventually::eventually_within;
use crate::harness::unique;

/// How soon all that a profile starts has to be well, and what waited for it has to be delivered.
const HEALTHY: Duration = Duration::from_secs(60);

/// A project of Compose; dropping it forgets everything.
pub struct Stack {
    project: String,
    pub profile: &'static str,
}

impl Stack {
    /// A project that nothing has been started of.
    pub fn new(profile: &'static str) -> Self {
        let project = unique("hookferry-test");
        Self { project, profile }
    }

    /// The same on an environment that says how the project is called, as that of the test's shell does.
    fn of_project(&self, mut command: Command) -> Command {
        command.env("COMPOSE_PROJECT_NAME", &self.project);
        command
    }

    /// Runs a line of shell as somebody would type it.
    pub fn types(&self, line: &str) -> Ran {
        println!("$ {line}");
        ran(&mut self.of_project(shell(line)))
    }

    /// Runs `docker compose` with this profile.
    pub fn compose(&self, arguments: &[&str]) -> String {
        let all = [&["compose", "--profile", self.profile], arguments].concat();
        ran(&mut self.of_project(docker(&all))).good()
    }

    /// The file as Compose itself reads it.
    pub fn config(&self) -> Value {
        let text = self.compose(&["config", "--format", "json"]);
        serde_json::from_str(&text).expect("JSON")
    }

    /// The service that is the bridge.
    pub fn bridge(&self) -> String {
        format!("hookferry-{}", self.profile)
    }

    /// The services that run.
    pub fn services(&self) -> Vec<String> {
        let text = self.compose(&["ps", "--services"]);
        let names = text.lines().filter(|line| !line.is_empty());
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort_unstable();
        names
    }

    /// The id of a service's container.
    pub fn id(&self, service: &str) -> String {
        let ids = self.compose(&["ps", "--all", "--quiet", service]);
        let ids: Vec<&str> = ids.lines().collect();
        assert_eq!(ids.len(), 1, "{service}: {ids:?}");
        ids[0].to_owned()
    }

    /// What the engine knows of it.
    pub fn inspect(&self, service: &str) -> Value {
        inspect(&self.id(service))
    }

    /// Waits until the engine finds every one of these well by their own health checks: all within one
    /// minute.
    pub async fn is_healthy(&self, services: &[String]) {
        let began = Instant::now();
        for service in services {
            let id = self.id(service);
            let left = HEALTHY.saturating_sub(began.elapsed());
            eventually_within(left, &format!("{service} is healthy"), async || {
                (inspect(&id)["State"]["Health"]["Status"] == "healthy").then_some(())
            })
            .await;
        }
    }

    /// How many events wait in the bridge's spool.
    pub fn waiting(&self) -> usize {
        let bridge = self.bridge();
        let list = ["exec", &bridge, "hookferry", "spool", "list", "--json"];
        let text = self.compose(&[&list[..], &["--limit", "1000"]].concat());
        let listed: Value = serde_json::from_str(&text).expect("JSON");
        listed["events"].as_array().expect("events").len()
    }

    /// Waits until there are none: a broker that has just started is tried again after a while.
    pub async fn is_drained(&self) {
        eventually_within(HEALTHY, "the spool is empty", async || {
            (self.waiting() == 0).then_some(())
        })
        .await;
    }

    /// Forgets everything, volumes too.
    fn ends(&self) -> Ran {
        let all = [
            "compose",
            "--profile",
            "*",
            "down",
            "--volumes",
            "--timeout",
            "5",
        ];
        ran(&mut self.of_project(docker(&all)))
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = ["compose", "--profile", "*", "logs", "--tail", "40"];
            eprintln!("{}", ran(&mut self.of_project(docker(&logs))).out);
        }
        self.ends();
    }
}
