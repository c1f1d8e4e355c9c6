//! The run itself: children that take ready tasks until the final proof is there.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use myriad_engine::{
    Boundary, KeyCache, MemoryBudget, Plan, Program, Verifier,
    worker::{Stopper, Usage, Worker, WorkerError},
};

use super::{
    Event, Job, Machine, NodeId, Observer, Options, Outcome, RunError, Stage, TaskId,
    schedule::{allowed, best_tree, rank},
    tree::Tree,
};
use crate::{
    JobId, Store,
    store::{Accepted, TaskKey, write_durably},
};

/// How often a task is given out before it is the job's error. A child that dies may have been killed
/// by somebody else; three that die of the same task have not.
const ATTEMPTS_MAX: u32 = 3;
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
    let store = Store::open(&options.data_dir, JobId::new(&program, &job.input))?;

    observer.event(&Event::Preparing);
    let verifier = Verifier::new(&program, &KeyCache::new(options.data_dir.join("keys")))?;

    observer.event(&Event::Planning);
    let children = Machine::detect()
        .fitting(options.memory.bytes())
        .min(options.children)
        .max(1);
    let mut planner = start_child(job, options)?;
    let (plan, tree, executed) = choose(&mut planner, options, |plan| {
        best_tree(config, plan, &arities, children)
    })?;

    let state = State::new(&tree, &plan, &store)?;
    let reused = state.done.len();
    observer.event(&Event::Planned {
        instructions: plan.instructions,
        segments: plan.segments.len(),
        nodes: tree.nodes().count(),
        children,
        reused,
        public_values: plan.public_values.clone(),
    });
    let mut usages = vec![("execute", executed)];
    let keys = state.keys.clone();
    if !state.finished() {
        let shared = Shared {
            job,
            options,
            plan: &plan,
            tree: &tree,
            verifier: &verifier,
            store: &store,
            state: Mutex::new(state),
            changed: Condvar::new(),
        };
        usages.extend(shared.work(children, planner, observer)?);
    }

    let key = keys[&TaskId::Final];
    let proof = store.get(key)?.ok_or_else(|| store.vanished(key))?.proof;
    let verifying = Instant::now();
    check_final(&verifier, &plan, &proof)?;
    let verify = verifying.elapsed();
    let proof_path = options.out_dir.join(format!("{}.stark.proof", job.name));
    let baseline_path = options.out_dir.join(format!("{}.baseline.json", job.name));
    write_durably(&proof_path, &[&proof])?;
    write_durably(&baseline_path, &[&verifier.baseline_json()])?;
    observer.event(&Event::Finished);

    let stages = stages(&usages);
    Ok(Outcome {
        instructions: plan.instructions,
        segments: plan.segments.len(),
        nodes: tree.nodes().count(),
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

fn start_child(job: &Job, options: &Options) -> Result<Worker, WorkerError> {
    let mut worker = Worker::spawn(&options.worker)?;
    worker.load(job.image.clone(), job.openvm_toml.clone(), job.input.clone())?;
    Ok(worker)
}

/// Plans with the full budget, and for a small job with parts of it too; the best estimate wins.
fn choose(
    planner: &mut Worker,
    options: &Options,
    best_tree: impl Fn(&Plan) -> (Tree, f64),
) -> Result<(Plan, Tree, Usage), WorkerError> {
    let mut best: Option<(Plan, Tree, f64)> = None;
    let mut total = Usage::default();
    for share in BUDGET_SHARES {
        let budget = MemoryBudget::from_bytes((options.memory.bytes() as f64 * share) as u64);
        let (plan, usage) = match planner.plan(budget, options.max_instructions) {
            Ok(planned) => planned,
            // Less memory than allowed need not be enough.
            Err(_) if best.is_some() => break,
            Err(e) => return Err(e),
        };
        total.wall += usage.wall;
        total.cpu += usage.cpu;
        total.peak_bytes = total.peak_bytes.max(usage.peak_bytes);
        let (tree, estimate) = best_tree(&plan);
        let large = plan.segments.len() > SMALL_JOB_SEGMENTS_PER_CHILD * options.children;
        if best.as_ref().is_none_or(|(_, _, least)| estimate < *least) {
            best = Some((plan, tree, estimate));
        }
        if large {
            break;
        }
    }
    let (plan, tree, _) = best.expect("the first plan is kept or its error returned");
    Ok((plan, tree, total))
}

fn check_final(verifier: &Verifier, plan: &Plan, proof: &[u8]) -> Result<(), RunError> {
    let unsound = |reason| RunError::Unsound {
        task: TaskId::Final,
        reason,
    };
    let shown = verifier.final_proof(proof).map_err(unsound)?;
    if shown.public_values != plan.public_values {
        return Err(unsound(myriad_engine::VerifyError::PublicValues {
            actual: format!("0x{}", hex::encode(shown.public_values)),
            expected: format!("0x{}", hex::encode(&plan.public_values)),
        }));
    }
    Ok(())
}

fn stages(usages: &[(&'static str, Usage)]) -> Vec<Stage> {
    let mut stages: Vec<Stage> = Vec::new();
    for (name, usage) in usages {
        let index = stages
            .iter()
            .position(|stage| stage.name == *name)
            .unwrap_or_else(|| {
                stages.push(Stage {
                    name,
                    tasks: 0,
                    wall: Duration::ZERO,
                    cpu: Duration::ZERO,
                    peak_bytes: 0,
                });
                stages.len() - 1
            });
        let stage = &mut stages[index];
        stage.tasks += 1;
        stage.wall += usage.wall;
        stage.cpu += usage.cpu;
        stage.peak_bytes = stage.peak_bytes.max(usage.peak_bytes);
    }
    stages
}

/// Which tasks are done, ready, and under way.
struct State {
    keys: HashMap<TaskId, TaskKey>,
    parents: HashMap<TaskId, TaskId>,
    /// Children that a task still waits for; a task that is not here is done or needed by none.
    missing: HashMap<TaskId, usize>,
    ready: BTreeSet<((Reverse<u8>, usize), TaskId)>,
    running: usize,
    attempts: HashMap<TaskId, u32>,
    /// What ends the engine child of each thread that has one.
    stoppers: HashMap<usize, Stopper>,
    /// What the accepted proofs say. The final proof has no boundary of its own.
    done: BTreeMap<TaskId, Option<Boundary>>,
    failed: Option<RunError>,
}

impl State {
    fn new(tree: &Tree, plan: &Plan, store: &Store) -> Result<Self, RunError> {
        let mut keys: HashMap<TaskId, TaskKey> = HashMap::new();
        let mut parents = HashMap::new();
        let mut state = Self {
            keys: HashMap::new(),
            parents: HashMap::new(),
            missing: HashMap::new(),
            ready: BTreeSet::new(),
            running: 0,
            attempts: HashMap::new(),
            stoppers: HashMap::new(),
            done: BTreeMap::new(),
            failed: None,
        };
        for task in tree.tasks() {
            let children = tree.children(task);
            let key = match task {
                TaskId::Segment(index) => {
                    let segment = &plan.segments[index];
                    TaskKey::segment(segment.instret_start, segment.num_insns)
                }
                TaskId::Node(NodeId { level, .. }) => {
                    TaskKey::node(level.number(), children.iter().map(|child| keys[child]))
                }
                TaskId::Final => TaskKey::node(u8::MAX, children.iter().map(|child| keys[child])),
            };
            keys.insert(task, key);
            if let Some(accepted) = store.get(key)? {
                let boundary = (task != TaskId::Final).then_some(accepted.boundary);
                state.done.insert(task, boundary);
            }
            for child in children {
                parents.insert(child, task);
            }
        }
        // A task below one that is done is done too, or needed by nobody.
        let mut needed = vec![TaskId::Final];
        while let Some(task) = needed.pop() {
            if state.done.contains_key(&task) {
                continue;
            }
            let missing: Vec<_> = tree
                .children(task)
                .into_iter()
                .filter(|child| !state.done.contains_key(child))
                .collect();
            if missing.is_empty() {
                state.ready.insert((rank(task), task));
            }
            state.missing.insert(task, missing.len());
            needed.extend(missing);
        }
        state.keys = keys;
        state.parents = parents;
        Ok(state)
    }

    fn finished(&self) -> bool {
        self.done.contains_key(&TaskId::Final)
    }

    fn register(&mut self, child: usize, stopper: Stopper) {
        if self.failed.is_some() {
            stopper.stop();
        }
        self.stoppers.insert(child, stopper);
    }

    /// Ends the run for good; the other children would only work for nothing.
    fn fail(&mut self, error: RunError) {
        // What the others die of now is no news.
        if self.failed.is_none() {
            self.failed = Some(error);
            self.stoppers.values().for_each(Stopper::stop);
        }
    }

    fn accept(&mut self, task: TaskId, boundary: Option<Boundary>) {
        self.running -= 1;
        self.done.insert(task, boundary);
        let Some(parent) = self.parents.get(&task) else {
            return;
        };
        if let Some(missing) = self.missing.get_mut(parent) {
            *missing -= 1;
            if *missing == 0 {
                self.ready.insert((rank(*parent), *parent));
            }
        }
    }
}

/// What the threads share; each has a child of its own.
struct Shared<'a> {
    job: &'a Job,
    options: &'a Options,
    plan: &'a Plan,
    tree: &'a Tree,
    verifier: &'a Verifier,
    store: &'a Store,
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared<'_> {
    /// Works until the final proof is stored or something fails for good; gives what each task took.
    fn work(
        &self,
        children: usize,
        planner: Worker,
        observer: &mut dyn Observer,
    ) -> Result<Vec<(&'static str, Usage)>, RunError> {
        let mut usages = Vec::new();
        thread::scope(|scope| {
            let (events, received) = mpsc::channel();
            let mut first = Some(planner);
            for child in 0..children {
                let (events, worker) = (events.clone(), first.take());
                scope.spawn(move || self.child(child, worker, &events));
            }
            drop(events);
            for event in received {
                if let Event::Done { task, usage, .. } = &event {
                    usages.push((stage_name(*task), *usage));
                }
                observer.event(&event);
            }
        });
        let mut state = self.lock();
        match state.failed.take() {
            Some(error) => Err(error),
            None => Ok(usages),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One thread: takes tasks for its child, and starts another child when one dies.
    fn child(&self, child: usize, mut worker: Option<Worker>, events: &Sender<Event>) {
        while let Some(task) = self.next() {
            // A receiver that is gone means that the run is over; the loop ends by itself.
            let _ = events.send(Event::Started { child, task });
            let result = match worker.take() {
                Some(worker) => Ok(worker),
                None => start_child(self.job, self.options),
            }
            .map_err(RunError::from)
            .and_then(|mut started| {
                self.lock().register(child, started.stopper());
                let done = self.attempt(&mut started, task)?;
                worker = Some(started);
                Ok(done)
            });
            let mut state = self.lock();
            match result {
                Ok((boundary, usage, proof_bytes)) => {
                    state.accept(task, boundary);
                    let _ = events.send(Event::Done {
                        child,
                        task,
                        usage,
                        proof_bytes,
                    });
                }
                Err(error) => {
                    state.running -= 1;
                    let attempts = state.attempts.entry(task).or_default();
                    *attempts += 1;
                    let (attempts, others) = (*attempts, state.running > 0);
                    match error {
                        RunError::Worker(WorkerError::Died(death)) if attempts < ATTEMPTS_MAX => {
                            state.ready.insert((rank(task), task));
                            let _ = events.send(Event::Retrying {
                                task,
                                reason: death.to_string(),
                            });
                            if death.out_of_memory && others {
                                // The machine does not hold this many children: go on with one less.
                                self.changed.notify_all();
                                return;
                            }
                        }
                        RunError::Worker(WorkerError::Died(death)) => {
                            state.fail(RunError::Task {
                                task,
                                attempts,
                                last: death.to_string(),
                            });
                        }
                        error => state.fail(error),
                    }
                }
            }
            self.changed.notify_all();
        }
    }

    /// Waits for a task that is ready; none when the run is over.
    fn next(&self) -> Option<TaskId> {
        let mut state = self.lock();
        loop {
            if state.failed.is_some() || state.finished() {
                return None;
            }
            if let Some((_, task)) = state.ready.pop_first() {
                state.running += 1;
                return Some(task);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Has the child do the task, verifies what comes out, and stores it.
    fn attempt(
        &self,
        worker: &mut Worker,
        task: TaskId,
    ) -> Result<(Option<Boundary>, Usage, usize), RunError> {
        let unsound = |reason| RunError::Unsound { task, reason };
        let (proof, usage, boundary) = match task {
            TaskId::Segment(index) => {
                let segment = &self.plan.segments[index];
                let (proof, usage) = worker.prove(segment)?;
                let public_values = segment.last.then_some(self.plan.public_values.as_slice());
                let boundary = self.verifier.segment(&proof, public_values).map_err(unsound)?;
                (proof, usage, Some(boundary))
            }
            TaskId::Node(NodeId { level, .. }) => {
                let children = self.tree.children(task);
                let children = children
                    .iter()
                    .map(|child| self.stored(*child))
                    .collect::<Result<_, _>>()?;
                let (proof, usage) = worker.aggregate(level, children)?;
                let boundary = self.verifier.node(level, &proof).map_err(unsound)?;
                (proof, usage, Some(boundary))
            }
            TaskId::Final => {
                let top = self.tree.top();
                let last = TaskId::Segment(self.tree.segments() - 1);
                let (proof, usage) =
                    worker.finish(top.level, self.stored(TaskId::Node(top))?, self.stored(last)?)?;
                check_final(self.verifier, self.plan, &proof)?;
                (proof, usage, None)
            }
        };
        if let Some(boundary) = &boundary {
            self.check_neighbours(task, boundary).map_err(unsound)?;
        }
        let proof_bytes = proof.len();
        let key = self.lock().keys[&task];
        self.store.put(
            key,
            &Accepted {
                boundary: boundary.unwrap_or_else(|| self.whole()),
                proof,
            },
        )?;
        Ok((boundary, usage, proof_bytes))
    }

    /// Checks that a piece starts where the one before it ends, and ends where the next one starts.
    fn check_neighbours(&self, task: TaskId, boundary: &Boundary) -> Result<(), myriad_engine::VerifyError> {
        let (before, after) = neighbours(self.tree, task);
        let state = self.lock();
        let known = |task: Option<TaskId>| task.and_then(|task| state.done.get(&task).copied().flatten());
        match before {
            None => self.verifier.check_start(boundary)?,
            Some(_) => known(before).map_or(Ok(()), |before| before.check_next(boundary))?,
        }
        known(after).map_or(Ok(()), |after| boundary.check_next(&after))
    }

    /// The boundary of the whole execution, which the tree's top node has.
    fn whole(&self) -> Boundary {
        let top = TaskId::Node(self.tree.top());
        self.lock()
            .done
            .get(&top)
            .copied()
            .flatten()
            .expect("the final proof is made after the top node")
    }

    fn stored(&self, task: TaskId) -> Result<Vec<u8>, RunError> {
        let key = self.lock().keys[&task];
        let accepted = self.store.get(key)?.ok_or_else(|| self.store.vanished(key))?;
        Ok(accepted.proof)
    }
}

/// The tasks of the same level before and after a task.
fn neighbours(tree: &Tree, task: TaskId) -> (Option<TaskId>, Option<TaskId>) {
    let (index, count, at): (_, _, &dyn Fn(usize) -> TaskId) = match task {
        TaskId::Segment(index) => (index, tree.segments(), &TaskId::Segment),
        TaskId::Node(NodeId { level, index }) => {
            let count = tree.nodes().filter(|node| node.level == level).count();
            (index, count, &move |index| TaskId::Node(NodeId { level, index }))
        }
        TaskId::Final => return (None, None),
    };
    (
        index.checked_sub(1).map(at),
        (index + 1 < count).then(|| at(index + 1)),
    )
}

fn stage_name(task: TaskId) -> &'static str {
    match task {
        TaskId::Segment(_) => "segment",
        TaskId::Node(NodeId { level, .. }) => match level.number() {
            1 => "leaf",
            2 => "internal-for-leaf",
            _ => "internal-recursive",
        },
        TaskId::Final => "final",
    }
}
