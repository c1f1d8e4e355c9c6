//! The order in which jobs are planned and come to be in work.
//!
//! Engine children that plan take the memory of a whole segment each, and each job in work has a
//! child that verifies. So there are few of both at once, and the other jobs wait: the most
//! important goes first, among equals the one that is due first, then the oldest. That is the order
//! in which the state machine gives out tasks.

use std::{
    cmp::Reverse,
    collections::BTreeSet,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

/// The place of a job: its priority, when it is due, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    priority: Reverse<i32>,
    /// Jobs that are never due come last.
    due: (bool, Option<Instant>),
    number: u64,
}

impl Place {
    pub(super) fn new(priority: i32, due: Option<Instant>, number: u64) -> Self {
        Self {
            priority: Reverse(priority),
            due: (due.is_none(), due),
            number,
        }
    }
}

/// How many jobs a service has at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Jobs that are being planned.
    pub planned: usize,
    /// Jobs in work, planning included, that no job waits for which comes before them.
    pub in_work: usize,
    /// Jobs in work in any case: a job that comes before others need not wait for all of them.
    pub in_work_max: usize,
    /// Jobs altogether, those that wait included. Their programs and inputs are in memory.
    pub jobs: usize,
}

/// The default of [`Limits::jobs`].
pub const JOBS_MAX: usize = 256;

impl Default for Limits {
    fn default() -> Self {
        Self {
            planned: 1,
            in_work: 4,
            in_work_max: 12,
            jobs: JOBS_MAX,
        }
    }
}

pub(super) struct Queue {
    limits: Limits,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: BTreeSet<Place>,
    in_work: BTreeSet<Place>,
    planned: usize,
}

/// A job that waits for its turn, or will soon, until this is dropped: nobody that comes after it
/// goes before it.
pub(super) struct Waiting {
    queue: Arc<Queue>,
    place: Place,
}

/// A job in work, until this is dropped.
pub(super) struct InWork {
    queue: Arc<Queue>,
    place: Place,
}

/// A job that is being planned, until all clones of this are dropped.
#[derive(Clone)]
pub(super) struct Planning(#[expect(dead_code, reason = "it is dropped")] Arc<Turn>);

struct Turn(Arc<Queue>);

impl Queue {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            state: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job is there.
    pub(super) fn enter(self: &Arc<Self>, place: Place) -> Waiting {
        self.state().waiting.insert(place);
        Waiting {
            queue: Arc::clone(self),
            place,
        }
    }

    /// Jobs may have been given up.
    pub(super) fn look_again(&self) {
        // With the lock held, every thread that has looked waits by now.
        let _state = self.state();
        self.changed.notify_all();
    }
}

impl Waiting {
    /// Waits until the job may be planned; none if it `is_given_up` before. `waits` is called if
    /// that is not at once.
    pub(super) fn wait(
        self,
        is_given_up: impl Fn() -> bool,
        waits: impl FnOnce(),
    ) -> Option<(InWork, Planning)> {
        let (queue, place) = (&self.queue, self.place);
        let mut waits = Some(waits);
        let mut state = queue.state();
        loop {
            if is_given_up() {
                return None;
            }
            if state.lets_in(place, &queue.limits) {
                state.waiting.remove(&place);
                state.in_work.insert(place);
                state.planned += 1;
                let in_work = InWork {
                    queue: Arc::clone(queue),
                    place,
                };
                return Some((in_work, Planning(Arc::new(Turn(Arc::clone(queue))))));
            }
            if let Some(waits) = waits.take() {
                drop(state);
                waits();
                state = queue.state();
                continue;
            }
            let changed = queue.changed.wait(state);
            state = changed.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl State {
    /// Whether it is this job's turn.
    fn lets_in(&self, place: Place, limits: &Limits) -> bool {
        let before = self.in_work.range(..place).count();
        self.waiting.first() == Some(&place)
            && self.planned < limits.planned
            && before < limits.in_work
            && self.in_work.len() < limits.in_work_max
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.queue.state().waiting.remove(&self.place);
        // It may be the next one's turn.
        self.queue.changed.notify_all();
    }
}

impl Drop for InWork {
    fn drop(&mut self) {
        self.queue.state().in_work.remove(&self.place);
        self.queue.changed.notify_all();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.state().planned -= 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            atomic::{AtomicBool, Ordering},
            mpsc::{self, Receiver},
        },
        thread,
        time::Duration,
    };

    use super::*;

    const LIMITS: Limits = Limits {
        planned: 1,
        in_work: 2,
        in_work_max: 3,
        jobs: 100,
    };
    const MOMENT: Duration = Duration::from_millis(50);

    /// A job that waits in a thread for its turn.
    fn waits(queue: &Arc<Queue>, place: Place) -> Receiver<(InWork, Planning)> {
        let (sender, turns) = mpsc::channel();
        let (told, is_waiting) = mpsc::channel();
        let queue = Arc::clone(queue);
        thread::spawn(move || {
            let turn = queue.enter(place).wait(|| false, || told.send(()).unwrap());
            let _ = sender.send(turn.unwrap());
        });
        is_waiting.recv().unwrap();
        turns
    }

    fn at_once(queue: &Arc<Queue>, place: Place) -> (InWork, Planning) {
        let waiting = queue.enter(place);
        waiting.wait(|| false, || panic!("it need not wait")).unwrap()
    }

    #[test]
    fn a_job_that_is_about_to_wait_is_not_overtaken() {
        let queue = Queue::new(LIMITS);
        let first = queue.enter(Place::new(0, None, 0));
        let second = waits(&queue, Place::new(0, None, 1));
        assert!(second.recv_timeout(MOMENT).is_err(), "it is the other one's turn");
        // That one turns out to be no job.
        drop(first);
        second.recv().unwrap();
    }

    #[test]
    fn one_job_is_planned_at_a_time_in_the_order_of_their_importance() {
        let queue = Queue::new(Limits {
            in_work: 9,
            in_work_max: 9,
            ..LIMITS
        });
        let now = Instant::now();
        let first = at_once(&queue, Place::new(0, None, 0));
        let places = [
            Place::new(0, None, 1),
            Place::new(0, Some(now + MOMENT), 2),
            Place::new(0, Some(now), 3),
            Place::new(1, None, 4),
            Place::new(0, None, 5),
        ];
        let mut turns: Vec<_> = places.iter().map(|&place| waits(&queue, place)).collect();
        let (_in_work, mut planning) = first;
        let mut in_work = Vec::new();
        let mut order = Vec::new();
        for _ in 0..places.len() {
            assert!(turns.iter().all(|turn| turn.recv_timeout(MOMENT).is_err()));
            // One of several clones is none of it.
            drop(planning.clone());
            drop(planning);
            let (index, turn) = loop {
                let next = turns
                    .iter()
                    .enumerate()
                    .find_map(|(index, turn)| Some((index, turn.recv_timeout(MOMENT).ok()?)));
                if let Some(next) = next {
                    break next;
                }
            };
            order.push(turn.0.place.number);
            in_work.push(turn.0);
            planning = turn.1;
            drop(turns.remove(index));
        }
        assert_eq!(order, [4, 3, 2, 1, 5]);
    }

    #[test]
    fn a_job_that_comes_before_those_in_work_goes_past_their_number_and_not_past_all_bounds() {
        let queue = Queue::new(LIMITS);
        let place = |priority, number| Place::new(priority, None, number);
        let mut in_work: Vec<_> = (0..2).map(|number| at_once(&queue, place(0, number)).0).collect();
        let later = waits(&queue, place(0, 2));
        assert!(later.recv_timeout(MOMENT).is_err(), "two are in work already");
        in_work.push(at_once(&queue, place(1, 3)).0);
        let urgent = waits(&queue, place(2, 4));
        assert!(urgent.recv_timeout(MOMENT).is_err(), "three are in work");
        in_work.remove(0);
        in_work.push(urgent.recv().unwrap().0);
        in_work.remove(0);
        assert!(
            later.recv_timeout(MOMENT).is_err(),
            "two that come before it are in work"
        );
        in_work.remove(0);
        later.recv().unwrap();
    }

    #[test]
    fn a_job_that_is_given_up_lets_the_next_one_go() {
        let queue = Queue::new(LIMITS);
        let (_in_work, planning) = at_once(&queue, Place::new(0, None, 0));
        let given_up = Arc::new(AtomicBool::new(false));
        let (sender, ended) = mpsc::channel();
        let (told, is_waiting) = mpsc::channel();
        let (waiting, is_given_up) = (Arc::clone(&queue), Arc::clone(&given_up));
        thread::spawn(move || {
            let is_given_up = || is_given_up.load(Ordering::SeqCst);
            let waits = || told.send(()).unwrap();
            let turn = waiting.enter(Place::new(9, None, 1)).wait(is_given_up, waits);
            sender.send(turn.is_none()).unwrap();
        });
        is_waiting.recv().unwrap();
        let next = waits(&queue, Place::new(0, None, 2));
        given_up.store(true, Ordering::SeqCst);
        queue.look_again();
        assert_eq!(ended.recv(), Ok(true));
        drop(planning);
        next.recv().unwrap();
    }
}
