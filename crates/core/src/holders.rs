//! The peers that have a job's files, as far as is known, and those of them that wait for a task.
//!
//! A peer with the files begins at once, and others would fetch them first. So it goes before
//! others that are about as good; it is never waited for. Only peers that have delivered are noted.
//! One that lies about its files has to fetch them during its task. So it is measured as slower,
//! and comes after the honest ones.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::ids::{JobId, Peer};

/// Peers that are noted for a job: more than work at one.
const PEERS_MAX: usize = 1024;
/// Jobs that peers are noted for, open or about to be.
const JOBS_MAX: usize = 256;

/// The place of a peer among those that wait: by merit, then in an order of the requester's own.
pub(crate) type Order = (Reverse<u32>, u64, Peer);

/// The peers that have the files of each job.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holders {
    jobs: BTreeMap<JobId, OfJob>,
    of_peer: BTreeMap<Peer, Vec<JobId>>,
}

#[derive(Clone, Debug, Default)]
struct OfJob {
    peers: BTreeSet<Peer>,
    /// The holders that wait, with the memory of each.
    waiting: BTreeMap<Order, u64>,
    /// The time in which a peer without the files would fetch them.
    spared: Duration,
}

impl Holders {
    /// A peer has a job's files; `place` is its place and its memory if it waits.
    pub(crate) fn note(&mut self, peer: Peer, job: JobId, place: Option<(Order, u64)>) {
        if !self.jobs.contains_key(&job) && self.jobs.len() >= JOBS_MAX {
            return;
        }
        let of_job = self.jobs.entry(job).or_default();
        if of_job.peers.len() >= PEERS_MAX || !of_job.peers.insert(peer) {
            return;
        }
        of_job.waiting.extend(place);
        self.of_peer.entry(peer).or_default().push(job);
    }

    /// Sets the time in which a peer without a job's files would fetch them.
    pub(crate) fn set_spared(&mut self, job: JobId, spared: Duration) {
        if let Some(of_job) = self.jobs.get_mut(&job) {
            of_job.spared = spared;
        }
    }

    pub(crate) fn spared(&self, job: JobId) -> Duration {
        self.jobs.get(&job).map_or(Duration::ZERO, |of_job| of_job.spared)
    }

    /// A peer waits from now on.
    pub(crate) fn waits(&mut self, order: Order, memory: u64) {
        for job in self.of_peer.get(&order.2).into_iter().flatten() {
            if let Some(of_job) = self.jobs.get_mut(job) {
                of_job.waiting.insert(order, memory);
            }
        }
    }

    /// A peer does not wait any more.
    pub(crate) fn waits_no_more(&mut self, order: Order) {
        for job in self.of_peer.get(&order.2).into_iter().flatten() {
            if let Some(of_job) = self.jobs.get_mut(job) {
                of_job.waiting.remove(&order);
            }
        }
    }

    /// The waiting peer with the most merit that has this much memory.
    pub(crate) fn best(&self, job: JobId, memory: u64) -> Option<(u32, Peer)> {
        let mut waiting = self.jobs.get(&job)?.waiting.iter();
        let (&(Reverse(merit), _, peer), _) = waiting.find(|(_, offered)| **offered >= memory)?;
        Some((merit, peer))
    }

    /// A job is over.
    pub(crate) fn forget_job(&mut self, job: JobId) {
        for peer in self.jobs.remove(&job).unwrap_or_default().peers {
            if let Some(jobs) = self.of_peer.get_mut(&peer) {
                jobs.retain(|held| *held != job);
                if jobs.is_empty() {
                    self.of_peer.remove(&peer);
                }
            }
        }
    }

    /// A peer that does not wait is gone.
    pub(crate) fn forget_peer(&mut self, peer: Peer) {
        for job in self.of_peer.remove(&peer).unwrap_or_default() {
            if let Some(of_job) = self.jobs.get_mut(&job) {
                of_job.peers.remove(&peer);
                if of_job.peers.is_empty() {
                    self.jobs.remove(&job);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u16) -> Peer {
        let mut id = [0; 32];
        id[..2].copy_from_slice(&number.to_be_bytes());
        Peer(id)
    }

    fn job(number: u16) -> JobId {
        JobId(peer(number).0)
    }

    fn order(number: u16, merit: u32) -> Order {
        (Reverse(merit), 0, peer(number))
    }

    #[test]
    fn those_that_wait_are_found_and_what_is_over_is_forgotten() {
        let mut holders = Holders::default();
        holders.note(peer(1), job(1), None);
        holders.note(peer(1), job(2), None);
        holders.note(peer(2), job(1), Some((order(2, 500), 8)));
        assert_eq!(holders.best(job(1), 8), Some((500, peer(2))));
        assert_eq!(holders.best(job(1), 9), None, "not even by a byte");
        holders.waits(order(1, 900), 8);
        assert_eq!(holders.best(job(1), 8), Some((900, peer(1))));
        holders.waits_no_more(order(1, 900));
        assert_eq!(holders.best(job(1), 8), Some((500, peer(2))));
        holders.forget_job(job(1));
        assert!(holders.best(job(1), 0).is_none());
        assert_eq!(holders.of_peer[&peer(1)], [job(2)]);
        holders.forget_peer(peer(1));
        assert!(holders.jobs.is_empty() && holders.of_peer.is_empty());
    }

    #[test]
    fn they_are_bounded() {
        let mut holders = Holders::default();
        for number in 0..2000 {
            holders.note(peer(number), job(1), None);
            holders.note(peer(1), job(number), None);
        }
        assert_eq!(holders.jobs[&job(1)].peers.len(), PEERS_MAX);
        assert_eq!(holders.jobs.len(), JOBS_MAX);
        assert_eq!(holders.of_peer[&peer(1)].len(), JOBS_MAX);
    }
}
