//! Choosing the segment size and the arities of the tree that finish soonest.
//!
//! Few large pieces cost least in total, but leave children idle at the end, where the path from the
//! last segment to the final proof is walked alone. So candidates are tried on paper: the tasks go
//! to the children in the order in which [`super::run`] gives them out, each for its estimated time.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use myriad_engine::{Level, MemoryBudget, Plan, VmConfig};

use super::{
    RunError,
    tree::{Arities, TaskId, Tree},
};

/// Seconds of CPU time on a 2023 server core. Only their ratios matter. Source: `cargo bench
/// --workspace --bench memory -- --tree`.
struct Costs {
    /// For 1, 2, ... children.
    leaf: &'static [f64],
    internal_for_leaf: [f64; 3],
    internal_recursive: [f64; 3],
    last: f64,
    /// Of a segment: lookup tables, the program's table and execution, and each 2^20 cells of traces.
    segment: f64,
    segment_mebicell: f64,
}

/// Of programs on plain RV32IM.
const PLAIN: Costs = Costs {
    leaf: &[18.0, 22.0, 40.0, 46.0],
    internal_for_leaf: [36.0, 62.0, 70.0],
    internal_recursive: [24.0, 38.0, 54.0],
    last: 22.0,
    segment: 4.0,
    segment_mebicell: 0.7,
};

/// Of programs with extensions.
const EXTENDED: Costs = Costs {
    leaf: &[37.0],
    internal_for_leaf: [35.0, 56.0, 72.0],
    internal_recursive: [29.0, 32.0, 34.0],
    last: 24.0,
    segment: 8.0,
    segment_mebicell: 0.3,
};

fn costs(config: &VmConfig) -> &'static Costs {
    if config.is_plain() { &PLAIN } else { &EXTENDED }
}

/// The order in which ready tasks are given out: what is highest in the tree first, so that it is
/// nearly done when the last segment is; then from left to right, so that whole nodes become ready.
pub(crate) fn rank(task: TaskId) -> (Reverse<u8>, usize) {
    match task {
        TaskId::Segment(index) => (Reverse(0), index),
        TaskId::Node(node) => (Reverse(node.level.number()), node.index),
        TaskId::Final => (Reverse(u8::MAX), 0),
    }
}

/// The arities that a child may use within a budget.
///
/// # Errors
/// [`RunError::Memory`] where not even the smallest node fits.
pub(crate) fn allowed(config: &VmConfig, budget: MemoryBudget) -> Result<Vec<Arities>, RunError> {
    let most = |level: Level, least: usize| {
        (least..=level.children_max(config))
            .rev()
            .find(|&children| level.peak_bytes(config, children) <= budget.bytes())
            .ok_or(RunError::Memory {
                needed: MemoryBudget::from_bytes(level.peak_bytes(config, least)),
                allowed: budget,
            })
    };
    let leaf = most(Level::LEAF, 1)?;
    let internal_for_leaf = most(Level::INTERNAL_FOR_LEAF, 1)?;
    let internal_recursive = most(Level::INTERNAL_RECURSIVE, 2)?;
    let mut arities = Vec::new();
    for leaf in 1..=leaf {
        for internal_for_leaf in 1..=internal_for_leaf {
            for internal_recursive in 2..=internal_recursive {
                arities.push(Arities {
                    leaf,
                    internal_for_leaf,
                    internal_recursive,
                });
            }
        }
    }
    Ok(arities)
}

/// The tree over a plan's segments that `children` engine children finish soonest, and the estimated
/// time in seconds of the machine that the constants are from.
pub(crate) fn best_tree(config: &VmConfig, plan: &Plan, arities: &[Arities], children: usize) -> (Tree, f64) {
    arities
        .iter()
        .map(|&arities| {
            let tree = Tree::new(plan.segments.len(), arities);
            let estimate = makespan(&tree, children, |task| seconds(costs(config), &tree, plan, task));
            (tree, estimate)
        })
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .expect("some arity is allowed")
}

fn seconds(costs: &Costs, tree: &Tree, plan: &Plan, task: TaskId) -> f64 {
    match task {
        TaskId::Segment(index) => {
            costs.segment + costs.segment_mebicell * plan.segments[index].cells as f64 / f64::from(1 << 20)
        }
        TaskId::Final => costs.last,
        TaskId::Node(node) => {
            let children = tree.children(task).len();
            let costs: &[f64] = match node.level {
                Level::LEAF => costs.leaf,
                Level::INTERNAL_FOR_LEAF => &costs.internal_for_leaf,
                _ => &costs.internal_recursive,
            };
            costs[children - 1]
        }
    }
}

/// The time until the final proof when `workers` take ready tasks by rank.
fn makespan(tree: &Tree, workers: usize, seconds: impl Fn(TaskId) -> f64) -> f64 {
    let mut parents = HashMap::new();
    let mut missing = HashMap::new();
    let mut ready = BinaryHeap::new();
    for task in tree.tasks() {
        let children = tree.children(task);
        if children.is_empty() {
            ready.push(Reverse((rank(task), task)));
        }
        missing.insert(task, children.len());
        for child in children {
            parents.insert(child, task);
        }
    }
    // Times are kept as whole microseconds, which have a total order.
    let micros = |task| (seconds(task) * 1e6) as u64;
    let mut running = BinaryHeap::new();
    let mut now = 0;
    loop {
        while running.len() < workers.max(1) {
            let Some(Reverse((_, task))) = ready.pop() else {
                break;
            };
            running.push(Reverse((now + micros(task), task)));
        }
        let Some(Reverse((end, task))) = running.pop() else {
            break;
        };
        now = end;
        if let Some(&parent) = parents.get(&task) {
            let missing = missing.get_mut(&parent).expect("every task is counted");
            *missing -= 1;
            if *missing == 0 {
                ready.push(Reverse((rank(parent), parent)));
            }
        }
    }
    now as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use myriad_engine::Segment;

    use super::*;

    fn plan(segments: usize) -> Plan {
        let segments = (0..segments)
            .map(|index| Segment {
                index: index as u32,
                instret_start: 0,
                num_insns: 1,
                trace_heights: Vec::new(),
                last: false,
                cells: 200 << 20,
                interactions: 0,
                peak_bytes: 2 << 30,
            })
            .collect();
        Plan {
            segments,
            public_values: Vec::new(),
            instructions: 1,
        }
    }

    #[test]
    fn one_worker_takes_the_sum_and_many_the_longest_path() {
        let tree = Tree::new(
            8,
            Arities {
                leaf: 4,
                internal_for_leaf: 3,
                internal_recursive: 3,
            },
        );
        let tasks = tree.tasks().count() as f64;
        assert_eq!(makespan(&tree, 1, |_| 1.0), tasks);
        // segment, leaf, internal-for-leaf, internal-recursive, final
        assert_eq!(makespan(&tree, 100, |_| 1.0), 5.0);
        // Two workers: segments 0 and 1, 2 and 3, then the first leaf beside segment 4, 5 and 6, 7 alone,
        // and the second leaf, its two ancestors and the final proof, one after the other.
        assert_eq!(makespan(&tree, 2, |_| 1.0), 9.0);
    }

    #[test]
    fn memory_limits_the_arities() {
        let widest = |gib: u64| {
            let all = allowed(&VmConfig::riscv32(), MemoryBudget::from_bytes(gib << 30)).unwrap();
            all.iter().map(|a| a.leaf).max().unwrap()
        };
        assert!(widest(3) < widest(8));
        assert!(matches!(
            allowed(&VmConfig::riscv32(), MemoryBudget::from_bytes(1 << 30)),
            Err(RunError::Memory { .. })
        ));
    }

    #[test]
    fn the_chosen_tree_is_no_slower_than_any_other() {
        let arities = allowed(&VmConfig::riscv32(), MemoryBudget::from_bytes(8 << 30)).unwrap();
        for segments in [1, 5, 9, 30] {
            let plan = plan(segments);
            let (_, best) = best_tree(&VmConfig::riscv32(), &plan, &arities, 2);
            for &other in &arities {
                let tree = Tree::new(segments, other);
                assert!(best <= makespan(&tree, 2, |task| seconds(&PLAIN, &tree, &plan, task)));
            }
        }
    }
}
