//! The shapes of a tree's tasks, and the trees that there are.

use std::collections::BTreeMap;

use myriad_core::{Arities, Kind, NodeId, TaskId, Tree};

/// The facts that determine a task's cost: its kind and its children, of which segments have none.
pub type Shape = (Kind, u32);

/// The shape of a task of a tree.
pub fn shape(tree: &Tree, task: TaskId) -> Shape {
    let children = match task {
        TaskId::Segment(_) => 0,
        _ => tree.children(task).len() as u32,
    };
    (task.kind(), children)
}

/// All arities of trees whose widest nodes have these numbers of children. Leaves have up to
/// `leaf`. Internal-recursive nodes have up to `internal_recursive`, which has one number for each
/// of internal-for-leaf nodes of one child, of two, and so on: it may take more memory to aggregate
/// proofs of wider nodes.
pub fn arities_up_to(leaf: u32, internal_recursive: &[u32]) -> Vec<Arities> {
    let mut all = Vec::new();
    for leaf in 1..=leaf {
        for (internal_for_leaf, &most) in (1..).zip(internal_recursive) {
            // A tree of nodes with one child would never end.
            all.extend((2..=most).map(|internal_recursive| Arities {
                leaf,
                internal_for_leaf,
                internal_recursive,
            }));
        }
    }
    all
}

/// The shapes of a level, with how many there are of each.
pub(super) type Level = [(Shape, u64); 2];

/// The levels of a tree: groups of a level differ by one child at most.
pub(super) fn outline(tree: &Tree) -> Vec<Level> {
    let segments = ((Kind::Segment, 0), u64::from(tree.segments()));
    let mut levels = vec![[segments, ((Kind::Segment, 0), 0)]];
    let mut below = tree.segments();
    for level in 1..=tree.top().level {
        let first = TaskId::Node(NodeId { level, index: 0 });
        let groups = tree.count_beside(first);
        let (kind, children, wide) = (first.kind(), below / groups, below % groups);
        let narrow = ((kind, children), u64::from(groups - wide));
        // Without wide nodes there is no such shape.
        let wide = ((kind, children + u32::from(wide > 0)), u64::from(wide));
        levels.push([narrow, wide]);
        below = groups;
    }
    levels.push([((Kind::Final, 1), 1), ((Kind::Final, 1), 0)]);
    levels
}

/// The number of tasks of each shape in a tree.
pub fn counts(tree: &Tree) -> BTreeMap<Shape, u64> {
    let mut counts: BTreeMap<Shape, u64> = BTreeMap::new();
    for (shape, count) in outline(tree).into_iter().flatten() {
        if count > 0 {
            *counts.entry(shape).or_default() += count;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outline_counts_what_a_tree_has() {
        for segments in 1..80 {
            for (leaf, internal_for_leaf, internal_recursive) in [(1, 1, 2), (4, 3, 3), (2, 2, 3), (1, 3, 2)]
            {
                let tree = Tree::new(
                    segments,
                    Arities {
                        leaf,
                        internal_for_leaf,
                        internal_recursive,
                    },
                );
                let mut counted: BTreeMap<Shape, u64> = BTreeMap::new();
                for task in tree.tasks() {
                    *counted.entry(shape(&tree, task)).or_default() += 1;
                }
                assert_eq!(counts(&tree), counted, "{segments} {leaf} {internal_for_leaf}");
            }
        }
    }

    #[test]
    fn arities_go_up_to_what_fits() {
        let tuples = |leaf, internal_recursive: &[u32]| -> Vec<(u32, u32, u32)> {
            let all = arities_up_to(leaf, internal_recursive).into_iter();
            all.map(|a| (a.leaf, a.internal_for_leaf, a.internal_recursive))
                .collect()
        };
        assert_eq!(
            tuples(2, &[3, 2]),
            [(1, 1, 2), (1, 1, 3), (1, 2, 2), (2, 1, 2), (2, 1, 3), (2, 2, 2)]
        );
        // There is no tree where not even nodes of two fit.
        assert_eq!(tuples(4, &[1, 0]), []);
        assert_eq!(tuples(0, &[3]), []);
    }
}
