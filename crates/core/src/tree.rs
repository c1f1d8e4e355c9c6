//! The aggregation tree: which proofs become one, on which level.

use std::ops::{Range, RangeInclusive};

use serde::{Deserialize, Serialize};

use crate::ids::{NodeId, TaskId};

/// The most children of a node, for each kind of node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arities {
    /// The most children of a node of level 1.
    pub leaf: u32,
    /// The most children of a node of level 2.
    pub internal_for_leaf: u32,
    /// The most children of a node of level 3 and above: 2 or more, so that every level is smaller
    /// than the one below.
    pub internal_recursive: u32,
}

impl Arities {
    const fn of(self, level: u8) -> u32 {
        match level {
            0 | 1 => self.leaf,
            2 => self.internal_for_leaf,
            _ => self.internal_recursive,
        }
    }
}

/// The lowest level whose single node can become the final proof.
const TOP_LEVEL_MIN: usize = 3;

/// The children of each node. Level 0 are the segments; the top level has one node.
///
/// The nodes of a level share the one below in as few groups as the arity allows, of nearly equal
/// size, each of neighbours.
///
/// The tree of a plan that still [grows](Self::growing) has segments, and neither nodes nor a final
/// proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// How many there are on each level, segments first.
    counts: Vec<u32>,
    /// The place of each level's first task when all tasks are counted through; the last is where
    /// the tree ends.
    starts: Vec<usize>,
}

impl Tree {
    /// The tree over `segments` segments.
    ///
    /// # Panics
    /// If there are no segments, an arity is 0, or one above the second level is 1.
    pub fn new(segments: u32, arities: Arities) -> Self {
        assert!(segments > 0, "an execution has a segment");
        assert!(
            arities.leaf > 0 && arities.internal_for_leaf > 0 && arities.internal_recursive > 1,
            "{arities:?} makes no tree"
        );
        let mut counts = vec![segments];
        while counts.len() <= TOP_LEVEL_MIN || counts[counts.len() - 1] > 1 {
            let arity = arities.of(counts.len() as u8);
            counts.push(counts[counts.len() - 1].div_ceil(arity));
        }
        let starts = counts.iter().scan(0, |next, &count| {
            let start = *next;
            *next += count as usize;
            Some(start)
        });
        let mut starts: Vec<usize> = starts.collect();
        starts.push(counts.iter().map(|&count| count as usize).sum());
        Self { counts, starts }
    }

    /// The tree of a plan whose first segments are known, and not how many there will be.
    pub fn growing(segments: u32) -> Self {
        Self {
            counts: vec![segments],
            starts: vec![0, segments as usize],
        }
    }

    /// Whether the plan still grows.
    pub fn is_growing(&self) -> bool {
        self.counts.len() == 1
    }

    pub fn segments(&self) -> u32 {
        self.counts[0]
    }

    /// How many nodes there are, on all levels.
    pub fn node_count(&self) -> usize {
        self.starts[self.counts.len()] - self.starts[1]
    }

    /// How many tasks there are: segments, nodes, and the final proof.
    pub fn task_count(&self) -> usize {
        self.starts[self.counts.len()] + usize::from(!self.is_growing())
    }

    /// The one node of the top level.
    ///
    /// # Panics
    /// If the plan still grows: there is no such node yet.
    pub fn top(&self) -> NodeId {
        assert!(!self.is_growing(), "a plan that grows has no top yet");
        NodeId {
            level: (self.counts.len() - 1) as u8,
            index: 0,
        }
    }

    /// How many tasks there are beside this one on its level, itself included; 0 where there is no
    /// such level.
    pub fn count_beside(&self, task: TaskId) -> u32 {
        match task {
            TaskId::Segment(_) => self.counts[0],
            TaskId::Node(NodeId { level: 0, .. }) => 0,
            TaskId::Node(NodeId { level, .. }) => self.counts.get(usize::from(level)).copied().unwrap_or(0),
            TaskId::Final => u32::from(!self.is_growing()),
        }
    }

    /// Whether the tree has this task.
    pub fn contains(&self, task: TaskId) -> bool {
        let index = match task {
            TaskId::Segment(index) | TaskId::Node(NodeId { index, .. }) => index,
            TaskId::Final => 0,
        };
        index < self.count_beside(task)
    }

    /// The tasks whose proofs a task aggregates, in order.
    ///
    /// The final proof also takes that of the last segment, which shows the public values.
    pub fn children(&self, task: TaskId) -> impl ExactSizeIterator<Item = TaskId> + use<> {
        let (below, places) = match task {
            TaskId::Segment(_) => (0, 0..0),
            TaskId::Final => (self.top().level, 0..1),
            TaskId::Node(NodeId { level, index }) => (level - 1, self.places_below(level, index)),
        };
        places.map(move |index| match below {
            0 => TaskId::Segment(index),
            level => TaskId::Node(NodeId { level, index }),
        })
    }

    fn places_below(&self, level: u8, index: u32) -> Range<u32> {
        let level = usize::from(level);
        let (groups, count) = (u64::from(self.counts[level]), u64::from(self.counts[level - 1]));
        let start = |group: u64| (group * count / groups) as u32;
        start(u64::from(index))..start(u64::from(index) + 1)
    }

    /// The task that takes this one's proof; none for the final proof, and none that is known while
    /// the plan grows.
    pub fn parent(&self, task: TaskId) -> Option<TaskId> {
        if self.is_growing() {
            return None;
        }
        let (level, index) = match task {
            TaskId::Segment(index) => (0, index),
            TaskId::Node(NodeId { level, index }) => (usize::from(level), index),
            TaskId::Final => return None,
        };
        let Some(&groups) = self.counts.get(level + 1) else {
            return Some(TaskId::Final);
        };
        // The inverse of `places_below`: the last group that starts at or before this place.
        let index = ((u64::from(index) + 1) * u64::from(groups)).div_ceil(u64::from(self.counts[level])) - 1;
        Some(TaskId::Node(NodeId {
            level: (level + 1) as u8,
            index: index as u32,
        }))
    }

    /// The tasks of the same level before and after a task: its neighbours in the execution.
    pub fn neighbours(&self, task: TaskId) -> (Option<TaskId>, Option<TaskId>) {
        let (index, at): (u32, &dyn Fn(u32) -> TaskId) = match task {
            TaskId::Segment(index) => (index, &TaskId::Segment),
            TaskId::Node(NodeId { level, index }) => {
                (index, &move |index| TaskId::Node(NodeId { level, index }))
            }
            TaskId::Final => return (None, None),
        };
        let after = (index + 1 < self.count_beside(task)).then(|| at(index + 1));
        (index.checked_sub(1).map(at), after)
    }

    /// The segments that a task is about, the first and the last of them included.
    pub fn covered(&self, task: TaskId) -> RangeInclusive<u32> {
        let mut ends = (task, task);
        loop {
            if let (TaskId::Segment(first), TaskId::Segment(last)) = ends {
                return first..=last;
            }
            // All paths down are of the same length.
            let (first, last) = (self.children(ends.0).next(), self.children(ends.1).last());
            ends = first.zip(last).expect("all but segments have children");
        }
    }

    /// Says of a task whether all segments that it covers are among these, of which there is one
    /// entry for each segment.
    ///
    /// # Panics
    /// If there is another number of entries; what it gives, if the task is not of the tree.
    pub fn covers_only(&self, among: &[bool]) -> impl Fn(TaskId) -> bool + '_ {
        assert_eq!(among.len(), self.counts[0] as usize, "one entry for each segment");
        // How many there are before each segment that are not among them.
        let mut others = vec![0u32];
        for &is_among in among {
            others.push(others[others.len() - 1] + u32::from(!is_among));
        }
        move |task| {
            let (first, last) = self.covered(task).into_inner();
            others[first as usize] == others[last as usize + 1]
        }
    }

    /// All tasks, each after its children.
    pub fn tasks(&self) -> impl Iterator<Item = TaskId> + '_ {
        let nodes = (1..self.counts.len()).flat_map(|level| {
            (0..self.counts[level]).map(move |index| {
                TaskId::Node(NodeId {
                    level: level as u8,
                    index,
                })
            })
        });
        (0..self.counts[0])
            .map(TaskId::Segment)
            .chain(nodes)
            .chain((!self.is_growing()).then_some(TaskId::Final))
    }

    /// The place of a task in the order of [`Self::tasks`].
    pub fn place(&self, task: TaskId) -> usize {
        match task {
            TaskId::Segment(index) => index as usize,
            TaskId::Node(NodeId { level, index }) => self.starts[usize::from(level)] + index as usize,
            TaskId::Final => self.starts[self.counts.len()],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_proof_is_taken_once_and_in_order() {
        for segments in 1..60 {
            for leaf in 1..=4 {
                for (internal_for_leaf, internal_recursive) in [(1, 2), (2, 3), (3, 2), (3, 3)] {
                    let arities = Arities {
                        leaf,
                        internal_for_leaf,
                        internal_recursive,
                    };
                    check(&Tree::new(segments, arities), arities);
                }
            }
        }
    }

    fn check(tree: &Tree, arities: Arities) {
        let mut seen = HashSet::new();
        let mut taken = Vec::new();
        for (place, task) in tree.tasks().enumerate() {
            assert_eq!(tree.place(task), place);
            assert!(tree.contains(task));
            let children: Vec<_> = tree.children(task).collect();
            for &child in &children {
                assert!(seen.contains(&child), "{task} before its child {child}");
                assert_eq!(tree.parent(child), Some(task));
            }
            if let TaskId::Node(node) = task {
                assert!((1..=arities.of(node.level) as usize).contains(&children.len()));
            }
            taken.extend(children);
            assert!(seen.insert(task));
        }
        assert_eq!(seen.len(), tree.task_count());
        assert_eq!(tree.node_count(), seen.len() - tree.segments() as usize - 1);
        assert_eq!(taken.len() + 1, seen.len(), "all but the final proof are taken");
        let in_order: Vec<_> = tree.tasks().take(taken.len()).collect();
        assert_eq!(taken, in_order);
    }

    #[test]
    fn a_plan_that_grows_has_segments_and_nothing_else() {
        for segments in [0, 1, 7] {
            let tree = Tree::growing(segments);
            assert!(tree.is_growing());
            assert_eq!((tree.task_count(), tree.node_count()), (segments as usize, 0));
            let tasks: Vec<_> = tree.tasks().collect();
            assert_eq!(tasks, (0..segments).map(TaskId::Segment).collect::<Vec<_>>());
            for task in tasks {
                assert!(tree.contains(task));
                assert_eq!((tree.parent(task), tree.children(task).len()), (None, 0));
            }
            let leaf = TaskId::Node(NodeId { level: 1, index: 0 });
            for task in [TaskId::Final, TaskId::Segment(segments), leaf] {
                assert!(!tree.contains(task), "{task}");
            }
        }
    }

    #[test]
    fn neighbours_are_on_the_same_level() {
        let arities = Arities {
            leaf: 2,
            internal_for_leaf: 2,
            internal_recursive: 2,
        };
        let tree = Tree::new(5, arities);
        let leaf = |index| TaskId::Node(NodeId { level: 1, index });
        assert_eq!(
            tree.neighbours(TaskId::Segment(0)),
            (None, Some(TaskId::Segment(1)))
        );
        assert_eq!(
            tree.neighbours(TaskId::Segment(4)),
            (Some(TaskId::Segment(3)), None)
        );
        assert_eq!(tree.neighbours(leaf(1)), (Some(leaf(0)), Some(leaf(2))));
        assert_eq!(tree.neighbours(TaskId::Node(tree.top())), (None, None));
        assert!(!tree.contains(leaf(3)) && !tree.contains(TaskId::Node(NodeId { level: 9, index: 0 })));
    }

    #[test]
    fn a_task_covers_what_its_children_cover() {
        for segments in [1, 5, 9, 30] {
            for arity in 1..=4 {
                let tree = Tree::new(
                    segments,
                    Arities {
                        leaf: arity,
                        internal_for_leaf: arity,
                        internal_recursive: arity.max(2),
                    },
                );
                assert_eq!(tree.covered(TaskId::Final), 0..=segments - 1);
                for task in tree.tasks().filter(|task| !matches!(task, TaskId::Segment(_))) {
                    let covered = tree.children(task).flat_map(|child| tree.covered(child));
                    assert!(covered.eq(tree.covered(task)), "{task} of {segments} by {arity}");
                }
            }
        }
    }

    #[test]
    fn one_segment_still_has_three_levels() {
        let arities = Arities {
            leaf: 4,
            internal_for_leaf: 3,
            internal_recursive: 3,
        };
        let tree = Tree::new(1, arities);
        assert_eq!(tree.node_count(), 3);
        assert_eq!(tree.top(), NodeId { level: 3, index: 0 });
    }
}
