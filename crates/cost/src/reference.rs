//! The machine whose seconds are the unit of work.
//!
//! Requesters and provers of one network have to agree on a second of work
//! ([`SPEED_ONE`](myriad_core::SPEED_ONE)): it is a second of one core of this machine. Its profile
//! is part of the build. So a requester knows the cost of tasks without a measurement of its own,
//! and a prover knows its relative speed.
//!
//! The programs of another engine may have been measured on another machine. Then a second profile
//! of that machine, with the programs of this one, says how fast it is: its seconds become those of
//! the reference. To measure again, put what these commands write in place of the two files:
//!
//! ```text
//! myriad bench --quick --out docs/report/profiles/risc0-machine.json
//! myriad bench --engine risc0 --threads 2 --memory 4GiB --out docs/report/profiles/risc0.json
//! ```

use std::sync::LazyLock;

use crate::{model::CostModel, profile::Profile};

/// Measured by `myriad bench` on two cores of an AMD EPYC.
const PROFILE: &str = include_str!("../../../docs/report/profiles/epyc-2-cores.json");

/// The profiles of other engines, each measured on another machine.
const OTHERS: [Other; 1] = [Other {
    profile: include_str!("../../../docs/report/profiles/risc0.json"),
    machine: include_str!("../../../docs/report/profiles/risc0-machine.json"),
}];

/// The profile of another engine.
struct Other {
    profile: &'static str,
    /// The profile of the same machine with programs that the reference machine has, too.
    machine: &'static str,
}

/// The measurements of the reference machine.
pub fn profile() -> &'static Profile {
    static PARSED: LazyLock<Profile> = LazyLock::new(|| parsed(PROFILE));
    &PARSED
}

/// The measurements of another engine's programs, as the machine that made them has them.
pub fn other(engine: &str) -> Option<&'static Profile> {
    static PARSED: LazyLock<Vec<Profile>> =
        LazyLock::new(|| OTHERS.iter().map(|other| parsed(other.profile)).collect());
    PARSED
        .iter()
        .find(|profile| profile.engine_name.as_str() == engine)
}

fn parsed(json: &str) -> Profile {
    Profile::parse(json.as_bytes()).expect("the file is read by a test")
}

fn fitted(profile: &Profile) -> CostModel {
    CostModel::fit(profile).expect("the file is fitted by a test")
}

/// The costs of tasks on the reference machine, with the programs of all engines. The model has a
/// program for each [`Vm`](crate::profile::Vm), with nodes of every arity.
pub fn model() -> &'static CostModel {
    static FITTED: LazyLock<CostModel> = LazyLock::new(|| {
        let own = fitted(profile());
        OTHERS.iter().fold(own.clone(), |all, other| {
            let beside = fitted(&parsed(other.machine)).speed_beside(&own, 1);
            all.with_programs_of(&fitted(&parsed(other.profile)), beside.core_speed)
        })
    });
    &FITTED
}

#[cfg(test)]
mod tests {
    use myriad_core::Kind;

    use super::*;
    use crate::{model::Below, profile::Vm};

    #[test]
    fn it_has_every_task_of_every_machine() {
        for (vm, engine, leaf, above) in [
            (Vm::Plain, "openvm", 4, 3),
            (Vm::Extended, "openvm", 1, 3),
            (Vm::Risc0, "risc0", 1, 2),
        ] {
            let program = model().of(vm).unwrap();
            assert_eq!(program.engine().to_string(), engine);
            for (stage, most) in [
                (Kind::Leaf, leaf),
                (Kind::InternalForLeaf, above),
                (Kind::InternalRecursive, above),
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

    #[test]
    fn another_engine_was_measured_on_the_machine_that_is_compared() {
        for other in &OTHERS {
            let [programs, machine] = [other.profile, other.machine].map(parsed);
            assert_eq!(programs.machine.cpu, machine.machine.cpu);
            assert_eq!(programs.machine.cores, machine.machine.cores);
            assert_eq!(machine.engine_name, profile().engine_name);
            assert_ne!(programs.engine_name, machine.engine_name);
        }
    }

    #[test]
    fn profiles_are_found_by_their_engines() {
        assert_eq!(other("risc0").unwrap().programs[0].name, "fibonacci-risc0");
        assert!(other("openvm").is_none());
    }

    #[test]
    fn what_another_machine_measured_takes_the_references_seconds() {
        for other in &OTHERS {
            let (there, machine) = (fitted(&parsed(other.profile)), fitted(&parsed(other.machine)));
            let beside = machine.speed_beside(&fitted(profile()), 1).core_speed;
            assert!((0.2..5.0).contains(&beside), "{beside}");
            for program in there.programs() {
                let here = model().program(program.name()).unwrap();
                assert_eq!(here.engine(), program.engine());
                let lift = |program: &crate::model::ProgramModel| {
                    program.node(Kind::Leaf, 1, Below::More, 1).unwrap()
                };
                let ratio = lift(here).cpu_s / lift(program).cpu_s;
                assert!((ratio / beside - 1.0).abs() < 1e-9, "{ratio}");
                assert_eq!(lift(here).peak_bytes, lift(program).peak_bytes);
            }
        }
    }

    /// Tasks that nobody has measured are reckoned with like these.
    #[test]
    fn the_costliest_machine_is() {
        let seconds = |vm: Vm| {
            let program = model().of(vm).unwrap();
            let node = |kind| program.node(kind, 1, Below::More, 1).unwrap().cpu_s;
            let cut = program.cut_for(2 << 30).unwrap();
            program.segment(program.load(cut.instructions), 1).cpu_s + node(Kind::Leaf)
        };
        for vm in Vm::ALL {
            assert!(seconds(vm) <= seconds(Vm::COSTLIEST), "{vm:?}");
        }
    }
}
