//! A yardstick: how soon a job can be done where everything is known beforehand.
//!
//! HEFT with insertion ("Performance-effective and low-complexity task scheduling for heterogeneous
//! computing", Topcuoglu, Hariri and Wu, IEEE Transactions on Parallel and Distributed Systems
//! 13(3), 2002): tasks in the order of their upward ranks, each on the machine that ends it first,
//! in a gap between two others where it fits into one.
//!
//! It knows the speed of every machine, that all of them are there from the start and stay, and the
//! average time of each task. It asks for nothing and waits for nobody. A proof still has to be
//! checked and kept before the next task takes it, and a machine has to fetch the proofs that a
//! task takes.

use std::time::Duration;

use myriad_core::{TaskId, Tree};

use super::{
    Scenario,
    prover::{BUSY, NOISE, Prover},
    scenario::{GIB, cost},
    simulation::{CHECK, provers_of},
};

/// The times in which a machine is busy, in microseconds, in order.
type Busy = Vec<(u64, u64)>;

struct Machine {
    speed: u64,
    memory: u64,
    latency_us: u64,
    fetch_us: u64,
    busy: Busy,
}

impl Machine {
    fn new(prover: &Prover) -> Self {
        Self {
            speed: prover.speed,
            memory: prover.offer.memory,
            latency_us: micros(prover.latency),
            fetch_us: micros(prover.fetch.start + prover.fetch.end) / 2,
            busy: Busy::new(),
        }
    }

    /// The average time of a task here.
    fn takes_us(&self, work: Duration) -> u64 {
        let noise = (NOISE.start + NOISE.end) / 2;
        let work = micros(work) * 1000 / self.speed * noise / 1000;
        self.fetch_us + work * (1000 + u64::from(BUSY)) / 1000
    }

    /// The earliest start on this machine of a task that is ready at `ready`, and its place among
    /// the machine's other tasks.
    fn begins(&self, ready: u64, takes: u64) -> (u64, usize) {
        // Nothing that ends before has a gap after it.
        let first = self.busy.partition_point(|(_, end)| *end <= ready);
        let mut begins = ready;
        for (place, &(start, end)) in self.busy.iter().enumerate().skip(first) {
            if begins + takes <= start {
                return (begins, place);
            }
            begins = begins.max(end);
        }
        (begins, self.busy.len())
    }
}

fn micros(duration: Duration) -> u64 {
    duration.as_micros() as u64
}

/// When the first job of a scenario is done, if its honest machines do what HEFT says.
///
/// # Panics
/// If no machine has the memory for a task.
pub fn makespan(scenario: &Scenario) -> Duration {
    let tree = scenario.jobs[0].tree();
    let working = provers_of(scenario)
        .into_iter()
        .filter(|prover| prover.habit.works());
    let mut machines: Vec<Machine> = working.map(|prover| Machine::new(&prover)).collect();
    let persist = &scenario.faults.persist;
    let between_us = micros(CHECK.start + CHECK.end + persist.start + persist.end) / 2;
    let mut done_us = vec![0; tree.task_count()];
    for task in in_order(&tree) {
        let inputs = tree.children(task).map(|input| done_us[tree.place(input)]);
        let ready = inputs.max().unwrap_or(0);
        let cost = cost(task.kind());
        let ends = |machine: &Machine| {
            let takes = machine.takes_us(cost.work);
            let (begins, place) = machine.begins(ready + machine.latency_us, takes);
            (begins + takes, place, takes)
        };
        let able = machines
            .iter()
            .enumerate()
            .filter(|(_, machine)| machine.memory >= cost.memory);
        let (index, (end, place, takes)) = able
            .map(|(index, machine)| (index, ends(machine)))
            .min_by_key(|(index, (end, ..))| (*end, *index))
            .unwrap_or_else(|| panic!("{task} needs {} GiB", cost.memory / GIB));
        let machine = &mut machines[index];
        machine.busy.insert(place, (end - takes, end));
        done_us[tree.place(task)] = end + machine.latency_us + between_us;
    }
    Duration::from_micros(done_us[tree.place(TaskId::Final)])
}

/// The tasks by the work of the longest path from each to the end, the longest first.
fn in_order(tree: &Tree) -> Vec<TaskId> {
    let mut tasks: Vec<TaskId> = tree.tasks().collect();
    let mut ranks = vec![Duration::ZERO; tasks.len()];
    // Parents come after their children.
    for &task in tasks.iter().rev() {
        let above = tree.parent(task).map(|parent| ranks[tree.place(parent)]);
        ranks[tree.place(task)] = cost(task.kind()).work + above.unwrap_or_default();
    }
    tasks.sort_by_key(|task| (std::cmp::Reverse(ranks[tree.place(*task)]), *task));
    tasks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::scenario::{Class, Faults, Job};

    /// Machines that are told what to do at once, and fetch nothing.
    fn scenario(segments: u32, speeds: &[u64]) -> Scenario {
        let class = |&speed: &u64| Class {
            speed: speed..speed + 1,
            latency: Duration::ZERO..Duration::ZERO,
            fetch: Duration::ZERO..Duration::ZERO,
            ..Class::honest(1)
        };
        Scenario {
            jobs: vec![Job {
                growth: None,
                segments,
                arities: myriad_core::Arities {
                    leaf: 2,
                    internal_for_leaf: 2,
                    internal_recursive: 3,
                },
                priority: 0,
                opened: Duration::ZERO,
            }],
            classes: speeds.iter().map(class).collect(),
            faults: Faults {
                persist: Duration::ZERO..Duration::ZERO,
                ..Faults::NONE
            },
            ..Scenario::random(0)
        }
    }

    fn seconds(segments: u32, speeds: &[u64]) -> f64 {
        makespan(&scenario(segments, speeds)).as_secs_f64()
    }

    /// The average time of a task over its cost.
    const MORE: f64 = 1.025 * 1.05;
    const CHECK_S: f64 = 0.8;

    #[test]
    fn one_machine_does_one_task_after_the_other() {
        // A segment, a leaf, an internal-for-leaf node, an internal-recursive one, and the final
        // proof.
        let alone = f64::from(23 + 31 + 54 + 31 + 19);
        let expected = alone * MORE + 5.0 * CHECK_S;
        assert!((seconds(1, &[1000]) - expected).abs() < 0.01);
        assert!((seconds(1, &[2000]) - (alone / 2.0 * MORE + 5.0 * CHECK_S)).abs() < 0.01);
    }

    #[test]
    fn a_slow_machine_gets_nothing_that_a_fast_one_ends_sooner() {
        let alone = seconds(2, &[4000]);
        assert!((seconds(2, &[4000, 500]) - alone).abs() < 0.01);
        assert!(seconds(2, &[4000, 4000]) < alone - 4.0);
    }

    #[test]
    fn what_fits_into_a_gap_goes_there() {
        let machine = Machine {
            speed: 1000,
            memory: GIB,
            latency_us: 0,
            fetch_us: 0,
            busy: vec![(0, 10), (30, 40), (45, 50)],
        };
        assert_eq!(machine.begins(0, 20), (10, 1));
        assert_eq!(machine.begins(0, 5), (10, 1));
        assert_eq!(machine.begins(35, 5), (40, 2));
        assert_eq!(machine.begins(0, 21), (50, 3));
        assert_eq!(machine.begins(60, 1), (60, 3));
    }
}
