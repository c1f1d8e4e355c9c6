//! Ends a task: keeps its proof, and later the receipt for it, or hands its lease back with the
//! reason.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use myriad_core::{Peer, SPEED_ONE, TaskRef};
use myriad_engine::worker::Usage;
use myriad_net::{
    Regard, SignedReceipt, short_name,
    wire::{Request, Returned, shortened},
};

use super::{Answer, Driver};
use crate::prover::{Engine, current::Stop, offers::Outcome, task::End};

/// The weight of a new measurement: a quarter, so that one good or bad day does not decide.
const NEW_WEIGHT: f64 = 0.25;
/// A measurement counts for no more than this many times the earlier one, and no less than its
/// inverse: the requester says what a task takes, and may lie.
const CHANGE_MAX: f64 = 2.0;
/// A shorter task says nothing of the speed.
const MEASURED_MIN_S: f64 = 0.1;

/// What a task came to. A requester that takes it back is not at fault if this machine
/// `was_proving` it. Before that, it has only kept the machine waiting, whatever it says.
fn outcome(end: &End, stopped: Option<&Stop>, was_proving: bool) -> Outcome {
    match (end, stopped) {
        (End::Proven(..), _) => Outcome::Proof,
        (_, Some(Stop::Revoked)) if was_proving => Outcome::Blameless,
        (End::Unable(_), _) => Outcome::Blameless,
        _ => Outcome::Nothing,
    }
}

impl<E: Engine> Driver<E> {
    pub(super) fn give_back(&mut self, requester: Peer, task: TaskRef, why: Returned) {
        let network = self.network.clone();
        self.returning.spawn(async move {
            // If it is not heard, the lease runs out.
            let _ = network.ask(requester, Request::Return { task, why }).await;
        });
    }

    /// The task at hand has ended. Gives the reason if this machine's disk fails.
    pub(super) fn end_current(&mut self, end: End) -> Option<String> {
        let current = self.current.take().expect("its task has ended");
        let (requester, task, work, since) = (current.requester, current.task, current.work, current.since);
        let now = Instant::now();
        let took = current.proved_for(now);
        let stopped = current.into_stop();
        let outcome = outcome(&end, stopped.as_ref(), took > Duration::ZERO);
        self.offers.worked(requester, now - since, outcome, now);
        match (end, stopped) {
            (End::Proven(proof, pin, usage), _) => {
                self.learn(&usage, work);
                tracing::info!(
                    stage = "proven",
                    "{} is proven, in {:.1} s",
                    task.task,
                    since.elapsed().as_secs_f64()
                );
                self.finished.add(requester, task, (proof, pin), &usage, took);
                self.submit();
            }
            (_, Some(Stop::Revoked)) => {}
            (_, Some(Stop::Owner)) => self.give_back(requester, task, Returned::Stopping),
            (_, Some(Stop::Memory(bytes))) => {
                let why = format!(
                    "it took {bytes} bytes of memory, and {} are lent",
                    self.limits.memory.bytes()
                );
                self.failed(requester, task, why);
            }
            // It may succeed next time, and the requester need not count it as a failure.
            (_, Some(Stop::Overdue(reason))) => {
                tracing::warn!(
                    "{} of requester {} is given back: {reason}",
                    task.task,
                    short_name(requester)
                );
                self.decline(requester, task, reason);
            }
            (End::Unwilling(reason), None) => {
                tracing::warn!(
                    "a job of requester {} is not served: {reason}",
                    short_name(requester)
                );
                self.offers.unwilling(requester, reason.clone(), now);
                self.decline(requester, task, reason);
            }
            (End::Failed(message), None) => self.failed(requester, task, message),
            (End::Stopped, None) => self.failed(requester, task, "the engine child was stopped".into()),
            (End::Unable(reason), None) => {
                tracing::warn!("{} is given back: {reason}", task.task);
                self.disk.refuses(reason.clone(), now);
                self.decline(requester, task, reason);
            }
            (End::Disk(reason), None) => {
                self.give_back(requester, task, Returned::Stopping);
                return Some(reason);
            }
        }
        None
    }

    fn decline(&mut self, requester: Peer, task: TaskRef, reason: String) {
        let reason = shortened(reason);
        self.give_back(requester, task, Returned::Unwilling { reason });
    }

    /// Keeps a receipt for a proof that was made here, from the requester that has it, once.
    pub(super) fn keep_receipt(&mut self, peer: Peer, signed: SignedReceipt) {
        let Some(took) = self.finished.pay(peer, self.network.peer(), &signed) else {
            return;
        };
        self.offers.paid(peer);
        let (receipts, network) = (Arc::clone(&self.receipts), self.network.clone());
        let sender = self.answer_sender.clone();
        tokio::task::spawn_blocking(move || match receipts.keep(&signed, took) {
            Ok(earned) if earned.is_useful() => {
                network.regard(peer, Regard::Useful);
                // If nobody listens, the prover has ended.
                let _ = sender.send(Answer::Useful { peer });
            }
            Ok(_) => {}
            Err(e) => tracing::error!("a receipt is lost: {e}"),
        });
    }

    fn failed(&mut self, requester: Peer, task: TaskRef, message: String) {
        self.status.failed += 1;
        tracing::warn!("{} failed: {message}", task.task);
        let message = shortened(message);
        self.give_back(requester, task, Returned::Failed { message });
    }

    /// Corrects the machine's speeds by a task that it has done.
    fn learn(&mut self, usage: &Usage, work: Duration) {
        let (cpu, wall) = (usage.cpu.as_secs_f64(), usage.wall.as_secs_f64());
        let mix = |before: f64, seen: f64| {
            let seen = seen.clamp(before / CHANGE_MAX, before * CHANGE_MAX);
            (1.0 - NEW_WEIGHT) * before + NEW_WEIGHT * seen
        };
        if wall > MEASURED_MIN_S {
            self.speed = mix(self.speed, f64::from(SPEED_ONE) * work.as_secs_f64() / wall);
        }
        if cpu > MEASURED_MIN_S {
            self.core_speed = mix(self.core_speed, work.as_secs_f64() / cpu);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_that_is_taken_back_before_anything_is_proven_came_to_nothing() {
        let revoked = Some(&Stop::Revoked);
        for end in [End::Stopped, End::Failed("a file did not come".into())] {
            assert_eq!(outcome(&end, revoked, false), Outcome::Nothing);
            assert_eq!(outcome(&end, revoked, true), Outcome::Blameless);
            assert_eq!(outcome(&end, Some(&Stop::Owner), true), Outcome::Nothing);
            assert_eq!(outcome(&end, None, true), Outcome::Nothing);
        }
        let unable = End::Unable("the disk is full".into());
        assert_eq!(outcome(&unable, None, false), Outcome::Blameless);
    }
}
