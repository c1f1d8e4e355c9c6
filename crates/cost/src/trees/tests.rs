//! No schedule of a tree ends before its bound.

use std::collections::BTreeSet;

use myriad_core::{Arities, Tree};

use super::{shape::outline, *};

/// A schedule on one class of this many machines, on which every task takes a second.
fn unit_schedule(tree: &Tree, machines: u64) -> Timeline {
    unit_times(tree, machines).schedule(tree)
}

fn unit_times(tree: &Tree, machines: u64) -> Times {
    let shapes: BTreeSet<_> = tree.tasks().map(|task| shape(tree, task)).collect();
    Times {
        classes: vec![ClassTimes {
            machines,
            tasks: vec![Some(1_000_000); shapes.len()],
            cold: [0; KINDS],
        }],
        shapes: shapes.into_iter().zip(0..).collect(),
        ..Times::default()
    }
}

/// Taking the task with most tasks above it ends as early as can be for equal tasks (Hu, 1961). So
/// a schedule is the least that there is, and a bound may come near it and not pass it.
#[test]
fn no_tree_of_equal_tasks_is_done_before_its_bound() {
    let arities = Arities {
        leaf: 1,
        internal_for_leaf: 2,
        internal_recursive: 2,
    };
    let (mut trees, mut near, mut better) = (0, 0, 0);
    for segments in 1..=64 {
        let tree = Tree::new(segments, arities);
        for machines in 1..=20 {
            let times = unit_times(&tree, machines);
            let end = times.schedule(&tree).end_us;
            let earliest = times.earliest_us(&outline(&tree));
            let path = times.path_us(&tree);
            let work = tree.task_count() as u64 * 1_000_000 / machines;
            assert!(
                earliest <= end,
                "{segments} segments on {machines}: {earliest} and {end}"
            );
            assert!(earliest + 1 >= path.max(work));
            trees += 1;
            near += u32::from(earliest + 1_000_000 > end);
            better += u32::from(path.max(work) + 1_000_000 < earliest);
        }
    }
    assert!(
        10 * near > 9 * trees,
        "{near} of {trees} are within a task's time"
    );
    assert!(
        3 * better > trees,
        "{better} of {trees} are better than path and work alone"
    );
}

#[test]
fn equal_tasks_go_in_waves() {
    let arities = Arities {
        leaf: 4,
        internal_for_leaf: 3,
        internal_recursive: 3,
    };
    let tree = Tree::new(8, arities);
    let ends = |machines| {
        let timeline = unit_schedule(&tree, machines);
        [timeline.segments_us, timeline.tree_us, timeline.end_us].map(|us| us / 1_000_000)
    };
    // Two leaves, one internal-for-leaf, one internal-recursive, one final.
    assert_eq!(ends(1), [8, 12, 13]);
    assert_eq!(ends(2), [4, 7, 8]);
    assert_eq!(ends(3), [3, 6, 7]);
    assert_eq!(ends(100), [1, 4, 5]);
    assert_eq!(unit_schedule(&tree, 3).busy_us, [13_000_000]);
}
