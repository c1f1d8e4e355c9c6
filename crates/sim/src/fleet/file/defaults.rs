//! The defaults of a scenario, where its file says nothing.

use super::Spread;
use crate::peer::Habit;

pub(super) fn one() -> u64 {
    1
}

pub(super) fn a_day() -> f64 {
    24.0
}

pub(super) fn instructions_per_gas() -> f64 {
    5.2
}

pub(super) fn evm_block() -> String {
    "evm-block".into()
}

pub(super) fn program_mb() -> f64 {
    2.9
}

pub(super) fn input_mb() -> f64 {
    3.1
}

pub(super) fn open_max() -> u32 {
    4
}

pub(super) fn requester_cores() -> u32 {
    8
}

pub(super) fn requester_up() -> f64 {
    1000.0
}

pub(super) fn requester_down() -> f64 {
    1000.0
}

pub(super) fn latency() -> f64 {
    30.0
}

pub(super) fn memory() -> f64 {
    4.0
}

pub(super) fn same_speed() -> Spread {
    Spread::One(1.0)
}

pub(super) fn up() -> Spread {
    Spread::One(20.0)
}

pub(super) fn down() -> Spread {
    Spread::One(100.0)
}

pub(super) fn latencies() -> Spread {
    Spread::One(30.0)
}

pub(super) fn all() -> f64 {
    1.0
}

pub(super) fn quarter() -> f64 {
    0.25
}

pub(super) fn pretends() -> Vec<Habit> {
    vec![Habit::Pretends]
}
