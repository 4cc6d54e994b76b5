//! The signature header's grammar once more, in the plainest way: read a character at a time, with
//! nothing of the program's own parser. What the two disagree on is a mistake of one of them.

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    pub digits: String,
    /// The signatures, in lower case.
    pub tags: Vec<String>,
}

/// Reads the header, or says why not in the words of the answer.
pub fn parse(header: &[u8]) -> Result<Parsed, &'static str> {
    const MALFORMED: &str = "signature_malformed";
    if header.len() > 1024 {
        return Err("signature_too_long");
    }
    let text = String::from_utf8(header.to_vec()).map_err(|_| MALFORMED)?;
    let mut times = Vec::new();
    let mut tags = Vec::new();
    for item in items(&text) {
        let Some(at) = item.iter().position(|c| *c == '=') else {
            return Err(MALFORMED);
        };
        let name: String = item[..at].iter().collect();
        let value = &item[at + 1..];
        if name == "t" {
            times.push(time(value).ok_or(MALFORMED)?);
        } else if name == "v1" {
            tags.push(tag(value).ok_or(MALFORMED)?);
        } else if !is_name(&name) {
            return Err(MALFORMED);
        }
    }
    if times.len() != 1 || tags.is_empty() || tags.len() > 8 {
        return Err(MALFORMED);
    }
    let digits = times.remove(0);
    Ok(Parsed { digits, tags })
}

/// What stands between spaces and commas.
fn items(text: &str) -> Vec<Vec<char>> {
    let mut items = vec![Vec::new()];
    for c in text.chars() {
        if c == ' ' || c == ',' {
            items.push(Vec::new());
        } else {
            items.last_mut().expect("there is always one").push(c);
        }
    }
    items.retain(|item| !item.is_empty());
    items
}

/// 1 to 12 digits, and one letter that does not count.
fn time(value: &[char]) -> Option<String> {
    let mut digits = String::new();
    for (place, c) in value.iter().enumerate() {
        if c.is_ascii_digit() {
            digits.push(*c);
        } else if !c.is_ascii_alphabetic() || place + 1 < value.len() {
            return None;
        }
    }
    (!digits.is_empty() && digits.len() <= 12).then_some(digits)
}

/// 64 hex digits, large or small.
fn tag(value: &[char]) -> Option<String> {
    let is_hex = char::is_ascii_hexdigit;
    if value.len() != 64 || !value.iter().all(is_hex) {
        return None;
    }
    Some(value.iter().map(char::to_ascii_lowercase).collect())
}

fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_'))
}
