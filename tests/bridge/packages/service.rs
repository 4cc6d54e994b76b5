//! The service as its unit has it, where no systemd runs: what systemd would do is done by hand.

use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};

use super::machine::Machine;
use crate::eventually::eventually_blocking;

const UNIT: &str = "/usr/lib/systemd/system/hookferry.service";
const CREDENTIALS: &str = "/run/credentials/hookferry.service";

/// A bridge that was started by its unit's command line.
pub struct Service {
    child: Child,
}

/// A setting of the unit that stands there once.
fn setting(machine: &Machine, key: &str) -> String {
    let unit = machine.read(UNIT);
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    let values: Vec<&str> = lines
        .filter(|(name, _)| *name == key)
        .map(|(_, value)| value)
        .collect();
    assert_eq!(values.len(), 1, "{key} in {unit}");
    values[0].to_owned()
}

impl Service {
    /// Starts it, and returns once it says that it is ready.
    pub fn start(machine: &Machine) -> Self {
        let user = setting(machine, "User");
        let owner = format!("{user}:{user}");
        let state = format!("/var/lib/{}", setting(machine, "StateDirectory"));
        let mode = setting(machine, "StateDirectoryMode");
        machine.run(&[
            "install", "-d", "-o", &user, "-g", &user, "-m", &mode, &state,
        ]);
        machine.run(&["chown", "-R", &owner, &state]);
        let credential = setting(machine, "LoadCredential");
        let (name, from) = credential.split_once(':').expect("a name and a file");
        let to = format!("{CREDENTIALS}/{name}");
        machine.run(&["install", "-D", "-o", &user, "-m", "0400", from, &to]);

        let socket = machine.path("/run/notify");
        let _ = std::fs::remove_file(&socket);
        let systemd = UnixDatagram::bind(&socket).unwrap();
        systemd.set_nonblocking(true).unwrap();
        std::fs::set_permissions(&socket, Permissions::from_mode(0o777)).unwrap();

        let exec = setting(machine, "ExecStart");
        let umask = format!("umask {} && exec \"$@\"", setting(machine, "UMask"));
        let mut words = vec![
            "sh", "-c", &umask, "sh", "setpriv", "--reuid", &user, "--regid", &user,
        ];
        words.extend(["--clear-groups", "--bounding-set=-all", "--no-new-privs"]);
        words.extend(exec.split(' '));
        let mut command = machine.command(&words);
        command
            .env("CREDENTIALS_DIRECTORY", CREDENTIALS)
            .env("NOTIFY_SOCKET", "/run/notify")
            .stderr(Stdio::from(
                std::fs::File::create(machine.path("/run/log")).unwrap(),
            ));
        let mut service = Self {
            child: command.spawn().unwrap(),
        };
        eventually_blocking("the service is ready", || {
            let mut message = [0; 4096];
            if let Some(status) = service.child.try_wait().unwrap() {
                panic!("{status}: {}", machine.read("/run/log"));
            }
            match systemd.recv(&mut message) {
                Ok(length) => String::from_utf8_lossy(&message[..length])
                    .contains("READY=1")
                    .then_some(()),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                    None
                }
            }
        });
        service
    }

    /// Whom it runs as: the user's number.
    pub fn uid(&self) -> String {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("Uid:"));
        line.unwrap().split_whitespace().nth(1).unwrap().to_owned()
    }

    /// Stops it as systemd does.
    pub fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(&pid).status().unwrap().success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
