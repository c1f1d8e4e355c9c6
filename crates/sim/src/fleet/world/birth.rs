//! The beginning of a world: its requesters, the blocks that they will get, and its machines.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use myriad_core::{Offer, Policy, Requester, SPEED_ONE, Time, Trust};

use super::{Happens, Side, World};
use crate::{
    fleet::{
        file::{MBIT, MachineTable, Spread},
        link::Link,
        machine::{Asked, Machine},
        outcome::{Block, Counts, Timeline},
        setup::Setup,
    },
    peer::{Habit, known, name},
    queue::Queue,
    rng::Rng,
};

impl<'a> World<'a> {
    #[expect(clippy::too_many_lines, reason = "one world, field by field")]
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
                queue.push(first + every * block, Happens::Arrives { side, block });
            }
            sides.push(Side {
                table,
                state: Requester::new(Policy::default()),
                timeout: Time::NEVER,
                cores: vec![Time::default(); requester.cores as usize],
                waiting: VecDeque::new(),
                under_way: 0,
                blocks: vec![Block::default(); blocks as usize],
                open: 0,
            });
            links.push(Link::new(
                requester.up_mbit * MBIT,
                requester.down_mbit * MBIT,
                Duration::from_secs_f64(requester.latency_ms / 1000.0),
            ));
        }
        let machines = machines(setup, seed, &sides);
        let policy = Policy {
            redundancy: setup.redundancy,
            ..Policy::default()
        };
        let known_ones = || {
            let known_tables = |machine: &&Machine| file.machines[machine.class].known && machine.works();
            machines
                .iter()
                .filter(known_tables)
                .map(|machine| (machine.peer, known()))
        };
        for side in &mut sides {
            side.state = Requester::with_standings(policy, known_ones());
        }
        let mut world = Self {
            setup,
            now: Time::default(),
            open: vec![false; sides.len()],
            left: sides.iter().map(|side| side.blocks.len()).sum(),
            sides,
            places: machines
                .iter()
                .enumerate()
                .map(|(place, machine)| (machine.peer, place))
                .collect(),
            timeline: Timeline::new(
                file.hours,
                machines.iter().filter(|machine| machine.works()).count(),
            ),
            machines,
            links,
            queue,
            shared: HashMap::new(),
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

fn machines(setup: &Setup, seed: u64, sides: &[Side]) -> Vec<Machine> {
    let mut machines = Vec::new();
    for (class, table) in setup.file.machines.iter().enumerate() {
        let mut rng = Rng::new(seed, &format!("machines {class}"));
        let honest = (table.count as f64 * table.honest).round() as u64;
        for index in 0..table.count {
            // Spread evenly among the others, whom nobody can tell from them.
            let upto = |index: u64| u128::from(index) * u128::from(honest) / u128::from(table.count);
            let is_honest = upto(index + 1) > upto(index);
            let habit = if is_honest {
                Habit::Honest
            } else {
                table.wasters[index as usize % table.wasters.len()]
            };
            let place = machines.len();
            machines.push(machine(setup, &mut rng, (place, class, table), habit, sides));
        }
    }
    machines
}

fn machine(
    setup: &Setup,
    rng: &mut Rng,
    (place, class, table): (usize, usize, &MachineTable),
    habit: Habit,
    sides: &[Side],
) -> Machine {
    let speed = draw(rng, table.speed);
    let boast = if habit == Habit::Boasts { 10.0 } else { 1.0 };
    let asked = sides.iter().map(|side| {
        let relative = setup.workloads[side.table].tasks.relative_speed(class);
        Asked {
            offer: Offer {
                memory: (table.memory_gib * f64::from(1 << 30)) as u64,
                speed: (f64::from(SPEED_ONE) * relative * speed * boast).max(1.0) as u32,
                trust: Trust::Stranger,
                origin: None,
            },
            next: Time::default(),
            served: Duration::ZERO,
            has_program: false,
        }
    });
    let (up, down) = (draw(rng, table.up_mbit), draw(rng, table.down_mbit));
    let latency = Duration::from_secs_f64(draw(rng, table.latency_ms) / 1000.0);
    let behind_nat = rng.chance((1000.0 * table.nat) as u32);
    // In the beginning as many are away as at any time.
    let away = table
        .online_h
        .map_or(0.0, |online_h| table.offline_h / (online_h + table.offline_h));
    let online = !rng.chance((1000.0 * away) as u32);
    Machine {
        peer: name(place),
        class,
        habit,
        speed: (1000.0 * speed).max(1.0) as u64,
        link: Link::new(up * MBIT, down * MBIT, latency),
        behind_nat,
        online,
        boot: 0,
        doing: None,
        asking: false,
        alarm: Time::NEVER,
        last: None,
        asked: asked.collect(),
        inputs: VecDeque::new(),
    }
}

/// A number of a spread, drawn in thousandths of its width: whole numbers are the same on every machine.
fn draw(rng: &mut Rng, spread: Spread) -> f64 {
    let (from, to) = spread.ends();
    from + (to - from) * rng.below(1001) as f64 / 1000.0
}
