//! What a process of the benchmark is for. The sender and each reference run in a process of their
//! own, so that what it uses is counted apart; it is this same program, told its role as JSON.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::load::{Load, Sent};
use crate::reference::Limit;
use crate::reference::disk::Disk;
use crate::reference::durable::Durable;
use crate::reference::ingress;
use crate::reference::kafka::Kafka;
use crate::reference::rabbitmq::RabbitMq;

/// A role, with what it needs to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Role {
    /// Sends deliveries.
    Load(Load),
    /// Receives them, and no more: reference (a).
    Ingress,
    /// Publishes to RabbitMQ as fast as lapin can: reference (b).
    RabbitMq(RabbitMq),
    /// Produces to Kafka as fast as rdkafka can: reference (c).
    Kafka(Kafka),
    /// Appends and syncs: reference (d).
    Disk(Disk),
    /// Receives deliveries, and answers once they are on the disk: reference (e).
    Durable(Durable),
}

impl Role {
    /// Plays the role; the outcome goes to standard output, as one line of JSON.
    pub fn play(self) -> anyhow::Result<()> {
        match self {
            Self::Load(load) => tell(&load.send()?),
            Self::Ingress => ingress::serve(),
            Self::RabbitMq(reference) => tell(&reference.publish()?),
            Self::Kafka(reference) => tell(&reference.produce()?),
            Self::Disk(reference) => tell(&reference.append()?),
            Self::Durable(reference) => reference.serve(),
        }
    }

    /// Has a process of its own play it.
    pub fn begin(&self) -> anyhow::Result<Child> {
        let role = serde_json::to_string(self)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--role", &role]).stdout(Stdio::piped());
        command.spawn().context("a process for the role")
    }

    fn outcome<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        let mut child = self.begin()?;
        let outcome = hear(&mut child);
        let status = child.wait()?;
        anyhow::ensure!(status.success(), "{self:?} ended with {status}");
        outcome
    }
}

/// Sends it, from another process.
pub fn send(load: &Load) -> anyhow::Result<Sent> {
    Role::Load(load.clone()).outcome()
}

/// What a reference comes to, in another process.
pub fn limit(role: &Role) -> anyhow::Result<Limit> {
    role.outcome()
}

/// Says something to the process that gave us the role.
pub fn tell<T: Serialize>(outcome: &T) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(outcome)?);
    Ok(())
}

/// The next thing a process with a role says.
pub fn hear<T: DeserializeOwned>(child: &mut Child) -> anyhow::Result<T> {
    let output = child.stdout.as_mut().context("its output is read once")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    serde_json::from_str(&line).with_context(|| format!("a process with a role said {line:?}"))
}
