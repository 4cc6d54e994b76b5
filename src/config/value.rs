//! The values a configuration file writes as text: spans of time, sizes, and references to secrets.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::problem::ConfigProblems;
use crate::source::{Encoding, Scheme, Secret, SecretError, SecretForm, doubt, secret_text};

/// A span of time such as `"250ms"`, `"10s"`, `"24h"` or `"30d"`, of at least so many milliseconds.
/// Where a key names no least it is more than nothing: a guard that lasts no time is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeSpan<const LEAST_MS: u64 = 1>(pub(super) Duration);

impl<const LEAST_MS: u64> TimeSpan<LEAST_MS> {
    fn least() -> humantime::FormattedDuration {
        humantime::format_duration(Duration::from_millis(LEAST_MS))
    }
}

impl<'de, const LEAST_MS: u64> Deserialize<'de> for TimeSpan<LEAST_MS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let error = |_| {
            D::Error::custom(format!(
                "{text:?} is not a span of time such as \"250ms\", \"10s\" or \"24h\""
            ))
        };
        let span = humantime::parse_duration(&text).map_err(error)?;
        if span < Duration::from_millis(LEAST_MS) {
            return Err(too_little(&text, Self::least()));
        }
        Ok(Self(span))
    }
}

impl<const LEAST_MS: u64> JsonSchema for TimeSpan<LEAST_MS> {
    fn schema_name() -> Cow<'static, str> {
        format!("SpanOfAtLeast{}", Self::least()).into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let description = format!("a span of time, at least {}", Self::least());
        json_schema!({ "type": "string", "description": description, "examples": ["250ms", "10s", "24h", "30d"] })
    }
}

/// The words by which a value that is too little is known.
pub(super) const TOO_LITTLE: &str = "is too little";

fn too_little<E: Error>(text: &str, least: impl fmt::Display) -> E {
    E::custom(format!("{text:?} {TOO_LITTLE}: the least is \"{least}\""))
}

/// A size such as `"64KiB"` or `"1GiB"`, of at least so many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize<const LEAST_BYTES: u64 = 1>(pub(super) u64);

impl<'de, const LEAST_BYTES: u64> Deserialize<'de> for ByteSize<LEAST_BYTES> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let error = |_| {
            D::Error::custom(format!(
                "{text:?} is not a size such as \"64KiB\", \"1MiB\" or \"10GiB\""
            ))
        };
        let size: bytesize::ByteSize = text.parse().map_err(error)?;
        if size.as_u64() < LEAST_BYTES {
            return Err(too_little(&text, in_units(LEAST_BYTES)));
        }
        Ok(Self(size.as_u64()))
    }
}

impl<const LEAST_BYTES: u64> JsonSchema for ByteSize<LEAST_BYTES> {
    fn schema_name() -> Cow<'static, str> {
        format!("SizeOfAtLeast{}", in_units(LEAST_BYTES)).into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let description = format!("a number of bytes, at least {}", in_units(LEAST_BYTES));
        json_schema!({ "type": "string", "description": description, "examples": ["64KiB", "1MiB", "10GiB"] })
    }
}

/// A size as the file writes it, in the largest unit that needs no fraction.
pub(super) fn in_units(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let whole = |(shift, _): &(u32, &str)| bytes > 0 && bytes.trailing_zeros() >= *shift;
    match units.into_iter().find(whole) {
        Some((shift, unit)) => format!("{}{unit}", bytes >> shift),
        None => format!("{bytes}B"),
    }
}

/// Where a secret is: in a file or in an environment variable, never in the configuration itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SecretReference {
    /// A file that holds the secret; white space around it does not count.
    pub file: Option<PathBuf>,
    /// An environment variable that holds the secret.
    pub env: Option<String>,
    /// What the text there is decoded from: `"base64"` or `"hex"`. Default: none, the text itself is
    /// the secret.
    pub encoding: Option<Encoding>,
}

impl<'de> Deserialize<'de> for SecretReference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reference)
    }
}

/// Reads a reference. What stands in its place may be the secret itself, so it is never repeated.
struct Reference;

impl<'de> Visitor<'de> for Reference {
    type Value = SecretReference;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{ file = \"…\" } or { env = \"…\" }")
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<SecretReference, E> {
        Err(E::custom(
            "a secret stands in a file or in a variable, never here: { file = \"…\" } or { env = \"…\" }",
        ))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SecretReference, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Places {
            file: Option<PathBuf>,
            env: Option<String>,
            encoding: Option<Encoding>,
        }
        let places = Places::deserialize(MapAccessDeserializer::new(map))?;
        Ok(SecretReference {
            file: places.file,
            env: places.env,
            encoding: places.encoding,
        })
    }
}

/// Why a secret could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretReferenceError {
    /// Neither or both places are named.
    #[error("name either `file` or `env`")]
    Ambiguous,
    /// The file cannot be read.
    #[error("cannot read {path}: {error}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// The variable is not set.
    #[error("the environment variable {0} is not set")]
    Unset(String),
    /// What stands before a secret's text is no part of an encoding of it.
    #[error("the secret begins with `{0}`, and `encoding` would decode that too")]
    EncodedPrefix(String),
    /// There is none in it.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

impl SecretReferenceError {
    /// What to do, where it does not depend on what the secret is for.
    pub(super) fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Secret(error) => error.remedy(),
            Self::EncodedPrefix(_) => Some("take `encoding` out"),
            Self::Ambiguous | Self::File { .. } | Self::Unset(_) => None,
        }
    }
}

/// How senders mark a shared secret, whether it is base64 behind the mark or all of it a text.
const SHARED_SECRET_PREFIX: &str = "whsec_";
/// How Standard Webhooks marks the private key of a sender.
const PRIVATE_KEY_PREFIX: &str = "whsk_";

impl SecretReference {
    /// Reads the secret, where it must be a text.
    ///
    /// # Errors
    /// When it cannot be read, or is no text without damage.
    pub fn read(&self) -> Result<String, SecretReferenceError> {
        self.text_of(&self.bytes()?)
    }

    /// The same for a configuration: what is wrong with it, or doubtful, is noted.
    pub(super) fn take_text(
        &self,
        path: &str,
        remedy: &str,
        problems: &mut ConfigProblems,
    ) -> Option<String> {
        let read = |bytes: &[u8]| self.text_of(bytes);
        let remedy = |error: &SecretReferenceError| error.remedy().unwrap_or(remedy).to_owned();
        self.take(read, path, &remedy, problems)
    }

    /// The webhook's key, which may be any bytes, in the form that its provider writes it; what is
    /// wrong with it, or doubtful, is noted.
    pub(super) fn take_key(
        &self,
        form: &SecretForm,
        path: &str,
        remedy: &dyn Fn(&SecretReferenceError) -> String,
        problems: &mut ConfigProblems,
    ) -> Option<Secret> {
        let read = |bytes: &[u8]| {
            let key = self.key_of(bytes, form)?;
            Ok::<_, SecretReferenceError>((key, is_odd_in_url(bytes)))
        };
        let (secret, is_odd) = self.take(read, path, remedy, problems)?;
        if is_odd && form.scheme == Scheme::Url {
            problems.warn(
                path,
                "there is a character in the secret that a URL may have to write as %XX, and it is compared as it stands in the path",
                "take one of letters, digits, `-`, `.`, `_` and `~` alone",
            );
        }
        Some(secret)
    }

    fn key_of(&self, bytes: &[u8], form: &SecretForm) -> Result<Secret, SecretReferenceError> {
        let text = std::str::from_utf8(bytes).unwrap_or_default().trim();
        let mut prefixes = [form.prefix.as_str(), SHARED_SECRET_PREFIX].into_iter();
        let prefix = prefixes.find(|prefix| !prefix.is_empty() && text.starts_with(prefix));
        if let (Some(prefix), Some(_)) = (prefix, self.encoding) {
            return Err(SecretReferenceError::EncodedPrefix(prefix.to_owned()));
        }
        let is_public = matches!(form.scheme, Scheme::Ed25519 | Scheme::EcdsaP256);
        if is_public && text.starts_with(PRIVATE_KEY_PREFIX) {
            return Err(SecretError::PrivateKey.into());
        }
        Ok(Secret::read(bytes, form, self.encoding)?)
    }

    fn take<T>(
        &self,
        read: impl FnOnce(&[u8]) -> Result<T, SecretReferenceError>,
        path: &str,
        remedy: &dyn Fn(&SecretReferenceError) -> String,
        problems: &mut ConfigProblems,
    ) -> Option<T> {
        let taken = self.bytes().and_then(|bytes| Ok((read(&bytes)?, bytes)));
        match taken {
            Ok((secret, bytes)) => {
                self.note_doubt(&bytes, path, problems);
                Some(secret)
            }
            Err(error) => {
                problems.add(path, error.to_string(), remedy(&error));
                None
            }
        }
    }

    /// What lies there.
    fn bytes(&self) -> Result<Vec<u8>, SecretReferenceError> {
        match (&self.file, &self.env) {
            (Some(file), None) => std::fs::read(file).map_err(|error| SecretReferenceError::File {
                path: file.display().to_string(),
                error,
            }),
            (None, Some(variable)) => std::env::var_os(variable)
                .map(OsString::into_encoded_bytes)
                .ok_or_else(|| SecretReferenceError::Unset(variable.clone())),
            _ => Err(SecretReferenceError::Ambiguous),
        }
    }

    fn text_of(&self, bytes: &[u8]) -> Result<String, SecretReferenceError> {
        let Some(encoding) = self.encoding else {
            return Ok(secret_text(bytes)?.to_owned());
        };
        let text = String::from_utf8(encoding.decode(bytes)?);
        Ok(text.map_err(|_| SecretError::NotText)?)
    }

    /// Of an encoded secret, the text is not a part.
    fn note_doubt(&self, bytes: &[u8], path: &str, problems: &mut ConfigProblems) {
        let text = std::str::from_utf8(bytes).unwrap_or_default().trim();
        if self.encoding.is_none()
            && let Some(doubt) = doubt(text)
        {
            problems.warn(path, doubt.to_string(), "correct it, unless it is meant");
        }
    }
}

/// Whether a text has other characters than those that a URL never encodes (RFC 3986, section 2.3).
fn is_odd_in_url(bytes: &[u8]) -> bool {
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || b"-._~".contains(b);
    !bytes.trim_ascii().iter().all(is_plain)
}

/// The span that was given, or so many seconds.
pub(super) fn span<const LEAST_MS: u64>(
    given: Option<TimeSpan<LEAST_MS>>,
    default_seconds: u64,
) -> Duration {
    given.map_or(Duration::from_secs(default_seconds), |span| span.0)
}

#[cfg(test)]
mod tests {
    use serde::de::value::{Error, StrDeserializer};

    use super::*;

    fn read<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, String> {
        T::deserialize(StrDeserializer::<Error>::new(text)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_less_than_the_least_is_refused_with_the_least() {
        let second = Duration::from_secs(1);
        assert_eq!(read::<TimeSpan<1000>>("1s"), Ok(TimeSpan(second)));
        assert_eq!(read::<TimeSpan<0>>("0s"), Ok(TimeSpan(Duration::ZERO)));
        assert_eq!(read::<ByteSize<1024>>("1KiB"), Ok(ByteSize(1024)));
        for (error, least) in [
            (read::<TimeSpan<1000>>("999ms").err(), "\"1s\""),
            (read::<TimeSpan<60_000>>("0s").err(), "\"1m\""),
            (read::<TimeSpan>("0s").err(), "\"1ms\""),
            (read::<TimeSpan>("999us").err(), "\"1ms\""),
            (read::<ByteSize<1024>>("1023B").err(), "\"1KiB\""),
            (read::<ByteSize<{ 8 << 20 }>>("8191KiB").err(), "\"8MiB\""),
            (read::<ByteSize>("0B").err(), "\"1B\""),
        ] {
            let error = error.expect("too little");
            assert!(
                error.contains(TOO_LITTLE) && error.ends_with(least),
                "{error}"
            );
        }
    }

    #[test]
    fn a_size_is_written_in_the_largest_unit_that_needs_no_fraction() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1 << 10, "1KiB"),
            (1536, "1536B"),
            (16 << 20, "16MiB"),
            (3 << 30, "3GiB"),
        ] {
            assert_eq!(in_units(bytes), text);
        }
    }

    /// The secret of a file with these bytes, and everything that was said of it.
    fn taken(bytes: &[u8], encoding: Option<Encoding>) -> (Option<String>, String) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("secret");
        std::fs::write(&file, bytes).expect("written");
        let reference = SecretReference {
            file: Some(file),
            encoding,
            ..SecretReference::default()
        };
        let mut problems = ConfigProblems::default();
        let text = reference.take_text("a.b", "the remedy", &mut problems);
        let remedy = |_: &SecretReferenceError| "the remedy".to_owned();
        let form = SecretForm::default();
        let key = reference.take_key(&form, "a.b", &remedy, &mut ConfigProblems::default());
        assert_eq!(text.is_some(), key.is_some(), "all of these are text");
        assert_eq!(text.is_some(), problems.is_empty());
        let wrong = problems.to_string();
        let doubtful = problems.into_warnings();
        let doubtful: Vec<String> = doubtful.iter().map(ToString::to_string).collect();
        (text, wrong + &doubtful.join("\n"))
    }

    #[test]
    fn a_damaged_secret_is_refused_with_its_key_and_what_to_do() {
        for (bytes, part) in [
            (&b"\xef\xbb\xbfwhsec_a\r\n"[..], "byte-order mark"),
            (b"\xff\xfew\0\r\0\n\0", "UTF-16"),
            (b"whsec_a\0", "NUL"),
            (b"whsec_a\nwhsec_b\n", "several lines"),
            (b"${SECRET}\n", "placeholder"),
            (b"\x80\x81", "encoding = \"base64\""),
            (b" \n", "the remedy"),
        ] {
            let (text, said) = taken(bytes, None);
            assert_eq!(text, None, "{bytes:?}");
            assert!(said.starts_with("a.b: ") && said.contains("; "), "{said}");
            assert!(said.contains(part), "{part} is not in {said}");
            assert!(
                !said.contains("whsec") && !said.contains("SECRET"),
                "{said}"
            );
        }
    }

    #[test]
    fn a_doubtful_secret_is_taken_and_told_of() {
        let (text, said) = taken(b"\"whsec_a\"\n", None);
        assert_eq!(text.as_deref(), Some("\"whsec_a\""));
        assert!(
            said.starts_with("a.b: ") && said.contains("quotes"),
            "{said}"
        );
        assert!(!said.contains("whsec"), "{said}");
        assert_eq!(
            taken(b"whsec_a\n", None),
            (Some("whsec_a".into()), String::new())
        );
    }

    #[test]
    fn an_encoded_secret_is_decoded_or_refused_without_being_shown() {
        let decoded = |bytes, encoding| taken(bytes, Some(encoding));
        let plain = (Some("whsec_a".to_owned()), String::new());
        assert_eq!(decoded(b"d2hzZWNfYQ==\n", Encoding::Base64), plain);
        assert_eq!(decoded(b"77687365\n635f61\n", Encoding::Hex), plain);
        for (encoding, name) in [(Encoding::Base64, "base64"), (Encoding::Hex, "hex")] {
            let (text, said) = decoded(b"\"whsec_a\"\n", encoding);
            assert_eq!(text, None);
            assert!(said.contains(name) && said.contains("`encoding`"), "{said}");
            assert!(!said.contains("whsec"), "{said}");
        }
    }

    #[test]
    fn a_key_of_any_bytes_is_no_password() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        std::fs::write(&file, "80ff00\n").expect("written");
        let reference = SecretReference {
            file: Some(file),
            encoding: Some(Encoding::Hex),
            ..SecretReference::default()
        };
        let mut problems = ConfigProblems::default();
        let (form, remedy) = (SecretForm::default(), |_: &SecretReferenceError| {
            String::new()
        });
        let key = reference.take_key(&form, "a", &remedy, &mut problems);
        assert!(key.is_some());
        assert!(problems.is_empty());
        assert!(reference.take_text("a", "", &mut problems).is_none());
        assert!(problems.to_string().contains("UTF-8"), "{problems}");
    }

    #[test]
    fn another_encoding_is_refused_with_those_there_are() {
        let read = |text: &str| {
            let table: toml::Table = text.parse().expect("TOML");
            table["s"].clone().try_into::<SecretReference>()
        };
        let known = read("s = { env = \"A\", encoding = \"hex\" }").expect("known");
        assert_eq!(known.encoding, Some(Encoding::Hex));
        let error = read("s = { env = \"A\", encoding = \"base32\" }").expect_err("unknown");
        let said = error.to_string();
        assert!(said.contains("base64") && said.contains("hex"), "{said}");
    }
}
