//! The commands, as a person or a script runs them: the program itself, its output, its exit code.

mod completions;
mod configuration;
mod demo;
mod explain;
mod health;
mod man_pages;
mod providers;
mod send;
mod spool;
mod tail;
mod tls;
mod token;
mod ui;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};

use tempfile::TempDir;

/// The secret of every bridge here.
const SECRET: &str = "whsec_test_secret";

/// The program with these arguments, and nothing of this machine's own configuration.
fn hookferry(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hookferry"));
    command
        .args(arguments)
        .env_remove("HOOKFERRY_CONFIG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What a command that came to its end has said.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }

    /// The output of a command that must have ended with this code.
    #[track_caller]
    fn with_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }
}

fn run(arguments: &[&str]) -> Said {
    Said::of(hookferry(arguments).output().expect("the program starts"))
}

fn run_with_input(arguments: &[&str], input: &[u8]) -> Said {
    let mut command = hookferry(arguments);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("started");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input).expect("read");
    drop(stdin);
    Said::of(child.wait_with_output().expect("ended"))
}

/// A program that runs until it is told to stop; killed where a test forgets.
struct Running {
    child: Child,
}

impl Running {
    fn start(mut command: Command) -> Self {
        Self {
            child: command.spawn().expect("the program starts"),
        }
    }

    fn stdout(&mut self) -> BufReader<ChildStdout> {
        BufReader::new(self.child.stdout.take().expect("taken once"))
    }

    /// Sends a signal by name, and waits for the end.
    fn stop(&mut self, signal: &str) -> ExitStatus {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.expect("kill is there").success());
        self.child.wait().expect("it ends")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder with a configuration in it.
struct Setup {
    folder: TempDir,
}

impl Setup {
    /// A bridge on free ports that sends to one sink, described by `sink`.
    fn with_sink(name: &str, sink: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let setup = Self { folder };
        std::fs::write(setup.path("secret"), format!("{SECRET}\n")).expect("written");
        let text = format!(
            "ingress.listen = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"\nlog.format = \"json\"\n\
             spool.path = \"{spool}\"\n[source.onecodex]\nprovider = \"onecodex\"\nsecrets = [{{ file = \"{secret}\" }}]\n\
             [sink.{name}]\n{sink}\n[[route]]\nsource = \"onecodex\"\nsinks = [\"{name}\"]\n",
            spool = setup.path("spool").display(),
            secret = setup.path("secret").display(),
        );
        std::fs::write(setup.path("hookferry.toml"), text).expect("written");
        setup
    }

    /// A bridge with a store.
    fn with_store() -> Self {
        let setup = Self::with_sink("store", "type = \"store\"\npath = \"TOPICS\"");
        let config = setup.path("hookferry.toml");
        let text = std::fs::read_to_string(&config).expect("there");
        let topics = setup.path("topics").display().to_string();
        std::fs::write(&config, text.replace("TOPICS", &topics)).expect("written");
        setup
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self) -> String {
        self.path("hookferry.toml").display().to_string()
    }

    fn secret(&self) -> String {
        self.path("secret").display().to_string()
    }

    /// Starts the bridge, and returns once it is ready.
    fn serve(&self) -> Served {
        let mut command = hookferry(&["serve", "--config", &self.config()]);
        let log = std::fs::File::create(self.path("log")).expect("made");
        command.stdout(Stdio::null()).stderr(log);
        let mut running = Running::start(command);
        let ready = await_line(&self.path("log"), "the bridge is ready", &mut running);
        let line: serde_json::Value = serde_json::from_str(&ready).expect("JSON");
        let address = |key: &str| format!("http://{}", line[key].as_str().expect("logged"));
        Served {
            webhook: format!("{}/webhooks/onecodex", address("ingress")),
            admin: address("admin"),
            running,
        }
    }

    /// Sends as many new events; each must be accepted.
    fn send(&self, served: &Served, count: u32) {
        let (secret, count) = (self.secret(), count.to_string());
        let url = served.webhook.as_str();
        run(&[
            "send",
            "--url",
            url,
            "--secret-file",
            &secret,
            "--count",
            &count,
        ])
        .with_code(0);
    }
}

/// A bridge that serves.
struct Served {
    webhook: String,
    admin: String,
    running: Running,
}

/// The first line of a growing file that has `text` in it.
fn await_line(file: &Path, text: &str, running: &mut Running) -> String {
    crate::eventually::eventually_blocking(text, || {
        let ended = running.child.try_wait().expect("asked");
        let log = std::fs::read_to_string(file).expect("there");
        assert!(ended.is_none(), "it ended: {log}");
        let whole = log
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        whole
            .filter(|line| line.contains(text))
            .map(str::to_owned)
            .next()
    })
}

/// The first `count` lines.
fn lines(reader: &mut BufReader<ChildStdout>, count: usize) -> Vec<String> {
    let lines: Vec<String> = reader
        .lines()
        .take(count)
        .map(|line| line.expect("text"))
        .collect();
    assert_eq!(lines.len(), count, "{lines:?}");
    lines
}
