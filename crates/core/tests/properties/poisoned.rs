//! Accepted proofs over which no node can be made: they are found out, and only their makers are to blame.

use super::*;

/// A job of one leaf over two segments, of which a stranger has made the first so that no leaf can be made over it.
fn poisoned() -> (World, TaskRef, TaskRef) {
    let mut world = World::new(ONCE);
    world.open(0, 2).unwrap();
    let by = |world: &mut World, index: usize, habit| {
        world.step(&Step::Offer(index)).unwrap();
        let task = world.leases[&peer(index)][0];
        world.act(index, habit).unwrap();
        world.step(&Step::Check(true)).unwrap();
        world.step(&Step::Persist).unwrap();
        task
    };
    let segment = by(&mut world, 2, Habit::Poisons);
    assert_ne!(by(&mut world, 1, Habit::Honest), segment);
    let leaf = TaskRef {
        task: TaskId::Node(myriad_core::NodeId { level: 1, index: 0 }),
        ..segment
    };
    (world, segment, leaf)
}

/// These strangers fail at the leaf, each in this way.
fn fail(world: &mut World, leaf: TaskRef, peers: std::ops::Range<usize>, habit: Habit) {
    for index in peers {
        let offer = Offer {
            memory: 8 * GIB,
            ..offer(1)
        };
        let peer = peer(index);
        world.input(Input::Offer { peer, offer }).unwrap();
        assert_eq!(world.leases[&peer], [leaf]);
        world.act(index, habit).unwrap();
        world.step(&Step::Check(false)).unwrap();
    }
}

/// Those that tried it in vain are not to blame, and the one is that made what it is made of.
#[test]
fn a_node_that_several_fail_at_is_done_by_the_requester_and_what_is_wrong_below_it_again() {
    for habit in [Habit::Honest, Habit::Naive] {
        let (mut world, segment, leaf) = poisoned();
        fail(&mut world, leaf, 100..102, habit);
        assert!(world.tries.is_empty(), "it may be their fault");
        fail(&mut world, leaf, 102..103, habit);
        assert_eq!(world.tries, [leaf], "asked for once, {habit:?}");
        world.log.clear();
        world.step(&Step::Try(Hand::Able)).unwrap();

        let stages: BTreeMap<_, _> = world.requester.stages(job(0)).into_iter().collect();
        assert_eq!(stages[&segment.task], myriad_core::Stage::Ready);
        assert_eq!(stages[&leaf.task], myriad_core::Stage::Waiting(1));
        let of = |wanted: fn(&Event) -> Option<Peer>| -> Vec<Peer> {
            let events = world.log.iter().filter_map(|output| match output {
                Output::Event(event) => wanted(event),
                _ => None,
            });
            events.collect()
        };
        let banned = of(|event| match event {
            Event::Banned { peer, .. } => Some(*peer),
            _ => None,
        });
        assert_eq!(banned, [peer(2)], "the maker, and nobody else");
        let pardoned = of(|event| match event {
            Event::Pardoned { peer, .. } => Some(*peer),
            _ => None,
        });
        let tried: Vec<Peer> = match habit {
            Habit::Naive => vec![peer(100), peer(101), peer(102)],
            _ => Vec::new(),
        };
        assert_eq!(pardoned, tried);
        for index in 100..103 {
            let standing = world.requester.standing(peer(index)).unwrap();
            assert_eq!((standing.failed, &standing.banned), (0, &None), "{index}");
        }
        // The same bytes are not accepted again, whoever brings them.
        let other = peer(101);
        let offer = offer(1);
        world.input(Input::Offer { peer: other, offer }).unwrap();
        assert_eq!(world.leases[&other], [segment]);
        world.submit(other, segment, poison_of(2)).unwrap();
        assert!(world.requester.standing(other).unwrap().banned.is_some());
        world.recover().unwrap();
        assert_eq!(world.finished, [job(0)]);
        assert_eq!(world.durable[&segment], GOOD);
    }
}

/// What is handed in for a node before it turns out that nobody could have made it is held against nobody.
#[test]
fn a_proof_that_is_looked_at_when_its_task_turns_out_to_be_impossible_bans_nobody() {
    let (mut world, _, leaf) = poisoned();
    fail(&mut world, leaf, 100..103, Habit::Honest);
    let late = peer(200);
    let offer = Offer {
        memory: 8 * GIB,
        ..offer(1)
    };
    world.input(Input::Offer { peer: late, offer }).unwrap();
    world.act(200, Habit::Naive).unwrap();
    world.step(&Step::Try(Hand::Able)).unwrap();
    world.step(&Step::Check(false)).unwrap();
    assert_eq!(world.requester.standing(late).unwrap().banned, None);
    world.recover().unwrap();
}

/// Where there is nobody else to fail, too.
#[test]
fn a_node_that_nobody_is_at_after_one_has_failed_is_done_by_the_requester() {
    let (mut world, segment, leaf) = poisoned();
    fail(&mut world, leaf, 100..101, Habit::Naive);
    assert!(world.tries.is_empty());
    world.step(&Step::Pass(61)).unwrap();
    assert_eq!(world.tries, [leaf]);
    world.step(&Step::Try(Hand::Unable)).unwrap();
    world.step(&Step::Pass(61)).unwrap();
    assert!(world.tries.is_empty(), "it was not able to a minute ago");
    world.step(&Step::Pass(61)).unwrap();
    assert_eq!(world.tries, [leaf]);
    world.step(&Step::Try(Hand::Able)).unwrap();
    assert_eq!(world.requester.proof(segment), None);
}

/// Liars that fail on purpose are not believed: the requester has the proof.
#[test]
fn a_node_that_can_be_done_is_done_when_several_have_failed_at_it() {
    let mut world = World::new(ONCE);
    world.open(0, 2).unwrap();
    for _ in 0..2 {
        world.step(&Step::Offer(1)).unwrap();
        world.act(1, Habit::Honest).unwrap();
        world.step(&Step::Check(true)).unwrap();
        world.step(&Step::Persist).unwrap();
    }
    let leaf = TaskRef {
        job: job(0),
        task: TaskId::Node(myriad_core::NodeId { level: 1, index: 0 }),
    };
    fail(&mut world, leaf, 100..103, Habit::Lies);
    world.step(&Step::Try(Hand::Able)).unwrap();
    world.step(&Step::Persist).unwrap();
    assert_eq!(world.requester.proof(leaf), Some(GOOD));
    assert!(world.requester.standing(peer(100)).unwrap().banned.is_some());
}
