//! Access control: the allow list and the rate limit of each client address, asked before anything
//! else.

use std::num::NonZeroU32;
use std::sync::Arc;

use actix_web::http::header::HeaderMap;

use super::client::{Client, ClientAddress};
use super::networks::IpNet;
use super::peer::Peer;
use super::problem::RequestProblem;
use super::rate_limit::AddressRateLimits;

/// An allow list, and a rate limit for each address.
#[derive(Debug, Default)]
pub struct AccessControl {
    address: ClientAddress,
    allow: Option<Vec<IpNet>>,
    rate_limits: Option<Arc<AddressRateLimits>>,
}

impl AccessControl {
    /// Lets in clients from `allow`, or everybody, and from each address `limit` requests a second.
    /// Addresses that had the same limit before the configuration was reloaded go on being counted.
    #[must_use]
    pub fn new(
        address: ClientAddress,
        allow: Option<Vec<IpNet>>,
        limit: Option<NonZeroU32>,
        before: Option<&Self>,
    ) -> Self {
        let kept = before.and_then(|before| before.rate_limits.clone());
        let rate_limits = limit.map(|limit| {
            kept.filter(|kept| kept.limit() == limit)
                .unwrap_or_else(|| Arc::new(AddressRateLimits::of(limit)))
        });
        Self {
            address,
            allow,
            rate_limits,
        }
    }

    /// Whose request it is.
    pub(super) fn client(&self, peer: Peer, headers: &HeaderMap) -> Client {
        self.address.of(peer.client, headers)
    }

    /// Lets a request in, or says why not.
    pub(super) fn check(&self, peer: Peer, headers: &HeaderMap) -> Result<(), RequestProblem> {
        let client = self.client(peer, headers);
        if self
            .allow
            .as_ref()
            .is_some_and(|allow| !client.is_in(allow))
        {
            return Err(RequestProblem::AddressNotAllowed);
        }
        match &self.rate_limits {
            Some(rate_limits) => rate_limits
                .take(client.counted_as())
                .map_err(RequestProblem::AddressRateLimited),
            None => Ok(()),
        }
    }
}
