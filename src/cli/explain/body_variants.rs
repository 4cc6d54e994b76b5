//! The bytes that programs make of a body when they parse it, write it again or save it.

use bytes::Bytes;

use super::variant::Variant;
use crate::source::form;

/// How a library writes JSON.
struct JsonForm {
    /// How it is described, after "if the JSON had been written anew".
    name: &'static str,
    /// A space after each comma and colon.
    spaced: bool,
    /// Characters beyond ASCII as escapes.
    ascii: bool,
    /// The keys of each object in alphabetical order.
    sorted: bool,
}

const fn form(name: &'static str, spaced: bool, ascii: bool, sorted: bool) -> JsonForm {
    JsonForm {
        name,
        spaced,
        ascii,
        sorted,
    }
}

/// What the usual libraries write by default; the simplest first.
const JSON_FORMS: [JsonForm; 8] = [
    form(", compact (JSON.stringify)", false, false, false),
    form(
        " with spaces (Python's json.dumps with ensure_ascii=False)",
        true,
        false,
        false,
    ),
    form(" with spaces (Python's json.dumps)", true, true, false),
    form(
        ", compact and in ASCII (Python's json.dumps with separators)",
        false,
        true,
        false,
    ),
    form(", compact with sorted keys", false, false, true),
    form(
        " with spaces and sorted keys (Python's json.dumps with sort_keys and ensure_ascii=False)",
        true,
        false,
        true,
    ),
    form(
        " with sorted keys (Python's json.dumps with sort_keys)",
        true,
        true,
        true,
    ),
    form(
        ", compact, in ASCII and with sorted keys (Python's json.dumps with sort_keys and separators)",
        false,
        true,
        true,
    ),
];

/// The field of a form in which senders put their JSON, unless their table names another.
const FORM_FIELD: &str = "payload";

/// The forms that programs make of a body, as far as they differ from it; `field` is that of a form in
/// which the JSON lies.
pub(super) fn body_variants(body: &Bytes, field: Option<&str>) -> Vec<Variant<Bytes>> {
    let mut forms = vec![(
        "if the body had a newline at its end".to_owned(),
        [body, &b"\n"[..]].concat(),
    )];
    if body[..] != *body.trim_ascii_end() {
        let name = "if the white space at the body's end were removed";
        forms.push((name.into(), body.trim_ascii_end().to_vec()));
    }
    if body.contains(&b'\r') {
        let unix: Vec<u8> = body.iter().copied().filter(|byte| *byte != b'\r').collect();
        forms.push(("if the body's line ends were bare newlines".into(), unix));
    }
    forms.extend(rewritten(body));
    forms.extend(of_form(body, field.unwrap_or(FORM_FIELD)));
    forms.retain(|(_, form)| body != form);
    let variant = |(name, form)| Variant::of(name, Bytes::from(form));
    forms.into_iter().map(variant).collect()
}

/// A form body decoded, and the form that JSON may have been taken out of.
fn of_form(body: &[u8], field: &str) -> Vec<(String, Vec<u8>)> {
    let fields: Vec<_> = form::fields(body).collect();
    if let Some((_, json)) = fields.iter().find(|(name, _)| name == field) {
        let decoded: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let name = format!("if the form's field {field} alone were the body");
        return vec![
            (name, json.clone().into_owned().into_bytes()),
            (
                "if the form were decoded".to_owned(),
                decoded.join("&").into_bytes(),
            ),
        ];
    }
    if !body.starts_with(b"{") && !body.starts_with(b"[") {
        return Vec::new();
    }
    let encoded: String = form_urlencoded::byte_serialize(body).collect();
    let name = format!("if the body were a form with this JSON in the field {field}");
    vec![(name, format!("{field}={encoded}").into_bytes())]
}

/// The body parsed and written again.
fn rewritten(body: &[u8]) -> Vec<(String, Vec<u8>)> {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let Ok(document) = serde_json::from_str::<serde_json::Value>(text) else {
        return Vec::new();
    };
    // The keys of a parsed object are in alphabetical order here.
    let sorted = document.to_string();
    let mut rewritten: Vec<(String, Vec<u8>)> = Vec::new();
    for form in &JSON_FORMS {
        let source = if form.sorted { &sorted } else { text };
        let bytes = rewrite(source, form).into_bytes();
        // Of forms that are the same for this body, the first and simplest is named.
        if !rewritten.iter().any(|(_, known)| *known == bytes) {
            let name = format!("if the JSON had been written anew{}", form.name);
            rewritten.push((name, bytes));
        }
    }
    rewritten
}

/// Writes a valid document's tokens again, in their order.
fn rewrite(text: &str, form: &JsonForm) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let (mut in_string, mut escaped) = (false, false);
    for c in text.chars() {
        if in_string {
            push(&mut out, c, form.ascii);
            in_string = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        match c {
            ' ' | '\t' | '\n' | '\r' => {}
            ',' | ':' => {
                out.push(c);
                if form.spaced {
                    out.push(' ');
                }
            }
            _ => {
                out.push(c);
                in_string = c == '"';
            }
        }
    }
    out
}

fn push(out: &mut String, c: char, ascii: bool) {
    if c.is_ascii() || !ascii {
        out.push(c);
        return;
    }
    let mut units = [0; 2];
    for unit in c.encode_utf16(&mut units) {
        out.push_str(&format!("\\u{unit:04x}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form_of(body: &str, form: &str) -> Option<String> {
        let variants = body_variants(&Bytes::copy_from_slice(body.as_bytes()), None);
        let found = variants.into_iter().find(|it| it.value == form);
        found.map(|it| it.differences.concat())
    }

    #[test]
    fn a_form_may_have_been_decoded_and_json_may_have_been_a_form() {
        let form = "payload=%7B%22a%22%3A%22b+c%22%7D&d=1";
        let alone = form_of(form, r#"{"a":"b c"}"#).expect("the field");
        assert!(alone.contains("field payload alone"), "{alone}");
        let decoded = form_of(form, r#"payload={"a":"b c"}&d=1"#).expect("the form");
        assert!(decoded.contains("form were decoded"), "{decoded}");
        let encoded = form_of(r#"{"a":1}"#, "payload=%7B%22a%22%3A1%7D").expect("a form");
        assert!(encoded.contains("were a form"), "{encoded}");
        assert_eq!(form_of("no JSON", "payload=no+JSON"), None);
    }

    #[test]
    fn a_body_is_no_variant_of_itself() {
        for body in ["{}", "{}\n", "", "payload=%7B%7D", "[1, 2]"] {
            assert_eq!(form_of(body, body), None, "{body:?}");
        }
    }
}
