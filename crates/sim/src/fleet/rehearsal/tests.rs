//! Rehearsals of the planner's promises.

use myriad_cost::{
    lawful::{class, question},
    planner,
};

use super::*;

/// Every segment size and every tree, done by the state machine itself: none is faster than the
/// planner's by much.
#[test]
fn no_choice_beats_the_planners_when_the_state_machine_does_them_all() {
    for (instructions, machines, memory) in [
        (5e5, 1, 16),
        (2e6, 2, 3),
        (2e6, 3, 16),
        (3e6, 7, 4),
        (3e6, 40, 16),
        (1e5, 2, 5),
    ] {
        let question = question(instructions, vec![class(machines, 2, memory)]);
        let plan = planner::plan(&question).unwrap();
        let mut all = Vec::new();
        for tried in planner::plans(&question).unwrap() {
            let end_s = perform(&question, &tried, 1e6).makespan_s.unwrap();
            let chosen = tried.arities == plan.arities && tried.segment == plan.segment;
            all.push((end_s, chosen));
        }
        let best = all.iter().map(|(end_s, _)| *end_s).fold(f64::INFINITY, f64::min);
        let chosen: Vec<f64> = all
            .iter()
            .filter(|(_, chosen)| *chosen)
            .map(|(end_s, _)| *end_s)
            .collect();
        assert_eq!(chosen.len(), 1);
        assert!(
            chosen[0] <= 1.05 * best,
            "{instructions} {machines}: {} {best}",
            chosen[0]
        );
        assert!(
            (plan.expected_s / chosen[0] - 1.0).abs() < 0.1,
            "{} {}",
            plan.expected_s,
            chosen[0]
        );
    }
}

#[test]
fn wasted_time_costs_time_and_the_state_machine_agrees() {
    let partly_honest = |honest| Question {
        honest,
        ..question(2e7, vec![class(100, 2, 4)])
    };
    let alone = planner::plan(&question(2e7, vec![class(20, 2, 4)])).unwrap();
    let with = planner::plan(&partly_honest(0.2)).unwrap();
    assert_eq!((with.machines, with.machines_honest), (100, 20));
    assert!(with.expected_s > alone.expected_s && with.expected_s < 1.3 * alone.expected_s);
    let rehearsed = rehearse(&partly_honest(0.2), &with).unwrap();
    assert!(
        (0.7..1.4).contains(&rehearsed.planned_to_simulated),
        "{rehearsed:?}"
    );
    let rehearsed = rehearse(&partly_honest(1.0), &planner::plan(&partly_honest(1.0)).unwrap()).unwrap();
    assert!(
        (0.9..1.1).contains(&rehearsed.planned_to_simulated),
        "{rehearsed:?}"
    );
}
