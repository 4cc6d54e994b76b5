//! Rate limits, of a source and of a client address, as token buckets.
//!
//! Both let as many through at once as in a second, and then one after the other. A limit that a
//! reload does not change keeps its count, or every reload would be a fresh burst for everybody.

use std::collections::HashMap;
use std::hash::Hash;
use std::mem;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock, Reference};
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{DefaultDirectRateLimiter, NotUntil, Quota, RateLimiter};

use super::subscriber_network::SubscriberNetwork;

/// So many addresses are remembered at once, in some 3 MiB, and so many sites of IPv6.
const MAX_REMEMBERED: usize = 1 << 16;
/// What a whole site may send, in limits of one address: as much as so many subscribers of IPv4. A
/// site has 65,536 networks for itself, each with a limit of its own.
const SITE: NonZeroU32 = NonZeroU32::new(64).expect("it is not 0");

/// More than the rate limit allows for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RateLimitExceeded {
    /// When the next would be let through, in whole seconds from now; at least 1.
    pub(super) retry_after_seconds: u32,
}

impl RateLimitExceeded {
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

/// The rate limit of a source.
#[derive(Debug)]
pub(super) struct SourceRateLimit {
    limit: NonZeroU32,
    limiter: DefaultDirectRateLimiter,
}

impl SourceRateLimit {
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
    pub fn take(&self) -> Result<(), RateLimitExceeded> {
        let taken = self.limiter.check();
        taken.map_err(|not_until| RateLimitExceeded::until(&not_until, self.limiter.clock().now()))
    }
}

/// The rate limits of all addresses, each its own, and those of the sites they belong to.
#[derive(Debug)]
pub(super) struct AddressRateLimits {
    limit: NonZeroU32,
    networks: KeyedRateLimiter<SubscriberNetwork>,
    sites: KeyedRateLimiter<u64>,
}

impl AddressRateLimits {
    /// So many deliveries a second for each.
    pub fn of(limit: NonZeroU32) -> Self {
        Self {
            limit,
            networks: rate_limiter(limit),
            sites: rate_limiter(limit.saturating_mul(SITE)),
        }
    }

    /// The limit it was made with.
    pub fn limit(&self) -> NonZeroU32 {
        self.limit
    }

    /// Takes one delivery from the address's limit, and then from its site's: what the first refuses
    /// uses up nothing of the second.
    pub fn take(&self, address: IpAddr) -> Result<(), RateLimitExceeded> {
        take(&self.networks, &SubscriberNetwork::of(address))?;
        SubscriberNetwork::site(address).map_or(Ok(()), |site| take(&self.sites, &site))
    }
}

type KeyedRateLimiter<K> = RateLimiter<K, BoundedStore<K>, DefaultClock>;

fn rate_limiter<K: Hash + Eq + Clone>(limit: NonZeroU32) -> KeyedRateLimiter<K> {
    RateLimiter::new(
        Quota::per_second(limit),
        BoundedStore::default(),
        DefaultClock::default(),
    )
}

fn take<K: Hash + Eq + Clone>(
    limiter: &KeyedRateLimiter<K>,
    key: &K,
) -> Result<(), RateLimitExceeded> {
    let taken = limiter.check_key(key);
    taken.map_err(|not_until| RateLimitExceeded::until(&not_until, limiter.clock().now()))
}

/// How much of its limit each has used, of the [`MAX_REMEMBERED`] that came last.
///
/// It is kept in two generations. When the newer is full, the older is forgotten and the newer takes its
/// place; whoever comes is moved into the newer. So those are forgotten who have not come for as
/// long as it took half of the maximum of others to come; they start over with a full bucket, and
/// nobody else does. Nothing is ever scanned to make room.
#[derive(Debug)]
struct BoundedStore<K>(Mutex<Generations<K>>);

#[derive(Debug)]
struct Generations<K> {
    newer: HashMap<K, Nanos>,
    older: HashMap<K, Nanos>,
}

impl<K> Default for BoundedStore<K> {
    fn default() -> Self {
        Self(Mutex::new(Generations {
            newer: HashMap::new(),
            older: HashMap::new(),
        }))
    }
}

impl<K: Hash + Eq + Clone> Generations<K> {
    fn remember(&mut self, key: &K, used: Nanos) {
        if self.newer.len() >= MAX_REMEMBERED / 2 && !self.newer.contains_key(key) {
            self.older = mem::take(&mut self.newer);
        }
        self.newer.insert(key.clone(), used);
    }
}

impl<K: Hash + Eq + Clone> StateStore for BoundedStore<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let generations = &mut *generations;
        let before = match generations.newer.get(key) {
            Some(used) => Some(*used),
            None => generations.older.remove(key),
        };
        let measured = measure(before);
        match (&measured, before) {
            (Ok((_, used)), _) => generations.remember(key, *used),
            // Whoever is refused is in use as well.
            (Err(_), Some(used)) => generations.remember(key, used),
            (Err(_), None) => {}
        }
        measured.map(|(taken, _)| taken)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const ONE: NonZeroU32 = NonZeroU32::MIN;

    #[test]
    fn an_address_has_its_own_limit_and_a_subscriber_of_ipv6_has_one() {
        let limits = AddressRateLimits::of(ONE);
        let take = |text: &str| limits.take(text.parse().expect("an address")).is_ok();
        assert!(take("192.0.2.1") && !take("192.0.2.1") && take("192.0.2.2"));
        assert!(!take("::ffff:192.0.2.2"), "the same in another form");
        assert!(take("2001:db8::1") && !take("2001:db8::ffff:1:2"));
        assert!(take("2001:db8:0:1::1"));
    }

    #[test]
    fn the_wait_is_whole_seconds_and_never_none() {
        for limit in [1, 1000] {
            let rate_limit = SourceRateLimit::of(limit.try_into().expect("not 0"));
            let waits: Vec<_> = (0..3000).filter_map(|_| rate_limit.take().err()).collect();
            assert!(waits.iter().all(|wait| wait.retry_after_seconds == 1));
            assert!(!waits.is_empty());
        }
    }

    #[test]
    fn a_site_of_ipv6_has_a_second_wider_limit() {
        let limits = AddressRateLimits::of(ONE);
        let take = |site: u128, network: u128| {
            let bits = 0x2001_0db8 << 96 | site << 80 | network << 64 | 1;
            limits.take(Ipv6Addr::from_bits(bits).into()).is_ok()
        };
        // What a network has too much takes nothing from its site.
        assert!(take(1, 0) && (0..100).all(|_| !take(1, 0)));
        let let_in = (1..1000).filter(|network| take(1, *network)).count();
        let most = SITE.get() as usize;
        // A test that takes seconds lets in some more.
        assert!((most - 1..most * 8).contains(&let_in), "{let_in}");
        assert!(take(2, 0), "another site");
    }

    /// A million addresses, half of them of IPv6 and each in a site of its own, one delivery each.
    #[test]
    fn the_addresses_remembered_are_bounded() {
        let limits = AddressRateLimits::of(ONE);
        for number in 0..500_000_u32 {
            let v4: IpAddr = Ipv4Addr::from_bits(number).into();
            let v6: IpAddr = Ipv6Addr::from_bits(u128::from(number) << 80 | 1 << 127).into();
            for address in [v4, v6] {
                assert!(limits.take(address).is_ok(), "a newcomer is let in");
            }
        }
        let [networks, sites] = [
            remembered(limits.networks.into_state_store()),
            remembered(limits.sites.into_state_store()),
        ];
        for count in [networks, sites] {
            assert!(
                (MAX_REMEMBERED / 2..=MAX_REMEMBERED).contains(&count),
                "{count}"
            );
        }
    }

    fn remembered<K>(state: BoundedStore<K>) -> usize {
        let generations = state.0.into_inner().expect("nobody has panicked");
        generations.newer.len() + generations.older.len()
    }

    /// However many others come: whoever goes on sending goes on being counted.
    #[test]
    fn a_flood_of_addresses_is_no_fresh_start_for_those_who_send_on() {
        let limits = AddressRateLimits::of(ONE);
        let busy: IpAddr = Ipv4Addr::LOCALHOST.into();
        let (began, mut let_in) = (std::time::Instant::now(), 0.0);
        for number in 0..200_000_u32 {
            let other = Ipv4Addr::from_bits(0x0a00_0000 + number);
            assert!(limits.take(other.into()).is_ok(), "a newcomer is let in");
            if number % 100 == 0 && limits.take(busy).is_ok() {
                let_in += 1.0;
            }
        }
        let most = 2.0 + began.elapsed().as_secs_f64();
        assert!(let_in <= most, "{let_in} of {most}");
    }
}
