//! A lease is of a task that can start, and that fits into the memory offered.

use std::collections::{BTreeMap, BTreeSet};

use super::Checker;
use crate::{Blob, Cost, Event, Input, JobId, Offer, Output, Peer, TaskId, TaskRef, Time, Tree};

/// A lease is an answer to an offer, and fits into the memory that was offered. Its task is not
/// done, and has durable inputs. The caller's own final proof is leased to nobody.
#[derive(Clone, Debug, Default)]
pub struct Fitting {
    jobs: BTreeMap<JobId, (Tree, Vec<u64>)>,
    /// Jobs whose final proof the caller makes.
    own_final: BTreeSet<JobId>,
    /// Proofs that the caller was asked to persist since the job was opened.
    to_persist: BTreeSet<(TaskRef, Blob)>,
    done: BTreeSet<TaskRef>,
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
        // Those of nodes do not count.
        let segments = done.iter().filter(|(task, _)| matches!(task, TaskId::Segment(_)));
        self.done.extend(segments.map(|&(task, _)| TaskRef { job, task }));
    }
}

impl Checker for Fitting {
    const RULE: &'static str = "a lease is of a task that can start, and that fits into the memory offered";

    fn input(&mut self, _now: Time, input: &Input) {
        // An offer stands for one answer.
        self.offers.clear();
        match input {
            Input::Open(spec) if !self.jobs.contains_key(&spec.id) => {
                let memory = spec.costs.iter().map(|cost| cost.memory).collect();
                self.jobs.insert(spec.id, (spec.tree.clone(), memory));
                let job = spec.id;
                if spec.own_final {
                    self.own_final.insert(job);
                }
                let done = spec.done.iter().map(|&(task, _)| TaskRef { job, task });
                self.done.extend(done);
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
            Input::Persisted { task, proof } if self.to_persist.contains(&(*task, *proof)) => {
                self.done.insert(*task);
            }
            _ => {}
        }
    }

    fn output(&mut self, _now: Time, output: &Output) -> Result<(), String> {
        if let Output::Announce { job, open: false } = output {
            // If the job is opened again, it starts from what the caller has kept.
            self.jobs.remove(job);
            self.own_final.remove(job);
            self.done.retain(|task| task.job != *job);
            self.to_persist.retain(|(task, _)| task.job != *job);
        }
        if let Output::Persist { task, proof, .. } = output {
            self.to_persist.insert((*task, *proof));
        }
        if let Output::Event(Event::Refuted { task, proof, .. } | Event::Reopened { task, proof, .. }) =
            output
        {
            self.done.remove(task);
            self.to_persist.remove(&(*task, *proof));
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
        if self.done.contains(task) {
            return Err(format!("{task} is done and leased again"));
        }
        let missing = tree.children(task.task).find(|&child| {
            let child = TaskRef {
                job: task.job,
                task: child,
            };
            !self.done.contains(&child)
        });
        missing.map_or(Ok(()), |child| {
            Err(format!("{task} is leased, but its child {child} is not done"))
        })
    }
}
