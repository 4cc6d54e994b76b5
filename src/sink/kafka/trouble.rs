//! What the client complains of: how far a connection got, what that means in plain words, and what
//! an operator does about it. librdkafka says one thing with several codes, and hints at settings
//! that are not ours.

use rdkafka::types::RDKafkaErrorCode as Code;

use crate::sink::Stage;

/// What the client complains of. Two complaints of one kind are one piece of news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Complaint {
    /// A connection could not be made, and this is how far it got.
    Unconnected(Stage),
    /// Anything else.
    Other(Code),
}

impl Complaint {
    /// librdkafka tells the state of the connection only at the end of the text: "(after 12ms in
    /// state SSL_HANDSHAKE)".
    pub(super) fn of(code: Code, reason: &str) -> Self {
        let state = reason
            .rsplit_once(" in state ")
            .map_or("", |(_, rest)| rest);
        let within = |name: &str| state.starts_with(name);
        match code {
            Code::Resolve => Self::Unconnected(Stage::Lookup),
            Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::IllegalSASLState => Self::Unconnected(Stage::Login),
            Code::SSL => Self::Unconnected(Stage::Tls),
            _ if within("SSL_HANDSHAKE") => Self::Unconnected(Stage::Tls),
            // With TLS 1.3 a broker refuses a client's certificate only when the client believes to
            // be through.
            _ if within("APIVERSION_QUERY") && is_over_tls(reason) => Self::Unconnected(Stage::Tls),
            // A TLS alert is no response.
            _ if reason.contains("Invalid response size") => Self::Unconnected(Stage::Tls),
            _ if reason.contains("require SASL") => Self::Unconnected(Stage::Login),
            _ if within("AUTH") => Self::Unconnected(Stage::Login),
            _ if within("CONNECT") || within("APIVERSION_QUERY") => {
                Self::Unconnected(Stage::Connect)
            }
            code => Self::Other(code),
        }
    }
}

/// The last trouble, in plain words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub complaint: Complaint,
    /// It begins with the broker that it is about.
    pub reason: String,
    mistake: Mistake,
}

/// What is the matter, as far as it has a remedy of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mistake {
    Name,
    Port,
    TlsOnPlain,
    PlainOnTls,
    /// The broker's, for one of the two reasons that follow.
    Certificate,
    OtherName,
    NoAuthority,
    Identity,
    NoLogin,
    Login,
    Mechanism,
    Unclear,
}

impl Trouble {
    pub(super) fn of(code: Code, reason: &str) -> Self {
        let complaint = Complaint::of(code, reason);
        let mistake = Mistake::of(complaint, reason);
        let (broker, rest) = reason.split_once(": ").unwrap_or(("", reason));
        let reason = match mistake.plainly() {
            Some(what) if mistake.says_it_all() => format!("{broker}: {what}"),
            Some(what) => format!("{broker}: {what}: {rest}"),
            None => reason.to_owned(),
        };
        Self {
            complaint,
            reason,
            mistake,
        }
    }

    /// Whether the broker's certificate does not hold, which may have two reasons.
    pub(super) fn is_of_certificate(&self) -> bool {
        self.mistake == Mistake::Certificate
    }

    /// Whether the broker would not let us in, so that TLS was through.
    pub(super) fn is_of_login(&self) -> bool {
        self.complaint == Complaint::Unconnected(Stage::Login)
    }

    /// The same with the reason: whether the certificate holds but for the name in it.
    pub(super) fn narrowed(self, is_of_name: bool) -> Self {
        let mistake = if is_of_name {
            Mistake::OtherName
        } else {
            Mistake::NoAuthority
        };
        let broker = self
            .reason
            .split_once(": ")
            .map_or("", |(broker, _)| broker);
        let reason = format!("{broker}: {}", mistake.plainly().unwrap_or_default());
        Self {
            reason,
            mistake,
            ..self
        }
    }

    /// What to do about it.
    pub(super) fn remedy(&self) -> &'static str {
        match self.mistake {
            Mistake::Name => {
                "correct the name in `brokers`, or in the broker's `advertised.listeners`, or have this machine's resolver know it"
            }
            Mistake::Port => {
                "correct the port in `brokers`, or in the broker's `advertised.listeners`; start the broker; let the connection through the firewall"
            }
            Mistake::TlsOnPlain => {
                "take the table `tls` out, or name the port of a listener with TLS"
            }
            Mistake::PlainOnTls => "add a table `tls`, or name the port of a listener without TLS",
            Mistake::Certificate => {
                "have `tls.ca_file` name the authority that vouches for the broker (without it the system's count), `brokers` a name that stands in the broker's certificate, and renew the certificate where it has expired"
            }
            Mistake::OtherName => {
                "name the broker, in `brokers` and in its `advertised.listeners`, as its certificate does, or have a certificate made for that name"
            }
            Mistake::NoAuthority => {
                "have `tls.ca_file` name the authority that vouches for the broker (without it the system's count), or renew the broker's certificate"
            }
            Mistake::Identity => {
                "set `tls.client_certificate_file` and `tls.client_key_file` to a certificate that the broker's authorities vouch for"
            }
            Mistake::NoLogin => {
                "add a table `sasl`, or name the port of a listener that wants no login"
            }
            Mistake::Login => "correct `sasl.username` and the password, or the token",
            Mistake::Mechanism => {
                "set `sasl.mechanism` to one that the broker has; `sasl.enabled.mechanisms` of the broker lists them"
            }
            Mistake::Unclear => {
                "look into the broker's log: it may not take the protocol that the port is spoken to with (`tls`, `sasl`)"
            }
        }
    }
}

impl Mistake {
    fn of(complaint: Complaint, reason: &str) -> Self {
        let says = |what: &str| reason.contains(what);
        match complaint {
            Complaint::Unconnected(Stage::Lookup) => Self::Name,
            Complaint::Unconnected(Stage::Tls) if says("certificate verify failed") => {
                Self::Certificate
            }
            // A listener without TLS ends the connection, or answers what is no handshake.
            Complaint::Unconnected(Stage::Tls)
                if says("PLAINTEXT broker listener") || says("wrong version number") =>
            {
                Self::TlsOnPlain
            }
            _ if !is_over_tls(reason)
                && (says("closed by peer") && says("in state APIVERSION_QUERY")
                    || says("SSL listener")
                    || says("Invalid response size")) =>
            {
                Self::PlainOnTls
            }
            Complaint::Unconnected(Stage::Tls) if says("in state APIVERSION_QUERY") => {
                Self::Identity
            }
            Complaint::Unconnected(Stage::Login) if says("require SASL") => Self::NoLogin,
            Complaint::Unconnected(Stage::Login)
                if says("mechanism handshake failed") || says("Unsupported SASL mechanism") =>
            {
                Self::Mechanism
            }
            Complaint::Unconnected(Stage::Login) => Self::Login,
            Complaint::Unconnected(Stage::Connect) if says("in state CONNECT") => Self::Port,
            _ => Self::Unclear,
        }
    }

    /// librdkafka hides why a certificate does not hold, and advises to look for the authority's
    /// whatever the reason: an operator whose broker's certificate has expired would look in the
    /// wrong place.
    fn plainly(self) -> Option<&'static str> {
        match self {
            Self::Certificate => Some(
                "the broker's certificate does not hold: it has expired, is for another name, or no authority in `tls.ca_file` vouches for it",
            ),
            Self::OtherName => Some("the broker's certificate is for another name"),
            Self::NoAuthority => Some(
                "no authority that is trusted vouches for the broker's certificate, or it has expired",
            ),
            Self::Identity => Some("the broker does not take the client certificate, or wants one"),
            Self::TlsOnPlain => Some("no TLS on this port, as it seems"),
            Self::PlainOnTls => Some("the port wants TLS, as it seems"),
            Self::NoLogin => Some("the broker wants a login, as it seems"),
            Self::Mechanism => Some("the broker does not know this way to log in"),
            Self::Name | Self::Port | Self::Login | Self::Unclear => None,
        }
    }

    /// Whether librdkafka's own words would only lead astray: they name settings that are not ours.
    fn says_it_all(self) -> bool {
        matches!(
            self,
            Self::Certificate | Self::TlsOnPlain | Self::PlainOnTls | Self::NoLogin
        )
    }
}

/// librdkafka begins with the broker: "sasl_ssl://kafka-1:9093/bootstrap: …".
pub(super) fn is_over_tls(reason: &str) -> bool {
    let scheme = reason.split("://").next();
    matches!(scheme, Some("ssl" | "sasl_ssl"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What librdkafka 2.12 says, the stage, a word of what we make of it, and one of the remedy.
    const SAID: [(Code, &str, Stage, &str, &str); 14] = [
        (
            Code::Resolve,
            "b:9092/bootstrap: Failed to resolve 'b:9092': Name or service not known (after 1ms in state CONNECT)",
            Stage::Lookup,
            "Failed to resolve",
            "correct the name",
        ),
        (
            Code::BrokerTransportFailure,
            "b:9092/bootstrap: Connect to ipv4#127.0.0.1:9092 failed: Connection refused (after 0ms in state CONNECT)",
            Stage::Connect,
            "Connection refused",
            "correct the port",
        ),
        (
            Code::BrokerTransportFailure,
            "b:9092/1: Connection setup timed out in state CONNECT (after 5000ms in state CONNECT)",
            Stage::Connect,
            "timed out",
            "firewall",
        ),
        (
            Code::SSL,
            "ssl://b:9092/bootstrap: SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener? (after 4ms in state SSL_HANDSHAKE)",
            Stage::Tls,
            "no TLS on this port",
            "take the table `tls` out",
        ),
        (
            Code::SSL,
            "ssl://b:9092/bootstrap: SSL handshake failed: error:0A00010B:SSL routines::wrong version number (after 4ms in state SSL_HANDSHAKE)",
            Stage::Tls,
            "no TLS on this port",
            "take the table `tls` out",
        ),
        (
            Code::BrokerTransportFailure,
            "b:9093/bootstrap: Disconnected: requesting ApiVersion: might be caused by incorrect security.protocol configuration (connecting to a SSL listener?) or broker version is < 0.10 (see api.version.request) (after 5ms in state APIVERSION_QUERY)",
            Stage::Connect,
            "wants TLS",
            "add a table `tls`",
        ),
        (
            Code::BrokerTransportFailure,
            "b:9093/bootstrap: Receive failed: Invalid response size 352518912 (0..100000000): increase receive.message.max.bytes (after 5ms in state APIVERSION_QUERY)",
            Stage::Tls,
            "wants TLS",
            "add a table `tls`",
        ),
        (
            Code::BrokerTransportFailure,
            "b:9092/bootstrap: Disconnected: verify that security.protocol is correctly configured, broker might require SASL authentication (after 9ms in state UP)",
            Stage::Login,
            "wants a login",
            "add a table `sasl`",
        ),
        (
            Code::SSL,
            "ssl://b:9092/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker certificate could not be verified, verify that ssl.ca.location is correctly configured (after 4ms in state SSL_HANDSHAKE)",
            Stage::Tls,
            "the broker's certificate does not hold",
            "`tls.ca_file`",
        ),
        (
            Code::BrokerTransportFailure,
            "sasl_ssl://b:9093/bootstrap: Receive failed: error:0A000412:SSL routines::ssl/tls alert bad certificate: SSL alert number 42 (after 2ms in state APIVERSION_QUERY)",
            Stage::Tls,
            "does not take the client certificate",
            "client_certificate_file",
        ),
        (
            Code::Authentication,
            "sasl_plaintext://b:9092/bootstrap: SASL authentication error: Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-512 (after 3ms in state AUTH_REQ)",
            Stage::Login,
            "Authentication failed",
            "the password",
        ),
        (
            Code::Authentication,
            "sasl_plaintext://b:9092/bootstrap: SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's supported mechanisms: SCRAM-SHA-512 (after 3ms in state AUTH_HANDSHAKE)",
            Stage::Login,
            "supported mechanisms: SCRAM-SHA-512",
            "`sasl.mechanism`",
        ),
        (
            Code::UnsupportedSASLMechanism,
            "b: Broker: Unsupported SASL mechanism",
            Stage::Login,
            "does not know this way",
            "`sasl.mechanism`",
        ),
        (
            Code::BrokerTransportFailure,
            "b:9092/bootstrap: Disconnected (after 2ms in state APIVERSION_QUERY)",
            Stage::Connect,
            "Disconnected",
            "the broker's log",
        ),
    ];

    #[test]
    fn each_mistake_has_its_stage_its_words_and_its_remedy() {
        for (code, said, stage, words, remedy) in SAID {
            let trouble = Trouble::of(code, said);
            assert_eq!(trouble.complaint, Complaint::Unconnected(stage), "{said}");
            assert!(trouble.reason.contains(words), "{trouble:?}");
            assert!(trouble.remedy().contains(remedy), "{trouble:?}");
            assert!(!trouble.reason.contains("ssl.ca.location"), "{trouble:?}");
        }
        let up = Trouble::of(
            Code::BrokerTransportFailure,
            "b: Disconnected (after 9ms in state UP)",
        );
        assert_eq!(up.complaint, Complaint::Other(Code::BrokerTransportFailure));
    }

    #[test]
    fn why_a_certificate_does_not_hold_is_told_apart_where_it_is_known() {
        let said = "ssl://b:9092/1: SSL handshake failed: certificate verify failed (after 4ms in state SSL_HANDSHAKE)";
        let trouble = Trouble::of(Code::SSL, said);
        assert!(trouble.is_of_certificate());
        let [name, authority] = [true, false].map(|is| trouble.clone().narrowed(is));
        assert!(
            name.reason
                .starts_with("ssl://b:9092/1: the broker's certificate is for another name")
        );
        assert!(authority.reason.contains("no authority that is trusted"));
        assert!(authority.remedy().contains("`tls.ca_file`"));
    }
}
