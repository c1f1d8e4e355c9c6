//! A machine of the fleet: its class, its task, and the requester that it asks next.

use std::{collections::VecDeque, time::Duration};

use myriad_core::{Kind, Peer, TaskRef, Time};

use super::link::Link;
use crate::peer::Habit;

/// Blocks whose inputs a machine still has.
const INPUTS_KEPT: usize = 8;
/// The rule of `myriad-node`: another requester has its turn when it was served this much less.
const TURN: Duration = Duration::from_secs(60);
/// Its rule for files that are fetched before there is a task: so long until the next ones, and
/// twice as long each time.
const BET_PAUSE: Duration = Duration::from_secs(2);
const BET_PAUSE_MAX: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(super) struct Machine {
    pub peer: Peer,
    pub class: usize,
    pub habit: Habit,
    /// Its speed beside its profile.
    pub speed: f64,
    pub link: Link,
    pub behind_nat: bool,
    pub online: bool,
    /// Raised whenever the machine comes back, so that earlier messages do not reach it.
    pub boot: u32,
    pub doing: Option<CurrentTask>,
    /// An offer is on its way.
    pub offer_pending: bool,
    /// The time at which it asks again, if no requester wakes it before.
    pub alarm: Time,
    /// It is among those that have nothing to do and hear of a block, or was when it was last
    /// looked at.
    pub listening: bool,
    /// The requester and the kind of its last task: its tools are those of that one.
    pub last: Option<(usize, Kind)>,
    /// The requesters that it is connected to, in their order.
    pub met: Vec<KnownRequester>,
    pub inputs: VecDeque<(usize, u32)>,
}

/// A requester, as a machine sees it. There may be millions of these.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownRequester {
    side: u32,
    pub has_program: bool,
    /// It has said that it will wake this machine: until then it is not asked.
    pub parked: bool,
    /// It is not asked before this.
    pub next: Time,
    pub served: Duration,
    /// How often in a row the machine has fetched this requester's files before there was a task,
    /// without a proof that was paid for since; and when it may do so again.
    bets: u32,
    bets_next: Time,
}

impl KnownRequester {
    pub(crate) fn new(side: usize) -> Self {
        Self {
            side: side as u32,
            has_program: false,
            parked: false,
            next: Time::default(),
            served: Duration::ZERO,
            bets: 0,
            bets_next: Time::default(),
        }
    }

    /// Whether the machine may fetch files of this requester now, before there is a task.
    pub(crate) fn may_bet(&self, now: Time) -> bool {
        now >= self.bets_next
    }

    /// Notes that its files are fetched before there is a task, and doubles the pause until the
    /// next time.
    pub(crate) fn bet(&mut self, now: Time) {
        self.bets_next = now + (BET_PAUSE * (1 << self.bets.min(16))).min(BET_PAUSE_MAX);
        self.bets += 1;
    }

    /// It has signed for a proof.
    pub(crate) const fn paid(&mut self) {
        (self.bets, self.bets_next) = (0, Time(0));
    }

    pub(crate) const fn side(&self) -> usize {
        self.side as usize
    }
}

/// A task under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct CurrentTask {
    pub requester: usize,
    pub task: TaskRef,
    pub leased: Time,
    /// Its inputs are there.
    pub begun: Time,
    pub end: Time,
    /// Tells this task from another that it gets later.
    pub lease: u64,
}

impl Machine {
    pub(crate) fn works(&self) -> bool {
        self.habit.works()
    }

    /// It has nothing to do, and waits for no answer.
    pub(crate) const fn is_idle(&self) -> bool {
        self.online && self.doing.is_none() && !self.offer_pending
    }

    /// A requester, if they are connected.
    pub(crate) fn met(&mut self, side: usize) -> Option<&mut KnownRequester> {
        let place = self.place_of(side)?;
        self.met.get_mut(place)
    }

    pub(crate) fn is_connected_to(&self, side: usize) -> bool {
        self.place_of(side).is_some()
    }

    fn place_of(&self, side: usize) -> Option<usize> {
        // A machine that is connected to all requesters has each at its own place.
        if self.met.get(side).is_some_and(|met| met.side() == side) {
            return Some(side);
        }
        self.met.binary_search_by_key(&side, KnownRequester::side).ok()
    }

    /// A requester may be asked from then on.
    pub(crate) fn may_ask(&mut self, side: usize, from: Time) {
        if let Some(met) = self.met(side) {
            (met.parked, met.next) = (false, from);
        }
    }

    /// The requesters with open blocks that have not said that they will wake it.
    fn candidates<'a>(&'a self, open: &'a [bool]) -> impl Iterator<Item = &'a KnownRequester> {
        self.met
            .iter()
            .filter(|met| !met.parked && open[met.side as usize])
    }

    /// The requester to ask now: the least-served one with open blocks. The one whose turn it is
    /// has an advantage of [`TURN`].
    pub(crate) fn next(&self, open: &[bool], now: Time) -> Option<usize> {
        let serving = self.last.map(|(requester, _)| requester as u32);
        let ready = self.candidates(open).filter(|met| met.next <= now);
        let order = |met: &&KnownRequester| {
            let turn = if serving == Some(met.side) {
                Duration::ZERO
            } else {
                TURN
            };
            (met.served + turn, met.side)
        };
        ready.min_by_key(order).map(|met| met.side as usize)
    }

    /// When it would ask one that it may not ask yet.
    pub(crate) fn earliest(&self, open: &[bool]) -> Time {
        let nexts = self.candidates(open).map(|met| met.next);
        nexts.min().unwrap_or(Time::NEVER)
    }

    /// Whether some requester does not wake it: then it has to hear itself of a block.
    pub(crate) fn listens(&self) -> bool {
        self.met.iter().any(|met| !met.parked)
    }

    /// Whether it has to fetch the requester's program, and whether the block's input, before it
    /// can do a task of a block.
    pub(crate) fn lacks(&self, block: (usize, u32)) -> (bool, bool) {
        let met = self.place_of(block.0).map(|place| &self.met[place]);
        let program = met.is_some_and(|met| !met.has_program);
        (program, !self.inputs.contains(&block))
    }

    /// It has both from now on, or gets them.
    pub(crate) fn gets(&mut self, block: (usize, u32)) {
        if let Some(met) = self.met(block.0) {
            met.has_program = true;
        }
        if !self.inputs.contains(&block) {
            if self.inputs.len() == INPUTS_KEPT {
                self.inputs.pop_front();
            }
            self.inputs.push_back(block);
        }
    }

    /// The time of work here that takes `work` at the speed of its profile.
    pub(crate) fn takes(&self, work: Duration) -> Duration {
        work * 1000 / (1000.0 * self.speed).max(1.0) as u32
    }
}
