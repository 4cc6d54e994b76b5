//! Logging in and out of the operators' page.

use actix_web::http::header;
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use arc_swap::ArcSwap;
use jiff::Timestamp;

use super::access::AccessRules;
use super::route::LOGOUT;
use super::session;

/// The routes of this file.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/login", web::post().to(log_in))
        .route(LOGOUT, web::post().to(log_out));
}

/// Whoever gets here has shown the token, as every change must: the answer is a session.
async fn log_in(request: HttpRequest, rules: Data<ArcSwap<AccessRules>>) -> HttpResponse {
    let mut response = HttpResponse::NoContent();
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    if let Some(token) = &rules.load().token {
        let is_encrypted = session::is_encrypted(&request);
        let cookie = session::begin(token, Timestamp::now(), is_encrypted);
        response.insert_header((header::SET_COOKIE, cookie));
    }
    response.finish()
}

/// Takes the session away from the browser; nobody needs a right for that.
async fn log_out(request: HttpRequest) -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((
            header::SET_COOKIE,
            session::end(session::is_encrypted(&request)),
        ))
        .finish()
}
