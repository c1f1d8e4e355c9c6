//! Jobs whose plan grows: the requester has them executed from their start each time that it starts
//! before the plan was there.

use myriad_core::{Input, JobSpec, TaskId, TaskRef};

use super::{Occurrence, Simulation};
use crate::faults::scenario::Growth;

impl Simulation<'_> {
    /// A job as it is opened now: with the whole plan if there is one, otherwise with the segments
    /// that are known at once.
    pub(super) fn begun_spec(&mut self, index: usize) -> JobSpec {
        let job = self.scenario.jobs[index];
        match job.growth {
            Some(Growth { first, every }) if !self.journal.planned.contains(&index) => {
                let (term, known) = (self.term, first + 1);
                let grows = Occurrence::Grows {
                    term,
                    job: index,
                    known,
                };
                self.queue.push(self.now + every, grows);
                job.growing_spec(index, first)
            }
            _ => job.spec(index),
        }
    }

    /// So many segments of a job are known now. With the last one the plan is there, and durable.
    pub(super) fn grow(&mut self, index: usize, known: u32) -> Result<(), String> {
        let job = self.scenario.jobs[index];
        if self.journal.finished.contains(&index) {
            return Err(format!("job {index} is done, and its plan is not there"));
        }
        let JobSpec { id, tree, costs, .. } = job.spec(index);
        let new = known as usize - 1;
        let task = TaskId::Segment(known - 1);
        let left = self.journal.done.get(&TaskRef { job: id, task });
        let done = left.map(|&proof| (task, proof)).into_iter().collect();
        if known == job.segments {
            self.journal.planned.insert(index);
            let costs = costs[new..].to_vec();
            let settle = Input::Settle {
                job: id,
                tree,
                costs,
                done,
            };
            return self.input(settle, None);
        }
        if let Some(Growth { every, .. }) = job.growth {
            let (term, known) = (self.term, known + 1);
            let grows = Occurrence::Grows {
                term,
                job: index,
                known,
            };
            self.queue.push(self.now + every, grows);
        }
        let costs = vec![costs[new]];
        self.input(Input::Grow { job: id, costs, done }, None)
    }
}
