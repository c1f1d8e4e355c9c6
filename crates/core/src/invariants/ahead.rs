//! A lease ahead keeps nobody from its task.

use std::collections::{BTreeMap, BTreeSet};

use super::Checker;
use crate::{Blob, Event, Input, JobId, Output, Peer, Requester, Stage, TaskId, TaskRef, Time, Tree};

/// A lease ahead is of a task that nobody holds. All that it is made of is durable, but for a proof
/// that the same peer has submitted. Only peers that have delivered have one, and one each. Whoever
/// else gets the task, the peer that had it ahead hears of it before.
#[derive(Clone, Debug, Default)]
pub struct Ahead {
    trees: BTreeMap<JobId, Tree>,
    asked: BTreeSet<(TaskRef, Blob)>,
    done: BTreeSet<TaskRef>,
    ahead: BTreeMap<Peer, TaskRef>,
    /// Proofs that peers have submitted of tasks that are not done.
    submitted: BTreeSet<(Peer, TaskRef)>,
}

impl Checker for Ahead {
    const RULE: &'static str =
        "a lease ahead is of a peer that has delivered, and keeps nobody from its task";

    fn input(&mut self, _now: Time, input: &Input) {
        match input {
            Input::Open(spec) if !self.trees.contains_key(&spec.id) => {
                let job = spec.id;
                self.trees.insert(job, spec.tree.clone());
                let done = spec.done.iter().map(|&(task, _)| TaskRef { job, task });
                self.done.extend(done);
            }
            Input::Persisted { task, proof } if self.asked.contains(&(*task, *proof)) => {
                self.done.insert(*task);
            }
            Input::Submitted { peer, task, .. } => {
                self.submitted.insert((*peer, *task));
            }
            Input::Returned { peer, task, .. } if self.ahead.get(peer) == Some(task) => {
                self.ahead.remove(peer);
            }
            // Whoever makes an offer knows of none, unless it has done it.
            Input::Offer { peer, .. } => {
                let submitted = &self.submitted;
                let unknown = |task: &TaskRef| !submitted.contains(&(*peer, *task));
                if self.ahead.get(peer).is_some_and(unknown) {
                    self.ahead.remove(peer);
                }
            }
            Input::PeerLost { peer } => drop(self.ahead.remove(peer)),
            _ => {}
        }
    }

    fn output(&mut self, _now: Time, output: &Output) -> Result<(), String> {
        match output {
            Output::Announce { job, open: false } => {
                self.trees.remove(job);
                self.done.retain(|task| task.job != *job);
                self.asked.retain(|(task, _)| task.job != *job);
                self.submitted.retain(|(_, task)| task.job != *job);
            }
            Output::Persist { task, proof, .. } => drop(self.asked.insert((*task, *proof))),
            Output::Event(Event::Refuted { task, proof, .. } | Event::Reopened { task, proof, .. }) => {
                self.done.remove(task);
                self.asked.remove(&(*task, *proof));
                self.submitted.retain(|(_, other)| other != task);
            }
            Output::Revoke { peer, task, .. } if self.ahead.get(peer) == Some(task) => {
                self.ahead.remove(peer);
            }
            Output::Begun { peer, task, .. } => {
                if self.ahead.remove(peer) != Some(*task) {
                    return Err(format!("{peer:?} begins with {task}, which it has not ahead"));
                }
            }
            Output::Lease { peer, task, .. } => {
                let other = self.ahead.iter().find(|(_, ahead)| *ahead == task);
                if let Some((other, _)) = other {
                    return Err(format!("{peer:?} gets {task}, and {other:?} has it ahead"));
                }
            }
            Output::LeaseAhead { peer, task, .. } => {
                self.submitted.remove(&(*peer, *task));
                let missing = self.missing(*peer, *task);
                if !missing.is_empty() {
                    return Err(format!("{peer:?} gets {task} ahead, and {missing:?} are missing"));
                }
                if let Some(other) = self.ahead.insert(*peer, *task) {
                    return Err(format!("{peer:?} gets {task} ahead, and has {other}"));
                }
                if self.ahead.values().filter(|ahead| *ahead == task).count() > 1 {
                    return Err(format!("{peer:?} gets {task} ahead, as another one has"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn settled(&mut self, requester: &Requester) -> Result<(), String> {
        let ahead: BTreeMap<Peer, TaskRef> = requester.leases_ahead().collect();
        if ahead != self.ahead {
            return Err(format!(
                "{ahead:?} are ahead, and {:?} were given out",
                self.ahead
            ));
        }
        for (peer, task) in &self.ahead {
            if !requester.standing(*peer).is_some_and(crate::Standing::is_proven) {
                return Err(format!("{peer:?} has {task} ahead, and has not delivered"));
            }
            let stages = requester.stages(task.job);
            let stage = stages.iter().find(|(other, _)| *other == task.task);
            if !matches!(stage, Some((_, Stage::Ready | Stage::Waiting(1)))) {
                return Err(format!("{task} is ahead at {peer:?}, and {stage:?}"));
            }
        }
        Ok(())
    }
}

impl Ahead {
    /// What a task is made of that is neither durable nor the peer's own.
    fn missing(&self, peer: Peer, task: TaskRef) -> Vec<TaskId> {
        let Some(tree) = self.trees.get(&task.job) else {
            return vec![task.task];
        };
        let is_there = |child: &TaskId| {
            let child = TaskRef { task: *child, ..task };
            self.done.contains(&child) || self.submitted.contains(&(peer, child))
        };
        tree.children(task.task)
            .filter(|child| !is_there(child))
            .collect()
    }
}
