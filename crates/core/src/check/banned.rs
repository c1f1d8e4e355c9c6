use std::collections::{BTreeMap, BTreeSet};

use super::Checker;
use crate::{Event, Input, Output, Peer, TaskRef, Time};

/// A peer that sent a proof that is none gets no lease any more, and loses those that it has.
#[derive(Clone, Debug, Default)]
pub struct Banned {
    banned: BTreeSet<Peer>,
    leases: BTreeMap<Peer, BTreeSet<TaskRef>>,
}

impl Checker for Banned {
    const RULE: &'static str = "a banned peer gets no lease, and holds none";

    fn input(&mut self, _now: Time, input: &Input) {
        match input {
            Input::Submitted { peer, task, .. } | Input::Returned { peer, task, .. } => {
                self.leases.entry(*peer).or_default().remove(task);
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
                if self.banned.contains(peer) {
                    return Err(format!("{peer:?} is banned and gets {task}"));
                }
            }
            Output::Revoke { peer, task, .. } => {
                self.leases.entry(*peer).or_default().remove(task);
            }
            Output::Event(Event::Banned { peer, .. }) => {
                self.banned.insert(*peer);
            }
            _ => {}
        }
        Ok(())
    }

    fn settled(&mut self, _requester: &crate::Requester) -> Result<(), String> {
        let holding = self
            .banned
            .iter()
            .find(|peer| self.leases.get(peer).is_some_and(|leases| !leases.is_empty()));
        match holding {
            Some(peer) => Err(format!("{peer:?} is banned and holds {:?}", self.leases[peer])),
            None => Ok(()),
        }
    }
}
