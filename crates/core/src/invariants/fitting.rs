//! A lease is of a task that can start, and that fits into the memory offered.

use std::collections::{BTreeMap, BTreeSet};

use super::{Checker, durable::Durable};
use crate::{Blob, Cost, Input, JobId, Offer, Output, Peer, TaskId, Time, Tree};

/// A lease is an answer to an offer, and fits into the memory that was offered. Its task is not
/// done, and has durable inputs. The caller's own final proof is leased to nobody.
#[derive(Clone, Debug, Default)]
pub struct Fitting {
    jobs: BTreeMap<JobId, (Tree, Vec<u64>)>,
    /// Jobs whose final proof the caller makes.
    own_final: BTreeSet<JobId>,
    durable: Durable,
    offers: BTreeMap<Peer, Offer>,
}

impl Fitting {
    /// A job whose plan grows has these tasks, too; `tree` is there when it is settled.
    fn grows(&mut self, job: JobId, tree: Option<&Tree>, costs: &[Cost], done: &[(TaskId, Blob)]) {
        let growing = self.jobs.get_mut(&job).filter(|(tree, _)| tree.is_growing());
        let Some((grown, memory)) = growing else {
            return;
        };
        memory.extend(costs.iter().map(|cost| cost.memory));
        *grown = tree
            .cloned()
            .unwrap_or_else(|| Tree::growing(memory.len() as u32));
        self.durable.grown(job, done);
    }
}

impl Checker for Fitting {
    const RULE: &'static str = "a lease is of a task that can start, and that fits into the memory offered";

    fn input(&mut self, _now: Time, input: &Input) {
        // An offer stands for one answer.
        self.offers.clear();
        self.durable.input(input);
        match input {
            Input::Open(spec) if !self.jobs.contains_key(&spec.id) => {
                let memory = spec.costs.iter().map(|cost| cost.memory).collect();
                self.jobs.insert(spec.id, (spec.tree.clone(), memory));
                let job = spec.id;
                if spec.own_final {
                    self.own_final.insert(job);
                }
                self.durable.opened(job, &spec.done);
            }
            Input::Grow { job, costs, done } => self.grows(*job, None, costs, done),
            Input::Settle {
                job,
                tree,
                costs,
                done,
            } => self.grows(*job, Some(tree), costs, done),
            Input::Offer { peer, offer } => {
                self.offers.insert(*peer, *offer);
            }
            _ => {}
        }
    }

    fn output(&mut self, _now: Time, output: &Output) -> Result<(), String> {
        self.durable.output(output);
        if let Output::Announce { job, open: false } = output {
            self.jobs.remove(job);
            self.own_final.remove(job);
        }
        let Output::Lease { peer, task, .. } = output else {
            return Ok(());
        };
        let offer = self
            .offers
            .remove(peer)
            .ok_or_else(|| format!("{peer:?} gets {task} without an offer"))?;
        let (tree, memory) = self
            .jobs
            .get(&task.job)
            .ok_or_else(|| format!("{task} is of no job"))?;
        if !tree.contains(task.task) {
            return Err(format!("{task} is leased, and the job has no such task"));
        }
        let needed = memory[tree.place(task.task)];
        if needed > offer.memory {
            return Err(format!(
                "{task} needs {needed} bytes, and {peer:?} has {}",
                offer.memory
            ));
        }
        if task.task == TaskId::Final && self.own_final.contains(&task.job) {
            return Err(format!("{task} is for the caller, and leased to {peer:?}"));
        }
        if self.durable.contains(task.job, task.task) {
            return Err(format!("{task} is done and leased again"));
        }
        let mut children = tree.children(task.task);
        let missing = children.find(|&child| !self.durable.contains(task.job, child));
        missing.map_or(Ok(()), |child| {
            Err(format!("{task} is leased, but its child {child} is not done"))
        })
    }
}
