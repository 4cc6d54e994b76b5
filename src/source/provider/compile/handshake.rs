//! The `handshake` tables.

use super::super::table::{AnswerTable, ExpectedTable, HandshakeMethodName, HandshakeTable};
use super::super::{Handshake, HandshakeAnswer, HandshakeCondition, HandshakeValue};
use super::Problems;
use crate::json::Pointers;
use crate::source::template::{self, FieldTemplate, Variable};

/// Reads one; none where something is wrong with it.
pub fn handshake(problems: &mut Problems, path: &str, table: &HandshakeTable) -> Option<Handshake> {
    let before = problems.0.len();
    let method = match table.method {
        Some(HandshakeMethodName::Post) | None => "POST",
        Some(HandshakeMethodName::Get) => "GET",
        Some(HandshakeMethodName::Head) => "HEAD",
        Some(HandshakeMethodName::Options) => "OPTIONS",
    };
    if table.signed == Some(true) && method != "POST" {
        let found = "only a POST is signed";
        problems.add(format!("{path}.signed"), found, "take the key out");
    }
    let is_signed = method == "POST" && table.signed.unwrap_or(true);
    let goes_here = |variable: &Variable| match variable {
        Variable::Pointer(_) => is_signed,
        Variable::Header(_) | Variable::Query(_) => true,
        _ => false,
    };
    let mut when = Vec::new();
    for (text, expected) in table.when.iter().flatten() {
        let key = format!("{path}.when");
        let template = problems.template_of(&key, text, goes_here);
        let condition = condition(problems, &key, expected);
        when.extend(template.zip(condition));
    }
    match &table.when {
        None => problems.add(
            format!("{path}.when"),
            "there is none",
            "say what tells it from a delivery; {} is any request of another method than POST",
        ),
        Some(when) if when.is_empty() && method == "POST" => problems.add(
            format!("{path}.when"),
            "it is empty, so every delivery would be a handshake, and no event",
            "say what tells it from a delivery, such as { \"{/type}\" = \"ping\" }",
        ),
        Some(_) => {}
    }
    let answer = answer(problems, path, table, &goes_here);
    let mut handshake = Handshake {
        method,
        is_signed,
        when,
        answer: answer?,
        pointers: Pointers::default(),
    };
    let variables = handshake.templates().flat_map(FieldTemplate::variables);
    handshake.pointers = template::pointers(variables);
    (problems.0.len() == before).then_some(handshake)
}

fn condition(
    problems: &mut Problems,
    key: &str,
    expected: &ExpectedTable,
) -> Option<HandshakeCondition> {
    match expected {
        ExpectedTable::Text(text) if text == "*" => Some(HandshakeCondition::Present),
        ExpectedTable::Text(text) => Some(HandshakeCondition::Equals(text.clone())),
        ExpectedTable::Secret { secret } if secret == "verify" => {
            Some(HandshakeCondition::VerifySecret)
        }
        ExpectedTable::Secret { secret } => {
            let found = format!("a source has no secret {secret:?} for this");
            problems.none(key, found, "write { secret = \"verify\" }")
        }
    }
}

fn answer(
    problems: &mut Problems,
    path: &str,
    table: &HandshakeTable,
    goes_here: &dyn Fn(&Variable) -> bool,
) -> Option<HandshakeAnswer> {
    let key = format!("{path}.answer");
    let takes = |variable: &Variable| match variable {
        Variable::HmacHex(of) | Variable::HmacBase64(of) => goes_here(of),
        other => goes_here(other),
    };
    match table.answer.as_ref() {
        None => problems.none(&key, "there is none", "say what is answered"),
        Some(AnswerTable::Text(text)) if text.is_empty() => Some(HandshakeAnswer::Empty),
        Some(AnswerTable::Text(text)) => {
            let template = problems.template_of(&key, text, takes);
            template.map(HandshakeAnswer::Text)
        }
        Some(AnswerTable::Json(members)) => {
            let mut read = Vec::new();
            for (name, value) in members {
                let value = match value {
                    serde_json::Value::String(text) => problems
                        .template_of(&format!("{key}.{name}"), text, takes)
                        .map(HandshakeValue::Template),
                    constant => Some(HandshakeValue::Constant(constant.clone())),
                };
                read.extend(value.map(|value| (name.clone(), value)));
            }
            Some(HandshakeAnswer::Json(read))
        }
    }
}
