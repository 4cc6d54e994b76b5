//! The largest body that is taken: of every source, and of one that says otherwise.

use toml::Value;

use super::problem::ConfigProblems;
use super::section::join;
use super::value::ByteSize;

/// No `max_body` is larger, in bytes: what every sink can carry, and a request can be kept in memory
/// for.
pub(super) const MOST_BODY_BYTES: u64 = 64 << 20;

/// Reads the key at `path`.
pub(super) fn read(
    path: &str,
    given: Option<ByteSize<1024>>,
    problems: &mut ConfigProblems,
) -> Option<usize> {
    let ByteSize(bytes) = given?;
    if bytes > MOST_BODY_BYTES {
        problems.add(
            path,
            format!("{bytes} bytes is too much"),
            "give at most \"64MiB\"",
        );
    }
    Some(usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// The largest of all, and the key that says so.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LargestBody {
    pub key: String,
    pub bytes: u64,
}

impl LargestBody {
    /// Looks at the `source` tables as they were written, so that one counts in which something else
    /// is wrong.
    pub fn of(ingress_bytes: usize, sources: Option<&Value>) -> Self {
        let sources = sources.and_then(Value::as_table);
        let of_source = |(name, source): (&String, &Value)| {
            let text = source.get("max_body")?.as_str()?;
            let size: bytesize::ByteSize = text.parse().ok()?;
            let key = join(&join("source", name), "max_body");
            // What is beyond that is a mistake of its own.
            let bytes = size.as_u64().min(MOST_BODY_BYTES);
            Some(Self { key, bytes })
        };
        let of_ingress = Self {
            key: "ingress.max_body".to_owned(),
            bytes: ingress_bytes as u64,
        };
        let of_sources = sources.into_iter().flatten().filter_map(of_source);
        of_sources.fold(of_ingress, |largest, other| {
            if other.bytes > largest.bytes {
                other
            } else {
                largest
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_is_found_among_all_sources() {
        let of = |text: &str| {
            let sources: toml::Table = text.parse().expect("TOML");
            let largest = LargestBody::of(1 << 20, Some(&Value::Table(sources)));
            (largest.key, largest.bytes)
        };
        let of_ingress = ("ingress.max_body".to_owned(), 1 << 20);
        assert_eq!(
            of("[a]\nmax_body = \"4KiB\"\n[b]\n[c]\nmax_body = 7"),
            of_ingress
        );
        let text = "[a]\nmax_body = \"2MiB\"\n[b]\nmax_body = \"25MiB\"\nnonsense = 1";
        assert_eq!(of(text), ("source.b.max_body".to_owned(), 25 << 20));
        assert_eq!(of("[a]\nmax_body = \"1GiB\"").1, MOST_BODY_BYTES);
    }
}
