//! GitHub's REST API for the webhook of a repository: its deliveries, and how one is sent again; and
//! GitHub as their sender.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::Sha256;

use super::https_server::{ApiRequest, HttpsServer, Reply};
use super::{Authority, Post};

/// A token that may administer the repository's webhooks.
pub const TOKEN: &str = "github_pat_of_the_tests_3f9a1c";
/// What deliveries are signed with.
pub const WEBHOOK_SECRET: &str = "a-secret-of-the-tests-that-is-long";

const HOOK: &str = "/repos/lab/pipelines/hooks/31415926";
const VERSION: &str = "2022-11-28";
/// Deliveries of a page where the request does not say, and the most there may be.
const PER_PAGE: usize = 30;
const MAX_PER_PAGE: usize = 100;

/// An attempt at a delivery.
#[derive(Debug, Clone)]
pub struct HookDelivery {
    id: u64,
    pub guid: String,
    delivered_at: Timestamp,
    is_redelivery: bool,
    pub status_code: u16,
    body: String,
}

impl HookDelivery {
    fn json(&self) -> Value {
        let is_taken = (200..300).contains(&self.status_code);
        json!({
            "id": self.id,
            "guid": self.guid,
            "delivered_at": self.delivered_at.to_string(),
            "redelivery": self.is_redelivery,
            "duration": 0.27,
            "status": if is_taken { "OK".to_owned() } else { format!("Invalid HTTP Response: {}", self.status_code) },
            "status_code": self.status_code,
            "event": "push",
            "action": null,
            "installation_id": null,
            "repository_id": 42,
            "throttled_at": null,
        })
    }
}

/// Where the hook's deliveries go.
#[derive(Debug, Clone)]
struct Receiver {
    address: SocketAddr,
    source: String,
}

struct State {
    active: bool,
    hook_url: String,
    secret: String,
    receiver: Option<Receiver>,
    /// Newest first, as they are listed.
    deliveries: Vec<HookDelivery>,
    made: u64,
    requests: Vec<(ApiRequest, u16)>,
    /// What every request is answered instead.
    lasting: Option<u16>,
    /// Deliveries that are not sent again, by their guids.
    refused: Vec<String>,
    /// The base of the links to further pages, where it is not the server's own.
    links_to: Option<String>,
}

/// The server. Cloning it shares it; the last one to go takes it along.
#[derive(Clone)]
pub struct GitHubApi {
    server: Arc<HttpsServer>,
    authority: Arc<Authority>,
    state: Arc<Mutex<State>>,
}

impl GitHubApi {
    /// One whose hook has no deliveries.
    pub async fn start() -> Self {
        let authority = Authority::new();
        let pair = authority.vouches("IP:127.0.0.1", 2);
        let state = Arc::new(Mutex::new(State {
            active: true,
            hook_url: String::new(),
            secret: WEBHOOK_SECRET.to_owned(),
            receiver: None,
            deliveries: Vec::new(),
            made: 12_077_000_000,
            requests: Vec::new(),
            lasting: None,
            refused: Vec::new(),
            links_to: None,
        }));
        let shared = Arc::clone(&state);
        let server = HttpsServer::start(
            &pair,
            Arc::new(move |request| {
                let shared = Arc::clone(&shared);
                Box::pin(async move { answer(&shared, request) })
            }),
        );
        Self {
            server: Arc::new(server.await),
            authority: Arc::new(authority),
            state,
        }
    }

    /// The hook's URL in the API.
    pub fn url(&self) -> String {
        format!("https://{}{HOOK}", self.server.address)
    }

    /// Whom to trust.
    pub fn ca_file(&self) -> PathBuf {
        self.authority.certificate()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic inside")
    }

    /// From now on deliveries go to this source there.
    pub fn sends_to(&self, address: SocketAddr, source: &str) {
        let mut state = self.state();
        state.hook_url = format!("https://hooks.example.com/webhooks/{source}");
        state.receiver = Some(Receiver {
            address,
            source: source.to_owned(),
        });
    }

    /// From now on they are signed with this.
    pub fn signs_with(&self, secret: &str) {
        secret.clone_into(&mut self.state().secret);
    }

    /// The hook is switched on or off.
    pub fn switches(&self, active: bool) {
        self.state().active = active;
    }

    /// From now on every request is answered this; none where all is well.
    pub fn fails(&self, status: Option<u16>) {
        self.state().lasting = status;
    }

    /// This delivery is not sent again, whoever asks for it.
    pub fn refuses(&self, guid: &str) {
        self.state().refused.push(guid.to_owned());
    }

    /// From now on further pages are said to be elsewhere.
    pub fn links_to(&self, base: &str) {
        self.state().links_to = Some(base.to_owned());
    }

    /// A delivery that was just made, with this status; its guid.
    pub fn has_failed(&self, body: &str, status_code: u16) -> String {
        self.was_tried(body, &[(0, status_code)])
    }

    /// A delivery that was tried so many hours ago, with these statuses, the first attempt first; its
    /// guid.
    pub fn was_tried(&self, body: &str, attempts: &[(i64, u16)]) -> String {
        let guid = uuid::Builder::from_random_bytes(rand::random()).into_uuid();
        let guid = guid.to_string();
        let mut state = self.state();
        for (number, (hours, status_code)) in attempts.iter().enumerate() {
            let time = Timestamp::now() - SignedDuration::from_hours(*hours);
            state.record(&guid, body, (*status_code, number > 0), time);
        }
        guid
    }

    /// A delivery that is made now.
    pub async fn delivers(&self, body: &str) -> String {
        let guid = self.has_failed(body, 0);
        let (receiver, secret) = {
            let state = self.state();
            (state.receiver.clone(), state.secret.clone())
        };
        let status = send(receiver, &secret, &guid, body).await;
        self.state().deliveries[0].status_code = status;
        guid
    }

    /// Every attempt, newest first.
    pub fn deliveries(&self) -> Vec<HookDelivery> {
        self.state().deliveries.clone()
    }

    /// How often a delivery was asked to be sent again, by its guid.
    pub fn redeliveries(&self, guid: &str) -> usize {
        let state = self.state();
        let of_it = state.deliveries.iter().filter(|it| it.guid == guid);
        of_it.filter(|it| it.is_redelivery).count()
    }

    /// What a delivery holds, by its guid.
    pub fn body_of(&self, guid: &str) -> String {
        let state = self.state();
        let found = state.deliveries.iter().find(|it| it.guid == guid);
        found.expect("it was made").body.clone()
    }

    /// The requests so far, and how they were answered.
    pub fn requests(&self) -> Vec<(ApiRequest, u16)> {
        self.state().requests.clone()
    }
}

impl State {
    fn record(
        &mut self,
        guid: &str,
        body: &str,
        (status_code, is_redelivery): (u16, bool),
        delivered_at: Timestamp,
    ) {
        self.made += 1;
        let delivery = HookDelivery {
            id: self.made,
            guid: guid.to_owned(),
            delivered_at,
            is_redelivery,
            status_code,
            body: body.to_owned(),
        };
        self.deliveries.insert(0, delivery);
    }

    fn answer(&self, request: &ApiRequest) -> Reply {
        if request.header("user-agent").is_none_or(str::is_empty) {
            return error(403, "Request forbidden by administrative rules.");
        }
        if request.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
            return error(401, "Bad credentials");
        }
        if let Some(status) = self.lasting {
            return error(status, "Something went wrong");
        }
        let version = request.header("x-github-api-version");
        if version.is_some_and(|version| version != VERSION) {
            return error(400, "This version of the API is not supported");
        }
        let Some(rest) = request.path.strip_prefix(HOOK) else {
            return error(404, "Not Found");
        };
        match (request.method.as_str(), rest) {
            ("GET", "") => self.hook(),
            ("GET", "/deliveries") => self.list(request),
            ("POST", rest) if rest.ends_with("/attempts") => match self.again(rest) {
                Some(of) if self.refused.contains(&of.guid) => {
                    error(422, "The delivery cannot be redelivered")
                }
                Some(_) => Reply::json(202, "{}"),
                None => error(404, "Not Found"),
            },
            _ => error(404, "Not Found"),
        }
    }

    fn hook(&self) -> Reply {
        let hook = json!({
            "type": "Repository", "id": 31_415_926, "name": "web", "active": self.active,
            "events": ["push"],
            "config": {
                "content_type": "json", "insecure_ssl": "0", "secret": "********", "url": self.hook_url,
            },
            "deliveries_url": format!("https://api.github.com{HOOK}/deliveries"),
        });
        Reply::json(200, hook.to_string())
    }

    fn list(&self, request: &ApiRequest) -> Reply {
        let per_page = request.parameter("per_page").map(str::parse);
        let per_page = per_page.and_then(Result::ok).unwrap_or(PER_PAGE);
        if !(1..=MAX_PER_PAGE).contains(&per_page) {
            return error(422, "per_page is too large");
        }
        let before: u64 = match request.parameter("cursor") {
            None => u64::MAX,
            Some(cursor) => match cursor.strip_prefix("v1_").and_then(|it| it.parse().ok()) {
                Some(before) => before,
                None => return error(422, "Invalid cursor"),
            },
        };
        let mut left = self.deliveries.iter().filter(|it| it.id < before);
        let page: Vec<&HookDelivery> = left.by_ref().take(per_page).collect();
        let rows: Vec<Value> = page.iter().map(|it| it.json()).collect();
        let reply = Reply::json(200, json!(rows).to_string());
        match page.last().filter(|_| left.next().is_some()) {
            None => reply,
            Some(last) => {
                let own = || format!("https://{}", request.header("host").unwrap_or_default());
                let base = self.links_to.clone().unwrap_or_else(own);
                let next = format!(
                    "<{base}{HOOK}/deliveries?per_page={per_page}&cursor=v1_{}>; rel=\"next\"",
                    last.id
                );
                reply.with("link", next)
            }
        }
    }

    /// The delivery that is asked for again.
    fn again(&self, rest: &str) -> Option<&HookDelivery> {
        let id = rest
            .strip_prefix("/deliveries/")?
            .strip_suffix("/attempts")?;
        let id: u64 = id.parse().ok()?;
        self.deliveries.iter().find(|it| it.id == id)
    }
}

fn error(status: u16, message: &str) -> Reply {
    let body = json!({
        "message": message,
        "documentation_url": "https://docs.github.com/rest",
        "status": status.to_string(),
    });
    Reply::json(status, body.to_string())
}

fn answer(shared: &Arc<Mutex<State>>, request: ApiRequest) -> Reply {
    let mut state = shared.lock().expect("no panic inside");
    let reply = state.answer(&request);
    if reply.status == 202 {
        let rest = request.path.strip_prefix(HOOK).unwrap_or_default();
        let of = state.again(rest).expect("it was found").clone();
        let (receiver, secret) = (state.receiver.clone(), state.secret.clone());
        let shared = Arc::clone(shared);
        // The answer does not wait for it.
        tokio::spawn(async move {
            let status = send(receiver, &secret, &of.guid, &of.body).await;
            let mut state = shared.lock().expect("no panic inside");
            state.record(&of.guid, &of.body, (status, true), Timestamp::now());
        });
    }
    state.requests.push((request, reply.status));
    reply
}

/// Makes a delivery; the status that it is answered with, or 502 where nobody answers.
async fn send(receiver: Option<Receiver>, secret: &str, guid: &str, body: &str) -> u16 {
    let Some(receiver) = receiver else {
        return 502;
    };
    let post = Post::unsigned(&receiver.source, body)
        .with("x-github-event", "push")
        .with("x-github-delivery", guid)
        .with("x-github-hook-id", "31415926")
        .with("x-hub-signature-256", &signature(secret, body));
    let answer = post.to(receiver.address).await;
    answer.map_or(502, |answer| answer.status)
}

/// The header that a delivery is signed by.
pub fn signature(secret: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key will do");
    mac.update(body.as_bytes());
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// The body of a push to a repository.
pub fn push(number: usize) -> String {
    format!(
        "{{\"ref\":\"refs/heads/main\",\"before\":\"{:040x}\",\"after\":\"{number:040x}\",\"repository\":{{\"id\":42,\"full_name\":\"lab/pipelines\"}},\"commits\":[]}}",
        rand::random::<u64>()
    )
}
