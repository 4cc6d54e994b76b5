//! Who is at the other end of a connection.

use std::net::IpAddr;

/// The peer of a connection, and the client that it speaks for. Every connection has one as its
/// data; an IPv4 address is always written as one, also where an IPv6 listener has accepted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    /// Whose connection it is: a sender's, or that of a proxy in front of this bridge.
    pub address: IpAddr,
    /// Where the connection began, as far as the connection itself tells: the peer's own address,
    /// unless a trusted proxy has named another. What a request's headers say is not in here.
    pub client: IpAddr,
}

impl Peer {
    /// A peer that speaks for itself.
    pub fn direct(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self {
            address,
            client: address,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_peer_of_an_ipv6_listener_is_an_ipv4_peer() {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let peer = Peer::direct(address("::ffff:192.0.2.7"));
        assert_eq!(peer, Peer::direct(address("192.0.2.7")));
        assert_eq!(peer.client, address("192.0.2.7"));
    }
}
