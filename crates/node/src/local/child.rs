//! The thread beside each engine child: has it work, and verifies what it makes.

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
    Boundary, Verifier, VerifyError,
    worker::{Stopper, Usage, Worker},
};

use crate::{
    Job, Options, RunError,
    job::{Prepared, check_final, level, start_child},
};

/// What a child's thread is told.
pub(super) enum Command {
    Do(TaskId),
    /// Verify what it has just made.
    Check(TaskId, Vec<u8>),
}

/// What it answers.
pub(super) enum Answer {
    /// The child made a proof, or it did not.
    Done(Result<(Vec<u8>, Usage), RunError>),
    /// The proof holds, and says where its piece starts and ends; the final proof covers all.
    Checked(Vec<u8>, Result<Option<Boundary>, VerifyError>),
}

/// What all threads work with.
pub(super) struct Shared<'a> {
    pub job: &'a Job,
    pub options: &'a Options,
    pub prepared: &'a Prepared,
    pub verifier: &'a Verifier,
    pub stoppers: Stoppers,
}

/// What ends the children of all threads.
#[derive(Default)]
pub(super) struct Stoppers(Mutex<State>);

#[derive(Default)]
struct State {
    stopped: bool,
    of_child: HashMap<usize, Stopper>,
}

impl Stoppers {
    /// Ends the children that there are, and those that may still be started.
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
    /// Does what it is told until nobody is left who could tell it. A child that dies is replaced when
    /// there is work again.
    pub(super) fn serve(
        &self,
        child: usize,
        mut worker: Option<Worker>,
        commands: &Receiver<Command>,
        answers: &Sender<(usize, TaskId, Answer)>,
    ) {
        while let Ok(command) = commands.recv() {
            let (Command::Do(task) | Command::Check(task, _)) = command;
            // Without an answer the driver would wait for ever.
            let answer = panic::catch_unwind(AssertUnwindSafe(|| match command {
                Command::Do(task) => Answer::Done(self.work(child, &mut worker, task)),
                Command::Check(task, proof) => {
                    let checked = self.check(task, &proof);
                    Answer::Checked(proof, checked)
                }
            }))
            .unwrap_or_else(|panic| {
                let said = panic.downcast_ref::<String>().map(String::as_str);
                let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
                Answer::Done(Err(RunError::Bug {
                    task,
                    reason: said.unwrap_or("no message").to_owned(),
                }))
            });
            if answers.send((child, task, answer)).is_err() {
                return;
            }
        }
    }

    fn work(
        &self,
        child: usize,
        worker: &mut Option<Worker>,
        task: TaskId,
    ) -> Result<(Vec<u8>, Usage), RunError> {
        // One that fails is dropped here, which ends it.
        let mut started = match worker.take() {
            Some(worker) => worker,
            None => start_child(self.job, self.options)?,
        };
        self.stoppers.register(child, started.stopper());
        let made = match task {
            TaskId::Segment(index) => started.prove(&self.prepared.plan.segments[index as usize])?,
            TaskId::Node(node) => {
                let children = self.prepared.tree.children(task).map(|child| self.stored(child));
                let children = children.collect::<Result<_, _>>()?;
                started.aggregate(level(node.level), children)?
            }
            TaskId::Final => {
                let top = self.prepared.tree.top();
                let last = TaskId::Segment(self.prepared.tree.segments() - 1);
                started.finish(
                    level(top.level),
                    self.stored(TaskId::Node(top))?,
                    self.stored(last)?,
                )?
            }
        };
        *worker = Some(started);
        Ok(made)
    }

    fn check(&self, task: TaskId, proof: &[u8]) -> Result<Option<Boundary>, VerifyError> {
        match task {
            TaskId::Segment(index) => {
                let last = self.prepared.plan.segments[index as usize].last;
                let public_values = last.then_some(self.prepared.plan.public_values.as_slice());
                self.verifier.segment(proof, public_values).map(Some)
            }
            TaskId::Node(node) => self.verifier.node(level(node.level), proof).map(Some),
            TaskId::Final => check_final(self.verifier, &self.prepared.plan, proof).map(|()| None),
        }
    }

    fn stored(&self, task: TaskId) -> Result<Vec<u8>, RunError> {
        let store = &self.prepared.store;
        let accepted = store
            .get(self.prepared.keys[&task])?
            .ok_or_else(|| store.vanished())?;
        Ok(accepted.proof)
    }
}
