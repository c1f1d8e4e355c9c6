//! Receipts for those whose proofs were accepted.

use std::time::{SystemTime, UNIX_EPOCH};

use myriad_core::{Peer, TaskRef};
use myriad_net::{
    Receipt, SignedReceipt,
    wire::{Notice, Request},
};

use super::driver::{Backend, Done, Driver};

impl<B: Backend> Driver<'_, B> {
    /// Signs that a peer's proof is accepted, and durable, and tells it so.
    pub(super) fn give_receipt(&mut self, task: TaskRef, peer: Peer) {
        let Some(proof) = self.proofs.get(&task.task) else {
            return;
        };
        let (work, _) = self.work[&task.task];
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let receipt = self.network.sign(Receipt {
            requester: self.network.peer(),
            prover: peer,
            task,
            proof: proof.blob,
            instructions: self.backend.instructions(task.task),
            work_ms: work.as_millis() as u64,
            accepted: now.unwrap_or_default().as_secs(),
        });
        self.send_receipt(receipt);
    }

    /// A peer is back that could not be given its receipts.
    pub(super) fn send_receipts(&mut self, peer: Peer) {
        for receipt in self.unsent.remove(&peer).unwrap_or_default() {
            self.send_receipt(receipt);
        }
    }

    /// One did not arrive; it is sent when the prover is back.
    pub(super) fn receipt_lost(&mut self, receipt: SignedReceipt) {
        let prover = receipt.receipt.prover;
        self.unsent.entry(prover).or_default().push(receipt);
    }

    fn send_receipt(&self, receipt: SignedReceipt) {
        let (network, tell) = (self.network.clone(), self.tell.clone());
        let permits = std::sync::Arc::clone(&self.notices);
        tokio::spawn(async move {
            let _permit = permits.acquire().await;
            let notice = Notice::Receipt(Box::new(receipt.clone()));
            if network
                .ask(receipt.receipt.prover, Request::Notice(notice))
                .await
                .is_err()
            {
                // If nobody listens, the job is over.
                let _ = tell.send(Done::Unsent(receipt));
            }
        });
    }
}
