//! Answers the requester's questions about proofs: fetched, checked, tried.

use std::time::Duration;

use myriad_core::{Blob, Input, Peer, TaskId, TaskRef, TrialVerdict, Verdict, stalled_after};

use super::{Occurrence, Simulation};
use crate::{
    faults::scenario::cost,
    peer::{GOOD, INVALID, POISON, WITHHELD_FOR},
};

/// The time to fetch a proof and to verify it.
pub(in crate::faults) const CHECK: std::ops::Range<Duration> =
    Duration::from_millis(100)..Duration::from_millis(1500);
/// The time of a fetch that only stalls.
const STALLED_FOR: std::ops::Range<Duration> = Duration::from_secs(2)..Duration::from_secs(30);
/// This many of a thousand fetches in faulty times stall.
const SLOW: u32 = 50;
/// The size of every proof here: it says when a fetch stalls.
const PROOF_BYTES: u64 = 500_000;
/// This many times of a thousand the requester has no memory to do a task itself.
const UNABLE: u32 = 200;
/// The maker of proofs that the requester makes itself.
const REQUESTER: Peer = Peer([0xff; 32]);

impl Simulation<'_> {
    /// Fetches and verifies a proof. Some that are good take as long as if they were withheld, as
    /// far as anybody can see.
    pub(super) fn check(&mut self, peer: Peer, task: TaskRef, proof: Blob) {
        let reason = "it does not hold, or was not sent".into();
        let verdict = match proof.0[0] {
            GOOD | POISON => Verdict::Accepted,
            INVALID => Verdict::Invalid { reason },
            _ => Verdict::Unavailable { reason },
        };
        let slow = self.faulty && self.rng.chance(SLOW);
        let takes = match verdict {
            Verdict::Unavailable { .. } => WITHHELD_FOR,
            _ if slow => self.rng.duration(STALLED_FOR),
            _ => self.rng.duration(CHECK),
        };
        let stalls = stalled_after(PROOF_BYTES, 0);
        let checked = Input::Checked {
            peer,
            task,
            proof,
            verdict,
        };
        for (after, input) in [(stalls, Input::Stalled { peer, task, proof }), (takes, checked)] {
            if after <= takes {
                let term = self.term;
                self.queue
                    .push(self.now + after, Occurrence::Finds { term, input });
            }
        }
    }

    /// The input of a task over which no node can be made.
    pub(super) fn poison(&self, task: TaskRef) -> Option<(TaskId, Blob)> {
        let requester = self.requester.as_ref()?;
        let inputs = requester.inputs(task).into_iter();
        let mut proofs = inputs.filter_map(|input| {
            let proof = requester.proof(TaskRef { task: input, ..task })?;
            Some((input, proof))
        });
        proofs.find(|(_, proof)| proof.0[0] == POISON)
    }

    pub(super) fn try_it(&mut self, task: TaskRef) {
        self.tries.push_back(task);
        if self.tries.len() == 1 {
            self.begin_try(task);
        }
    }

    fn begin_try(&mut self, task: TaskRef) {
        let (term, ends) = (self.term, self.now + cost(task.task.kind()).work);
        self.queue.push(ends, Occurrence::Tried { term, task });
    }

    /// The requester has done a task itself, or was not able to.
    pub(super) fn tried(&mut self, task: TaskRef) -> Result<(), String> {
        self.tries.pop_front();
        while let Some(&next) = self.tries.front() {
            if self
                .requester
                .as_ref()
                .is_some_and(|requester| requester.is_trying(next))
            {
                self.begin_try(next);
                break;
            }
            self.tries.pop_front();
        }
        let outcome = if self.rng.chance(UNABLE) {
            TrialVerdict::Unable
        } else if let Some((child, proof)) = self.poison(task) {
            let reason = "no node can be made over it".into();
            self.journal.done.remove(&TaskRef { task: child, ..task });
            TrialVerdict::Refuted { child, proof, reason }
        } else {
            let mut proof = *blake3::hash(task.to_string().as_bytes()).as_bytes();
            proof[0] = GOOD;
            TrialVerdict::Made {
                by: REQUESTER,
                proof: Blob(proof),
                took: cost(task.task.kind()).work,
            }
        };
        self.input(Input::Tried { task, outcome }, None)
    }
}
