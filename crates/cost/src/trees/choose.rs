//! The one chooser of trees.

use std::collections::BTreeMap;

use myriad_core::{Arities, Kind, Tree};

use super::{
    list_schedule::{ClassTimes, Timeline, Times},
    shape::{Shape, counts, outline},
};

/// A tree that can be made.
#[derive(Clone, Debug)]
pub struct Candidate<T> {
    pub arities: Arities,
    pub tree: Tree,
    pub times: Times,
    /// The number of tasks of each shape.
    pub counts: BTreeMap<Shape, u64>,
    /// No schedule ends before this, in microseconds.
    pub earliest_us: u64,
    /// The caller's own facts about it.
    pub of: T,
}

/// The candidate that was chosen.
#[derive(Clone, Debug)]
pub struct Chosen<T> {
    pub candidate: Candidate<T>,
    /// Its schedule; `end_us` is when its final proof is there.
    pub timeline: Timeline,
}

/// The candidate with the least `score`. A score is the time at which the timeline ends, or grows
/// with that and counts the parts before and after. Among equal ones it is the one that could end
/// first, and among these the first; none without candidates.
///
/// `tasks_max` tasks are put on paper at most. A candidate with more of them is only outlined, by
/// Graham's bound.
pub fn choose<T>(
    mut candidates: Vec<Candidate<T>>,
    tasks_max: usize,
    score: impl Fn(&Candidate<T>, &Timeline) -> f64,
) -> Option<Chosen<T>> {
    candidates.sort_by_key(|candidate| candidate.earliest_us);
    let mut left = tasks_max;
    let mut best: Option<(f64, Chosen<T>)> = None;
    for candidate in candidates {
        let tasks = candidate.tree.task_count();
        let beaten = |chosen: &Chosen<T>| chosen.timeline.end_us <= candidate.earliest_us;
        if best
            .as_ref()
            .is_some_and(|(_, chosen)| beaten(chosen) || tasks > left)
        {
            break;
        }
        left = left.saturating_sub(tasks);
        let timeline = if tasks > tasks_max {
            candidate.outlined()
        } else {
            candidate.times.schedule(&candidate.tree)
        };
        let score = score(&candidate, &timeline);
        if best.as_ref().is_none_or(|(least, _)| score < *least) {
            best = Some((score, Chosen { candidate, timeline }));
        }
    }
    best.map(|(_, chosen)| chosen)
}

impl<T> Candidate<T> {
    /// The tree over this many segments. `times` gives the times of its shapes, each with its
    /// place; none where it does not know them. None also where some shape fits no machine.
    pub fn new(
        segments: u32,
        arities: Arities,
        of: T,
        times: impl FnOnce(BTreeMap<Shape, usize>) -> Option<Times>,
    ) -> Option<Self> {
        let tree = Tree::new(segments, arities);
        let counts = counts(&tree);
        let times = times(counts.keys().copied().zip(0..).collect())?;
        times.is_possible().then(|| Self {
            earliest_us: times.earliest_us(&outline(&tree)),
            arities,
            counts,
            tree,
            times,
            of,
        })
    }

    /// The time of all work on all machines together.
    pub(crate) fn work_us(&self) -> u64 {
        let counts = self.counts.iter();
        self.times
            .work_us(counts.map(|(&shape, &count)| (shape, count as f64)))
    }

    /// The longest path from a segment to the final proof.
    pub(crate) fn path_us(&self) -> u64 {
        self.times.path_us(&self.tree)
    }

    /// The timeline of a job that is too large to be put on paper: Graham's bound, under which
    /// every list schedule is. Segments end when their share of the work is done.
    fn outlined(&self) -> Timeline {
        let (work_us, path_us) = (self.work_us(), self.path_us());
        let mut timeline = Timeline {
            busy_us: vec![0; self.times.classes.len()],
            ..Timeline::default()
        };
        for (&(kind, children), &count) in &self.counts {
            let shape = self.times.shapes[&(kind, children)];
            let rate = |class: &ClassTimes| match class.tasks[shape] {
                Some(time) => class.machines as f64 / time.max(1) as f64,
                None => 0.0,
            };
            let all: f64 = self.times.classes.iter().map(rate).sum();
            for (class, busy) in self.times.classes.iter().zip(&mut timeline.busy_us) {
                let tasks = count as f64 * rate(class) / all;
                let time = (tasks * class.tasks[shape].unwrap_or(0) as f64) as u64;
                *busy += time;
                timeline.kinds_us[kind as usize] += time;
            }
        }
        let of = |kind: Kind| timeline.kinds_us[kind as usize] as f64;
        let all: f64 = Kind::ALL.into_iter().map(of).sum();
        timeline.end_us = work_us + path_us;
        timeline.segments_us = (work_us as f64 * of(Kind::Segment) / all.max(1.0)) as u64;
        let last = self
            .times
            .fastest(self.times.shapes[&(Kind::Final, 1)])
            .unwrap_or(0);
        timeline.tree_us = (timeline.end_us - last.min(timeline.end_us)).max(timeline.segments_us);
        timeline
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trees::KINDS;

    const NARROW: Arities = Arities {
        leaf: 1,
        internal_for_leaf: 1,
        internal_recursive: 2,
    };
    const WIDE: Arities = Arities {
        leaf: 4,
        internal_for_leaf: 3,
        internal_recursive: 3,
    };

    /// Nodes take a second for each child.
    fn candidate(arities: Arities, machines: u64) -> Candidate<u64> {
        Candidate::new(12, arities, machines, |shapes| {
            let seconds = shapes
                .keys()
                .map(|&(_, children)| Some(1_000_000 * u64::from(children.max(1))));
            Some(Times {
                classes: vec![ClassTimes {
                    machines,
                    tasks: seconds.collect(),
                    cold: [0; KINDS],
                }],
                shapes,
                ..Times::default()
            })
        })
        .unwrap()
    }

    fn ends(candidate: &Candidate<u64>) -> u64 {
        candidate.times.schedule(&candidate.tree).end_us
    }

    #[test]
    fn the_one_that_ends_first_is_chosen_whatever_the_order() {
        for machines in [1, 3, 100] {
            let all = || vec![candidate(NARROW, machines), candidate(WIDE, machines)];
            let least = all().iter().map(ends).min().unwrap();
            let mut turned = all();
            turned.reverse();
            for candidates in [all(), turned] {
                let chosen = choose(candidates, usize::MAX, |_, timeline| timeline.end_us as f64).unwrap();
                assert_eq!(chosen.timeline.end_us, least);
            }
        }
        assert!(choose(Vec::<Candidate<()>>::new(), 9, |_, _| 0.0).is_none());
    }

    #[test]
    fn what_the_caller_adds_counts() {
        let distant = |of: &Candidate<u64>, timeline: &Timeline| {
            timeline.end_us as f64 + if of.of == 5 { 1e12 } else { 0.0 }
        };
        let near = Candidate {
            of: 0,
            ..candidate(WIDE, 5)
        };
        // Nobody knows beforehand that the other one does not end earlier.
        assert!(near.earliest_us < ends(&near));
        for candidates in [
            vec![near.clone(), candidate(WIDE, 5)],
            vec![candidate(WIDE, 5), near.clone()],
        ] {
            assert_eq!(choose(candidates, usize::MAX, distant).unwrap().candidate.of, 0);
        }
    }

    #[test]
    fn what_is_too_large_is_outlined_by_grahams_bound() {
        let candidate = candidate(WIDE, 3);
        let (work, path) = (candidate.work_us(), candidate.path_us());
        let scheduled = ends(&candidate);
        let chosen = choose(vec![candidate], 5, |_, timeline| timeline.end_us as f64).unwrap();
        assert_eq!(chosen.timeline.end_us, work + path);
        assert!(scheduled <= work + path);
    }
}
