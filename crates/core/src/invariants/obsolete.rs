//! A proof becomes obsolete only after all that is made from it is durable.

use std::collections::{BTreeMap, BTreeSet};

use super::Checker;
use crate::{Blob, Event, Input, JobId, Output, TaskId, TaskRef, Time, Tree};

/// A proof may be dropped only when the one made from it is durable. The final proof takes the last
/// segment's proof too, so that one may be dropped only when the final proof is durable.
#[derive(Clone, Debug, Default)]
pub struct Obsolete {
    trees: BTreeMap<JobId, Tree>,
    /// Proofs that the caller was asked to persist since the job was opened.
    to_persist: BTreeSet<(TaskRef, Blob)>,
    durable: BTreeSet<TaskRef>,
}

impl Obsolete {
    /// A job whose plan grows has tasks with these proofs of an earlier run.
    fn restores(&mut self, job: JobId, done: &[(TaskId, Blob)]) {
        if self.trees.get(&job).is_some_and(Tree::is_growing) {
            // Those of nodes do not count.
            let segments = done.iter().filter(|(task, _)| matches!(task, TaskId::Segment(_)));
            self.durable
                .extend(segments.map(|&(task, _)| TaskRef { job, task }));
        }
    }
}

impl Checker for Obsolete {
    const RULE: &'static str = "a proof becomes obsolete only after all that is made from it is durable";

    fn input(&mut self, _now: Time, input: &Input) {
        match input {
            Input::Open(spec) if !self.trees.contains_key(&spec.id) => {
                let job = spec.id;
                self.trees.insert(job, spec.tree.clone());
                self.durable
                    .extend(spec.done.iter().map(|&(task, _)| TaskRef { job, task }));
            }
            Input::Grow { job, done, .. } => self.restores(*job, done),
            Input::Settle { job, tree, done, .. } => {
                self.restores(*job, done);
                if let Some(grown) = self.trees.get_mut(job).filter(|tree| tree.is_growing()) {
                    *grown = tree.clone();
                }
            }
            Input::Persisted { task, proof } if self.to_persist.contains(&(*task, *proof)) => {
                self.durable.insert(*task);
            }
            _ => {}
        }
    }

    fn output(&mut self, _now: Time, output: &Output) -> Result<(), String> {
        if let Output::Announce { job, open: false } = output {
            // If the job is opened again, it starts from what the caller has kept.
            self.trees.remove(job);
            self.durable.retain(|task| task.job != *job);
            self.to_persist.retain(|(task, _)| task.job != *job);
        }
        if let Output::Persist { task, proof, .. } = output {
            self.to_persist.insert((*task, *proof));
        }
        if let Output::Event(Event::Refuted { task, proof, .. } | Event::Reopened { task, proof, .. }) =
            output
        {
            self.durable.remove(task);
            self.to_persist.remove(&(*task, *proof));
        }
        let Output::Obsolete { task } = output else {
            return Ok(());
        };
        let tree = &self.trees[&task.job];
        if tree.is_growing() {
            return Err(format!("{task} is obsolete, and what takes it is not known yet"));
        }
        let parent = tree
            .parent(task.task)
            .ok_or_else(|| format!("{task} is what the job is for"))?;
        let mut takers = vec![parent];
        if task.task == TaskId::Segment(tree.segments() - 1) {
            takers.push(TaskId::Final);
        }
        let missing = takers.into_iter().find(|&taker| {
            let taker = TaskRef {
                job: task.job,
                task: taker,
            };
            !self.durable.contains(&taker)
        });
        missing.map_or(Ok(()), |taker| {
            Err(format!("{task} is obsolete, but {taker} is not durable"))
        })
    }
}
