//! Prepares a job until its tasks can be given out, and turns its final proof into the outcome.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use myriad_core::{Arities, Cost, JobId, JobSpec, Kind, TaskId, Time, Tree};
use myriad_cost::job::Hands;
use myriad_engine::{
    Boundary, FinalForm, Level, MemoryBudget, Plan, Program, ProofOf, VmConfig,
    worker::{Failure, Usage, WorkerError},
};
use myriad_net::blob::BlobStore;

use super::{
    Event, Job, Observer, Options, Outcome, RunError, Stage,
    tree_choice::{allowed, best_arities, supposed, tree},
};
use crate::{
    Store,
    group::LimitedWorker,
    job_id,
    keys::make_keys,
    store::{Entry, Held, Planned, TaskKey, write_durably},
    verifier_pool::{NoVerifier, Objection, ProgramOnly, VerifierPool},
};

/// Budgets that segments may be cut for beside the whole one, as shares of it: more and smaller
/// segments keep more children at work, and cost more altogether.
const SMALLER_BUDGETS: [f64; 2] = [0.75, 0.55];
/// With more segments for each child than this, only the whole budget is tried, because all
/// children have work until near the end.
const SMALL_JOB_SEGMENTS_PER_CHILD: usize = 8;
/// A smaller budget is tried, which takes one more execution, unless its expected time is this many
/// times as long. The expectation does not know the length of the last segment.
const WORTH_TRYING: f64 = 1.1;

/// A job that has been planned.
pub(crate) struct Prepared {
    pub id: JobId,
    /// The program, for children that need no input.
    pub program: Arc<ProgramOnly>,
    pub verifying: VerifierPool,
    pub store: Arc<Store>,
    pub plan: Plan,
    pub tree: Tree,
    /// The cost of each task, in the order of [`Tree::tasks`].
    pub costs: Vec<Cost>,
    /// The key under which the proof of each task is stored.
    pub keys: HashMap<TaskId, TaskKey>,
    pub final_form: FinalForm,
    /// The accepted proofs that an earlier run has left.
    pub done: BTreeMap<TaskId, Entry>,
    /// The leases of the earlier run: each task, with the peer that held it.
    pub leased: Vec<Held>,
    start: Instant,
    /// The time and memory that planning took.
    executed: Usage,
}

/// A job whose journal is locked by this process.
pub(crate) struct Opened {
    pub id: JobId,
    program: Program,
    store: Store,
    start: Instant,
}

impl Opened {
    /// Loads the program, and locks the job.
    pub(crate) fn new(job: &Job, options: &Options, blobs: BlobStore) -> Result<Self, RunError> {
        let start = Instant::now();
        let program = Program::load(&job.image, job.openvm_toml.as_deref())?;
        let id = job_id(&program, &job.input);
        let store = Store::open(&options.data_dir, id, blobs)?;
        Ok(Self {
            id,
            program,
            store,
            start,
        })
    }

    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }
}

/// Takes the plan of an earlier run, or executes, cuts, and chooses the tree that `hands` finish
/// soonest. In the second case it also returns the child that executed, with the job loaded.
pub(crate) fn prepare(
    opened: Opened,
    job: &Job,
    options: &Options,
    hands: Hands,
    observer: &mut dyn Observer,
) -> Result<(Prepared, Option<LimitedWorker>), RunError> {
    let Opened {
        id,
        program,
        store,
        start,
    } = opened;
    let config = program.config();
    let held = program.held_bytes(&job.input);
    let allowed = allowed(config, held, options.memory)?;

    observer.event(&Event::Preparing);
    // A separate child makes the keys: children that run programs cannot write them.
    let made = make_keys(&options.worker, options.memory, job.openvm_toml.clone())?;
    observer.event(&Event::KeysReady {
        made: made.map(|usage| usage.wall),
    });
    let program_only = Arc::new(ProgramOnly {
        image: job.image.clone(),
        openvm_toml: job.openvm_toml.clone(),
        config: options.worker.clone(),
    });
    let verifying = VerifierPool::begin(Arc::clone(&program_only));

    let mut executed = Usage::default();
    let mut planner = None;
    let engine = *config.fingerprint().as_bytes();
    let Planned { plan, arities, .. } = match earlier(&store, options, engine, &allowed)? {
        Some(planned) => planned,
        None => {
            observer.event(&Event::Planning);
            let child = planner.insert(start_child(job, options)?);
            let (planned, usage) = choose(child, options, config, hands.children, |plan| {
                best_arities(config, plan, &allowed, hands)
            })?;
            executed = usage;
            store.set_planned(&planned)?;
            planned
        }
    };
    let (tree, costs) = tree(config, held, &plan, arities, options.final_form);
    let keys = keys(&tree, &plan, options.final_form);
    let done = store.entries(keys.iter().map(|(&task, &key)| (task, key)))?;
    let leased = store.leases()?;
    observer.event(&Event::Planned {
        instructions: plan.instructions,
        segments: plan.segments.len(),
        nodes: tree.node_count(),
        provers: hands.children,
        reused: done.len(),
        public_values: plan.public_values.clone(),
    });
    let prepared = Prepared {
        id,
        program: program_only,
        verifying,
        store: Arc::new(store),
        plan,
        tree,
        costs,
        keys,
        final_form: options.final_form,
        done,
        leased,
        start,
        executed,
    };
    Ok((prepared, planner))
}

/// The earlier plan of the job, if it still holds: the proofs that are there are of its segments.
fn earlier(
    store: &Store,
    options: &Options,
    engine: [u8; 32],
    allowed: &[Arities],
) -> Result<Option<Planned>, RunError> {
    Ok(store.planned()?.filter(|planned| {
        planned.memory_bytes == options.memory.bytes()
            && planned.engine == engine
            && planned.plan.instructions <= options.max_instructions
            && !planned.plan.segments.is_empty()
            && allowed.contains(&planned.arities)
    }))
}

impl Prepared {
    /// The job for the state machine, with the peers that may still be working on its tasks.
    pub(crate) fn spec(&self, options: &Options, leased: Vec<Held>) -> JobSpec {
        let left = |deadline: Duration| Time::default() + deadline.saturating_sub(self.start.elapsed());
        JobSpec {
            id: self.id,
            tree: self.tree.clone(),
            costs: self.costs.clone(),
            priority: 0,
            deadline: options.deadline.map(left),
            own_final: false,
            leased,
            done: self
                .done
                .iter()
                .map(|(&task, entry)| (task, entry.proof.blob))
                .collect(),
        }
    }

    /// Verifies the bytes that are offered as the proof of a task, and returns the boundary of its
    /// piece. The final proof covers the whole, and has to reveal the execution's public values.
    /// Blocks.
    ///
    /// # Errors
    /// See [`Objection`].
    pub(crate) fn verify(&self, task: TaskId, proof: &[u8]) -> Result<Option<Boundary>, Objection> {
        let public_values = || self.plan.public_values.clone();
        let of = match task {
            TaskId::Segment(index) => {
                let last = self.plan.segments[index as usize].last;
                ProofOf::Segment {
                    public_values: last.then(public_values),
                }
            }
            TaskId::Node(node) => ProofOf::Node(level(node.level)),
            TaskId::Final => ProofOf::Final {
                public_values: Some(public_values()),
            },
        };
        Ok(self.verifying.verify(&of, proof)?.piece())
    }

    /// Verifies and writes the final proof, which is in the store.
    pub(crate) fn conclude(
        self,
        job: &Job,
        options: &Options,
        usages: &[(Kind, Usage)],
        observer: &mut dyn Observer,
    ) -> Result<Outcome, RunError> {
        let final_key = self.keys[&TaskId::Final];
        let proof = self
            .store
            .get(final_key)?
            .ok_or_else(|| self.store.vanished())?
            .proof;
        let statement = self.verifying.statement()?;
        let verifying = Instant::now();
        self.verify(TaskId::Final, &proof)
            .map_err(|objection| match objection {
                Objection::Invalid(reason) | Objection::OtherProgram(reason) => RunError::Unsound {
                    task: TaskId::Final,
                    reason,
                },
                Objection::Unable(reason) => NoVerifier { reason }.into(),
            })?;
        let verify = verifying.elapsed();
        let proof_path = options.out_dir.join(format!("{}.stark.proof", job.name));
        let baseline_path = options.out_dir.join(format!("{}.baseline.json", job.name));
        write_durably(&proof_path, &[&proof])?;
        write_durably(&baseline_path, &[&statement.baseline_json])?;
        observer.event(&Event::Finished);

        let stages = stages(self.executed, usages);
        let wall = self.start.elapsed();
        Ok(Outcome {
            instructions: self.plan.instructions,
            segments: self.plan.segments.len(),
            nodes: self.tree.node_count(),
            public_values: self.plan.public_values,
            proof_path,
            baseline_path,
            proof_bytes: proof.len(),
            reused: self.done.len(),
            wall,
            in_time: options.deadline.map(|deadline| wall <= deadline),
            peak_bytes: stages.iter().map(|stage| stage.peak_bytes).max().unwrap_or(0),
            verify,
            stages,
        })
    }
}

#[cfg(test)]
impl Prepared {
    /// A job of so many segments whose program nothing can be done with.
    pub(crate) fn without_program(dir: &std::path::Path, tree: Tree, final_form: FinalForm) -> Self {
        let program = Arc::new(ProgramOnly {
            image: Vec::new(),
            openvm_toml: None,
            config: myriad_engine::worker::WorkerConfig {
                command: dir.join("no program"),
                args: Vec::new(),
                keys: dir.join("keys"),
                threads: 1,
            },
        });
        let id = JobId([7; 32]);
        let blobs = crate::open_blobs(dir, u64::MAX).unwrap();
        Self {
            id,
            program: Arc::clone(&program),
            verifying: VerifierPool::begin(program),
            store: Arc::new(Store::open(dir, id, blobs).unwrap()),
            plan: Plan {
                segments: Vec::new(),
                public_values: Vec::new(),
                instructions: 0,
            },
            tree,
            costs: Vec::new(),
            keys: HashMap::new(),
            final_form,
            done: BTreeMap::new(),
            leased: Vec::new(),
            start: Instant::now(),
            executed: Usage::default(),
        }
    }
}

pub(crate) fn level(number: u8) -> Level {
    Level::new(number).expect("the tree is not higher than the engine allows")
}

pub(crate) fn start_child(job: &Job, options: &Options) -> Result<LimitedWorker, WorkerError> {
    let mut worker = LimitedWorker::spawn(&options.worker, options.memory)?;
    worker.within(|child| child.load(&job.image[..], job.openvm_toml.clone(), &job.input))?;
    Ok(worker)
}

/// The plan and the arities that a job is proven with.
struct Chosen {
    plan: Plan,
    arities: Arities,
    estimate: Duration,
}

/// Plans with the full budget, and with those parts of it that may be better; the best estimate
/// wins. Also gives the cost of planning.
fn choose(
    planner: &mut LimitedWorker,
    options: &Options,
    config: &VmConfig,
    children: usize,
    best_arities: impl Fn(&Plan) -> (Arities, Duration),
) -> Result<(Planned, Usage), WorkerError> {
    let mut executed = Usage::default();
    let mut plan_for = |budget| {
        let (plan, usage) = planner.within(|child| child.plan(budget, options.max_instructions))?;
        executed.wall += usage.wall;
        executed.cpu += usage.cpu;
        executed.peak_bytes = executed.peak_bytes.max(usage.peak_bytes);
        let (arities, estimate) = best_arities(&plan);
        Ok(Chosen {
            plan,
            arities,
            estimate,
        })
    };
    let planned = |Chosen { plan, arities, .. }: Chosen| Planned {
        memory_bytes: options.memory.bytes(),
        engine: *config.fingerprint().as_bytes(),
        arities,
        plan,
    };
    let full = plan_for(options.memory)?;
    if full.plan.segments.len() > SMALL_JOB_SEGMENTS_PER_CHILD * children {
        return Ok((planned(full), executed));
    }
    let mut better: Option<Chosen> = None;
    for share in SMALLER_BUDGETS {
        let budget = MemoryBudget::from_bytes((options.memory.bytes() as f64 * share) as u64);
        let best = better.as_ref().unwrap_or(&full).estimate;
        let may_be_better = |plan| best_arities(&plan).1 < best.mul_f64(WORTH_TRYING);
        if !supposed(config, &full.plan, options.memory, budget).is_some_and(may_be_better) {
            continue;
        }
        match plan_for(budget) {
            Ok(chosen) if chosen.estimate < best => better = Some(chosen),
            Ok(_) => {}
            // A smaller budget than the allowed one may be too small.
            Err(WorkerError::Failed(Failure::Execute(e))) if e.asks_for_memory() => break,
            Err(e) => return Err(e),
        }
    }
    Ok((planned(better.unwrap_or(full)), executed))
}

/// The key under which the proof of each task is stored.
fn keys(tree: &Tree, plan: &Plan, final_form: FinalForm) -> HashMap<TaskId, TaskKey> {
    let mut keys: HashMap<TaskId, TaskKey> = HashMap::new();
    for task in tree.tasks() {
        let level = match task {
            TaskId::Segment(index) => {
                let segment = &plan.segments[index as usize];
                keys.insert(task, TaskKey::segment(segment.instret_start, segment.num_insns));
                continue;
            }
            TaskId::Node(node) => node.level,
            // No node has these levels.
            TaskId::Final => match final_form {
                FinalForm::Small => u8::MAX,
                FinalForm::Fast => u8::MAX - 1,
            },
        };
        let key = TaskKey::node(level, tree.children(task).map(|child| keys[&child]));
        keys.insert(task, key);
    }
    keys
}

fn stages(executed: Usage, usages: &[(Kind, Usage)]) -> Vec<Stage> {
    let stage = |name, usages: Vec<&Usage>| Stage {
        name,
        tasks: usages.len(),
        wall: usages.iter().map(|usage| usage.wall).sum(),
        cpu: usages.iter().map(|usage| usage.cpu).sum(),
        peak_bytes: usages.iter().map(|usage| usage.peak_bytes).max().unwrap_or(0),
    };
    let mut stages = Vec::new();
    // Nothing is executed if the plan was there.
    if executed != Usage::default() {
        stages.push(stage("execute", vec![&executed]));
    }
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
