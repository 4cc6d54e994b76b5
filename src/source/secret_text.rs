//! The text of a secret as it lies in a file or a variable: what editors, shells and templates do to
//! it on its way there is found here, before it costs every delivery its proof.
//!
//! What no secret is meant to have is refused ([`SecretError`]); what one may be meant to have, and
//! most often has not, is only doubted ([`SecretDoubt`]). Neither repeats anything of the text.

/// Why there is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Nothing but white space: everybody could sign with it.
    #[error("the secret is empty")]
    Empty,
    /// An editor of another system has saved it.
    #[error("the secret is UTF-16 text, which has a zero byte in each of its characters")]
    Utf16,
    /// A key that is no text, or text of another character set.
    #[error("the secret is no UTF-8 text")]
    NotText,
    /// An editor has put it before the text.
    #[error("the secret begins with a byte-order mark, which no editor shows")]
    ByteOrderMark,
    /// A C string's end, or every other byte of UTF-16.
    #[error("the secret has a NUL byte in it")]
    Nul,
    /// Two secrets, or a secret with a comment.
    #[error("the secret has several lines")]
    SeveralLines,
    /// A template's place, which nobody has filled in.
    #[error(
        "the secret is a placeholder, such as `${{NAME}}`, that nothing was put in the place of"
    )]
    Placeholder,
    /// Another text than its encoding says.
    #[error("the secret is no base64 (RFC 4648), as its provider or its `encoding` says it is")]
    NotBase64,
    /// Another text than its encoding says.
    #[error(
        "the secret is no hex, two digits for each byte, as its provider or its `encoding` says it is"
    )]
    NotHex,
    /// No public key of the provider's algorithm.
    #[error("this is no public key of the provider's algorithm")]
    NotPublicKey,
    /// What a sender signs with is something else.
    #[error("this is no private key of the provider's algorithm, as PKCS #8 in PEM")]
    NotPrivateKey,
    /// The other half of the pair: whoever reads it can sign.
    #[error("this is a private key, which the sender alone should have")]
    PrivateKey,
}

impl SecretError {
    /// What to do, where it does not depend on what the secret is for.
    #[must_use]
    pub fn remedy(self) -> Option<&'static str> {
        match self {
            Self::Empty => None,
            Self::Utf16 | Self::ByteOrderMark | Self::Nul => {
                Some("write it anew as UTF-8 without a byte-order mark")
            }
            Self::NotText => Some(
                "save a text as UTF-8; write a key of other bytes as base64 or hex, and say so: { file = \"…\", encoding = \"base64\" }",
            ),
            Self::SeveralLines => {
                Some("leave the one line that is the secret; two secrets need two places")
            }
            Self::Placeholder => Some("have the value put there before the bridge reads it"),
            Self::NotBase64 => Some(
                "write the key as the sender shows it; where the text itself is the secret, take `encoding` out, or name another provider",
            ),
            Self::NotHex => Some(
                "write the key as the sender shows it; where the text itself is the secret, take `encoding` out, or name another provider",
            ),
            Self::NotPublicKey => Some(
                "give the public key that the sender shows, in the form that its provider table says (`key`): PEM with BEGIN PUBLIC KEY, or its base64 or hex",
            ),
            Self::NotPrivateKey => Some("make one with openssl genpkey, which writes that form"),
            Self::PrivateKey => Some("give the public key that belongs to it"),
        }
    }
}

/// What looks like a mistake in a secret, and may be meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretDoubt {
    /// A shell would have taken them away; a file and an env file of Docker's keep them.
    #[error("the secret stands in quotes, which count as a part of it")]
    Quoted,
    /// A line of an env file.
    #[error("the secret reads NAME=…, and the name counts as a part of it")]
    Assigned,
    /// A template's place within it.
    #[error("the secret has a placeholder such as `${{NAME}}` in it, which counts as a part of it")]
    Placeholder,
    /// A control character, a zero-width space, another byte-order mark.
    #[error("the secret has a character in it that nobody sees, and that counts as a part of it")]
    Invisible,
}

/// How a template marks what is to be put in: of shells and the bridge's own file, of Kubernetes, of
/// Helm, Ansible and Jinja.
const PLACEHOLDERS: [(&str, &str); 3] = [("${", "}"), ("$(", ")"), ("{{", "}}")];
/// Quotes as shells, and as word processors write them.
const QUOTES: [(char, char); 6] = [
    ('"', '"'),
    ('\'', '\''),
    ('`', '`'),
    ('“', '”'),
    ('‘', '’'),
    ('«', '»'),
];
const BYTE_ORDER_MARK: char = '\u{feff}';

/// The text, without the white space around it (a file's last newline).
///
/// # Errors
/// When there is none, or it is damaged.
pub fn secret_text(bytes: &[u8]) -> Result<&str, SecretError> {
    let text = plain_text(bytes)?.trim();
    if text.contains(['\n', '\r']) {
        return Err(SecretError::SeveralLines);
    }
    let is_placeholder = |(opening, closing): &(&str, &str)| {
        let inner = text.strip_prefix(opening);
        let inner = inner.and_then(|inner| inner.strip_suffix(closing));
        inner.is_some_and(|inner| !inner.contains(closing))
    };
    if PLACEHOLDERS.iter().any(is_placeholder) {
        return Err(SecretError::Placeholder);
    }
    Ok(text)
}

/// The text of one or several lines, with the white space around it.
///
/// # Errors
/// As for [`secret_text`].
pub(super) fn plain_text(bytes: &[u8]) -> Result<&str, SecretError> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(SecretError::Utf16);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| SecretError::NotText)?;
    let visible = text.trim();
    if visible.is_empty() || visible == "\u{feff}" {
        Err(SecretError::Empty)
    } else if visible.starts_with(BYTE_ORDER_MARK) {
        Err(SecretError::ByteOrderMark)
    } else if text.contains('\0') {
        Err(SecretError::Nul)
    } else {
        Ok(text)
    }
}

/// What a person should be told of a text that [`secret_text`] takes.
#[must_use]
pub fn doubt(text: &str) -> Option<SecretDoubt> {
    if without_quotes(text).is_some() {
        return Some(SecretDoubt::Quoted);
    }
    if without_name(text).is_some() {
        return Some(SecretDoubt::Assigned);
    }
    let has = |(opening, closing): &(&str, &str)| {
        let found = text.split_once(opening);
        found.is_some_and(|(_, rest)| rest.contains(closing))
    };
    if PLACEHOLDERS.iter().any(has) {
        return Some(SecretDoubt::Placeholder);
    }
    text.contains(is_invisible)
        .then_some(SecretDoubt::Invisible)
}

/// Controls, and characters that have no width: they come along when text is copied out of a page.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | BYTE_ORDER_MARK)
}

/// What stands in quotes, where all of it does.
#[must_use]
pub fn without_quotes(text: &str) -> Option<&str> {
    let inner = |(opening, closing): &(char, char)| {
        let inner = text.strip_prefix(*opening)?;
        inner.strip_suffix(*closing)
    };
    QUOTES.iter().find_map(inner)
}

/// What stands behind `NAME=`, where the name is that of a variable. Base64 may end in `=`, but
/// nothing other than another `=` follows there.
#[must_use]
pub fn without_name(text: &str) -> Option<&str> {
    let (name, value) = text.split_once('=')?;
    let name = name.strip_prefix("export ").unwrap_or(name);
    let is_name = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    let begins = name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    (begins && name.bytes().all(is_name) && !value.trim_matches('=').is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_secret_is_meant_to_have_is_refused_by_name() {
        for (bytes, expected) in [
            (&b""[..], SecretError::Empty),
            (b" \r\n", SecretError::Empty),
            (b"\xef\xbb\xbf\n", SecretError::Empty),
            (b"\xef\xbb\xbfwhsec_a", SecretError::ByteOrderMark),
            (b"\xff\xfew\0h\0", SecretError::Utf16),
            (b"\xfe\xff\0w\0h", SecretError::Utf16),
            (b"w\0h\0s\0", SecretError::Nul),
            (b"whsec_a\0\n", SecretError::Nul),
            (b"\x80\x81\x82", SecretError::NotText),
            (b"whsec_a\nwhsec_b\n", SecretError::SeveralLines),
            (b"whsec_a\r\n\r\nwhsec_b", SecretError::SeveralLines),
            (b"whsec_a\rwhsec_b", SecretError::SeveralLines),
            (b"${ONECODEX_SECRET}\n", SecretError::Placeholder),
            (b"${ONECODEX_SECRET:-}", SecretError::Placeholder),
            (b"$(ONECODEX_SECRET)", SecretError::Placeholder),
            (b"{{ onecodex_secret }}", SecretError::Placeholder),
        ] {
            assert_eq!(secret_text(bytes), Err(expected), "{bytes:?}");
        }
    }

    #[test]
    fn white_space_around_it_does_not_count_and_all_else_does() {
        for text in [
            "whsec_a",
            "with a space",
            "It's a \"secret\" to 'everybody'",
            "$2y$10$abcdefgh",
            "{a}",
            "Zoë-🧬",
            "c2VjcmV0IQ==",
        ] {
            for around in ["", "\n", "\r\n", " \t"] {
                let bytes = format!("{around}{text}{around}").into_bytes();
                assert_eq!(secret_text(&bytes), Ok(text));
            }
            assert_eq!(doubt(text), None, "{text}");
        }
    }

    #[test]
    fn what_may_be_meant_is_doubted_by_name() {
        for (text, expected) in [
            ("\"whsec_a\"", SecretDoubt::Quoted),
            ("'whsec_a'", SecretDoubt::Quoted),
            ("“whsec_a”", SecretDoubt::Quoted),
            ("ONECODEX_SECRET=whsec_a", SecretDoubt::Assigned),
            ("export SECRET='whsec_a'", SecretDoubt::Assigned),
            ("whsec_${NAME}", SecretDoubt::Placeholder),
            ("${A}${B}", SecretDoubt::Placeholder),
            ("whsec_{{ a }}_b", SecretDoubt::Placeholder),
            ("whsec_\u{200b}a", SecretDoubt::Invisible),
            ("whsec_a\u{feff}", SecretDoubt::Invisible),
            ("whsec_\u{1b}[0m", SecretDoubt::Invisible),
        ] {
            assert_eq!(secret_text(text.as_bytes()), Ok(text));
            assert_eq!(doubt(text), Some(expected), "{text}");
        }
        for meant in ["\"", "SECRET=", "A==", "9A=b", "a=b", "}${"] {
            assert_eq!(doubt(meant), None, "{meant}");
        }
    }

    #[test]
    fn no_message_repeats_the_secret() {
        let text = "whsec_a\nwhsec_b";
        let error = secret_text(text.as_bytes()).expect_err("two lines");
        assert!(!error.to_string().contains("whsec"), "{error}");
    }
}
