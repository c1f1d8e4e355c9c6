//! What a requester knows of its peers, for people and programs that ask.

use std::{cmp::Reverse, collections::HashMap};

use myriad_core::{EngineName, Kind, Peer, TaskRef, Trust};
use myriad_net::{Traffic, wire::Role};
use tokio::sync::oneshot;

use super::Driver;
use crate::requester::backend::JobBackend;

/// Most peers of an [`Overview`].
pub const OVERVIEW_MAX: usize = 10_000;
/// Most engines of a peer in it. A peer says what it likes.
const ENGINES_MAX: usize = 16;

/// The connected peers, and what they do.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    /// All that are connected and have greeted.
    pub connected: usize,
    /// Those with a task first, and then those of the highest speed; at most [`OVERVIEW_MAX`].
    pub peers: Vec<PeerView>,
    /// Leases of all jobs.
    pub leases: usize,
    /// The traffic of the network since the start.
    pub traffic: Traffic,
}

/// A connected peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerView {
    pub peer: Peer,
    /// What it says of itself: its software, and the first of its engines.
    pub build: String,
    pub engines: Vec<EngineName>,
    /// Whether it is a prover that can do the tasks of the jobs that there are.
    pub serves: bool,
    pub regard: PeerRegard,
    /// The tasks that it has a lease of.
    pub leases: Vec<TaskRef>,
    /// Its measured speed at segments, in thousandths of that of the machine that costs are
    /// measured on; none before it was measured.
    pub speed: Option<u32>,
    /// Proofs of it that were accepted, as far as that is remembered: old ones count for less.
    pub accepted: u32,
}

/// How far a peer is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerRegard {
    /// A machine of the requester's own.
    Own,
    /// It has delivered a proof that was accepted.
    Proven,
    Stranger,
    /// It gets no tasks any more.
    Banned,
}

impl<J: JobBackend> Driver<J> {
    pub(super) fn answer_overview(&self, asker: oneshot::Sender<Overview>) {
        // If nobody waits any more, nobody wants to know.
        if !asker.is_closed() {
            let _ = asker.send(self.overview());
        }
    }

    fn overview(&self) -> Overview {
        let mut leases: HashMap<Peer, Vec<TaskRef>> = HashMap::new();
        for &job in self.jobs.keys() {
            for (task, peer) in self.requester.leases(job) {
                leases.entry(peer).or_default().push(TaskRef { job, task });
            }
        }
        let count = leases.values().map(Vec::len).sum();
        let mut order: Vec<_> = self
            .peers
            .hellos()
            .map(|(peer, _)| (!leases.contains_key(&peer), Reverse(self.speed(peer)), peer))
            .collect();
        let connected = order.len();
        if connected > OVERVIEW_MAX {
            order.select_nth_unstable(OVERVIEW_MAX);
            order.truncate(OVERVIEW_MAX);
        }
        order.sort_unstable();
        let engines = self.engine_names();
        let views = order.into_iter().filter_map(|(_, Reverse(speed), peer)| {
            let (hello, _) = self.peers.hello(peer)?;
            let names = hello.engines.iter().take(ENGINES_MAX).map(|id| id.name);
            Some(PeerView {
                peer,
                build: hello.build.clone(),
                engines: names.collect(),
                serves: hello.role == Role::Prover && self.is_served(&engines, hello),
                regard: self.regard(peer),
                leases: leases.remove(&peer).unwrap_or_default(),
                speed,
                accepted: self
                    .requester
                    .standing(peer)
                    .map_or(0, |standing| standing.accepted),
            })
        });
        Overview {
            connected,
            peers: views.collect(),
            leases: count,
            traffic: self.network.traffic(),
        }
    }

    /// The measured speed of a peer at segments.
    fn speed(&self, peer: Peer) -> Option<u32> {
        let speed = self.requester.standing(peer)?.speed(Kind::Segment);
        (speed.samples > 0).then_some(speed.mean)
    }

    fn regard(&self, peer: Peer) -> PeerRegard {
        let standing = self.requester.standing(peer);
        if standing.is_some_and(|standing| standing.banned.is_some()) {
            PeerRegard::Banned
        } else if self.peers.trust(peer) == Trust::Own {
            PeerRegard::Own
        } else if self.is_proven(peer) {
            PeerRegard::Proven
        } else {
            PeerRegard::Stranger
        }
    }
}
