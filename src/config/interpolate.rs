//! `${VAR}` and `${VAR:-default}` in the strings of the file. The file is parsed first, so a
//! variable can never add keys; `$${` stands for a literal `${`.

use toml::Value;

use super::problem::ConfigProblems;
use super::section::join;

/// Fills every string below `value`; a variable that is not set is noted with its key path.
pub fn fill(
    path: &str,
    value: &mut Value,
    lookup: &dyn Fn(&str) -> Option<String>,
    problems: &mut ConfigProblems,
) {
    match value {
        Value::String(text) => match expand(text, lookup) {
            Ok(filled) => *text = filled,
            Err(found) => problems.add(
                path,
                found,
                "set the variable, or give a default as in ${VAR:-default}",
            ),
        },
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                fill(&format!("{path}[{index}]"), item, lookup, problems);
            }
        }
        Value::Table(table) => {
            for (key, item) in table.iter_mut() {
                fill(&join(path, key), item, lookup, problems);
            }
        }
        _ => {}
    }
}

fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = rest.split_at(at);
        if let Some(literal) = before.strip_suffix('$') {
            out.push_str(literal);
            out.push_str("${");
            rest = &after[2..];
            continue;
        }
        out.push_str(before);
        let close = after.find('}').ok_or("a `${` has no closing `}`")?;
        let (name, default) = match after[2..close].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&after[2..close], None),
        };
        // As in a shell, `:-` also stands in for a variable that is empty.
        let value = lookup(name).filter(|value| default.is_none() || !value.is_empty());
        let value = value.or_else(|| default.map(str::to_owned));
        out.push_str(&value.ok_or_else(|| format!("the environment variable {name} is not set"))?);
        rest = &after[close + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("kafka-1".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn variables_defaults_and_escapes_are_filled() {
        for (text, expected) in [
            ("${HOST}:9092", "kafka-1:9092"),
            ("${HOST},${HOST}", "kafka-1,kafka-1"),
            ("${PORT:-9092}", "9092"),
            ("${EMPTY:-x}", "x"),
            ("${EMPTY}", ""),
            ("${NONE:-}", ""),
            ("$${HOST}", "${HOST}"),
            ("$HOST", "$HOST"),
        ] {
            assert_eq!(expand(text, &lookup).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn an_unset_variable_is_noted_where_it_stands() {
        let mut value: Value = toml::from_str::<toml::Table>("[a]\nb = [\"${NONE}\", \"${HOST\"]")
            .map(Value::Table)
            .expect("TOML");
        let mut problems = ConfigProblems::default();
        fill("", &mut value, &lookup, &mut problems);
        let paths: Vec<&str> = problems
            .iter()
            .map(|problem| problem.path.as_str())
            .collect();
        assert_eq!(paths, ["a.b[0]", "a.b[1]"]);
    }
}
