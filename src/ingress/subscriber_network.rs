//! What counts as one client where clients are counted: what a subscriber is given as a whole.

use std::net::{IpAddr, Ipv6Addr};

/// An IPv4 address, or the 64 bits of an IPv6 address that a subscriber is given (RFC 6177).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SubscriberNetwork {
    /// The whole address.
    V4(u32),
    /// Its first 64 bits.
    V6(u64),
}

impl SubscriberNetwork {
    /// That of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6(first_bits(address, 64)),
        }
    }

    /// The 48 bits that a site of IPv6 is given (RFC 6177), and a tunnel's end too: who has so many
    /// can send from another 64 each time.
    pub(super) fn site(address: IpAddr) -> Option<u64> {
        match address.to_canonical() {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(first_bits(address, 48)),
        }
    }
}

fn first_bits(address: Ipv6Addr, count: u32) -> u64 {
    u64::try_from(address.to_bits() >> (128 - count)).expect("at most 64 bits are left")
}
