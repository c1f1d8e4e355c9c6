//! Decides from whom each prover fetches a job's files before it has a task of the job, so that
//! they go from prover to prover like a tree and this node sends few copies.
//!
//! ```text
//! Prepare, holding some ─▶ fetch from a prover that has all, or from this node, or ask again later
//! Prepare, holding all  ─▶ it has all, and is named to others
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use myriad_core::{
    Blob, Peer,
    spreading::{Copies, FETCHING_AT_ONCE},
};
use myriad_net::{
    Network,
    wire::{Response, Source, Sources, Why},
};

use super::{Files, driver::refused};

/// A prover that so many were sent to in a row, in vain, is named no more.
const VAIN_MAX: u32 = 3;
/// Provers of each kind that are remembered: twice as many as there are connections.
const PEERS_MAX: usize = 4096;
/// A prover that fetches may take so long, and a second for each [`RATE_MIN`] bytes, before another
/// one gets its turn.
const START: Duration = Duration::from_secs(10);
/// Bytes a second; slower ones are left by those who fetch, too.
const RATE_MIN: u64 = 256 << 10;
/// When those ask again whose turn has not come, and for how many that wait it is later by as much.
const RETRY: Duration = Duration::from_millis(500);
const WAITING_PER_RETRY: usize = 1024;
/// How often turns are looked at that have taken too long.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Who has a job's files, and who fetches them from whom.
pub(super) struct Spreading {
    patience: Duration,
    holders: BTreeMap<Peer, Holder>,
    fetching: BTreeMap<Peer, Fetching>,
    /// What this node sends itself.
    copies: Copies,
    /// Those that were sent to this node. Each gets one turn, or else a few that never finish would
    /// keep all others from it.
    served: BTreeSet<Peer>,
    waiting: BTreeSet<Peer>,
    looked: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Holder {
    fetching: usize,
    vain: u32,
}

struct Fetching {
    /// This node, if it is none.
    from: Option<Peer>,
    since: Instant,
    until: Instant,
}

/// What a prover is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    FromHolder(Peer),
    FromHere,
    Wait(Duration),
}

impl Spreading {
    pub(super) fn new(files: &Files) -> Self {
        Self::of_bytes(files.all().map(|file| file.bytes).sum())
    }

    fn of_bytes(bytes: u64) -> Self {
        Self {
            patience: START + Duration::from_secs(bytes / RATE_MIN),
            holders: BTreeMap::new(),
            fetching: BTreeMap::new(),
            copies: Copies::default(),
            served: BTreeSet::new(),
            waiting: BTreeSet::new(),
            looked: None,
        }
    }

    /// Answers a prover that has the blobs `holds` of `files`, and of others.
    pub(super) fn answer(
        &mut self,
        network: &Network,
        files: &Files,
        peer: Peer,
        holds: &[Blob],
        now: Instant,
    ) -> Response {
        if files.all().all(|file| holds.contains(&file.blob)) {
            self.has_all(peer, now);
            return Response::Received;
        }
        let from = match self.turn(peer, now) {
            Turn::Wait(pause) => {
                let reason = "others fetch the job's files first, and will have them for this machine";
                return refused(Why::NotNow, reason, Some(pause.as_millis() as u64));
            }
            Turn::FromHolder(holder) => holder,
            Turn::FromHere => network.peer(),
        };
        let source = |blob| Source {
            blob,
            holders: vec![network.contact(from)],
        };
        Response::Files(Box::new(Sources {
            program: source(files.program),
            openvm_toml: files.openvm_toml.map(source),
            input: source(files.input),
            engine: files.engine,
        }))
    }

    /// Those that have said that they have all.
    pub(super) fn holders(&self) -> impl Iterator<Item = Peer> + '_ {
        self.holders.keys().copied()
    }

    /// A peer is gone.
    pub(super) fn forget(&mut self, peer: Peer) {
        self.end(peer, None);
        self.holders.remove(&peer);
        self.waiting.remove(&peer);
    }

    fn has_all(&mut self, peer: Peer, now: Instant) {
        self.end(peer, Some(now));
        self.waiting.remove(&peer);
        if self.holders.len() < PEERS_MAX {
            self.holders.entry(peer).or_default();
        }
    }

    /// The turn of a peer is over; it has the files since then, if it was not in vain.
    fn end(&mut self, peer: Peer, has_since: Option<Instant>) {
        let Some(fetching) = self.fetching.remove(&peer) else {
            return;
        };
        let Some(from) = fetching.from else {
            match has_since {
                Some(now) => self.copies.has_come(now - fetching.since),
                None => self.copies.has_failed(),
            }
            return;
        };
        let in_vain = has_since.is_none();
        let Some(holder) = self.holders.get_mut(&from) else {
            return;
        };
        holder.fetching = holder.fetching.saturating_sub(1);
        holder.vain = if in_vain { holder.vain + 1 } else { 0 };
        if holder.vain >= VAIN_MAX {
            self.holders.remove(&from);
        }
    }

    fn end_late(&mut self, now: Instant) {
        if self.looked.is_some_and(|looked| now - looked < LOOK_EVERY) {
            return;
        }
        self.looked = Some(now);
        let late = self.fetching.iter().filter(|(_, fetching)| fetching.until < now);
        let late: Vec<Peer> = late.map(|(&peer, _)| peer).collect();
        late.into_iter().for_each(|peer| self.end(peer, None));
    }

    /// From whom a peer that lacks files gets them now. One that asks again has not got them where
    /// it was sent.
    fn turn(&mut self, peer: Peer, now: Instant) -> Turn {
        self.end_late(now);
        self.end(peer, None);
        // It has lost them since, if it ever had them.
        self.holders.remove(&peer);
        let free = self
            .holders
            .iter()
            .filter(|(_, holder)| holder.fetching < FETCHING_AT_ONCE);
        let holder = free
            .min_by_key(|(_, holder)| (holder.vain, holder.fetching))
            .map(|(&holder, _)| holder);
        let from = match holder {
            Some(holder) => Some(holder),
            None if self.may_send(peer) => None,
            None => {
                if self.waiting.len() < PEERS_MAX {
                    self.waiting.insert(peer);
                }
                return Turn::Wait(RETRY * (1 + self.waiting.len() / WAITING_PER_RETRY) as u32);
            }
        };
        self.waiting.remove(&peer);
        let until = now + self.patience;
        let since = now;
        self.fetching.insert(peer, Fetching { from, since, until });
        match from {
            Some(from) => {
                self.holders.entry(from).or_default().fetching += 1;
                Turn::FromHolder(from)
            }
            None => {
                self.copies.begins();
                self.served.insert(peer);
                Turn::FromHere
            }
        }
    }

    /// Whether this node sends a peer a copy now. Nobody else can while nobody has all.
    fn may_send(&self, peer: Peer) -> bool {
        self.copies.may_begin(self.holders.is_empty())
            && self.served.len() < PEERS_MAX
            && !self.served.contains(&peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn peer(number: usize) -> Peer {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(number as u64).to_be_bytes());
        Peer(id)
    }

    /// Lets `peers` ask once a second, each of which has the files a second after it is told where.
    /// Says after how many seconds all have them.
    fn spread(spreading: &mut Spreading, peers: usize, start: Instant) -> u32 {
        let mut left: BTreeSet<usize> = (0..peers).collect();
        let mut round = 0;
        while !left.is_empty() {
            let now = start + SECOND * round;
            let turns: Vec<(usize, Turn)> = left
                .iter()
                .map(|&number| (number, spreading.turn(peer(number), now)))
                .collect();
            for (number, _) in turns.iter().filter(|(_, turn)| !matches!(turn, Turn::Wait(_))) {
                spreading.has_all(peer(*number), now + SECOND);
                left.remove(number);
            }
            round += 1;
            assert!(round < 100, "{} are left", left.len());
        }
        round
    }

    #[test]
    fn a_thousand_provers_have_the_files_of_eight_copies_in_a_few_rounds() {
        let mut spreading = Spreading::of_bytes(1 << 20);
        let rounds = spread(&mut spreading, 1000, Instant::now());
        assert!(spreading.served.len() <= COPIES, "{}", spreading.served.len());
        // Each that has them gives them to one, and so there are twice as many each time.
        assert!(rounds <= 10, "{rounds}");
        assert_eq!(spreading.holders.len(), 1000);
        assert!(spreading.fetching.is_empty() && spreading.waiting.is_empty());
    }

    #[test]
    fn those_who_never_finish_lose_their_turn_for_good() {
        let start = Instant::now();
        let mut spreading = Spreading::of_bytes(1 << 20);
        for number in 0..4 {
            assert_eq!(spreading.turn(peer(number), start), Turn::FromHere);
        }
        assert!(matches!(spreading.turn(peer(9), start), Turn::Wait(_)));
        let late = start + spreading.patience + SECOND;
        assert!(
            matches!(spreading.turn(peer(0), late), Turn::Wait(_)),
            "it has had its turn"
        );
        assert_eq!(spreading.turn(peer(9), late), Turn::FromHere);
        spreading.has_all(peer(9), late);
        assert_eq!(spreading.turn(peer(0), late), Turn::FromHolder(peer(9)));
    }

    #[test]
    fn one_that_has_nothing_to_send_is_named_no_more() {
        let now = Instant::now();
        let mut spreading = Spreading::of_bytes(1 << 20);
        spreading.has_all(peer(0), now);
        for number in 1..=VAIN_MAX as usize {
            assert_eq!(spreading.turn(peer(number), now), Turn::FromHolder(peer(0)));
            // It asks again, and hears of nobody better.
            spreading.end(peer(number), None);
        }
        assert_eq!(spreading.turn(peer(9), now), Turn::FromHere);
        assert_eq!(spreading.holders().count(), 0);
    }

    #[test]
    fn however_many_come_and_go_few_are_remembered() {
        let start = Instant::now();
        let mut spreading = Spreading::of_bytes(1 << 20);
        for number in 0..3 * PEERS_MAX {
            let now = start + SECOND * (number as u32 / 8);
            spreading.turn(peer(number), now);
            if number % 3 == 0 {
                spreading.has_all(peer(number), now);
            }
        }
        for remembered in [
            spreading.holders.len(),
            spreading.served.len(),
            spreading.waiting.len(),
        ] {
            assert!(remembered <= PEERS_MAX, "{remembered}");
        }
        (0..3 * PEERS_MAX).for_each(|number| spreading.forget(peer(number)));
        assert!(
            spreading.holders.is_empty() && spreading.waiting.is_empty() && spreading.fetching.is_empty()
        );
    }
}
