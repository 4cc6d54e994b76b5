//! The W3C trace context (Trace Context Level 1, section 3.2): passed through where the sender
//! brought a valid one, started here where not.

use serde::{Deserialize, Serialize};

/// A valid `traceparent` value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TraceParent(String);

impl TraceParent {
    /// The sender's context where it is valid, else a new, unsampled one.
    #[must_use]
    pub fn continue_or_start(received: Option<&str>) -> Self {
        match received {
            Some(text) if is_valid(text) => Self(text.to_owned()),
            _ => Self::start(),
        }
    }

    fn start() -> Self {
        let mut random = [0; 24];
        if getrandom::fill(&mut random).is_err() {
            // Only the correlation of a trace is at stake, and all zero would be invalid.
            random = [1; 24];
        }
        let (trace, parent) = random.split_at(16);
        Self(format!(
            "00-{}-{}-00",
            hex::encode(trace),
            hex::encode(parent)
        ))
    }

    /// The header's value.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Version 00: four fields of lower-case hex, neither id all zero.
fn is_valid(text: &str) -> bool {
    let fields: Vec<&str> = text.split('-').collect();
    let [version, trace, parent, flags] = fields[..] else {
        return false;
    };
    version == "00"
        && is_hex(trace, 32)
        && is_hex(parent, 16)
        && is_hex(flags, 2)
        && !is_zero(trace)
        && !is_zero(parent)
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_zero(text: &str) -> bool {
    text.bytes().all(|b| b == b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_valid_context_passes_through() {
        assert_eq!(TraceParent::continue_or_start(Some(VALID)).as_str(), VALID);
    }

    #[test]
    fn anything_else_starts_a_valid_one() {
        let zero = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        for received in [
            None,
            Some(""),
            Some("x"),
            Some(&VALID[1..]),
            Some(&*VALID.to_uppercase()),
            Some(zero),
        ] {
            let started = TraceParent::continue_or_start(received);
            assert!(is_valid(started.as_str()), "{started:?}");
            assert_ne!(Some(started.as_str()), received);
        }
    }
}
