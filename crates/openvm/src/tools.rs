//! The tools that a child keeps from one task to the next: making them costs a second or two.

use myriad_engine::worker::Failure;

use crate::{KeyCache, Program, aggregate::Aggregator, circuit::Circuit, memory, prove::SegmentProver};

/// The tools of several kinds of tasks, as long as memory allows.
pub(crate) struct Tools(Shelf<Kind, Tool>);

/// A kind of task, by the tools that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Segments,
    Nodes(Circuit),
}

/// A tool, and the bytes that it takes from the start.
enum Tool {
    Prover(Box<SegmentProver>, u64),
    Aggregator(Box<Aggregator>, u64),
}

impl Weighed for Tool {
    fn bytes(&self) -> u64 {
        match self {
            Self::Prover(prover, bytes) => bytes.saturating_add(prover.kept_bytes()),
            Self::Aggregator(_, bytes) => *bytes,
        }
    }
}

impl Tools {
    /// No tools yet, for a process whose tasks may be expected to take `memory_max` bytes, with the
    /// tools that they do not need. Without that number it keeps the tools of the last task alone.
    pub(crate) fn new(memory_max: Option<u64>) -> Self {
        Self(Shelf {
            memory_max,
            kept: Vec::new(),
        })
    }

    /// The prover for a segment that is expected to take so many bytes, the prover's included.
    pub(crate) fn prover(
        &mut self,
        program: &Program,
        keys: &KeyCache,
        expected_bytes: u64,
    ) -> Result<&mut SegmentProver, Failure> {
        let make = || {
            let prover = SegmentProver::new(program, keys)?;
            let bytes = memory::prover_bytes(program);
            Ok::<_, Failure>(Tool::Prover(Box::new(prover), bytes))
        };
        match self.0.at_hand(Kind::Segments, expected_bytes, make)? {
            Tool::Prover(prover, _) => Ok(prover),
            Tool::Aggregator(..) => unreachable!("segments have a prover"),
        }
    }

    /// The aggregator for a node that is expected to take so many bytes, the aggregator's included.
    pub(crate) fn aggregator(
        &mut self,
        program: &Program,
        keys: &KeyCache,
        circuit: Circuit,
        expected_bytes: u64,
    ) -> Result<&Aggregator, Failure> {
        let make = || {
            let aggregator = Aggregator::new(program, keys, circuit)?;
            let bytes = memory::aggregator_bytes(program.config(), circuit);
            Ok::<_, Failure>(Tool::Aggregator(Box::new(aggregator), bytes))
        };
        match self.0.at_hand(Kind::Nodes(circuit), expected_bytes, make)? {
            Tool::Aggregator(aggregator, _) => Ok(aggregator),
            Tool::Prover(..) => unreachable!("nodes have an aggregator"),
        }
    }

    /// Makes room for work that needs no tools. Those of the last task stay, as the next one is
    /// likely to be of its kind.
    pub(crate) fn make_room(&mut self, expected_bytes: u64) {
        self.0.make_room(expected_bytes, None);
    }

    /// Drops all.
    pub(crate) fn clear(&mut self) {
        self.0.kept.clear();
    }

    /// Bytes of the tools that the last task did not need.
    pub(crate) fn idle_bytes(&self) -> u64 {
        let last = self.0.last();
        self.0.bytes(|kind| Some(kind) != last)
    }
}

/// Something whose memory is known. It may be more after each use.
trait Weighed {
    fn bytes(&self) -> u64;
}

/// Things of several kinds that are kept in a limited memory. Those that were not used for longest
/// go first.
struct Shelf<K, T> {
    memory_max: Option<u64>,
    /// One of a kind, in the order in which they were used.
    kept: Vec<(K, T)>,
}

impl<K: Copy + PartialEq, T: Weighed> Shelf<K, T> {
    /// The thing of a kind, made if it is not there, for a task that is expected to take so many
    /// bytes with it. Before it is made, there is room for the task.
    fn at_hand<E>(
        &mut self,
        kind: K,
        expected_bytes: u64,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<&mut T, E> {
        self.make_room(expected_bytes, Some(kind));
        let thing = match self.kept.iter().position(|(kept, _)| *kept == kind) {
            Some(place) => self.kept.remove(place).1,
            None => make()?,
        };
        self.kept.push((kind, thing));
        Ok(&mut self.kept.last_mut().expect("pushed above").1)
    }

    /// Drops what does not fit beside a task that is expected to take so many bytes, in which those
    /// of its `own` kind are included. One thing is spared: of this kind, or else the last used.
    fn make_room(&mut self, expected_bytes: u64, own: Option<K>) {
        let spared = own.or(self.last());
        while !self.fits(expected_bytes, own) {
            let Some(place) = self.kept.iter().position(|(kind, _)| Some(*kind) != spared) else {
                return;
            };
            self.kept.remove(place);
        }
    }

    fn fits(&self, expected_bytes: u64, own: Option<K>) -> bool {
        match self.memory_max {
            Some(max) => expected_bytes.saturating_add(self.bytes(|kind| Some(kind) != own)) <= max,
            None => self.kept.iter().all(|(kind, _)| Some(*kind) == own),
        }
    }

    fn last(&self) -> Option<K> {
        self.kept.last().map(|(kind, _)| *kind)
    }

    /// Bytes of those of some kinds.
    fn bytes(&self, of: impl Fn(K) -> bool) -> u64 {
        let counted = self.kept.iter().filter(|(kind, _)| of(*kind));
        counted
            .map(|(_, thing)| thing.bytes())
            .fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// A thing of so many bytes.
    #[derive(Debug, PartialEq)]
    struct Thing(u64);

    impl Weighed for Thing {
        fn bytes(&self) -> u64 {
            self.0
        }
    }

    /// A shelf of things with letters as names, and how many of them were made.
    struct Letters {
        shelf: Shelf<char, Thing>,
        made: usize,
    }

    impl Letters {
        fn within(memory_max: Option<u64>) -> Self {
            let kept = Vec::new();
            Self {
                shelf: Shelf { memory_max, kept },
                made: 0,
            }
        }

        /// What is kept, in the order of use, after a task that takes this thing of 10 bytes.
        fn after(&mut self, letter: char, expected_bytes: u64) -> String {
            let make = || {
                self.made += 1;
                Ok::<_, Infallible>(Thing(10))
            };
            let Ok(_) = self.shelf.at_hand(letter, expected_bytes, make);
            self.kept()
        }

        fn kept(&self) -> String {
            self.shelf.kept.iter().map(|(kind, _)| *kind).collect()
        }
    }

    #[test]
    fn what_fits_beside_the_task_is_made_once() {
        let mut letters = Letters::within(Some(100));
        assert_eq!(letters.after('a', 70), "a");
        assert_eq!(letters.after('b', 70), "ab");
        assert_eq!(letters.after('c', 70), "abc");
        assert_eq!(letters.after('d', 70), "abcd");
        assert_eq!(letters.after('a', 70), "bcda");
        assert_eq!(letters.made, 4);
    }

    #[test]
    fn a_task_that_takes_more_drops_the_least_recently_used() {
        let mut letters = Letters::within(Some(100));
        for letter in ['a', 'b', 'c', 'a'] {
            letters.after(letter, 50);
        }
        // The two others just fit; then one, and then none.
        assert_eq!(letters.after('a', 80), "bca");
        assert_eq!(letters.after('a', 81), "ca");
        assert_eq!(letters.after('a', 91), "a");
        // One that takes all memory, or says so, keeps its own.
        assert_eq!(letters.after('a', 100), "a");
        assert_eq!(letters.after('a', u64::MAX), "a");
        assert_eq!(letters.made, 3);
        assert_eq!(letters.after('b', u64::MAX), "b");
    }

    #[test]
    fn without_a_limit_the_last_one_is_kept_and_no_other() {
        let mut letters = Letters::within(None);
        for letter in ['a', 'a', 'b', 'b', 'a'] {
            assert_eq!(letters.after(letter, 0), letter.to_string());
        }
        assert_eq!(letters.made, 3);
        letters.shelf.make_room(u64::MAX, None);
        assert_eq!(letters.kept(), "a");
    }

    #[test]
    fn work_without_a_tool_spares_the_last_one() {
        let mut letters = Letters::within(Some(100));
        for letter in ['a', 'b', 'c'] {
            letters.after(letter, 50);
        }
        // All three take memory beside it.
        for (expected_bytes, kept) in [(70, "abc"), (71, "bc"), (81, "c"), (u64::MAX, "c")] {
            letters.shelf.make_room(expected_bytes, None);
            assert_eq!(letters.kept(), kept, "{expected_bytes}");
        }
    }

    #[test]
    fn what_cannot_be_made_is_not_kept() {
        let mut letters = Letters::within(Some(100));
        letters.after('a', 50);
        let made = letters.shelf.at_hand('b', 50, || Err("no keys"));
        assert_eq!(made, Err("no keys"));
        assert_eq!(letters.kept(), "a");
    }

    #[test]
    fn what_has_grown_is_counted_as_it_is_now() {
        let mut letters = Letters::within(Some(100));
        letters.after('a', 50);
        let Ok(thing) = letters.shelf.at_hand('a', 50, || Ok::<_, Infallible>(Thing(10)));
        thing.0 = 30;
        assert_eq!(letters.after('b', 70), "ab");
        assert_eq!(letters.after('b', 71), "b");
    }
}
