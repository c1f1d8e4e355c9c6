//! The beginning of a world: its requesters, the blocks that they will get, and its machines.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use myriad_core::{Policy, Requester, Time, spreading::Spreading};

use super::{Occurrence, Side, World, timeouts::Timeouts};
use crate::{
    fleet::{
        file::{MBIT, MachineTable, Spread},
        link::Link,
        machine::{KnownRequester, Machine},
        outcome::{Block, Counts, Timeline},
        setup::Setup,
    },
    peer::{Habit, known, name},
    queue::Queue,
    rng::Rng,
};

impl<'a> World<'a> {
    #[expect(clippy::too_many_lines, reason = "each part of a world, in their order")]
    pub(super) fn new(setup: &'a Setup, seed: u64) -> Self {
        let file = &setup.file;
        let mut rng = Rng::new(seed, "fleet");
        let mut sides = Vec::new();
        let mut links = Vec::new();
        let mut queue = Queue::default();
        let tables = file.requesters.iter().enumerate();
        for (table, requester) in
            tables.flat_map(|(place, table)| (0..table.count).map(move |_| (place, table)))
        {
            let side = sides.len();
            let blocks = requester.blocks(file.hours);
            // Two chains do not have their blocks at the same moment.
            let every = Duration::from_secs_f64(requester.every_s.unwrap_or(0.0));
            let first = Time::default() + rng.duration(Duration::ZERO..every);
            for block in 0..blocks as u32 {
                queue.push(first + every * block, Occurrence::Arrives { side, block });
            }
            sides.push(Side {
                table,
                state: Requester::new(Policy::default()),
                spreading: Spreading::default(),
                cores: vec![Time::default(); requester.cores as usize],
                waiting: VecDeque::new(),
                under_way: 0,
                blocks: vec![Block::default(); blocks as usize],
                began: BTreeMap::new(),
                open: 0,
            });
            links.push(Link::new(
                requester.up_mbit * MBIT,
                requester.down_mbit * MBIT,
                Duration::from_secs_f64(requester.latency_ms / 1000.0),
            ));
        }
        let mut machines = machines(setup, seed);
        connect(setup, seed, &sides, &mut machines);
        let policy = Policy {
            redundancy: setup.redundancy,
            ..Policy::default()
        };
        for (place, side) in sides.iter_mut().enumerate() {
            let is_known = |machine: &&Machine| {
                file.machines[machine.class].known && machine.works() && machine.is_connected_to(place)
            };
            let known_ones = machines.iter().filter(is_known);
            side.state = Requester::with_standings(policy, known_ones.map(|machine| (machine.peer, known())));
        }
        let mut world = Self {
            setup,
            now: Time::default(),
            open: vec![false; sides.len()],
            left: sides.iter().map(|side| side.blocks.len()).sum(),
            timeouts: Timeouts::new(sides.len()),
            sides,
            listening: (0..machines.len()).collect(),
            timeline: Timeline::new(
                file.hours,
                machines.iter().filter(|machine| machine.works()).count(),
            ),
            machines,
            links,
            queue,
            shared: HashMap::new(),
            chains: HashMap::new(),
            rng,
            counts: Counts::default(),
            leases: 0,
        };
        for machine in 0..world.machines.len() {
            world.plan_toggle(machine);
        }
        world
    }
}

fn machines(setup: &Setup, seed: u64) -> Vec<Machine> {
    let mut machines = Vec::new();
    for (class, table) in setup.file.machines.iter().enumerate() {
        let mut rng = Rng::new(seed, &format!("machines {class}"));
        let honest = (table.count as f64 * table.honest).round() as u64;
        for index in 0..table.count {
            // Honest machines are spread evenly among the others, and nobody can tell them apart.
            let upto = |index: u64| u128::from(index) * u128::from(honest) / u128::from(table.count);
            let is_honest = upto(index + 1) > upto(index);
            let habit = if is_honest {
                Habit::Honest
            } else {
                table.wasters[index as usize % table.wasters.len()]
            };
            let place = machines.len();
            machines.push(machine(&mut rng, (place, class, table), habit));
        }
    }
    machines
}

/// Connects requesters and machines. If requesters have room for some machines only, all machines
/// get about as many requesters.
fn connect(setup: &Setup, seed: u64, sides: &[Side], machines: &mut [Machine]) {
    let mut rng = Rng::new(seed, "connections");
    let mut turn: Vec<usize> = Vec::new();
    for (place, side) in sides.iter().enumerate() {
        let room = setup.file.requesters[side.table].connections;
        let room = room.map_or(machines.len(), |room| machines.len().min(room as usize));
        if room == machines.len() {
            machines
                .iter_mut()
                .for_each(|machine| machine.met.push(KnownRequester::new(place)));
            continue;
        }
        let mut connected = 0;
        while connected < room {
            if turn.is_empty() {
                turn = (0..machines.len()).collect();
                rng.shuffle(&mut turn);
            }
            let machine = turn.pop().map(|machine| &mut machines[machine]);
            if let Some(machine) =
                machine.filter(|machine| machine.met.last().is_none_or(|met| met.side() != place))
            {
                machine.met.push(KnownRequester::new(place));
                connected += 1;
            }
        }
    }
    machines
        .iter_mut()
        .for_each(|machine| machine.met.shrink_to_fit());
}

fn machine(rng: &mut Rng, (place, class, table): (usize, usize, &MachineTable), habit: Habit) -> Machine {
    let speed = draw(rng, table.speed);
    let (up, down) = (draw(rng, table.up_mbit), draw(rng, table.down_mbit));
    let latency = Duration::from_secs_f64(draw(rng, table.latency_ms) / 1000.0);
    let behind_nat = rng.chance((1000.0 * table.nat) as u32);
    // As many machines are away in the beginning as at any time.
    let away = table
        .online_h
        .map_or(0.0, |online_h| table.offline_h / (online_h + table.offline_h));
    let online = !rng.chance((1000.0 * away) as u32);
    Machine {
        peer: name(place),
        class,
        habit,
        speed,
        link: Link::new(up * MBIT, down * MBIT, latency),
        behind_nat,
        online,
        boot: 0,
        doing: None,
        offer_pending: false,
        alarm: Time::NEVER,
        listening: true,
        last: None,
        met: Vec::new(),
        inputs: VecDeque::new(),
    }
}

/// A number of a spread, drawn in thousandths of its width: whole numbers are the same on every
/// machine.
fn draw(rng: &mut Rng, spread: Spread) -> f64 {
    let (from, to) = spread.ends();
    from + (to - from) * rng.below(1001) as f64 / 1000.0
}
