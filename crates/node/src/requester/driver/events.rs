//! Passes events of the state machine on, to the user and to the peers that they concern.

use std::time::Duration;

use myriad_core::{Event as CoreEvent, JobId, Peer, TaskRef};
use myriad_engine::worker::Usage;
use myriad_net::{
    short_name,
    wire::{Notice, Spent, shortened},
};

use super::Driver;
use crate::{Event, RunError, job::MISSED, requester::backend::JobBackend};

impl<J: JobBackend> Driver<J> {
    pub(super) fn core_event(&mut self, event: CoreEvent) {
        match event {
            CoreEvent::TaskDone { task, peer, took } => self.task_done(task, peer, took),
            CoreEvent::JobDone { job } => self.end_job(job, Ok(())),
            CoreEvent::DeadlineMissed { job } => self.show(job, &Event::Notice { text: MISSED.into() }),
            CoreEvent::JobFailed { job, task, failures } => {
                let error = RunError::Task {
                    task,
                    attempts: failures.len(),
                    last: failures.last().map(|(_, said)| said.clone()).unwrap_or_default(),
                };
                self.end_job(job, Err(error));
            }
            CoreEvent::TaskFailed { task, message, peer } => {
                let prover = self.place(peer);
                let TaskRef { job, task } = task;
                self.show(job, &Event::Idle { prover, task });
                let reason = format!("prover {}: {message}", short_name(peer));
                self.show(job, &Event::Retrying { task, reason });
            }
            CoreEvent::Refuted {
                task, maker, reason, ..
            } => {
                let maker = maker.map_or("another run".into(), |maker| {
                    format!("prover {}", short_name(maker))
                });
                let reason = format!("the proof by {maker} turned out to be of no use: {reason}");
                let TaskRef { job, task } = task;
                self.show(job, &Event::Reopened { task, reason });
            }
            CoreEvent::Reopened { task, reason, .. } => {
                let TaskRef { job, task } = task;
                self.show(job, &Event::Reopened { task, reason });
            }
            CoreEvent::Pardoned { peer, task } => {
                // Otherwise it would not ask again for a long time.
                self.outbox.notify(peer, Notice::Wake, None);
                let text = format!(
                    "prover {} is not banned any more: nobody could have done {}",
                    short_name(peer),
                    task.task
                );
                self.show(task.job, &Event::Notice { text });
            }
            CoreEvent::Banned { peer, task, reason } => self.banned(peer, task, &reason),
        }
    }

    fn end_job(&mut self, job: JobId, outcome: Result<(), RunError>) {
        if let Some(job) = self.jobs.get_mut(&job) {
            job.end(outcome);
        }
    }

    fn banned(&mut self, peer: Peer, task: TaskRef, reason: &str) {
        for job in self.jobs.values_mut() {
            job.holders.forget(&[peer]);
        }
        self.spreading.forget(peer);
        let (name, task_name) = (short_name(peer), task.task.to_string());
        tracing::debug!(
            stage = "ban",
            task = task_name,
            peer = name,
            reason,
            "prover {name} is banned"
        );
        let text = format!("prover {name} is banned: {task_name}: {reason}");
        self.show(task.job, &Event::Notice { text });
        let verdict = Notice::Verdict {
            task,
            accepted: false,
            reason: shortened(reason),
        };
        self.notify(task.job, peer, verdict);
    }

    fn task_done(&mut self, task: TaskRef, peer: Peer, took: Duration) {
        let Some(job) = self.jobs.get_mut(&task.job) else {
            return;
        };
        let durable = job.proofs.proof(task.task);
        let (proof_bytes, spent) =
            durable.map_or((0, Spent::default()), |(proof, spent)| (proof.bytes, spent));
        let usage = Usage {
            wall: took,
            cpu: Duration::from_millis(spent.cpu_ms),
            peak_bytes: spent.memory_bytes,
            ..Usage::default()
        };
        job.usages.push((task.task.kind(), usage));
        let prover = self.place(peer);
        let done = Event::Done {
            prover,
            task: task.task,
            usage,
            proof_bytes: proof_bytes as usize,
        };
        self.show(task.job, &done);
        if peer == self.network.peer() {
            // It was done here.
            return;
        }
        let verdict = Notice::Verdict {
            task,
            accepted: true,
            reason: String::new(),
        };
        self.notify(task.job, peer, verdict);
        self.give_receipt(task, peer);
    }

    pub(super) fn obsolete(&mut self, task: TaskRef) {
        let Some(job) = self.jobs.get_mut(&task.job) else {
            return;
        };
        let Some((proof, _)) = job.proofs.proof(task.task) else {
            return;
        };
        let blob = proof.blob;
        for peer in job.holders.some(blob, usize::MAX) {
            let token = job.messages.token();
            self.outbox
                .notify(peer, Notice::Obsolete { proofs: vec![blob] }, Some(token));
        }
    }

    /// Sends a notice about a job to a peer, which may be lost.
    pub(super) fn notify(&self, job: JobId, peer: Peer, notice: Notice) {
        let token = self.jobs.get(&job).map(|job| job.messages.token());
        self.outbox.notify(peer, notice, token);
    }

    /// The place of a prover on the screens. All jobs hear of a new one: it may get tasks of each.
    pub(super) fn place(&mut self, peer: Peer) -> usize {
        let (prover, is_new) = self.peers.place_or_new(peer);
        if is_new {
            let name = self.name(peer);
            self.show_all(&Event::Joined { prover, peer, name });
        }
        prover
    }

    /// The provers that have places, as a job hears of them that begins.
    pub(super) fn joined(&self) -> Vec<Event> {
        let joined = |(peer, prover)| Event::Joined {
            prover,
            peer,
            name: self.name(peer),
        };
        self.peers.places().map(joined).collect()
    }

    fn name(&self, peer: Peer) -> String {
        if peer == self.network.peer() {
            "this machine".into()
        } else {
            short_name(peer)
        }
    }
}
