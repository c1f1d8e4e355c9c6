//! One world of a scenario: requesters with blocks, machines, and the links between them, in
//! virtual time.

mod birth;
mod provers;
mod requesters;
mod spreading;
mod streaming;
mod timeouts;
mod transfers;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use myriad_core::{Blob, Input, JobId, Peer, Requester, Return, TaskRef, Time, spreading::Spreading};

use super::{
    link::Link,
    machine::{KnownRequester, Machine},
    outcome::{Block, Counts, Timeline, WorldOutcome, seconds},
    setup::Setup,
};
use crate::{queue::Queue, rng::Rng};
use spreading::Shared;
use timeouts::Timeouts;
use transfers::Chains;

enum FromMachine {
    Offer,
    /// It was woken, and is at a task.
    Declines,
    Renew(TaskRef, u16),
    Submit(TaskRef, Blob),
    Return(TaskRef, Return),
}

enum ToMachine {
    Lease(TaskRef),
    /// It may ask again after so long.
    Refused(Duration),
    /// It is woken when there is something for it.
    Parked,
    Revoked(TaskRef),
    Wake,
}

enum Occurrence {
    /// A block comes.
    Arrives {
        side: usize,
        block: u32,
    },
    /// Its execution begins.
    Announces {
        side: usize,
        block: u32,
    },
    /// Machines that have waited may fetch its files.
    SpreadsOn {
        side: usize,
        block: u32,
    },
    /// Its requester hears that a machine has its files.
    HasFiles {
        side: usize,
        block: u32,
        machine: usize,
    },
    /// Its segments are known.
    Opens {
        side: usize,
        block: u32,
    },
    /// So many of its segments are known now, and none is given out yet.
    Streams {
        side: usize,
        block: u32,
        began: Time,
        known: u32,
    },
    /// So many of its segments are known now.
    Grows {
        side: usize,
        block: u32,
        began: Time,
        known: u32,
    },
    Reaches {
        side: usize,
        machine: usize,
        boot: u32,
        say: FromMachine,
    },
    Hears {
        side: usize,
        machine: usize,
        boot: u32,
        hear: ToMachine,
    },
    /// It may ask for work.
    Wakes {
        machine: usize,
    },
    Renews {
        machine: usize,
        lease: u64,
    },
    Ends {
        machine: usize,
        lease: u64,
    },
    /// A proof that is to be checked.
    Fetched {
        side: usize,
        peer: Peer,
        task: TaskRef,
        proof: Blob,
    },
    /// A requester is told its own findings or its own work.
    Finds {
        side: usize,
        input: Input,
    },
    /// It goes, or comes back.
    Toggles {
        machine: usize,
    },
    Lost {
        machine: usize,
        boot: u32,
    },
}

/// A requester.
struct Side {
    table: usize,
    state: Requester,
    spreading: Spreading,
    /// The time until which each core is taken, by executing and verifying.
    cores: Vec<Time>,
    waiting: VecDeque<u32>,
    /// Blocks that are executed or proven.
    under_way: u32,
    blocks: Vec<Block>,
    /// When the execution of each block that is under way began.
    began: BTreeMap<u32, Time>,
    /// Blocks that the state machine has.
    open: u32,
}

pub(super) struct World<'a> {
    setup: &'a Setup,
    now: Time,
    queue: Queue<Occurrence>,
    sides: Vec<Side>,
    /// For each requester, whether it has an open block.
    open: Vec<bool>,
    /// When the state machine of each is to be told the time.
    timeouts: Timeouts,
    machines: Vec<Machine>,
    /// Machines that hear of new blocks: idle ones that some requester has not promised to wake.
    /// Machines that have found a task since may be among them.
    listening: Vec<usize>,
    /// The links of the requesters.
    links: Vec<Link>,
    /// The machines that have program and input of a block, or fetch them.
    shared: HashMap<(usize, u32), Shared>,
    chains: HashMap<(usize, u32), Chains>,
    rng: Rng,
    counts: Counts,
    timeline: Timeline,
    left: usize,
    leases: u64,
}

fn job_id(side: usize, block: u32) -> JobId {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&(side as u64 + 1).to_be_bytes());
    id[8..12].copy_from_slice(&block.to_be_bytes());
    JobId(id)
}

fn block_of(job: JobId) -> u32 {
    u32::from_be_bytes([job.0[8], job.0[9], job.0[10], job.0[11]])
}

/// Names the maker of a proof, and its cost.
fn blob(quality: u8, machine: usize, worked: Duration) -> Blob {
    let mut blob = [0; 32];
    blob[0] = quality;
    blob[1..9].copy_from_slice(&(machine as u64).to_be_bytes());
    blob[9..17].copy_from_slice(&(worked.as_micros() as u64).to_be_bytes());
    Blob(blob)
}

fn made_by(proof: Blob) -> (usize, Duration) {
    let number = |at: usize| u64::from_be_bytes(proof.0[at..at + 8].try_into().expect("8 bytes"));
    (number(1) as usize, Duration::from_micros(number(9)))
}

/// Plays the world of a seed to its end.
pub(super) fn play(setup: &Setup, seed: u64) -> WorldOutcome {
    let mut world = World::new(setup, seed);
    let limit_h = setup.file.hours + setup.file.patience_hours;
    world.play(Time::default() + Duration::from_secs_f64(3600.0 * limit_h));
    world.conclude(seed)
}

impl<'a> World<'a> {
    fn play(&mut self, limit: Time) {
        while self.left > 0 {
            let timeout = self.timeouts.first();
            let next = self.queue.peek().unwrap_or(Time::NEVER);
            match timeout {
                Some((timeout, side)) if timeout <= next && timeout < Time::NEVER => {
                    self.now = self.now.max(timeout);
                    if self.now > limit {
                        break;
                    }
                    self.input(side, Input::Timeout);
                }
                _ => {
                    let Some((time, happens)) = self.queue.pop() else {
                        break;
                    };
                    self.now = self.now.max(time);
                    if self.now > limit {
                        break;
                    }
                    self.happens(happens);
                }
            }
        }
        self.now = self.now.min(limit);
    }

    fn happens(&mut self, happens: Occurrence) {
        match happens {
            Occurrence::Arrives { side, block } => {
                self.sides[side].blocks[block as usize].arrived_s = Some(seconds(self.now));
                self.sides[side].waiting.push_back(block);
                self.execute(side);
            }
            Occurrence::Announces { side, block } => self.spreads(side, block),
            Occurrence::SpreadsOn { side, block } => self.spreads_on(side, block),
            Occurrence::HasFiles { side, block, machine } => {
                self.has_files(side, block, machine);
                self.spreads_on(side, block);
            }
            Occurrence::Opens { side, block } => {
                let workload = &self.setup.workloads[self.sides[side].table];
                self.is_spread(side, block);
                self.opens(side, block, workload.tree.clone(), workload.costs.clone());
            }
            Occurrence::Streams {
                side,
                block,
                began,
                known,
            } => self.streams(side, block, began, known),
            Occurrence::Grows {
                side,
                block,
                began,
                known,
            } => self.grows(side, block, began, known),
            Occurrence::Reaches {
                side,
                machine,
                boot,
                say,
            } => {
                if self.machines[machine].boot == boot {
                    self.reaches(side, machine, say);
                }
            }
            Occurrence::Hears {
                side,
                machine,
                boot,
                hear,
            } => {
                if self.machines[machine].boot == boot {
                    self.hears(side, machine, hear);
                }
            }
            Occurrence::Wakes { machine } => {
                if self.machines[machine].alarm <= self.now {
                    self.asks(machine);
                }
            }
            Occurrence::Renews { machine, lease } => self.renews(machine, lease),
            Occurrence::Ends { machine, lease } => self.ends(machine, lease),
            Occurrence::Fetched {
                side,
                peer,
                task,
                proof,
            } => self.verifies(side, peer, task, proof),
            Occurrence::Finds { side, input } => self.input(side, input),
            Occurrence::Toggles { machine } => self.toggles(machine),
            Occurrence::Lost { machine, boot } => {
                if self.machines[machine].boot == boot {
                    self.is_lost(machine);
                }
            }
        }
    }

    /// All requesters that a machine has met find that it is gone.
    fn is_lost(&mut self, machine: usize) {
        let Machine { peer, met, .. } = &self.machines[machine];
        let (peer, met): (_, Vec<usize>) = (*peer, met.iter().map(KnownRequester::side).collect());
        for side in met {
            self.input(side, Input::PeerLost { peer });
        }
    }

    fn conclude(mut self, seed: u64) -> WorldOutcome {
        for machine in 0..self.machines.len() {
            // Work that is still under way counts until now.
            self.stops(machine);
        }
        self.timeline.online(self.now, 0);
        let file = &self.setup.file;
        let sides = self.sides.iter().enumerate().map(|(place, side)| {
            let link = &self.links[place];
            (
                file.requesters[side.table].name.clone(),
                link.up.bytes,
                link.down.bytes,
                side.blocks.clone(),
            )
        });
        WorldOutcome::new(
            seed,
            seconds(self.now),
            sides.collect(),
            self.counts,
            self.timeline,
        )
    }
}
