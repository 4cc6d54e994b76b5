//! The answers of 200: to deliveries, each in the form that its sender takes, and to handshakes.

use actix_web::HttpResponse;
use actix_web::dev::{Payload, RequestHead};
use actix_web::http::header;

use super::problem::EarlyBody;
use crate::pipeline::Accepted;
use crate::source::{AnswerForm, HandshakeReply};

/// A document without a verb: nothing is to be done.
const TWIML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response/>";

/// The answer to a delivery. Exactly 200: providers take nothing else for success.
pub(super) fn to_delivery(
    accepted: &Accepted,
    form: AnswerForm,
    head: &RequestHead,
) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    if head.upgrade() {
        // Sent before the answer to the request before it, the offer could not be overwritten: the
        // server ends the connection after this answer, and says so only if it is told to.
        response.force_close();
    }
    match form {
        AnswerForm::Empty => response.finish(),
        AnswerForm::Twiml => response
            .insert_header((header::CONTENT_TYPE, "text/xml"))
            .body(TWIML),
        AnswerForm::Json => {
            let body = format!(
                "{{\"id\":\"{}\",\"status\":\"{}\"}}",
                accepted.id(),
                accepted.status().as_str()
            );
            response
                .insert_header((header::CONTENT_TYPE, "application/json"))
                .body(body)
        }
    }
}

/// The answer to a handshake, which no browser may take for a page. It ends the connection: nothing is
/// proven by most of them, and they are rare.
pub(super) fn to_handshake(reply: HandshakeReply, unread: Payload) -> HttpResponse {
    let (content_type, text) = match reply {
        HandshakeReply::Empty => (None, String::new()),
        HandshakeReply::Text(text) => (Some("text/plain; charset=utf-8"), text),
        HandshakeReply::Json(text) => (Some("application/json"), text),
    };
    let mut response = HttpResponse::Ok();
    response.force_close();
    response.insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    if let Some(content_type) = content_type {
        response.insert_header((header::CONTENT_TYPE, content_type));
    }
    response.body(EarlyBody::new(text, unread))
}
