//! Routes of the operators' listener.

use actix_web::{Route, guard, web};

/// The page, which holds no data and so asks nobody for the token.
pub(super) const PAGE: &str = "/";
/// The path that ends a session.
pub(super) const LOGOUT: &str = "/logout";

/// A route that is read: `GET`, and `HEAD`, which is the same without the body.
pub(super) fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}
