//! The thread beside each engine child. It hands tasks to the child, and has its proofs verified.

use std::{
    collections::HashMap,
    panic::{self, AssertUnwindSafe},
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, Sender},
    },
};

use myriad_core::TaskId;
use myriad_engine::{
    Boundary, Statement,
    worker::{Stopper, Usage},
};

use crate::{
    Job, Options, RunError,
    group::LimitedWorker,
    job::{Prepared, level, start_child},
    text::of_panic,
    verifier_pool::{NoVerifier, Objection},
};

/// A command for a child's thread.
pub(super) enum Command {
    Do(TaskId),
    /// Verify the proof that it has just made.
    Check(TaskId, Vec<u8>),
}

/// Its answer.
pub(super) enum Answer {
    /// The child has made a proof, or has failed to.
    Done(Result<(Vec<u8>, Usage), RunError>),
    /// The proof of this task, which the other one is made from, is damaged or missing on the disk.
    Lost(TaskId),
    /// The proof is valid, and shows where its piece starts and ends; the final proof covers
    /// everything.
    Checked(Vec<u8>, Result<Option<Boundary>, String>),
}

/// The tools that all threads share.
pub(super) struct Shared<'a> {
    pub job: &'a Job,
    pub options: &'a Options,
    pub prepared: &'a Prepared,
    pub statement: &'a Statement,
    pub stoppers: Stoppers,
}

/// The stoppers of all threads' children.
#[derive(Default)]
pub(super) struct Stoppers(Mutex<State>);

#[derive(Default)]
struct State {
    stopped: bool,
    of_child: HashMap<usize, Stopper>,
}

impl Stoppers {
    /// Ends the running children, and those that may still be started.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        state.of_child.values().for_each(Stopper::stop);
    }

    fn register(&self, child: usize, stopper: Stopper) {
        let mut state = self.lock();
        if state.stopped {
            stopper.stop();
        }
        state.of_child.insert(child, stopper);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared<'_> {
    /// Carries out commands until nobody is left to send one. A child that dies is replaced when
    /// there is work again.
    pub(super) fn serve(
        &self,
        child: usize,
        mut worker: Option<LimitedWorker>,
        commands: &Receiver<Command>,
        answers: &Sender<(usize, TaskId, Answer)>,
    ) {
        while let Ok(command) = commands.recv() {
            let (Command::Do(task) | Command::Check(task, _)) = command;
            // The driver would wait for ever without an answer.
            let answer = panic::catch_unwind(AssertUnwindSafe(|| match command {
                Command::Do(task) => match self.inputs(task) {
                    Ok(Ok(proofs)) => Answer::Done(self.work(child, &mut worker, task, proofs)),
                    Ok(Err(lost)) => Answer::Lost(lost),
                    Err(e) => Answer::Done(Err(e)),
                },
                Command::Check(task, proof) => match self.prepared.verify(task, &proof) {
                    Ok(boundary) => Answer::Checked(proof, Ok(boundary)),
                    Err(Objection::Invalid(reason) | Objection::OtherProgram(reason)) => {
                        Answer::Checked(proof, Err(reason))
                    }
                    Err(Objection::Unable(reason)) => Answer::Done(Err(NoVerifier { reason }.into())),
                },
            }))
            .unwrap_or_else(|panic| {
                let reason = format!("at {task}: {}", of_panic(&*panic));
                Answer::Done(Err(RunError::Panicked { reason }))
            });
            if answers.send((child, task, answer)).is_err() {
                return;
            }
        }
    }

    fn work(
        &self,
        child: usize,
        worker: &mut Option<LimitedWorker>,
        task: TaskId,
        proofs: Vec<Vec<u8>>,
    ) -> Result<(Vec<u8>, Usage), RunError> {
        // One that fails is dropped here, which ends it.
        let mut started = match worker.take() {
            Some(worker) => {
                self.stoppers.register(child, worker.stopper());
                worker
            }
            None => start_child(self.job, self.options, |stopper| {
                self.stoppers.register(child, stopper);
            })?,
        };
        let made = started.within(|child| match task {
            TaskId::Segment(index) => child.prove(&self.prepared.plan.segments[index as usize]),
            TaskId::Node(node) => child.aggregate(level(node.level), proofs),
            TaskId::Final => {
                let top = self.prepared.tree.top();
                let [proof, last] = <[Vec<u8>; 2]>::try_from(proofs).expect("it takes two");
                child.finish(level(top.level), self.options.final_form, proof, last)
            }
        })?;
        *worker = started.if_left();
        Ok(made)
    }

    /// The proofs that a task takes, in order, or the task whose proof is missing.
    fn inputs(&self, task: TaskId) -> Result<Result<Vec<Vec<u8>>, TaskId>, RunError> {
        let Prepared {
            tree, store, keys, ..
        } = self.prepared;
        let last = (task == TaskId::Final).then_some(TaskId::Segment(tree.segments() - 1));
        let mut proofs = Vec::new();
        for input in tree.children(task).chain(last) {
            match store.get(keys[&input])? {
                Some(accepted) => proofs.push(accepted.proof),
                None => return Ok(Err(input)),
            }
        }
        Ok(Ok(proofs))
    }
}
