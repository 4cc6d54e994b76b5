//! The rate limit of wrong tokens, for each address.
//!
//! After too many within a minute, whatever the address shows is not looked at for the rest of the
//! minute: else it could go on guessing, and be told when it has guessed right. One and the same token
//! may be shown more often than different ones: a scraper that has not heard of the new one yet must
//! keep nobody else of its address out.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ingress::SubscriberNetwork;

/// Different wrong tokens that an address may show in a [`PERIOD`].
const MAX_DIFFERENT: usize = 10;
/// Wrong tokens that it may show altogether.
const MAX_SHOWN: u32 = 20;
const PERIOD: Duration = Duration::from_secs(60);
/// Addresses that are remembered at once; beyond it those are forgotten whose time is over, and if
/// there are none, all.
const MAX_ADDRESSES: usize = 4096;

/// The wrong tokens of late.
#[derive(Debug, Default)]
pub(super) struct WrongTokens {
    shown: Mutex<HashMap<SubscriberNetwork, ShownTokens>>,
    /// Tokens are told apart by their hashes, which nobody can foresee.
    hasher: RandomState,
}

/// What an address has shown.
#[derive(Debug)]
struct ShownTokens {
    since: Instant,
    count: u32,
    different: Vec<u64>,
}

impl ShownTokens {
    fn nothing(since: Instant) -> Self {
        Self {
            since,
            count: 0,
            different: Vec::new(),
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= PERIOD
    }

    fn are_too_many(&self) -> bool {
        self.count >= MAX_SHOWN || self.different.len() >= MAX_DIFFERENT
    }
}

impl WrongTokens {
    /// How long nothing is looked at that this address shows; none where it is.
    pub fn blocked_for(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = shown.get(&SubscriberNetwork::of(address))?;
        let is_blocked = shown.are_too_many() && !shown.is_over(now);
        is_blocked.then(|| PERIOD - now.saturating_duration_since(shown.since))
    }

    /// The address has shown this one, which is wrong.
    pub fn note(&self, address: IpAddr, token: &[u8], now: Instant) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.len() >= MAX_ADDRESSES {
            shown.retain(|_, it| !it.is_over(now));
        }
        if shown.len() >= MAX_ADDRESSES {
            shown.clear();
        }
        let of_address = shown
            .entry(SubscriberNetwork::of(address))
            .or_insert_with(|| ShownTokens::nothing(now));
        if of_address.is_over(now) {
            *of_address = ShownTokens::nothing(now);
        }
        of_address.count += 1;
        let token = self.hasher.hash_one(token);
        if !of_address.different.contains(&token) && of_address.different.len() < MAX_DIFFERENT {
            of_address.different.push(token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn after_ten_wrong_ones_an_address_waits_for_the_rest_of_the_minute() {
        let (wrong, start) = (WrongTokens::default(), Instant::now());
        let guesser = address("192.0.2.7");
        for second in 0..10_u64 {
            let now = start + Duration::from_secs(second);
            assert_eq!(wrong.blocked_for(guesser, now), None, "{second}");
            wrong.note(guesser, &second.to_be_bytes(), now);
        }
        let after = |seconds| start + Duration::from_secs(seconds);
        let left = wrong.blocked_for(guesser, after(10));
        assert_eq!(left, Some(Duration::from_secs(50)));
        let mapped = address("::ffff:192.0.2.7");
        assert!(wrong.blocked_for(mapped, after(59)).is_some());
        assert_eq!(wrong.blocked_for(address("192.0.2.8"), after(10)), None);
        assert_eq!(wrong.blocked_for(guesser, after(60)), None);
        wrong.note(guesser, b"one more", after(60));
        let blocked = wrong.blocked_for(guesser, after(61));
        assert_eq!(blocked, None, "it starts over");
    }

    #[test]
    fn a_token_that_is_out_of_date_keeps_nobody_out_unless_it_comes_all_the_time() {
        let (wrong, start) = (WrongTokens::default(), Instant::now());
        let scraper = address("192.0.2.7");
        for _ in 0..19 {
            wrong.note(scraper, b"Bearer of-last-year", start);
            assert_eq!(wrong.blocked_for(scraper, start), None);
        }
        wrong.note(scraper, b"Bearer of-last-year", start);
        assert_eq!(wrong.blocked_for(scraper, start), Some(PERIOD));
    }

    #[test]
    fn a_subscriber_of_ipv6_is_one_address_and_memory_is_bounded() {
        let (wrong, now) = (WrongTokens::default(), Instant::now());
        for host in 0..10_u8 {
            wrong.note(address(&format!("2001:db8:1:2::{host}")), &[host], now);
        }
        let blocked = |text| wrong.blocked_for(address(text), now);
        assert!(blocked("2001:db8:1:2:f::1").is_some());
        assert_eq!(blocked("2001:db8:1:3::1"), None);
        for number in 0..100_000_u32 {
            wrong.note(IpAddr::V4(number.into()), b"a token", now);
        }
        let remembered = wrong.shown.lock().expect("not poisoned").len();
        assert!(remembered <= MAX_ADDRESSES, "{remembered}");
    }
}
