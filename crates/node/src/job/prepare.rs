//! Prepares a job until its tasks can be given out, and turns its final proof into the outcome.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use myriad_core::{Arities, Cost, JobId, JobSpec, Kind, TaskId, Time, Tree};
use myriad_cost::job::Hands;
use myriad_engine::{
    Boundary, FinalForm, Level, Loaded, MemoryBudget, Plan, ProofOf, Segment,
    worker::{Failure, Stopper, Usage, WorkerError},
};
use myriad_net::blob::BlobStore;

use super::{
    Event, Job, Observer, Options, Outcome, RunError, Stage,
    tree_choice::{allowed, supposed},
};
use crate::{
    Store,
    group::LimitedWorker,
    job_id,
    store::{Entry, Held, Planned, TaskKey, write_durably},
    verifier_pool::{NoVerifier, Objection, ProgramOnly, VerifierPool},
};

/// Budgets that segments may be cut for beside the whole one, as shares of it: more and smaller
/// segments keep more children at work, and cost more altogether.
const SMALLER_BUDGETS: [f64; 2] = [0.75, 0.55];
/// With more segments for each child than this, only the whole budget is tried, because all
/// children have work until near the end.
const SMALL_JOB_SEGMENTS_PER_CHILD: usize = 8;
/// With more segments than this, too, only the whole budget is tried: to execute once more takes
/// longer than finer segments gain, and meanwhile the first of them could be proven.
const SMALL_JOB_SEGMENTS_MAX: usize = 64;
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
    pub arities: Arities,
    /// The cost of each task, in the order of [`Tree::tasks`].
    pub costs: Vec<Cost>,
    /// The key under which the proof of each task is stored.
    pub keys: HashMap<TaskId, TaskKey>,
    pub final_form: FinalForm,
    /// The accepted proofs that an earlier run has left.
    pub done: BTreeMap<TaskId, Entry>,
    /// The leases of the earlier run: each task, with the peer that held it.
    pub leased: Vec<Held>,
    pub(super) start: Instant,
    /// The time and memory that planning took.
    pub(super) executed: Usage,
}

/// A job whose journal is locked by this process.
pub(crate) struct Opened {
    pub id: JobId,
    pub(super) loaded: Loaded,
    pub(super) store: Store,
    pub(super) start: Instant,
}

impl Opened {
    /// Locks the job.
    pub(crate) fn new(job: &Job, options: &Options, blobs: BlobStore) -> Result<Self, RunError> {
        let start = Instant::now();
        let loaded = job.loaded.clone();
        let id = job_id(&loaded);
        let store = Store::open(&options.data_dir, id, blobs)?;
        Ok(Self {
            id,
            loaded,
            store,
            start,
        })
    }

    pub(crate) fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The earlier plan of the job, if it still holds for these options: the proofs that are there
    /// are of its segments.
    pub(crate) fn earlier(&self, options: &Options) -> Result<Option<Planned>, RunError> {
        let allowed = allowed(&self.loaded, options.memory)?;
        Ok(self.store.planned()?.filter(|planned| {
            planned.memory_bytes == options.memory.bytes()
                && planned.engine == self.loaded.engine
                && planned.plan.instructions <= options.max_instructions
                && !planned.plan.segments.is_empty()
                && allowed.contains(&planned.arities)
        }))
    }

    /// The leases of an earlier run whose holders may still be at tasks of this one: its plan holds
    /// ([`Self::earlier`]), or will be the same.
    pub(crate) fn kept_leases(&self, options: &Options, is_planned: bool) -> Result<Vec<Held>, RunError> {
        let engine = self.loaded.engine;
        let grows = self.store.growing_for(options.memory.bytes(), engine)?;
        // The plan that is there is taken. Another one that was being made is not.
        if is_planned != grows.is_some() {
            Ok(self.store.leases()?)
        } else {
            Ok(Vec::new())
        }
    }
}

/// What remains of the time within which the proof is wanted.
fn deadline(start: Instant, options: &Options) -> Option<Time> {
    let left = |deadline: Duration| Time::default() + deadline.saturating_sub(start.elapsed());
    options.deadline.map(left)
}

/// A job with more segments than this is not small: it is executed once, and its segments can be
/// given out as they are cut.
pub(crate) fn stream_from(hands: Hands) -> u32 {
    let each = SMALL_JOB_SEGMENTS_PER_CHILD.saturating_mul(hands.children);
    each.min(SMALL_JOB_SEGMENTS_MAX) as u32
}

impl Prepared {
    /// The job for the state machine, with the peers that may still be working on its tasks.
    pub(crate) fn spec(&self, options: &Options, leased: Vec<Held>) -> JobSpec {
        JobSpec {
            id: self.id,
            tree: self.tree.clone(),
            costs: self.costs.clone(),
            priority: options.priority,
            deadline: deadline(self.start, options),
            own_final: false,
            leased,
            done: self
                .done
                .iter()
                .map(|(&task, entry)| (task, entry.proof.blob))
                .collect(),
        }
    }

    /// Says that the plan is there, and how many provers it reckons with.
    pub(crate) fn planned_event(&self, hands: Hands) -> Event {
        Event::Planned {
            instructions: self.plan.instructions,
            segments: self.plan.segments.len(),
            nodes: self.tree.node_count(),
            arities: self.arities,
            provers: hands.children,
            reused: self.done.len(),
            kept: self.done.keys().copied().collect(),
            public_values: self.plan.public_values.clone(),
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
        let engine = &options.worker.engine;
        let beside = |ending: &str| options.out_dir.join(format!("{}.{ending}", job.name));
        let proof_path = beside(engine.proof_ending);
        let baseline_path = engine.baseline_ending.map(beside);
        tracing::debug!(stage = "write", file = %proof_path.display(), "writing the final proof");
        write_durably(&proof_path, &[&proof])?;
        if let Some(path) = &baseline_path {
            tracing::debug!(stage = "write", file = %path.display(), "writing what verifies it");
            write_durably(path, &[&statement.baseline])?;
        }
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
            program_config: None,
            config: myriad_engine::worker::WorkerConfig {
                engine: myriad_engine::EngineFacts::pretended(),
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
            arities: Arities {
                leaf: 2,
                internal_for_leaf: 2,
                internal_recursive: 2,
            },
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

/// A child with the job loaded. `began` gets what stops it, before it loads: that takes a while.
pub(crate) fn start_child(
    job: &Job,
    options: &Options,
    began: impl FnOnce(Stopper),
) -> Result<LimitedWorker, WorkerError> {
    let mut worker = LimitedWorker::spawn(&options.worker, options.memory)?;
    began(worker.stopper());
    worker.within(|child| child.load(&job.image[..], job.program_config.clone(), &job.input))?;
    Ok(worker)
}

/// The plan and the arities that a job is proven with.
struct Chosen {
    plan: Plan,
    arities: Arities,
    estimate: Duration,
}

/// Plans with the full budget, and with those parts of it that may be better if the job is small;
/// the best estimate wins. Also gives the cost of planning.
pub(super) fn choose(
    planner: &mut LimitedWorker,
    options: &Options,
    loaded: &Loaded,
    from: u32,
    cut: &mut dyn FnMut(Vec<Segment>),
    best_arities: impl Fn(&Plan) -> (Arities, Duration),
) -> Result<(Planned, Usage), WorkerError> {
    let mut executed = Usage::default();
    let mut plan_for = |budget, cut: Option<&mut dyn FnMut(Vec<Segment>)>| {
        let (plan, usage) = planner.within(|child| match cut {
            Some(cut) => child.plan_streamed(budget, options.max_instructions, from, cut),
            None => child.plan(budget, options.max_instructions),
        })?;
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
        engine: loaded.engine,
        arities,
        plan,
    };
    let full = plan_for(options.memory, Some(cut))?;
    if full.plan.segments.len() > from as usize {
        return Ok((planned(full), executed));
    }
    let mut better: Option<Chosen> = None;
    for share in SMALLER_BUDGETS {
        let budget = MemoryBudget::from_bytes((options.memory.bytes() as f64 * share) as u64);
        let best = better.as_ref().unwrap_or(&full).estimate;
        let may_be_better = |plan| best_arities(&plan).1 < best.mul_f64(WORTH_TRYING);
        if !supposed(loaded, &full.plan, options.memory, budget).is_some_and(may_be_better) {
            continue;
        }
        match plan_for(budget, None) {
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
pub(super) fn keys(tree: &Tree, plan: &Plan, final_form: FinalForm) -> HashMap<TaskId, TaskKey> {
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
