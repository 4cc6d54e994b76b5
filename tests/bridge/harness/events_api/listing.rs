//! The list of events: which are asked for, and the pages they come in.

use serde_json::Value;

use super::row::{EventStatus, Row};
use super::{LIST, error};
use crate::harness::https_server::{ApiRequest, Reply};

/// Rows of a page where the request does not say, as the server's schema has it.
const PER_PAGE: usize = 20;
const MAX_PER_PAGE: usize = 1000;

/// What a request asks for.
pub(super) struct Listing {
    conditions: Vec<Condition>,
    page: usize,
    per_page: usize,
    /// The last row of the page before.
    cursor: Option<u64>,
    /// Whether this is answered with a cursor.
    by_cursor: bool,
}

enum Condition {
    /// The status is, or is not, one of these.
    Status(Vec<String>, bool),
    /// The `$uri` is one of these.
    Uri(Vec<String>),
    Payload(String, String),
}

impl Listing {
    /// Reads the parameters; an error says what the server does not know.
    pub(super) fn parse(request: &ApiRequest, has_cursors: bool) -> Result<Self, String> {
        let offered = request.header("x-pagination-style") == Some("cursor");
        let mut listing = Self {
            conditions: Vec::new(),
            page: 1,
            per_page: PER_PAGE,
            cursor: None,
            by_cursor: has_cursors && offered,
        };
        for (name, value) in &request.query {
            match name.as_str() {
                "page" => listing.page = number(value, usize::MAX)?,
                "per_page" => listing.per_page = number(value, MAX_PER_PAGE)?,
                "where" => listing.conditions = conditions(value)?,
                "sort" => sorted(value)?,
                "cursor" if has_cursors => {
                    let last = value.strip_prefix("after-").and_then(|it| it.parse().ok());
                    listing.cursor = Some(last.ok_or("cursor: not one of ours")?);
                }
                _ => return Err(format!("{name}: unknown parameter")),
            }
        }
        let has_page = request.parameter("page").is_some();
        if has_page && listing.cursor.is_some() {
            return Err("page: not with a cursor".to_owned());
        }
        Ok(listing)
    }

    /// The page of these rows.
    pub(super) fn page_of(&self, rows: &[Row]) -> Reply {
        let is_asked = |row: &&Row| self.conditions.iter().all(|condition| condition.holds(row));
        let mut asked: Vec<&Row> = rows.iter().filter(is_asked).collect();
        let total = asked.len();
        if self.by_cursor {
            asked.sort_by_key(|row| row.number);
            asked.retain(|row| self.cursor.is_none_or(|last| row.number > last));
        } else {
            asked.drain(..total.min((self.page - 1).saturating_mul(self.per_page)));
        }
        let is_last = asked.len() <= self.per_page;
        asked.truncate(self.per_page);
        let json: Vec<String> = asked.iter().map(|row| row.json()).collect();
        let reply = Reply::json(200, format!("[{}]", json.join(",\n ")))
            .with("x-total-count", total.to_string());
        match asked.last() {
            Some(last) if self.by_cursor && !is_last => {
                reply.with("x-next-cursor", format!("after-{}", last.number))
            }
            _ if self.by_cursor => reply,
            _ => reply.with("link", self.link(total)),
        }
    }

    /// As the server makes it: of the page and its size alone, without commas in between.
    fn link(&self, total: usize) -> String {
        let per_page = self.per_page;
        let last = total.div_ceil(per_page).max(1);
        let one = |page: usize, relation: &str| {
            format!("<{LIST}?page={page}&per_page={per_page}>; rel=\"{relation}\"")
        };
        let mut links = vec![one(self.page, "self"), one(1, "first")];
        if self.page < last {
            links.push(one(self.page + 1, "next"));
        }
        links.push(one(last, "last"));
        links.join(" ")
    }
}

impl Condition {
    fn holds(&self, row: &Row) -> bool {
        match self {
            Self::Status(of, is) => of.iter().any(|one| one == row.status.as_str()) == *is,
            Self::Uri(of) => of.contains(&row.uri()),
            Self::Payload(operator, text) => {
                let payload = row.text_of_payload();
                match operator.as_str() {
                    "$contains" => payload.contains(text),
                    "$startswith" => payload.starts_with(text),
                    _ => payload.ends_with(text),
                }
            }
        }
    }
}

fn number(value: &str, most: usize) -> Result<usize, String> {
    let number = value.parse().ok().filter(|it| (1..=most).contains(it));
    number.ok_or_else(|| format!("{value}: not from 1 to {most}"))
}

fn sorted(value: &str) -> Result<(), String> {
    let sort: Value = serde_json::from_str(value).map_err(|error| format!("sort: {error}"))?;
    let fields = sort.as_object().ok_or("sort: no object")?.keys();
    match fields.into_iter().find(|field| !is_field(field)) {
        Some(field) => Err(format!("sort: there is no {field}")),
        None => Ok(()),
    }
}

fn is_field(name: &str) -> bool {
    ["$uri", "payload", "status"].contains(&name)
}

fn conditions(value: &str) -> Result<Vec<Condition>, String> {
    let filter: Value = serde_json::from_str(value).map_err(|error| format!("where: {error}"))?;
    let fields = filter.as_object().ok_or("where: no object")?;
    let mut conditions = Vec::new();
    for (field, asked) in fields {
        if !is_field(field) {
            return Err(format!("where: there is no {field}"));
        }
        match asked {
            Value::Object(operators) => {
                for (operator, operand) in operators {
                    conditions.push(condition(field, operator, operand)?);
                }
            }
            operand => conditions.push(condition(field, "$eq", operand)?),
        }
    }
    Ok(conditions)
}

fn condition(field: &str, operator: &str, operand: &Value) -> Result<Condition, String> {
    let wrong = || format!("where: {field} has no {operator} of {operand}");
    let texts = match operand {
        Value::Array(list) if operator == "$in" => list.iter().map(Value::as_str).collect(),
        operand if operator != "$in" => Some(operand.as_str().into_iter().collect()),
        _ => None,
    };
    let texts: Vec<&str> = texts.ok_or_else(wrong)?;
    let texts: Vec<String> = texts.into_iter().map(str::to_owned).collect();
    let is_known = |text: &String| EventStatus::ALL.iter().any(|it| it.as_str() == text);
    match (field, operator) {
        ("status", "$eq" | "$in" | "$ne") if !texts.is_empty() && texts.iter().all(is_known) => {
            Ok(Condition::Status(texts, operator != "$ne"))
        }
        ("$uri", "$eq" | "$in") => Ok(Condition::Uri(texts)),
        ("payload", "$contains" | "$startswith" | "$endswith") => {
            let text = texts.into_iter().next().ok_or_else(wrong)?;
            Ok(Condition::Payload(operator.to_owned(), text))
        }
        _ => Err(wrong()),
    }
}

/// The answer to a request for a page.
pub(super) fn answer(rows: &[Row], request: &ApiRequest, has_cursors: bool) -> Reply {
    match Listing::parse(request, has_cursors) {
        Ok(listing) => listing.page_of(rows),
        Err(why) => error(400, &why),
    }
}
