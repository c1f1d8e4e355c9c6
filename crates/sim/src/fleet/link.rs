//! The links of the fleet, and the transfers over them.

use std::time::Duration;

use myriad_core::Time;

/// One direction of a link. It sends everything in the order in which it was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pipe {
    bytes_per_s: f64,
    free: Time,
    pub bytes: u64,
}

/// A link to the network.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub up: Pipe,
    pub down: Pipe,
    /// The latency from here to the middle of the network: half of that to a link that is as far
    /// away.
    half_way: Duration,
}

impl Pipe {
    pub(crate) const fn new(bytes_per_s: f64) -> Self {
        Self {
            bytes_per_s,
            free: Time(0),
            bytes: 0,
        }
    }

    /// Sends this many bytes that come at `now`, and returns when all of them are through.
    fn pass(&mut self, now: Time, bytes: u64) -> Time {
        self.bytes += bytes;
        self.free = self.ends(now, bytes);
        self.free
    }

    /// The time when this many bytes would be through that come at `now`.
    pub(crate) fn ends(&self, now: Time, bytes: u64) -> Time {
        self.free.max(now) + Duration::from_secs_f64(bytes as f64 / self.bytes_per_s)
    }
}

impl Link {
    pub(crate) fn new(up_bytes_per_s: f64, down_bytes_per_s: f64, latency: Duration) -> Self {
        Self {
            up: Pipe::new(up_bytes_per_s),
            down: Pipe::new(down_bytes_per_s),
            half_way: latency / 2,
        }
    }

    /// The time that this many bytes take to go out.
    pub(crate) fn takes(&self, bytes: u64) -> Duration {
        Duration::from_secs_f64(bytes as f64 / self.up.bytes_per_s)
    }

    /// The time of a message from here to there.
    pub(crate) fn one_way(&self, other: &Self) -> Duration {
        self.half_way + other.half_way
    }
}

/// When bytes that `to` asks `from` for are there. Each direction sends on while the other waits
/// for a slower one: a queue of many small transfers, which is what proofs are, shares it in the
/// same way.
pub(super) fn transfer(from: &mut Link, to: &mut Link, now: Time, bytes: u64) -> Time {
    let way = from.one_way(to);
    let asked = now + way;
    let sent = from.up.pass(asked, bytes);
    let received = to.down.pass(asked, bytes);
    sent.max(received) + way
}

/// When bytes are there that `from` sends with a message that arrives `now` otherwise.
pub(super) fn pushed(from: &mut Link, to: &mut Link, now: Time, bytes: u64) -> Time {
    from.up.pass(now, bytes).max(to.down.pass(now, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_slower_end_counts_and_transfers_queue() {
        let mut home = Link::new(1000.0, 1e9, 20 * MS);
        let mut office = Link::new(1e9, 1e9, 40 * MS);
        let first = transfer(&mut home, &mut office, Time::default(), 500);
        assert_eq!(first, Time::default() + 30 * MS + 500 * MS + 30 * MS);
        let second = transfer(&mut home, &mut office, Time::default(), 500);
        assert_eq!(second, first + 500 * MS);
        // A transfer from elsewhere does not wait for it.
        let mut near = Link::new(1e9, 1e9, 40 * MS);
        let third = transfer(&mut near, &mut office, Time::default(), 500);
        assert!(third < first);
        assert_eq!(office.down.bytes, 1500);
    }
}
