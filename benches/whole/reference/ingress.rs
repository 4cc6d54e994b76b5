//! Reference (a): an actix-web handler that reads the body and checks the MAC, and nothing else. It
//! keeps nothing and tells nobody; no bridge can accept more than this.

use std::net::SocketAddr;

use actix_web::web::{self, Bytes, ServiceConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::delivery::{SECRET, SOURCE};
use crate::role::tell;

/// As the bridge's `max_body`.
const MAX_BODY_BYTES: usize = 1 << 20;

/// Serves until it is killed; says its address first.
pub fn serve() -> anyhow::Result<()> {
    serve_with(|config| {
        config.route(&path(), web::post().to(receive));
    })
}

/// As [`serve`], with these routes.
pub(super) fn serve_with(
    routes: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
) -> anyhow::Result<()> {
    actix_web::rt::System::new().block_on(async move {
        let app = move || {
            App::new()
                .app_data(web::PayloadConfig::new(MAX_BODY_BYTES))
                .configure(routes.clone())
        };
        // A worker for each processor, which is the bridge's default and actix's.
        let server = HttpServer::new(app).bind("127.0.0.1:0")?;
        let address: SocketAddr = server.addrs()[0];
        tell(&address)?;
        Ok(server.run().await?)
    })
}

/// Where deliveries are sent.
pub(super) fn path() -> String {
    format!("/webhooks/{SOURCE}")
}

async fn receive(request: HttpRequest, body: Bytes) -> HttpResponse {
    if is_signed(&request, &body) {
        accepted()
    } else {
        unsigned()
    }
}

/// The bridge's answer to an event.
pub(super) fn accepted() -> HttpResponse {
    HttpResponse::Ok().body("{\"status\":\"accepted\"}")
}

/// The answer to a body that nobody signed.
pub(super) fn unsigned() -> HttpResponse {
    HttpResponse::Unauthorized().finish()
}

/// Whether the body was signed with the secret.
pub(super) fn is_signed(request: &HttpRequest, body: &[u8]) -> bool {
    signature(request, body).is_some()
}

fn signature(request: &HttpRequest, body: &[u8]) -> Option<()> {
    let header = request
        .headers()
        .get("x-onecodex-signature")?
        .to_str()
        .ok()?;
    let (seconds, tag) = header.strip_prefix("t=")?.split_once(" v1=")?;
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).ok()?;
    mac.update(seconds.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.verify_slice(&hex::decode(tag).ok()?).ok()
}
