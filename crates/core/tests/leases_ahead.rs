//! Leases ahead: who gets one, what becomes of it, and that nobody waits because of it.

mod desk;

use std::time::Duration;

use desk::{Desk, GIB, claimed, invalid, offer, once, peer, spec};
use myriad_core::{
    Input, NodeId, Offer, Output, Peer, Policy, Refusal, Return, Revocation, TaskId, TaskRef, Verdict,
};

/// All peers are alike, whatever was measured.
fn alike() -> Policy {
    Policy {
        look_ahead: false,
        ..once()
    }
}

fn ahead() -> Policy {
    Policy {
        ahead: true,
        ..alike()
    }
}

fn task(task: TaskId) -> TaskRef {
    TaskRef { job: desk::JOB, task }
}

fn leaf(index: u32) -> TaskRef {
    task(TaskId::Node(NodeId { level: 1, index }))
}

fn segment(index: u32) -> TaskRef {
    task(TaskId::Segment(index))
}

/// The task that a peer gets ahead when it makes an offer, if it is free or not.
fn asks(desk: &mut Desk, peer: Peer, free: bool) -> Option<TaskRef> {
    let offer = offer(None);
    let input = if free {
        Input::Offer { peer, offer }
    } else {
        Input::OfferAhead { peer, offer }
    };
    desk.input(input).into_iter().find_map(|output| match output {
        Output::LeaseAhead { peer: to, task, .. } if to == peer => Some(task),
        _ => None,
    })
}

fn revoked(outputs: &[Output], peer: Peer) -> Option<(TaskRef, Revocation)> {
    outputs.iter().find_map(|output| match output {
        Output::Revoke {
            peer: from,
            task,
            why,
        } if *from == peer => Some((*task, why.clone())),
        _ => None,
    })
}

fn begun(outputs: &[Output], by: Peer) -> Option<TaskRef> {
    outputs.iter().find_map(|output| match output {
        Output::Begun { peer, task, .. } if *peer == by => Some(*task),
        _ => None,
    })
}

/// Four segments, of which peer 1 has submitted the last one; the first leaf is done.
fn before_the_last_leaf(policy: Policy) -> Desk {
    let mut desk = Desk::new(policy, spec(4));
    for index in 0..3 {
        assert_eq!(desk.ask(peer(1), offer(None)), Ok(segment(index)));
        desk.deliver(peer(1), segment(index));
    }
    assert_eq!(desk.ask(peer(1), offer(None)), Ok(segment(3)));
    assert_eq!(desk.ask(peer(2), offer(None)), Ok(leaf(0)));
    desk.deliver(peer(2), leaf(0));
    desk.pass(Duration::from_secs(5));
    assert_eq!(desk.submit(peer(1), segment(3)), Some(peer(1)));
    desk
}

fn proven(desk: &mut Desk) -> Vec<Output> {
    desk.checked(peer(1), segment(3), Verdict::Accepted);
    let proof = claimed(peer(1));
    desk.input(Input::Persisted {
        task: segment(3),
        proof,
    })
}

#[test]
fn whoever_submits_the_last_child_has_the_node_before_anybody_has_looked_at_it() {
    let mut desk = before_the_last_leaf(ahead());
    assert_eq!(asks(&mut desk, peer(2), true), None, "it is not its proof");
    assert_eq!(asks(&mut desk, peer(1), true), Some(leaf(1)));
    let renewed = desk.input(Input::Renewed {
        peer: peer(1),
        task: leaf(1),
        progress: 100,
    });
    assert!(matches!(renewed[..], [Output::Extended { .. }]), "{renewed:?}");
    assert!(
        desk.requester.leases(desk::JOB).is_empty(),
        "nothing is under way"
    );
    let outputs = proven(&mut desk);
    assert_eq!(begun(&outputs, peer(1)), Some(leaf(1)));
    assert!(!outputs.iter().any(|output| matches!(output, Output::Wake { .. })));
    assert_eq!(desk.requester.leases(desk::JOB), [(leaf(1).task, peer(1))]);
    desk.deliver(peer(1), leaf(1));
    assert_eq!(desk.requester.proof(leaf(1)), Some(claimed(peer(1))));
}

#[test]
fn without_the_policy_it_waits_as_others_do() {
    let mut desk = before_the_last_leaf(Policy {
        ahead: false,
        ..ahead()
    });
    assert!(matches!(
        desk.ask(peer(1), offer(None)),
        Err(Refusal::Waiting { .. })
    ));
}

#[test]
fn what_is_made_of_a_proof_that_is_none_is_taken_back() {
    for verdict in [
        invalid(),
        Verdict::Unavailable {
            reason: "it does not come".into(),
        },
    ] {
        let mut desk = before_the_last_leaf(ahead());
        assert_eq!(asks(&mut desk, peer(1), true), Some(leaf(1)));
        let outputs = desk.checked(peer(1), segment(3), verdict);
        assert_eq!(revoked(&outputs, peer(1)).unwrap().0, leaf(1), "{outputs:?}");
        assert_eq!(desk.ask(peer(2), offer(None)), Ok(segment(3)));
        desk.deliver(peer(2), segment(3));
        assert_eq!(desk.ask(peer(2), offer(None)), Ok(leaf(1)));
    }
}

/// The peer is faster than the requester looks at its last proof.
#[test]
fn a_proof_that_comes_before_its_turn_is_looked_at_when_it_can_be() {
    let mut desk = before_the_last_leaf(ahead());
    assert_eq!(asks(&mut desk, peer(1), true), Some(leaf(1)));
    assert!(desk.requester.may_submit(peer(1), leaf(1)));
    let submitted = Input::Submitted {
        peer: peer(1),
        task: leaf(1),
        proof: claimed(peer(1)),
    };
    assert!(desk.input(submitted.clone()).is_empty());
    assert!(desk.input(submitted).is_empty(), "said twice, and heard once");
    assert_eq!(asks(&mut desk, peer(1), true), None, "it has one already");
    let outputs = proven(&mut desk);
    assert_eq!(desk::looked_at(&outputs), Some(peer(1)), "{outputs:?}");
    desk.checked(peer(1), leaf(1), Verdict::Accepted);
}

/// Peer 1 has delivered, is at a segment, and asks for the next one.
fn at_a_task() -> Desk {
    let mut desk = Desk::new(ahead(), spec(4));
    let first = desk.ask(peer(1), offer(None)).unwrap();
    desk.deliver(peer(1), first);
    assert_eq!(desk.ask(peer(1), offer(None)), Ok(segment(1)));
    desk
}

#[test]
fn a_peer_at_a_task_gets_the_next_one_and_begins_with_it_at_once() {
    let mut desk = at_a_task();
    assert_eq!(asks(&mut desk, peer(1), false), Some(segment(2)));
    assert_eq!(asks(&mut desk, peer(1), false), None, "one at most");
    assert_eq!(desk.requester.leases(desk::JOB), [(segment(1).task, peer(1))]);
    let outputs = desk.input(Input::Submitted {
        peer: peer(1),
        task: segment(1),
        proof: claimed(peer(1)),
    });
    assert_eq!(begun(&outputs, peer(1)), Some(segment(2)));
    assert_eq!(desk.requester.leases(desk::JOB), [(segment(2).task, peer(1))]);
}

#[test]
fn whoever_is_free_gets_what_nobody_has_ahead_and_then_what_somebody_has() {
    let mut desk = at_a_task();
    assert_eq!(asks(&mut desk, peer(1), false), Some(segment(2)));
    assert_eq!(desk.ask(peer(2), offer(None)), Ok(segment(3)));
    let (by, offer) = (peer(3), offer(None));
    let outputs = desk.input(Input::Offer { peer: by, offer });
    assert_eq!(
        revoked(&outputs, peer(1)),
        Some((segment(2), Revocation::Free)),
        "{outputs:?}"
    );
    assert!(
        matches!(outputs.last(), Some(Output::Lease { peer, task, .. }) if *peer == by && *task == segment(2))
    );
    let late = desk.input(Input::Submitted {
        peer: peer(1),
        task: segment(1),
        proof: claimed(peer(1)),
    });
    assert_eq!(begun(&late, peer(1)), None);
}

#[test]
fn newcomers_have_none_ahead_and_those_without_the_memory_keep_none_from_others() {
    let mut desk = Desk::new(ahead(), spec(4));
    assert_eq!(desk.ask(peer(1), offer(None)), Ok(segment(0)));
    assert_eq!(asks(&mut desk, peer(1), false), None, "it has delivered nothing");

    let mut desk = at_a_task();
    let small = Offer {
        memory: GIB - 1,
        ..offer(None)
    };
    assert!(desk.ask(peer(3), small).is_err());
    assert_eq!(
        asks(&mut desk, peer(1), false),
        Some(segment(2)),
        "that one cannot do it"
    );
}

#[test]
fn what_a_peer_has_ahead_is_for_others_when_it_goes_or_gives_it_back() {
    let returned = |task| Input::Returned {
        peer: peer(1),
        task,
        why: Return::Stopping,
    };
    for ends in [returned(segment(2)), Input::PeerLost { peer: peer(1) }] {
        let mut desk = at_a_task();
        assert_eq!(asks(&mut desk, peer(1), false), Some(segment(2)));
        desk.input(ends);
        assert_eq!(desk.requester.leases_ahead().count(), 0);
        let standing = desk.requester.standing(peer(1)).unwrap();
        assert_eq!((standing.expired, standing.failed), (0, 0), "nobody blames it");
        let mut left: Vec<TaskRef> = (2..6)
            .filter_map(|by| desk.ask(peer(by), offer(None)).ok())
            .collect();
        left.sort_unstable();
        assert!(left.contains(&segment(2)), "{left:?}");
    }
}

/// A peer that says nothing has its lease run out, and begins with nothing else.
#[test]
fn a_silent_peer_keeps_nothing_ahead() {
    let mut desk = at_a_task();
    assert_eq!(asks(&mut desk, peer(1), false), Some(segment(2)));
    let outputs = desk.pass(Duration::from_secs(300));
    assert_eq!(begun(&outputs, peer(1)), None);
    assert_eq!(desk.requester.leases_ahead().count(), 0);
}

/// Of its last task nothing was heard, as when a message is lost.
#[test]
fn progress_shows_that_a_peer_has_begun() {
    let mut desk = at_a_task();
    assert_eq!(asks(&mut desk, peer(1), false), Some(segment(2)));
    let outputs = desk.input(Input::Renewed {
        peer: peer(1),
        task: segment(2),
        progress: 10,
    });
    assert_eq!(begun(&outputs, peer(1)), Some(segment(2)));
    assert_eq!(desk.requester.leases(desk::JOB).len(), 2);
}
