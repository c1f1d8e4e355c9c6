//! A plan that grows has segments and nothing else, and takes nothing from anybody.

use std::collections::BTreeMap;

use super::Checker;
use crate::{Event, Input, JobId, Output, Peer, Requester, TaskId, TaskRef, Time, Tree};

/// While a plan grows, its job has the segments that are known, and it cannot be done. To grow or
/// to settle it ends no lease and gives no proof up, and the job has all tasks of the plan from
/// then on.
#[derive(Clone, Debug, Default)]
pub struct Grown {
    /// The plans of all jobs, as far as they are known.
    trees: BTreeMap<JobId, Tree>,
    /// The job whose plan has just grown or was settled.
    grew: Option<JobId>,
    /// The job that was just closed while its plan grew.
    closed: Option<JobId>,
    /// The leases of each job whose plan grew, when the state was looked at last.
    held: BTreeMap<JobId, Vec<(TaskId, Peer)>>,
    /// Whether the state was looked at after the input before this one, and after this one.
    looked_before: bool,
    looked: bool,
}

impl Grown {
    fn is_growing(&self, job: JobId) -> bool {
        self.trees.get(&job).is_some_and(Tree::is_growing)
    }

    /// An output is about a task.
    fn is_known(&self, task: TaskRef, what: &str) -> Result<(), String> {
        match self.trees.get(&task.job) {
            Some(tree) if !tree.contains(task.task) => {
                Err(format!("{task} is {what}, and the plan has no such task yet"))
            }
            _ => Ok(()),
        }
    }
}

impl Checker for Grown {
    const RULE: &'static str =
        "a plan that grows has segments and nothing else, and takes nothing from anybody";

    fn input(&mut self, _now: Time, input: &Input) {
        self.looked_before = std::mem::take(&mut self.looked);
        (self.grew, self.closed) = (None, None);
        match input {
            Input::Open(spec) if !self.trees.contains_key(&spec.id) => {
                self.trees.insert(spec.id, spec.tree.clone());
            }
            Input::Grow { job, costs, .. } if self.is_growing(*job) => {
                let segments = self.trees[job].segments() + costs.len() as u32;
                self.trees.insert(*job, Tree::growing(segments));
                self.grew = Some(*job);
            }
            Input::Settle { job, tree, .. } if self.is_growing(*job) => {
                self.trees.insert(*job, tree.clone());
                self.grew = Some(*job);
            }
            _ => {}
        }
    }

    fn output(&mut self, _now: Time, output: &Output) -> Result<(), String> {
        match output {
            Output::Lease { task, .. } => self.is_known(*task, "given out"),
            Output::Check { task, .. } => self.is_known(*task, "checked"),
            Output::Persist { task, .. } => self.is_known(*task, "kept"),
            Output::Try { task } => self.is_known(*task, "the caller's"),
            Output::Revoke { peer, task, .. } if self.grew == Some(task.job) => Err(format!(
                "{task} is taken from {peer:?} because the plan has grown"
            )),
            Output::Event(Event::Refuted { task, .. } | Event::Reopened { task, .. })
                if self.grew == Some(task.job) =>
            {
                Err(format!("{task} is done again because the plan has grown"))
            }
            Output::Event(Event::JobDone { job }) => {
                if self.is_growing(*job) || self.closed == Some(*job) {
                    return Err(format!("{job:?} is done, and its plan is not there yet"));
                }
                self.trees.remove(job);
                Ok(())
            }
            Output::Announce { job, open: false } => {
                // The event that says that the job is done comes afterwards.
                self.closed = self.is_growing(*job).then_some(*job);
                self.trees.remove(job);
                self.held.remove(job);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn settled(&mut self, requester: &Requester) -> Result<(), String> {
        for (&job, tree) in &self.trees {
            let stages = requester.stages(job);
            let is_of_plan = stages.iter().map(|(task, _)| *task).eq(tree.tasks());
            if !stages.is_empty() && !is_of_plan {
                return Err(format!(
                    "{job:?} has {} tasks, and its plan {}",
                    stages.len(),
                    tree.task_count()
                ));
            }
        }
        if let Some(job) = self.grew.filter(|_| self.looked_before) {
            let held = self.held.get(&job).map(Vec::as_slice).unwrap_or_default();
            let now = requester.leases(job);
            if let Some((task, peer)) = held.iter().find(|lease| !now.contains(lease)) {
                return Err(format!(
                    "{peer:?} had {task} before the plan grew, and has not now"
                ));
            }
        }
        let growing = self.trees.iter().filter(|(_, tree)| tree.is_growing());
        self.held = growing.map(|(&job, _)| (job, requester.leases(job))).collect();
        self.looked = true;
        Ok(())
    }
}
