//! What becomes of a proof that was made here: submitted until its requester has answered, kept for those that need it, and
//! signed for.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use myriad_core::{Blob, JobId, Peer, TaskRef};
use myriad_engine::worker::Usage;
use myriad_net::{
    AskError, Receipt, Regard, SignedReceipt,
    blob::{BlobRef, Pin},
    short_name,
    wire::{Request, Response, Spent, Why},
};

use super::{
    Engine,
    driver::{Driver, Told},
};

/// How often a proof is submitted again that its requester has not answered to.
const SUBMIT_EVERY: Duration = Duration::from_secs(3);
/// How long a proof is offered to a requester that cannot be reached.
const SUBMIT_FOR: Duration = Duration::from_secs(3600);
/// Proofs that are kept for others at most, and the part of the disk lent that they may take: the rest is for what the next
/// task is made from.
const KEPT_MAX: usize = 4096;
const KEPT_PART: f64 = 0.5;
/// Proofs that are waited for receipts of. A prover makes a few hundred a day.
const UNPAID_MAX: usize = 10_000;

pub(super) struct Submission {
    pub(super) requester: Peer,
    pub(super) proof: BlobRef,
    pub(super) spent: Spent,
    pub(super) since: Instant,
    pub(super) next: Instant,
    /// One is on its way.
    pub(super) sent: bool,
}

/// Proofs that were submitted and for which there is no receipt: whose, which, and how long this machine was at each.
pub(super) type Unpaid = BTreeMap<TaskRef, (Peer, Blob, Duration)>;

pub(super) struct Kept {
    pub(super) requester: Peer,
    pub(super) job: JobId,
    bytes: u64,
    since: Instant,
    /// Its requester has it, and so it is only of use to other provers here.
    accepted: bool,
    _pin: Pin,
}

impl<E: Engine> Driver<E> {
    /// A proof is made, which took this machine `took` by its own clock: it is kept, and submitted at once.
    pub(super) fn finished(
        &mut self,
        requester: Peer,
        task: TaskRef,
        proof: BlobRef,
        pin: Pin,
        usage: Usage,
        took: Duration,
    ) {
        let kept = Kept {
            requester,
            job: task.job,
            bytes: proof.bytes,
            since: Instant::now(),
            accepted: false,
            _pin: pin,
        };
        self.kept.insert(proof.blob, kept);
        self.bound_kept();
        let now = Instant::now();
        let submission = Submission {
            requester,
            proof,
            spent: Spent {
                wall_ms: usage.wall.as_millis() as u64,
                cpu_ms: usage.cpu.as_millis() as u64,
                memory_bytes: usage.peak_bytes,
            },
            since: now,
            next: now,
            sent: false,
        };
        self.submissions.insert(task, submission);
        if self.unpaid.len() < UNPAID_MAX {
            self.unpaid.insert(task, (requester, proof.blob, took));
        }
        self.submit();
    }

    /// Submits what is due.
    pub(super) fn submit(&mut self) {
        let now = Instant::now();
        self.submissions
            .retain(|_, waiting| waiting.since.elapsed() < SUBMIT_FOR);
        let due: Vec<TaskRef> = self
            .submissions
            .iter()
            .filter(|(_, waiting)| !waiting.sent && waiting.next <= now)
            .map(|(&task, _)| task)
            .collect();
        for task in due {
            let waiting = self.submissions.get_mut(&task).expect("it is in the list");
            waiting.sent = true;
            let (peer, proof, spent) = (waiting.requester, waiting.proof, waiting.spent);
            let submit = Request::Submit { task, proof, spent };
            self.ask(peer, submit, move |answer| Told::Submitted { task, answer });
        }
    }

    /// A requester has answered to a submission, or not.
    pub(super) fn submitted(&mut self, task: TaskRef, answer: Result<Response, AskError>) {
        let Some(waiting) = self.submissions.get_mut(&task) else {
            return;
        };
        match answer {
            // The verdict comes as a notice; if it is lost on the way, nothing is.
            Ok(Response::Received) => {
                waiting.next = Instant::now() + 20 * SUBMIT_EVERY;
                waiting.sent = false;
            }
            Ok(Response::Refused(refused)) if refused.why == Why::NotLeased || refused.why == Why::Banned => {
                let proof = waiting.proof.blob;
                tracing::info!("the proof of {} is not wanted: {:?}", task.task, refused.reason);
                self.submissions.remove(&task);
                // It may be there already: a second submission of what is accepted is refused, too.
                if !self.kept.contains_key(&proof) {
                    self.network.blobs().release(&proof);
                }
            }
            Ok(_) | Err(_) => {
                waiting.next = Instant::now() + SUBMIT_EVERY;
                waiting.sent = false;
            }
        }
    }

    /// A requester says what it found of a proof.
    pub(super) fn judged(&mut self, peer: Peer, task: TaskRef, accepted: bool, reason: &str) {
        let submission = self
            .submissions
            .get(&task)
            .filter(|waiting| waiting.requester == peer);
        let Some(proof) = submission.map(|waiting| waiting.proof) else {
            return;
        };
        self.submissions.remove(&task);
        if accepted {
            self.status.accepted += 1;
            if let Some(kept) = self.kept.get_mut(&proof.blob) {
                kept.accepted = true;
            }
        } else {
            self.status.rejected += 1;
            self.unpaid.remove(&task);
            self.kept.remove(&proof.blob);
            tracing::warn!("the proof of {} was rejected: {reason:?}", task.task);
        }
    }

    /// Keeps a receipt for what was made here, from who has it, once.
    pub(super) fn receipt(&mut self, peer: Peer, signed: SignedReceipt) {
        let Receipt {
            requester,
            prover,
            task,
            proof,
            ..
        } = signed.receipt;
        let due = self.unpaid.get(&task).copied();
        let due = due.filter(|&(owes, of, _)| (owes, of) == (peer, proof));
        let Some((.., took)) = due else {
            return tracing::warn!(
                "requester {} sends a receipt for what is not due",
                short_name(peer)
            );
        };
        if requester != peer || prover != self.network.peer() || !signed.is_genuine() {
            return tracing::warn!("requester {} sends a receipt that is none", short_name(peer));
        }
        self.unpaid.remove(&task);
        let (receipts, network) = (Arc::clone(&self.receipts), self.network.clone());
        tokio::task::spawn_blocking(move || match receipts.keep(&signed, took) {
            Ok(earned) if earned.is_useful() => network.regard(peer, Regard::Useful),
            Ok(_) => {}
            Err(e) => tracing::error!("a receipt is lost: {e}"),
        });
    }

    /// Lets go of proofs that take room from the next task, whatever their requesters say: those first that were accepted, and of
    /// them the oldest. They are there as long as there is room.
    pub(super) fn bound_kept(&mut self) {
        let most = (self.network.blobs().quota_bytes() as f64 * KEPT_PART) as u64;
        let mut bytes: u64 = self.kept.values().map(|kept| kept.bytes).sum();
        // What was made last is about to be fetched.
        while self.kept.len() > 1 && (self.kept.len() > KEPT_MAX || bytes > most) {
            let least = self
                .kept
                .iter()
                .min_by_key(|(_, kept)| (!kept.accepted, kept.since))
                .map(|(&proof, _)| proof);
            let Some(proof) = least else { return };
            bytes -= self.kept[&proof].bytes;
            self.drop_proof(proof);
        }
    }

    /// Lets go of a proof that nobody needs.
    pub(super) fn drop_proof(&mut self, proof: Blob) {
        if self.kept.remove(&proof).is_some() {
            self.network.blobs().release(&proof);
        }
    }

    /// Lets go of proofs whose requesters have fallen silent.
    pub(super) fn drop_forgotten(&mut self) {
        let (offers, submissions) = (&self.offers, &self.submissions);
        let forgotten = |kept: &Kept| {
            let waits = submissions.keys().any(|task| task.job == kept.job);
            !waits && !offers.has_job(kept.requester, kept.job)
        };
        let proofs = self
            .kept
            .iter()
            .filter(|(_, kept)| forgotten(kept))
            .map(|(&blob, _)| blob);
        proofs
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|proof| self.drop_proof(proof));
    }
}
