//! Receipts for those whose proofs were accepted.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use myriad_core::{Blob, Peer, TaskRef};
use myriad_net::{
    Receipt, SignedReceipt,
    wire::{Notice, Request},
};
use tokio::task::JoinHandle;

use super::{
    backend::{Done, JobBackend},
    driver::Driver,
};

/// Receipts that have not arrived, as far as is known.
pub(super) struct Receipts {
    /// On their way, by their proofs.
    sending: HashMap<Blob, SignedReceipt>,
    /// Those of provers that are away.
    waiting: HashMap<Peer, Vec<SignedReceipt>>,
    /// The proofs of those that the disk has.
    kept: HashSet<Blob>,
    /// What the disk does not know yet: receipts that did not arrive, and those of `kept` that did.
    owed: Vec<SignedReceipt>,
    paid: Vec<SignedReceipt>,
}

impl Receipts {
    /// `owed` are those of earlier jobs.
    pub(super) fn new(owed: Vec<SignedReceipt>) -> Self {
        let mut waiting: HashMap<Peer, Vec<SignedReceipt>> = HashMap::new();
        let kept = owed.iter().map(|signed| signed.receipt.proof).collect();
        for signed in owed {
            waiting.entry(signed.receipt.prover).or_default().push(signed);
        }
        Self {
            sending: HashMap::new(),
            waiting,
            kept,
            owed: Vec::new(),
            paid: Vec::new(),
        }
    }

    /// One that did not arrive waits until its prover is back, if need be in another job.
    pub(super) fn sent(&mut self, signed: SignedReceipt, arrived: bool) {
        let proof = signed.receipt.proof;
        self.sending.remove(&proof);
        match (arrived, self.kept.contains(&proof)) {
            (true, true) => self.paid.push(signed),
            (true, false) => {}
            (false, kept) => {
                if !kept {
                    self.owed.push(signed.clone());
                }
                self.waiting
                    .entry(signed.receipt.prover)
                    .or_default()
                    .push(signed);
            }
        }
    }
}

impl<J: JobBackend> Driver<'_, J> {
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
        for receipt in self.receipts.waiting.remove(&peer).unwrap_or_default() {
            self.send_receipt(receipt);
        }
    }

    fn send_receipt(&mut self, signed: SignedReceipt) {
        self.receipts.sending.insert(signed.receipt.proof, signed.clone());
        let (network, tell) = (self.network.clone(), self.tell.clone());
        let permits = Arc::clone(&self.notices);
        self.saying.spawn(async move {
            let _permit = permits.acquire().await;
            let notice = Notice::Receipt(Box::new(signed.clone()));
            let answer = network.ask(signed.receipt.prover, Request::Notice(notice)).await;
            let arrived = answer.is_ok();
            // If nobody listens, the job is over.
            let _ = tell.send(Done::Receipt { signed, arrived });
        });
    }

    /// Makes durable what is owed, beside everything else.
    pub(super) fn settle(&mut self) -> Option<JoinHandle<()>> {
        let owed = mem::take(&mut self.receipts.owed);
        let paid = mem::take(&mut self.receipts.paid);
        if owed.is_empty() && paid.is_empty() {
            return None;
        }
        let kept = owed.iter().map(|signed| signed.receipt.proof);
        self.receipts.kept.extend(kept);
        let backend = Arc::clone(&self.peer_backend);
        Some(tokio::task::spawn_blocking(move || {
            backend.settle(&owed, &paid);
        }))
    }

    /// The same when the job ends: what is on its way is owed, too.
    pub(super) async fn settle_at_last(&mut self) {
        while let Ok(done) = self.told.try_recv() {
            if let Done::Receipt { signed, arrived } = done {
                self.receipts.sent(signed, arrived);
            }
        }
        for (_, signed) in mem::take(&mut self.receipts.sending) {
            self.receipts.sent(signed, false);
        }
        if let Some(settling) = self.settle() {
            // Where the disk does not serve, that was said.
            let _ = settling.await;
        }
    }
}
