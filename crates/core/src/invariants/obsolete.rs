//! A proof becomes obsolete only after all that is made from it is durable.

use std::collections::BTreeMap;

use super::{Checker, durable::Durable};
use crate::{Blob, Input, JobId, Output, TaskId, Time, Tree};

/// A proof may be dropped only when the one made from it is durable. The final proof takes the last
/// segment's proof too, so that one may be dropped only when the final proof is durable.
#[derive(Clone, Debug, Default)]
pub struct Obsolete {
    trees: BTreeMap<JobId, Tree>,
    durable: Durable,
}

impl Obsolete {
    /// A job whose plan grows has tasks with these proofs of an earlier run.
    fn restores(&mut self, job: JobId, done: &[(TaskId, Blob)]) {
        if self.trees.get(&job).is_some_and(Tree::is_growing) {
            self.durable.grown(job, done);
        }
    }
}

impl Checker for Obsolete {
    const RULE: &'static str = "a proof becomes obsolete only after all that is made from it is durable";

    fn input(&mut self, _now: Time, input: &Input) {
        self.durable.input(input);
        match input {
            Input::Open(spec) if !self.trees.contains_key(&spec.id) => {
                let job = spec.id;
                self.trees.insert(job, spec.tree.clone());
                self.durable.opened(job, &spec.done);
            }
            Input::Grow { job, done, .. } => self.restores(*job, done),
            Input::Settle { job, tree, done, .. } => {
                self.restores(*job, done);
                if let Some(grown) = self.trees.get_mut(job).filter(|tree| tree.is_growing()) {
                    *grown = tree.clone();
                }
            }
            _ => {}
        }
    }

    fn output(&mut self, _now: Time, output: &Output) -> Result<(), String> {
        self.durable.output(output);
        if let Output::Announce { job, open: false } = output {
            self.trees.remove(job);
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
        let mut takers = takers.into_iter();
        let missing = takers.find(|&taker| !self.durable.contains(task.job, taker));
        missing.map_or(Ok(()), |taker| {
            Err(format!("{task} is obsolete, but {taker} is not durable"))
        })
    }
}
