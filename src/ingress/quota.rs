//! How many deliveries a second: of a source, and of an address.
//!
//! Both let as many through at once as in a second, and then one after the other. A limit that a
//! reload does not change keeps its count, or every reload would be a fresh burst for everybody.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use arc_swap::ArcSwap;
use governor::clock::{Clock as _, Reference};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter};

/// So many addresses are remembered at once, in some 3 MiB. With more that are all in use, everybody
/// starts over with a full quota: whoever has as many addresses does not need a second delivery from
/// any of them, and a refusal would turn away those who have but one.
const MAX_ADDRESSES: usize = 1 << 16;

/// Too many for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TooMany {
    /// When the next would be let through, in whole seconds from now; at least 1.
    pub(super) retry_after_seconds: u32,
}

impl TooMany {
    /// The shortest wait there is.
    pub(super) const LEAST: Self = Self {
        retry_after_seconds: 1,
    };

    fn until<P: Reference>(not_until: &NotUntil<P>, now: P) -> Self {
        let wait = not_until.wait_time_from(now);
        let whole = wait.as_secs() + u64::from(wait > Duration::from_secs(wait.as_secs()));
        Self {
            retry_after_seconds: u32::try_from(whole).unwrap_or(u32::MAX).max(1),
        }
    }
}

/// The quota of a source.
#[derive(Debug)]
pub(super) struct SourceQuota {
    limit: NonZeroU32,
    limiter: DefaultDirectRateLimiter,
}

impl SourceQuota {
    /// So many deliveries a second.
    pub fn of(limit: NonZeroU32) -> Self {
        Self {
            limit,
            limiter: RateLimiter::direct(Quota::per_second(limit)),
        }
    }

    /// The limit it was made with.
    pub fn limit(&self) -> NonZeroU32 {
        self.limit
    }

    /// Takes one delivery from it.
    pub fn take(&self) -> Result<(), TooMany> {
        let taken = self.limiter.check();
        taken.map_err(|not_until| TooMany::until(&not_until, self.limiter.clock().now()))
    }
}

/// What counts as one address: an IPv4 address, or the 64 bits of an IPv6 address that a subscriber
/// is given as a whole (RFC 6177).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Network {
    V4(u32),
    V6(u64),
}

impl Network {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments().map(u64::from);
                Self::V6(a << 48 | b << 32 | c << 16 | d)
            }
        }
    }
}

/// The quotas of all addresses, each its own.
#[derive(Debug)]
pub(super) struct AddressQuotas {
    limit: NonZeroU32,
    limiter: ArcSwap<DefaultKeyedRateLimiter<Network>>,
}

impl AddressQuotas {
    /// So many deliveries a second for each.
    pub fn of(limit: NonZeroU32) -> Self {
        Self {
            limit,
            limiter: ArcSwap::from_pointee(empty(limit)),
        }
    }

    /// The limit it was made with.
    pub fn limit(&self) -> NonZeroU32 {
        self.limit
    }

    /// Takes one delivery from the address's quota.
    pub fn take(&self, address: IpAddr) -> Result<(), TooMany> {
        let mut limiter = self.limiter.load();
        if limiter.len() >= MAX_ADDRESSES {
            limiter.retain_recent();
            // Half of it must be free, or the next newcomers would each go through all of it again.
            if limiter.len() > MAX_ADDRESSES / 2 {
                self.limiter.store(empty(self.limit).into());
                limiter = self.limiter.load();
            }
        }
        let taken = limiter.check_key(&Network::of(address));
        taken.map_err(|not_until| TooMany::until(&not_until, limiter.clock().now()))
    }
}

fn empty(limit: NonZeroU32) -> DefaultKeyedRateLimiter<Network> {
    RateLimiter::keyed(Quota::per_second(limit))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const ONE: NonZeroU32 = NonZeroU32::MIN;

    #[test]
    fn an_address_has_its_own_quota_and_a_subscriber_of_ipv6_has_one() {
        let quotas = AddressQuotas::of(ONE);
        let take = |text: &str| quotas.take(text.parse().expect("an address")).is_ok();
        assert!(take("192.0.2.1") && !take("192.0.2.1") && take("192.0.2.2"));
        assert!(!take("::ffff:192.0.2.2"), "the same in another form");
        assert!(take("2001:db8::1") && !take("2001:db8::ffff:1:2"));
        assert!(take("2001:db8:0:1::1"));
    }

    #[test]
    fn the_wait_is_whole_seconds_and_never_none() {
        for limit in [1, 1000] {
            let quota = SourceQuota::of(limit.try_into().expect("not 0"));
            let waits: Vec<_> = (0..3000).filter_map(|_| quota.take().err()).collect();
            assert!(waits.iter().all(|wait| wait.retry_after_seconds == 1));
            assert!(!waits.is_empty());
        }
    }

    /// A million addresses, half of them of IPv6, one delivery each.
    #[test]
    fn the_addresses_remembered_are_bounded() {
        let quotas = AddressQuotas::of(ONE);
        let mut most = 0;
        for number in 0..500_000_u32 {
            let v4: IpAddr = Ipv4Addr::from_bits(number).into();
            let v6: IpAddr = Ipv6Addr::from_bits(u128::from(number) << 64 | 1 << 127).into();
            for address in [v4, v6] {
                assert!(quotas.take(address).is_ok(), "a newcomer is let in");
                most = most.max(quotas.limiter.load().len());
            }
        }
        assert!(
            most > MAX_ADDRESSES / 2,
            "{most}: the bound was not reached"
        );
        assert!(most <= MAX_ADDRESSES, "{most}");
    }
}
