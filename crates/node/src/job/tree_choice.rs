//! Chooses the arities of the tree that finish soonest, and says which smaller segments may be
//! worth a try.
//!
//! The times of tasks are those on the reference machine ([`myriad_cost::reference`]), because only
//! ratios matter here, and because peers measure work in its seconds. The engine's own expectation
//! says which tasks fit.

use std::time::Duration;

use myriad_core::{Arities, Cost, TaskId, Tree};
use myriad_cost::{
    job::{Hands, choose},
    model::{Below, Load, ProgramModel},
    profile::Vm,
    reference, trees,
};
use myriad_engine::{FinalForm, Level, Loaded, MemoryBudget, Plan, Segment};

use super::RunError;

/// The costs of tasks on the reference machine.
fn model(loaded: &Loaded) -> &'static ProgramModel {
    let model = reference::model().of(Vm::of_costs(&loaded.costs));
    model.expect("the reference was measured with each kind of virtual machine")
}

/// The arities that a child may use within a budget.
///
/// # Errors
/// [`RunError::Memory`] where not even the smallest node fits.
pub(crate) fn allowed(loaded: &Loaded, budget: MemoryBudget) -> Result<Vec<Arities>, RunError> {
    let most = |level: Level, least: usize, internal_for_leaf: usize| {
        loaded
            .most_children(level, least, internal_for_leaf, budget.bytes())
            .map_err(|needed| RunError::Memory {
                needed: MemoryBudget::from_bytes(needed),
                allowed: budget,
            })
    };
    let leaf = most(Level::LEAF, 1, 1)?;
    let internal_for_leaf = most(Level::INTERNAL_FOR_LEAF, 1, 1)?;
    let internal_recursive = (1..=internal_for_leaf)
        .map(|children| Ok(most(Level::INTERNAL_RECURSIVE, 2, children)? as u32))
        .collect::<Result<Vec<u32>, RunError>>()?;
    Ok(trees::arities_up_to(leaf as u32, &internal_recursive))
}

/// The arities of the tree over a plan's segments that the hands finish soonest, and the estimated
/// time on the reference machine.
pub(crate) fn best_arities(
    loaded: &Loaded,
    plan: &Plan,
    arities: &[Arities],
    hands: Hands,
) -> (Arities, Duration) {
    let loads: Vec<Load> = plan.segments.iter().map(load).collect();
    choose(model(loaded), &loads, arities, hands)
        .expect("some arity is allowed, and the reference has nodes of each")
}

fn load(segment: &Segment) -> Load {
    Load {
        cells: segment.cells as f64,
        interactions: segment.interactions as f64,
    }
}

/// A guess of the plan of the same execution for a smaller budget: segments that are all alike, as
/// many more as the reference machine's were. None if those were the same, or were never cut so
/// small.
pub(crate) fn supposed(
    loaded: &Loaded,
    plan: &Plan,
    budget: MemoryBudget,
    smaller: MemoryBudget,
) -> Option<Plan> {
    let size = |budget: MemoryBudget| model(loaded).instructions_for(budget.bytes());
    let more = Some(size(budget)? / size(smaller)?).filter(|more| *more > 1.0)?;
    let count = (plan.segments.len() as f64 * more).ceil() as u64;
    let cells: u64 = plan.segments.iter().map(|segment| segment.cells).sum();
    let interactions: u64 = plan.segments.iter().map(|segment| segment.interactions).sum();
    let segment = |index| Segment {
        index: index as u32,
        instret_start: plan.instructions * index / count,
        num_insns: plan.instructions / count,
        details: Vec::new(),
        last: index + 1 == count,
        cells: cells / count,
        interactions: interactions / count,
        peak_bytes: smaller.bytes(),
    };
    Some(Plan {
        segments: (0..count).map(segment).collect(),
        public_values: plan.public_values.clone(),
        instructions: plan.instructions,
    })
}

/// The tree over a plan's segments, with what each of its tasks takes, in the order of
/// [`Tree::tasks`].
pub(crate) fn tree(
    loaded: &Loaded,
    plan: &Plan,
    arities: Arities,
    final_form: FinalForm,
) -> (Tree, Vec<Cost>) {
    let tree = Tree::new(plan.segments.len() as u32, arities);
    let costs = tree
        .tasks()
        .map(|task| cost(loaded, &tree, arities, final_form, plan, task))
        .collect();
    (tree, costs)
}

/// What a segment takes. It does not depend on the tree above.
pub(crate) fn segment_cost(loaded: &Loaded, segment: &Segment) -> Cost {
    Cost {
        work: Duration::from_secs_f64(model(loaded).segment(load(segment), 1).cpu_s),
        // The engine's own expectation, with which segments were cut.
        memory: segment.peak_bytes,
    }
}

/// Work of a final proof of [`FinalForm::Fast`]: reading two proofs, writing one, and verifying it.
const FAST_FINAL_WORK: Duration = Duration::from_millis(100);

fn cost(
    loaded: &Loaded,
    tree: &Tree,
    arities: Arities,
    final_form: FinalForm,
    plan: &Plan,
    task: TaskId,
) -> Cost {
    let model = model(loaded);
    let children = tree.children(task).len();
    let internal_for_leaf = arities.internal_for_leaf as usize;
    // Seconds of one core; there are as many cores as the machine has, however many threads.
    let node = || {
        let node = model.node(
            task.kind(),
            children as u32,
            Below::of(arities.internal_for_leaf),
            1,
        );
        node.expect("the reference has nodes of every arity").cpu_s
    };
    // Memory is the engine's own expectation, by which segments were cut and arities chosen.
    let (seconds, memory) = match task {
        TaskId::Segment(index) => return segment_cost(loaded, &plan.segments[index as usize]),
        TaskId::Final => (
            match final_form {
                FinalForm::Small => node(),
                FinalForm::Fast => FAST_FINAL_WORK.as_secs_f64(),
            },
            loaded.final_peak_bytes(final_form, internal_for_leaf),
        ),
        TaskId::Node(id) => {
            let level = Level::new(id.level).expect("the tree is not higher than the engine allows");
            (node(), loaded.node_peak_bytes(level, children, internal_for_leaf))
        }
    };
    Cost {
        work: Duration::from_secs_f64(seconds),
        memory,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn plan(segments: usize) -> Plan {
        let segments = (0..segments)
            .map(|index| Segment {
                index: index as u32,
                instret_start: 0,
                num_insns: 1,
                details: Vec::new(),
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
    fn what_a_process_holds_leaves_less_room_for_nodes() {
        let holding = |mib: u64| Loaded {
            held_bytes: mib << 20,
            ..Loaded::pretended()
        };
        let leaf = |held: u64| {
            let arities = allowed(&holding(held), MemoryBudget::from_bytes(1 << 30)).unwrap();
            arities.last().unwrap().leaf
        };
        assert_eq!((leaf(0), leaf(500), leaf(650)), (4, 3, 2));
        let too_little = MemoryBudget::from_bytes(1 << 30);
        assert!(allowed(&holding(800), too_little).is_err());
        let arities = Arities {
            leaf: 3,
            internal_for_leaf: 3,
            internal_recursive: 3,
        };
        let memory = |held| {
            let costs = tree(&holding(held), &plan(2), arities, FinalForm::Small).1;
            costs.iter().map(|cost| cost.memory).collect::<Vec<_>>()
        };
        let (without, with) = (memory(0), memory(1));
        // Segments were cut with it.
        assert_eq!(without[..2], with[..2]);
        assert!(
            without[2..]
                .iter()
                .zip(&with[2..])
                .all(|(a, b)| a + (1 << 20) == *b)
        );
    }

    /// An engine that lifts a segment and joins two has no other trees, and costs of its own. So
    /// has one of which nothing is known.
    #[test]
    fn an_engine_that_joins_pairs_gets_a_tree_of_them() {
        let mut loaded = Loaded::pretended();
        loaded.nodes.leaf.truncate(1);
        for nodes in [
            &mut loaded.nodes.internal_for_leaf,
            &mut loaded.nodes.internal_recursive,
            &mut loaded.nodes.internal_recursive_over_ones,
        ] {
            nodes.truncate(2);
        }
        let budget = MemoryBudget::from_bytes(8 << 30);
        let mut works = Vec::new();
        for costs in ["plain", Vm::Risc0.name(), "of nobody"] {
            loaded.costs = costs.into();
            let arities = allowed(&loaded, budget).unwrap();
            let mut plan = plan(5);
            for segment in &mut plan.segments {
                segment.cells = 20 << 20;
            }
            let hands = Hands {
                children: 2,
                threads: 1,
                cores: 2,
            };
            let (best, _) = best_arities(&loaded, &plan, &arities, hands);
            assert_eq!((best.leaf, best.internal_recursive), (1, 2));
            let (tree, costs) = tree(&loaded, &plan, best, FinalForm::Small);
            assert_eq!(tree.task_count(), costs.len());
            works.push(costs.iter().map(|cost| cost.work).sum::<Duration>());
        }
        assert!(works[1] > 2 * works[0], "{works:?}");
        assert_eq!(works[1], works[2]);
    }

    #[test]
    fn memory_limits_the_arities() {
        let widest = |mib: u64| {
            let all = allowed(&Loaded::pretended(), MemoryBudget::from_bytes(mib << 20)).unwrap();
            all.iter().map(|a| a.leaf).max().unwrap()
        };
        assert!(widest(400) < widest(1024));
        assert!(matches!(
            allowed(&Loaded::pretended(), MemoryBudget::from_bytes(256 << 20)),
            Err(RunError::Memory { .. })
        ));
    }

    #[test]
    fn less_memory_is_supposed_to_cut_the_same_work_finer() {
        let loaded = Loaded::pretended();
        let mib = |mib: u64| MemoryBudget::from_bytes(mib << 20);
        let mut full = plan(2);
        for segment in &mut full.segments {
            segment.interactions = segment.cells / 2;
        }
        let finer = supposed(&loaded, &full, mib(620), mib(420)).unwrap();
        let work = |plan: &Plan| plan.segments.iter().map(|segment| segment.cells).sum::<u64>();
        assert_eq!(finer.segments.len(), 4);
        assert_eq!(work(&full), work(&finer));
        // The finer cut gives one child more to aggregate; of four children, each has a segment.
        let arities = allowed(&loaded, mib(4096)).unwrap();
        let estimate = |plan, children| {
            let hands = Hands {
                children,
                threads: 1,
                cores: children,
            };
            best_arities(&loaded, plan, &arities, hands).1
        };
        assert!(estimate(&finer, 1) > estimate(&full, 1));
        assert!(estimate(&finer, 4) < estimate(&full, 4));
        assert!(
            supposed(&loaded, &full, mib(8192), mib(7168)).is_none(),
            "the same"
        );
        assert!(
            supposed(&loaded, &full, mib(8192), mib(128)).is_none(),
            "too small"
        );
    }

    /// On one core each task waits for the one before, so that the best tree is the one with the
    /// least work; with a core for each task it is the one with the shortest path.
    #[test]
    fn the_chosen_tree_is_the_cheapest_or_the_lowest() {
        let loaded = Loaded::pretended();
        let arities = allowed(&loaded, MemoryBudget::from_bytes(8 << 30)).unwrap();
        for segments in [1, 5, 9, 30] {
            let plan = plan(segments);
            let work = |arities| {
                tree(&loaded, &plan, arities, FinalForm::Small)
                    .1
                    .iter()
                    .map(|cost| cost.work)
                    .sum()
            };
            let path = |arities| {
                let (tree, costs) = tree(&loaded, &plan, arities, FinalForm::Small);
                let cost: HashMap<TaskId, Duration> =
                    tree.tasks().zip(costs.iter().map(|cost| cost.work)).collect();
                let mut until: HashMap<TaskId, Duration> = HashMap::new();
                for task in tree.tasks() {
                    let before = tree.children(task).map(|child| until[&child]).max();
                    until.insert(task, before.unwrap_or_default() + cost[&task]);
                }
                until[&TaskId::Final]
            };
            let least = |measure: &dyn Fn(Arities) -> Duration| {
                arities.iter().map(|&arities| measure(arities)).min().unwrap()
            };
            let hands = |cores| Hands {
                children: cores,
                threads: 1,
                cores,
            };
            let close = |a: Duration, b: Duration| a.abs_diff(b) < Duration::from_millis(1);
            let (_, alone) = best_arities(&loaded, &plan, &arities, hands(1));
            assert!(close(alone, least(&work)), "{segments} segments: {alone:?}");
            let (_, many) = best_arities(&loaded, &plan, &arities, hands(100));
            assert!(close(many, least(&path)), "{segments} segments: {many:?}");
        }
    }
}
