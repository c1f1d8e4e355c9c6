//! Limits for requests without a key, and with one that is not valid, by address.
//!
//! They make floods of them cheap to answer and short in the log. A valid key is not bound to them:
//! others behind the same address, such as that of a reverse proxy, could lock its holder out. Nor
//! do they keep secrets from being found, which have 216 unknown bits.

use std::{net::IpAddr, num::NonZeroU32, time::Duration};

use governor::{
    DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};

use crate::limits::network_of;

/// Requests with a wrong key, of one address.
pub(super) const WRONG_PER_MINUTE: u32 = 30;
/// Requests without a key, of one address.
pub(super) const KEYLESS_PER_MINUTE: u32 = 6_000;
/// Lines of the log about wrong keys, of all addresses.
const LINES_PER_MINUTE: u32 = 60;
/// Addresses of which a limit remembers something. The others share one limit.
const ADDRESSES_MAX: usize = 10_000;

pub(super) struct Guesses {
    wrong: Limit,
    keyless: Limit,
    lines: DefaultDirectRateLimiter,
}

struct Limit {
    by_address: DefaultKeyedRateLimiter<IpAddr>,
    /// Of all addresses that are too many to remember.
    others: DefaultDirectRateLimiter,
}

impl Guesses {
    pub(super) fn new() -> Self {
        Self {
            wrong: Limit::new(WRONG_PER_MINUTE),
            keyless: Limit::new(KEYLESS_PER_MINUTE),
            lines: RateLimiter::direct(per_minute(LINES_PER_MINUTE)),
        }
    }

    /// Counts a request with a wrong key; or how long its address has to wait.
    pub(super) fn wrong(&self, from: IpAddr) -> Result<(), Duration> {
        self.wrong.count(from)
    }

    /// Counts a request without a key; or how long its address has to wait. A reverse proxy on this
    /// machine limits its own clients.
    pub(super) fn keyless(&self, from: IpAddr) -> Result<(), Duration> {
        match network_of(from).is_loopback() {
            true => Ok(()),
            false => self.keyless.count(from),
        }
    }

    /// Whether the log gets another line.
    pub(super) fn is_worth_a_line(&self) -> bool {
        self.lines.check().is_ok()
    }
}

impl Limit {
    fn new(requests: u32) -> Self {
        Self {
            by_address: RateLimiter::keyed(per_minute(requests)),
            others: RateLimiter::direct(per_minute(requests)),
        }
    }

    fn count(&self, from: IpAddr) -> Result<(), Duration> {
        let now = DefaultClock::default().now();
        if self.by_address.len() >= ADDRESSES_MAX {
            self.by_address.retain_recent();
        }
        if self.by_address.len() >= ADDRESSES_MAX {
            return self.others.check().map_err(|until| until.wait_time_from(now));
        }
        self.by_address
            .check_key(&network_of(from))
            .map_err(|until| until.wait_time_from(now))
    }
}

pub(super) fn per_minute(requests: u32) -> Quota {
    Quota::per_minute(NonZeroU32::new(requests).unwrap_or(NonZeroU32::MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_wrong_keys_and_others_are_free() {
        let guesses = Guesses::new();
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));
        for _ in 0..WRONG_PER_MINUTE {
            guesses.wrong(one).unwrap();
        }
        let wait = guesses.wrong(one).unwrap_err();
        assert!(
            wait > Duration::ZERO && wait <= Duration::from_secs(2),
            "{wait:?}"
        );
        guesses.wrong(other).unwrap();
        // It is the same address in other clothes.
        guesses.wrong(address("::ffff:192.0.2.1")).unwrap_err();
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let guesses = Guesses::new();
        for host in 0..WRONG_PER_MINUTE {
            guesses.wrong(address(&format!("2001:db8::{host:x}"))).unwrap();
        }
        guesses.wrong(address("2001:db8::ffff:1")).unwrap_err();
        guesses.wrong(address("2001:db8:0:1::1")).unwrap();
    }

    #[test]
    fn requests_without_a_key_are_limited_unless_they_come_from_this_machine() {
        let guesses = Guesses::new();
        let far = address("198.51.100.7");
        let answered = (0..KEYLESS_PER_MINUTE * 2)
            .filter(|_| guesses.keyless(far).is_ok())
            .count() as u32;
        // Some time has passed, in which more became free.
        assert!(
            (KEYLESS_PER_MINUTE..KEYLESS_PER_MINUTE * 3 / 2).contains(&answered),
            "{answered}"
        );
        for here in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            for _ in 0..KEYLESS_PER_MINUTE * 2 {
                guesses.keyless(address(here)).unwrap();
            }
        }
    }

    #[test]
    fn addresses_without_end_take_no_memory_without_end() {
        let guesses = Guesses::new();
        let mut refused = 0;
        for n in 0..ADDRESSES_MAX as u32 + 1_000 {
            let from = IpAddr::from((0x0a00_0000 + n).to_be_bytes());
            refused += u32::from(guesses.wrong(from).is_err());
        }
        assert!(guesses.wrong.by_address.len() <= ADDRESSES_MAX);
        assert!(refused >= 1_000 - 2 * WRONG_PER_MINUTE, "{refused}");
    }

    #[test]
    fn the_log_has_an_end() {
        let guesses = Guesses::new();
        let lines = (0..1_000).filter(|_| guesses.is_worth_a_line()).count() as u32;
        assert!(
            (LINES_PER_MINUTE..LINES_PER_MINUTE * 2).contains(&lines),
            "{lines}"
        );
    }
}
