//! The bytes that programs make of a body when they parse it, write it again or save it.

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

/// The body as it is, and in the forms that programs make of it.
pub(super) fn body_variants(body: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut forms = vec![
        (String::new(), body.to_vec()),
        (
            "if the body had a newline at its end".into(),
            [body, b"\n"].concat(),
        ),
    ];
    if body != body.trim_ascii_end() {
        let name = "if the white space at the body's end were removed";
        forms.push((name.into(), body.trim_ascii_end().to_vec()));
    }
    if body.contains(&b'\r') {
        let unix: Vec<u8> = body.iter().copied().filter(|byte| *byte != b'\r').collect();
        forms.push(("if the body's line ends were bare newlines".into(), unix));
    }
    forms.extend(rewritten(body));
    forms.retain(|(name, form)| name.is_empty() || form != body);
    forms
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
