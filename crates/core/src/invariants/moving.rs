//! Every needed task is done, under way, ready, or waits for others.

use std::collections::{BTreeMap, BTreeSet};

use super::Checker;
use crate::{Input, JobId, Output, Requester, Stage, TaskId, Time};

/// No task is forgotten: each task that the final proof needs is done, under way, ready, or waits
/// for others of which the same holds.
#[derive(Clone, Debug, Default)]
pub struct Moving {
    open: BTreeSet<JobId>,
    /// Open jobs whose plan grows, and how many segments they have.
    growing: BTreeMap<JobId, u32>,
}

impl Checker for Moving {
    const RULE: &'static str = "every needed task is done, under way, ready, or waits for others";

    fn input(&mut self, _now: Time, input: &Input) {
        match input {
            Input::Open(spec) if spec.tree.is_growing() && !self.open.contains(&spec.id) => {
                self.growing.insert(spec.id, spec.tree.segments());
            }
            Input::Grow { job, costs, .. } => {
                if let Some(segments) = self.growing.get_mut(job) {
                    *segments += costs.len() as u32;
                }
            }
            Input::Settle { job, .. } => drop(self.growing.remove(job)),
            _ => {}
        }
    }

    fn output(&mut self, _now: Time, output: &Output) -> Result<(), String> {
        if let Output::Announce { job, open } = output {
            if *open {
                self.open.insert(*job);
            } else {
                self.open.remove(job);
                self.growing.remove(job);
            }
        }
        Ok(())
    }

    fn settled(&mut self, requester: &Requester) -> Result<(), String> {
        self.open.iter().try_for_each(|job| {
            let needed = match self.growing.get(job) {
                // Whatever the tree will be, all of them are in it.
                Some(&segments) => (0..segments).map(TaskId::Segment).collect(),
                None => vec![TaskId::Final],
            };
            check(requester, *job, needed)
        })
    }
}

fn check(requester: &Requester, job: JobId, mut needed: Vec<TaskId>) -> Result<(), String> {
    let stages: BTreeMap<TaskId, Stage> = requester.stages(job).into_iter().collect();
    let progress = requester
        .progress(job)
        .ok_or_else(|| format!("{job:?} is announced, and not there"))?;
    let mut seen = BTreeSet::new();
    let (mut leases, mut under_way, mut ready) = (0, 0, false);
    while let Some(task) = needed.pop() {
        if !seen.insert(task) {
            continue;
        }
        let inputs = requester.inputs(crate::TaskRef { job, task });
        let missing: Vec<_> = inputs
            .into_iter()
            .filter(|input| stages[input] != Stage::Done)
            .collect();
        let Some(&stage) = stages.get(&task) else {
            return Err(format!("{task} is needed, and the job has no such task"));
        };
        match stage {
            Stage::Unneeded => return Err(format!("{task} is needed, and nobody will do it")),
            Stage::Waiting(count) if count as usize != missing.len() || count == 0 => {
                return Err(format!("{task} waits for {count}, and {missing:?} are missing"));
            }
            Stage::Waiting(_) => needed.extend(missing),
            _ if !missing.is_empty() && stage != Stage::Done => {
                return Err(format!("{task} is {stage:?} without {missing:?}"));
            }
            Stage::Ready => ready = true,
            Stage::Leased(count) => {
                leases += count;
                under_way += 1;
            }
            Stage::Own | Stage::Checking | Stage::Persisting => under_way += 1,
            Stage::Done => {}
        }
    }
    // Leases beside a check are of peers that were slower.
    if under_way != progress.under_way || ready != progress.has_ready || leases > progress.leases {
        return Err(format!(
            "{under_way} tasks are under way with {leases} leases, ready: {ready}; {progress:?} is said"
        ));
    }
    Ok(())
}
