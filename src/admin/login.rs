//! Logging in and out of the operators' page.

use actix_web::http::header;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use arc_swap::ArcSwap;
use jiff::Timestamp;

use super::access::AccessRules;
use super::route::LOGOUT;
use super::session;
use super::token::AdminToken;

/// The routes of this file.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/login", web::post().to(log_in))
        .route(LOGOUT, web::post().to(log_out));
}

/// Whoever gets here has shown the token, as every change must: the answer is a session.
async fn log_in(request: HttpRequest, rules: Data<ArcSwap<AccessRules>>) -> HttpResponse {
    let begin = |token: &AdminToken| {
        session::begin(token, Timestamp::now(), session::is_encrypted(&request))
    };
    answer(rules.load().token.as_ref().map(begin))
}

/// Takes the session away from the browser; nobody needs a right for that.
async fn log_out(request: HttpRequest, rules: Data<ArcSwap<AccessRules>>) -> HttpResponse {
    let cookie = |token: &AdminToken| session::end(token, session::is_encrypted(&request));
    answer(rules.load().token.as_ref().map(cookie))
}

/// An answer with this cookie; where no token is demanded, there is none.
fn answer(cookie: Option<String>) -> HttpResponse {
    let mut response = HttpResponse::NoContent();
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    if let Some(cookie) = cookie {
        response.insert_header((header::SET_COOKIE, cookie));
    }
    response.finish()
}
