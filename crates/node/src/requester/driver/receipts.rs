//! Receipts go to provers whose proofs were accepted.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use myriad_core::{Peer, TaskRef};
use myriad_net::{
    Receipt, SignedReceipt,
    wire::{Notice, Request},
};
use tokio::task::JoinHandle;

use super::{Driver, completion::Completion, receipt_book::Settlement};
use crate::requester::backend::JobBackend;

impl<J: JobBackend> Driver<'_, J> {
    /// Signs that a peer's proof is accepted, and durable, and tells it so.
    pub(super) fn give_receipt(&mut self, task: TaskRef, peer: Peer) {
        let Some((proof, _)) = self.proofs.proof(task.task) else {
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
        for receipt in self.receipts.take_waiting(peer) {
            self.send_receipt(receipt);
        }
    }

    fn send_receipt(&mut self, signed: SignedReceipt) {
        self.receipts.send(&signed);
        let (network, tell) = (self.network.clone(), self.tell.clone());
        let permits = Arc::clone(&self.notices);
        self.saying.spawn(async move {
            let _permit = permits.acquire().await;
            let notice = Notice::Receipt(Box::new(signed.clone()));
            let answer = network.ask(signed.receipt.prover, Request::Notice(notice)).await;
            let arrived = answer.is_ok();
            // If nobody listens, the job is over.
            let _ = tell.send(Completion::Receipt { signed, arrived });
        });
    }

    /// Makes durable what is owed, beside everything else.
    pub(super) fn settle(&mut self) -> Option<JoinHandle<()>> {
        let Settlement { owed, paid } = self.receipts.settle()?;
        let backend = Arc::clone(&self.peer_backend);
        Some(tokio::task::spawn_blocking(move || {
            backend.settle(&owed, &paid);
        }))
    }

    /// The same when the job ends: what is on its way is owed, too.
    pub(super) async fn settle_at_last(&mut self) {
        while let Ok(done) = self.told.try_recv() {
            if let Completion::Receipt { signed, arrived } = done {
                self.receipts.sent(signed, arrived);
            }
        }
        self.receipts.give_up_sending();
        if let Some(settling) = self.settle() {
            // Where the disk does not serve, that was said.
            let _ = settling.await;
        }
    }
}
