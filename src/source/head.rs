//! What the head of a request says: all that is known before its body is read.

use std::borrow::Cow;

use super::template::Variable;

/// The values of one header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderValue<'a> {
    /// There is no such header.
    Missing,
    /// There is one.
    Once(&'a [u8]),
    /// There are several; which one counts would be a guess.
    Repeated,
}

impl<'a> HeaderValue<'a> {
    /// The value there should be, of those there are.
    pub fn of(mut values: impl Iterator<Item = &'a [u8]>) -> Self {
        match (values.next(), values.next()) {
            (None, _) => Self::Missing,
            (Some(value), None) => Self::Once(value),
            (Some(_), Some(_)) => Self::Repeated,
        }
    }

    /// The one value, where it is visible ASCII.
    #[must_use]
    pub fn text(self) -> Option<&'a str> {
        match self {
            Self::Once(value) => {
                let is_visible = |b: u8| b == b'\t' || (b' '..=b'~').contains(&b);
                // Without an early exit, so that many bytes are looked at at once.
                let are_all = value.iter().fold(true, |all, b| all & is_visible(*b));
                std::str::from_utf8(value).ok().filter(|_| are_all)
            }
            _ => None,
        }
    }
}

/// A request's head, as whoever has it gives it.
pub trait RequestHead {
    /// The header of this name, in lower case.
    fn header(&self, name: &str) -> HeaderValue<'_>;
    /// The method.
    fn method(&self) -> &str;
    /// The query, without its question mark.
    fn query(&self) -> Option<&str>;
    /// The secret in the path, where there is one.
    fn path_secret(&self) -> Option<&str>;
}

/// A request's head in memory of its own, for a sender and for tests.
#[derive(Debug, Clone, Default)]
pub struct DeliveryHead {
    /// The headers, by their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The query, without its question mark.
    pub query: Option<String>,
    /// The secret in the path.
    pub path_secret: Option<String>,
    /// The method; POST where none.
    pub method: Option<String>,
}

impl DeliveryHead {
    /// A POST with these headers.
    #[must_use]
    pub fn of(headers: Vec<(String, String)>) -> Self {
        Self {
            headers,
            ..Self::default()
        }
    }
}

impl RequestHead for DeliveryHead {
    fn header(&self, name: &str) -> HeaderValue<'_> {
        let named = self
            .headers
            .iter()
            .filter(|(of, _)| of.eq_ignore_ascii_case(name));
        HeaderValue::of(named.map(|(_, value)| value.as_bytes()))
    }

    fn method(&self) -> &str {
        self.method.as_deref().unwrap_or("POST")
    }

    fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    fn path_secret(&self) -> Option<&str> {
        self.path_secret.as_deref()
    }
}

/// The values of a head that are still wanted once the body is there.
#[derive(Debug, Clone, Default)]
pub struct HeadValues {
    headers: Vec<(String, String)>,
    query: Option<String>,
    method: Option<String>,
    /// The configured URL with the request's query.
    url: Option<String>,
    items: Vec<(String, String)>,
}

impl HeadValues {
    /// Takes what `variables` name out of a head; what is not there, or stands there twice, is left
    /// out.
    pub(super) fn take<'a>(
        head: &dyn RequestHead,
        variables: impl Iterator<Item = &'a Variable>,
    ) -> Self {
        let mut values = Self::default();
        for variable in variables {
            match variable {
                Variable::Header(name) => values.take_header(head, name),
                Variable::Query(_) if values.query.is_none() => {
                    values.query = head.query().map(str::to_owned);
                }
                Variable::Method if values.method.is_none() => {
                    values.method = Some(head.method().to_owned());
                }
                _ => {}
            }
        }
        values
    }

    pub(super) fn take_header(&mut self, head: &dyn RequestHead, name: &str) {
        let is_taken = self.header(name).is_some();
        if !is_taken && let Some(value) = head.header(name).text() {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
    }

    pub(super) fn set_url(&mut self, url: String) {
        self.url = Some(url);
    }

    pub(super) fn set_items(&mut self, items: Vec<(String, String)>) {
        self.items = items;
    }

    pub(super) fn add_item(&mut self, item: Option<(String, String)>) {
        self.items.extend(item);
    }

    /// The header of this name, in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        value_of(&self.headers, name)
    }

    /// The configured URL with the request's query.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    /// What a variable of the head stands for; none where it is not there, or belongs to the body.
    #[must_use]
    pub fn value(&self, variable: &Variable) -> Option<Cow<'_, str>> {
        match variable {
            Variable::Header(name) => self.header(name).map(Cow::Borrowed),
            Variable::Item(name) => value_of(&self.items, name).map(Cow::Borrowed),
            Variable::Method => self.method.as_deref().map(Cow::Borrowed),
            Variable::Url => self.url().map(Cow::Borrowed),
            Variable::Query(name) => self.parameter(name),
            _ => None,
        }
    }

    /// The one parameter of the query with this name, decoded.
    fn parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        let query = self.query.as_deref()?;
        let mut named = form_urlencoded::parse(query.as_bytes()).filter(|(of, _)| of == name);
        let (_, value) = named.next()?;
        named.next().is_none().then_some(value)
    }
}

fn value_of<'a>(values: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = values.iter().find(|(of, _)| of == name);
    found.map(|(_, value)| value.as_str())
}
