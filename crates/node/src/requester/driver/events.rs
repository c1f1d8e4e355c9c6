//! Passes events of the state machine on, to the user and to the peers that they concern.

use std::time::Duration;

use myriad_core::{Event as CoreEvent, Peer, TaskId, TaskRef};
use myriad_engine::worker::Usage;
use myriad_net::{
    short_name,
    wire::{Notice, Spent, shortened},
};

use super::Driver;
use crate::{Event, RunError, job::MISSED, requester::backend::JobBackend};

impl<J: JobBackend> Driver<'_, J> {
    pub(super) fn core_event(&mut self, event: CoreEvent) {
        match event {
            CoreEvent::TaskDone { task, peer, took } => self.task_done(task, peer, took),
            CoreEvent::JobDone { .. } => self.job.finished = true,
            CoreEvent::DeadlineMissed { .. } => {
                self.job.observer.event(&Event::Notice { text: MISSED.into() })
            }
            CoreEvent::JobFailed { task, failures, .. } => {
                self.job.failed = Some(RunError::Task {
                    task,
                    attempts: failures.len(),
                    last: failures.last().map(|(_, said)| said.clone()).unwrap_or_default(),
                });
            }
            CoreEvent::TaskFailed { task, message, peer } => {
                let prover = self.place(peer);
                let task = task.task;
                self.job.observer.event(&Event::Idle { prover, task });
                self.job.observer.event(&Event::Retrying {
                    task,
                    reason: format!("prover {}: {message}", short_name(peer)),
                });
            }
            CoreEvent::Refuted {
                task, maker, reason, ..
            } => {
                let maker = maker.map_or("another run".into(), |maker| {
                    format!("prover {}", short_name(maker))
                });
                self.job.observer.event(&Event::Reopened {
                    task: task.task,
                    reason: format!("the proof by {maker} turned out to be of no use: {reason}"),
                });
            }
            CoreEvent::Reopened { task, reason, .. } => self.job.observer.event(&Event::Reopened {
                task: task.task,
                reason,
            }),
            CoreEvent::Pardoned { peer, task } => {
                // Otherwise it would not ask again for a long time.
                self.outbox.notify(peer, Notice::Wake);
                self.job.observer.event(&Event::Notice {
                    text: format!(
                        "prover {} is not banned any more: nobody could have done {}",
                        short_name(peer),
                        task.task
                    ),
                });
            }
            CoreEvent::Banned { peer, task, reason } => self.banned(peer, task, &reason),
        }
    }

    fn banned(&mut self, peer: Peer, task: TaskRef, reason: &str) {
        self.job.holders.forget(&[peer]);
        self.spreading.forget(peer);
        let (name, task_name) = (short_name(peer), task.task.to_string());
        tracing::debug!(
            stage = "ban",
            task = task_name,
            peer = name,
            reason,
            "prover {name} is banned"
        );
        self.job.observer.event(&Event::Notice {
            text: format!("prover {name} is banned: {task_name}: {reason}"),
        });
        let verdict = Notice::Verdict {
            task,
            accepted: false,
            reason: shortened(reason),
        };
        self.outbox.notify(peer, verdict);
    }

    fn task_done(&mut self, task: TaskRef, peer: Peer, took: Duration) {
        let durable = self.job.proofs.proof(task.task);
        let (proof_bytes, spent) =
            durable.map_or((0, Spent::default()), |(proof, spent)| (proof.bytes, spent));
        let usage = Usage {
            wall: took,
            cpu: Duration::from_millis(spent.cpu_ms),
            peak_bytes: spent.memory_bytes,
            ..Usage::default()
        };
        self.job.usages.push((task.task.kind(), usage));
        let prover = self.place(peer);
        self.job.observer.event(&Event::Done {
            prover,
            task: task.task,
            usage,
            proof_bytes: proof_bytes as usize,
        });
        if peer == self.network.peer() {
            // It was done here.
            return;
        }
        let verdict = Notice::Verdict {
            task,
            accepted: true,
            reason: String::new(),
        };
        self.outbox.notify(peer, verdict);
        self.give_receipt(task, peer);
    }

    pub(super) fn obsolete(&mut self, task: TaskId) {
        let Some((proof, _)) = self.job.proofs.proof(task) else {
            return;
        };
        let blob = proof.blob;
        for peer in self.job.holders.some(blob, usize::MAX) {
            self.outbox.notify(peer, Notice::Obsolete { proofs: vec![blob] });
        }
    }

    pub(super) fn place(&mut self, peer: Peer) -> usize {
        let (place, is_new) = self.peers.place_or_new(peer);
        if is_new {
            self.job.observer.event(&Event::Joined {
                prover: place,
                name: if peer == self.network.peer() {
                    "this machine".into()
                } else {
                    short_name(peer)
                },
            });
        }
        place
    }
}
