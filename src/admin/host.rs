//! The hosts that the operators' listener answers for. A page from elsewhere can have its own name
//! lead to this machine's addresses (DNS rebinding), and is then allowed by the browser to read the
//! answers; but the browser still says the page's name.

use std::fmt;
use std::net::IpAddr;

/// A host, without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A name, in small letters.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// It is neither a name nor an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no name of a host and no address")]
pub struct InvalidHost;

impl Host {
    /// Reads a host without a port, such as `bridge.example.com`, `10.0.0.5` or `fd00::5`.
    ///
    /// # Errors
    /// When it is neither a name nor an address.
    pub fn parse(text: &str) -> Result<Self, InvalidHost> {
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(text).parse::<IpAddr>() {
            return Ok(Self::Address(address.to_canonical()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_of_a_name) {
            return Err(InvalidHost);
        }
        Ok(Self::Name(name.to_ascii_lowercase()))
    }

    /// Reads a host with or without a port, as the header `Host` has it (RFC 9110, section 7.2).
    pub(super) fn of_header(text: &str) -> Result<Self, InvalidHost> {
        let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        match text.rsplit_once(':') {
            Some((host, port)) if is_port(port) => Self::parse(host),
            _ => Self::parse(text),
        }
    }

    /// Whether it is this machine, by a name that is reserved for it (RFC 6761, section 6.3) or by an
    /// address of the loopback.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match self {
            Self::Name(name) => name == "localhost" || name.ends_with(".localhost"),
            Self::Address(address) => address.to_canonical().is_loopback(),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Whether the listener is meant: by a name of the loopback, by the local address of the connection,
/// or by a configured name.
pub(super) fn is_ours(host: &Host, local_address: Option<IpAddr>, configured: &[Host]) -> bool {
    let local_address = local_address.map(|address| Host::Address(address.to_canonical()));
    host.is_loopback() || local_address.as_ref() == Some(host) || configured.contains(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_host_is_told_from_ours() {
        let configured =
            ["bridge.example.com", "[fd00::5]"].map(|text| Host::parse(text).expect("a host"));
        let local_address = Some("::ffff:10.0.0.5".parse().expect("an address"));
        for (header, ours) in [
            ("localhost", true),
            ("LocalHost.:8081", true),
            ("127.0.0.1:8081", true),
            ("127.8.9.1", true),
            ("[::1]:8081", true),
            ("[::ffff:127.0.0.1]", true),
            ("10.0.0.5:8081", true),
            ("10.0.0.6:8081", false),
            ("Bridge.Example.COM:443", true),
            ("[fd00::5]:8081", true),
            ("example.com", false),
            ("bridge.example.com.evil.example", false),
            ("localhost.evil.example", false),
            ("", false),
            (":8081", false),
            ("localhost:", true),
            ("localhost:80@evil.example", false),
            ("a b", false),
        ] {
            let host = Host::of_header(header);
            let found = host.is_ok_and(|host| is_ours(&host, local_address, &configured));
            assert_eq!(found, ours, "{header:?}");
        }
    }

    #[test]
    fn a_configured_host_has_neither_scheme_nor_port_nor_path() {
        for text in [
            "http://bridge",
            "bridge:8081",
            "bridge/",
            "*.example.com",
            "",
        ] {
            assert_eq!(Host::parse(text), Err(InvalidHost), "{text:?}");
        }
        let shown = |text| Host::parse(text).map(|host| host.to_string());
        assert_eq!(shown("fd00::5"), Ok("fd00::5".to_owned()));
        assert_eq!(shown("Bridge"), Ok("bridge".to_owned()));
    }
}
