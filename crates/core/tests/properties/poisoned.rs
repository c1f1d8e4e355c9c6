//! Accepted proofs over which no node can be made: they are found out, and only their makers are to
//! blame.

use super::*;

/// A job of one leaf over two segments. A stranger has made the first so that no leaf can be made
/// over it.
fn poisoned() -> (Harness, TaskRef, TaskRef) {
    let mut harness = Harness::new(ONCE);
    harness.open(0, 2).unwrap();
    let by = |harness: &mut Harness, index: usize, habit| {
        harness.step(&Step::Offer(index)).unwrap();
        let task = harness.leases[&peer(index)][0];
        harness.act(index, habit).unwrap();
        harness.step(&Step::Check(true)).unwrap();
        harness.step(&Step::Persist).unwrap();
        task
    };
    let segment = by(&mut harness, 2, Habit::Poisons);
    assert_ne!(by(&mut harness, 1, Habit::Honest), segment);
    let leaf = TaskRef {
        task: TaskId::Node(myriad_core::NodeId { level: 1, index: 0 }),
        ..segment
    };
    (harness, segment, leaf)
}

/// Strangers fail at the leaf, each in its way.
fn fail(harness: &mut Harness, leaf: TaskRef, peers: std::ops::Range<usize>, habit: Habit) {
    for index in peers {
        let offer = Offer {
            memory: 8 * GIB,
            ..offer(1)
        };
        let peer = peer(index);
        harness.input(Input::Offer { peer, offer }).unwrap();
        assert_eq!(harness.leases[&peer], [leaf]);
        harness.act(index, habit).unwrap();
        harness.step(&Step::Check(false)).unwrap();
    }
}

/// The peers that tried it in vain are not to blame; the maker of the bad proof is.
#[test]
fn a_node_that_several_fail_at_is_done_by_the_requester_and_what_is_wrong_below_it_again() {
    for habit in [Habit::Honest, Habit::Naive] {
        let (mut harness, segment, leaf) = poisoned();
        fail(&mut harness, leaf, 100..102, habit);
        assert!(harness.tries.is_empty(), "it may be their fault");
        fail(&mut harness, leaf, 102..103, habit);
        assert_eq!(harness.tries, [leaf], "asked for once, {habit:?}");
        harness.log.clear();
        harness.step(&Step::Try(Hand::Able)).unwrap();

        let stages: BTreeMap<_, _> = harness.requester.stages(job(0)).into_iter().collect();
        assert_eq!(stages[&segment.task], myriad_core::Stage::Ready);
        assert_eq!(stages[&leaf.task], myriad_core::Stage::Waiting(1));
        let of = |wanted: fn(&Event) -> Option<Peer>| -> Vec<Peer> {
            let events = harness.log.iter().filter_map(|output| match output {
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
            let standing = harness.requester.standing(peer(index)).unwrap();
            assert_eq!((standing.failed, &standing.banned), (0, &None), "{index}");
        }
        // The same bytes are not accepted again, whoever brings them.
        let other = peer(101);
        let offer = offer(1);
        harness.input(Input::Offer { peer: other, offer }).unwrap();
        assert_eq!(harness.leases[&other], [segment]);
        harness.submit(other, segment, poison_of(2)).unwrap();
        assert!(harness.requester.standing(other).unwrap().banned.is_some());
        harness.recover().unwrap();
        assert_eq!(harness.finished, [job(0)]);
        assert_eq!(harness.durable[&segment], GOOD);
    }
}

/// A peer that has given its lease back is banned for such bytes too, and the task stays ready.
#[test]
fn a_refuted_proof_that_comes_late_changes_no_count() {
    let (mut harness, segment, leaf) = poisoned();
    fail(&mut harness, leaf, 100..103, Habit::Honest);
    harness.step(&Step::Try(Hand::Able)).unwrap();
    let late = peer(101);
    let offer = offer(1);
    harness.input(Input::Offer { peer: late, offer }).unwrap();
    assert_eq!(harness.leases[&late], [segment]);
    let why = Return::Stopping;
    let given_back = Input::Returned {
        peer: late,
        task: segment,
        why,
    };
    harness.input(given_back).unwrap();
    harness.submit(late, segment, poison_of(2)).unwrap();
    assert!(harness.requester.standing(late).unwrap().banned.is_some());
    assert_eq!(harness.requester.progress(job(0)).unwrap().under_way, 0);
    harness.recover().unwrap();
    assert_eq!(harness.finished, [job(0)]);
}

/// A proof that is handed in for a node before it turns out that nobody could have made it is held
/// against nobody.
#[test]
fn a_proof_that_is_looked_at_when_its_task_turns_out_to_be_impossible_bans_nobody() {
    let (mut harness, _, leaf) = poisoned();
    fail(&mut harness, leaf, 100..103, Habit::Honest);
    let late = peer(200);
    let offer = Offer {
        memory: 8 * GIB,
        ..offer(1)
    };
    harness.input(Input::Offer { peer: late, offer }).unwrap();
    harness.act(200, Habit::Naive).unwrap();
    harness.step(&Step::Try(Hand::Able)).unwrap();
    harness.step(&Step::Check(false)).unwrap();
    assert_eq!(harness.requester.standing(late).unwrap().banned, None);
    harness.recover().unwrap();
}

/// The same where no other peer is there to fail.
#[test]
fn a_node_that_nobody_is_at_after_one_has_failed_is_done_by_the_requester() {
    let (mut harness, segment, leaf) = poisoned();
    fail(&mut harness, leaf, 100..101, Habit::Naive);
    assert!(harness.tries.is_empty());
    harness.step(&Step::Pass(61)).unwrap();
    assert_eq!(harness.tries, [leaf]);
    harness.step(&Step::Try(Hand::Unable)).unwrap();
    harness.step(&Step::Pass(61)).unwrap();
    assert!(harness.tries.is_empty(), "it was not able to a minute ago");
    harness.step(&Step::Pass(61)).unwrap();
    assert_eq!(harness.tries, [leaf]);
    harness.step(&Step::Try(Hand::Able)).unwrap();
    assert_eq!(harness.requester.proof(segment), None);
}

/// Liars that fail on purpose are not believed: the requester has the proof.
#[test]
fn a_node_that_can_be_done_is_done_when_several_have_failed_at_it() {
    let mut harness = Harness::new(ONCE);
    harness.open(0, 2).unwrap();
    for _ in 0..2 {
        harness.step(&Step::Offer(1)).unwrap();
        harness.act(1, Habit::Honest).unwrap();
        harness.step(&Step::Check(true)).unwrap();
        harness.step(&Step::Persist).unwrap();
    }
    let leaf = TaskRef {
        job: job(0),
        task: TaskId::Node(myriad_core::NodeId { level: 1, index: 0 }),
    };
    fail(&mut harness, leaf, 100..103, Habit::Lies);
    harness.step(&Step::Try(Hand::Able)).unwrap();
    harness.step(&Step::Persist).unwrap();
    assert_eq!(harness.requester.proof(leaf), Some(GOOD));
    assert!(harness.requester.standing(peer(100)).unwrap().banned.is_some());
}
