//! Describes the job and its tasks to peers: the announcement, and the content of a lease.

use myriad_core::{Peer, TaskId, TaskRef, Time};
use myriad_net::{
    blob::BlobRef,
    wire::{Lease, Source, Sources, Work},
};

use super::Driver;
use crate::requester::{Files, backend::JobBackend};

/// Holders that a lease names for each blob, beside this node.
const HOLDERS_NAMED: usize = 3;

impl<J: JobBackend> Driver<'_, J> {
    pub(super) fn announce(&self, open: bool) {
        let extent = Some(self.extent);
        self.network
            .announce(self.files.announcement(&self.network, self.job, extent, open));
    }

    /// The lease of a task, for a peer that may have made one of the proofs that it takes a moment
    /// ago.
    pub(super) fn lease(&mut self, peer: Peer, task: TaskRef, until: Time) -> Lease {
        let Files {
            program,
            openvm_toml,
            input,
            engine,
        } = self.files.clone();
        let sources = Sources {
            program: self.source(program),
            openvm_toml: openvm_toml.map(|file| self.source(file)),
            input: self.source(input),
            engine,
        };
        let inputs = self.requester.inputs(task);
        let work = match task.task {
            TaskId::Segment(index) => Work::Segment(self.backend.segment(index)),
            TaskId::Node(node) => Work::Aggregate {
                level: node.level,
                children: inputs
                    .iter()
                    .map(|&child| self.proof_source(peer, child))
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
                    top: self.proof_source(peer, TaskId::Node(node)),
                    last_segment: self.proof_source(peer, *last.expect("and of the last segment")),
                }
            }
        };
        let (work_time, memory) = self.work[&task.task];
        Lease {
            task,
            lease_ms: self.millis_until(until),
            work_ms: work_time.as_millis() as u64,
            memory,
            sources,
            instructions: self.extent.instructions,
            work,
        }
    }

    fn proof_source(&mut self, peer: Peer, task: TaskId) -> Source {
        match self.proofs.proof(task) {
            Some((proof, _)) => self.source(proof),
            // It has it itself, and nobody else.
            None => {
                let claimed = self.proofs.claimed_by(peer, task);
                let proof = claimed.expect("a proof that a task takes is durable, or its own peer's");
                self.network.source(proof, vec![peer])
            }
        }
    }

    pub(super) fn source(&mut self, blob: BlobRef) -> Source {
        let holders = self.holders.some(blob.blob, HOLDERS_NAMED);
        self.network.source(blob, holders)
    }
}
