//! The times at which the machines that are relied on will be free.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use crate::{ids::Peer, input::SPEED_ONE, redundancy::share, time::Time};

/// Machines that are looked at for one question; with more of them than that in the way there is
/// work for everybody.
const LOOKED_AT_MAX: usize = 1024;
/// A faster machine has to end before this part of the time that a slower one needs, in
/// thousandths: estimates are not better.
const SOONER: u32 = 900;
/// Bits of a speed, and of a memory, that tell machines apart: about one part in ten, and one in
/// three.
const SPEED_BITS: u32 = 3;
const MEMORY_BITS: u32 = 1;

/// Machines that are nearly alike: the least speed and the least memory of them, the fastest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SpeedGroup {
    speed: Reverse<u32>,
    memory: u64,
}

impl SpeedGroup {
    pub(crate) fn new(speed: u32, memory: u64) -> Self {
        Self {
            speed: Reverse(rounded(speed.into(), SPEED_BITS) as u32),
            memory: rounded(memory, MEMORY_BITS),
        }
    }

    /// No speed of those alike is higher.
    fn most(self) -> u32 {
        self.speed.0.saturating_add(self.speed.0 >> SPEED_BITS)
    }
}

/// The number with only its first 1 and this many bits after it.
fn rounded(number: u64, bits: u32) -> u64 {
    let dropped = (number.max(1).ilog2()).saturating_sub(bits);
    number >> dropped << dropped
}

/// A task, and the machine that asks for one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    /// The speed of the machine, in thousandths of the reference.
    pub speed: u32,
    /// The work of the task.
    pub work: Duration,
    pub memory: u64,
}

impl Question {
    /// The time that the machine would take.
    pub(crate) fn takes(&self) -> Duration {
        Duration::from_micros(takes_us(self.work, self.speed))
    }
}

fn takes_us(work: Duration, speed: u32) -> u64 {
    let work = u64::try_from(work.as_micros()).unwrap_or(u64::MAX);
    work.saturating_mul(SPEED_ONE.into()) / u64::from(speed.max(1))
}

/// The machines that are here and deliver, ordered by when each will have done its present task.
#[derive(Clone, Debug, Default)]
pub(crate) struct Forecast {
    /// The machines that are alike, by the time at which each is free, with its speed.
    free: BTreeMap<SpeedGroup, BTreeMap<(Time, Peer), u32>>,
}

/// One machine in the forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ForecastEntry {
    pub speed: u32,
    pub memory: u64,
    pub free_at: Time,
}

impl Forecast {
    pub(crate) fn insert(&mut self, peer: Peer, machine: ForecastEntry) {
        let alike = SpeedGroup::new(machine.speed, machine.memory);
        let machines = self.free.entry(alike).or_default();
        machines.insert((machine.free_at, peer), machine.speed);
    }

    pub(crate) fn remove(&mut self, peer: Peer, machine: ForecastEntry) {
        if let Entry::Occupied(mut machines) = self.free.entry(SpeedGroup::new(machine.speed, machine.memory))
        {
            machines.get_mut().remove(&(machine.free_at, peer));
            if machines.get().is_empty() {
                machines.remove();
            }
        }
    }

    /// The speed, roughly, of the fastest machine with this much memory.
    pub(crate) fn fastest(&self, memory: u64) -> Option<u32> {
        let mut able = self.free.keys().filter(|alike| alike.memory >= memory);
        able.next().map(|alike| alike.speed.0)
    }

    /// Whether machines that are faster than the one that asks end this much work, in tasks like
    /// this, before that one would end this task alone.
    pub(crate) fn is_sooner(&self, now: Time, question: &Question, demand: Duration) -> bool {
        let window_us = share(question.takes(), SOONER).as_micros() as u64;
        let work_us = question.work.as_micros() as u64;
        let last = (Time(now.0.saturating_add(window_us)), Peer([0xff; 32]));
        let mut left_us = u64::try_from(demand.as_micros()).unwrap_or(u64::MAX);
        let faster = self.free.range(..SpeedGroup::new(question.speed, 0));
        let able = faster
            .take_while(|(alike, _)| takes_us(question.work, alike.most()) <= window_us)
            .filter(|(alike, _)| alike.memory >= question.memory);
        // In most cases there is too much to do even if all of them were free.
        let most_us = able.clone().map(|(alike, machines)| {
            let each = window_us / takes_us(question.work, alike.most()).max(1);
            work_us.saturating_mul(each).saturating_mul(machines.len() as u64)
        });
        if most_us.fold(0, u64::saturating_add) < left_us {
            return false;
        }
        let mut looked_at = 0;
        for (_, machines) in able {
            for (&(free_at, _), &speed) in machines.range(..=last) {
                let spare_us = window_us - free_at.0.saturating_sub(now.0);
                let tasks = spare_us / takes_us(question.work, speed).max(1);
                left_us = left_us.saturating_sub(work_us.saturating_mul(tasks));
                if left_us == 0 {
                    return true;
                }
                looked_at += 1;
                if looked_at == LOOKED_AT_MAX {
                    return false;
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const SECOND: Duration = Duration::from_secs(1);

    fn slow() -> Question {
        Question {
            speed: 500,
            work: SECOND * 20,
            memory: 4 * GIB,
        }
    }

    fn peer(number: u8) -> Peer {
        Peer([number; 32])
    }

    fn machine(speed: u32, memory: u64, free_after: u32) -> ForecastEntry {
        ForecastEntry {
            speed,
            memory,
            free_at: Time(0) + SECOND * free_after,
        }
    }

    #[test]
    fn a_fast_machine_that_is_free_in_time_is_sooner() {
        let is_sooner = |speed, memory, free| {
            let mut forecast = Forecast::default();
            forecast.insert(peer(1), machine(speed, memory, free));
            forecast.is_sooner(Time(0), &slow(), SECOND * 20)
        };
        // The slow one takes 40 s, and a machine of the reference 20 s.
        assert!(is_sooner(1000, 4 * GIB, 0));
        assert!(is_sooner(1000, 4 * GIB, 16));
        assert!(!is_sooner(1000, 4 * GIB, 17), "not by a tenth");
        assert!(is_sooner(2000, 4 * GIB, 25));
        assert!(!is_sooner(1000, 4 * GIB - 1, 0), "it has not the memory");
        assert!(!is_sooner(500, 4 * GIB, 0), "it is no faster");
    }

    #[test]
    fn faster_machines_leave_what_is_too_much_for_them() {
        let mut forecast = Forecast::default();
        let (fast, medium) = (machine(2000, 8 * GIB, 6), machine(1000, 4 * GIB, 0));
        forecast.insert(peer(1), fast);
        forecast.insert(peer(2), medium);
        // The fast one does three tasks of 10 s within 36 s, the other one a task of 20 s.
        assert!(forecast.is_sooner(Time(0), &slow(), SECOND * 80));
        assert!(!forecast.is_sooner(Time(0), &slow(), SECOND * 81));
        forecast.remove(peer(2), medium);
        assert!(!forecast.is_sooner(Time(0), &slow(), SECOND * 80));
        assert_eq!(forecast.fastest(8 * GIB), Some(1920), "the least of those alike");
        forecast.remove(peer(1), fast);
        assert_eq!(forecast.fastest(0), None);
        assert!(forecast.free.is_empty());
    }

    #[test]
    fn machines_are_told_apart_by_a_tenth_of_their_speed() {
        assert_eq!(SpeedGroup::new(1000, GIB), SpeedGroup::new(1023, GIB + GIB / 3));
        assert!(
            SpeedGroup::new(1100, GIB) < SpeedGroup::new(1000, GIB),
            "the fastest first"
        );
        for speed in 1..100_000 {
            let Reverse(least) = SpeedGroup::new(speed, 0).speed;
            let most = SpeedGroup::new(speed, 0).most();
            assert!(
                (least..=most).contains(&speed) && (speed < 8 || most - least <= least / 8),
                "{speed}"
            );
        }
        assert_eq!(SpeedGroup::new(0, 0), SpeedGroup::new(0, 0));
    }
}
