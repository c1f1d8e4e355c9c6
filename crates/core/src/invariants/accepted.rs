//! Every task that is done has a proof that was checked and accepted.

use std::collections::BTreeSet;

use super::Checker;
use crate::{Blob, Event, Input, Output, Peer, TaskRef, Time, TrialVerdict, Verdict};

/// A task is done only with a proof that a peer submitted and the caller accepted, or that the
/// caller made when it was asked to.
#[derive(Clone, Debug, Default)]
pub struct Accepted {
    submitted: BTreeSet<(TaskRef, Peer, Blob)>,
    accepted: BTreeSet<(TaskRef, Peer, Blob)>,
    persisted: BTreeSet<TaskRef>,
    /// Tasks that the caller was asked to do itself.
    tries: BTreeSet<TaskRef>,
}

impl Checker for Accepted {
    const RULE: &'static str = "a task is done only with a proof that was checked and accepted";

    fn input(&mut self, _now: Time, input: &Input) {
        match input {
            Input::Submitted { peer, task, proof } => {
                self.submitted.insert((*task, *peer, *proof));
            }
            Input::Checked {
                peer,
                task,
                proof,
                verdict: Verdict::Accepted,
            } => {
                self.accepted.insert((*task, *peer, *proof));
            }
            Input::Tried { task, outcome } => {
                if let TrialVerdict::Made { by, proof, .. } = outcome
                    && self.tries.contains(task)
                {
                    self.accepted.insert((*task, *by, *proof));
                }
                self.tries.remove(task);
            }
            Input::Persisted { task, .. } => {
                self.persisted.insert(*task);
            }
            _ => {}
        }
    }

    fn output(&mut self, _now: Time, output: &Output) -> Result<(), String> {
        match output {
            Output::Check { peer, task, proof } if !self.submitted.contains(&(*task, *peer, *proof)) => Err(
                format!("{task} is checked, but {peer:?} did not submit {proof:?}"),
            ),
            Output::Persist { peer, task, proof } if !self.accepted.contains(&(*task, *peer, *proof)) => Err(
                format!("{proof:?} of {peer:?} is kept for {task}, but was not accepted"),
            ),
            Output::Try { task } => {
                self.tries.insert(*task);
                Ok(())
            }
            Output::Event(Event::Refuted { task, .. } | Event::Reopened { task, .. }) => {
                self.persisted.remove(task);
                Ok(())
            }
            Output::Event(Event::TaskDone { task, .. }) if !self.persisted.contains(task) => {
                Err(format!("{task} is done, but not durable"))
            }
            _ => Ok(()),
        }
    }
}
