//! Gives receipts to the provers whose proofs were accepted.

use std::time::{SystemTime, UNIX_EPOCH};

use myriad_core::{Peer, TaskRef};
use myriad_net::{Receipt, SignedReceipt};

use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{Driver, completion::Completion};
use crate::requester::backend::JobBackend;

impl<J: JobBackend> Driver<J> {
    /// Signs that a peer's proof is accepted, and durable, and tells it so.
    pub(super) fn give_receipt(&mut self, task: TaskRef, peer: Peer) {
        let Some(job) = self.jobs.get(&task.job) else {
            return;
        };
        let Some((proof, _)) = job.proofs.proof(task.task) else {
            return;
        };
        let (work, _) = job.work[&task.task];
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let receipt = self.network.sign(Receipt {
            requester: self.network.peer(),
            prover: peer,
            task,
            proof: proof.blob,
            instructions: job.backend.instructions(task.task),
            work_ms: work.as_millis() as u64,
            accepted: now.unwrap_or_default().as_secs(),
        });
        let token = job.messages.token();
        self.send_receipt(receipt, Some(token));
    }

    /// A peer is back that could not be given its receipts.
    pub(super) fn send_waiting_receipts(&mut self, peer: Peer) {
        for receipt in self.receipts.take_waiting(peer) {
            self.send_receipt(receipt, None);
        }
    }

    fn send_receipt(&mut self, signed: SignedReceipt, of_job: Option<TaskTrackerToken>) {
        self.receipts.send(&signed);
        let sender = self.completion_sender.clone();
        self.outbox.send_receipt(signed, move |signed, arrived| {
            drop(of_job);
            // If nobody listens, the driver has ended.
            let _ = sender.send(Completion::Receipt { signed, arrived });
        });
    }

    /// Makes the owed receipts durable, beside everything else.
    pub(super) fn settle_receipts(&mut self) {
        if let Some(settlement) = self.receipts.settle() {
            self.peers.settle(settlement);
        }
    }

    /// Makes the owed receipts durable when the driver ends. Receipts on their way are owed, too.
    pub(super) fn settle_receipts_at_last(&mut self) {
        while let Ok(completion) = self.completions.try_recv() {
            if let Completion::Receipt { signed, arrived } = completion {
                self.receipts.sent(signed, arrived);
            }
        }
        self.receipts.give_up_sending();
        self.settle_receipts();
    }
}
