//! Reads one table of the file into its type, and goes on after a mistake: a key that is unknown or
//! of the wrong type is noted and left out, so that the rest is still checked.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::problem::ConfigProblems;
use super::value::TOO_LITTLE;

/// Reads the table at `path`. What is wrong is noted; what is right is in the result.
pub fn read<T: DeserializeOwned + JsonSchema + Default>(
    path: &str,
    mut table: Table,
    problems: &mut ConfigProblems,
) -> T {
    refuse_unknown::<T>(path, &mut table, problems);
    loop {
        let error = match serde_path_to_error::deserialize(Value::Table(table.clone())) {
            Ok(read) => return read,
            Err(error) => error,
        };
        let at = error.path().to_string();
        let key = at.split(['.', '[']).next().unwrap_or_default().to_owned();
        let message = error.into_inner().to_string();
        problems.add(
            join(path, &at),
            message.trim().replace('\n', " "),
            remedy(&message),
        );
        if table.remove(&key).is_none() {
            return T::default();
        }
    }
}

/// Notes and removes the keys the type does not have.
fn refuse_unknown<T: JsonSchema>(path: &str, table: &mut Table, problems: &mut ConfigProblems) {
    let known = keys::<T>();
    let unknown: Vec<String> = table
        .keys()
        .filter(|key| !known.contains(key))
        .cloned()
        .collect();
    for key in unknown {
        table.remove(&key);
        let remedy = match nearest(&key, &known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("remove it; there are {}", known.join(", ")),
        };
        problems.add(join(path, &key), "the key is unknown", remedy);
    }
}

/// The keys of a section, in alphabetical order.
fn keys<T: JsonSchema>() -> Vec<String> {
    let schema = schemars::schema_for!(T);
    let properties = schema.get("properties").and_then(|value| value.as_object());
    let mut keys: Vec<String> = properties
        .map(|keys| keys.keys().cloned().collect())
        .unwrap_or_default();
    keys.sort();
    keys
}

fn nearest<'a>(key: &str, known: &'a [String]) -> Option<&'a str> {
    let close = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(key, name), name.as_str()));
    close
        .filter(|(distance, _)| *distance <= 2)
        .min()
        .map(|(_, name)| name)
}

fn remedy(message: &str) -> &'static str {
    if message.contains("unknown field") {
        "remove the key or correct its name"
    } else if message.contains(TOO_LITTLE) {
        "raise it, or leave the key out for its default"
    } else {
        "give the value in the form the key takes; `hookferry config example` shows each"
    }
}

/// A key path one level down.
pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::{ByteSize, TimeSpan};

    #[derive(Debug, Default, serde::Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Section {
        listen: Option<std::net::SocketAddr>,
        max_body: Option<ByteSize>,
        timeout: Option<TimeSpan>,
        patience: Option<TimeSpan<1000>>,
    }

    #[test]
    fn every_mistake_is_noted_with_its_path_and_the_rest_is_read() {
        let table =
            "listen = \"nowhere\"\nmax_bdy = \"1MiB\"\nmax_body = 5\ntimeout = \"3s\"\npatience = \"0s\"\nzzzzzz = 1"
                .parse()
                .expect("TOML");
        let mut problems = ConfigProblems::default();
        let section: Section = read("ingress", table, &mut problems);
        assert_eq!((section.listen, section.max_body), (None, None));
        assert_eq!(section.patience, None);
        assert_eq!(
            section.timeout,
            Some(TimeSpan(std::time::Duration::from_secs(3)))
        );
        let mut paths: Vec<&str> = problems
            .iter()
            .map(|problem| problem.path.as_str())
            .collect();
        paths.sort_unstable();
        assert_eq!(
            paths,
            [
                "ingress.listen",
                "ingress.max_bdy",
                "ingress.max_body",
                "ingress.patience",
                "ingress.zzzzzz"
            ],
            "{problems}"
        );
        assert!(
            problems.to_string().contains("did you mean `max_body`?"),
            "{problems}"
        );
        assert!(
            problems
                .to_string()
                .contains("raise it, or leave the key out"),
            "{problems}"
        );
    }
}
