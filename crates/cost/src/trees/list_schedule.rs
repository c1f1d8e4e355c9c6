//! A job on paper: which machine does which task when, if all take their expected times.
//!
//! List scheduling after Graham (1966), in the order of the state machine: the task with the
//! longest path above it goes first, to the fastest free machine that has the memory. Machines of a
//! class are alike, so they are counted and not told apart. It takes a microsecond or two for a
//! task, where the simulator, which asks the state machine itself, takes tens.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use myriad_core::{Kind, TaskId, Tree};

use super::shape::{Shape, shape};

/// Kinds of tasks.
pub const KINDS: usize = Kind::ALL.len();

/// The time of a task of each shape on a machine of each class, in microseconds.
#[derive(Clone, Debug, Default)]
pub struct Times {
    /// The places of the shapes in what follows.
    pub shapes: BTreeMap<Shape, usize>,
    pub classes: Vec<ClassTimes>,
    /// The time of each segment, as a part of its shape's; without any, segments are alike. Their
    /// mean is 1.
    pub segments: Vec<f64>,
    /// Set where the machines are processes of one machine: then there is one class, and its times
    /// are of one core.
    pub shared: Option<SharedCores>,
}

/// Cores that processes share evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharedCores {
    pub cores: u64,
    /// Threads of each process, which are all that it can use.
    pub threads: u64,
}

impl SharedCores {
    /// Seconds of a core that each of `running` processes gets in a second.
    fn rate(self, running: u64) -> f64 {
        (self.cores as f64 / running.max(1) as f64).min(self.threads as f64)
    }
}

/// The time of a task of each shape on a machine of one class, in microseconds.
#[derive(Clone, Debug)]
pub struct ClassTimes {
    pub machines: u64,
    /// The time of each shape; none where it does not fit.
    pub tasks: Vec<Option<u64>>,
    /// The time that a task takes in addition after one of another kind, by kind.
    pub cold: [u64; KINDS],
}

/// The times of a schedule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// When the last segment was done, the last node of the tree, and the final proof.
    pub segments_us: u64,
    pub tree_us: u64,
    pub end_us: u64,
    /// Machine time spent, for each class; of cores, where these are shared.
    pub busy_us: Vec<u64>,
    /// Machine time spent on each kind of task, over all classes.
    pub kinds_us: [u64; KINDS],
}

impl Times {
    fn place(&self, tree: &Tree, task: TaskId) -> usize {
        self.shapes[&shape(tree, task)]
    }

    /// The time of the task at a place where its shape takes this long.
    fn of_task(&self, place: usize, shape_us: u64) -> u64 {
        // Segments come first.
        match self.segments.get(place) {
            Some(part) => (shape_us as f64 * part).round() as u64,
            None => shape_us,
        }
    }

    /// The time until `done_us` is done of each of `running` tasks.
    pub(super) fn elapsed_us(&self, done_us: u64, running: u64) -> u64 {
        match self.shared {
            Some(shared) => (done_us as f64 / shared.rate(running)).round() as u64,
            None => done_us,
        }
    }

    /// The number of machines that would have a task each to themselves and do as much.
    fn at_once(&self, machines: u64) -> f64 {
        machines as f64 * self.shared.map_or(1.0, |shared| shared.rate(machines))
    }

    /// The time of a shape on the fastest class that can do it; none if no class can.
    pub(super) fn fastest(&self, shape: usize) -> Option<u64> {
        let present = self.classes.iter().filter(|class| class.machines > 0);
        present.filter_map(|class| class.tasks[shape]).min()
    }

    /// Whether some class can do every shape.
    pub(super) fn is_possible(&self) -> bool {
        self.shapes.values().all(|&shape| self.fastest(shape).is_some())
    }

    /// The time of all work on all machines, where tasks of each shape are spread by how fast each
    /// class is at it.
    ///
    /// No schedule on machines of one class ends before this. With several it may be a little too
    /// high, where one class is much better at one shape than at the others.
    pub(super) fn work_us(&self, counts: impl IntoIterator<Item = (Shape, f64)>) -> u64 {
        let each = counts.into_iter().filter(|(_, count)| *count > 0.0);
        let times = each.map(|(shape, count)| {
            let rates = self.classes.iter().filter_map(|class| {
                let time = class.tasks[self.shapes[&shape]]?;
                Some(self.at_once(class.machines) / time.max(1) as f64)
            });
            count / rates.sum::<f64>()
        });
        times.sum::<f64>() as u64
    }

    /// The longest path, each task on the fastest machine for it. No schedule ends before this.
    pub(super) fn path_us(&self, tree: &Tree) -> u64 {
        let longest = self.ranks(tree).into_iter().max().unwrap_or(0);
        self.elapsed_us(longest, 1)
    }

    /// The longest path from each task to the final proof, itself included.
    fn ranks(&self, tree: &Tree) -> Vec<u64> {
        let tasks: Vec<TaskId> = tree.tasks().collect();
        let mut ranks = vec![0; tasks.len()];
        for &task in tasks.iter().rev() {
            let above = tree.parent(task).map_or(0, |parent| ranks[tree.place(parent)]);
            let place = tree.place(task);
            let takes = self.fastest(self.place(tree, task)).unwrap_or(0);
            ranks[place] = above + self.of_task(place, takes);
        }
        ranks
    }

    /// Does the job on paper. Some class must be able to do every shape.
    pub fn schedule(&self, tree: &Tree) -> Timeline {
        Schedule::new(self, tree).run()
    }
}

/// The tasks that can start, by shape, whose tasks all need the same memory. The longest path above
/// comes first, and of equal ones the first in the tree.
type Ready = BinaryHeap<(u64, Reverse<usize>)>;

struct Schedule<'a> {
    times: &'a Times,
    tree: &'a Tree,
    tasks: Vec<TaskId>,
    ranks: Vec<u64>,
    /// Children that each task waits for.
    missing: Vec<u32>,
    /// The tasks of each shape that can start.
    ready: Vec<Ready>,
    /// Machines of each class that are free, by the kind of their last task; those without any are
    /// last.
    free: Vec<[u64; KINDS + 1]>,
    /// Running tasks, first the one that ends first: the work done by then of a task that runs
    /// since the beginning, the place of the task, and its class.
    running: BinaryHeap<Reverse<(u64, usize, usize)>>,
    timeline: Timeline,
}

impl<'a> Schedule<'a> {
    fn new(times: &'a Times, tree: &'a Tree) -> Self {
        let tasks: Vec<TaskId> = tree.tasks().collect();
        let mut schedule = Self {
            times,
            tree,
            ranks: times.ranks(tree),
            missing: tasks.iter().map(|&task| shape(tree, task).1).collect(),
            tasks,
            ready: vec![Ready::new(); times.shapes.len()],
            free: times
                .classes
                .iter()
                .map(|class| {
                    let mut free = [0; KINDS + 1];
                    free[KINDS] = class.machines;
                    free
                })
                .collect(),
            running: BinaryHeap::new(),
            timeline: Timeline {
                busy_us: vec![0; times.classes.len()],
                ..Timeline::default()
            },
        };
        for segment in 0..tree.segments() {
            schedule.release(segment as usize);
        }
        schedule
    }

    fn release(&mut self, place: usize) {
        let shape = self.times.place(self.tree, self.tasks[place]);
        self.ready[shape].push((self.ranks[place], Reverse(place)));
    }

    fn run(mut self) -> Timeline {
        // The work done of a task that runs since the beginning. It is the time, unless cores are
        // shared: then all running tasks get on at one rate, which depends on their number.
        let mut done = 0;
        let mut now = 0;
        loop {
            self.assign(done);
            let running = self.running.len() as u64;
            let Some(Reverse((end, place, class))) = self.running.pop() else {
                return self.timeline;
            };
            now += self.times.elapsed_us(end - done, running);
            done = end;
            self.finish(now, place, class);
            // All tasks that end at the same time are seen before anything is given out.
            while let Some(&Reverse((end, place, class))) = self.running.peek()
                && end == done
            {
                self.running.pop();
                self.finish(now, place, class);
            }
        }
    }

    fn finish(&mut self, now: u64, place: usize, class: usize) {
        let task = self.tasks[place];
        self.free[class][task.kind() as usize] += 1;
        match task {
            TaskId::Segment(_) => self.timeline.segments_us = now,
            TaskId::Node(_) => self.timeline.tree_us = now,
            TaskId::Final => self.timeline.end_us = now,
        }
        if let Some(parent) = self.tree.parent(task) {
            let parent = self.tree.place(parent);
            self.missing[parent] -= 1;
            if self.missing[parent] == 0 {
                self.release(parent);
            }
        }
    }

    /// Gives out every task that a machine is free for.
    fn assign(&mut self, done: u64) {
        while let Some((shape, class)) = self.next() {
            let (_, Reverse(place)) = self.ready[shape].pop().expect("it was looked at");
            let kind = self.tasks[place].kind() as usize;
            let (free, times) = (&mut self.free[class], &self.times.classes[class]);
            // A machine that has just done a task of this kind asks first.
            let last = if free[kind] > 0 {
                kind
            } else {
                (0..=KINDS)
                    .rev()
                    .find(|&last| free[last] > 0)
                    .expect("somebody is free")
            };
            free[last] -= 1;
            let cold = if last == kind { 0 } else { times.cold[kind] };
            let takes = times.tasks[shape].expect("the class was chosen for the shape");
            let time = cold + self.times.of_task(place, takes);
            self.timeline.busy_us[class] += time;
            self.timeline.kinds_us[kind] += time;
            self.running.push(Reverse((done + time, place, class)));
        }
    }

    /// The most urgent shape that a free machine can do, and the fastest such class.
    fn next(&self) -> Option<(usize, usize)> {
        let free: Vec<usize> = (0..self.free.len())
            .filter(|&class| self.free[class].iter().any(|&count| count > 0))
            .collect();
        if free.is_empty() {
            return None;
        }
        let able = |shape: usize| {
            let times = free
                .iter()
                .filter_map(|&class| Some((self.times.classes[class].tasks[shape]?, class)));
            times.min().map(|(_, class)| class)
        };
        let heads = self.ready.iter().enumerate();
        heads
            .filter_map(|(shape, ready)| {
                let head = *ready.peek()?;
                Some((head, shape, able(shape)?))
            })
            .max()
            .map(|(_, shape, class)| (shape, class))
    }
}

#[cfg(test)]
mod tests {
    use myriad_core::Arities;

    use super::*;

    #[test]
    fn children_that_share_cores_are_faster_when_they_are_few() {
        let arities = Arities {
            leaf: 4,
            internal_for_leaf: 3,
            internal_recursive: 3,
        };
        let tree = Tree::new(8, arities);
        let seconds = |children: u64, threads, cores| {
            let shapes: BTreeMap<Shape, usize> = super::super::counts(&tree).into_keys().zip(0..).collect();
            let times = Times {
                classes: vec![ClassTimes {
                    machines: children,
                    tasks: vec![Some(1_000_000); shapes.len()],
                    cold: [0; KINDS],
                }],
                shapes,
                shared: Some(SharedCores { cores, threads }),
                ..Times::default()
            };
            times.schedule(&tree).end_us as f64 / 1e6
        };
        let one_core_each = |children| seconds(children, 1, children);
        assert_eq!(one_core_each(1), tree.task_count() as f64);
        // segment, leaf, internal-for-leaf, internal-recursive, final
        assert_eq!(one_core_each(100), 5.0);
        // Two children: four rounds of segments, both leaves, and three tasks one after the other.
        assert_eq!(one_core_each(2), 8.0);
        // Those three tasks take half the time with all cores for each child.
        assert_eq!(seconds(2, 2, 2), 6.5);
    }

    #[test]
    fn segments_that_differ_take_their_own_time() {
        let arities = Arities {
            leaf: 1,
            internal_for_leaf: 1,
            internal_recursive: 2,
        };
        let tree = Tree::new(3, arities);
        let shapes: BTreeMap<Shape, usize> = super::super::counts(&tree).into_keys().zip(0..).collect();
        let times = |segments: Vec<f64>| Times {
            classes: vec![ClassTimes {
                machines: 3,
                tasks: vec![Some(1_000_000); shapes.len()],
                cold: [0; KINDS],
            }],
            shapes: shapes.clone(),
            segments,
            shared: None,
        };
        let ends = |segments: Vec<f64>| {
            let timeline = times(segments).schedule(&tree);
            [timeline.segments_us, timeline.end_us].map(|us| us as f64 / 1e6)
        };
        // A segment, its leaf, its internal-for-leaf node, two internal-recursive ones, and the
        // final proof.
        assert_eq!(ends(vec![]), [1.0, 6.0]);
        assert_eq!(ends(vec![0.5, 2.0, 0.5]), [2.0, 7.0]);
        assert_eq!(times(vec![0.5, 2.0, 0.5]).path_us(&tree), 7_000_000);
    }
}
