//! Describes the job and its tasks to peers: the announcement, and the content of a lease.

use myriad_core::{Peer, TaskId, TaskRef, Time};
use myriad_net::{
    blob::BlobRef,
    wire::{Lease, Source, Work},
};

use super::Driver;
use crate::requester::{backend::JobBackend, spreading::Prover};

/// Holders that a lease names for each proof, beside this node.
const HOLDERS_NAMED: usize = 3;

impl<J: JobBackend> Driver<'_, J> {
    pub(super) fn announce(&self, open: bool) {
        let extent = Some(self.job.extent);
        self.network.announce(
            self.job
                .files
                .announcement(&self.network, self.job.id, extent, open),
        );
    }

    pub(super) fn lease(&mut self, peer: Peer, task: TaskRef, until: Time) -> Lease {
        let prover = Prover {
            peer,
            is_proven: self.is_proven(peer),
            origin: self.peers.hello(peer).and_then(|(_, origin)| origin),
            holds: &self.offered,
        };
        let sources = self.spreading.sources(&self.network, &self.job.files, &prover);
        let inputs = self.requester.inputs(task);
        let work = match task.task {
            TaskId::Segment(index) => Work::Segment(self.job.backend.segment(index)),
            TaskId::Node(node) => Work::Aggregate {
                level: node.level,
                children: inputs.iter().map(|&child| self.proof_source(child)).collect(),
            },
            TaskId::Final => {
                let top = inputs.iter().find(|input| matches!(input, TaskId::Node(_)));
                let last = inputs.iter().find(|input| matches!(input, TaskId::Segment(_)));
                let &TaskId::Node(node) = top.expect("the final proof is made of the top node") else {
                    unreachable!("only nodes were looked for");
                };
                Work::Finish {
                    level: node.level,
                    top: self.proof_source(TaskId::Node(node)),
                    last_segment: self.proof_source(*last.expect("and of the last segment")),
                }
            }
        };
        let (work_time, memory) = self.job.work[&task.task];
        Lease {
            task,
            lease_ms: self.millis_until(until),
            work_ms: work_time.as_millis() as u64,
            memory,
            sources,
            instructions: self.job.extent.instructions,
            work,
        }
    }

    pub(super) fn proof_source(&mut self, task: TaskId) -> Source {
        let durable = self.job.proofs.proof(task);
        let (proof, _) = durable.expect("a task can start when the proofs that it is made of are durable");
        self.source(proof)
    }

    pub(super) fn source(&mut self, blob: BlobRef) -> Source {
        let holders = self.job.holders.some(blob.blob, HOLDERS_NAMED);
        self.network.source(blob, holders)
    }
}
