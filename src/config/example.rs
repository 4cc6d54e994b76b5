//! The annotated example, which also says what every default is.

/// An annotated configuration with every default spelled out.
pub const EXAMPLE: &str = include_str!("example.toml");

/// The example with its commented keys and tables too.
#[cfg(test)]
pub(super) fn whole_example() -> toml::Table {
    let is_key = |text: &str| {
        let key = text.split_once(" = ").map(|(key, _)| key);
        let is_name = |key: &str| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        text.starts_with('[') || key.is_some_and(is_name)
    };
    let line = |line: &'static str| {
        let commented = line.strip_prefix("# ").filter(|text| is_key(text));
        commented.unwrap_or(line)
    };
    let lines: Vec<&str> = EXAMPLE.lines().map(line).collect();
    assert_ne!(lines, EXAMPLE.lines().collect::<Vec<_>>());
    lines.join("\n").parse().expect("TOML")
}
