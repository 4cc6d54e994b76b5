//! A header as it is written on the command line: `Name: value`.

use crate::source::{HeaderValue, is_header_name};

/// The name in lower case, and the value without the white space around it.
pub(super) fn parse(text: &str) -> Result<(String, String), String> {
    let malformed = "write it as 'Name: value', in visible ASCII".to_owned();
    let Some((name, value)) = text.split_once(':') else {
        return Err(malformed);
    };
    let name = name.to_ascii_lowercase();
    let is_visible = HeaderValue::Once(value.as_bytes()).text().is_some();
    if !is_header_name(&name) || !is_visible {
        return Err(malformed);
    }
    match name.as_str() {
        "content-type" => Err("name the content type with --content-type".to_owned()),
        "content-length" | "transfer-encoding" | "host" => {
            Err(format!("{name} follows from the delivery and its URL"))
        }
        _ => Ok((name, value.trim().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_a_name_and_a_value() {
        let read = |text| parse(text).ok();
        let pair = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
        assert_eq!(read("X-A: b: c "), pair("x-a", "b: c"));
        assert_eq!(read("x-a:"), pair("x-a", ""));
        for text in [
            "x-a",
            ": b",
            "x a: b",
            "x-a: b\nc: d",
            "x-a: é",
            "Content-Type: text/plain",
            "Host: other",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
