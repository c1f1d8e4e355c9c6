//! Accepted proofs that this machine's disk has damaged or lost. The blob store finds that when it serves or reads them; their tasks
//! are done again.

use myriad_core::{Blob, Input, TaskId, TaskRef};

use super::{backend::JobBackend, driver::Driver};

impl<J: JobBackend> Driver<'_, J> {
    /// Has done again what the disk has lost and the job still needs.
    pub(super) fn look_for_lost(&mut self) {
        let lost = self.network.blobs().take_lost();
        self.lost_proofs
            .extend(lost.into_iter().filter(|blob| self.accepted.contains(blob)));
        let lost: Vec<(TaskId, Blob)> = self
            .proofs
            .iter()
            .map(|(&task, proof)| (task, proof.blob))
            .filter(|(_, blob)| self.lost_proofs.contains(blob))
            .collect();
        for (task, proof) in lost {
            let of_job = TaskRef { job: self.job, task };
            // It may be about to become durable, and is looked at again then.
            if self.requester.proof(of_job) == Some(proof) {
                self.lost_proofs.remove(&proof);
                self.let_go(task, proof);
                self.input(Input::Lost { task: of_job, proof });
            }
        }
    }

    /// A proof is not the job's any more.
    pub(super) fn let_go(&mut self, task: TaskId, proof: Blob) {
        self.proofs.remove(&task);
        self.accepted.remove(&proof);
    }
}
