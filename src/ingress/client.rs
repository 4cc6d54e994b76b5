//! Whose request it is: the address that the allow list and rate limits go by.
//!
//! By default that is where the connection began. Behind a proxy the peer is the proxy, and a header says
//! who came to it. Anybody can write a header, so it is believed only from a peer that is a trusted
//! proxy, and it is read from its end: each proxy adds the address it was called from behind what it
//! was given, so the last address that is no trusted proxy's is the client's. What stands before it
//! is the client's own claim.
//!
//! Where a trusted proxy says something that is no address, the client is hidden. It is then counted
//! under the nearest proxy that is known, and is on no allow list: whatever a client writes, it never
//! gets another address by it than the one a trusted proxy has seen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

use super::networks::{self, IpNet};

/// Where the client's address stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AddressOrigin {
    /// In the connection: the peer's, or the one that a PROXY header has named.
    #[default]
    Peer,
    /// In the header `Forwarded` (RFC 7239), in its `for` parameters.
    Forwarded,
    /// In the header `X-Forwarded-For`.
    XForwardedFor,
}

/// How a client's address is told from those of the proxies before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientAddress {
    /// Where it stands.
    pub origin: AddressOrigin,
    /// Whose headers are believed.
    pub trusted_proxies: Vec<IpNet>,
}

/// Who sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// Somebody with this address.
    Known(IpAddr),
    /// Somebody whose address this trusted proxy does not tell.
    Hidden(IpAddr),
}

impl Client {
    /// The address that the client's requests are counted under.
    #[must_use]
    pub fn counted_as(self) -> IpAddr {
        match self {
            Self::Known(address) | Self::Hidden(address) => address,
        }
    }

    /// Whether it is in one of these networks.
    #[must_use]
    pub fn is_in(self, networks: &[IpNet]) -> bool {
        match self {
            Self::Known(address) => networks::contain(networks, address),
            Self::Hidden(_) => false,
        }
    }
}

impl ClientAddress {
    /// The client of a request that came from `peer`.
    pub(super) fn of(&self, peer: IpAddr, headers: &HeaderMap) -> Client {
        let name = match self.origin {
            AddressOrigin::Peer => return Client::Known(peer.to_canonical()),
            AddressOrigin::Forwarded => const { HeaderName::from_static("forwarded") },
            AddressOrigin::XForwardedFor => const { HeaderName::from_static("x-forwarded-for") },
        };
        self.told(peer, headers.get_all(name).map(HeaderValue::as_bytes))
    }

    /// The same, of the values of the header where the client's address stands.
    pub fn told<'a>(&self, peer: IpAddr, values: impl Iterator<Item = &'a [u8]>) -> Client {
        let peer = peer.to_canonical();
        match self.origin {
            AddressOrigin::Peer => Client::Known(peer),
            AddressOrigin::Forwarded => self.behind(peer, values, forwarded_for),
            AddressOrigin::XForwardedFor => self.behind(peer, values, node),
        }
    }

    /// Walks from the peer to the client, for as long as there is another trusted proxy.
    fn behind<'a>(
        &self,
        peer: IpAddr,
        values: impl Iterator<Item = &'a [u8]>,
        read: fn(&str) -> Option<IpAddr>,
    ) -> Client {
        // Several lines of one header are one list (RFC 9110, section 5.3).
        let lines: Vec<&[u8]> = values.collect();
        let mut hops = lines.into_iter().rev().flat_map(elements);
        let mut nearest = peer;
        while networks::contain(&self.trusted_proxies, nearest) {
            match hops.next().map(|hop| hop.and_then(read)) {
                None => break,
                Some(None) => return Client::Hidden(nearest),
                Some(Some(address)) => nearest = address.to_canonical(),
            }
        }
        Client::Known(nearest)
    }
}

/// The elements of one line of a list, from its end; empty ones do not count (RFC 9110, section
/// 5.6.1), and one that is no text cannot be read.
///
/// Commas in quotes divide too: no address holds one, and what a client has begun to quote must not
/// reach into what the proxy has added behind it.
fn elements(line: &[u8]) -> impl Iterator<Item = Option<&str>> {
    let parts = line.rsplit(|byte| *byte == b',');
    let trimmed = parts.map(<[u8]>::trim_ascii);
    let elements = trimmed.filter(|element| !element.is_empty());
    elements.map(|element| std::str::from_utf8(element).ok())
}

/// The address in an element of `Forwarded`: its one `for` parameter, where the whole element is
/// well-formed.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut found = None;
    for pair in element.split(';') {
        let (name, value) = pair.trim().split_once('=')?;
        let value = unquoted(value)?;
        if name.eq_ignore_ascii_case("for") && found.replace(value).is_some() {
            return None;
        }
    }
    node(found?)
}

/// The text of a parameter's value. Proxies also write without quotes what would need them, such as
/// an address with a port.
fn unquoted(value: &str) -> Option<&str> {
    let inner = match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => value,
    };
    let is_plain = !inner.contains(['"', '\\']);
    is_plain.then_some(inner)
}

/// The address of a node (RFC 7239, section 6), with its port or without; an IPv6 address also
/// without brackets, as `X-Forwarded-For` has it. None for `unknown` and hidden names.
fn node(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (address, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (inner, port) = rest.split_once(']')?;
            (inner.parse::<Ipv6Addr>().ok()?.into(), port)
        }
        None => {
            let at = text.find(':')?;
            let (host, port) = text.split_at(at);
            (host.parse::<Ipv4Addr>().ok()?.into(), port)
        }
    };
    is_port(port).then_some(address)
}

/// Nothing, or a colon with a port's number or its hidden name.
fn is_port(text: &str) -> bool {
    let Some(port) = text.strip_prefix(':') else {
        return text.is_empty();
    };
    let is_number = !port.is_empty() && port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
    let is_name = |name: &str| {
        let of_a_name = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        !name.is_empty() && name.bytes().all(of_a_name)
    };
    is_number || port.strip_prefix('_').is_some_and(is_name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn networks(texts: &[&str]) -> Vec<IpNet> {
        let network = |text: &&str| networks::parse(text).expect("a network");
        texts.iter().map(network).collect()
    }

    fn client(origin: AddressOrigin, peer: &str, lines: &[&str]) -> Client {
        let mut headers = HeaderMap::new();
        let name = match origin {
            AddressOrigin::Forwarded => "forwarded",
            _ => "x-forwarded-for",
        };
        for line in lines {
            let value = HeaderValue::from_bytes(line.as_bytes()).expect("a value");
            headers.append(HeaderName::from_static(name), value);
        }
        let address = ClientAddress {
            origin,
            trusted_proxies: networks(&["10.0.0.0/8", "2001:db8:1::/48"]),
        };
        address.of(ip(peer), &headers)
    }

    #[test]
    fn the_last_address_that_is_no_trusted_proxys_is_the_clients() {
        let of = |peer, lines: &[&str]| client(AddressOrigin::XForwardedFor, peer, lines);
        let known = |text| Client::Known(ip(text));
        // Nobody else's header is believed.
        assert_eq!(of("192.0.2.1", &["203.0.113.7"]), known("192.0.2.1"));
        assert_eq!(of("10.0.0.1", &["203.0.113.7"]), known("203.0.113.7"));
        assert_eq!(
            of("::ffff:10.0.0.1", &["203.0.113.7"]),
            known("203.0.113.7")
        );
        assert_eq!(
            of("10.0.0.1", &["::ffff:203.0.113.7"]),
            known("203.0.113.7")
        );
        // What the client has written itself stands before it.
        let claimed = "198.51.100.1, unknown, \u{fc}, \"a, 203.0.113.7, 10.2.3.4";
        assert_eq!(of("10.0.0.1", &[claimed]), known("203.0.113.7"));
        assert_eq!(
            of("10.0.0.1", &["198.51.100.1", "203.0.113.7", "", " , "]),
            known("203.0.113.7")
        );
        // The proxy itself, or somebody within.
        assert_eq!(of("10.0.0.1", &[]), known("10.0.0.1"));
        assert_eq!(of("10.0.0.1", &["10.9.9.9"]), known("10.9.9.9"));
    }

    #[test]
    fn who_cannot_be_told_is_hidden_behind_the_nearest_proxy_that_is_known() {
        for (lines, behind) in [
            (&["unknown"][..], "10.0.0.1"),
            (&["203.0.113.7, _secret"], "10.0.0.1"),
            (&["203.0.113.7, nonsense, 10.0.0.2"], "10.0.0.2"),
            (&["203.0.113.7", "\u{fc}"], "10.0.0.1"),
            (&["203.0.113.7 203.0.113.8"], "10.0.0.1"),
        ] {
            let found = client(AddressOrigin::XForwardedFor, "10.0.0.1", lines);
            assert_eq!(found, Client::Hidden(ip(behind)), "{lines:?}");
            assert!(!found.is_in(&networks(&["0.0.0.0/0"])));
        }
    }

    #[test]
    fn every_form_of_an_address_is_read() {
        for (text, expected) in [
            ("192.0.2.43", Some("192.0.2.43")),
            ("192.0.2.43:47011", Some("192.0.2.43")),
            ("192.0.2.43:_port", Some("192.0.2.43")),
            ("2001:db8::17", Some("2001:db8::17")),
            ("[2001:db8::17]", Some("2001:db8::17")),
            ("[2001:db8::17]:4711", Some("2001:db8::17")),
            ("[2001:db8::17]:_p.o-r_t", Some("2001:db8::17")),
            ("[2001:db8::17", None),
            ("[2001:db8::17]4711", None),
            ("[192.0.2.43]", None),
            ("192.0.2.43:", None),
            ("192.0.2.43:port", None),
            ("192.0.2.43:123456", None),
            ("192.0.2.43:+80", None),
            ("192.0.2", None),
            ("unknown", None),
            ("_hidden", None),
            ("", None),
        ] {
            assert_eq!(node(text), expected.map(ip), "{text}");
        }
    }

    #[test]
    fn forwarded_is_read_with_its_quotes_and_other_parameters() {
        for (element, expected) in [
            ("for=192.0.2.43", Some("192.0.2.43")),
            ("For=\"[2001:db8::17]:4711\"", Some("2001:db8::17")),
            (
                "for=192.0.2.43;proto=https;by=203.0.113.60",
                Some("192.0.2.43"),
            ),
            (
                "proto=http; FOR=\"192.0.2.43:80\"; host=\"a b\"",
                Some("192.0.2.43"),
            ),
            ("for=192.0.2.43:80", Some("192.0.2.43")),
            ("for=unknown", None),
            ("for=\"_gazonk\"", None),
            ("proto=https", None),
            ("for=192.0.2.43;for=192.0.2.44", None),
            ("for=\"192.0.2.43", None),
            ("for=192.0.2.43\"", None),
            ("for=192.0.2.43;host=\"", None),
            ("for=192.0.2.43;a=b\"", None),
            ("for=\"192.0.2.43\\\"\"", None),
            ("for", None),
            ("192.0.2.43", None),
        ] {
            assert_eq!(forwarded_for(element), expected.map(ip), "{element}");
        }
    }

    /// What a client begins to quote, or puts into a header that a proxy repeats in quotes.
    #[test]
    fn a_client_never_gets_an_address_by_quoting() {
        let of = |lines: &[&str]| client(AddressOrigin::Forwarded, "10.0.0.1", lines);
        assert_eq!(
            of(&["for=\"198.51.100.1, for=203.0.113.7"]),
            Client::Known(ip("203.0.113.7"))
        );
        for line in [
            "for=203.0.113.7;host=\"x, for=198.51.100.1\"",
            "for=203.0.113.7;host=\"x, for=198.51.100.1;a=b\"",
            "for=203.0.113.7;host=\"x, for=198.51.100.1;a=\\\"\"",
        ] {
            assert_eq!(of(&[line]), Client::Hidden(ip("10.0.0.1")), "{line}");
        }
    }

    proptest! {
        /// Whatever stands before it, what the proxy has added at the end is what counts.
        #[test]
        fn nothing_a_client_writes_changes_its_address(
            claims in proptest::collection::vec("[ -~\u{e4}]{0,40}", 0..4),
            xff in any::<bool>(),
        ) {
            let (origin, added) = match xff {
                true => (AddressOrigin::XForwardedFor, "203.0.113.7"),
                false => (AddressOrigin::Forwarded, "for=203.0.113.7;proto=https"),
            };
            let in_one_line = claims.iter().map(|claim| format!("{claim}, ")).collect::<String>();
            let in_one_line = format!("{in_one_line}{added}");
            let mut lines: Vec<&str> = claims.iter().map(String::as_str).collect();
            lines.push(added);
            for lines in [&lines[..], &[in_one_line.as_str()]] {
                let found = client(origin, "10.0.0.1", lines);
                prop_assert_eq!(found, Client::Known(ip("203.0.113.7")));
            }
        }

        /// Whatever the proxy adds, it is an address or it hides the client.
        #[test]
        fn any_text_is_an_address_or_none(element in "[ -~]{0,40}") {
            for origin in [AddressOrigin::XForwardedFor, AddressOrigin::Forwarded] {
                let found = client(origin, "10.0.0.1", &[&element]);
                let is_read = node(element.trim()).or_else(|| forwarded_for(element.trim()));
                let is_empty = element.split(',').all(|part| part.trim().is_empty());
                prop_assert!(
                    matches!(found, Client::Hidden(_)) || is_read.is_some() || is_empty || element.contains(','),
                    "{:?} of {:?}", found, element
                );
            }
        }
    }
}
