//! What docker-compose.yml sets for a trial, where nobody says otherwise.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::harness::Post;
use crate::harness::delivery::now;

/// The webhook's secret.
pub const SECRET: &str = "demo";
/// The operators' token.
pub const TOKEN: &str = "hookferry-trial-token";
/// Where the bridge takes webhooks.
pub const INGRESS: SocketAddr = on_loopback(8080);
/// Where it tells of its health.
pub const HEALTH: SocketAddr = on_loopback(8082);

const fn on_loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// A delivery signed with the secret.
pub fn delivery(body: String) -> Post {
    Post::signed_with("onecodex", body, SECRET, now())
}
