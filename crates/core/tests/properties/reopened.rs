//! Accepted proofs that the requester has lost, or doubts.

use super::*;
use myriad_core::{NodeId, Stage};

/// A job of one leaf over two segments, which strangers have made.
fn half_done() -> (World, TaskRef) {
    let mut world = World::new(ONCE);
    world.open(0, 2).unwrap();
    for index in [1, 2] {
        world.step(&Step::Offer(index)).unwrap();
        world.act(index, Habit::Honest).unwrap();
        world.step(&Step::Check(true)).unwrap();
        world.step(&Step::Persist).unwrap();
    }
    let leaf = TaskRef {
        job: job(0),
        task: TaskId::Node(NodeId { level: 1, index: 0 }),
    };
    (world, leaf)
}

fn segment(index: u32) -> TaskRef {
    TaskRef {
        job: job(0),
        task: TaskId::Segment(index),
    }
}

fn stage(world: &World, task: TaskRef) -> Stage {
    let stages: BTreeMap<_, _> = world.requester.stages(task.job).into_iter().collect();
    stages[&task.task]
}

fn lose(world: &mut World, task: TaskRef) {
    world.durable.remove(&task);
    world.input(Input::Lost { task, proof: GOOD }).unwrap();
}

fn ask(world: &mut World, index: usize) {
    let offer = Offer {
        memory: 8 * GIB,
        ..offer(1)
    };
    let peer = peer(index);
    world.input(Input::Offer { peer, offer }).unwrap();
}

#[test]
fn a_proof_that_is_lost_is_made_again_and_nobody_is_to_blame() {
    let (mut world, leaf) = half_done();
    // Somebody is at the leaf, for which the proof is missing now.
    ask(&mut world, 100);
    assert_eq!(world.leases[&peer(100)], [leaf]);
    lose(&mut world, segment(0));
    assert_eq!(world.leases[&peer(100)], [], "it cannot be done any more");
    assert_eq!(stage(&world, segment(0)), Stage::Ready);
    assert_eq!(stage(&world, leaf), Stage::Waiting(1));
    for index in [1, 2, 100] {
        let standing = world.requester.standing(peer(index)).unwrap();
        assert_eq!((standing.failed, &standing.banned), (0, &None), "{index}");
    }
    // The same bytes are as good as they were.
    ask(&mut world, 101);
    world.submit(peer(101), segment(0), GOOD).unwrap();
    world.step(&Step::Check(true)).unwrap();
    world.step(&Step::Persist).unwrap();
    assert_eq!(stage(&world, leaf), Stage::Ready);
    world.recover().unwrap();
    assert_eq!(world.finished, [job(0)]);
}

#[test]
fn what_nobody_needs_any_more_is_not_made_again() {
    let (mut world, leaf) = half_done();
    ask(&mut world, 100);
    world.act(100, Habit::Honest).unwrap();
    world.step(&Step::Check(true)).unwrap();
    // The leaf is accepted, and not durable yet.
    assert_eq!(stage(&world, leaf), Stage::Persisting);
    lose(&mut world, segment(0));
    assert_eq!(stage(&world, segment(0)), Stage::Done);
    world.step(&Step::Persist).unwrap();
    lose(&mut world, segment(0));
    assert_eq!(stage(&world, segment(0)), Stage::Done);
    // But the final proof takes the last segment, too.
    lose(&mut world, segment(1));
    assert_eq!(stage(&world, segment(1)), Stage::Ready);
    assert_eq!(stage(&world, leaf), Stage::Done);
    world.recover().unwrap();
    assert_eq!(world.finished, [job(0)]);
}

/// A process that dies over a proof may do so because of the machine: the proof is made by somebody else, and nobody is banned.
#[test]
fn a_proof_over_which_the_requesters_own_process_dies_is_made_by_somebody_else() {
    let (mut world, leaf) = half_done();
    let made = |output: &Output| match output {
        Output::Event(Event::TaskDone { task, peer, .. }) if *task == segment(0) => Some(*peer),
        _ => None,
    };
    let maker = world.log.iter().find_map(made).unwrap();
    for index in 100..103 {
        ask(&mut world, index);
        let message = "the engine child died".into();
        let why = Return::Failed { message };
        let peer = peer(index);
        world
            .input(Input::Returned {
                peer,
                task: leaf,
                why,
            })
            .unwrap();
    }
    assert_eq!(world.tries, [leaf]);
    world.step(&Step::Try(Hand::Dies)).unwrap();
    assert_eq!(stage(&world, segment(0)), Stage::Ready);
    assert_eq!(stage(&world, leaf), Stage::Waiting(1));
    for peer in [maker, peer(100), peer(101), peer(102)] {
        let standing = world.requester.standing(peer).unwrap();
        assert_eq!((standing.failed, &standing.banned), (0, &None));
    }
    // Where there is something else to do, its maker gets that.
    world.open(1, 1).unwrap();
    let offer = offer(1);
    world.input(Input::Offer { peer: maker, offer }).unwrap();
    assert_eq!(world.leases[&maker].last().unwrap().job, job(1));
    world.recover().unwrap();
    assert_eq!(world.finished.len(), 2);
}
