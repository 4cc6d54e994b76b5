//! A reference that serves HTTP, in a process of its own.

use std::net::SocketAddr;
use std::process::Child;

use crate::bridge::Home;
use crate::reference::durable::Durable;
use crate::role::{Role, hear};
use crate::usage::Usage;

/// It serves until it is dropped.
#[derive(Debug)]
pub struct Server {
    process: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it writes to; removed after it has ended.
    _home: Option<Home>,
}

impl Server {
    /// Reference (a).
    pub fn ingress() -> anyhow::Result<Self> {
        Self::start(&Role::Ingress, None)
    }

    /// Reference (e).
    pub fn durable() -> anyhow::Result<Self> {
        let home = Home::new("durable")?;
        let folder = home.file("segments");
        Self::start(&Role::Durable(Durable { folder }), Some(home))
    }

    fn start(role: &Role, home: Option<Home>) -> anyhow::Result<Self> {
        let mut server = Self {
            process: role.begin()?,
            address: ([127, 0, 0, 1], 0).into(),
            _home: home,
        };
        server.address = hear(&mut server.process)?;
        Ok(server)
    }

    /// What it has used.
    pub fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(self.process.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already where it failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
