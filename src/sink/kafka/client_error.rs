//! What librdkafka's error callback means to an operator: how far a connection got, what is wrong in
//! plain words, and the remedy. librdkafka says one thing with several codes, and hints at settings
//! that are not ours.
//!
//! The patterns are looked for in the texts of librdkafka 2.12; each tells one cause from another, for
//! `check` and the log.

use rdkafka::types::RDKafkaErrorCode as Code;

use crate::sink::Stage;

/// The kind of an error. Two errors of one kind are one piece of news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientErrorKind {
    /// A connection could not be made, and this is how far it got.
    Connection(Stage),
    /// Anything else.
    Other(Code),
}

impl ClientErrorKind {
    /// librdkafka tells the state of the connection only at the end of the text: "(after 12ms in
    /// state SSL_HANDSHAKE)".
    fn of(code: Code, reason: &str) -> Self {
        let state = reason
            .rsplit_once(" in state ")
            .map_or("", |(_, rest)| rest);
        let within = |name: &str| state.starts_with(name);
        let stage = match code {
            Code::Resolve => Stage::Lookup,
            Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::IllegalSASLState => Stage::Login,
            Code::SSL => Stage::Tls,
            _ if within("SSL_HANDSHAKE") => Stage::Tls,
            // With TLS 1.3 a broker refuses a client's certificate only when the client believes to
            // be through.
            _ if within("APIVERSION_QUERY") && is_over_tls(reason) => Stage::Tls,
            _ if reason.contains(TLS_ALERT) => Stage::Tls,
            _ if within("AUTH") => Stage::Login,
            _ if within("CONNECT") || within("APIVERSION_QUERY") => Stage::Connect,
            code => return Self::Other(code),
        };
        Self::Connection(stage)
    }
}

/// What librdkafka makes of a TLS alert when it speaks no TLS itself.
const TLS_ALERT: &str = "Invalid response size";

/// An error of librdkafka, in plain words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClientError {
    pub kind: ClientErrorKind,
    /// It begins with the broker that it is about.
    pub reason: String,
    cause: Cause,
}

/// What is wrong, as far as it has a remedy of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    BrokerName,
    Port,
    TlsOnPlainPort,
    PlainOnTlsPort,
    /// The broker's certificate, for one of the two reasons that follow.
    BrokerCertificate,
    NameInCertificate,
    Authority,
    ClientCertificate,
    Credentials,
    Mechanism,
    Unknown,
}

impl ClientError {
    pub(super) fn of(code: Code, reason: &str) -> Self {
        let kind = ClientErrorKind::of(code, reason);
        let cause = Cause::of(kind, reason);
        let (broker, rest) = reason.split_once(": ").unwrap_or(("", reason));
        let reason = match cause.description() {
            Some(what) if cause.is_misnamed() => format!("{broker}: {what}"),
            Some(what) => format!("{broker}: {what}: {rest}"),
            None => reason.to_owned(),
        };
        Self {
            kind,
            reason,
            cause,
        }
    }

    /// Whether the broker's certificate is not accepted, which may have two reasons.
    pub(super) fn is_broker_certificate(&self) -> bool {
        self.cause == Cause::BrokerCertificate
    }

    /// Whether the broker refused the login, so that TLS was through.
    pub(super) fn is_login(&self) -> bool {
        self.kind == ClientErrorKind::Connection(Stage::Login)
    }

    /// The same error of a broker's certificate with its reason: the name in it alone, or all else.
    pub(super) fn narrowed(self, is_name: bool) -> Self {
        let cause = if is_name {
            Cause::NameInCertificate
        } else {
            Cause::Authority
        };
        let (broker, _) = self.reason.split_once(": ").unwrap_or_default();
        let reason = format!("{broker}: {}", cause.description().unwrap_or_default());
        Self {
            reason,
            cause,
            ..self
        }
    }

    /// What to do about it.
    pub(super) fn remedy(&self) -> &'static str {
        match self.cause {
            Cause::BrokerName => {
                "correct the name in `brokers`, or in the broker's `advertised.listeners`, or have this machine's resolver know it"
            }
            Cause::Port => {
                "correct the port in `brokers`, or in the broker's `advertised.listeners`; start the broker; let the connection through the firewall"
            }
            Cause::TlsOnPlainPort => {
                "take the table `tls` out, or name the port of a listener with TLS"
            }
            Cause::PlainOnTlsPort => {
                "add a table `tls`, or name the port of a listener without TLS"
            }
            Cause::BrokerCertificate => {
                "have `tls.ca_file` name the authority that vouches for the broker (without it the system's count), `brokers` a name that stands in the broker's certificate, and renew the certificate where it has expired"
            }
            Cause::NameInCertificate => {
                "name the broker, in `brokers` and in its `advertised.listeners`, as its certificate does, or have a certificate made for that name"
            }
            Cause::Authority => {
                "have `tls.ca_file` name the authority that vouches for the broker (without it the system's count), or renew the broker's certificate"
            }
            Cause::ClientCertificate => {
                "set `tls.client_certificate_file` and `tls.client_key_file` to a certificate that the broker's authorities vouch for"
            }
            Cause::Credentials => "correct `sasl.username` and the password, or the token",
            Cause::Mechanism => {
                "set `sasl.mechanism` to one that the broker has; `sasl.enabled.mechanisms` of the broker lists them"
            }
            Cause::Unknown => {
                "look into the broker's log: it may not take the protocol that the port is spoken to with (`tls`, `sasl`)"
            }
        }
    }
}

impl Cause {
    fn of(kind: ClientErrorKind, reason: &str) -> Self {
        let ClientErrorKind::Connection(stage) = kind else {
            return Self::Unknown;
        };
        let says = |what: &str| reason.contains(what);
        match stage {
            Stage::Lookup => Self::BrokerName,
            Stage::Tls if says("certificate verify failed") => Self::BrokerCertificate,
            // A listener without TLS closes the connection, for which there are several texts, or
            // answers what is no handshake.
            Stage::Tls if says("Disconnected") && says("in state SSL_HANDSHAKE") => {
                Self::TlsOnPlainPort
            }
            Stage::Tls if says("wrong version number") => Self::TlsOnPlainPort,
            Stage::Tls if says(TLS_ALERT) && !is_over_tls(reason) => Self::PlainOnTlsPort,
            Stage::Connect if says("closed by peer") && says("in state APIVERSION_QUERY") => {
                Self::PlainOnTlsPort
            }
            Stage::Tls if says("in state APIVERSION_QUERY") => Self::ClientCertificate,
            Stage::Login
                if says("mechanism handshake failed") || says("Unsupported SASL mechanism") =>
            {
                Self::Mechanism
            }
            Stage::Login => Self::Credentials,
            Stage::Connect if says("in state CONNECT") => Self::Port,
            _ => Self::Unknown,
        }
    }

    /// librdkafka does not tell why a certificate is not accepted, and advises to look for the
    /// authority's whatever the reason: an operator whose broker's certificate has expired would look
    /// in the wrong place.
    fn description(self) -> Option<&'static str> {
        match self {
            Self::BrokerCertificate => Some(
                "the broker's certificate does not hold: it has expired, is for another name, or no authority in `tls.ca_file` vouches for it",
            ),
            Self::NameInCertificate => Some("the broker's certificate is for another name"),
            Self::Authority => Some(
                "no authority that is trusted vouches for the broker's certificate, or it has expired",
            ),
            Self::ClientCertificate => {
                Some("the broker does not take the client certificate, or wants one")
            }
            Self::TlsOnPlainPort => Some("no TLS on this port, as it seems"),
            Self::PlainOnTlsPort => Some("the port wants TLS, as it seems"),
            Self::Mechanism => Some("the broker does not know this way to log in"),
            Self::BrokerName | Self::Port | Self::Credentials | Self::Unknown => None,
        }
    }

    /// Whether librdkafka's own words name settings that are not ours.
    fn is_misnamed(self) -> bool {
        matches!(
            self,
            Self::BrokerCertificate | Self::TlsOnPlainPort | Self::PlainOnTlsPort
        )
    }
}

/// What a log line says of a connection that the broker closed at the first request, as where it
/// expects TLS: the error callback is not called for that. It begins with the broker; in the line, the
/// client's thread stands before it.
pub(super) fn closed_at_first_request(line: &str) -> Option<&str> {
    let reason = line.split_once("]: ").map_or(line, |(_, reason)| reason);
    let is_closed = reason.contains("Disconnected") && reason.contains("in state APIVERSION_QUERY");
    (is_closed && !is_over_tls(reason)).then_some(reason)
}

/// librdkafka begins with the broker: "sasl_ssl://kafka-1:9093/bootstrap: …".
fn is_over_tls(reason: &str) -> bool {
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
            Code::BrokerTransportFailure,
            "ssl://b:9092/bootstrap: Disconnected: SSL connection closed by peer (after 2ms in state SSL_HANDSHAKE)",
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
            "b:9093/bootstrap: Disconnected: connection closed by peer (after 5ms in state APIVERSION_QUERY)",
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
            let error = ClientError::of(code, said);
            assert_eq!(error.kind, ClientErrorKind::Connection(stage), "{said}");
            assert!(error.reason.contains(words), "{error:?}");
            assert!(error.remedy().contains(remedy), "{error:?}");
            assert!(!error.reason.contains("ssl.ca.location"), "{error:?}");
        }
        let up = ClientError::of(
            Code::BrokerTransportFailure,
            "b: Disconnected (after 9ms in state UP)",
        );
        assert_eq!(
            up.kind,
            ClientErrorKind::Other(Code::BrokerTransportFailure)
        );
    }

    #[test]
    fn why_a_certificate_does_not_hold_is_told_apart_where_it_is_known() {
        let said = "ssl://b:9092/1: SSL handshake failed: certificate verify failed (after 4ms in state SSL_HANDSHAKE)";
        let error = ClientError::of(Code::SSL, said);
        assert!(error.is_broker_certificate());
        let [name, authority] = [true, false].map(|is| error.clone().narrowed(is));
        assert!(
            name.reason
                .starts_with("ssl://b:9092/1: the broker's certificate is for another name")
        );
        assert!(authority.reason.contains("no authority that is trusted"));
        assert!(authority.remedy().contains("`tls.ca_file`"));
    }
}
