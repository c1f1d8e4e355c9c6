use std::collections::BTreeMap;

use super::Checker;
use crate::{Blob, Input, Output, Requester, TaskRef, Time};

/// What was accepted stays what it was: one proof for each task, for as long as the job is open.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    accepted: BTreeMap<TaskRef, Blob>,
    durable: BTreeMap<TaskRef, Blob>,
}

impl Checker for Kept {
    const RULE: &'static str = "an accepted proof is neither lost nor replaced";

    fn input(&mut self, _now: Time, input: &Input) {
        if let Input::Persisted { task, proof } = input
            && self.accepted.get(task) == Some(proof)
        {
            self.durable.insert(*task, *proof);
        }
    }

    fn output(&mut self, _now: Time, output: &Output) -> Result<(), String> {
        match output {
            Output::Persist { task, proof, .. } => match self.accepted.insert(*task, *proof) {
                Some(before) => Err(format!("{task} had {before:?} and now has {proof:?}")),
                None => Ok(()),
            },
            Output::Announce { job, open: false } => {
                // The job is over. If it is opened again it starts from what the caller has kept.
                self.accepted.retain(|task, _| task.job != *job);
                self.durable.retain(|task, _| task.job != *job);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn settled(&mut self, requester: &Requester) -> Result<(), String> {
        let lost = self
            .durable
            .iter()
            .find(|(task, proof)| requester.proof(**task) != Some(**proof));
        match lost {
            Some((task, proof)) => Err(format!("{task} was done with {proof:?}, and is not any more")),
            None => Ok(()),
        }
    }
}
