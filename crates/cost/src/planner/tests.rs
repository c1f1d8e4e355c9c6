//! The planner's choices on machines whose laws are known.

use myriad_core::{EngineName, Kind};

use super::{estimate::WASTE, *};
use crate::{
    lawful::{class, lawful, question},
    model::ProgramModel,
    trees::shape,
};

fn near(actual: f64, expected: f64) {
    assert!(
        (actual / expected - 1.0).abs() < 1e-3,
        "{actual} where {expected} is expected"
    );
}

/// Seconds of a task of the plan on one of the machines of [`class`] with two threads.
fn task_s(plan: &FleetPlan, task: myriad_core::TaskId) -> f64 {
    let work = match shape(&plan.tree(), task) {
        (Kind::Segment, _) => 1.0 + 0.4e-6 * 50.0 * plan.segment.instructions,
        (_, children) => 10.0 + 5.0 * f64::from(children),
    };
    work * 0.6
}

#[test]
fn one_machine_takes_the_sum_of_all_tasks() {
    let plan = plan(&question(3e6, vec![class(1, 2, 16)])).unwrap();
    let sum: f64 = plan.tree().tasks().map(|task| task_s(&plan, task)).sum();
    near(plan.expected_s, sum);
    near(plan.machine_s, sum);
    near(plan.bounds.machines_s, sum);
    assert_eq!(plan.binds, Binds::Machines);
    near(plan.energy_kwh, 50.0 * sum / 3.6e6);
    near(plan.cost, 0.1 * sum / 3600.0 + 0.3 * plan.energy_kwh);
}

#[test]
fn machines_without_end_take_the_longest_path() {
    let plan = plan(&question(3e6, vec![class(1_000_000, 2, 16)])).unwrap();
    let path = |segment| {
        let tree = plan.tree();
        let first = Some(myriad_core::TaskId::Segment(segment));
        let path = std::iter::successors(first, |task| tree.parent(*task));
        path.map(|task| task_s(&plan, task)).sum::<f64>()
    };
    let longest = (0..plan.segment.segments as u32).map(path).fold(0.0, f64::max);
    near(plan.expected_s, longest);
    near(plan.bounds.path_s, longest);
    assert_eq!(plan.binds, Binds::Path);
}

#[test]
fn the_parts_are_the_whole_and_no_bound_is_passed() {
    for machines in [1, 3, 20, 500] {
        for honest in [0.5, 1.0] {
            let mut question = question(2e7, vec![class(machines, 2, 4), class(machines, 8, 3)]);
            question.honest = honest;
            question.workload.shared_bytes = 1 << 20;
            for class in &mut question.classes {
                class.link = Link {
                    up_bytes_per_s: 1e6,
                    down_bytes_per_s: 5e6,
                    latency_s: 0.05,
                };
            }
            let plan = match plan(&question) {
                Err(PlanError::NobodyHonest { .. }) => continue,
                plan => plan.unwrap(),
            };
            near(plan.parts.total_s(), plan.expected_s);
            let bounds = plan.bounds;
            assert!(bounds.earliest_s >= 0.999 * bounds.path_s.max(bounds.machines_s));
            assert!(plan.expected_s >= bounds.path_s * 0.999);
            // Graham: all work, and after it the longest path.
            let waste = 1.0 + WASTE * (1.0 - honest);
            let most = (plan.bounds.machines_s + plan.bounds.path_s) * waste;
            let start = plan.parts.execute_s + plan.parts.distribute_s;
            assert!(plan.expected_s <= 1.05 * (most + start), "{plan:?}");
        }
    }
}

#[test]
fn fewer_machines_than_are_named_for_a_deadline_are_late() {
    for deadline_s in [120.0, 200.0, 1000.0] {
        let question = question(5e6, vec![class(1, 2, 4)]);
        let machines = machines_for(&question, deadline_s).unwrap();
        let with = |machines| plan(&scaled(&question, machines)).unwrap().expected_s;
        assert!(with(machines) <= deadline_s);
        for fewer in 1..machines {
            assert!(
                with(fewer) > deadline_s,
                "{fewer} of {machines} are enough for {deadline_s}"
            );
        }
    }
}

#[test]
fn a_deadline_shorter_than_the_longest_path_is_met_by_nobody() {
    let error = machines_for(&question(5e6, vec![class(1, 2, 4)]), 20.0).unwrap_err();
    assert!(matches!(error, PlanError::Deadline { .. }));
    assert!(error.to_string().contains("longest path"), "{error}");
}

#[test]
fn what_is_scarce_binds() {
    let question = || question(3e7, vec![class(1000, 2, 4)]);
    let binds = |question: &Question| plan(question).unwrap().binds;
    assert_eq!(binds(&question()), Binds::Path);
    let mut thin = question();
    thin.requester.link.down_bytes_per_s = 1e4;
    assert_eq!(binds(&thin), Binds::RequesterDownlink);
    assert!(plan(&thin).unwrap().parts.requester_s > 0.0);
    let mut heavy = question();
    heavy.workload.shared_bytes = 1 << 40;
    heavy.classes[0].link.down_bytes_per_s = 1e8;
    assert_eq!(binds(&heavy), Binds::Start);
    let mut slow = question();
    slow.requester.model = ProgramModel::fit(&lawful().programs[0], EngineName::of_older_builds()).unwrap();
    slow.requester.cores = 1;
    slow.workload.instructions = 1e10;
    slow.classes[0].machines = 1_000_000;
    assert_eq!(binds(&slow), Binds::RequesterCpu);
}

#[test]
fn memory_that_a_class_lacks_is_not_used() {
    // Nobody but the second class can make nodes, so that one machine makes them all.
    let small = Class {
        memory_bytes: (2 << 30) - 1,
        ..class(50, 2, 2)
    };
    let both = plan(&question(3e6, vec![small.clone(), class(1, 2, 16)])).unwrap();
    let nodes: f64 = both.stages[1..].iter().map(|stage| stage.machine_s).sum();
    assert!(both.expected_s >= nodes);
    let error = plan(&question(3e6, vec![small])).unwrap_err();
    assert!(matches!(error, PlanError::Memory { .. }), "{error}");
}

#[test]
fn numbers_that_make_no_sense_are_named() {
    let broken = |alter: fn(&mut Question)| {
        let mut question = question(1e6, vec![class(10, 2, 4)]);
        alter(&mut question);
        plan(&question).unwrap_err().to_string()
    };
    for (alter, said) in [
        ((|q| q.honest = 0.0) as fn(&mut Question), "honest"),
        (|q| q.honest = 0.01, "less than one honest machine"),
        (|q| q.workload.instructions = f64::NAN, "instructions"),
        (|q| q.classes.clear(), "--nodes"),
        (|q| q.classes[0].link.up_bytes_per_s = 0.0, "uplink"),
        (|q| q.classes[0].machines = u64::MAX, "machines"),
        (|q| q.workload.instructions = 1e14, "segments"),
    ] {
        let text = broken(alter);
        assert!(text.contains(said), "{text}");
    }
}

#[test]
fn a_fleet_keeps_its_proportions() {
    let question = question(1e6, vec![class(1, 2, 4), class(3, 2, 4)]);
    for (machines, expected) in [(4, [1, 3]), (8, [2, 6]), (1, [0, 1]), (1000, [250, 750])] {
        let scaled = scaled(&question, machines);
        assert_eq!([scaled.classes[0].machines, scaled.classes[1].machines], expected);
    }
}

/// Ten blocks of 30 M gas in one job, and a fleet for each of many sizes: within a second on paper,
/// which a count of tasks shows without a clock.
#[test]
fn large_jobs_are_outlined() {
    let question = question(5e9, vec![class(10_000, 2, 4)]);
    let plan = plan(&question).unwrap();
    assert!(plan.segment.segments > 5000);
    near(plan.parts.total_s(), plan.expected_s);
    let most = plan.bounds.machines_s + plan.bounds.path_s;
    assert!(plan.expected_s <= 1.01 * most && plan.expected_s >= plan.bounds.machines_s);
}
