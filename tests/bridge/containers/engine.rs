//! The engine that `tests/run --containers` started, through its own command line.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::eventually::eventually_blocking;
use crate::harness::unique;
use crate::repository::place;

/// The image that the tests are about.
pub const IMAGE: &str = concat!("hookferry:", env!("CARGO_PKG_VERSION"));

/// Where the image has its volume.
pub const SPOOL: &str = "/var/lib/hookferry";

/// What a command said, and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// Its standard output.
    ///
    /// # Panics
    /// When it failed.
    pub fn good(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.out
    }
}

/// Runs a command to its end.
pub fn ran(command: &mut Command) -> Ran {
    let output = command.stdin(Stdio::null()).output().expect("it starts");
    Ran::of(&output)
}

/// A shell that finds this engine's `docker`, in the folder of the repository.
pub fn shell(script: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", script]);
    at_engine(shell)
}

/// This engine's `docker`.
pub fn docker(arguments: &[&str]) -> Command {
    let mut docker = Command::new(folder().join("bin/docker"));
    docker.args(arguments);
    at_engine(docker)
}

fn folder() -> PathBuf {
    std::env::var_os("HOOKFERRY_TEST_ENGINE")
        .expect("HOOKFERRY_TEST_ENGINE names no engine: run tests/run --containers")
        .into()
}

fn at_engine(mut command: Command) -> Command {
    let path = std::env::var("PATH").expect("a PATH");
    let folder = folder().display().to_string();
    command
        .current_dir(place(""))
        .env("PATH", format!("{folder}/bin:{path}"))
        // For Compose 1.29, which asks no docker.
        .env("DOCKER_HOST", format!("unix://{folder}/docker.sock"));
    command
}

/// A container of a test; dropping it removes it with its volumes.
pub struct Container(String);

impl Container {
    /// One that somebody is to make under this name.
    pub fn named(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// `docker run --detach` with these arguments.
    pub fn run(arguments: &[&str]) -> Self {
        let container = Self::named(&unique("hookferry-test"));
        let named = ["run", "--detach", "--name", container.name()];
        ran(&mut docker(&[&named, arguments].concat())).good();
        container
    }

    /// `docker run` with these arguments, which ends by itself.
    ///
    /// # Panics
    /// When it does not within 30 s.
    pub fn ends(arguments: &[&str]) -> Ran {
        let container = Self::named(&unique("hookferry-test"));
        let named = ["run", "--name", container.name()];
        let mut child = docker(&[&named, arguments].concat())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        eventually_blocking("the container ends by itself", || {
            child.try_wait().expect("a child of ours")
        });
        Ran::of(&child.wait_with_output().expect("a child of ours"))
    }

    pub fn name(&self) -> &str {
        &self.0
    }

    /// What the engine knows of it.
    pub fn inspect(&self) -> Value {
        inspect(self.name())
    }

    /// All that it has said.
    fn log(&self) -> String {
        let ran = ran(&mut docker(&["logs", self.name()]));
        ran.out + &ran.err
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log of {}:\n{}", self.name(), self.log());
        }
        ran(&mut docker(&["rm", "--force", "--volumes", self.name()]));
    }
}

/// Runs a command in a container.
pub fn exec(container: &str, arguments: &[&str]) -> Ran {
    ran(&mut docker(&[&["exec", container], arguments].concat()))
}

/// What the engine knows of a container, an image or a volume.
pub fn inspect(name: &str) -> Value {
    let text = ran(&mut docker(&["inspect", name])).good();
    let all: Value = serde_json::from_str(&text).expect("JSON");
    all[0].clone()
}

/// A named volume; dropping it removes it.
pub struct Volume(String);

impl Volume {
    /// One with these options of the local driver.
    pub fn new(options: &[&str]) -> Self {
        let name = unique("hookferry-test");
        let mut command = docker(&["volume", "create"]);
        for option in options {
            command.args(["--opt", option]);
        }
        ran(command.arg(&name)).good();
        Self(name)
    }

    /// How it is mounted there.
    pub fn at(&self, path: &str) -> String {
        format!("{}:{path}", self.0)
    }

    /// Where the engine has it.
    pub fn folder(&self) -> PathBuf {
        let path = &inspect(&self.0)["Mountpoint"];
        PathBuf::from(path.as_str().expect("a path"))
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        ran(&mut docker(&["volume", "rm", "--force", &self.0]));
    }
}
