//! Accepted proofs that the requester has lost, or doubts.

use super::*;
use myriad_core::{NodeId, Stage};

/// A job of one leaf over two segments, which strangers have made.
fn half_done() -> (Harness, TaskRef) {
    let mut harness = Harness::new(ONCE);
    harness.open(0, 2).unwrap();
    for index in [1, 2] {
        harness.step(&Step::Offer(index)).unwrap();
        harness.act(index, Habit::Honest).unwrap();
        harness.step(&Step::Check(true)).unwrap();
        harness.step(&Step::Persist).unwrap();
    }
    let leaf = TaskRef {
        job: job(0),
        task: TaskId::Node(NodeId { level: 1, index: 0 }),
    };
    (harness, leaf)
}

fn segment(index: u32) -> TaskRef {
    TaskRef {
        job: job(0),
        task: TaskId::Segment(index),
    }
}

fn stage(harness: &Harness, task: TaskRef) -> Stage {
    let stages: BTreeMap<_, _> = harness.requester.stages(task.job).into_iter().collect();
    stages[&task.task]
}

fn lose(harness: &mut Harness, task: TaskRef) {
    harness.durable.remove(&task);
    harness.input(Input::Lost { task, proof: GOOD }).unwrap();
}

fn ask(harness: &mut Harness, index: usize) {
    let offer = Offer {
        memory: 8 * GIB,
        ..offer(1)
    };
    let peer = peer(index);
    harness.input(Input::Offer { peer, offer }).unwrap();
}

#[test]
fn a_proof_that_is_lost_is_made_again_and_nobody_is_to_blame() {
    let (mut harness, leaf) = half_done();
    // A peer holds the leaf, for which the proof is missing now.
    ask(&mut harness, 100);
    assert_eq!(harness.leases[&peer(100)], [leaf]);
    lose(&mut harness, segment(0));
    assert_eq!(harness.leases[&peer(100)], [], "it cannot be done any more");
    assert_eq!(stage(&harness, segment(0)), Stage::Ready);
    assert_eq!(stage(&harness, leaf), Stage::Waiting(1));
    for index in [1, 2, 100] {
        let standing = harness.requester.standing(peer(index)).unwrap();
        assert_eq!((standing.failed, &standing.banned), (0, &None), "{index}");
    }
    // The same bytes are as good as they were.
    ask(&mut harness, 101);
    harness.submit(peer(101), segment(0), GOOD).unwrap();
    harness.step(&Step::Check(true)).unwrap();
    harness.step(&Step::Persist).unwrap();
    assert_eq!(stage(&harness, leaf), Stage::Ready);
    harness.recover().unwrap();
    assert_eq!(harness.finished, [job(0)]);
}

#[test]
fn what_nobody_needs_any_more_is_not_made_again() {
    let (mut harness, leaf) = half_done();
    ask(&mut harness, 100);
    harness.act(100, Habit::Honest).unwrap();
    harness.step(&Step::Check(true)).unwrap();
    // The leaf is accepted, and not durable yet.
    assert_eq!(stage(&harness, leaf), Stage::Persisting);
    lose(&mut harness, segment(0));
    assert_eq!(stage(&harness, segment(0)), Stage::Done);
    harness.step(&Step::Persist).unwrap();
    lose(&mut harness, segment(0));
    assert_eq!(stage(&harness, segment(0)), Stage::Done);
    // The final proof takes the last segment's proof, too.
    lose(&mut harness, segment(1));
    assert_eq!(stage(&harness, segment(1)), Stage::Ready);
    assert_eq!(stage(&harness, leaf), Stage::Done);
    harness.recover().unwrap();
    assert_eq!(harness.finished, [job(0)]);
}

/// A process that dies over a proof may do so because of the machine: another peer makes the proof,
/// and nobody is banned.
#[test]
fn a_proof_over_which_the_requesters_own_process_dies_is_made_by_somebody_else() {
    let (mut harness, leaf) = half_done();
    let made = |output: &Output| match output {
        Output::Event(Event::TaskDone { task, peer, .. }) if *task == segment(0) => Some(*peer),
        _ => None,
    };
    let maker = harness.log.iter().find_map(made).unwrap();
    for index in 100..103 {
        ask(&mut harness, index);
        let message = "the engine child died".into();
        let why = Return::Failed { message };
        let peer = peer(index);
        harness
            .input(Input::Returned {
                peer,
                task: leaf,
                why,
            })
            .unwrap();
    }
    assert_eq!(harness.tries, [leaf]);
    harness.step(&Step::Try(Hand::Dies)).unwrap();
    assert_eq!(stage(&harness, segment(0)), Stage::Ready);
    assert_eq!(stage(&harness, leaf), Stage::Waiting(1));
    for peer in [maker, peer(100), peer(101), peer(102)] {
        let standing = harness.requester.standing(peer).unwrap();
        assert_eq!((standing.failed, &standing.banned), (0, &None));
    }
    // Its maker gets another task where there is one.
    harness.open(1, 1).unwrap();
    let offer = offer(1);
    harness.input(Input::Offer { peer: maker, offer }).unwrap();
    assert_eq!(harness.leases[&maker].last().unwrap().job, job(1));
    harness.recover().unwrap();
    assert_eq!(harness.finished.len(), 2);
}
