//! Choosing the segment size and the arities of the tree that finish soonest.
//!
//! Few large pieces cost least in total, but leave children idle at the end, where the path from the
//! last segment to the final proof is walked alone. So candidates are tried on paper, by the very
//! [`Requester`] that gives the tasks out later, in virtual time.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use myriad_core::{
    Arities, Blob, Cost, Input, JobId, JobSpec, Kind, Output, Peer, Policy, Requester, TaskId, TaskRef, Time,
    Tree, Verdict,
};
use myriad_engine::{Level, MemoryBudget, Plan, VmConfig};

use super::{RunError, child_offer, child_peer};

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
                    leaf: leaf as u32,
                    internal_for_leaf: internal_for_leaf as u32,
                    internal_recursive: internal_recursive as u32,
                });
            }
        }
    }
    Ok(arities)
}

/// The tree over a plan's segments that `children` engine children finish soonest, with what each of
/// its tasks takes, and the estimated time on the machine that the constants are from.
pub(crate) fn best_tree(
    config: &VmConfig,
    plan: &Plan,
    arities: &[Arities],
    children: usize,
) -> (Tree, Vec<Cost>, Duration) {
    arities
        .iter()
        .map(|&arities| {
            let tree = Tree::new(plan.segments.len() as u32, arities);
            let costs: Vec<Cost> = tree.tasks().map(|task| cost(config, &tree, plan, task)).collect();
            let estimate = makespan(&tree, &costs, children);
            (tree, costs, estimate)
        })
        .min_by_key(|(_, _, estimate)| *estimate)
        .expect("some arity is allowed")
}

fn cost(config: &VmConfig, tree: &Tree, plan: &Plan, task: TaskId) -> Cost {
    let costs = costs(config);
    let children = tree.children(task).len();
    let (seconds, memory) = match task {
        TaskId::Segment(index) => {
            let segment = &plan.segments[index as usize];
            let mebicells = segment.cells as f64 / f64::from(1 << 20);
            (
                costs.segment + costs.segment_mebicell * mebicells,
                segment.peak_bytes,
            )
        }
        TaskId::Final => (costs.last, Level::INTERNAL_RECURSIVE.peak_bytes(config, 1)),
        TaskId::Node(node) => {
            let seconds: &[f64] = match task.kind() {
                Kind::Leaf => costs.leaf,
                Kind::InternalForLeaf => &costs.internal_for_leaf,
                _ => &costs.internal_recursive,
            };
            let level = Level::new(node.level).expect("the tree is not higher than the engine allows");
            (seconds[children - 1], level.peak_bytes(config, children))
        }
    };
    Cost {
        work: Duration::from_secs_f64(seconds),
        memory,
    }
}

/// The time until the final proof when so many children do what the requester gives them.
fn makespan(tree: &Tree, costs: &[Cost], children: usize) -> Duration {
    let work: std::collections::HashMap<TaskId, Duration> =
        tree.tasks().zip(costs.iter().map(|cost| cost.work)).collect();
    let id = JobId([0; 32]);
    let mut requester = Requester::new(Policy::default());
    let mut now = Time::default();
    let mut running: BinaryHeap<Reverse<(Time, Peer, TaskRef)>> = BinaryHeap::new();
    let spec = JobSpec {
        id,
        tree: tree.clone(),
        costs: costs.to_vec(),
        priority: 0,
        done: Vec::new(),
    };
    let mut inputs = vec![Input::Open(Box::new(spec))];
    inputs.extend((0..children.max(1)).map(|child| Input::Offer {
        peer: child_peer(child),
        offer: child_offer(),
    }));
    loop {
        for input in inputs.drain(..) {
            requester.handle_input(now, input);
        }
        while let Some(output) = requester.poll_output() {
            match output {
                Output::Lease { peer, task, .. } => {
                    running.push(Reverse((now + work[&task.task], peer, task)));
                }
                Output::Wake { peer } => inputs.push(Input::Offer {
                    peer,
                    offer: child_offer(),
                }),
                _ => {}
            }
        }
        if !inputs.is_empty() {
            continue;
        }
        let Some(Reverse((end, peer, task))) = running.pop() else {
            return now - Time::default();
        };
        now = end;
        inputs.extend([
            Input::Submitted {
                peer,
                task,
                proof: Blob([0; 32]),
            },
            Input::Checked {
                peer,
                task,
                proof: Blob([0; 32]),
                verdict: Verdict::Accepted,
            },
            Input::Persisted {
                task,
                proof: Blob([0; 32]),
            },
            Input::Offer {
                peer,
                offer: child_offer(),
            },
        ]);
    }
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
    fn one_child_takes_the_sum_and_many_the_longest_path() {
        let arities = Arities {
            leaf: 4,
            internal_for_leaf: 3,
            internal_recursive: 3,
        };
        let tree = Tree::new(8, arities);
        let second = Cost {
            work: Duration::from_secs(1),
            memory: 0,
        };
        let costs = vec![second; tree.task_count()];
        let seconds = |children| makespan(&tree, &costs, children).as_secs();
        assert_eq!(seconds(1), tree.task_count() as u64);
        // segment, leaf, internal-for-leaf, internal-recursive, final
        assert_eq!(seconds(100), 5);
        // Two children: four rounds of segments, both leaves, and three tasks one after the other.
        assert_eq!(seconds(2), 8);
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
            let (_, _, best) = best_tree(&VmConfig::riscv32(), &plan, &arities, 2);
            for &other in &arities {
                let (_, _, time) = best_tree(&VmConfig::riscv32(), &plan, &[other], 2);
                assert!(best <= time);
            }
        }
    }
}
