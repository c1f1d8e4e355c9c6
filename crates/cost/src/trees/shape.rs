//! What tasks of a tree are alike in, and which trees there are.

use myriad_core::{Kind, NodeId, TaskId, Tree};

/// What tasks are alike in, as far as their cost goes: kind and children, which segments have none of.
pub type Shape = (Kind, u32);

/// The shape of a task of a tree.
pub fn shape(tree: &Tree, task: TaskId) -> Shape {
    let children = match task {
        TaskId::Segment(_) => 0,
        _ => tree.children(task).len() as u32,
    };
    (task.kind(), children)
}

/// The shapes of a level, with how many there are of each.
pub(crate) type Level = [(Shape, u64); 2];

/// The levels of a tree: groups of a level differ by one child at most.
pub(crate) fn outline(tree: &Tree) -> Vec<Level> {
    let segments = ((Kind::Segment, 0), u64::from(tree.segments()));
    let mut levels = vec![[segments, ((Kind::Segment, 0), 0)]];
    let mut below = tree.segments();
    for level in 1..=tree.top().level {
        let first = TaskId::Node(NodeId { level, index: 0 });
        let groups = tree.count_beside(first);
        let (kind, children, wide) = (first.kind(), below / groups, below % groups);
        let narrow = ((kind, children), u64::from(groups - wide));
        // Without wide ones there is no such shape.
        let wide = ((kind, children + u32::from(wide > 0)), u64::from(wide));
        levels.push([narrow, wide]);
        below = groups;
    }
    levels.push([((Kind::Final, 1), 1), ((Kind::Final, 1), 0)]);
    levels
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use myriad_core::Arities;

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
                let mut outlined: BTreeMap<Shape, u64> = BTreeMap::new();
                for (shape, count) in outline(&tree).into_iter().flatten() {
                    *outlined.entry(shape).or_default() += count;
                }
                outlined.retain(|_, count| *count > 0);
                assert_eq!(outlined, counted, "{segments} {leaf} {internal_for_leaf}");
            }
        }
    }
}
