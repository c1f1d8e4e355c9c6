//! Maps that do not grow with what strangers say, and pauses between attempts that fail.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    time::{Duration, Instant},
};

/// A map of at most this many entries. A further one takes the place of the one that was set for
/// the longest time.
pub(crate) struct Recent<K, V> {
    most: usize,
    of: HashMap<K, (u64, V)>,
    order: BTreeMap<u64, K>,
    next: u64,
}

impl<K: Hash + Eq + Copy, V> Recent<K, V> {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            of: HashMap::new(),
            order: BTreeMap::new(),
            next: 0,
        }
    }

    /// Sets an entry, which is the latest from now on.
    pub(crate) fn set(&mut self, key: K, value: V) {
        self.remove(&key);
        if self.of.len() >= self.most
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.of.remove(&oldest);
        }
        self.of.insert(key, (self.next, value));
        self.order.insert(self.next, key);
        self.next += 1;
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.of.get(key).map(|(_, value)| value)
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.of.contains_key(key)
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let (place, value) = self.of.remove(key)?;
        self.order.remove(&place);
        Some(value)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        assert_eq!(self.of.len(), self.order.len());
        self.of.len()
    }
}

/// The number of failures in a row that are free, and the rest that follows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// This many attempts follow each other as they come.
    pub free: u32,
    /// The pause after these; each further failure doubles it.
    pub pause: Duration,
    pub pause_max: Duration,
}

impl Rules {
    fn rest(&self, failed: u32) -> Duration {
        match failed.checked_sub(self.free) {
            None => Duration::ZERO,
            Some(more) => self.pause.saturating_mul(1 << more.min(16)).min(self.pause_max),
        }
    }
}

/// Attempts that have not succeeded, of at most this many keys. An attempt that is under way counts
/// as if it had failed, until it succeeds.
///
/// A key that rests is never forgotten: otherwise naming enough other keys would end its rest.
/// If all of them rest, no other key is tried until one of them may be.
pub(crate) struct Budget<K> {
    rules: Rules,
    most: usize,
    spent: HashMap<K, Spent>,
    /// When each may be tried again, the earliest first. The number tells apart those of one
    /// moment.
    order: BTreeMap<(Instant, u64), K>,
    next: u64,
}

#[derive(Clone, Copy)]
struct Spent {
    failed: u32,
    last: Instant,
    place: (Instant, u64),
}

impl<K: Hash + Eq + Copy> Budget<K> {
    pub(crate) fn new(rules: Rules, most: usize) -> Self {
        Self {
            rules,
            most,
            spent: HashMap::new(),
            order: BTreeMap::new(),
            next: 0,
        }
    }

    /// The time for which the key still rests, or has to wait for a place; none where it may be
    /// tried.
    pub(crate) fn rests(&self, key: &K, now: Instant) -> Option<Duration> {
        let until = match self.spent.get(key) {
            Some(spent) => spent.place.0,
            None if self.spent.len() < self.most => return None,
            None => self.order.first_key_value()?.0.0,
        };
        let left = until.saturating_duration_since(now);
        (left > Duration::ZERO).then_some(left)
    }

    /// It is tried. Nothing changes where it [rests](Self::rests).
    pub(crate) fn begin(&mut self, key: K, now: Instant) {
        if self.rests(&key, now).is_some() {
            return;
        }
        let before = self.remove(&key);
        if self.spent.len() >= self.most
            && let Some((_, rested)) = self.order.pop_first()
        {
            self.spent.remove(&rested);
        }
        // A key is as new after twice the longest pause.
        let forgotten = |spent: &Spent| now.saturating_duration_since(spent.last) > 2 * self.rules.pause_max;
        let failed = before
            .filter(|spent| !forgotten(spent))
            .map_or(1, |spent| spent.failed.saturating_add(1));
        let place = (now + self.rules.rest(failed), self.next);
        self.next += 1;
        let spent = Spent {
            failed,
            last: now,
            place,
        };
        self.order.insert(place, key);
        self.spent.insert(key, spent);
    }

    pub(crate) fn succeeded(&mut self, key: &K) {
        self.remove(key);
    }

    fn remove(&mut self, key: &K) -> Option<Spent> {
        let spent = self.spent.remove(key)?;
        self.order.remove(&spent.place);
        Some(spent)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        assert_eq!(self.spent.len(), self.order.len());
        self.spent.len()
    }
}

/// A number at once, and one more after each interval.
pub(crate) struct Bucket {
    most: u32,
    interval: Duration,
    /// When it is full again.
    full: Option<Instant>,
}

impl Bucket {
    /// A full one.
    pub(crate) const fn new(most: u32, interval: Duration) -> Self {
        Self {
            most,
            interval,
            full: None,
        }
    }

    /// The number that may be taken now.
    pub(crate) fn room(&self, now: Instant) -> u32 {
        let missing = self.missing(now).as_nanos().div_ceil(self.interval.as_nanos());
        self.most - u32::try_from(missing).map_or(self.most, |missing| missing.min(self.most))
    }

    fn missing(&self, now: Instant) -> Duration {
        self.full
            .map_or(Duration::ZERO, |full| full.saturating_duration_since(now))
    }

    /// Takes one.
    ///
    /// # Errors
    /// The time until there is one, where there is none.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        if self.room(now) == 0 {
            let last = self.interval * (self.most - 1);
            return Err(self.missing(now).saturating_sub(last));
        }
        self.full = Some(now + self.missing(now) + self.interval);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: Rules = Rules {
        free: 3,
        pause: Duration::from_secs(60),
        pause_max: Duration::from_secs(3600),
    };

    #[test]
    fn the_oldest_entry_gives_way() {
        let mut recent = Recent::new(3);
        for key in 0..3 {
            recent.set(key, ());
        }
        recent.set(0, ());
        recent.set(3, ());
        assert_eq!(recent.len(), 3);
        assert!(recent.contains(&0) && !recent.contains(&1));
        recent.remove(&0);
        assert_eq!(recent.len(), 2);
    }

    #[test]
    fn what_fails_rests_for_longer_and_longer() {
        let start = Instant::now();
        let mut budget = Budget::new(RULES, 10);
        let mut tries = Vec::new();
        for second in 0..24 * 3600 {
            let now = start + Duration::from_secs(second);
            if budget.rests(&1, now).is_none() {
                budget.begin(1, now);
                tries.push(second);
            }
        }
        assert_eq!(tries[..6], [0, 1, 2, 62, 182, 422]);
        assert!(tries.len() < 35, "{} in a day", tries.len());
        assert_eq!(budget.rests(&2, start), None, "another one");
        budget.succeeded(&1);
        assert_eq!(budget.rests(&1, start + Duration::from_secs(24 * 3600)), None);
    }

    #[test]
    fn what_failed_long_ago_is_forgotten() {
        let now = Instant::now();
        let mut budget = Budget::new(RULES, 10);
        for _ in 0..3 {
            assert_eq!(budget.rests(&1, now), None);
            budget.begin(1, now);
        }
        assert!(budget.rests(&1, now).is_some());
        let later = now + 3 * RULES.pause_max;
        budget.begin(1, later);
        assert_eq!(budget.rests(&1, later), None);
    }

    #[test]
    fn a_peer_that_names_thousands_of_others_ends_nobodys_rest() {
        let mut now = Instant::now();
        let mut budget = Budget::new(RULES, 10);
        while budget.rests(&0, now).is_none() {
            budget.begin(0, now);
        }
        let rest = budget.rests(&0, now).unwrap();
        for other in 1..5000 {
            now += Duration::from_millis(1);
            budget.begin(other, now);
            assert!(budget.len() <= 10);
        }
        assert_eq!(budget.rests(&0, now), Some(rest - Duration::from_millis(4999)));
        // Keys that do not rest have given way to each other.
        assert_eq!(budget.rests(&5000, now), None);
    }

    #[test]
    fn where_all_rest_another_one_waits_for_the_first_of_them() {
        let start = Instant::now();
        let mut budget = Budget::new(RULES, 10);
        for key in 0..10 {
            let now = start + Duration::from_secs(key);
            (0..3).for_each(|_| budget.begin(key, now));
        }
        let now = start + Duration::from_secs(10);
        assert_eq!(
            budget.rests(&10, now),
            Some(RULES.pause - Duration::from_secs(10))
        );
        budget.begin(10, now);
        assert!(budget.spent.contains_key(&0) && !budget.spent.contains_key(&10));
        let later = start + RULES.pause;
        assert_eq!(budget.rests(&10, later), None);
        budget.begin(10, later);
        assert!(budget.spent.contains_key(&10) && !budget.spent.contains_key(&0));
        assert_eq!(budget.len(), 10);
    }

    #[test]
    fn a_bucket_gives_so_many_at_once_and_one_after_each_interval() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut bucket = Bucket::new(3, second);
        let mut taken = |at: Duration| bucket.take(start + at);
        assert_eq!(taken(Duration::ZERO), Ok(()));
        assert_eq!(taken(second / 2), Ok(()));
        assert_eq!(taken(second / 2), Ok(()));
        assert_eq!(taken(second / 2), Err(second / 2));
        assert_eq!(taken(second), Ok(()), "the first is back");
        assert_eq!(taken(second * 3 / 2), Err(second / 2));
        assert_eq!(bucket.room(start + 100 * second), 3);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

        /// A rest that was begun is kept, and memory is bounded, whatever is named in whatever
        /// order.
        #[test]
        fn a_rest_is_kept_whatever_is_named(
            names in prop::collection::vec((0..40u8, 0..40u64, prop::bool::weighted(0.1)), 1..2000),
        ) {
            let mut now = Instant::now();
            let mut budget = Budget::new(RULES, 8);
            let mut resting: HashMap<u8, Instant> = HashMap::new();
            for (key, seconds, succeeds) in names {
                now += Duration::from_secs(seconds);
                if budget.rests(&key, now).is_some() {
                    continue;
                }
                let until = resting.get(&key);
                prop_assert!(until.is_none_or(|&until| until <= now), "it rests {:?} more", *until.unwrap() - now);
                budget.begin(key, now);
                resting.insert(key, now + budget.rests(&key, now).unwrap_or_default());
                if succeeds {
                    budget.succeeded(&key);
                    resting.remove(&key);
                }
                prop_assert!(budget.len() <= 8);
            }
        }

        /// No more is given in a time than was there at once, and came since.
        #[test]
        fn a_bucket_keeps_its_rate(pauses in prop::collection::vec(0..3000u64, 1..500)) {
            let start = Instant::now();
            let mut bucket = Bucket::new(5, Duration::from_secs(1));
            let mut taken = Vec::new();
            let mut now = start;
            for pause in pauses {
                now += Duration::from_millis(pause);
                match bucket.take(now) {
                    Ok(()) => taken.push(now),
                    Err(left) => prop_assert!(bucket.room(now + left) == 1),
                }
            }
            for (place, &first) in taken.iter().enumerate() {
                for (count, &last) in taken[place..].iter().enumerate() {
                    prop_assert!(count as u64 <= 5 + (last - first).as_secs());
                }
            }
        }
    }
}
