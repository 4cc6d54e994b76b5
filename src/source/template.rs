//! Templates of a provider table: texts with variables that are filled in from a delivery.
//!
//! There are these variables and no others: `{body}`, `{method}`, `{url}`, `{sorted_form}`,
//! `{header.NAME}`, `{query.NAME}`, `{item.NAME}` (of the signature header), `{/json/pointer}`
//! (RFC 6901), and in the answer to a handshake `{hmac_hex:VARIABLE}` and `{hmac_base64:VARIABLE}`.
//! One that is not there fails the whole template: it is never taken for an empty text.

use std::borrow::Cow;
use std::fmt;

use crate::json::Pointers;

/// What a template's variable stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Variable {
    /// The body, byte for byte.
    Body,
    /// The request's method.
    Method,
    /// The configured URL of the webhook, with the request's query.
    Url,
    /// The parameters of a form body, sorted: see [`super::form::sorted`].
    SortedForm,
    /// A header, by its name in lower case.
    Header(String),
    /// A parameter of the request's query.
    Query(String),
    /// An item of the signature header, by its name.
    Item(String),
    /// A value of the body, by its JSON pointer.
    Pointer(String),
    /// The HMAC of another variable under the first secret, in hex.
    HmacHex(Box<Variable>),
    /// The same in base64.
    HmacBase64(Box<Variable>),
}

/// A text with variables.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct FieldTemplate {
    text: String,
    parts: Vec<TemplatePart>,
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TemplatePart {
    /// Itself.
    Literal(String),
    /// What is filled in.
    Variable(Variable),
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldTemplateError {
    /// A brace without the other one.
    #[error("the braces do not match")]
    Braces,
    /// A variable that nothing fills.
    #[error("`{{{0}}}` is no variable")]
    UnknownVariable(String),
    /// Nothing at all.
    #[error("the template is empty")]
    NoText,
}

impl FieldTemplateError {
    /// What to do about it.
    pub const REMEDY: &'static str = "there are {body}, {method}, {url}, {sorted_form}, {header.NAME}, {query.NAME}, {item.NAME} and {/json/pointer}, and in a handshake's answer {hmac_hex:VARIABLE} and {hmac_base64:VARIABLE}";
}

impl Variable {
    /// Reads what stands between the braces.
    ///
    /// # Errors
    /// When there is no such variable.
    pub fn parse(name: &str) -> Result<Self, FieldTemplateError> {
        let unknown = || FieldTemplateError::UnknownVariable(name.to_owned());
        let of = |name: &str| Self::parse(name).map(Box::new);
        if name.starts_with('/') {
            let mut pointers = Pointers::default();
            pointers.add(name).map_err(|_| unknown())?;
            return Ok(Self::Pointer(name.to_owned()));
        }
        if let Some(rest) = name.strip_prefix("hmac_hex:") {
            return Ok(Self::HmacHex(of(rest)?));
        }
        if let Some(rest) = name.strip_prefix("hmac_base64:") {
            return Ok(Self::HmacBase64(of(rest)?));
        }
        match (name, name.split_once('.')) {
            ("body", _) => Ok(Self::Body),
            ("method", _) => Ok(Self::Method),
            ("url", _) => Ok(Self::Url),
            ("sorted_form", _) => Ok(Self::SortedForm),
            (_, Some((_, ""))) => Err(unknown()),
            (_, Some(("header", rest))) => {
                let name = rest.to_ascii_lowercase();
                let header = is_header_name(&name).then_some(Self::Header(name));
                header.ok_or_else(unknown)
            }
            (_, Some(("query", rest))) => Ok(Self::Query(rest.to_owned())),
            (_, Some(("item", rest))) => Ok(Self::Item(rest.to_owned())),
            _ => Err(unknown()),
        }
    }

    /// What an HMAC is made of; of every other variable, itself.
    #[must_use]
    pub fn operand(&self) -> &Self {
        match self {
            Self::HmacHex(of) | Self::HmacBase64(of) => of.operand(),
            other => other,
        }
    }

    /// Whether an event's fields, and the conditions of routes, can be made of it: it is one value that
    /// the sender gives.
    #[must_use]
    pub fn is_of_event(&self) -> bool {
        matches!(
            self,
            Self::Header(_) | Self::Query(_) | Self::Item(_) | Self::Pointer(_)
        )
    }

    /// Whether it is known before the body is read.
    #[must_use]
    pub fn is_of_head(&self) -> bool {
        !matches!(
            self.operand(),
            Self::Body | Self::SortedForm | Self::Pointer(_)
        )
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body => f.write_str("body"),
            Self::Method => f.write_str("method"),
            Self::Url => f.write_str("url"),
            Self::SortedForm => f.write_str("sorted_form"),
            Self::Header(name) => write!(f, "header.{name}"),
            Self::Query(name) => write!(f, "query.{name}"),
            Self::Item(name) => write!(f, "item.{name}"),
            Self::Pointer(pointer) => f.write_str(pointer),
            Self::HmacHex(of) => write!(f, "hmac_hex:{of}"),
            Self::HmacBase64(of) => write!(f, "hmac_base64:{of}"),
        }
    }
}

impl FieldTemplate {
    /// Parses the template.
    ///
    /// # Errors
    /// When it is empty, a brace stands alone, or a variable is unknown.
    pub fn parse(text: &str) -> Result<Self, FieldTemplateError> {
        if text.is_empty() {
            return Err(FieldTemplateError::NoText);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            let (literal, after) = rest.split_at(open);
            let close = after.find('}').ok_or(FieldTemplateError::Braces)?;
            if close == 0 {
                return Err(FieldTemplateError::Braces);
            }
            push_literal(&mut parts, literal);
            parts.push(TemplatePart::Variable(Variable::parse(&after[1..close])?));
            rest = &after[close + 1..];
        }
        push_literal(&mut parts, rest);
        let text = text.to_owned();
        Ok(Self { text, parts })
    }

    /// Its parts, in their order.
    #[must_use]
    pub fn parts(&self) -> &[TemplatePart] {
        &self.parts
    }

    /// Its variables, in their order.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.parts.iter().filter_map(|part| match part {
            TemplatePart::Literal(_) => None,
            TemplatePart::Variable(variable) => Some(variable),
        })
    }

    /// Its only part, where that is a variable.
    #[must_use]
    pub fn single_variable(&self) -> Option<&Variable> {
        match self.parts.as_slice() {
            [TemplatePart::Variable(variable)] => Some(variable),
            _ => None,
        }
    }

    /// The text with its variables filled in; none where one of them is not there, or where nothing
    /// stands in the place of the only one.
    pub fn fill<'a>(
        &self,
        mut value: impl FnMut(&Variable) -> Option<Cow<'a, str>>,
    ) -> Option<Cow<'a, str>> {
        if let Some(variable) = self.single_variable() {
            return value(variable).filter(|text| !text.is_empty());
        }
        let mut text = String::new();
        for part in &self.parts {
            match part {
                TemplatePart::Literal(literal) => text.push_str(literal),
                TemplatePart::Variable(variable) => {
                    text.push_str(&value(variable).filter(|text| !text.is_empty())?);
                }
            }
        }
        Some(Cow::Owned(text))
    }
}

/// Every pointer of these variables, and of those that an HMAC is made of.
pub(super) fn pointers<'a>(variables: impl Iterator<Item = &'a Variable>) -> Pointers {
    let mut pointers = Pointers::default();
    for variable in variables {
        if let Variable::Pointer(pointer) = variable.operand() {
            pointers.add(pointer).expect("it was read as a pointer");
        }
    }
    pointers
}

/// Whether a text can be a header's name, in lower case (RFC 9110, section 5.6.2).
#[must_use]
pub fn is_header_name(text: &str) -> bool {
    let is_token =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(is_token)
}

fn push_literal(parts: &mut Vec<TemplatePart>, text: &str) {
    if !text.is_empty() {
        parts.push(TemplatePart::Literal(text.to_owned()));
    }
}

impl fmt::Display for FieldTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for FieldTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_is_read_and_written_back() {
        for text in [
            "{body}",
            "{method}{url}{sorted_form}",
            "v0:{header.x-slack-request-timestamp}:{body}",
            "{query.hub.mode}",
            "{item.t}.{body}",
            "{/object/$uri}",
            "{/0/a~1b}",
            "{hmac_hex:/payload/plainToken}",
            "sha256={hmac_base64:query.crc_token}",
            "push",
        ] {
            let template = FieldTemplate::parse(text).expect(text);
            let again: String = template
                .parts()
                .iter()
                .map(|part| match part {
                    TemplatePart::Literal(literal) => literal.clone(),
                    TemplatePart::Variable(variable) => format!("{{{variable}}}"),
                })
                .collect();
            assert_eq!(again, text);
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for text in ["{", "}", "a{body", "a}b", "{}", ""] {
            assert!(FieldTemplate::parse(text).is_err(), "{text}");
        }
        for name in [
            "Body",
            "header",
            "header.",
            "item.",
            "header.x y",
            "header:x",
            "hmac_hex.body",
            "t",
            "a/b",
            "/a~2",
            "hmac_hex:x",
            " body",
        ] {
            let error = FieldTemplate::parse(&format!("{{{name}}}")).expect_err(name);
            assert!(
                error
                    .to_string()
                    .contains(name.trim_start_matches("hmac_hex:")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_variable_that_is_missing_or_empty_fails_the_template() {
        let value = |variable: &Variable| match variable {
            Variable::Header(name) if name == "a" => Some(Cow::Borrowed("1")),
            Variable::Header(name) if name == "empty" => Some(Cow::Borrowed("")),
            _ => None,
        };
        let fill = |text: &str| {
            let template = FieldTemplate::parse(text).expect("a template");
            template.fill(value).map(Cow::into_owned)
        };
        assert_eq!(fill("{header.a}"), Some("1".to_owned()));
        assert_eq!(fill("{header.A}.x"), Some("1.x".to_owned()));
        assert_eq!(fill("x"), Some("x".to_owned()));
        for text in [
            "{header.b}",
            "{header.a}.{header.b}",
            "{header.empty}",
            "x{header.empty}",
        ] {
            assert_eq!(fill(text), None, "{text}");
        }
    }
}
