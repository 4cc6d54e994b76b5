//! The values a configuration file writes as text: spans of time, sizes, and references to secrets.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A span of time such as `"250ms"`, `"10s"`, `"24h"` or `"30d"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let error = |_| {
            serde::de::Error::custom(format!(
                "{text:?} is not a span of time such as \"250ms\", \"10s\" or \"24h\""
            ))
        };
        humantime::parse_duration(&text).map(Self).map_err(error)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "a span of time", "examples": ["250ms", "10s", "24h", "30d"] })
    }
}

/// A size such as `"64KiB"` or `"1GiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        let error = |_| {
            serde::de::Error::custom(format!(
                "{text:?} is not a size such as \"64KiB\", \"1MiB\" or \"10GiB\""
            ))
        };
        text.parse::<bytesize::ByteSize>()
            .map(|size| Self(size.as_u64()))
            .map_err(error)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "a number of bytes", "examples": ["64KiB", "1MiB", "10GiB"] })
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
pub(super) fn span(given: Option<Span>, default_seconds: u64) -> Duration {
    given.map_or(Duration::from_secs(default_seconds), |span| span.0)
}
