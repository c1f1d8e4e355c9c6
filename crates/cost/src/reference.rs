//! The machine whose seconds are the unit of work.
//!
//! Requesters and provers of one network have to agree on a second of work
//! ([`SPEED_ONE`](myriad_core::SPEED_ONE)): it is a second of one core of this machine. Its profile
//! is part of the build. So a requester knows the cost of tasks without a measurement of its own,
//! and a prover knows its relative speed.

use std::sync::LazyLock;

use crate::{model::CostModel, profile::Profile};

/// Measured by `myriad bench` on two cores of an AMD EPYC.
const PROFILE: &str = include_str!("../../../docs/report/profiles/epyc-2-cores.json");

/// The measurements of the reference machine.
pub fn profile() -> &'static Profile {
    static PARSED: LazyLock<Profile> =
        LazyLock::new(|| Profile::parse(PROFILE.as_bytes()).expect("the file is read by a test"));
    &PARSED
}

/// The costs of tasks on the reference machine. The model has a program for each
/// [`Vm`](crate::profile::Vm), with nodes of every arity.
pub fn model() -> &'static CostModel {
    static FITTED: LazyLock<CostModel> =
        LazyLock::new(|| CostModel::fit(profile()).expect("the file is fitted by a test"));
    &FITTED
}

#[cfg(test)]
mod tests {
    use myriad_core::Kind;

    use super::*;
    use crate::{model::Below, profile::Vm};

    #[test]
    fn it_has_every_task_of_every_machine() {
        for (vm, leaf) in [(Vm::Plain, 4), (Vm::Extended, 1)] {
            let program = model().of(vm).unwrap();
            for (stage, most) in [
                (Kind::Leaf, leaf),
                (Kind::InternalForLeaf, 3),
                (Kind::InternalRecursive, 3),
                (Kind::Final, 1),
            ] {
                for children in 1..=most {
                    let node = program.node(stage, children, Below::More, 2).unwrap();
                    assert!(node.wall_s > 0.0 && node.cpu_s > 0.0 && node.peak_bytes > 0);
                }
            }
            assert!(program.instructions_for(4 << 30).is_some());
        }
    }
}
