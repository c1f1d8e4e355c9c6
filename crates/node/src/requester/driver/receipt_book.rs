//! The receipts for provers whose proofs were accepted: those on their way, those that wait for
//! provers that are away, and what the disk has to be told of both.

use std::{
    collections::{HashMap, HashSet},
    mem,
};

use myriad_core::{Blob, Peer};
use myriad_net::SignedReceipt;

/// Receipts that have not arrived, as far as is known.
pub(super) struct ReceiptBook {
    /// Receipts on their way, by their proofs.
    sending: HashMap<Blob, SignedReceipt>,
    /// Receipts for provers that are away.
    waiting: HashMap<Peer, Vec<SignedReceipt>>,
    /// The proofs of the receipts that the disk has.
    kept: HashSet<Blob>,
    /// The changes that the disk does not know yet.
    unsettled: Settlement,
}

/// The changes of receipts that the disk is to learn.
#[derive(Default)]
pub(super) struct Settlement {
    /// Receipts that did not arrive, and that the disk does not have.
    pub owed: Vec<SignedReceipt>,
    /// Receipts that the disk has, and that did arrive.
    pub paid: Vec<SignedReceipt>,
}

impl ReceiptBook {
    /// `owed` are the receipts of earlier jobs.
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
            unsettled: Settlement::default(),
        }
    }

    /// A receipt is on its way.
    pub(super) fn send(&mut self, signed: &SignedReceipt) {
        self.sending.insert(signed.receipt.proof, signed.clone());
    }

    /// Notes whether a receipt has arrived. One that has not waits until its prover is back, in
    /// another job if need be.
    pub(super) fn sent(&mut self, signed: SignedReceipt, arrived: bool) {
        let proof = signed.receipt.proof;
        self.sending.remove(&proof);
        match (arrived, self.kept.contains(&proof)) {
            (true, true) => self.unsettled.paid.push(signed),
            (true, false) => {}
            (false, kept) => {
                if !kept {
                    self.unsettled.owed.push(signed.clone());
                }
                self.waiting
                    .entry(signed.receipt.prover)
                    .or_default()
                    .push(signed);
            }
        }
    }

    /// The receipts that wait for a prover that is back; they are to be sent now.
    pub(super) fn take_waiting(&mut self, prover: Peer) -> Vec<SignedReceipt> {
        self.waiting.remove(&prover).unwrap_or_default()
    }

    /// The changes that the disk is to learn now, if there are any.
    pub(super) fn settle(&mut self) -> Option<Settlement> {
        let settlement = mem::take(&mut self.unsettled);
        if settlement.owed.is_empty() && settlement.paid.is_empty() {
            return None;
        }
        let kept = settlement.owed.iter().map(|signed| signed.receipt.proof);
        self.kept.extend(kept);
        Some(settlement)
    }

    /// The job ends: receipts on their way are owed, too.
    pub(super) fn give_up_sending(&mut self) {
        for (_, signed) in mem::take(&mut self.sending) {
            self.sent(signed, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use myriad_core::{JobId, TaskId, TaskRef};
    use myriad_net::Receipt;

    use super::*;

    fn signed(prover: u8, proof: u8) -> SignedReceipt {
        let receipt = Receipt {
            requester: Peer([0; 32]),
            prover: Peer([prover; 32]),
            task: TaskRef {
                job: JobId([1; 32]),
                task: TaskId::Segment(0),
            },
            proof: Blob([proof; 32]),
            instructions: 1,
            work_ms: 1,
            accepted: 0,
        };
        let signature = vec![0; 64];
        SignedReceipt { receipt, signature }
    }

    #[test]
    fn a_receipt_is_owed_once_until_it_arrives() {
        let mut book = ReceiptBook::new(Vec::new());
        book.send(&signed(1, 1));
        book.sent(signed(1, 1), false);
        let settlement = book.settle().unwrap();
        assert_eq!((settlement.owed, settlement.paid), (vec![signed(1, 1)], vec![]));
        assert_eq!(book.take_waiting(Peer([1; 32])), [signed(1, 1)]);
        book.send(&signed(1, 1));
        book.sent(signed(1, 1), false);
        assert!(book.settle().is_none(), "the disk has it already");
        book.send(&signed(1, 1));
        book.sent(signed(1, 1), true);
        let settlement = book.settle().unwrap();
        assert_eq!((settlement.owed, settlement.paid), (vec![], vec![signed(1, 1)]));
    }

    #[test]
    fn what_is_on_its_way_when_the_job_ends_is_owed() {
        let mut book = ReceiptBook::new(vec![signed(2, 2)]);
        book.send(&signed(1, 1));
        book.send(&signed(2, 2));
        book.give_up_sending();
        assert_eq!(
            book.settle().unwrap().owed,
            [signed(1, 1)],
            "the disk has the other"
        );
    }
}
