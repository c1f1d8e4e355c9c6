//! Tasks that can start now, and peers that wait for one.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    ops::Bound,
    time::Duration,
};

use crate::{
    holders::{Holders, Order},
    ids::{JobId, Peer, TaskId},
    input::{Cost, SPEED_ONE},
};

/// Memory is sorted in steps of this many bytes: few enough steps to look through all of them.
const MEMORY_STEP: u64 = 64 << 20;

/// A peer whose merit is below the best one's by more than this part is not preferred for being
/// small.
const MERIT_PART: u32 = 5;

/// A peer with a job's files is as good as another one if the other has more merit by no more than
/// this part: merits are not known better.
const ALIKE_PART: u32 = 20;

/// An odd number whose bits are spread.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// The ready tasks of one job, by the memory that they need and the length of the path above them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ready {
    steps: BTreeMap<u64, Step>,
    count: usize,
}

#[derive(Clone, Debug)]
struct Step {
    /// No task of this step needs less.
    least_memory: u64,
    tasks: BTreeMap<(Reverse<Duration>, TaskId), u64>,
}

impl Ready {
    pub(crate) fn insert(&mut self, task: TaskId, memory: u64, rank: Duration) {
        let step = self.steps.entry(memory / MEMORY_STEP).or_insert_with(|| Step {
            least_memory: memory,
            tasks: BTreeMap::new(),
        });
        step.least_memory = step.least_memory.min(memory);
        self.count += usize::from(step.tasks.insert((Reverse(rank), task), memory).is_none());
    }

    pub(crate) fn remove(&mut self, task: TaskId, memory: u64, rank: Duration) -> bool {
        let step = memory / MEMORY_STEP;
        let Some(tasks) = self.steps.get_mut(&step).map(|step| &mut step.tasks) else {
            return false;
        };
        let removed = tasks.remove(&(Reverse(rank), task)).is_some();
        if tasks.is_empty() {
            self.steps.remove(&step);
        }
        self.count -= usize::from(removed);
        removed
    }

    /// The task with the longest path above it that fits into `memory` and is not `barred`.
    pub(crate) fn best(&self, memory: u64, barred: impl Fn(TaskId) -> bool) -> Option<TaskId> {
        self.fitting(memory)
            .filter_map(|step| {
                step.tasks
                    .iter()
                    .find(|(key, needed)| **needed <= memory && !barred(key.1))
                    .map(|(&key, _)| key)
            })
            .min()
            .map(|(_, task)| task)
    }

    /// The [best](Self::best) of the tasks whose path above is shorter than `rank`.
    pub(crate) fn best_below(
        &self,
        rank: Duration,
        memory: u64,
        barred: impl Fn(TaskId) -> bool,
    ) -> Option<TaskId> {
        let below = (Bound::Excluded((Reverse(rank), TaskId::Final)), Bound::Unbounded);
        self.fitting(memory)
            .filter_map(|step| {
                step.tasks
                    .range(below)
                    .find(|(key, needed)| **needed <= memory && !barred(key.1))
                    .map(|(&key, _)| key)
            })
            .min()
            .map(|(_, task)| task)
    }

    /// The task with the longest path above it that is no longer than this.
    pub(crate) fn first_from(&self, rank: Duration) -> Option<TaskId> {
        let from = (Reverse(rank), TaskId::Segment(0));
        let firsts = self
            .steps
            .values()
            .filter_map(|step| step.tasks.range(from..).next());
        firsts.map(|(&key, _)| key).min().map(|(_, task)| task)
    }

    fn fitting(&self, memory: u64) -> impl Iterator<Item = &Step> {
        let steps = self.steps.range(..=memory / MEMORY_STEP).map(|(_, step)| step);
        steps.filter(move |step| step.least_memory <= memory)
    }

    /// The longest path above any of them.
    pub(crate) fn top_rank(&self) -> Duration {
        let first = |step: &Step| step.tasks.keys().next().map(|(Reverse(rank), _)| *rank);
        self.steps.values().filter_map(first).max().unwrap_or_default()
    }

    pub(crate) fn tasks(&self) -> impl Iterator<Item = TaskId> {
        self.steps
            .values()
            .flat_map(|step| step.tasks.keys().map(|key| key.1))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// One of the tasks that need the least memory.
    pub(crate) fn smallest(&self) -> Option<TaskId> {
        let step = self.steps.values().next()?;
        let smallest = step.tasks.iter().min_by_key(|(_, memory)| **memory)?;
        Some(smallest.0.1)
    }

    /// The memory that the smallest task needs, in bytes.
    pub(crate) fn least_memory(&self) -> Option<u64> {
        self.steps.values().next().map(|step| step.least_memory)
    }
}

/// Peers that were told that there is nothing for them now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parked {
    /// By memory; within a step by merit, then in an order that is this requester's own. Machines
    /// that all requesters wake first are mostly busy with another's task.
    steps: BTreeMap<u64, BTreeMap<Order, u64>>,
    salt: u64,
    /// Memory and merit of each, and the network that counts it.
    places: HashMap<Peer, (u64, u32, Option<u64>)>,
    /// How many peers of each network wait.
    origins: BTreeMap<u64, usize>,
    /// The peers that have the files of each job, those that wait here and others.
    files: Holders,
}

impl Parked {
    /// Chooses the order among peers alike, while none waits.
    pub(crate) fn set_salt(&mut self, salt: u64) {
        if self.is_empty() {
            self.salt = salt;
        }
    }

    fn order(&self, peer: Peer, merit: u32) -> Order {
        let start = peer.0.first_chunk().expect("a name is longer");
        // Another order for each salt, and no secret: a peer could make itself a name that comes
        // first, among those of its merit.
        let mixed = (u64::from_be_bytes(*start) ^ self.salt).wrapping_mul(MIX);
        (Reverse(merit), mixed ^ mixed >> 32, peer)
    }

    pub(crate) fn insert(&mut self, peer: Peer, memory: u64, merit: u32, origin: Option<u64>) {
        self.remove(peer);
        let order = self.order(peer, merit);
        self.files.waits(order, memory);
        self.steps
            .entry(memory / MEMORY_STEP)
            .or_default()
            .insert(order, memory);
        self.places.insert(peer, (memory, merit, origin));
        if let Some(origin) = origin {
            *self.origins.entry(origin).or_default() += 1;
        }
    }

    /// How many peers wait that a network counts.
    pub(crate) fn of_origin(&self, origin: u64) -> usize {
        self.origins.get(&origin).copied().unwrap_or_default()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(crate) fn contains(&self, peer: Peer) -> bool {
        self.places.contains_key(&peer)
    }

    pub(crate) fn count(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn remove(&mut self, peer: Peer) {
        let Some((memory, merit, origin)) = self.places.remove(&peer) else {
            return;
        };
        if let Some(origin) = origin
            && let Some(count) = self.origins.get_mut(&origin)
        {
            *count -= 1;
            if *count == 0 {
                self.origins.remove(&origin);
            }
        }
        let (step, order) = (memory / MEMORY_STEP, self.order(peer, merit));
        self.files.waits_no_more(order);
        if let Some(peers) = self.steps.get_mut(&step) {
            peers.remove(&order);
            if peers.is_empty() {
                self.steps.remove(&step);
            }
        }
    }

    /// A peer has the files of a job that is open or about to be opened.
    pub(crate) fn note_files(&mut self, peer: Peer, job: JobId) {
        let place = self.places.get(&peer);
        let place = place.map(|&(memory, merit, _)| (self.order(peer, merit), memory));
        self.files.note(peer, job, place);
    }

    pub(crate) fn forget_files(&mut self, job: JobId) {
        self.files.forget_job(job);
    }

    /// A peer is gone, with all that it has.
    pub(crate) fn forget(&mut self, peer: Peer) {
        self.remove(peer);
        self.files.forget_peer(peer);
    }

    /// Sets the time in which a peer without a job's files would fetch them.
    pub(crate) fn set_spared(&mut self, job: JobId, spared: Duration) {
        self.files.set_spared(job, spared);
    }

    /// The peer for a task of a job: the best of those with the job's files, if it would end about
    /// as soon as the [best](Self::best) of all, which might have to fetch them.
    pub(crate) fn best_for(&self, job: JobId, cost: Cost) -> Option<Peer> {
        let best = self.best(cost.memory)?;
        let Some((merit, holder)) = self.files.best(job, cost.memory) else {
            return Some(best);
        };
        let &(_, most, _) = self.places.get(&best)?;
        let micros = |time: Duration| time.as_micros();
        // As if fetching were a part of its work.
        let spared = micros(self.files.spared(job)) * u128::from(most) / u128::from(SPEED_ONE);
        let work = micros(cost.work);
        let (sooner, later) = ((work + spared) * u128::from(merit), work * u128::from(most));
        let is_sooner = sooner >= later - later / u128::from(ALIKE_PART);
        Some(if is_sooner { holder } else { best })
    }

    /// The peer for a task that needs `memory`. It has the least memory that is enough, so that
    /// large machines stay free for large tasks, and the most merit among those alike. A peer with
    /// much less merit than another is never chosen: a ready task waits for nothing but this
    /// machine.
    pub(crate) fn best(&self, memory: u64) -> Option<Peer> {
        let most = self.best_of_each(memory).map(|(merit, _)| merit).max()?;
        self.best_of_each(memory)
            .find(|(merit, _)| *merit >= most - most / MERIT_PART)
            .map(|(_, peer)| peer)
    }

    /// The merit of the best peer of each step that has this much memory, and the peer.
    fn best_of_each(&self, memory: u64) -> impl Iterator<Item = (u32, Peer)> {
        self.steps
            .range(memory / MEMORY_STEP..)
            .filter_map(move |(_, peers)| peers.iter().find(|&(_, &offered)| offered >= memory))
            .map(|(&(Reverse(merit), _, peer), _)| (merit, peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_longest_path_that_fits_goes_first() {
        let mut ready = Ready::default();
        let secs = Duration::from_secs;
        ready.insert(TaskId::Segment(0), GIB, secs(5));
        ready.insert(TaskId::Segment(1), 3 * GIB, secs(9));
        ready.insert(TaskId::Segment(2), GIB, secs(7));
        assert_eq!(ready.best(4 * GIB, |_| false), Some(TaskId::Segment(1)));
        assert_eq!(ready.best(2 * GIB, |_| false), Some(TaskId::Segment(2)));
        assert_eq!(
            ready.best(2 * GIB, |task| task == TaskId::Segment(2)),
            Some(TaskId::Segment(0))
        );
        assert_eq!(ready.best(GIB - 1, |_| false), None, "not even by a byte");
        assert_eq!(ready.least_memory(), Some(GIB));
        assert!(ready.remove(TaskId::Segment(1), 3 * GIB, secs(9)));
        assert!(!ready.remove(TaskId::Segment(1), 3 * GIB, secs(9)));
        assert!(!ready.is_empty());
        assert_eq!(
            ready.best(GIB, |_| false),
            Some(TaskId::Segment(2)),
            "to the byte"
        );
    }

    #[test]
    fn the_smallest_machine_that_suffices_is_woken() {
        let mut parked = Parked::default();
        let peer = |byte| Peer([byte; 32]);
        parked.insert(peer(1), 8 * GIB, 1000, None);
        parked.insert(peer(2), 2 * GIB, 800, None);
        parked.insert(peer(3), 2 * GIB, 900, None);
        parked.insert(peer(4), 2 * GIB, 799, None);
        let take = |parked: &mut Parked, memory| {
            let best = parked.best(memory);
            best.inspect(|&peer| parked.remove(peer))
        };
        assert_eq!(take(&mut parked, 2 * GIB), Some(peer(3)));
        assert_eq!(take(&mut parked, 2 * GIB), Some(peer(2)));
        assert_eq!(take(&mut parked, 2 * GIB), Some(peer(1)), "it is much better");
        assert_eq!(take(&mut parked, 2 * GIB), Some(peer(4)));
        parked.insert(peer(2), 2 * GIB, 500, None);
        assert_eq!(take(&mut parked, 2 * GIB + 1), None, "not even by a byte");
        parked.remove(peer(2));
        assert_eq!(take(&mut parked, 1), None);
    }

    #[test]
    fn a_peer_with_the_files_is_woken_before_others_that_would_end_no_sooner() {
        let mut parked = Parked::default();
        let (peer, job) = (|byte| Peer([byte; 32]), JobId([1; 32]));
        let cost = Cost {
            work: Duration::from_secs(10),
            memory: GIB,
        };
        parked.insert(peer(1), 2 * GIB, 1000, None);
        parked.insert(peer(2), 4 * GIB, 950, None);
        assert_eq!(parked.best_for(job, cost), Some(peer(1)));
        parked.note_files(peer(2), job);
        assert_eq!(parked.best_for(job, cost), Some(peer(2)), "it is about as good");
        let other = JobId([2; 32]);
        assert_eq!(parked.best_for(other, cost), Some(peer(1)), "of another job");
        // It is slower now by more than fetching takes the other one.
        parked.insert(peer(2), 4 * GIB, 800, None);
        assert_eq!(parked.best_for(job, cost), Some(peer(1)));
        parked.set_spared(job, Duration::from_secs(1));
        assert_eq!(parked.best_for(job, cost), Some(peer(1)));
        parked.set_spared(job, Duration::from_secs(2));
        assert_eq!(parked.best_for(job, cost), Some(peer(2)));
        parked.remove(peer(2));
        assert_eq!(parked.best_for(job, cost), Some(peer(1)), "it is at a task");
        parked.insert(peer(2), 4 * GIB, 1000, None);
        parked.forget(peer(2));
        parked.insert(peer(2), 4 * GIB, 1000, None);
        assert_eq!(
            parked.best_for(job, cost),
            Some(peer(1)),
            "it came back without them"
        );
    }
}
