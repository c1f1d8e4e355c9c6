//! Jobs whose plan grows while peers are at their segments.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// A job that has come to its plan piece by piece is the one that was opened with all of it.
    #[test]
    fn how_a_plan_came_makes_no_difference_afterwards(
        redundancy in redundancy(),
        index in 0..JOBS,
        first in 0..9u32,
        pieces in prop::collection::vec(0..4u32, 0..6),
        steps in prop::collection::vec(step(), 0..150),
    ) {
        let run = |grows: bool| {
            let mut harness = Harness::new(redundancy);
            let opened = if grows {
                harness.open_growing(index, first, 9)
                    .and_then(|()| pieces.iter().try_for_each(|more| harness.grow(index, *more)))
                    .and_then(|()| harness.settle(index))
            } else {
                harness.open(index, 9)
            };
            let stages = harness.requester.stages(job(index));
            // The rules are checked by another test.
            let _ = opened.and_then(|()| steps.iter().try_for_each(|step| harness.step(step)));
            (stages, harness.log)
        };
        prop_assert_eq!(run(true), run(false));
    }

    /// The same with proofs that an earlier run has left.
    #[test]
    fn a_job_that_grows_goes_on_where_it_stopped(
        done in prop::collection::btree_set(0..7u32, 0..7),
        known in 0..7u32,
        pieces in prop::collection::vec(0..4u32, 0..6),
    ) {
        let mut harness = Harness::new(ONCE);
        for &segment in &done {
            let task = TaskRef { job: job(2), task: TaskId::Segment(segment) };
            harness.durable.insert(task, GOOD);
        }
        let mut run = || -> Result<(), Violation> {
            harness.open_growing(2, known, 7)?;
            for more in &pieces {
                harness.grow(2, *more)?;
                harness.step(&Step::Offer(0))?;
                harness.act(0, Habit::Honest)?;
            }
            harness.recover()
        };
        if let Err(violation) = run() {
            return Err(TestCaseError::fail(violation.to_string()));
        }
        prop_assert_eq!(&harness.finished, &[job(2)]);
        let leased = harness.log.iter().filter_map(|output| match output {
            Output::Lease { task, .. } => Some(task.task),
            _ => None,
        });
        let tasks = spec(2, 7, Vec::new()).tree.task_count();
        prop_assert_eq!(leased.count(), tasks - done.len(), "nothing is made twice");
    }
}
