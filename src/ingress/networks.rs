//! Lists of networks, as a configuration names them: an address is a network of itself alone, and an
//! IPv4 address is one in whatever form it comes.

use std::net::IpAddr;

pub use ipnet::IpNet;

/// A text is neither a network nor an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is neither a network such as 10.0.0.0/8 nor an address")]
pub struct NotANetwork;

/// Reads a network in CIDR notation, or an address.
///
/// # Errors
/// When the text is neither.
pub fn parse(text: &str) -> Result<IpNet, NotANetwork> {
    text.parse::<IpNet>().or_else(|_| {
        let address: IpAddr = text.parse().map_err(|_| NotANetwork)?;
        Ok(address.to_canonical().into())
    })
}

/// Whether the address is in one of the networks.
#[must_use]
pub fn contain(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_its_network_however_it_is_written() {
        let networks = ["10.1.2.3/8", "192.0.2.7", "2001:db8::/32", "::1"];
        let networks = networks.map(|text| parse(text).expect("a network"));
        let contain = |text: &str| contain(&networks, text.parse().expect("an address"));
        for inside in [
            "10.255.0.1",
            "192.0.2.7",
            "::ffff:192.0.2.7",
            "2001:db8:5::1",
            "::1",
        ] {
            assert!(contain(inside), "{inside}");
        }
        for outside in ["11.0.0.1", "192.0.2.8", "2001:db9::1", "::2"] {
            assert!(!contain(outside), "{outside}");
        }
        assert!(!super::contain(
            &[],
            "127.0.0.1".parse().expect("an address")
        ));
    }

    #[test]
    fn other_texts_are_no_networks() {
        for text in [
            "",
            "localhost",
            "10.0.0.0/33",
            "10.0.0/8",
            "::1/129",
            "10.0.0.1:80",
        ] {
            assert_eq!(parse(text), Err(NotANetwork), "{text}");
        }
    }
}
