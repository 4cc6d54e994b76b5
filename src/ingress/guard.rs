//! Who may come at all, and how often: what is asked before anything else.

use std::num::NonZeroU32;
use std::sync::Arc;

use actix_web::http::header::HeaderMap;

use super::caller::Caller;
use super::client::{Client, ClientAddress};
use super::networks::Networks;
use super::problem::Problem;
use super::quota::AddressQuotas;

/// The guard: an allow-list, and a quota for each address.
#[derive(Debug, Default)]
pub struct Guard {
    address: ClientAddress,
    allow: Option<Networks>,
    quotas: Option<Arc<AddressQuotas>>,
}

impl Guard {
    /// Lets in clients from `allow`, or everybody, and from each address `limit` requests a second.
    /// Addresses that had the same limit before the configuration was reloaded go on being counted.
    #[must_use]
    pub fn new(
        address: ClientAddress,
        allow: Option<Networks>,
        limit: Option<NonZeroU32>,
        before: Option<&Self>,
    ) -> Self {
        let kept = before.and_then(|before| before.quotas.clone());
        let quotas = limit.map(|limit| {
            kept.filter(|kept| kept.limit() == limit)
                .unwrap_or_else(|| Arc::new(AddressQuotas::of(limit)))
        });
        Self {
            address,
            allow,
            quotas,
        }
    }

    /// Whose request it is.
    pub(super) fn client(&self, caller: Caller, headers: &HeaderMap) -> Client {
        self.address.of(caller.client, headers)
    }

    /// Lets a request in, or says why not.
    pub(super) fn check(&self, caller: Caller, headers: &HeaderMap) -> Result<(), Problem> {
        let client = self.client(caller, headers);
        if self
            .allow
            .as_ref()
            .is_some_and(|allow| !client.is_in(allow))
        {
            return Err(Problem::AddressNotAllowed);
        }
        match &self.quotas {
            Some(quotas) => quotas
                .take(client.counted_as())
                .map_err(Problem::AddressRateLimited),
            None => Ok(()),
        }
    }
}
