//! Choosing the segment size and the arities of the tree that finish soonest.
//!
//! Few large pieces cost least in total, but leave children idle at the end, where the path from the
//! last segment to the final proof is walked alone. So candidates are tried on paper, by the very
//! [`Requester`] that gives the tasks out later, in virtual time. What tasks take is what they take on the
//! reference machine ([`myriad_cost::reference`]): here only ratios matter, and to peers it is the measure of work.

use std::{collections::HashMap, time::Duration};

use myriad_core::{
    Arities, Blob, Cost, Input, JobId, JobSpec, Output, Peer, Requester, TaskId, TaskRef, Time, Tree, Verdict,
};
use myriad_cost::{
    model::{Below, Load, ProgramModel},
    profile::Vm,
    reference,
};
use myriad_engine::{Level, MemoryBudget, Plan, Segment, VmConfig};

use super::{RunError, child_offer, child_peer, one_machine};

/// The virtual machine that a program wants.
pub(crate) fn vm_of(config: &VmConfig) -> Vm {
    if config.is_plain() {
        Vm::Plain
    } else {
        Vm::Extended
    }
}

/// What tasks take on the reference machine.
fn model(config: &VmConfig) -> &'static ProgramModel {
    let model = reference::model().of(vm_of(config));
    model.expect("the reference was measured with each kind of virtual machine")
}

/// The arities that a child may use within a budget, which has so many bytes of the job in memory; see
/// [`Program::held_bytes`](myriad_engine::Program::held_bytes).
///
/// # Errors
/// [`RunError::Memory`] where not even the smallest node fits.
pub(crate) fn allowed(config: &VmConfig, held: u64, budget: MemoryBudget) -> Result<Vec<Arities>, RunError> {
    let most = |level: Level, least: usize, internal_for_leaf: usize| {
        let peak_bytes = |children| held + level.peak_bytes(config, children, internal_for_leaf);
        (least..=level.children_max())
            .rev()
            .find(|&children| peak_bytes(children) <= budget.bytes())
            .ok_or(RunError::Memory {
                needed: MemoryBudget::from_bytes(peak_bytes(least)),
                allowed: budget,
            })
    };
    let leaf = most(Level::LEAF, 1, 1)?;
    let internal_for_leaf = most(Level::INTERNAL_FOR_LEAF, 1, 1)?;
    let mut arities = Vec::new();
    for leaf in 1..=leaf {
        for internal_for_leaf in 1..=internal_for_leaf {
            let internal_recursive = most(Level::INTERNAL_RECURSIVE, 2, internal_for_leaf)?;
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

/// The arities of the tree over a plan's segments that the engine children finish soonest, and the estimated
/// time on the machine that the constants are from.
pub(crate) fn best_arities(
    config: &VmConfig,
    held: u64,
    plan: &Plan,
    arities: &[Arities],
    hands: Hands,
) -> (Arities, Duration) {
    arities
        .iter()
        .map(|&arities| {
            let (tree, costs) = tree(config, held, plan, arities);
            let estimate = makespan(&tree, &costs, hands);
            (arities, estimate)
        })
        .min_by_key(|(_, estimate)| *estimate)
        .expect("some arity is allowed")
}

/// What the plan of the same execution for a smaller budget may be: segments that are all alike, as many more as the
/// reference machine's were. None where those were the same, or were never cut so small.
pub(crate) fn supposed(
    config: &VmConfig,
    plan: &Plan,
    budget: MemoryBudget,
    smaller: MemoryBudget,
) -> Option<Plan> {
    let size = |budget: MemoryBudget| model(config).instructions_for(budget.bytes());
    let more = Some(size(budget)? / size(smaller)?).filter(|more| *more > 1.0)?;
    let count = (plan.segments.len() as f64 * more).ceil() as u64;
    let cells: u64 = plan.segments.iter().map(|segment| segment.cells).sum();
    let interactions: u64 = plan.segments.iter().map(|segment| segment.interactions).sum();
    let segment = |index| Segment {
        index: index as u32,
        instret_start: plan.instructions * index / count,
        num_insns: plan.instructions / count,
        trace_heights: Vec::new(),
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

/// The tree over a plan's segments, with what each of its tasks takes, in the order of [`Tree::tasks`].
pub(crate) fn tree(config: &VmConfig, held: u64, plan: &Plan, arities: Arities) -> (Tree, Vec<Cost>) {
    let tree = Tree::new(plan.segments.len() as u32, arities);
    let costs = tree
        .tasks()
        .map(|task| cost(config, held, &tree, arities, plan, task))
        .collect();
    (tree, costs)
}

fn cost(config: &VmConfig, held: u64, tree: &Tree, arities: Arities, plan: &Plan, task: TaskId) -> Cost {
    let model = model(config);
    let children = tree.children(task).len();
    let internal_for_leaf = arities.internal_for_leaf as usize;
    // Seconds of one core, of which there are as many however many threads there are.
    let node = || {
        let node = model.node(
            task.kind(),
            children as u32,
            Below::of(arities.internal_for_leaf),
            1,
        );
        node.expect("the reference has nodes of every arity").cpu_s
    };
    // Memory is the engine's own expectation, with which segments were cut and arities chosen.
    let (seconds, memory) = match task {
        TaskId::Segment(index) => {
            let segment = &plan.segments[index as usize];
            let load = Load {
                cells: segment.cells as f64,
                interactions: segment.interactions as f64,
            };
            (model.segment(load, 1).cpu_s, segment.peak_bytes)
        }
        TaskId::Final => (
            node(),
            held + Level::INTERNAL_RECURSIVE.peak_bytes(config, 1, internal_for_leaf),
        ),
        TaskId::Node(id) => {
            let level = Level::new(id.level).expect("the tree is not higher than the engine allows");
            (
                node(),
                held + level.peak_bytes(config, children, internal_for_leaf),
            )
        }
    };
    Cost {
        work: Duration::from_secs_f64(seconds),
        memory,
    }
}

/// What the children of a machine work with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hands {
    pub children: usize,
    /// Threads of each child.
    pub threads: usize,
    pub cores: usize,
}

impl Hands {
    /// Seconds of CPU time that each of so many running children gets in a second.
    fn rate(self, running: usize) -> f64 {
        (self.cores as f64 / running as f64).min(self.threads as f64)
    }
}

/// The time until the final proof when the children do what the requester gives them, and share the
/// cores evenly meanwhile.
fn makespan(tree: &Tree, costs: &[Cost], hands: Hands) -> Duration {
    let work: HashMap<TaskId, f64> = tree
        .tasks()
        .zip(costs.iter().map(|cost| cost.work.as_secs_f64()))
        .collect();
    let mut requester = Requester::new(one_machine());
    let mut elapsed = 0.0;
    let mut running: Vec<(f64, Peer, TaskRef)> = Vec::new();
    let spec = JobSpec {
        id: JobId([0; 32]),
        tree: tree.clone(),
        costs: costs.to_vec(),
        priority: 0,
        deadline: None,
        leased: Vec::new(),
        done: Vec::new(),
    };
    let offer = |peer| Input::Offer {
        peer,
        offer: child_offer(),
    };
    let mut inputs = vec![Input::Open(Box::new(spec))];
    inputs.extend((0..hands.children.max(1)).map(|child| offer(child_peer(child))));
    loop {
        let now = Time::default() + Duration::from_secs_f64(elapsed);
        for input in inputs.drain(..) {
            requester.handle_input(now, input);
        }
        while let Some(output) = requester.poll_output() {
            match output {
                Output::Lease { peer, task, .. } => running.push((work[&task.task], peer, task)),
                Output::Wake { peer } => inputs.push(offer(peer)),
                _ => {}
            }
        }
        if !inputs.is_empty() {
            continue;
        }
        // Of those that end together the one that was begun first.
        let first = (0..running.len()).min_by(|&a, &b| running[a].0.total_cmp(&running[b].0));
        let Some(first) = first else {
            return Duration::from_secs_f64(elapsed);
        };
        let rate = hands.rate(running.len());
        let (least, peer, task) = running.remove(first);
        running.iter_mut().for_each(|(left, ..)| *left -= least);
        elapsed += least / rate;
        let proof = Blob([0; 32]);
        inputs.extend([
            Input::Submitted { peer, task, proof },
            Input::Checked {
                peer,
                task,
                proof,
                verdict: Verdict::Accepted,
            },
            Input::Persisted { task, proof },
            offer(peer),
        ]);
    }
}

#[cfg(test)]
mod tests {
    use myriad_engine::{Input as ProgramInput, Program};

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
    fn one_gibibyte_holds_nodes_of_three() {
        let toml = include_str!("../../../../guests/elf/evm-block.openvm.toml");
        let config = VmConfig::from_toml(toml).unwrap();
        let elf = include_bytes!("../../../../guests/elf/evm-block.elf");
        let program = Program::load(elf, Some(toml)).unwrap();
        let held = |input_mib: usize| {
            let input = ProgramInput::from_bytes(vec![0; input_mib << 20]).unwrap();
            program.held_bytes(&input)
        };
        let widest = |mib: u64| {
            let arities = allowed(&config, held(24), MemoryBudget::from_bytes(mib << 20)).unwrap();
            arities.last().copied().unwrap()
        };
        let most = Arities {
            leaf: 3,
            internal_for_leaf: 3,
            internal_recursive: 3,
        };
        assert_eq!(widest(1024), most);
        assert_eq!(widest(1280).leaf, 4);
        assert!(allowed(&config, held(1), MemoryBudget::from_bytes(512 << 20)).is_err());
        // A program and an input that leave no room for a node.
        assert!(allowed(&config, held(200), MemoryBudget::from_bytes(700 << 20)).is_err());
        let memory = |held| {
            let costs = tree(&config, held, &plan(2), most).1;
            costs.iter().map(|cost| cost.memory).collect::<Vec<_>>()
        };
        let (without, with) = (memory(0), memory(1 << 20));
        // Segments were cut with it.
        assert_eq!(without[..2], with[..2]);
        assert!(
            without[2..]
                .iter()
                .zip(&with[2..])
                .all(|(a, b)| a + (1 << 20) == *b)
        );
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
        let seconds = |hands| makespan(&tree, &costs, hands).as_secs_f64();
        let one_core_each = |children| Hands {
            children,
            threads: 1,
            cores: children,
        };
        assert_eq!(seconds(one_core_each(1)), tree.task_count() as f64);
        // segment, leaf, internal-for-leaf, internal-recursive, final
        assert_eq!(seconds(one_core_each(100)), 5.0);
        // Two children: four rounds of segments, both leaves, and three tasks one after the other.
        assert_eq!(seconds(one_core_each(2)), 8.0);
        // With all cores for each child, those three take half the time.
        let both_cores = Hands {
            threads: 2,
            ..one_core_each(2)
        };
        assert_eq!(seconds(both_cores), 6.5);
    }

    #[test]
    fn memory_limits_the_arities() {
        let widest = |mib: u64| {
            let all = allowed(&VmConfig::riscv32(), 0, MemoryBudget::from_bytes(mib << 20)).unwrap();
            all.iter().map(|a| a.leaf).max().unwrap()
        };
        assert!(widest(400) < widest(1024));
        assert!(matches!(
            allowed(&VmConfig::riscv32(), 0, MemoryBudget::from_bytes(256 << 20)),
            Err(RunError::Memory { .. })
        ));
    }

    #[test]
    fn less_memory_is_supposed_to_cut_the_same_work_finer() {
        let config = VmConfig::riscv32();
        let mib = |mib: u64| MemoryBudget::from_bytes(mib << 20);
        let mut full = plan(2);
        for segment in &mut full.segments {
            segment.interactions = segment.cells / 2;
        }
        let finer = supposed(&config, &full, mib(620), mib(420)).unwrap();
        let work = |plan: &Plan| plan.segments.iter().map(|segment| segment.cells).sum::<u64>();
        assert_eq!(finer.segments.len(), 4);
        assert_eq!(work(&full), work(&finer));
        // For one child that is more to aggregate; of four each has a segment.
        let arities = allowed(&config, 0, mib(4096)).unwrap();
        let estimate = |plan, children| {
            let hands = Hands {
                children,
                threads: 1,
                cores: children,
            };
            best_arities(&config, 0, plan, &arities, hands).1
        };
        assert!(estimate(&finer, 1) > estimate(&full, 1));
        assert!(estimate(&finer, 4) < estimate(&full, 4));
        assert!(
            supposed(&config, &full, mib(8192), mib(7168)).is_none(),
            "the same"
        );
        assert!(
            supposed(&config, &full, mib(8192), mib(128)).is_none(),
            "too small"
        );
    }

    /// On one core each task waits for the one before, so that the best tree is the one with the least work; with
    /// a core for each task it is the one with the shortest path.
    #[test]
    fn the_chosen_tree_is_the_cheapest_or_the_lowest() {
        let config = VmConfig::riscv32();
        let arities = allowed(&config, 0, MemoryBudget::from_bytes(8 << 30)).unwrap();
        for segments in [1, 5, 9, 30] {
            let plan = plan(segments);
            let work = |arities| {
                tree(&config, 0, &plan, arities)
                    .1
                    .iter()
                    .map(|cost| cost.work)
                    .sum()
            };
            let path = |arities| {
                let (tree, costs) = tree(&config, 0, &plan, arities);
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
            let (_, alone) = best_arities(&config, 0, &plan, &arities, hands(1));
            assert!(close(alone, least(&work)), "{segments} segments: {alone:?}");
            let (_, many) = best_arities(&config, 0, &plan, &arities, hands(100));
            assert!(close(many, least(&path)), "{segments} segments: {many:?}");
        }
    }
}
