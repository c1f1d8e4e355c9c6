//! Jobs among peers that proptest makes up. [`myriad_core::invariants`] hold whatever peers do, and
//! every job ends if honest peers are left.

mod growing;
mod harness;
mod memory;
mod poisoned;
mod reopened;
mod steps;

use std::collections::BTreeMap;

use myriad_core::{Event, Input, Offer, Output, Peer, Return, TaskId, TaskRef, Tree, invariants::Violation};
use proptest::prelude::*;

use harness::*;
use steps::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn whatever_peers_do_the_rules_hold_and_jobs_end(
        redundancy in redundancy(),
        known in prop::option::of(0..9u32),
        steps in prop::collection::vec(step(), 0..300),
    ) {
        let mut harness = Harness::new(redundancy);
        let mut run = || -> Result<(), Violation> {
            match known {
                Some(known) => harness.open_growing(0, known, 9)?,
                None => harness.open(0, 9)?,
            }
            steps.iter().try_for_each(|step| harness.step(step))?;
            harness.recover()
        };
        if let Err(violation) = run() {
            return Err(TestCaseError::fail(violation.to_string()));
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_outputs(
        redundancy in redundancy(),
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let run = || {
            let mut harness = Harness::new(redundancy);
            // The rules are checked by the other test.
            let _ = harness.open(0, 9);
            let _ = steps.iter().try_for_each(|step| harness.step(step));
            harness.log
        };
        prop_assert_eq!(run(), run());
    }
}

/// One honest peer after the other: every task is done once, in an order that the tree allows.
#[test]
fn a_job_with_honest_peers_is_done_task_by_task() {
    let mut harness = Harness::new(ONCE);
    harness.open(1, 7).unwrap();
    harness.recover().unwrap();
    assert_eq!(harness.finished, [job(1)]);
    assert_eq!(
        harness.durable.len(),
        Tree::task_count(&spec(1, 7, Vec::new()).tree)
    );
}

/// A task that an earlier run has done is not done again, and the tasks below it not at all.
#[test]
fn a_job_goes_on_where_it_stopped() {
    let mut harness = Harness::new(ONCE);
    harness.open(1, 7).unwrap();
    harness.recover().unwrap();
    let all = harness.durable.clone();
    for kept in 0..=all.len() {
        let mut again = Harness::new(ONCE);
        // The last ones: those higher in the tree.
        again.durable = all
            .iter()
            .rev()
            .take(kept)
            .map(|(task, proof)| (*task, *proof))
            .collect();
        again.open(1, 7).unwrap();
        again.recover().unwrap();
        assert_eq!(again.finished, [job(1)]);
        assert!(
            kept < all.len() || again.durable.len() == all.len(),
            "nothing is left to do"
        );
    }
}

/// Three failures on the requester's own machines fail the job, and its error has their messages.
#[test]
fn a_task_that_keeps_failing_is_the_jobs_error() {
    let mut harness = Harness::new(ONCE);
    harness.open(0, 1).unwrap();
    for _ in 0..3 {
        harness.step(&Step::Offer(0)).unwrap();
        harness.act(0, Habit::Fails).unwrap();
    }
    assert_eq!(harness.failed, [job(0)]);
}

/// Strangers cannot end a job by saying that they failed, however many they are.
#[test]
fn strangers_cannot_fail_a_job() {
    let mut harness = Harness::new(ONCE);
    harness.open(0, 1).unwrap();
    for index in 1..=100 {
        let peer = Peer([100 + index; 32]);
        let stranger = offer(1);
        harness
            .input(Input::Offer {
                peer,
                offer: stranger,
            })
            .unwrap();
        let task = harness.leases[&peer][0];
        let why = Return::Failed {
            message: "no luck".into(),
        };
        harness.input(Input::Returned { peer, task, why }).unwrap();
    }
    assert_eq!(harness.failed, []);
    harness.recover().unwrap();
    assert_eq!(harness.finished, [job(0)]);
}

/// A peer that is woken and cannot use the task does not keep it from the next one.
#[test]
fn a_peer_woken_in_vain_wakes_the_next() {
    let mut harness = Harness::new(ONCE);
    let woken = |outputs: &[Output]| {
        let mut woken = outputs.iter().filter_map(|output| match output {
            Output::Wake { peer } => Some(*peer),
            _ => None,
        });
        woken.next()
    };
    let ask = |harness: &mut Harness, index: usize| {
        let (peer, offer) = (peer(index), offer(5));
        harness.input(Input::Offer { peer, offer }).unwrap()
    };
    ask(&mut harness, 1);
    ask(&mut harness, 2);
    let outputs = harness
        .input(Input::Open(Box::new(spec(0, 1, Vec::new()))))
        .unwrap();
    let first = woken(&outputs).expect("somebody is woken for the segment");
    let (first, second) = if first == peer(1) { (1, 2) } else { (2, 1) };
    // It takes the task, fails, is woken for nothing, and has to pause.
    ask(&mut harness, first);
    let task = harness.leases[&peer(first)][0];
    let why = Return::Failed {
        message: "no luck".into(),
    };
    let outputs = harness
        .input(Input::Returned {
            peer: peer(first),
            task,
            why,
        })
        .unwrap();
    assert_eq!(woken(&outputs), Some(peer(second)));
    // The second one does not come. The first has asked again meanwhile, in vain.
    ask(&mut harness, first);
    ask(&mut harness, 3);
    assert!(harness.leases[&peer(3)].contains(&task), "a third one gets it");
}
