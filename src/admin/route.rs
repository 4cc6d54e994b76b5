//! Routes of the operators' listener.

use actix_web::{Route, guard, web};

/// A route that is read: `GET`, and `HEAD`, which is the same without the body.
pub(super) fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}
