//! The run from a job to its final proof: plans, has the driver work, verifies and writes.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use myriad_core::{Cost, Kind, TaskId, Tree};
use myriad_engine::{
    Boundary, ExecuteError, KeyCache, MemoryBudget, Plan, Program, Verifier,
    worker::{Failure, Usage, Worker, WorkerError},
};

use super::{
    Event, Job, Machine, Observer, Options, Outcome, RunError, Stage,
    child::{Shared, Stoppers, check_final},
    driver::{Usages, drive},
    schedule::{Hands, allowed, best_tree},
};
use crate::{
    Store, job_id,
    store::{TaskKey, write_durably},
};

/// Budgets that are tried for the segments, as shares of what is allowed, where a job is so small
/// that the shape of its tree matters more than the cost of each segment.
const BUDGET_SHARES: [f64; 3] = [1.0, 0.75, 0.55];
/// Segments for each child from which on only the full budget is tried.
const SMALL_JOB_SEGMENTS_PER_CHILD: usize = 8;

/// Proves `job`: executes, cuts, proves, aggregates, verifies, and writes the final proof.
///
/// What an earlier run of the same job has left in the store is not done again.
///
/// # Errors
/// See [`RunError`]. Accepted proofs stay in the store whatever happens.
pub fn run(job: &Job, options: &Options, observer: &mut dyn Observer) -> Result<Outcome, RunError> {
    let start = Instant::now();
    let program = Program::load(&job.image, job.openvm_toml.as_deref())?;
    let config = program.config();
    let arities = allowed(config, options.memory)?;
    let id = job_id(&program, &job.input);
    let store = Store::open(&options.data_dir, id)?;

    observer.event(&Event::Preparing);
    let verifier = Verifier::new(&program, &KeyCache::new(options.data_dir.join("keys")))?;

    observer.event(&Event::Planning);
    let machine = Machine::detect();
    let children = machine
        .fitting(options.memory.bytes())
        .min(options.children)
        .max(1);
    let hands = Hands {
        children,
        threads: options.worker.threads,
        cores: machine.cores,
    };
    let mut planner = start_child(job, options)?;
    let Chosen {
        plan,
        tree,
        costs,
        executed,
        ..
    } = choose(&mut planner, options, |plan| {
        best_tree(config, plan, &arities, hands)
    })?;

    let keys = keys(&tree, &plan);
    let done = stored(&keys, &store)?;
    let reused = done.len();
    observer.event(&Event::Planned {
        instructions: plan.instructions,
        segments: plan.segments.len(),
        nodes: tree.node_count(),
        children,
        reused,
        public_values: plan.public_values.clone(),
    });
    let mut usages = Usages::new();
    if !done.contains_key(&TaskId::Final) {
        let shared = Shared {
            job,
            options,
            plan: &plan,
            tree: &tree,
            keys: &keys,
            verifier: &verifier,
            store: &store,
            stoppers: Stoppers::default(),
        };
        usages = drive(&shared, id, costs, done, children, planner, observer)?;
    }

    let key = keys[&TaskId::Final];
    let proof = store.get(key)?.ok_or_else(|| store.vanished(key))?.proof;
    let verifying = Instant::now();
    check_final(&verifier, &plan, &proof).map_err(|reason| RunError::Unsound {
        task: TaskId::Final,
        reason,
    })?;
    let verify = verifying.elapsed();
    let proof_path = options.out_dir.join(format!("{}.stark.proof", job.name));
    let baseline_path = options.out_dir.join(format!("{}.baseline.json", job.name));
    write_durably(&proof_path, &[&proof])?;
    write_durably(&baseline_path, &[&verifier.baseline_json()])?;
    observer.event(&Event::Finished);

    let stages = stages(executed, &usages);
    Ok(Outcome {
        instructions: plan.instructions,
        segments: plan.segments.len(),
        nodes: tree.node_count(),
        public_values: plan.public_values,
        proof_path,
        baseline_path,
        proof_bytes: proof.len(),
        reused,
        wall: start.elapsed(),
        peak_bytes: stages.iter().map(|stage| stage.peak_bytes).max().unwrap_or(0),
        verify,
        stages,
    })
}

pub(super) fn start_child(job: &Job, options: &Options) -> Result<Worker, WorkerError> {
    let mut worker = Worker::spawn(&options.worker)?;
    worker.load(job.image.clone(), job.openvm_toml.clone(), job.input.clone())?;
    Ok(worker)
}

/// The plan and the tree that a job is proven with.
struct Chosen {
    plan: Plan,
    tree: Tree,
    /// What each task takes, in the order of [`Tree::tasks`].
    costs: Vec<Cost>,
    estimate: Duration,
    /// What planning took.
    executed: Usage,
}

/// Plans with the full budget, and for a small job with parts of it too; the best estimate wins.
fn choose(
    planner: &mut Worker,
    options: &Options,
    best_tree: impl Fn(&Plan) -> (Tree, Vec<Cost>, Duration),
) -> Result<Chosen, WorkerError> {
    let mut best: Option<Chosen> = None;
    let mut executed = Usage::default();
    for share in BUDGET_SHARES {
        let budget = MemoryBudget::from_bytes((options.memory.bytes() as f64 * share) as u64);
        let (plan, usage) = match planner.plan(budget, options.max_instructions) {
            Ok(planned) => planned,
            // Less memory than allowed need not be enough.
            Err(WorkerError::Failed(Failure::Execute(ExecuteError::BudgetTooSmall { .. })))
                if best.is_some() =>
            {
                break;
            }
            Err(e) => return Err(e),
        };
        executed.wall += usage.wall;
        executed.cpu += usage.cpu;
        executed.peak_bytes = executed.peak_bytes.max(usage.peak_bytes);
        let (tree, costs, estimate) = best_tree(&plan);
        let large = plan.segments.len() > SMALL_JOB_SEGMENTS_PER_CHILD * options.children;
        if best.as_ref().is_none_or(|best| estimate < best.estimate) {
            best = Some(Chosen {
                plan,
                tree,
                costs,
                estimate,
                executed,
            });
        }
        if large {
            break;
        }
    }
    let best = best.expect("the first plan is kept or its error returned");
    Ok(Chosen { executed, ..best })
}

/// Under which key the proof of each task is stored.
fn keys(tree: &Tree, plan: &Plan) -> HashMap<TaskId, TaskKey> {
    let mut keys: HashMap<TaskId, TaskKey> = HashMap::new();
    for task in tree.tasks() {
        let level = match task {
            TaskId::Segment(index) => {
                let segment = &plan.segments[index as usize];
                keys.insert(task, TaskKey::segment(segment.instret_start, segment.num_insns));
                continue;
            }
            TaskId::Node(node) => node.level,
            TaskId::Final => u8::MAX,
        };
        let key = TaskKey::node(level, tree.children(task).map(|child| keys[&child]));
        keys.insert(task, key);
    }
    keys
}

/// What an earlier run has left, with what each proof says; the final proof has no boundary of its own.
fn stored(
    keys: &HashMap<TaskId, TaskKey>,
    store: &Store,
) -> Result<BTreeMap<TaskId, Option<Boundary>>, RunError> {
    let mut done = BTreeMap::new();
    for (&task, &key) in keys {
        if let Some(accepted) = store.get(key)? {
            let boundary = (task != TaskId::Final).then_some(accepted.boundary);
            done.insert(task, boundary);
        }
    }
    Ok(done)
}

fn stages(executed: Usage, usages: &[(Kind, Usage)]) -> Vec<Stage> {
    let stage = |name, usages: Vec<&Usage>| Stage {
        name,
        tasks: usages.len(),
        wall: usages.iter().map(|usage| usage.wall).sum(),
        cpu: usages.iter().map(|usage| usage.cpu).sum(),
        peak_bytes: usages.iter().map(|usage| usage.peak_bytes).max().unwrap_or(0),
    };
    let mut stages = vec![stage("execute", vec![&executed])];
    for kind in Kind::ALL {
        let of_kind: Vec<&Usage> = usages
            .iter()
            .filter(|(other, _)| *other == kind)
            .map(|(_, usage)| usage)
            .collect();
        if !of_kind.is_empty() {
            stages.push(stage(kind.name(), of_kind));
        }
    }
    stages
}
