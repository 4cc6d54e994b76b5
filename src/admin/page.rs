//! The operators' page, and the runbook that it leads to. Both are in the program, so they are there
//! where nothing else can be reached, and are of the same version.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::route::{self, get};
use super::runbook;

/// The page: markup, style and script.
const PAGE: &str = include_str!("page.html");

/// What the page may do (Content Security Policy, level 3): run its own script and nothing else, and ask
/// this listener alone. What is shown of a delivery can never become markup or a script.
static PAGE_POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
        source_of(PAGE, "script"),
        source_of(PAGE, "style")
    )
});

/// The runbook has a style and no script.
static RUNBOOK_POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; style-src {}; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        source_of(runbook::document(), "style")
    )
});

/// The routes of this file.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    config
        .route(route::PAGE, get().to(page))
        .route("/runbook", get().to(runbook));
}

async fn page() -> HttpResponse {
    document(PAGE, &PAGE_POLICY)
}

async fn runbook() -> HttpResponse {
    document(runbook::document(), &RUNBOOK_POLICY)
}

fn document(text: &'static str, policy: &str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8"))
        // Another version of the program has another page.
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_SECURITY_POLICY, policy))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::X_FRAME_OPTIONS, "DENY"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header(("cross-origin-opener-policy", "same-origin"))
        .insert_header(("cross-origin-resource-policy", "same-origin"))
        .body(text)
}

/// The one element of this name, by the hash of its text.
fn source_of(document: &str, element: &str) -> String {
    let text = text_of(document, element).expect("the document has one of each");
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

fn text_of<'a>(document: &'a str, element: &str) -> Option<&'a str> {
    let (_, rest) = document.split_once(&format!("<{element}>"))?;
    Some(rest.split_once(&format!("</{element}>"))?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small_and_has_one_style_and_one_script() {
        assert!(PAGE.len() < 150_000, "{} bytes", PAGE.len());
        for element in ["style", "script"] {
            assert_eq!(PAGE.matches(&format!("<{element}")).count(), 1, "{element}");
            assert!(text_of(PAGE, element).is_some_and(|text| text.len() > 1000));
        }
        assert!(!PAGE.contains(" style=\""), "no policy would let it be");
    }

    #[test]
    fn the_policies_name_what_the_documents_hold() {
        assert!(PAGE_POLICY.contains("script-src 'sha256-"));
        assert!(!PAGE_POLICY.contains("unsafe"), "{}", *PAGE_POLICY);
        assert!(RUNBOOK_POLICY.contains("style-src 'sha256-"));
    }
}
