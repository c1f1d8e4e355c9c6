//! A banned peer gets no lease, and holds none.

use std::collections::{BTreeMap, BTreeSet};

use super::Checker;
use crate::{Event, Input, Output, Peer, TaskRef, Time, TrialVerdict};

/// A peer that sent an invalid proof gets no lease any more, and loses those that it has. Its ban
/// ends if it turns out that nobody could have done that task.
#[derive(Clone, Debug, Default)]
pub struct Banned {
    /// The banned peers, each with the task that it was banned for.
    banned: BTreeMap<Peer, TaskRef>,
    /// Tasks that nobody could have done, as the caller has found out.
    impossible: BTreeSet<TaskRef>,
    leases: BTreeMap<Peer, BTreeSet<TaskRef>>,
}

impl Checker for Banned {
    const RULE: &'static str = "a banned peer gets no lease, and holds none";

    fn input(&mut self, _now: Time, input: &Input) {
        match input {
            Input::Submitted { peer, task, .. } | Input::Returned { peer, task, .. } => {
                self.leases.entry(*peer).or_default().remove(task);
            }
            Input::Tried {
                task,
                outcome: TrialVerdict::Refuted { .. } | TrialVerdict::Doubted { .. },
            } => {
                self.impossible.insert(*task);
            }
            Input::PeerLost { peer } => {
                self.leases.remove(peer);
            }
            _ => {}
        }
    }

    fn output(&mut self, _now: Time, output: &Output) -> Result<(), String> {
        match output {
            Output::Lease { peer, task, .. } => {
                self.leases.entry(*peer).or_default().insert(*task);
                if self.banned.contains_key(peer) {
                    return Err(format!("{peer:?} is banned and gets {task}"));
                }
            }
            Output::Revoke { peer, task, .. } => {
                self.leases.entry(*peer).or_default().remove(task);
            }
            Output::Event(Event::Banned { peer, task, .. }) => {
                self.banned.insert(*peer, *task);
            }
            Output::Event(Event::Pardoned { peer, task }) => {
                let banned_for = self.banned.remove(peer);
                // An earlier run may have banned the peer: this checker saw nothing of that.
                if banned_for.is_some_and(|other| other != *task) || !self.impossible.contains(task) {
                    return Err(format!(
                        "{peer:?} is pardoned for {task}, of which nothing is known"
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn settled(&mut self, _requester: &crate::Requester) -> Result<(), String> {
        let holding = self
            .banned
            .keys()
            .find(|peer| self.leases.get(peer).is_some_and(|leases| !leases.is_empty()));
        match holding {
            Some(peer) => Err(format!("{peer:?} is banned and holds {:?}", self.leases[peer])),
            None => Ok(()),
        }
    }
}
