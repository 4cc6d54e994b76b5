//! The token that operators show, as OAuth 2.0 carries one (RFC 6750, section 2.1).

use std::fmt;
use std::sync::Arc;

use hmac::digest::CtOutput;
use sha2::{Digest as _, Sha256};

/// A shorter one can be found by trying.
const LEAST_BYTES: usize = 16;

/// Why a text is no token. The text is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It could be guessed.
    #[error("the token is shorter than {LEAST_BYTES} characters, so it can be guessed")]
    Guessable,
    /// It could not be sent.
    #[error("the token has characters that no header can hold")]
    Unsendable,
}

/// A token. It never prints.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken(Arc<str>);

impl AdminToken {
    /// Takes the token's text: at least 16 visible ASCII characters.
    ///
    /// # Errors
    /// When it is shorter, or has others.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Unsendable);
        }
        if text.len() < LEAST_BYTES {
            return Err(TokenError::Guessable);
        }
        Ok(Self(text.into()))
    }

    /// Whether a header `Authorization` with this value shows it. How long that takes says nothing of
    /// the token: digests are compared, in constant time.
    pub(super) fn is_shown_by(&self, authorization: &str) -> bool {
        let digest = |text: &str| CtOutput::<Sha256>::new(Sha256::digest(text));
        authorization
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .is_some_and(|(_, shown)| digest(shown.trim()) == digest(&self.0))
    }

    /// Its bytes. A visible call: they must not be printed.
    pub(super) fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The value of the header `Authorization`. A visible call: it must not be printed.
    #[must_use]
    pub fn expose_as_header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_the_token() {
        let token = AdminToken::parse("0123456789abcdef").expect("long enough");
        for (header, shown) in [
            ("Bearer 0123456789abcdef", true),
            ("bearer  0123456789abcdef ", true),
            ("Bearer 0123456789abcdeF", false),
            ("Bearer 0123456789abcde", false),
            ("Bearer 0123456789abcdef0", false),
            ("Bearer", false),
            ("Bearer ", false),
            ("Basic 0123456789abcdef", false),
            ("0123456789abcdef", false),
            ("", false),
        ] {
            assert_eq!(token.is_shown_by(header), shown, "{header:?}");
        }
        assert!(token.is_shown_by(&token.expose_as_header()));
    }

    #[test]
    fn what_could_be_guessed_or_not_be_sent_is_refused_and_nothing_is_printed() {
        let error = |text| AdminToken::parse(text).err();
        assert_eq!(error("0123456789abcde"), Some(TokenError::Guessable));
        assert_eq!(error(""), Some(TokenError::Guessable));
        for text in [
            "0123456789 abcdef",
            "0123456789abcdef\u{e9}",
            "0123456789abcdef\n",
        ] {
            assert_eq!(error(text), Some(TokenError::Unsendable), "{text:?}");
        }
        let token = AdminToken::parse("0123456789abcdef").expect("long enough");
        assert_eq!(format!("{token:?}"), "[redacted]");
    }
}
