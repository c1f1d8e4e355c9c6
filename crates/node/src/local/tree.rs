//! The aggregation tree: which proofs become one, on which level.

use std::{fmt, ops::Range};

use myriad_engine::Level;

/// A node of the aggregation tree: its level, and its place on it from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId {
    pub level: Level,
    pub index: usize,
}

/// A piece of work for an engine child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TaskId {
    Segment(usize),
    Node(NodeId),
    Final,
}

/// Most children of a node, for each kind of node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arities {
    pub leaf: usize,
    pub internal_for_leaf: usize,
    /// 2 or more, so that every level is smaller than the one below.
    pub internal_recursive: usize,
}

impl Arities {
    pub(crate) fn of(&self, level: Level) -> usize {
        match level {
            Level::LEAF => self.leaf,
            Level::INTERNAL_FOR_LEAF => self.internal_for_leaf,
            _ => self.internal_recursive,
        }
    }
}

/// Which children each node has. Level 0 are the segments; the top level has one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tree {
    segments: usize,
    /// For each level from 1 on, the children of each node, as places on the level below.
    levels: Vec<Vec<Range<usize>>>,
}

impl Tree {
    /// The tree over `segments` segments. It has three levels at least: only a node of the third can
    /// become the final proof.
    pub(crate) fn new(segments: usize, arities: Arities) -> Self {
        assert!(segments > 0, "an execution has a segment");
        assert!(
            arities.internal_recursive > 1,
            "a level is smaller than the one below"
        );
        let mut levels = vec![split(segments, arities.leaf)];
        let mut level = Level::LEAF;
        while level < Level::INTERNAL_RECURSIVE || levels[levels.len() - 1].len() > 1 {
            level = level.above();
            levels.push(split(levels[levels.len() - 1].len(), arities.of(level)));
        }
        Self { segments, levels }
    }

    pub(crate) fn segments(&self) -> usize {
        self.segments
    }

    /// All nodes, from the leaves up.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        (1u8..).zip(&self.levels).flat_map(|(number, nodes)| {
            let level = Level::new(number).expect("the tree is not higher than the engine allows");
            (0..nodes.len()).map(move |index| NodeId { level, index })
        })
    }

    /// The one node of the top level.
    pub(crate) fn top(&self) -> NodeId {
        let level =
            Level::new(self.levels.len() as u8).expect("the tree is not higher than the engine allows");
        NodeId { level, index: 0 }
    }

    /// The tasks whose proofs a task takes.
    pub(crate) fn children(&self, task: TaskId) -> Vec<TaskId> {
        match task {
            TaskId::Segment(_) => Vec::new(),
            TaskId::Final => vec![TaskId::Node(self.top())],
            TaskId::Node(NodeId { level, index }) => {
                let below = Level::new(level.number() - 1);
                self.levels[usize::from(level.number()) - 1][index]
                    .clone()
                    .map(|child| match below {
                        None => TaskId::Segment(child),
                        Some(level) => TaskId::Node(NodeId { level, index: child }),
                    })
                    .collect()
            }
        }
    }

    /// All tasks, each after its children.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = TaskId> + '_ {
        let segments = (0..self.segments).map(TaskId::Segment);
        segments
            .chain(self.nodes().map(TaskId::Node))
            .chain([TaskId::Final])
    }
}

/// Splits `count` places into as few groups of at most `most` as possible, of nearly equal size.
fn split(count: usize, most: usize) -> Vec<Range<usize>> {
    let groups = count.div_ceil(most);
    (0..groups)
        .map(|group| group * count / groups..(group + 1) * count / groups)
        .collect()
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(index) => write!(f, "segment {index}"),
            Self::Node(NodeId { level, index }) => write!(f, "{level} node {index}"),
            Self::Final => write!(f, "the final proof"),
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
                    let tree = Tree::new(segments, arities);
                    let mut seen = HashSet::new();
                    for task in tree.tasks() {
                        let children = tree.children(task);
                        for child in &children {
                            assert!(seen.contains(child), "{task} before its child {child}");
                        }
                        if let TaskId::Node(node) = task {
                            assert!((1..=arities.of(node.level)).contains(&children.len()));
                        }
                        assert!(seen.insert(task));
                    }
                    let taken: Vec<_> = tree.tasks().flat_map(|task| tree.children(task)).collect();
                    let unique: HashSet<_> = taken.iter().copied().collect();
                    assert_eq!(taken.len(), unique.len());
                    assert_eq!(unique.len() + 1, seen.len(), "all but the final proof are taken");
                }
            }
        }
    }

    #[test]
    fn one_segment_still_has_three_levels() {
        let tree = Tree::new(
            1,
            Arities {
                leaf: 4,
                internal_for_leaf: 3,
                internal_recursive: 3,
            },
        );
        assert_eq!(tree.nodes().count(), 3);
        assert_eq!(tree.top().level, Level::INTERNAL_RECURSIVE);
    }
}
