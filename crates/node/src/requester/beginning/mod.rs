//! Brings a job to its first tasks: with the plan of an earlier run, with a plan that is made now,
//! or with the first segments of one that is being made, if the job turns out to be large.
//!
//! ```text
//!  planner ── News ──▶ forward ──┬── Growth ──▶ driver ──▶ core::Requester
//!  (child)                       └── Knowledge ◀── follow (another child): the true boundaries
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, mpsc},
    thread::{self, Scope},
    time::{Duration, Instant},
};

use myriad_core::{Cost, JobSpec, TaskId, Tree};
use myriad_engine::{
    Boundary, FinalForm, Segment,
    worker::{Usage, WorkerError},
};
use myriad_net::blob::BlobRef;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{
    Growth, ServedJob,
    children::Children,
    engine_backend::{EngineBackend, Truth, find_out, keep_truth},
    knowledge::{Knowledge, Stage},
    own_worker::OwnWorker,
    queue::Planning,
};
use crate::{
    Event, Job, Observer, Options, RunError,
    group::LimitedWorker,
    job::{Hands, Opened, Outset, Prepared, start_child, stream_from},
    keys::with_readable_keys,
    store::{Entry, Growing, Held, Planned, TaskKey},
    verifier_pool::ProgramOnly,
};

/// The child that finds true boundaries may die so often in a row, without getting further than any
/// before it: the machine may be short of memory for a moment.
const DEATHS_MAX: u32 = 3;
/// The pause before another one is started.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// A job that is about to begin.
#[derive(Clone, Copy)]
pub(super) struct Beginning<'a> {
    pub job: &'a Job,
    pub options: &'a Options,
    pub hands: Hands,
    /// The provers are this machine's own.
    pub owns: bool,
    pub children: &'a Children,
}

/// A job that has begun. All that can fail before the driver runs has been done, so that no job
/// stays announced that nobody serves.
pub(super) enum Begun {
    /// An earlier run has left the final proof.
    Done(Box<Prepared>),
    /// There are tasks to give out.
    Open(Box<Open>),
}

/// A job with tasks to give out.
pub(super) struct Open {
    knowledge: Arc<Knowledge>,
    program: Arc<ProgramOnly>,
    instructions: u64,
    spec: JobSpec,
    done: HashMap<TaskId, BlobRef>,
    growth: Option<UnboundedReceiver<Growth>>,
    /// How the truth is found out, unless somebody does so already. That is a part of planning.
    truth: Option<(Truth, Planning)>,
}

/// The planner's news.
enum News {
    Cut(Vec<Segment>),
    Planned(Result<Box<Made>, RunError>),
}

/// A plan, what it took, and the child that made it.
type Made = (Planned, Usage, LimitedWorker);

impl Open {
    /// The job as the driver takes it, and what finds out the truth, to be called where it may
    /// block.
    pub(super) fn served(
        self,
        due: Option<Instant>,
    ) -> (ServedJob, EngineBackend, Option<impl FnOnce() + Send + 'static>) {
        self.knowledge.watch_verifier();
        let knowledge = Arc::downgrade(&self.knowledge);
        let truth = self.truth.map(|(truth, planning)| {
            move || {
                find_out(truth, &knowledge);
                drop(planning);
            }
        });
        let served = ServedJob {
            instructions: self.instructions,
            spec: self.spec,
            due,
            done: self.done,
            growth: self.growth,
        };
        let backend = EngineBackend::new(self.knowledge, OwnWorker::new(self.program));
        (served, backend, truth)
    }
}

/// The leases of an earlier run that may still be worked at: those of provers that this machine
/// `owns` ended with it.
pub(super) fn outlived(owns: bool, leased: Vec<Held>) -> Vec<Held> {
    if owns { Vec::new() } else { leased }
}

impl<'a> Beginning<'a> {
    /// Plans the job, unless an earlier run has, until there are tasks. Segments are given out
    /// before that if the job is large and `may_begin`, which gets their number, says so. What goes
    /// on afterwards does so in threads of `scope`, until the job is planned or its children are
    /// stopped. `planning` is held until its children are gone.
    pub(super) fn begin<'scope>(
        self,
        opened: Opened,
        scope: &'scope Scope<'scope, 'a>,
        may_begin: impl Fn(usize) -> bool,
        planning: Planning,
        observer: &mut dyn Observer,
    ) -> Result<Begun, RunError> {
        let Self { options, hands, .. } = self;
        let began = |stopper| self.children.register(stopper);
        let earlier = opened.earlier(options)?;
        let outset = Outset::new(opened, self.job, options, began, observer)?;
        if let Some(planned) = earlier {
            outset.store.forget_growing()?;
            let prepared = outset.planned(planned, Usage::default())?;
            observer.event(&prepared.planned_event(hands));
            return self.planned(prepared, None, planning);
        }
        observer.event(&Event::Planning);
        let mut growing = Growing {
            memory_bytes: options.memory.bytes(),
            engine: outset.engine(),
            from: stream_from(hands),
        };
        // An earlier run has given out segments of this plan: it has to be the same again.
        let before = outset.store.growing_for(growing.memory_bytes, growing.engine)?;
        growing.from = before.map_or(growing.from, |before| before.from);
        let (tell, news) = mpsc::channel();
        let planner = outset.clone();
        let of_planner = planning.clone();
        scope.spawn(move || {
            self.plan(&planner, growing.from, &tell);
            drop(of_planner);
        });
        let mut first = Vec::new();
        let begun = loop {
            match news.recv().expect("the planner says how it has ended") {
                News::Cut(segments) => {
                    first.extend(segments);
                    if may_begin(first.len()) {
                        break None;
                    }
                }
                News::Planned(made) => break Some(made),
            }
        };
        match begun {
            None => {
                let leased = match before {
                    Some(_) => outset.store.leases()?,
                    None => Vec::new(),
                };
                outset.store.set_growing(growing)?;
                self.growing(outset, first, leased, news, (scope, planning), observer)
            }
            Some(made) => {
                let (planned, usage, child) = *made?;
                match before {
                    // Peers may be at the segments that the earlier run gave out.
                    Some(_) => outset.store.settle_planned(&planned)?,
                    None => outset.store.set_planned(&planned)?,
                }
                let prepared = outset.planned(planned, usage)?;
                observer.event(&prepared.planned_event(hands));
                self.planned(prepared, Some(child), planning)
            }
        }
    }

    /// Another child with the job loaded, which ends with the job.
    fn child(self) -> Result<LimitedWorker, WorkerError> {
        start_child(self.job, self.options, |stopper| self.children.register(stopper))
    }

    /// Executes, and tells of the plan.
    fn plan(self, outset: &Outset, from: u32, tell: &mpsc::Sender<News>) {
        let plan = || -> Result<Box<Made>, RunError> {
            let Options { worker, memory, .. } = self.options;
            let config = self.job.program_config.as_deref();
            let mut told = false;
            let made = with_readable_keys(worker, *memory, config, || {
                if told {
                    let text = "it told of segments, and then that it cannot read its keys";
                    return Err(WorkerError::Protocol(text.into()));
                }
                let mut child = self.child()?;
                let cut = &mut |segments| {
                    told = true;
                    // If nobody listens, the job is over.
                    let _ = tell.send(News::Cut(segments));
                };
                let (planned, usage) = outset.choose(&mut child, self.options, self.hands, from, cut)?;
                Ok((planned, usage, child))
            })?;
            Ok(Box::new(made))
        };
        let _ = tell.send(News::Planned(plan()));
    }

    /// A job whose plan is there.
    fn planned(
        self,
        mut prepared: Prepared,
        planner: Option<LimitedWorker>,
        planning: Planning,
    ) -> Result<Begun, RunError> {
        if prepared.done.contains_key(&TaskId::Final) {
            return Ok(Begun::Done(Box::new(prepared)));
        }
        let leased = std::mem::take(&mut prepared.leased);
        let leased = self.leased(&prepared.store, leased)?;
        let truth = match prepared.store.truth()? {
            Some(truth) if truth.len() == prepared.plan.segments.len() => Truth::Known(truth),
            _ => {
                let child = planner.map_or_else(|| self.child(), Ok)?;
                Truth::Unknown(Box::new(child))
            }
        };
        let mut spec = prepared.spec(self.options, leased);
        spec.own_final = self.own_final();
        let done = prepared.done.iter();
        Ok(Begun::Open(Box::new(Open {
            program: Arc::clone(&prepared.program),
            instructions: prepared.plan.instructions,
            spec,
            done: done.map(|(&task, entry)| (task, entry.proof)).collect(),
            growth: None,
            truth: Some((truth, planning)),
            knowledge: Knowledge::new(Stage::Planned(Arc::new(prepared))),
        })))
    }

    /// What of these has [`outlived`] the earlier run; the store forgets the others.
    fn leased(self, store: &crate::Store, leased: Vec<Held>) -> Result<Vec<Held>, RunError> {
        if self.owns {
            store.note_leases(&[], &leased)?;
        }
        Ok(outlived(self.owns, leased))
    }

    /// Nothing is proven for the final proof of this form, so that to ask a prover for it would
    /// only take longer.
    fn own_final(self) -> bool {
        self.options.final_form == FinalForm::Fast
    }

    /// A job whose first segments are known. Others go on planning, and finding out the truth.
    fn growing<'scope>(
        self,
        outset: Outset,
        segments: Vec<Segment>,
        leased: Vec<Held>,
        news: mpsc::Receiver<News>,
        (scope, planning): (&'scope Scope<'scope, 'a>, Planning),
        observer: &mut dyn Observer,
    ) -> Result<Begun, RunError> {
        let leased = self.leased(&outset.store, leased)?;
        let (grow, growth) = unbounded_channel();
        let (more, cut) = mpsc::channel();
        let mut forward = Forward {
            beginning: self,
            knowledge: Knowledge::new(Stage::Growing(Vec::new(), Box::new(outset.clone()))),
            outset,
            known: 0,
            instructions: 0,
            done: BTreeMap::new(),
        };
        let (costs, done, event) = forward.cut(&segments)?;
        observer.event(&event);
        let outset = &forward.outset;
        let open = Open {
            program: Arc::clone(&outset.program),
            instructions: forward.instructions,
            spec: JobSpec {
                id: outset.id,
                tree: Tree::growing(forward.known as u32),
                costs,
                priority: self.options.priority,
                deadline: None,
                own_final: self.own_final(),
                done: done.iter().map(|&(task, proof)| (task, proof.blob)).collect(),
                leased,
            },
            done: done.into_iter().collect(),
            growth: Some(growth),
            truth: None,
            knowledge: Arc::clone(&forward.knowledge),
        };
        let knowledge = Arc::clone(&forward.knowledge);
        scope.spawn(move || {
            self.follow(&knowledge, &cut);
            drop(planning);
        });
        scope.spawn(move || forward.run(&news, &grow, &more));
        Ok(Begun::Open(Box::new(open)))
    }

    /// Finds out the truth about segments while they are cut. A child executes the program once,
    /// from one segment to the next; if it dies, another one does so from the start.
    fn follow(self, knowledge: &Knowledge, more: &mpsc::Receiver<()>) {
        let mut child = None;
        // Segments that the child has executed, and the most that any has.
        let (mut executed, mut most) = (0, 0);
        let mut deaths = 0;
        while let Some((count, is_whole)) = knowledge.first_count() {
            if executed == count {
                if is_whole {
                    // Its memory is wanted elsewhere.
                    drop(child);
                    return keep_truth(knowledge);
                }
                if more.recv().is_err() && knowledge.first_count() == Some((count, false)) {
                    return knowledge.never("there is no plan".into());
                }
                continue;
            }
            match self.boundaries(&mut child, &knowledge.segments(executed..count)) {
                Ok(boundaries) => {
                    if !knowledge.learn(executed, &boundaries) {
                        return;
                    }
                    executed = count;
                    if executed > most {
                        (most, deaths) = (executed, 0);
                    }
                }
                Err(e) => {
                    deaths += 1;
                    let is_final = matches!(e, WorkerError::Failed(_)) || deaths == DEATHS_MAX;
                    if is_final || self.children.are_stopped() {
                        return knowledge.never(e.to_string());
                    }
                    tracing::warn!("the engine child that finds true boundaries is started again: {e}");
                    (child, executed) = (None, 0);
                    thread::sleep(RESTART_PAUSE);
                }
            }
        }
    }

    /// The boundaries of the segments that follow those which the child has executed; it is started
    /// if there is none.
    fn boundaries(
        self,
        child: &mut Option<LimitedWorker>,
        segments: &[Segment],
    ) -> Result<Vec<Boundary>, WorkerError> {
        let child = match child {
            Some(child) => child,
            None => child.insert(self.child()?),
        };
        child
            .within(|child| child.boundaries(segments))
            .map(|(boundaries, _)| boundaries)
    }
}

/// Passes the plan on as it is made: to the backend, and then to the driver.
struct Forward<'a> {
    beginning: Beginning<'a>,
    outset: Outset,
    knowledge: Arc<Knowledge>,
    /// Segments, and instructions in them.
    known: usize,
    instructions: u64,
    /// What an earlier run has left of them.
    done: BTreeMap<TaskId, Entry>,
}

/// The costs of segments, their proofs of an earlier run, and the event that tells of them.
type Cut = (Vec<Cost>, Vec<(TaskId, BlobRef)>, Event);

impl Forward<'_> {
    fn run(mut self, news: &mpsc::Receiver<News>, grow: &UnboundedSender<Growth>, more: &mpsc::Sender<()>) {
        // The planner ends with a plan, or says why there is none.
        for news in news {
            let growth = match news {
                News::Cut(segments) => self.cut(&segments).map(|(costs, done, event)| Growth::Cut {
                    costs,
                    done,
                    instructions: self.instructions,
                    event,
                }),
                News::Planned(made) => made.and_then(|made| {
                    let (planned, usage, child) = *made;
                    drop(child);
                    self.settled(planned, usage)
                }),
            };
            let is_over = growth.is_err();
            // If nobody listens, the job is over.
            let _ = grow.send(growth.unwrap_or_else(Growth::Failed));
            if is_over {
                // What comes would not follow what is known.
                return;
            }
            let _ = more.send(());
        }
    }

    /// Further segments are known.
    fn cut(&mut self, segments: &[Segment]) -> Result<Cut, RunError> {
        let outset = &self.outset;
        let keys = segments.iter().map(|segment| {
            let key = TaskKey::segment(segment.instret_start, segment.num_insns);
            (TaskId::Segment(segment.index), key)
        });
        let done = outset.store.entries(keys)?;
        let costs = segments.iter().map(|segment| outset.segment_cost(segment));
        let costs = costs.collect();
        let left = done.iter().map(|(&task, entry)| (task, entry.proof)).collect();
        self.knowledge.grow(segments);
        self.known += segments.len();
        self.instructions += segments.iter().map(|segment| segment.num_insns).sum::<u64>();
        let kept = done.keys().copied().collect();
        self.done.extend(done);
        let event = Event::Cut {
            segments: self.known,
            provers: self.beginning.hands.children,
            reused: self.done.len(),
            kept,
        };
        Ok((costs, left, event))
    }

    /// The plan is there.
    fn settled(&mut self, planned: Planned, usage: Usage) -> Result<Growth, RunError> {
        self.outset.store.settle_planned(&planned)?;
        let mut prepared = self.outset.planned(planned, usage)?;
        // What this run has accepted meanwhile is not left by an earlier one. Neither is a node
        // over such a segment: provers are at others that it needs.
        let (known, before) = (self.known, &self.done);
        let segments = (0..prepared.plan.segments.len()).map(|index| {
            let task = TaskId::Segment(index as u32);
            let left = if index < known { before } else { &prepared.done };
            left.contains_key(&task)
        });
        let left: Vec<bool> = segments.collect();
        let is_over_left = prepared.tree.covers_only(&left);
        prepared
            .done
            .retain(|task, _| *task != TaskId::Final && is_over_left(*task));
        drop(is_over_left);
        let is_new = |task: &TaskId| !matches!(task, TaskId::Segment(index) if (*index as usize) < known);
        let new = prepared.done.iter().filter(|(task, _)| is_new(task));
        let settled = Growth::Settled {
            tree: prepared.tree.clone(),
            costs: prepared.costs[known..].to_vec(),
            done: new.map(|(&task, entry)| (task, entry.proof)).collect(),
            instructions: prepared.plan.instructions,
            event: prepared.planned_event(self.beginning.hands),
        };
        self.knowledge.settle(prepared);
        Ok(settled)
    }
}

#[cfg(test)]
mod tests;
