//! The model finds the laws of a profile that has no noise, and errs little where there is some.

use myriad_core::{EngineName, Kind};

use super::*;
use crate::{lawful::lawful, profile::NodeSample};

fn near(actual: f64, expected: f64) -> bool {
    (actual / expected - 1.0).abs() < 1e-3
}

fn law() -> ProgramModel {
    ProgramModel::fit(&lawful().programs[0], EngineName::of_older_builds()).unwrap()
}

#[test]
fn a_segment_of_any_size_follows_the_law_that_the_measured_ones_did() {
    let law = law();
    for instructions in [150_000.0, 350_000.0, 600_000.0, 900_000.0] {
        let load = law.load(instructions);
        assert!(near(load.cells, 50.0 * instructions) && near(load.interactions, 24.0 * instructions));
        let work = 1.0 + 0.4e-6 * load.cells;
        for threads in [1, 2, 8] {
            let segment = law.segment(load, threads);
            assert!(
                near(segment.wall_s, work * (0.2 + 0.8 / f64::from(threads))),
                "{segment:?}"
            );
            assert!(near(segment.cpu_s, work));
            assert!(near(segment.cold_s, 2.0));
            let peak = (1u64 << 29) as f64 + 20.0 * load.cells + 160.0 * load.interactions;
            assert!(near(segment.peak_bytes as f64, peak), "{segment:?} {peak}");
        }
    }
}

#[test]
fn a_node_is_as_it_was_measured() {
    let law = law();
    let node = law.node(Kind::InternalForLeaf, 3, Below::More, 2).unwrap();
    assert!(near(node.wall_s, 25.0 * 0.6) && near(node.cpu_s, 25.0));
    assert_eq!(node.peak_bytes, 4 << 30);
    assert_eq!(law.node(Kind::InternalForLeaf, 4, Below::More, 2), None);
    assert_eq!(law.node(Kind::Segment, 1, Below::More, 2), None);
}

/// Over the smallest proofs, three take what two took over larger ones: that fits machines which
/// those do not.
#[test]
fn narrow_trees_have_wider_nodes_at_their_top() {
    let mut profile = lawful();
    let nodes = &mut profile.programs[0].nodes;
    let wide = |node: &&mut NodeSample| node.stage == Kind::InternalRecursive && node.children == 3;
    nodes
        .iter_mut()
        .filter(wide)
        .for_each(|node| node.measured.peak_bytes = 7 << 30);
    let before = ProgramModel::fit(&profile.programs[0], EngineName::of_older_builds()).unwrap();
    let three = |law: &ProgramModel, below| law.node(Kind::InternalRecursive, 3, below, 1).unwrap();
    assert_eq!(
        three(&before, Below::Ones),
        three(&before, Below::More),
        "nothing better is known"
    );

    let nodes = &mut profile.programs[0].nodes;
    let mut narrow = nodes
        .iter()
        .find(|node| node.stage == Kind::InternalRecursive && node.children == 3)
        .unwrap()
        .clone();
    narrow.over_ones = true;
    narrow.measured.peak_bytes = 3 << 30;
    narrow.measured.wall_s /= 2.0;
    nodes.push(narrow);
    let law = ProgramModel::fit(&profile.programs[0], EngineName::of_older_builds()).unwrap();
    assert_eq!(three(&law, Below::Ones).peak_bytes, 3 << 30);
    assert_eq!(three(&law, Below::More), three(&before, Below::More));
    let widths = |pairs: u32| {
        let arities = law.arities(4 << 30).into_iter();
        let widths = arities.filter(|arities| arities.internal_for_leaf == pairs);
        widths.map(|arities| arities.internal_recursive).max()
    };
    assert_eq!((widths(1), widths(2)), (Some(3), Some(2)));
}

#[test]
fn what_a_node_took_while_keys_were_loaded_has_to_fit_too() {
    let mut profile = lawful();
    let nodes = &mut profile.programs[0].nodes;
    let mut cold = nodes[0].clone();
    cold.measured.cold = true;
    cold.measured.peak_bytes = 7 << 30;
    cold.measured.wall_s += 3.0;
    nodes.push(cold);
    let law = ProgramModel::fit(&profile.programs[0], EngineName::of_older_builds()).unwrap();
    let node = law.node(Kind::Leaf, 1, Below::More, 1).unwrap();
    assert_eq!(node.peak_bytes, 7 << 30);
    assert!(near(node.wall_s, 15.0) && near(node.cold_s, 3.0));
}

#[test]
fn children_that_were_not_measured_lie_on_the_line() {
    let mut profile = lawful();
    let nodes = &mut profile.programs[0].nodes;
    nodes.retain(|node| node.stage != Kind::Leaf || node.children != 3);
    let law = ProgramModel::fit(&profile.programs[0], EngineName::of_older_builds()).unwrap();
    assert!(near(
        law.node(Kind::Leaf, 3, Below::More, 1).unwrap().wall_s,
        25.0
    ));
}

#[test]
fn memory_decides_over_segments_and_arities() {
    let law = law();
    let budgets: Vec<u64> = law.cuts().iter().map(|cut| cut.budget_bytes).collect();
    assert_eq!(law.instructions_for(budgets[0] - 1), None);
    assert_eq!(law.instructions_for(budgets[2]), Some(300_000.0));
    assert_eq!(law.instructions_for(budgets[2] - 1), Some(200_000.0));
    assert_eq!(law.instructions_for(u64::MAX), Some(600_000.0));
    // A node of n takes n + 1 GiB: a tree needs one of two.
    assert!(law.arities((3 << 30) - 1).is_empty());
    let three = law.arities(3 << 30);
    assert!(
        three
            .iter()
            .all(|a| a.leaf <= 2 && a.internal_for_leaf <= 2 && a.internal_recursive == 2)
    );
    assert_eq!(three.len(), 4);
    assert_eq!(law.arities(u64::MAX).len(), 4 * 3 * 2);
    assert_eq!(law.memory_min(), 3 << 30);
}

#[test]
fn one_number_of_threads_leaves_the_serial_part_open() {
    let mut profile = lawful();
    let program = &mut profile.programs[0];
    program.segments.retain(|s| s.measured.threads == 2);
    program.nodes.retain(|n| n.measured.threads == 2);
    let law = ProgramModel::fit(program, EngineName::of_older_builds()).unwrap();
    let load = law.load(300_000.0);
    // The measurements hold all the same.
    assert!(near(law.segment(load, 2).wall_s, 7.0 * 0.6));
    assert!(law.segment(load, 4).wall_s < law.segment(load, 2).wall_s);
}

#[test]
fn a_missing_stage_is_named() {
    let mut profile = lawful();
    profile.programs[0].nodes.retain(|node| node.stage != Kind::Final);
    let error = CostModel::fit(&profile).unwrap_err().to_string();
    assert!(error.contains("final") && error.contains("law"), "{error}");
}

/// A machine on which everything takes three times as long.
fn slow() -> Profile {
    let mut profile = lawful();
    let program = &mut profile.programs[0];
    let segments = program.segments.iter_mut().map(|s| &mut s.measured);
    for measured in segments.chain(program.nodes.iter_mut().map(|n| &mut n.measured)) {
        measured.wall_s *= 3.0;
        measured.cpu_s *= 3.0;
    }
    profile
}

#[test]
fn a_machine_is_as_fast_as_its_tasks_were() {
    let (reference, slow) = (
        CostModel::fit(&lawful()).unwrap(),
        CostModel::fit(&slow()).unwrap(),
    );
    let beside = slow.speed_beside(&reference, 2);
    assert!(near(beside.core_speed, 1.0 / 3.0));
    // A fifth of the work is serial: two threads do it in 0.6 of the time.
    assert!(near(beside.speed, 1.0 / 3.0 / 0.6));
    assert!(near(reference.speed_beside(&reference, 1).speed, 1.0));
}

#[test]
fn what_a_quick_look_left_out_is_the_references_at_the_machines_speed() {
    let mut quick = slow();
    let program = &mut quick.programs[0];
    program
        .nodes
        .retain(|node| node.children <= 1 || node.stage == Kind::InternalRecursive);
    program.cuts.truncate(3);
    let mut reference = lawful();
    let mut other = reference.programs[0].clone();
    other.name = "other".into();
    other.vm = Vm::Extended;
    reference.programs.push(other);
    let reference = CostModel::fit(&reference).unwrap();
    let completed = CostModel::fit(&quick).unwrap().completed_by(&reference);
    let law = completed.program("law").unwrap();
    assert!(near(
        law.node(Kind::Leaf, 4, Below::More, 1).unwrap().wall_s,
        3.0 * 30.0
    ));
    assert_eq!(
        law.node(Kind::Leaf, 4, Below::More, 1).unwrap().peak_bytes,
        5 << 30
    );
    assert_eq!(law.instructions_for(u64::MAX), Some(600_000.0));
    let other = completed.of(Vm::Extended).unwrap();
    assert!(near(
        other.node(Kind::Final, 1, Below::More, 2).unwrap().wall_s,
        3.0 * 15.0 * 0.6
    ));
}

#[test]
fn a_program_is_of_the_engine_that_was_measured() {
    let other: EngineName = "other".parse().unwrap();
    let profile = Profile {
        engine_name: other,
        ..lawful()
    };
    let model = CostModel::fit(&profile).unwrap();
    assert!(model.programs().iter().all(|program| program.engine() == other));
    let program = ProgramModel::fit(&lawful().programs[0], other).unwrap();
    assert_eq!(program.engine(), other);
}
