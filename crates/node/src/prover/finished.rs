//! The proofs that this machine has made. They are submitted until their requesters have answered,
//! kept while a requester needs them, and paid for with receipts.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use myriad_core::{Blob, JobId, Peer, TaskRef};
use myriad_engine::worker::Usage;
use myriad_net::{
    AskError, SignedReceipt,
    blob::{BlobRef, BlobStore, Pin},
    short_name,
    wire::{Request, Response, Spent, Why},
};

/// The pause before a proof is submitted again to a requester that has not answered.
const SUBMIT_EVERY: Duration = Duration::from_secs(3);
/// A proof is submitted again for this long to a requester that cannot be reached.
const SUBMIT_FOR: Duration = Duration::from_secs(3600);
/// The most proofs that are kept for others, and the part of the lent disk that they may take. The
/// rest is for the files of the next task.
const KEPT_MAX: usize = 4096;
const KEPT_PART: f64 = 0.5;
/// Proofs whose receipts may be outstanding. A prover makes a few hundred proofs a day.
const UNPAID_MAX: usize = 10_000;

/// The proofs of this machine that somebody may still need.
pub(super) struct Finished {
    blobs: BlobStore,
    /// Proofs that their requesters have not judged yet. Anybody can announce another one's job, so
    /// a task alone says nothing of who wants its proof.
    submissions: BTreeMap<(Peer, TaskRef), Submission>,
    /// Proofs without a receipt.
    unpaid: BTreeMap<(Peer, TaskRef), Unpaid>,
    /// Proofs that others may fetch from here.
    kept: HashMap<Blob, Kept>,
}

struct Submission {
    proof: BlobRef,
    spent: Spent,
    since: Instant,
    next: Instant,
    /// Whether a submission is on its way.
    sent: bool,
}

struct Unpaid {
    proof: Blob,
    /// The time that this machine spent on it.
    took: Duration,
}

struct Kept {
    /// The requesters and jobs for which it was made, each with whether the requester has it.
    of: BTreeMap<(Peer, JobId), bool>,
    bytes: u64,
    since: Instant,
    _pin: Pin,
}

impl Kept {
    /// Whether its requesters have it, and so it is only of use to other provers here.
    fn is_accepted(&self) -> bool {
        self.of.values().all(|accepted| *accepted)
    }
}

impl Finished {
    pub(super) fn new(blobs: BlobStore) -> Self {
        Self {
            blobs,
            submissions: BTreeMap::new(),
            unpaid: BTreeMap::new(),
            kept: HashMap::new(),
        }
    }

    /// A proof is made, which took this machine `took` by its own clock: it is kept, and due to be
    /// submitted at once.
    pub(super) fn add(
        &mut self,
        requester: Peer,
        task: TaskRef,
        (proof, pin): (BlobRef, Pin),
        usage: &Usage,
        took: Duration,
    ) {
        let now = Instant::now();
        let kept = self.kept.entry(proof.blob).or_insert(Kept {
            of: BTreeMap::new(),
            bytes: proof.bytes,
            since: now,
            _pin: pin,
        });
        kept.since = now;
        kept.of.insert((requester, task.job), false);
        self.bound_kept();
        let submission = Submission {
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
        self.submissions.insert((requester, task), submission);
        if self.unpaid.len() < UNPAID_MAX {
            let unpaid = Unpaid {
                proof: proof.blob,
                took,
            };
            self.unpaid.insert((requester, task), unpaid);
        }
    }

    /// The number of proofs that their requesters have not judged yet.
    pub(super) fn submitted(&self) -> usize {
        self.submissions.len()
    }

    /// The proofs that are to be submitted now, and their requesters.
    pub(super) fn due(&mut self, now: Instant) -> Vec<(Peer, TaskRef, Request)> {
        self.submissions
            .retain(|_, waiting| waiting.since.elapsed() < SUBMIT_FOR);
        let due = self
            .submissions
            .iter_mut()
            .filter(|(_, waiting)| !waiting.sent && waiting.next <= now);
        due.map(|(&(requester, task), waiting)| {
            waiting.sent = true;
            let (proof, spent) = (waiting.proof, waiting.spent);
            (requester, task, Request::Submit { task, proof, spent })
        })
        .collect()
    }

    /// A requester is there again: the proofs made while the connection was broken are submitted
    /// `now`.
    pub(super) fn submit_again(&mut self, requester: Peer, now: Instant) {
        let waiting = self.submissions.iter_mut();
        waiting
            .filter(|((of, _), _)| *of == requester)
            .for_each(|(_, waiting)| waiting.next = now);
    }

    /// A requester has answered to a submission, or not.
    pub(super) fn answered(&mut self, requester: Peer, task: TaskRef, answer: Result<Response, AskError>) {
        let Some(waiting) = self.submissions.get_mut(&(requester, task)) else {
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
                self.submissions.remove(&(requester, task));
                // The requester may have it already: it refuses a second submission of an accepted
                // proof, too.
                if !self.kept.contains_key(&proof) {
                    self.blobs.release(&proof);
                }
            }
            Ok(_) | Err(_) => {
                waiting.next = Instant::now() + SUBMIT_EVERY;
                waiting.sent = false;
            }
        }
    }

    /// A requester judges a proof. Returns whether the proof was submitted to it, and not judged
    /// yet.
    pub(super) fn judged(&mut self, requester: Peer, task: TaskRef, accepted: bool, reason: &str) -> bool {
        let Some(Submission { proof, .. }) = self.submissions.remove(&(requester, task)) else {
            return false;
        };
        let kept = self.kept.get_mut(&proof.blob);
        if accepted {
            if let Some(has_it) = kept.and_then(|kept| kept.of.get_mut(&(requester, task.job))) {
                *has_it = true;
            }
        } else {
            self.unpaid.remove(&(requester, task));
            if let Some(kept) = kept {
                kept.of.remove(&(requester, task.job));
                if kept.of.is_empty() {
                    self.kept.remove(&proof.blob);
                }
            }
            tracing::warn!("the proof of {} was rejected: {reason:?}", task.task);
        }
        true
    }

    /// The time that this machine spent on the proof of a receipt. None if the proof is not this
    /// prover's, if the receipt is not from the requester that has the proof, or if it is not the
    /// first one.
    pub(super) fn pay(&mut self, peer: Peer, prover: Peer, signed: &SignedReceipt) -> Option<Duration> {
        let receipt = &signed.receipt;
        let due = self.unpaid.get(&(peer, receipt.task));
        let due = due.filter(|due| due.proof == receipt.proof);
        // Anybody can send any number of them.
        let Some(took) = due.map(|due| due.took) else {
            tracing::debug!(
                "requester {} sends a receipt for what is not due",
                short_name(peer)
            );
            return None;
        };
        if receipt.requester != peer || receipt.prover != prover || !signed.is_genuine() {
            tracing::debug!("requester {} sends a receipt that is not valid", short_name(peer));
            return None;
        }
        self.unpaid.remove(&(peer, receipt.task));
        Some(took)
    }

    /// Lets go of proofs that take room from the next task, whatever their requesters say. Accepted
    /// ones go first, the oldest before the others. As long as there is room, all stay.
    pub(super) fn bound_kept(&mut self) {
        let most = (self.blobs.quota_bytes() as f64 * KEPT_PART) as u64;
        let mut bytes: u64 = self.kept.values().map(|kept| kept.bytes).sum();
        // The proof that was made last is about to be fetched.
        while self.kept.len() > 1 && (self.kept.len() > KEPT_MAX || bytes > most) {
            let least = self
                .kept
                .iter()
                .min_by_key(|(_, kept)| (!kept.is_accepted(), kept.since))
                .map(|(&proof, _)| proof);
            let Some(proof) = least else { return };
            bytes -= self.kept[&proof].bytes;
            self.let_go(proof);
        }
    }

    /// Nobody needs anything from a job any more.
    pub(super) fn close(&mut self, job: JobId, requester: Peer) {
        let closed = (requester, job);
        self.submissions
            .retain(|(requester, task), _| (*requester, task.job) != closed);
        self.let_go_where(|wanted| wanted == closed);
    }

    /// A requester does not need these proofs any more. Only the one for which they were made can
    /// say so.
    pub(super) fn obsolete(&mut self, requester: Peer, proofs: Vec<Blob>) {
        for proof in proofs {
            if let Some(kept) = self.kept.get_mut(&proof) {
                kept.of.retain(|(other, _), _| *other != requester);
                if kept.of.is_empty() {
                    self.let_go(proof);
                }
            }
        }
    }

    /// Lets go of proofs whose requesters have fallen silent: those of jobs that are not known to
    /// be open, and of which nothing waits to be judged.
    pub(super) fn drop_forgotten(&mut self, is_open: impl Fn(Peer, JobId) -> bool) {
        let submitted = self.submissions.keys();
        let submitted: BTreeSet<(Peer, JobId)> = submitted
            .map(|&(requester, task)| (requester, task.job))
            .collect();
        self.let_go_where(|wanted| !submitted.contains(&wanted) && !is_open(wanted.0, wanted.1));
    }

    /// Some requesters need their proofs no more, and proofs go that nobody needs.
    fn let_go_where(&mut self, is_over: impl Fn((Peer, JobId)) -> bool) {
        let mut unwanted = Vec::new();
        for (&proof, kept) in &mut self.kept {
            kept.of.retain(|&wanted, _| !is_over(wanted));
            if kept.of.is_empty() {
                unwanted.push(proof);
            }
        }
        unwanted.into_iter().for_each(|proof| self.let_go(proof));
    }

    fn let_go(&mut self, proof: Blob) {
        if self.kept.remove(&proof).is_some() {
            self.blobs.release(&proof);
        }
    }
}

#[cfg(test)]
mod tests {
    use myriad_core::TaskId;
    use myriad_net::{Receipt, wire::Refused};

    use super::*;

    const REQUESTER: Peer = Peer([1; 32]);
    const OTHER: Peer = Peer([2; 32]);
    const PROOF_BYTES: usize = 1000;

    fn task(index: u32) -> TaskRef {
        TaskRef {
            job: JobId([1; 32]),
            task: TaskId::Segment(index),
        }
    }

    /// Proofs of this many tasks for one requester, of a machine that lends so much disk.
    fn finished(tasks: u32, quota_bytes: u64) -> (tempfile::TempDir, Finished, Vec<BlobRef>) {
        let dir = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open(dir.path(), quota_bytes).unwrap();
        let mut finished = Finished::new(blobs.clone());
        let add = |index: u32| {
            let proof = blobs.put(&vec![index as u8; PROOF_BYTES]).unwrap();
            let pinned = (proof, blobs.pin(&proof.blob));
            finished.add(
                REQUESTER,
                task(index),
                pinned,
                &Usage::default(),
                Duration::from_secs(1),
            );
            proof
        };
        let proofs = (0..tasks).map(add).collect();
        (dir, finished, proofs)
    }

    #[test]
    fn a_proof_is_submitted_until_its_requester_has_judged_it() {
        let (_dir, mut finished, _) = finished(1, 1 << 20);
        let now = Instant::now();
        assert_eq!(finished.due(now).len(), 1);
        assert_eq!(finished.due(now).len(), 0, "one is on its way");
        finished.answered(REQUESTER, task(0), Err(AskError::Unreachable));
        assert_eq!(finished.due(now).len(), 0);
        assert_eq!(finished.due(now + 2 * SUBMIT_EVERY).len(), 1);
        finished.answered(REQUESTER, task(0), Ok(Response::Received));
        finished.submit_again(OTHER, now);
        assert_eq!(finished.due(now).len(), 0, "it is not for that one");
        finished.submit_again(REQUESTER, now);
        assert_eq!(finished.due(now).len(), 1);

        assert!(!finished.judged(OTHER, task(0), true, ""), "it was not asked");
        assert!(finished.judged(REQUESTER, task(0), true, ""));
        assert!(!finished.judged(REQUESTER, task(0), true, ""), "once");
        assert_eq!((finished.submitted(), finished.kept.len()), (0, 1));
    }

    #[test]
    fn what_is_not_wanted_is_not_submitted_again() {
        let (_dir, mut finished, _) = finished(1, 1 << 20);
        let refused = Refused {
            why: Why::NotLeased,
            reason: "done".into(),
            retry_ms: None,
        };
        finished.answered(REQUESTER, task(0), Ok(Response::Refused(refused)));
        assert_eq!(
            (finished.submitted(), finished.kept.len()),
            (0, 1),
            "others may need it"
        );
    }

    #[test]
    fn only_the_requester_of_a_proof_says_that_it_is_needed_no_more() {
        let (_dir, mut finished, proofs) = finished(2, 1 << 20);
        let blobs: Vec<Blob> = proofs.iter().map(|proof| proof.blob).collect();
        finished.obsolete(OTHER, blobs.clone());
        finished.close(task(0).job, OTHER);
        finished.drop_forgotten(|_, _| false);
        assert_eq!(finished.kept.len(), 2, "they wait to be judged");
        finished.obsolete(REQUESTER, blobs[..1].to_vec());
        assert_eq!(finished.kept.len(), 1);
        finished.close(task(0).job, REQUESTER);
        assert_eq!((finished.submitted(), finished.kept.len()), (0, 0));
    }

    /// Its proof of the same task may be the same.
    #[test]
    fn a_requester_that_announces_anothers_job_takes_nothing_from_it() {
        let (_dir, mut finished, proofs) = finished(1, 1 << 20);
        let proof = proofs[0];
        let pinned = (proof, finished.blobs.pin(&proof.blob));
        finished.add(OTHER, task(0), pinned, &Usage::default(), Duration::ZERO);
        let due = finished.due(Instant::now());
        let requesters: Vec<Peer> = due.iter().map(|(requester, ..)| *requester).collect();
        assert_eq!(requesters, [REQUESTER, OTHER]);
        assert!(finished.judged(OTHER, task(0), false, "no"));
        finished.obsolete(OTHER, vec![proof.blob]);
        finished.close(task(0).job, OTHER);
        assert_eq!((finished.submitted(), finished.kept.len()), (1, 1));
        assert!(finished.unpaid.contains_key(&(REQUESTER, task(0))));
        assert!(finished.judged(REQUESTER, task(0), true, ""));
        finished.drop_forgotten(|requester, _| requester == REQUESTER);
        assert!(finished.kept[&proof.blob].is_accepted());
        finished.obsolete(REQUESTER, vec![proof.blob]);
        assert!(finished.kept.is_empty());
    }

    #[test]
    fn accepted_proofs_give_way_first_and_the_last_one_stays() {
        // Room for two proofs in the half that they may take.
        let (_dir, mut finished, proofs) = finished(2, 4 * PROOF_BYTES as u64 + 100);
        assert!(finished.judged(REQUESTER, task(1), true, ""));
        let blobs = finished.blobs.clone();
        let proof = blobs.put(&[9; PROOF_BYTES]).unwrap();
        let pinned = (proof, blobs.pin(&proof.blob));
        finished.add(REQUESTER, task(2), pinned, &Usage::default(), Duration::ZERO);
        assert!(finished.kept.contains_key(&proofs[0].blob) && finished.kept.contains_key(&proof.blob));
        assert!(
            !finished.kept.contains_key(&proofs[1].blob),
            "its requester has it"
        );
    }

    #[test]
    fn a_receipt_that_is_not_genuine_pays_for_nothing() {
        let (_dir, mut finished, proofs) = finished(1, 1 << 20);
        let prover = Peer([9; 32]);
        let receipt = |proof: Blob| SignedReceipt {
            receipt: Receipt {
                requester: REQUESTER,
                prover,
                task: task(0),
                proof,
                instructions: 1,
                work_ms: 1,
                accepted: 0,
            },
            signature: vec![0; 64],
        };
        assert_eq!(finished.pay(OTHER, prover, &receipt(proofs[0].blob)), None);
        assert_eq!(finished.pay(REQUESTER, prover, &receipt(Blob([5; 32]))), None);
        assert_eq!(finished.pay(REQUESTER, prover, &receipt(proofs[0].blob)), None);
        assert!(
            finished.unpaid.contains_key(&(REQUESTER, task(0))),
            "it is still waited for"
        );
    }
}
