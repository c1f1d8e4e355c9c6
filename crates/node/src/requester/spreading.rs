//! Tells provers which peers send them a job's files. [`myriad_core::spreading`] decides it.
//!
//! ```text
//! Prepare, holding some ─▶ fetch from a prover that has all, or from this node, or ask again later
//! Prepare, holding all  ─▶ it has all, and is named to others
//! Offer, holding some   ─▶ the lease names the best source first
//! ```

use std::time::Instant;

use myriad_core::{
    Blob, JobId, Peer, Time,
    spreading::{self, Sender, Turn, Wants},
};
use myriad_net::{
    Network,
    blob::BlobRef,
    wire::{Contact, HOLDERS_MAX, Response, Source, Sources, Why},
};

use super::{Files, refusals::refused};

/// Provers that a lease names for the job's files, beside this node.
const FILE_HOLDERS_NAMED: usize = HOLDERS_MAX - 1;

/// The provers that have the files of jobs, and those that are fetching them.
pub(super) struct Spreading {
    decider: spreading::Spreading,
    start: Instant,
}

/// A prover that wants a job's files.
pub(super) struct Prover<'a> {
    pub peer: Peer,
    /// Whether it has delivered before.
    pub is_proven: bool,
    /// The network that it calls from; see [`Wants`].
    pub origin: Option<u64>,
    /// Blobs that it has, of this job and of others, as it says.
    pub holds: &'a [Blob],
}

impl Prover<'_> {
    pub(super) fn has_all(&self, files: &Files) -> bool {
        files.all().all(|file| self.holds.contains(&file.blob))
    }

    fn wants(&self, files: &Files) -> Wants {
        let missing = files.all().filter(|file| !self.holds.contains(&file.blob));
        Wants {
            peer: self.peer,
            bytes: missing.map(|file| file.bytes).sum(),
            believed: self.is_proven,
            origin: self.origin,
        }
    }
}

impl Default for Spreading {
    fn default() -> Self {
        Self {
            decider: spreading::Spreading::default(),
            start: Instant::now(),
        }
    }
}

impl Spreading {
    /// A job is there, or will be.
    pub(super) fn add(&mut self, job: JobId, files: &Files) {
        self.decider.add(job, files.all().map(|file| file.bytes).sum());
    }

    /// A job is over.
    pub(super) fn remove(&mut self, job: JobId) {
        self.decider.remove(job);
    }

    fn now(&self) -> Time {
        Time(self.start.elapsed().as_micros() as u64)
    }

    /// Answers a prover that has no task yet.
    pub(super) fn answer(
        &mut self,
        network: &Network,
        job: JobId,
        files: &Files,
        prover: &Prover<'_>,
    ) -> Response {
        if prover.has_all(files) {
            self.has_all(job, prover.peer, prover.is_proven);
            return Response::Received;
        }
        let from = match self.decider.turn(self.now(), job, prover.wants(files)) {
            Turn::Wait(pause) => {
                let reason = "others fetch the job's files first, and will have them for this machine";
                return refused(Why::NotNow, reason, Some(pause.as_millis() as u64));
            }
            Turn::From(from) => from,
        };
        Response::Files(Box::new(sources(files, &[contact(network, from)])))
    }

    /// Where a prover with a lease gets the job's files.
    pub(super) fn sources(
        &mut self,
        network: &Network,
        job: JobId,
        files: &Files,
        prover: &Prover<'_>,
    ) -> Sources {
        let wants = prover.wants(files);
        let from = self.decider.sources(self.now(), job, wants, FILE_HOLDERS_NAMED);
        let others = from.into_iter().filter(|from| *from != Sender::Peer(prover.peer));
        let contacts: Vec<Contact> = others.map(|from| contact(network, from)).collect();
        sources(files, &contacts)
    }

    /// The peers that have said that they have all files of a job.
    pub(super) fn holders(&self, job: JobId) -> impl Iterator<Item = Peer> + '_ {
        self.decider.holders(job)
    }

    /// A peer says that it has all; see [`Prover::is_proven`].
    pub(super) fn has_all(&mut self, job: JobId, peer: Peer, is_proven: bool) {
        self.decider.has_all(self.now(), job, peer, is_proven);
    }

    /// How long a prover without the files is expected to fetch them now.
    pub(super) fn takes(&self, job: JobId) -> std::time::Duration {
        self.decider.takes(job)
    }

    /// How many tasks can be given out while the job is being executed, with so many provers.
    pub(super) fn enough_for(&self, job: JobId, provers: usize) -> usize {
        self.decider.enough_for(job, provers)
    }

    /// A peer is gone.
    pub(super) fn forget(&mut self, peer: Peer) {
        self.decider.forget(peer);
    }
}

fn contact(network: &Network, from: Sender) -> Contact {
    network.contact(match from {
        Sender::Requester => network.peer(),
        Sender::Peer(peer) => peer,
    })
}

fn sources(files: &Files, holders: &[Contact]) -> Sources {
    let source = |blob: BlobRef| Source {
        blob,
        holders: holders.to_vec(),
    };
    Sources {
        program: source(files.program),
        program_config: files.program_config.map(source),
        input: source(files.input),
        engine: files.engine,
    }
}
