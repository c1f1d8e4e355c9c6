//! The requesters of a world: they execute blocks, and carry out what their state machines say.

use std::time::Duration;

use myriad_core::{
    Blob, Cost, Event, Input, JobId, JobSpec, Kind, Offer, Output, Peer, Refusal, Revocation, SPEED_ONE,
    TaskRef, Time, Tree, TrialVerdict, Trust, Verdict, stalled_after,
};

use super::{
    FromMachine, Occurrence, Side, ToMachine, World, block_of, job_id, made_by, streaming::STREAMED_FROM,
};
use crate::{
    fleet::{
        link::{pushed, transfer},
        outcome::seconds,
    },
    peer::{BANNED_FOR, BUSY_FOR, GOOD, Habit, WAIT, WITHHELD, WITHHELD_FOR, index},
};

/// The time to make a proof durable.
const PERSIST: Duration = Duration::from_millis(5);

impl Side {
    /// When work that comes `now` is done, on the core that is free first.
    fn occupy(&mut self, now: Time, work: Duration) -> Time {
        let core = self.cores.iter_mut().min().expect("a requester has a core");
        *core = now.max(*core) + work;
        *core
    }
}

impl World<'_> {
    /// Begins to execute the next blocks, as many as may be under way.
    pub(super) fn execute(&mut self, side: usize) {
        let now = self.now;
        let table = self.sides[side].table;
        let requester = &mut self.sides[side];
        while requester.under_way < self.setup.file.requesters[table].open_max
            && let Some(block) = requester.waiting.pop_front()
        {
            requester.under_way += 1;
            // An execution keeps one core, and each block has a process of its own.
            let workload = &self.setup.workloads[table];
            let done = requester.occupy(now, workload.metering);
            let began = Time::default() + (done - Time::default()).saturating_sub(workload.metering);
            requester.began.insert(block, began);
            let table = &self.setup.file.requesters[table];
            let bytes = (table.program_mb + table.input_mb) * 1e6;
            requester.spreading.add(job_id(side, block), bytes as u64);
            if self.setup.file.what_if.announced {
                self.queue.push(began, Occurrence::Announces { side, block });
            }
            if self.setup.file.what_if.streamed
                && let Some(known) = super::streaming::known_at(workload, began, STREAMED_FROM)
            {
                let streams = Occurrence::Streams {
                    side,
                    block,
                    began,
                    known: STREAMED_FROM,
                };
                self.queue.push(known, streams);
                continue;
            }
            let opens = if self.setup.file.what_if.early {
                began + workload.metering / workload.tree.segments().max(1)
            } else {
                done
            };
            self.queue.push(opens, Occurrence::Opens { side, block });
        }
    }

    /// When the execution of a block began, if machines take part in it from then on.
    pub(super) fn executing(&self, side: usize, block: u32) -> Option<Time> {
        let began = self.sides[side].began.get(&block).copied();
        began.filter(|_| self.setup.file.what_if.early)
    }

    /// A block has tasks: those of `tree`, with what each costs.
    pub(super) fn opens(&mut self, side: usize, block: u32, tree: Tree, costs: Vec<Cost>) {
        let requester = &mut self.sides[side];
        let record = &mut requester.blocks[block as usize];
        record.opened_s = Some(seconds(self.now));
        let arrived = Duration::from_secs_f64(record.arrived_s.unwrap_or(0.0));
        let deadline_s = self.setup.file.requesters[requester.table].deadline_s;
        let spec = JobSpec {
            id: job_id(side, block),
            tree,
            costs,
            priority: 0,
            deadline: deadline_s.map(|s| Time::default() + arrived + Duration::from_secs_f64(s)),
            own_final: false,
            done: Vec::new(),
            leased: Vec::new(),
        };
        requester.open += 1;
        self.open[side] = true;
        self.input(side, Input::Open(Box::new(spec)));
        self.announces(side, block);
    }

    /// Idle machines hear of a block, unless the requester wakes them itself.
    fn announces(&mut self, side: usize, block: u32) {
        let mut listening = std::mem::take(&mut self.listening);
        listening.sort_unstable();
        listening.retain(|&place| {
            let from = self.head_start(side, block, place);
            let machine = &mut self.machines[place];
            machine.listening = machine.is_idle() && machine.listens();
            if machine.listening
                && let Some(met) = machine.met(side).filter(|met| !met.parked)
            {
                met.next = from;
                let heard = from + machine.link.one_way(&self.links[side]);
                if heard < machine.alarm {
                    machine.alarm = heard;
                    self.queue.push(heard, Occurrence::Wakes { machine: place });
                }
            }
            machine.listening
        });
        self.listening = listening;
    }

    fn hear(&mut self, side: usize, peer: Peer, hear: ToMachine) {
        let machine = index(peer);
        let to = &self.machines[machine];
        let boot = to.boot;
        let way = match hear {
            ToMachine::Revoked(_) => to.link.one_way(&self.links[side]),
            _ if self.setup.file.what_if.ahead => Duration::ZERO,
            _ => to.link.one_way(&self.links[side]),
        };
        let hears = self.now + way;
        self.queue.push(
            hears,
            Occurrence::Hears {
                side,
                machine,
                boot,
                hear,
            },
        );
    }

    /// The offer of a machine, by its own claims.
    fn offer(&self, side: usize, place: usize) -> Offer {
        let machine = &self.machines[place];
        let relative = self.setup.workloads[self.sides[side].table].speeds[machine.class];
        let boast = if machine.habit == Habit::Boasts { 10.0 } else { 1.0 };
        let memory_gib = self.setup.file.machines[machine.class].memory_gib;
        Offer {
            memory: (memory_gib * f64::from(1 << 30)) as u64,
            speed: (f64::from(SPEED_ONE) * relative * machine.speed * boast).max(1.0) as u32,
            trust: Trust::Stranger,
            origin: None,
        }
    }

    pub(super) fn reaches(&mut self, side: usize, place: usize, say: FromMachine) {
        let machine = &self.machines[place];
        if !machine.online {
            return;
        }
        let peer = machine.peer;
        let input = match say {
            FromMachine::Offer => Input::Offer {
                peer,
                offer: self.offer(side, place),
            },
            FromMachine::Declines => Input::Declined { peer },
            FromMachine::Renew(task, progress) => Input::Renewed { peer, task, progress },
            FromMachine::Submit(task, proof) => Input::Submitted { peer, task, proof },
            FromMachine::Return(task, why) => Input::Returned { peer, task, why },
        };
        self.input(side, input);
    }

    /// Gives a requester an input, and carries out its outputs.
    pub(super) fn input(&mut self, side: usize, input: Input) {
        self.counts.inputs += 1;
        let now = self.now;
        // A refusal to a machine that has work is not about its next task.
        let offers = matches!(input, Input::Offer { .. });
        self.sides[side].state.handle_input(now, input);
        while let Some(output) = self.sides[side].state.poll_output() {
            self.output(side, output, offers);
        }
        let timeout = self.sides[side].state.poll_timeout().unwrap_or(Time::NEVER);
        self.timeouts.set(side, timeout);
    }

    fn output(&mut self, side: usize, output: Output, offers: bool) {
        match output {
            Output::Lease { peer, task, .. } => {
                self.counts.leases += 1;
                self.hear(side, peer, ToMachine::Lease(task));
            }
            Output::Refuse { peer, why } if offers => {
                let heard = self.refusal(side, peer, &why);
                self.hear(side, peer, heard);
            }
            Output::Wake { peer } => self.hear(side, peer, ToMachine::Wake),
            Output::Revoke { peer, task, why } => {
                self.counts.expired += u64::from(why == Revocation::Expired);
                self.hear(side, peer, ToMachine::Revoked(task));
            }
            Output::Check { peer, task, proof } => self.checks(side, peer, task, proof),
            Output::Persist { task, proof, .. } => {
                self.counts.accepted_s += made_by(proof).1.as_secs_f64();
                let durable = self.now + PERSIST;
                self.finds(side, durable, Input::Persisted { task, proof });
            }
            // Requesters of a fleet have no machine of their own.
            Output::Try { task } => {
                let outcome = TrialVerdict::Unable;
                self.finds(side, self.now, Input::Tried { task, outcome });
            }
            Output::Event(event) => self.event(side, event),
            Output::Refuse { .. }
            | Output::Extended { .. }
            | Output::Announce { .. }
            | Output::Learned { .. }
            | Output::Obsolete { .. } => {}
        }
    }

    /// The time of the next offer that a refusal suggests, as in `myriad-node`.
    fn refusal(&self, side: usize, peer: Peer, why: &Refusal) -> ToMachine {
        match why {
            _ if self.sides[side].state.is_parked(peer) => ToMachine::Parked,
            Refusal::TooManyLeases { .. } => ToMachine::Refused(BUSY_FOR),
            Refusal::Cooling { remaining, .. } => ToMachine::Refused(*remaining),
            Refusal::Banned { .. } => ToMachine::Refused(BANNED_FOR),
            _ => ToMachine::Refused(WAIT),
        }
    }

    fn event(&mut self, side: usize, event: Event) {
        match event {
            Event::TaskDone { peer, .. } => {
                self.counts.tasks += 1;
                if let Some(met) = self.machines[index(peer)].met(side) {
                    met.paid();
                }
            }
            Event::JobDone { job } => self.block_is_over(side, job, true),
            Event::JobFailed { job, .. } => self.block_is_over(side, job, false),
            Event::Banned { .. } => self.counts.banned += 1,
            Event::DeadlineMissed { .. } => self.counts.late += 1,
            Event::TaskFailed { .. }
            | Event::Refuted { .. }
            | Event::Reopened { .. }
            | Event::Pardoned { .. } => {}
        }
    }

    fn block_is_over(&mut self, side: usize, job: JobId, proven: bool) {
        let requester = &mut self.sides[side];
        let block = block_of(job);
        if proven {
            requester.blocks[block as usize].done_s = Some(seconds(self.now));
        }
        requester.under_way -= 1;
        requester.open -= 1;
        self.open[side] = requester.open > 0;
        self.shared.remove(&(side, block));
        self.chains.remove(&(side, block));
        self.sides[side].spreading.remove(job);
        self.sides[side].began.remove(&block);
        self.left -= 1;
        self.execute(side);
    }

    /// The requester fetches a proof.
    fn checks(&mut self, side: usize, peer: Peer, task: TaskRef, proof: Blob) {
        let now = self.now;
        let place = index(peer);
        let workload = &self.setup.workloads[self.sides[side].table];
        let bytes = workload.tasks.of(&workload.tree, task.task).proof_bytes;
        let below = matches!(task.task.kind(), Kind::Segment | Kind::Leaf);
        if self.setup.file.what_if.delegated && below && proof.0[0] == GOOD {
            let verdict = Verdict::Accepted;
            let checked = Input::Checked {
                peer,
                task,
                proof,
                verdict,
            };
            return self.finds(side, now, checked);
        }
        // A machine is not blamed for traffic on the requester's own link.
        let stalls = self.links[side].down.ends(now, 0) + stalled_after(bytes, bytes);
        let machine = &mut self.machines[place];
        let ends = if machine.online && proof.0[0] != WITHHELD {
            let there = if self.setup.file.what_if.pushed {
                pushed(&mut machine.link, &mut self.links[side], now, bytes)
            } else {
                transfer(&mut machine.link, &mut self.links[side], now, bytes)
            };
            let fetched = Occurrence::Fetched {
                side,
                peer,
                task,
                proof,
            };
            self.queue.push(there, fetched);
            there
        } else {
            let reason = "it is withheld".into();
            let checked = Input::Checked {
                peer,
                task,
                proof,
                verdict: Verdict::Unavailable { reason },
            };
            self.finds(side, now + WITHHELD_FOR, checked);
            now + WITHHELD_FOR
        };
        if stalls < ends {
            self.finds(side, stalls, Input::Stalled { peer, task, proof });
        }
    }

    fn finds(&mut self, side: usize, at: Time, input: Input) {
        self.queue.push(at, Occurrence::Finds { side, input });
    }

    /// The requester verifies the proof, on the core that is free first.
    pub(super) fn verifies(&mut self, side: usize, peer: Peer, task: TaskRef, proof: Blob) {
        let workload = &self.setup.workloads[self.sides[side].table];
        let takes = workload.tasks.of(&workload.tree, task.task).verify;
        let verdict = if proof.0[0] == GOOD {
            Verdict::Accepted
        } else {
            let reason = "it proves nothing".into();
            Verdict::Invalid { reason }
        };
        self.counts.verified_s += takes.as_secs_f64();
        let done = self.sides[side].occupy(self.now, takes);
        let checked = Input::Checked {
            peer,
            task,
            proof,
            verdict,
        };
        self.finds(side, done, checked);
    }
}
