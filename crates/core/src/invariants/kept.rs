//! An accepted proof is neither lost nor replaced.

use std::collections::{BTreeMap, BTreeSet};

use super::Checker;
use crate::{Blob, Event, Input, JobId, Output, Requester, TaskId, TaskRef, Time, TrialVerdict};

/// An accepted proof stays what it was: one proof for each task, for as long as the job is open.
///
/// There are two exceptions. A proof that the caller has refuted, when it was asked to do the node
/// above, is given up, and is never kept again. A proof that the caller has lost, or doubts, is
/// given up too, and may come again.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    accepted: BTreeMap<TaskRef, Blob>,
    durable: BTreeMap<TaskRef, Blob>,
    /// Proofs that an earlier run has left.
    restored: BTreeMap<TaskRef, Blob>,
    /// Tasks that the caller was asked to do itself.
    tries: BTreeSet<TaskRef>,
    /// Proofs that the caller has refuted by trying, and those of them that were given up.
    refuted: BTreeSet<(TaskRef, Blob)>,
    given_up: BTreeSet<(TaskRef, Blob)>,
    /// Proofs that the caller has lost, or doubts.
    lost: BTreeSet<(TaskRef, Blob)>,
}

impl Kept {
    /// An earlier run has left these proofs.
    fn restores(&mut self, job: JobId, done: &[(TaskId, Blob)]) {
        let done = done.iter().map(|&(task, proof)| (TaskRef { job, task }, proof));
        self.restored.extend(done);
    }
}

impl Checker for Kept {
    const RULE: &'static str =
        "an accepted proof is neither lost nor replaced, unless it was refuted or lost";

    fn input(&mut self, _now: Time, input: &Input) {
        match input {
            Input::Open(spec) => self.restores(spec.id, &spec.done),
            Input::Grow { job, done, .. } | Input::Settle { job, done, .. } => self.restores(*job, done),
            Input::Persisted { task, proof } if self.accepted.get(task) == Some(proof) => {
                self.durable.insert(*task, *proof);
            }
            Input::Lost { task, proof } => {
                self.lost.insert((*task, *proof));
            }
            Input::Tried { task, outcome } => {
                let of = |child: &TaskId| TaskRef {
                    task: *child,
                    ..*task
                };
                if self.tries.remove(task) {
                    match outcome {
                        TrialVerdict::Refuted { child, proof, .. } => {
                            self.refuted.insert((of(child), *proof));
                        }
                        TrialVerdict::Doubted { child, proof, .. } => {
                            self.lost.insert((of(child), *proof));
                        }
                        TrialVerdict::Made { .. } | TrialVerdict::Unable => {}
                    }
                }
            }
            _ => {}
        }
    }

    fn output(&mut self, _now: Time, output: &Output) -> Result<(), String> {
        match output {
            Output::Persist { task, proof, .. } => {
                if self.given_up.contains(&(*task, *proof)) {
                    return Err(format!("{task} is done with {proof:?}, which was refuted"));
                }
                match self.accepted.insert(*task, *proof) {
                    Some(before) => Err(format!("{task} had {before:?} and now has {proof:?}")),
                    None => Ok(()),
                }
            }
            Output::Try { task } => {
                self.tries.insert(*task);
                Ok(())
            }
            Output::Event(Event::Refuted { task, proof, .. }) => {
                let durable = self.durable.remove(task).or(self.restored.remove(task));
                self.accepted.remove(task);
                if durable != Some(*proof) || !self.refuted.remove(&(*task, *proof)) {
                    return Err(format!("{task} is given up, and nobody has refuted {proof:?}"));
                }
                self.given_up.insert((*task, *proof));
                Ok(())
            }
            Output::Event(Event::Reopened { task, proof, .. }) => {
                let durable = self.durable.remove(task).or(self.restored.remove(task));
                self.accepted.remove(task);
                if durable != Some(*proof) || !self.lost.remove(&(*task, *proof)) {
                    return Err(format!("{task} is given up, and nobody has lost {proof:?}"));
                }
                Ok(())
            }
            Output::Announce { job, open: false } => {
                // The job is over. If it is opened again it starts from what the caller has kept.
                for proofs in [&mut self.accepted, &mut self.durable, &mut self.restored] {
                    proofs.retain(|task, _| task.job != *job);
                }
                for proofs in [&mut self.refuted, &mut self.given_up, &mut self.lost] {
                    proofs.retain(|(task, _)| task.job != *job);
                }
                self.tries.retain(|task| task.job != *job);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn settled(&mut self, requester: &Requester) -> Result<(), String> {
        let lost = self
            .durable
            .iter()
            .find(|(task, proof)| requester.proof(**task) != Some(**proof));
        match lost {
            Some((task, proof)) => Err(format!("{task} was done with {proof:?}, and is not any more")),
            None => Ok(()),
        }
    }
}
