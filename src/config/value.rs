//! The values a configuration file writes as text: spans of time, sizes, and references to secrets.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A span of time such as `"250ms"`, `"10s"`, `"24h"` or `"30d"`, of at least so many milliseconds.
/// Where a key names no least it is more than nothing: a guard that lasts no time is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span<const LEAST_MS: u64 = 1>(pub(super) Duration);

impl<const LEAST_MS: u64> Span<LEAST_MS> {
    fn least() -> humantime::FormattedDuration {
        humantime::format_duration(Duration::from_millis(LEAST_MS))
    }
}

impl<'de, const LEAST_MS: u64> Deserialize<'de> for Span<LEAST_MS> {
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

impl<const LEAST_MS: u64> JsonSchema for Span<LEAST_MS> {
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
pub struct Size<const LEAST_BYTES: u64 = 1>(pub(super) u64);

impl<'de, const LEAST_BYTES: u64> Deserialize<'de> for Size<LEAST_BYTES> {
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

impl<const LEAST_BYTES: u64> JsonSchema for Size<LEAST_BYTES> {
    fn schema_name() -> Cow<'static, str> {
        format!("SizeOfAtLeast{}", in_units(LEAST_BYTES)).into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let description = format!("a number of bytes, at least {}", in_units(LEAST_BYTES));
        json_schema!({ "type": "string", "description": description, "examples": ["64KiB", "1MiB", "10GiB"] })
    }
}

/// A size as the file writes it, in the largest unit that needs no fraction.
fn in_units(bytes: u64) -> String {
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
        }
        let Places { file, env } = Places::deserialize(MapAccessDeserializer::new(map))?;
        Ok(SecretReference { file, env })
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
    /// There is nothing in it.
    #[error("the secret is empty")]
    Empty,
}

impl SecretReference {
    /// Reads the secret's text.
    ///
    /// # Errors
    /// When it cannot be read or is empty.
    pub fn read(&self) -> Result<String, SecretReferenceError> {
        let text = match (&self.file, &self.env) {
            (Some(file), None) => {
                std::fs::read_to_string(file).map_err(|error| SecretReferenceError::File {
                    path: file.display().to_string(),
                    error,
                })?
            }
            (None, Some(variable)) => std::env::var(variable)
                .map_err(|_| SecretReferenceError::Unset(variable.clone()))?,
            _ => return Err(SecretReferenceError::Ambiguous),
        };
        match text.trim() {
            "" => Err(SecretReferenceError::Empty),
            text => Ok(text.to_owned()),
        }
    }
}

/// The span that was given, or so many seconds.
pub(super) fn span<const LEAST_MS: u64>(
    given: Option<Span<LEAST_MS>>,
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
        assert_eq!(read::<Span<1000>>("1s"), Ok(Span(second)));
        assert_eq!(read::<Span<0>>("0s"), Ok(Span(Duration::ZERO)));
        assert_eq!(read::<Size<1024>>("1KiB"), Ok(Size(1024)));
        for (error, least) in [
            (read::<Span<1000>>("999ms").err(), "\"1s\""),
            (read::<Span<60_000>>("0s").err(), "\"1m\""),
            (read::<Span>("0s").err(), "\"1ms\""),
            (read::<Span>("999us").err(), "\"1ms\""),
            (read::<Size<1024>>("1023B").err(), "\"1KiB\""),
            (read::<Size<{ 8 << 20 }>>("8191KiB").err(), "\"8MiB\""),
            (read::<Size>("0B").err(), "\"1B\""),
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
}
