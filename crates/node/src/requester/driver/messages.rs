//! Describes a job and its tasks to peers: the announcement, and the content of a lease.

use myriad_core::{JobId, Peer, TaskId, TaskRef, Time};
use myriad_net::{
    Network,
    wire::{Lease, Source, Work},
};

use super::{Driver, of_job::OfJob};
use crate::requester::{backend::JobBackend, spreading::Prover};

/// Holders that a lease names for each proof, beside this node.
const CHILD_HOLDERS_NAMED: usize = 3;

impl<J: JobBackend> Driver<J> {
    /// Announces a job that has tasks, or that it is closed.
    pub(super) fn announce(&mut self, id: JobId, open: bool) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        job.announced = open;
        let said = job.files.announcement(&self.network, id, Some(job.extent), open);
        if open {
            self.network.announce(said);
        } else {
            self.close(said);
        }
    }

    pub(super) fn lease(&mut self, peer: Peer, task: TaskRef, until: Time) -> Lease {
        let lease_ms = self.millis_until(until);
        let prover = Prover {
            peer,
            is_proven: self.is_proven(peer),
            origin: self.peers.hello(peer).and_then(|(_, origin)| origin),
            holds: &self.offered,
        };
        let job = self.jobs.get_mut(&task.job).expect("leases are of open jobs");
        let network = &self.network;
        let sources = self.spreading.sources(network, task.job, &job.files, &prover);
        let inputs = self.requester.inputs(task);
        let work = match task.task {
            TaskId::Segment(index) => Work::Segment(job.backend.segment(index)),
            TaskId::Node(node) => Work::Aggregate {
                level: node.level,
                children: inputs
                    .iter()
                    .map(|&child| job.proof_source(network, child))
                    .collect(),
            },
            TaskId::Final => {
                let top = inputs.iter().find(|input| matches!(input, TaskId::Node(_)));
                let last = inputs.iter().find(|input| matches!(input, TaskId::Segment(_)));
                let &TaskId::Node(node) = top.expect("the final proof is made of the top node") else {
                    unreachable!("only nodes were looked for");
                };
                Work::Finish {
                    level: node.level,
                    top: job.proof_source(network, TaskId::Node(node)),
                    last_segment: job.proof_source(network, *last.expect("and of the last segment")),
                }
            }
        };
        let (work_time, memory) = job.work[&task.task];
        Lease {
            task,
            lease_ms,
            work_ms: work_time.as_millis() as u64,
            memory,
            sources,
            instructions: job.extent.instructions,
            work,
        }
    }
}

impl<J: JobBackend> OfJob<J> {
    /// Where a prover gets the proof of a task.
    fn proof_source(&mut self, network: &Network, task: TaskId) -> Source {
        let durable = self.proofs.proof(task);
        let (proof, _) = durable.expect("a task can start when the proofs that it is made of are durable");
        let holders = self.holders.some(proof.blob, CHILD_HOLDERS_NAMED);
        network.source(proof, holders)
    }
}
