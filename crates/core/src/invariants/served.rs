//! The checker of looking ahead: no ready task is left for faster machines for longer than it
//! takes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::Checker;
use crate::{
    Cost, Event, Input, JobId, Offer, Output, Peer, Refusal, Requester, Return, Stage, TaskId, TaskRef, Time,
    Tree,
};

/// The time for which a ready task may be kept for a peer that was woken for it.
const WOKEN_PATIENCE: Duration = Duration::from_secs(2);

/// Looking ahead keeps nobody from a task for ever. A peer with the memory for a ready task is told
/// to wait only as long as the task takes on the reference machine. That time counts from when the
/// first such peer was told to, or from when a peer got a task of the same level.
#[derive(Clone, Debug, Default)]
pub struct Served {
    jobs: BTreeMap<JobId, (Tree, Vec<Cost>)>,
    /// The offer that is answered now, and whether the peer is told to wait.
    offer: Option<(Time, Peer, Offer)>,
    waits: bool,
    /// For each level, when a peer was first told to wait although a task was ready, if no peer got
    /// one since.
    since: BTreeMap<(JobId, u8), Time>,
    /// The peers that say, or are known, to have failed, each with its task.
    failed: BTreeSet<(Peer, TaskRef)>,
    woken: Option<Time>,
}

fn level(task: TaskId) -> u8 {
    match task {
        TaskId::Segment(_) => 0,
        TaskId::Node(node) => node.level,
        TaskId::Final => u8::MAX,
    }
}

impl Checker for Served {
    const RULE: &'static str =
        "a ready task is left for others no longer than it takes on the reference machine";

    fn input(&mut self, now: Time, input: &Input) {
        (self.offer, self.waits) = (None, false);
        match input {
            Input::Open(spec) if !self.jobs.contains_key(&spec.id) => {
                self.jobs.insert(spec.id, (spec.tree.clone(), spec.costs.clone()));
            }
            Input::Grow { job, costs, .. } => {
                if let Some((tree, known)) = self.jobs.get_mut(job).filter(|(tree, _)| tree.is_growing()) {
                    known.extend(costs);
                    *tree = Tree::growing(known.len() as u32);
                }
            }
            Input::Settle { job, tree, costs, .. } => {
                let growing = self.jobs.get_mut(job).filter(|(tree, _)| tree.is_growing());
                if let Some((grown, known)) = growing {
                    known.extend(costs);
                    *grown = tree.clone();
                }
            }
            Input::Offer { peer, offer } => self.offer = Some((now, *peer, *offer)),
            Input::Returned {
                peer,
                task,
                why: Return::Failed { .. },
            } => {
                self.failed.insert((*peer, *task));
            }
            _ => {}
        }
    }

    fn output(&mut self, now: Time, output: &Output) -> Result<(), String> {
        match output {
            Output::Refuse {
                why: Refusal::Waiting { .. },
                ..
            } => self.waits = true,
            Output::Wake { .. } => self.woken = Some(now),
            Output::Lease { task, .. } => {
                self.since.remove(&(task.job, level(task.task)));
            }
            Output::Announce { job, open: false } => {
                self.jobs.remove(job);
                self.since.retain(|(of, _), _| of != job);
                self.failed.retain(|(_, task)| task.job != *job);
            }
            Output::Event(Event::TaskFailed { task, peer, .. } | Event::Banned { task, peer, .. }) => {
                self.failed.insert((*peer, *task));
            }
            _ => {}
        }
        Ok(())
    }

    fn settled(&mut self, requester: &Requester) -> Result<(), String> {
        let Some((now, peer, offer)) = self.offer.filter(|_| self.waits) else {
            return Ok(());
        };
        let is_kept = self.woken.is_some_and(|woken| now - woken <= WOKEN_PATIENCE);
        for (&job, (tree, costs)) in &self.jobs {
            for (task, stage) in requester.stages(job) {
                let (task, cost) = (TaskRef { job, task }, costs[tree.place(task)]);
                let is_for_it = stage == Stage::Ready && cost.memory <= offer.memory;
                // It may be kept for the one that was woken.
                if !is_for_it || is_kept || self.failed.contains(&(peer, task)) {
                    continue;
                }
                let waited = now - *self.since.entry((job, level(task.task))).or_insert(now);
                if waited > cost.work {
                    return Err(format!(
                        "{peer:?} is told to wait, though {task} is ready and takes {:?}; somebody was for the first time {waited:?} ago",
                        cost.work
                    ));
                }
            }
        }
        Ok(())
    }
}
