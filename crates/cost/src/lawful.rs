//! Machines and fleets that follow simple laws exactly, so that tests know the results beforehand.
//!
//! Not part of the crate's interface: the tests of this crate and of the simulator are written with
//! them.

use myriad_core::{EngineName, Kind};

use crate::{
    model::ProgramModel,
    planner::{Class, Link, Question, RequesterSide, Workload},
    profile::{
        Cut, Disk, Machine, Measured, NodeSample, PROFILE_VERSION, Profile, Program, SegmentSample, Vm,
    },
};

/// A machine that follows simple laws exactly, so that a model's result can be told beforehand.
///
/// A segment takes 0.5 GiB, 20 bytes a cell and 160 a leaf of its tree. It takes 1 s and 0.4 s for
/// a million cells on one thread, of which a fifth does not get faster with threads. A node takes
/// 10 s and 5 for each child.
#[expect(clippy::too_many_lines, reason = "one profile, field by field")]
pub fn lawful() -> Profile {
    let measured = |work: f64, threads: u32, cold: bool, peak_bytes: u64| Measured {
        threads,
        cold,
        // Rounded, so that it is the same after it was written and read.
        wall_s: ((work * (0.2 + 0.8 / f64::from(threads)) + if cold { 2.0 } else { 0.0 }) * 1e6).round()
            / 1e6,
        cpu_s: work,
        waited_s: 0.0,
        peak_bytes,
        proof_bytes: 500_000,
        verify_s: 0.02,
    };
    let mut cuts = Vec::new();
    let mut segments = Vec::new();
    for step in 1..=6u64 {
        let instructions = 100_000 * step;
        let (cells, interactions) = (50 * instructions, 24 * instructions);
        let peak_bytes = (1 << 29) + 20 * cells + 160 * interactions;
        let budget_bytes = peak_bytes + (1 << 20);
        cuts.push(Cut {
            budget_bytes,
            segments: 10,
            instructions: instructions as f64,
            cells: cells as f64,
            interactions: interactions as f64,
            peak_bytes,
        });
        for (threads, cold) in [(1, false), (2, false), (2, true)] {
            segments.push(SegmentSample {
                budget_bytes,
                instructions_before: 0,
                instructions,
                cells,
                interactions,
                measured: measured(1.0 + 0.4e-6 * cells as f64, threads, cold, peak_bytes),
            });
        }
    }
    let mut nodes = Vec::new();
    for (stage, most) in [
        (Kind::Leaf, 4),
        (Kind::InternalForLeaf, 3),
        (Kind::InternalRecursive, 3),
        (Kind::Final, 1),
    ] {
        for children in 1..=most {
            for threads in [1, 2] {
                let peak_bytes = u64::from(1 + children) << 30;
                nodes.push(NodeSample {
                    stage,
                    children,
                    over_ones: false,
                    measured: measured(10.0 + 5.0 * f64::from(children), threads, false, peak_bytes),
                });
            }
        }
    }
    Profile {
        version: PROFILE_VERSION,
        name: "lawful".into(),
        build: "test".into(),
        engine: "ab".repeat(32),
        engine_name: EngineName::of_older_builds(),
        machine: Machine {
            cpu: "none".into(),
            cores: 2,
            memory_bytes: 16 << 30,
            system: "test".into(),
        },
        hash_bytes_per_s: 1e9,
        disk: Disk {
            write_bytes_per_s: 1e9,
            read_bytes_per_s: 1e9,
        },
        programs: vec![Program {
            name: "law".into(),
            vm: Vm::Plain,
            execute_instructions_per_s: 1e8,
            meter_instructions_per_s: 5e7,
            boundary_s: 0.1,
            cuts,
            segments,
            nodes,
        }],
    }
}

/// [`lawful`] where only the tasks take time: the machines have done one of each kind before, and
/// proofs are verified in no time.
pub fn timeless() -> Profile {
    let mut profile = lawful();
    let program = &mut profile.programs[0];
    program.segments.retain(|segment| !segment.measured.cold);
    let segments = program.segments.iter_mut().map(|segment| &mut segment.measured);
    for measured in segments.chain(program.nodes.iter_mut().map(|node| &mut node.measured)) {
        measured.verify_s = 1e-9;
    }
    program.boundary_s = 1e-9;
    program.execute_instructions_per_s = 1e15;
    program.meter_instructions_per_s = 1e15;
    profile
}

/// A link on which nothing takes time.
pub const AT_ONCE: Link = Link {
    up_bytes_per_s: 1e15,
    down_bytes_per_s: 1e15,
    latency_s: 0.0,
};

fn model() -> ProgramModel {
    let engine = EngineName::of_older_builds();
    ProgramModel::fit(&timeless().programs[0], engine).expect("the law has every stage")
}

/// Machines on which tasks cost what the laws say, and nothing else takes time.
pub fn class(machines: u64, threads: u32, memory_gib: u64) -> Class {
    Class {
        name: "law".into(),
        machines,
        threads,
        memory_bytes: memory_gib << 30,
        link: AT_ONCE,
        model: model(),
        watts: 50.0,
        price_per_h: 0.1,
    }
}

/// A job of this many instructions on such a fleet, in which all deliver.
pub fn question(instructions: f64, classes: Vec<Class>) -> Question {
    Question {
        workload: Workload {
            instructions,
            shared_bytes: 1,
        },
        classes,
        honest: 1.0,
        requester: RequesterSide {
            cores: 2,
            link: AT_ONCE,
            model: model(),
        },
        price_per_kwh: 0.3,
    }
}
