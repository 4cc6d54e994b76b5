//! The rate limit of wrong tokens, for each address.
//!
//! After ten within a minute, whatever the address shows is not looked at for the rest of the minute:
//! else it could go on guessing, and be told when it has guessed right.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Wrong tokens that an address may show in a [`PERIOD`].
const MAX_WRONG: u32 = 10;
const PERIOD: Duration = Duration::from_secs(60);
/// Addresses that are remembered at once; beyond it those are forgotten whose time is over, and if
/// there are none, all.
const MAX_ADDRESSES: usize = 4096;

/// The wrong tokens of late.
#[derive(Debug, Default)]
pub(super) struct WrongTokens(Mutex<HashMap<IpAddr, Shown>>);

#[derive(Debug, Clone, Copy)]
struct Shown {
    since: Instant,
    count: u32,
}

impl Shown {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= PERIOD
    }
}

impl WrongTokens {
    /// How long nothing is looked at that this address shows; none where it is.
    pub fn blocked_for(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = shown.get(&network(address))?;
        let is_blocked = shown.count >= MAX_WRONG && !shown.is_over(now);
        is_blocked.then(|| PERIOD - now.saturating_duration_since(shown.since))
    }

    /// The address has shown a wrong one.
    pub fn note(&self, address: IpAddr, now: Instant) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.len() >= MAX_ADDRESSES {
            shown.retain(|_, it| !it.is_over(now));
        }
        if shown.len() >= MAX_ADDRESSES {
            shown.clear();
        }
        let first = Shown {
            since: now,
            count: 0,
        };
        let of_address = shown.entry(network(address)).or_insert(first);
        if of_address.is_over(now) {
            *of_address = first;
        }
        of_address.count += 1;
    }
}

/// The 64 bits of an IPv6 address that one subscriber has (RFC 6177) count as one address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        address => address,
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
        for second in 0..10 {
            let now = start + Duration::from_secs(second);
            assert_eq!(wrong.blocked_for(guesser, now), None, "{second}");
            wrong.note(guesser, now);
        }
        let after = |seconds| start + Duration::from_secs(seconds);
        let left = wrong.blocked_for(guesser, after(10));
        assert_eq!(left, Some(Duration::from_secs(50)));
        let mapped = address("::ffff:192.0.2.7");
        assert!(wrong.blocked_for(mapped, after(59)).is_some());
        assert_eq!(wrong.blocked_for(address("192.0.2.8"), after(10)), None);
        assert_eq!(wrong.blocked_for(guesser, after(60)), None);
        wrong.note(guesser, after(60));
        assert_eq!(
            wrong.blocked_for(guesser, after(61)),
            None,
            "it starts over"
        );
    }

    #[test]
    fn a_subscriber_of_ipv6_is_one_address_and_memory_is_bounded() {
        let (wrong, now) = (WrongTokens::default(), Instant::now());
        for host in 0..10 {
            wrong.note(address(&format!("2001:db8:1:2::{host}")), now);
        }
        assert!(
            wrong
                .blocked_for(address("2001:db8:1:2:f::1"), now)
                .is_some()
        );
        assert_eq!(wrong.blocked_for(address("2001:db8:1:3::1"), now), None);
        for number in 0..100_000_u32 {
            wrong.note(IpAddr::V4(number.into()), now);
        }
        let remembered = wrong.0.lock().expect("not poisoned").len();
        assert!(remembered <= MAX_ADDRESSES, "{remembered}");
    }
}
