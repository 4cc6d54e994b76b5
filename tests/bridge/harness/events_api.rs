//! One Codex's Events API as its documentation and its client's recordings have it, with all that is
//! odd about it, over TLS with an authority of its own; and what a test can do to it.

mod listing;
mod row;

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::Authority;
use super::https_server::{ApiRequest, Fate, HttpsServer, Reply};
pub use row::{EventStatus, Row};

/// The account's key.
pub const KEY: &str = "7d1f0c52b9e84a3f96aa5b0c1e2d3f48";
/// Requests of an account in a second; more are answered 429.
const LIMIT: usize = 10;
/// More than a client may want to read.
const TOO_LARGE: usize = 40 << 20;
const LIST: &str = "/api/v1/events";

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    All,
    /// Events, but not the subscriptions.
    Events,
    /// It is known, and may do nothing.
    Nothing,
}

/// A webhook subscription.
#[derive(Debug, Clone)]
pub struct Subscription {
    pub post_url: String,
    pub enabled: bool,
    /// One, or `*` for all.
    pub event_type: &'static str,
}

/// What goes wrong with a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The answer takes its time.
    Slow(Duration),
    /// It never comes.
    Hang,
    /// The connection ends in the middle of it.
    Cut,
    /// It is this status.
    Status(u16),
    /// It is 429, and says when to come again.
    RetryAfter(u64),
    /// It is a redirect.
    RedirectTo(String),
    /// It is a page for people.
    NotJson,
    /// It is 40 MiB of JSON.
    TooLarge,
    /// It is JSON of another shape.
    OtherShape,
    /// It is the first page, whichever is asked for, and says that there are more.
    FirstPage,
    /// It is the first page, and a cursor to it.
    CircularCursor,
}

/// A request, and what it was answered.
#[derive(Debug, Clone)]
pub struct Recorded {
    pub request: ApiRequest,
    /// None where something went wrong on purpose.
    pub status: Option<u16>,
}

impl Recorded {
    /// Whether a page of events was asked for.
    pub fn is_listing(&self) -> bool {
        self.request.path == LIST
    }

    /// Whether events of every status were asked for.
    pub fn is_of_all(&self) -> bool {
        self.is_listing() && self.request.parameter("where").is_none()
    }
}

type PageHook = Box<dyn FnMut(usize, &mut Vec<Row>) + Send>;

#[derive(Default)]
struct State {
    keys: HashMap<String, Rights>,
    rows: Vec<Row>,
    made: u64,
    subscriptions: Vec<Subscription>,
    has_cursors: bool,
    /// The next requests get one each.
    faults: VecDeque<Fault>,
    /// All others get this one.
    lasting: Option<Fault>,
    before_page: Option<PageHook>,
    pages: usize,
    /// How many requests have come, answered or not.
    arrived: usize,
    recorded: Vec<Recorded>,
    /// When requests came within the last second.
    answered: Vec<Instant>,
}

/// The server. Cloning it shares it; the last one to go takes it along.
#[derive(Clone)]
pub struct EventsApi {
    server: Arc<HttpsServer>,
    authority: Arc<Authority>,
    state: Arc<Mutex<State>>,
}

impl EventsApi {
    /// One that knows [`KEY`] and has no events.
    pub async fn start() -> Self {
        Self::calling_itself("IP:127.0.0.1").await
    }

    /// One whose certificate is for another name, such as `DNS:events.example`.
    pub async fn calling_itself(name: &str) -> Self {
        let authority = Authority::new();
        let pair = authority.vouches(name, 2);
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let server = HttpsServer::start(
            &pair,
            Arc::new(move |request| {
                let shared = Arc::clone(&shared);
                Box::pin(async move { answer(&shared, request).await })
            }),
        );
        let api = Self {
            server: Arc::new(server.await),
            authority: Arc::new(authority),
            state,
        };
        api.knows(KEY, Rights::All);
        api
    }

    /// Its base.
    pub fn url(&self) -> String {
        format!("https://{}", self.server.address)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.server.address.port()
    }

    /// Whom to trust.
    pub fn ca_file(&self) -> PathBuf {
        self.authority.certificate()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic inside")
    }

    /// From now on this key may do this.
    pub fn knows(&self, key: &str, rights: Rights) {
        self.state().keys.insert(key.to_owned(), rights);
    }

    /// From now on it does not know this key.
    pub fn revokes(&self, key: &str) {
        self.state().keys.remove(key);
    }

    /// One more event, at the end of the list; its id.
    pub fn adds(&self, row: Row) -> String {
        let mut state = self.state();
        state.made += 1;
        let row = row.numbered(state.made);
        let id = row.id.clone();
        state.rows.push(row);
        id
    }

    /// Each of these, in their order.
    pub fn adds_all(&self, rows: impl IntoIterator<Item = Row>) {
        for row in rows {
            self.adds(row);
        }
    }

    /// The event has this status from now on.
    pub fn becomes(&self, id: &str, status: EventStatus) {
        let mut state = self.state();
        let row = state.rows.iter_mut().find(|row| row.id == id);
        row.expect("it was added").status = status;
    }

    /// Its record is empty.
    pub fn forgets_all(&self) {
        self.state().rows.clear();
    }

    /// One more subscription.
    pub fn subscribes(&self, subscription: Subscription) {
        self.state().subscriptions.push(subscription);
    }

    /// It offers cursors to those who ask for them.
    pub fn offers_cursors(&self) {
        self.state().has_cursors = true;
    }

    /// From now on this is called with the number of each page that is asked for, from 1, and may
    /// change the list before it is answered.
    pub fn before_page(&self, mut hook: impl FnMut(usize, &mut Vec<Row>) + Send + 'static) {
        let mut made = 1 << 32;
        let mut state = self.state();
        state.pages = 0;
        state.before_page = Some(Box::new(move |page, rows| {
            hook(page, rows);
            for row in rows.iter_mut().filter(|row| row.number == 0) {
                made += 1;
                row.number = made;
            }
        }));
    }

    /// The next requests go wrong, one after the other.
    pub fn fails_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    /// Every request goes wrong from now on.
    pub fn fails(&self, fault: Fault) {
        self.state().lasting = Some(fault);
    }

    /// Nothing goes wrong any more.
    pub fn works(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.lasting = None;
    }

    /// What was asked and answered so far.
    pub fn recorded(&self) -> Vec<Recorded> {
        self.state().recorded.clone()
    }

    /// How many requests have come so far, answered or not.
    pub fn requests(&self) -> usize {
        self.state().arrived
    }

    /// Forgets what was asked.
    pub fn records_anew(&self) {
        let mut state = self.state();
        state.recorded.clear();
        state.arrived = 0;
    }

    /// Nothing was asked for that the API does not have, not too often, and with the key in its
    /// header alone.
    pub fn assert_polite(&self) {
        let recorded = self.recorded();
        for one in &recorded {
            assert!(
                !matches!(one.status, Some(400 | 404 | 405 | 429)),
                "{one:?}"
            );
            let has_key = |text: &str| text.contains(KEY);
            let pairs = one.request.query.iter();
            let in_url = pairs.flat_map(|(name, value)| [name, value]);
            assert!(!in_url.into_iter().any(|text| has_key(text)), "{one:?}");
        }
        assert_paced(&recorded);
    }
}

/// Two requests a second. A run begins at once, whenever the last one ended, and a request may be
/// held up on its way.
fn assert_paced(recorded: &[Recorded]) {
    for few in recorded.windows(5) {
        let took = few[few.len() - 1].request.at - few[0].request.at;
        assert!(took > Duration::from_millis(1200), "{took:?}: {few:#?}");
    }
}

/// An error as the API answers it.
fn error(status: u16, message: &str) -> Reply {
    let body = json!({ "message": message, "status": status });
    Reply::json(status, body.to_string())
}

async fn answer(state: &Mutex<State>, request: ApiRequest) -> Reply {
    let fault = {
        let mut state = state.lock().expect("no panic inside");
        state.arrived += 1;
        let fault = state.faults.pop_front();
        fault.or_else(|| state.lasting.clone())
    };
    if let Some(Fault::Slow(time)) = &fault {
        tokio::time::sleep(*time).await;
    }
    let mut state = state.lock().expect("no panic inside");
    let reply = match &fault {
        Some(Fault::FirstPage | Fault::CircularCursor) => state.answer(&of_first_page(&request)),
        _ => state.answer(&request),
    };
    let (status, reply) = match fault {
        None | Some(Fault::Slow(_)) => (Some(reply.status), reply),
        Some(fault) => (None, spoilt(fault, reply)),
    };
    state.recorded.push(Recorded { request, status });
    reply
}

impl State {
    fn answer(&mut self, request: &ApiRequest) -> Reply {
        let rights = key(request).and_then(|key| self.keys.get(&key).copied());
        let Some(rights) = rights else {
            return error(401, "Authentication required.");
        };
        if self.is_too_fast(request.at) {
            let body = r#"{"msg":"Rate limited.","status":429}"#;
            return Reply::json(429, body);
        }
        if request.method != "GET" {
            return error(405, "Method not allowed.");
        }
        match request.path.as_str() {
            _ if rights == Rights::Nothing => error(403, "Permission denied."),
            LIST => self.list(request),
            "/api/v1/webhooks" if rights == Rights::All => self.webhooks(),
            "/api/v1/webhooks" => error(403, "Permission denied."),
            "/api/v1/schema" | "/api/v1/events/schema" => Reply::json(200, schema()),
            path => {
                let found = self.rows.iter().find(|row| row.uri() == path);
                let found = found.map(|row| Reply::json(200, row.json()));
                found.unwrap_or_else(|| error(404, "Not found."))
            }
        }
    }

    fn is_too_fast(&mut self, now: Instant) -> bool {
        let is_recent = |at: &Instant| now.duration_since(*at) < Duration::from_secs(1);
        self.answered.retain(is_recent);
        self.answered.push(now);
        self.answered.len() > LIMIT
    }

    fn list(&mut self, request: &ApiRequest) -> Reply {
        self.pages += 1;
        if let Some(hook) = &mut self.before_page {
            hook(self.pages, &mut self.rows);
        }
        Reply {
            is_chunked: self.pages.is_multiple_of(2),
            ..listing::answer(&self.rows, request, self.has_cursors)
        }
    }

    fn webhooks(&self) -> Reply {
        let subscriptions = self.subscriptions.iter().enumerate();
        let list = subscriptions.map(|(number, subscription)| {
            json!({
                "$uri": format!("/api/v1/webhooks/{number:016x}"),
                "api_version": "v1",
                "created_at": "2026-01-05T10:00:00.000000+00:00",
                "enabled": subscription.enabled,
                "event_type": subscription.event_type,
                "post_url": subscription.post_url,
            })
        });
        let list: Vec<_> = list.collect();
        Reply::json(200, json!(list).to_string()).with("x-total-count", list.len().to_string())
    }
}

/// The same request, without what it says of a page.
fn of_first_page(request: &ApiRequest) -> ApiRequest {
    let mut request = request.clone();
    request
        .query
        .retain(|(name, _)| name != "page" && name != "cursor");
    request
}

/// The key that a request shows, in one of the three ways.
fn key(request: &ApiRequest) -> Option<String> {
    if let Some(key) = request.header("x-api-key") {
        return Some(key.to_owned());
    }
    let (scheme, value) = request.header("authorization")?.split_once(' ')?;
    match scheme {
        "Bearer" => Some(value.to_owned()),
        "Basic" => {
            let pair = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
            pair.strip_suffix(':').map(str::to_owned)
        }
        _ => None,
    }
}

/// As recorded years ago: the payload is a string in it.
fn schema() -> String {
    json!({
        "type": "object",
        "properties": {
            "$uri": { "type": "string", "pattern": "^/api/v1/events/[a-f0-9]{16}$" },
            "payload": { "type": "string" },
            "status": { "type": "string", "enum": ["pending", "retryable", "success", "failed"] },
        },
    })
    .to_string()
}

/// The answer after something has gone wrong.
fn spoilt(fault: Fault, reply: Reply) -> Reply {
    match fault {
        Fault::Slow(_) => reply,
        Fault::Hang => Reply {
            fate: Fate::Hang,
            ..reply
        },
        Fault::Cut => Reply {
            fate: Fate::Cut,
            ..reply
        },
        Fault::Status(429) => Reply::json(429, r#"{"msg":"Rate limited.","status":429}"#),
        Fault::Status(status) => error(status, "Something went wrong."),
        Fault::RetryAfter(seconds) => Reply::json(429, r#"{"msg":"Rate limited.","status":429}"#)
            .with("retry-after", seconds.to_string()),
        Fault::RedirectTo(place) => Reply::json(302, "").with("location", place),
        Fault::NotJson => Reply {
            headers: vec![("content-type", "text/html".to_owned())],
            body: b"<html><body>Down for maintenance.</body></html>".to_vec(),
            ..reply
        },
        Fault::TooLarge => {
            let mut body = vec![b' '; TOO_LARGE];
            body[0] = b'[';
            body.push(b']');
            Reply { body, ..reply }
        }
        Fault::FirstPage => {
            let headers = vec![("x-total-count", "100000".to_owned())];
            Reply { headers, ..reply }
        }
        Fault::CircularCursor => reply.with("x-next-cursor", "after-1"),
        Fault::OtherShape => Reply {
            body: br#"{"events":[],"total":0}"#.to_vec(),
            ..reply
        },
    }
}
