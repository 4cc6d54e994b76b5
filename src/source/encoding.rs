//! The encodings of a secret whose key is no text: base64 and hex.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::secret_text::{SecretError, plain_text};

/// With its padding and without: both are written.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
pub(super) const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// What a secret's text is to be decoded from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    /// Base64 (RFC 4648), of the standard or the URL's alphabet, padded or not.
    Base64,
    /// Two hex digits for each byte.
    Hex,
}

impl Encoding {
    /// Every encoding, with its name.
    pub const ALL: [(&'static str, Self); 2] = [("base64", Self::Base64), ("hex", Self::Hex)];

    /// The bytes that the text stands for. White space in it does not count: the usual tools break
    /// their lines.
    ///
    /// # Errors
    /// When it is damaged, is another text, or stands for no bytes.
    pub fn decode(self, text: &[u8]) -> Result<Vec<u8>, SecretError> {
        let text: String = plain_text(text)?.split_whitespace().collect();
        let decoded = match self {
            Self::Base64 if text.contains(['-', '_']) => URL_SAFE.decode(&text).ok(),
            Self::Base64 => STANDARD.decode(&text).ok(),
            Self::Hex => hex::decode(&text).ok(),
        };
        match decoded {
            Some(bytes) if bytes.is_empty() => Err(SecretError::Empty),
            Some(bytes) => Ok(bytes),
            None => Err(match self {
                Self::Base64 => SecretError::NotBase64,
                Self::Hex => SecretError::NotHex,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_tools_write_what_is_read() {
        let key = [0xfb, 0xff, 0x00, 0x0a, 0xe2];
        for text in [
            "+/8ACuI=",
            "+/8ACuI",
            "-_8ACuI=",
            "-_8ACuI\n",
            "+/8A\nCuI=\r\n",
        ] {
            let decoded = Encoding::Base64.decode(text.as_bytes());
            assert_eq!(decoded.as_deref(), Ok(&key[..]), "{text}");
        }
        for text in [
            "fbff000ae2",
            "FBFF000AE2\n",
            "fbff00\n0ae2\n",
            "fb ff 00 0a e2",
        ] {
            let decoded = Encoding::Hex.decode(text.as_bytes());
            assert_eq!(decoded.as_deref(), Ok(&key[..]), "{text}");
        }
    }

    #[test]
    fn another_text_is_refused_by_name() {
        for (encoding, text, expected) in [
            (Encoding::Base64, &b"whsec a!"[..], SecretError::NotBase64),
            (Encoding::Base64, b"YWJjZ", SecretError::NotBase64),
            (Encoding::Base64, b"+_8ACuI=", SecretError::NotBase64),
            (Encoding::Base64, b"\"YWJj\"", SecretError::NotBase64),
            (Encoding::Hex, b"0x0a", SecretError::NotHex),
            (Encoding::Hex, b"abc", SecretError::NotHex),
            (Encoding::Hex, b" \n", SecretError::Empty),
            (
                Encoding::Base64,
                b"\xef\xbb\xbfYWJj",
                SecretError::ByteOrderMark,
            ),
            (Encoding::Hex, b"61\0", SecretError::Nul),
            (Encoding::Hex, b"\xff\xfe6\x001\0", SecretError::Utf16),
            (Encoding::Base64, b"\x80\x81", SecretError::NotText),
            // An encoding of nothing.
            (Encoding::Base64, b"====", SecretError::NotBase64),
        ] {
            assert_eq!(encoding.decode(text), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn each_has_the_name_that_a_file_gives_it() {
        for (name, encoding) in Encoding::ALL {
            let read: Result<Encoding, _> = serde_json::from_value(name.into());
            assert_eq!(read.ok(), Some(encoding));
        }
    }
}
