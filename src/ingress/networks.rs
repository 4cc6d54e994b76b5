//! Sets of addresses, as a configuration names them.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// Networks in CIDR notation and single addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

/// A text is neither a network nor an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is neither a network such as 10.0.0.0/8 nor an address")]
pub struct NotANetwork;

/// One network of such a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

impl FromStr for Network {
    type Err = NotANetwork;

    /// A network, or an address, which is the network of itself alone.
    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let network = text.parse::<IpNet>().or_else(|_| {
            let address: IpAddr = text.parse().map_err(|_| NotANetwork)?;
            Ok(IpNet::from(address.to_canonical()))
        });
        network.map(Self)
    }
}

impl Network {
    /// Whether it is the network of all addresses.
    #[must_use]
    pub fn is_everywhere(self) -> bool {
        self.0.prefix_len() == 0
    }
}

impl FromIterator<Network> for Networks {
    fn from_iter<T: IntoIterator<Item = Network>>(networks: T) -> Self {
        Self(networks.into_iter().map(|network| network.0).collect())
    }
}

impl Networks {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the address is in one of them.
    #[must_use]
    pub fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Networks {
        let parse = |text: &&str| text.parse::<Network>().expect("a network");
        texts.iter().map(parse).collect()
    }

    #[test]
    fn an_address_is_in_its_network_however_it_is_written() {
        let networks = networks(&["10.1.2.3/8", "192.0.2.7", "2001:db8::/32", "::1"]);
        let contain = |text: &str| networks.contain(text.parse().expect("an address"));
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
        assert!(!Networks::default().contain("127.0.0.1".parse().expect("an address")));
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
            assert_eq!(text.parse::<Network>(), Err(NotANetwork), "{text}");
        }
    }
}
