//! The methods that a source takes, for the header `Allow`.

use std::fmt;

use crate::source::Handshake;

/// The methods of handshakes besides POST, in the order in which they are named.
const OF_HANDSHAKES: [&str; 3] = ["GET", "HEAD", "OPTIONS"];

/// The methods that a source takes: POST, and those of its handshakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AllowedMethods([bool; OF_HANDSHAKES.len()]);

impl AllowedMethods {
    /// POST alone.
    pub(super) const POST: Self = Self([false; OF_HANDSHAKES.len()]);

    /// POST, and the methods of these.
    pub(super) fn of(handshakes: &[Handshake]) -> Self {
        let is_taken = |method| handshakes.iter().any(|it| it.method == method);
        Self(OF_HANDSHAKES.map(is_taken))
    }
}

impl fmt::Display for AllowedMethods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("POST")?;
        for (method, is_taken) in OF_HANDSHAKES.into_iter().zip(self.0) {
            if is_taken {
                write!(f, ", {method}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::built_in;

    #[test]
    fn post_is_always_allowed_and_the_methods_of_handshakes_besides() {
        for (name, expected) in [
            ("onecodex", "POST"),
            ("slack", "POST"),
            ("ms_graph", "POST"),
            ("okta", "POST, GET"),
            ("trello", "POST, HEAD"),
        ] {
            let provider = built_in(name).expect(name);
            let allowed = AllowedMethods::of(&provider.handshakes);
            assert_eq!(allowed.to_string(), expected, "{name}");
        }
        assert_eq!(AllowedMethods::POST.to_string(), "POST");
    }
}
