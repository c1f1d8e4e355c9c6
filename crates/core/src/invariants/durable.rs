//! Which tasks are done, for the checkers that have to know it.

use std::collections::BTreeSet;

use crate::{Blob, Event, Input, JobId, Output, TaskId, TaskRef};

/// The tasks of open jobs with a durable proof, as an onlooker knows them.
#[derive(Clone, Debug, Default)]
pub(super) struct Durable {
    /// Proofs that the caller was asked to persist since the job was opened.
    to_persist: BTreeSet<(TaskRef, Blob)>,
    done: BTreeSet<TaskRef>,
}

impl Durable {
    pub(super) fn contains(&self, job: JobId, task: TaskId) -> bool {
        self.done.contains(&TaskRef { job, task })
    }

    /// A job that is opened has these proofs of an earlier run.
    pub(super) fn opened(&mut self, job: JobId, done: &[(TaskId, Blob)]) {
        self.done
            .extend(done.iter().map(|&(task, _)| TaskRef { job, task }));
    }

    /// A job whose plan grows has tasks with these, too. Those of nodes do not count.
    pub(super) fn grown(&mut self, job: JobId, done: &[(TaskId, Blob)]) {
        let segments = done.iter().filter(|(task, _)| matches!(task, TaskId::Segment(_)));
        self.done.extend(segments.map(|&(task, _)| TaskRef { job, task }));
    }

    pub(super) fn input(&mut self, input: &Input) {
        if let Input::Persisted { task, proof } = input
            && self.to_persist.contains(&(*task, *proof))
        {
            self.done.insert(*task);
        }
    }

    pub(super) fn output(&mut self, output: &Output) {
        match output {
            // If the job is opened again, it starts from what the caller has kept.
            Output::Announce { job, open: false } => {
                self.done.retain(|task| task.job != *job);
                self.to_persist.retain(|(task, _)| task.job != *job);
            }
            Output::Persist { task, proof, .. } => {
                self.to_persist.insert((*task, *proof));
            }
            Output::Event(Event::Refuted { task, proof, .. } | Event::Reopened { task, proof, .. }) => {
                self.done.remove(task);
                self.to_persist.remove(&(*task, *proof));
            }
            _ => {}
        }
    }
}
