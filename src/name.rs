//! The parsed names: what a string must satisfy before it may become part of a URL, a topic, a
//! routing key, a metric label or a file. Inside the program there is no bare `String` in their
//! place, so a hostile event type can never reach a broker's namespace.

use std::fmt;
use std::sync::Arc;

/// Why a string is not the name it was meant to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {rule}")]
pub struct NameError {
    what: &'static str,
    rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses the name.
            ///
            /// # Errors
            /// When the string breaks the rule, which the error spells out.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(NameError { what: $what, rule: $rule })
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// A configured source: the last segment of its webhook URL and the first of its topics.
    SourceName,
    "a source name",
    "1 to 40 characters out of a-z, 0-9, `-` and `_`, the first a letter or digit",
    is_slug
);

name!(
    /// A configured sink, as routes, logs and metric labels call it.
    SinkName,
    "a sink name",
    "1 to 40 characters out of a-z, 0-9, `-` and `_`, the first a letter or digit",
    is_slug
);

name!(
    /// A provider's event type, such as `sample.uploaded`.
    EventType,
    "an event type",
    "words of A-Z, a-z, 0-9, `_` and `-` joined by single dots, 100 characters at most",
    |text| text.len() <= 100 && text.split('.').all(is_word)
);

name!(
    /// A provider's object id, such as `7428cca4a3a04a8e`. It holds no dot, so that it is always
    /// exactly one word of a routing key.
    ObjectId,
    "an object id",
    "1 to 64 characters out of A-Z, a-z, 0-9, `_` and `-`",
    |text| text.len() <= 64 && is_word(text)
);

fn is_slug(text: &str) -> bool {
    (1..=40).contains(&text.len())
        && text.as_bytes()[0].is_ascii_alphanumeric()
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_the_field_parse() {
        for text in ["sample.uploaded", "analysis.succeeded", "x", "A-b_c.9"] {
            assert_eq!(
                EventType::parse(text).map(|t| t.to_string()),
                Ok(text.to_owned())
            );
        }
        assert!(ObjectId::parse("7428cca4a3a04a8e").is_ok());
        assert!(SourceName::parse("onecodex-eu_2").is_ok());
    }

    #[test]
    fn whatever_could_escape_a_topic_or_a_label_is_refused() {
        for text in [
            "",
            ".",
            "a..b",
            ".a",
            "a.",
            "a/b",
            "a b",
            "a\n",
            "a*",
            "a#",
            "é",
            "a{b}",
            "a\0",
            &"x".repeat(101),
        ] {
            assert!(EventType::parse(text).is_err(), "{text:?}");
        }
        for text in ["", "a.b", "a/b", "*", "#", "ä", &"x".repeat(65)] {
            assert!(ObjectId::parse(text).is_err(), "{text:?}");
        }
        for text in ["", "Upper", "-a", "a.b", "a/b", &"x".repeat(41)] {
            assert!(SourceName::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn deserialising_is_parsing() {
        assert!(serde_json::from_str::<SinkName>("\"kafka\"").is_ok());
        let error = serde_json::from_str::<SinkName>("\"Kafka!\"").expect_err("not a slug");
        assert!(error.to_string().contains("a sink name must be"), "{error}");
    }
}
