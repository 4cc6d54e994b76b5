//! What usually is behind a request that is not accepted, by the reason of its answer: for operators,
//! never for the sender.

/// What is behind a reason, and what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsualCause {
    /// What usually is the matter.
    pub cause: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

/// What usually is behind the reason of this name; none where there is no such reason.
#[must_use]
pub fn usual_cause(reason: &str) -> Option<UsualCause> {
    let (cause, remedy) = of_signature(reason)
        .or_else(|| of_request(reason))
        .or_else(|| of_connection(reason))
        .or_else(|| of_bridge(reason))?;
    Some(UsualCause { cause, remedy })
}

type Texts = (&'static str, &'static str);

fn of_signature(reason: &str) -> Option<Texts> {
    Some(match reason {
        "signature_mismatch" => (
            "The secret here is not the sender's, or a proxy has changed the body. It may also be a stranger.",
            "Compare the secret with the provider's; `hookferry explain` tells what a delivery does verify with.",
        ),
        "signature_missing" => (
            "A browser, a scanner or a test without a signature; or a webhook that has no secret at the provider, or another provider's.",
            "Give the webhook its secret at the provider, and see that the source's `provider` is the right one.",
        ),
        "signature_repeated" => (
            "A proxy adds a header that the sender has written already.",
            "Look at the proxy: each header of the signature must come once.",
        ),
        "signature_too_long" => (
            "Something that is not the provider writes the header of the signature.",
            "Nothing, where the provider's own deliveries are accepted.",
        ),
        "signature_malformed" => (
            "The header is not as this provider writes it: another provider, another version of its signatures, or a proxy that rewrites it.",
            "See that the source's `provider` is the right one; `hookferry explain --header` names what is wrong with it.",
        ),
        "signed_header_missing" => (
            "A proxy does not pass on a header that the signature covers.",
            "Let the proxy pass on every header; `hookferry explain` names those that are covered.",
        ),
        "timestamp_malformed" => (
            "The signed time is missing, or in another unit than this provider's.",
            "See that the source's `provider` is the right one.",
        ),
        "timestamp_stale" => (
            "A late retry, a replay, or a clock that is off.",
            "Compare this machine's clock with the provider's; `tolerance` and the time for which ids are remembered say how late one may come.",
        ),
        "timestamp_future" => (
            "This machine's clock is behind, or the sender's is ahead.",
            "Let the clock be set by NTP.",
        ),
        _ => return None,
    })
}

fn of_request(reason: &str) -> Option<Texts> {
    Some(match reason {
        "unknown_source" => (
            "A scanner; or a webhook whose URL at the provider names a source that is not configured.",
            "Compare the path of the URL, `/webhooks/NAME`, with the configuration's `[source.NAME]`.",
        ),
        "method_not_allowed" => (
            "A browser or a monitor; or a proxy's redirect that has turned a POST into a GET.",
            "Give the provider the URL that needs no redirect; let load balancers ask `health_path`.",
        ),
        "handshake_mismatch" => (
            "The provider verifies the webhook with another text than the source's `verify`.",
            "Give both the same text.",
        ),
        "handshake_refused" => (
            "A handshake that wants back what is too long or not printable: not the provider's.",
            "Nothing, where the provider's own handshake is answered.",
        ),
        "content_encoding" => (
            "The sender, or a proxy, compresses the body.",
            "Switch the compression off: decoding would change the bytes that were signed.",
        ),
        "body_too_large" => (
            "A body beyond `max_body`.",
            "Raise `max_body` of the source, where such events are wanted.",
        ),
        "body_timeout" => (
            "A slow network or proxy, or a client that holds connections.",
            "Look at the way from the sender; `body_timeout` bounds it.",
        ),
        "body_truncated" => (
            "The sender or a proxy hung up in the middle of the body.",
            "Compare the proxy's timeouts and limits on bodies with the sender's.",
        ),
        "address_not_allowed" => (
            "The address is not in `allow`: a stranger, or a provider that sends from new addresses.",
            "Compare the address with what the provider publishes; behind a proxy, `client_address` must name its header.",
        ),
        "address_rate_limited" => (
            "One address sends more than its limit; behind a proxy all senders may count as one.",
            "Let `client_address` name the proxy's header, or raise the limit.",
        ),
        "rate_limited" => (
            "The source sends more than its `rate_limit`.",
            "Raise it, where so much is wanted: the sender repeats what was turned away.",
        ),
        _ => return None,
    })
}

fn of_connection(reason: &str) -> Option<Texts> {
    Some(match reason {
        "head_malformed" => (
            "Bytes that are no HTTP/1.1: a scanner, or TLS sent to a port without it.",
            "See that the URL's scheme, http or https, is the listener's.",
        ),
        "head_too_large" => (
            "A head beyond the limit: a scanner, or a proxy that adds very long headers.",
            "Look at what the proxy adds.",
        ),
        "head_timeout" | "head_truncated" => (
            "A scanner or a monitor that connects and says nothing whole.",
            "Nothing, where the provider's own deliveries are accepted.",
        ),
        "peer_untrusted" => (
            "A connection past the load balancer, where only its own are taken.",
            "Name the load balancer's addresses in `trusted_proxies`.",
        ),
        "proxy_header_malformed" | "proxy_header_timeout" | "proxy_header_truncated" => (
            "The load balancer does not send the PROXY header that `proxy_protocol` asks for.",
            "Switch the PROXY protocol on at the load balancer, or off here.",
        ),
        _ => return None,
    })
}

fn of_bridge(reason: &str) -> Option<Texts> {
    Some(match reason {
        "spool_full" => (
            "The spool is at its bound, most often because a sink has been away for long.",
            "Bring the sink back, or raise `max_size` and `max_events`. Senders repeat what was refused.",
        ),
        "disk_full" => (
            "The file system of the spool is full.",
            "Free space on it, outside the spool's folder.",
        ),
        "spool_unwritable" | "spool_unreadable" => (
            "A write, a sync or a read of the spool's disk has failed.",
            "Look at the log and at the disk.",
        ),
        "overloaded" => (
            "More requests at once than may be answered, or a disk that is too slow for them.",
            "Look at the rate and at the duration of commits; senders repeat what was refused.",
        ),
        "draining" => (
            "The bridge was being stopped.",
            "Nothing: senders repeat what was refused.",
        ),
        "not_in_time" => (
            "With `acknowledge = \"delivered\"`, a sink did not confirm within `acknowledge_timeout`.",
            "Look at the sink.",
        ),
        "not_kept" => (
            "A sink refuses the event for good, and the spool is in memory.",
            "Look at the sink's refusals in the log.",
        ),
        "internal" => (
            "A bug of the bridge.",
            "Look for the panic in the log, and report it.",
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::{ConnectionFailure, RequestProblem};
    use crate::pipeline::Refusal;
    use crate::source::Rejection;

    #[test]
    fn every_reason_has_a_usual_cause() {
        let reasons = RequestProblem::REJECTIONS.map(RequestProblem::reason);
        let reasons = reasons
            .into_iter()
            .chain(Rejection::ALL.map(Rejection::reason))
            .chain(ConnectionFailure::ALL.map(ConnectionFailure::reason))
            .chain(Refusal::ALL.map(Refusal::reason))
            .chain([
                "spool_unreadable",
                "handshake_mismatch",
                "handshake_refused",
            ]);
        let mut seen = 0;
        for reason in reasons {
            let found = usual_cause(reason);
            assert!(
                found.is_some_and(|it| !it.cause.is_empty() && !it.remedy.is_empty()),
                "{reason}"
            );
            seen += 1;
        }
        assert!(seen > 30, "{seen}");
        assert_eq!(usual_cause("no_such_reason"), None);
    }
}
