//! The page of the Helm chart's values: the comments of its values.yaml.

use std::fmt::Write as _;

use serde_json::Value;

use super::{cell, is_current, read};

const VALUES: &str = "deploy/helm/values.yaml";

/// A value: its key with its section's, what it is where nobody sets it, and what its comment says.
#[derive(Debug, PartialEq)]
struct Described {
    key: String,
    default: String,
    comment: String,
}

/// The values of a file that have a comment, in their order.
fn described(text: &str) -> Vec<Described> {
    let mut found = Vec::new();
    let mut sections: Vec<(usize, &str)> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    for line in text.lines() {
        let content = line.trim_start();
        let depth = line.len() - content.len();
        if let Some(words) = content.strip_prefix('#') {
            comment.push(words.trim());
            continue;
        }
        if let Some((name, default)) = content.split_once(':') {
            sections.retain(|(above, _)| *above < depth);
            sections.push((depth, name));
            if !comment.is_empty() {
                let names: Vec<&str> = sections.iter().map(|(_, name)| *name).collect();
                found.push(Described {
                    key: names.join("."),
                    default: default.trim().to_owned(),
                    comment: comment.join(" "),
                });
            }
        }
        comment.clear();
    }
    found
}

fn page() -> String {
    let mut page = String::from(
        "# Values of the Helm chart\n\n\
         How the chart is installed, and what it leaves behind: [Kubernetes](kubernetes.md#with-helm). \
         What is not said here is refused, so a key that is mistyped is named. A default that is empty \
         here has several lines: `helm show values deploy/helm`.\n\n\
         | value | default | |\n|---|---|---|\n",
    );
    for value in described(&read(VALUES)) {
        let default = match value.default.as_str() {
            "" => String::new(),
            default => format!("`{}`", cell(default)),
        };
        let _ = writeln!(
            page,
            "| `{}` | {default} | {} |",
            value.key,
            cell(&value.comment)
        );
    }
    page
}

#[test]
fn the_page_of_the_charts_values_is_current() {
    is_current("helm-values.md", VALUES, &page());
}

/// The values below a section of the schema that have no comment, where the section has none for all.
fn undescribed(section: &str, schema: &Value, described: &[Described]) -> Vec<String> {
    let has = |key: &str| described.iter().any(|value| value.key == key);
    let mut missing = Vec::new();
    let mut below = Vec::new();
    for (name, value) in schema["properties"].as_object().unwrap() {
        let key = format!("{section}{name}");
        if value["properties"].is_object() {
            below.extend(undescribed(&format!("{key}."), value, described));
        } else if !has(&key) {
            missing.push(key);
        }
    }
    let values = schema["properties"].as_object().unwrap().len();
    let is_for_all = has(section.trim_end_matches('.')) && missing.len() == values;
    if is_for_all {
        missing.clear();
    }
    missing.extend(below);
    missing
}

#[test]
fn each_value_of_the_chart_is_described() {
    let described = described(&read(VALUES));
    assert!(described.len() > 60, "{}", described.len());
    let schema: Value = serde_json::from_str(&read("deploy/helm/values.schema.json")).unwrap();
    // Helm's own, for what all charts of a release share.
    assert_eq!(undescribed("", &schema, &described), ["global"]);
}

#[test]
fn a_value_has_the_comment_before_it() {
    let text = "# The head.\n\n# Of a,\n# and more.\na: 1\nb:\n  # Of c.\n  c: \"x|y\"\n  d: 2\n# Of e.\ne:\n  - f: 1\n";
    let of = |key: &str, default: &str, comment: &str| Described {
        key: key.to_owned(),
        default: default.to_owned(),
        comment: comment.to_owned(),
    };
    assert_eq!(
        described(text),
        [
            of("a", "1", "Of a, and more."),
            of("b.c", "\"x|y\"", "Of c."),
            of("e", "", "Of e.")
        ]
    );
}
