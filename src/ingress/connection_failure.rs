//! The failures of a connection whose bytes never became a request.

use super::path::UNKNOWN_SOURCE;
use crate::metrics::Metrics;

/// Why bytes did not become a request. The reasons are a closed set, because they are metric labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionFailure {
    /// No HTTP, or HTTP that contradicts itself.
    Malformed,
    /// A head over the server's limit.
    TooLarge,
    /// A head that did not come in time.
    TooSlow,
    /// A sender that hung up in the middle of a head.
    Abandoned,
    /// A connection from elsewhere than a trusted proxy, where only those may connect.
    Untrusted,
    /// No PROXY header from a trusted proxy, or none that makes sense.
    ProxyMalformed,
    /// A PROXY header that did not come in time.
    ProxyTooSlow,
    /// A PROXY header that ended early.
    ProxyTruncated,
}

impl ConnectionFailure {
    /// Every reason, so that each has a series from the first scrape on.
    pub const ALL: [Self; 8] = [
        Self::Malformed,
        Self::TooLarge,
        Self::TooSlow,
        Self::Abandoned,
        Self::Untrusted,
        Self::ProxyMalformed,
        Self::ProxyTooSlow,
        Self::ProxyTruncated,
    ];

    /// The stable name of the reason.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "head_malformed",
            Self::TooLarge => "head_too_large",
            Self::TooSlow => "head_timeout",
            Self::Abandoned => "head_truncated",
            Self::Untrusted => "peer_untrusted",
            Self::ProxyMalformed => "proxy_header_malformed",
            Self::ProxyTooSlow => "proxy_header_timeout",
            Self::ProxyTruncated => "proxy_header_truncated",
        }
    }

    /// Counts it: nobody can be told whose delivery it would have been.
    pub(super) fn count(self, metrics: &Metrics) {
        metrics
            .deliveries_rejected_total
            .with_label_values(&[UNKNOWN_SOURCE, self.reason()])
            .inc();
    }

    /// What an answer that the server gave by itself says, and the status it has.
    ///
    /// The server's answers have no body; the handler's always have one, except to HEAD, which it
    /// answers with none of these statuses.
    pub(super) fn in_answer(bytes: &[u8]) -> Option<(Self, &str)> {
        const START: &[u8] = b"HTTP/1.1 ";
        if !bytes.ends_with(b"\r\n\r\n") {
            return None;
        }
        let last = bytes.windows(START.len()).rposition(|part| part == START)?;
        let code = bytes.get(last + START.len()..)?.get(..3)?;
        let failure = match code {
            b"400" => Self::Malformed,
            b"431" => Self::TooLarge,
            _ => return None,
        };
        Some((failure, std::str::from_utf8(code).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_servers_own_answers_are_taken_for_its_own() {
        let said =
            |text: &str| ConnectionFailure::in_answer(text.as_bytes()).map(|(failure, _)| failure);
        let bare = |status: &str| format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
        assert_eq!(
            said(&bare("400 Bad Request")),
            Some(ConnectionFailure::Malformed)
        );
        assert_eq!(
            said(&bare("431 Request Header Fields Too Large")),
            Some(ConnectionFailure::TooLarge)
        );
        // The answer to the request before may share the write.
        let both = format!("HTTP/1.1 200 OK\r\n\r\n{{}}{}", bare("400 Bad Request"));
        assert_eq!(said(&both), Some(ConnectionFailure::Malformed));
        for text in [
            "",
            "\r\n\r\n",
            "HTTP/1.1 4\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 405 Method Not Allowed\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\n\r\n{\"reason\":\"signature_missing\"}",
        ] {
            assert_eq!(said(text), None, "{text:?}");
        }
    }
}
