//! Sessions of the operators' page: what a browser shows instead of the token, once it has logged in.
//!
//! A session is when it ends, in seconds since 1970, and a MAC of that by the token. The bridge keeps
//! nothing of it: another token, or the end of its time, makes it worthless.

use actix_web::HttpRequest;
use actix_web::http::header;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp};
use sha2::Sha256;

use super::token::AdminToken;

/// How long a session lasts: a working day.
const LIFETIME: SignedDuration = SignedDuration::from_hours(12);
/// So that no other MAC by the token is a session.
const DOMAIN: &str = "hookferry session of the operators' page";

/// A cookie that begins a session. Scripts cannot read it, and no page of another site makes the
/// browser send it (RFC 6265bis, sections 5.6.6 and 5.6.7).
pub(super) fn begin(token: &AdminToken, now: Timestamp, is_encrypted: bool) -> String {
    let end = now.as_second() + LIFETIME.as_secs();
    let mac = hex::encode(mac(token, end).finalize().into_bytes());
    let (name, attributes) = (cookie_name(token), attributes(is_encrypted));
    format!(
        "{name}={end}.{mac}; Max-Age={}{attributes}",
        LIFETIME.as_secs()
    )
}

/// A cookie that takes the session away from the browser.
pub(super) fn end(token: &AdminToken, is_encrypted: bool) -> String {
    let (name, attributes) = (cookie_name(token), attributes(is_encrypted));
    format!("{name}=; Max-Age=0{attributes}")
}

/// The cookie that carries a session. A browser keeps those of all ports of a host together, and
/// several bridges may be reached on its loopback: each token has a name of its own.
fn cookie_name(token: &AdminToken) -> String {
    let mac = mac(token, 0).finalize().into_bytes();
    format!("hookferry_session_{}", hex::encode(&mac[..4]))
}

/// Over HTTPS the cookie is for HTTPS alone; this listener itself speaks HTTP, behind a proxy that may
/// not.
fn attributes(is_encrypted: bool) -> &'static str {
    if is_encrypted {
        "; Path=/; HttpOnly; SameSite=Strict; Secure"
    } else {
        "; Path=/; HttpOnly; SameSite=Strict"
    }
}

/// Whether the request comes from a page that was loaded over HTTPS, as its browser says.
pub(super) fn is_encrypted(request: &HttpRequest) -> bool {
    let origin = request.headers().get(header::ORIGIN);
    origin.is_some_and(|origin| origin.as_bytes().starts_with(b"https://"))
}

/// Whether the request has a session by this token that has not ended.
pub(super) fn is_shown(request: &HttpRequest, token: &AdminToken, now: Timestamp) -> bool {
    let headers = request.headers().get_all(header::COOKIE);
    let cookies = headers.filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';'));
    let name = cookie_name(token);
    pairs.any(|pair| {
        let session = pair.trim().strip_prefix(&*name);
        let session = session.and_then(|rest| rest.strip_prefix('='));
        session.is_some_and(|session| is_valid(session, token, now))
    })
}

fn is_valid(session: &str, token: &AdminToken, now: Timestamp) -> bool {
    let Some((end, shown)) = session.split_once('.') else {
        return false;
    };
    let (Ok(end), Ok(shown)) = (end.parse(), hex::decode(shown)) else {
        return false;
    };
    now.as_second() < end && mac(token, end).verify_slice(&shown).is_ok()
}

fn mac(token: &AdminToken, end: i64) -> Hmac<Sha256> {
    let key = token.expose();
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of HMAC has any length");
    mac.update(format!("{DOMAIN}\n{end}").as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn token(text: &str) -> AdminToken {
        AdminToken::parse(text).expect("long enough")
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    /// The name and value of a cookie, as a browser sends it back.
    fn sent(cookie: &str) -> String {
        cookie.split(';').next().expect("a pair").to_owned()
    }

    fn shows(cookie: &str, token: &AdminToken, now: Timestamp) -> bool {
        let request = TestRequest::get().insert_header((header::COOKIE, cookie.to_owned()));
        is_shown(&request.to_http_request(), token, now)
    }

    #[test]
    fn a_session_is_worth_something_until_it_ends_and_by_its_own_token_alone() {
        let (ours, others) = (token("0123456789abcdef"), token("0123456789abcdeF"));
        let cookie = sent(&begin(&ours, at(1_000), false));
        assert!(shows(&cookie, &ours, at(1_000)));
        assert!(shows(
            &format!("a=b; {cookie}; c=d"),
            &ours,
            at(12 * 3600 + 999)
        ));
        assert!(
            !shows(&cookie, &ours, at(12 * 3600 + 1_000)),
            "it has ended"
        );
        assert!(!shows(&cookie, &others, at(1_000)));
        let longer = cookie.replace("=44200.", "=99999.");
        assert_ne!(longer, cookie);
        assert!(!shows(&longer, &ours, at(1_000)), "its end is not its own");
        for nonsense in ["", "hookferry_session", "hookferry_session=", "x=1.00"] {
            assert!(!shows(nonsense, &ours, at(1_000)), "{nonsense}");
        }
        for cut in 0..cookie.len() {
            assert!(!shows(&cookie[..cut], &ours, at(1_000)), "{cut}");
        }
    }

    #[test]
    fn a_cookie_says_nothing_of_the_token_and_is_for_no_script_and_no_other_site() {
        let token = token("0123456789abcdef");
        let cookie = begin(&token, at(1_000), false);
        for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"] {
            assert!(cookie.contains(part), "{cookie}");
        }
        assert!(!cookie.contains("0123456789abcdef") && !cookie.contains("Secure"));
        assert!(begin(&token, at(1_000), true).ends_with("; Secure"));
        let ended = end(&token, false);
        assert!(ended.contains("=; Max-Age=0"), "{ended}");
        assert_eq!(
            sent(&ended).split_once('='),
            cookie.split_once('=').map(|(name, _)| (name, ""))
        );
    }
}
