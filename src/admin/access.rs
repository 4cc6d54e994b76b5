//! Access control of the operators' listener: the token, the host and the header for changes, which are
//! asked of every request before anything else.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode, header};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage as _, HttpRequest, HttpResponse};
use arc_swap::ArcSwap;
use jiff::Timestamp;

use super::host::{self, Host};
use super::problem::AdminProblem;
use super::token::AdminToken;
use super::wrong_tokens::WrongTokens;
use super::{route, session};
use crate::ingress::EarlyBody;
use crate::metrics::Metrics;

/// The header that every change must carry, whatever its value. No form can send it, and a script of
/// another site only after the browser has asked for leave, which is never given.
pub const REQUEST_HEADER: &str = "x-hookferry-request";

/// The token that is shown is not the one.
const WRONG_TOKEN: &str = "wrong_token";
/// Whatever token is shown is not looked at.
const TOO_MANY_WRONG: &str = "too_many_wrong_tokens";

/// What requests are held against; replaced as a whole when the configuration is reloaded.
#[derive(Debug, Clone, Default)]
pub struct AccessRules {
    /// The token that is demanded, if one is.
    pub token: Option<AdminToken>,
    /// Names that the listener goes by, besides those of its addresses.
    pub hosts: Vec<Host>,
}

/// The local address of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct LocalAddress(pub IpAddr);

/// Lets a request through, or says why not.
pub(super) async fn check(
    rules: Data<ArcSwap<AccessRules>>,
    wrong_tokens: Data<WrongTokens>,
    metrics: Data<Metrics>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let checked = rules.load().check(request.request(), &wrong_tokens);
    if let Err(problem) = checked {
        let refused = &metrics.admin_tokens_refused_total;
        match problem.reason {
            WRONG_TOKEN => refused.with_label_values(&["wrong"]).inc(),
            TOO_MANY_WRONG => refused.with_label_values(&["rate_limited"]).inc(),
            _ => {}
        }
        tracing::debug!(
            peer = ?request.peer_addr(),
            method = %request.method(),
            path = request.path(),
            reason = problem.reason,
            "a request to the operators' listener is refused"
        );
        let response = response(&problem);
        return Ok(request.into_response(response));
    }
    let answered = next.call(request).await?;
    Ok(answered.map_into_boxed_body())
}

/// Nothing here takes a body, and one in chunks need never end: it would hold its connection, and with
/// enough of them keep out scrapes and probes.
pub(super) async fn refuse_body(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if request.headers().contains_key(header::TRANSFER_ENCODING) {
        let unread = request.take_payload();
        let mut response = HttpResponse::PayloadTooLarge();
        response.force_close();
        let text = "nothing here takes a body\n".to_owned();
        return Ok(request.into_response(response.body(EarlyBody::new(text, unread))));
    }
    let answered = next.call(request).await?;
    Ok(answered.map_into_boxed_body())
}

/// The answer to a refused request, whose sender has proven nothing: no second one follows on its
/// connection.
fn response(problem: &AdminProblem) -> HttpResponse {
    let mut response = problem.response();
    response
        .head_mut()
        .set_connection_type(actix_web::http::ConnectionType::Close);
    if response.status() == StatusCode::UNAUTHORIZED {
        let demanded = header::HeaderValue::from_static("Bearer realm=\"hookferry\"");
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, demanded);
    }
    response
}

impl AccessRules {
    fn check(&self, request: &HttpRequest, wrong_tokens: &WrongTokens) -> Result<(), AdminProblem> {
        self.check_host(request)?;
        check_site(request)?;
        let is_open = changes_nothing(request) && request.path() == route::PAGE;
        if let Some(token) = self.token.as_ref().filter(|_| !is_open) {
            check_token(token, request, wrong_tokens)?;
        }
        check_header(request)
    }

    /// Every name that the request gives must be ours. HTTP/1.0 needs none, and no browser speaks it.
    fn check_host(&self, request: &HttpRequest) -> Result<(), AdminProblem> {
        let local_address = request
            .conn_data::<LocalAddress>()
            .map(|local_address| local_address.0);
        let headers = request.headers().get_all(header::HOST);
        let named = headers.map(|value| value.to_str().unwrap_or_default());
        let target = request
            .uri()
            .authority()
            .map(|authority| authority.as_str());
        for name in named.chain(target) {
            let host = Host::of_header(name).ok();
            if !host.is_some_and(|host| host::is_ours(&host, local_address, &self.hosts)) {
                return Err(AdminProblem::new(
                    StatusCode::MISDIRECTED_REQUEST,
                    "foreign_host",
                    "the listener does not go by the name that the request gives: ask it by its address, or put the name into admin.hosts",
                ));
            }
        }
        Ok(())
    }
}

/// A page of another site cannot read an answer, but it could have the disk read or take places; its
/// browser says whose page asks (W3C Fetch Metadata). Somebody who follows a link may.
fn check_site(request: &HttpRequest) -> Result<(), AdminProblem> {
    let is = |name: &str, texts: &[&[u8]]| {
        let value = request.headers().get(name);
        value.is_none_or(|value| texts.contains(&value.as_bytes()))
    };
    let is_ours = is("sec-fetch-site", &[b"same-origin", b"none"]);
    if is_ours || is("sec-fetch-mode", &[b"navigate"]) {
        return Ok(());
    }
    Err(AdminProblem::new(
        StatusCode::FORBIDDEN,
        "foreign_page",
        "a page of another site asks, by what the browser says (Sec-Fetch-Site)",
    ))
}

/// The token is shown in a header; to look, the session of somebody who has shown it is enough.
fn check_token(
    token: &AdminToken,
    request: &HttpRequest,
    wrong_tokens: &WrongTokens,
) -> Result<(), AdminProblem> {
    let Some(shown) = request.headers().get(header::AUTHORIZATION) else {
        return check_session(token, request);
    };
    let (address, now) = (request.peer_addr().map(|it| it.ip()), Instant::now());
    if let Some(wait) = address.and_then(|address| wrong_tokens.blocked_for(address, now)) {
        return Err(too_many_wrong(wait));
    }
    if shown.to_str().is_ok_and(|shown| token.is_shown_by(shown)) {
        return Ok(());
    }
    if let Some(address) = address {
        wrong_tokens.note(address, shown.as_bytes(), now);
    }
    Err(AdminProblem::new(
        StatusCode::UNAUTHORIZED,
        WRONG_TOKEN,
        "the token is not the one that admin.token of the bridge's configuration names",
    ))
}

fn check_session(token: &AdminToken, request: &HttpRequest) -> Result<(), AdminProblem> {
    if !session::is_shown(request, token, Timestamp::now()) && request.path() != route::LOGOUT {
        return Err(AdminProblem::new(
            StatusCode::UNAUTHORIZED,
            "token_missing",
            "the listener demands a token, as `Authorization: Bearer …`: the one that admin.token of the bridge's configuration names; commands take it from there, or by --token-file or --token-env",
        ));
    }
    if changes_nothing(request) || request.path() == route::LOGOUT {
        return Ok(());
    }
    Err(AdminProblem::new(
        StatusCode::FORBIDDEN,
        "token_header_missing",
        "a request that changes something needs the token itself, as `Authorization: Bearer …`; the cookie of a login is only for looking",
    ))
}

fn too_many_wrong(wait: Duration) -> AdminProblem {
    let seconds = wait.as_secs().max(1);
    AdminProblem::new(
        StatusCode::TOO_MANY_REQUESTS,
        TOO_MANY_WRONG,
        format!("too many wrong tokens have come from this address; for {seconds} seconds none is looked at"),
    )
    .retry_after(seconds)
}

fn changes_nothing(request: &HttpRequest) -> bool {
    [Method::GET, Method::HEAD].contains(request.method())
}

fn check_header(request: &HttpRequest) -> Result<(), AdminProblem> {
    if changes_nothing(request) || request.headers().contains_key(REQUEST_HEADER) {
        return Ok(());
    }
    Err(AdminProblem::new(
        StatusCode::FORBIDDEN,
        "header_missing",
        "a request that changes something needs the header `X-Hookferry-Request: 1`, which no page of another site can send",
    ))
}
