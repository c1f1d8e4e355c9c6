//! Every needed task is done, under way, ready, or waits for others.

use std::collections::{BTreeMap, BTreeSet};

use super::Checker;
use crate::{Input, JobId, Output, Requester, Stage, TaskId, Time};

/// No task is forgotten: each task that the final proof needs is done, under way, ready, or waits
/// for others of which the same holds.
#[derive(Clone, Debug, Default)]
pub struct Moving {
    open: BTreeSet<JobId>,
}

impl Checker for Moving {
    const RULE: &'static str = "every needed task is done, under way, ready, or waits for others";

    fn input(&mut self, _now: Time, _input: &Input) {}

    fn output(&mut self, _now: Time, output: &Output) -> Result<(), String> {
        if let Output::Announce { job, open } = output {
            if *open {
                self.open.insert(*job);
            } else {
                self.open.remove(job);
            }
        }
        Ok(())
    }

    fn settled(&mut self, requester: &Requester) -> Result<(), String> {
        self.open.iter().try_for_each(|job| check(requester, *job))
    }
}

fn check(requester: &Requester, job: JobId) -> Result<(), String> {
    let stages: BTreeMap<TaskId, Stage> = requester.stages(job).into_iter().collect();
    let progress = requester
        .progress(job)
        .ok_or_else(|| format!("{job:?} is announced, and not there"))?;
    let mut needed = vec![TaskId::Final];
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
        match stages[&task] {
            Stage::Unneeded => return Err(format!("{task} is needed, and nobody will do it")),
            Stage::Waiting(count) if count as usize != missing.len() || count == 0 => {
                return Err(format!("{task} waits for {count}, and {missing:?} are missing"));
            }
            Stage::Waiting(_) => needed.extend(missing),
            _ if !missing.is_empty() && stages[&task] != Stage::Done => {
                return Err(format!("{task} is {:?} without {missing:?}", stages[&task]));
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
