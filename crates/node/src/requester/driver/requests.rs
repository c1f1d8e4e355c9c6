//! Answers the requests of peers: offers, renewals, proofs that they submit, and leases that they
//! return.

use std::{collections::BTreeSet, time::Duration};

use myriad_core::{Blob, EngineId, EngineName, Input, JobId, Offer, Peer, Return, Standing};
use myriad_net::{
    Reply, short_name,
    wire::{Hello, OfferMessage, Request, Response, Returned, Role, Why},
};

use super::Driver;
use crate::requester::{
    backend::JobBackend,
    refusals::{NOT_SERVED, no_such_job, other_engine, refused},
    spreading::Prover,
};

/// When a prover without a task is to ask again for the files of a job that has all its tasks.
const SETTLED_RETRY: Duration = Duration::from_secs(60);

impl<J: JobBackend> Driver<J> {
    pub(super) fn handle_request(&mut self, peer: Peer, request: Request, reply: Reply) {
        let task = match &request {
            Request::Offer(_) => None,
            Request::Prepare { job, holds } => return reply.send(self.prepare(peer, *job, holds)),
            Request::Renew { task, .. } | Request::Submit { task, .. } | Request::Return { task, .. } => {
                Some(*task)
            }
            // Only requesters give notices, and nobody gives them any.
            Request::Notice(_) => return reply.send(Response::Received),
        };
        if let Some(task) = task.filter(|task| !self.jobs.contains_key(&task.job)) {
            return reply.send(self.answer_holder(peer, task, &request));
        }
        match request {
            Request::Offer(offer) => self.handle_offer(peer, offer, reply),
            Request::Renew { task, progress } => {
                // A peer that proves has the files, so this node need not send the next copy.
                if progress > 0 && self.requester.may_submit(peer, task) {
                    self.has_files(peer, task.job);
                }
                self.input_from(peer, reply, Input::Renewed { peer, task, progress });
            }
            Request::Submit { task, proof, spent } => {
                let name = task.task.to_string();
                tracing::debug!(
                    stage = "claim",
                    task = name,
                    "claim of {name} by {}",
                    short_name(peer)
                );
                // Claims of tasks that are not leased are not kept, because a peer could claim
                // without end.
                if self.requester.may_submit(peer, task)
                    && let Some(job) = self.jobs.get_mut(&task.job)
                {
                    job.proofs.claim(peer, task.task, proof, spent);
                }
                let input = Input::Submitted {
                    peer,
                    task,
                    proof: proof.blob,
                };
                self.input_from(peer, reply, input);
            }
            Request::Return { task, why } => {
                let why = match why {
                    Returned::Stopping | Returned::Unwilling { .. } => Return::Stopping,
                    Returned::Surplus => Return::Surplus,
                    Returned::Failed { message } => Return::Failed { message },
                };
                self.input_from(peer, reply, Input::Returned { peer, task, why });
            }
            Request::Prepare { .. } | Request::Notice(_) => unreachable!("answered above"),
        }
    }

    /// Names a job's files to a prover that has no task yet.
    fn prepare(&mut self, peer: Peer, id: JobId, holds: &[Blob]) -> Response {
        let (files, has_all_tasks) = match (self.heralded.get(&id), self.jobs.get(&id)) {
            (Some(job), _) => (&job.files, false),
            (None, Some(job)) if job.unplanned.is_some() => {
                return refused(Why::NoWork, "the job ends", None);
            }
            (None, Some(job)) => (&job.files, job.growth.is_none()),
            (None, None) => return no_such_job(),
        };
        if !self.may_be_named(peer) {
            return refused(Why::NotServed, NOT_SERVED, None);
        }
        let prover = Prover {
            peer,
            is_proven: self.is_proven(peer),
            origin: self.peers.hello(peer).and_then(|(_, origin)| origin),
            holds,
        };
        let has_all = prover.has_all(files);
        if !has_all && has_all_tasks {
            let reason = "the job has all its tasks, and a lease comes with its files";
            return refused(Why::NotNow, reason, Some(SETTLED_RETRY.as_millis() as u64));
        }
        let response = self.spreading.answer(&self.network, id, files, &prover);
        if has_all {
            self.has_files(peer, id);
        }
        response
    }

    /// Whether others may be sent to a peer: it is a prover with the engines of the jobs, and not
    /// banned.
    fn may_be_named(&self, peer: Peer) -> bool {
        let standing = self.requester.standing(peer);
        let is_banned = standing.is_some_and(|standing| standing.banned.is_some());
        let hello = self.peers.hello(peer).map(|(hello, _)| hello);
        !is_banned && hello.is_some_and(|hello| self.is_served(&self.engine_names(), hello))
    }

    /// The engines of the jobs; while there are none, those of this build.
    pub(super) fn engine_names(&self) -> BTreeSet<EngineName> {
        let open = self.jobs.values().map(|job| job.files.engine.name);
        let heralded = self.heralded.values().map(|job| job.files.engine.name);
        let names: BTreeSet<EngineName> = open.chain(heralded).collect();
        if names.is_empty() {
            self.network.engines().iter().map(|id| id.name).collect()
        } else {
            names
        }
    }

    /// Why a prover with these engines cannot do tasks of jobs of the named ones; none if it can.
    /// It has to have all of them, since the state machine gives it a task of any job.
    pub(super) fn lacks_engine(&self, names: &BTreeSet<EngineName>, theirs: &[EngineId]) -> Option<String> {
        let own = self.network.engines();
        names.iter().find_map(|&name| other_engine(name, own, theirs))
    }

    /// Whether a peer with this greeting may do tasks of jobs of the named engines.
    pub(super) fn is_served(&self, names: &BTreeSet<EngineName>, hello: &Hello) -> bool {
        hello.role == Role::Prover && self.lacks_engine(names, &hello.engines).is_none()
    }

    /// Whether a peer has delivered before.
    pub(super) fn is_proven(&self, peer: Peer) -> bool {
        self.requester.standing(peer).is_some_and(Standing::is_proven)
    }

    /// A peer says that it has a job's files. It is named to others, and woken before others.
    pub(super) fn has_files(&mut self, peer: Peer, job: JobId) {
        self.spreading.has_all(job, peer, self.is_proven(peer));
        let spares = self.spreading.takes(job);
        self.input(Input::FilesHeld { peer, job, spares });
    }

    fn handle_offer(&mut self, peer: Peer, offer: OfferMessage, reply: Reply) {
        if let Some(refusal) = self.no_offers() {
            return reply.send(refusal);
        }
        let names = self.engine_names();
        let (other, origin) = match self.peers.hello(peer) {
            Some((hello, origin)) => (self.lacks_engine(&names, &hello.engines), origin),
            None => (Some("it has not greeted".into()), None),
        };
        let not_offered = || {
            let name = names.iter().find(|name| !offer.engines.contains(name))?;
            Some(format!("it offers no engine `{name}`"))
        };
        let other = other.or_else(not_offered);
        if let Some(why) = other {
            return reply.send(refused(
                Why::NotServed,
                &format!("this prover is not used: {why}"),
                None,
            ));
        }
        // The state machine refuses a banned peer's offer, and nobody may be sent to it either.
        let may_be_named = self.may_be_named(peer);
        // Blobs that are no proof of a job are not remembered, because anyone can name any number
        // of them.
        for &blob in offer.holds.iter().filter(|_| may_be_named) {
            for job in self.jobs.values_mut().filter(|job| job.proofs.has(blob)) {
                job.holders.add(blob, peer);
            }
        }
        self.offered = offer.holds;
        for id in self.jobs_with_files(&self.offered) {
            if may_be_named {
                self.has_files(peer, id);
            }
        }
        let offer = Offer {
            memory: offer.memory,
            speed: offer.speed,
            trust: self.peers.trust(peer),
            origin,
        };
        self.input_from(peer, reply, Input::Offer { peer, offer });
        self.offered = Vec::new();
    }

    /// The jobs all of whose files are among these blobs.
    fn jobs_with_files(&self, blobs: &[Blob]) -> Vec<JobId> {
        let open = self.jobs.values().map(|job| (job.id, &job.files));
        let heralded = self.heralded.iter().map(|(&id, job)| (id, &job.files));
        let all = open.chain(heralded);
        all.filter(|(_, files)| files.all().all(|file| blobs.contains(&file.blob)))
            .map(|(id, _)| id)
            .collect()
    }

    /// Tells the state machine what a peer said. Its outputs answer the peer.
    fn input_from(&mut self, peer: Peer, reply: Reply, input: Input) {
        self.outbox.begin_reply(peer, reply);
        self.input(input);
        self.outbox.end_reply();
    }
}
