//! Thousands of identities that only take time: the cost of them to a job is bounded.

mod desk;

use std::time::Duration;

use desk::*;
use myriad_core::{Input, Offer, Output, Peer, Policy, Refusal, Requester, Standing, TaskRef, Time, Verdict};

/// The claims of an identity that wants to be woken first.
fn boasts(origin: Option<u64>) -> Offer {
    Offer {
        speed: u32::MAX,
        ..offer(origin)
    }
}

fn woken(outputs: &[Output]) -> Vec<Peer> {
    let woken = outputs.iter().filter_map(|output| match output {
        Output::Wake { peer } => Some(*peer),
        _ => None,
    });
    woken.collect()
}

/// Two segments are being proven, and the leaf over them is all that comes next.
fn busy(known: &[Peer]) -> (Desk, [(Peer, TaskRef); 2]) {
    let standing = || Standing {
        accepted: 8,
        ..Standing::default()
    };
    let standings = known.iter().map(|&peer| (peer, standing()));
    let mut desk = Desk {
        requester: Requester::with_standings(once(), standings),
        now: Time(1),
    };
    desk.input(Input::Open(Box::new(spec(2))));
    let workers = [90_001, 90_002].map(|number| {
        let worker = peer(number);
        (worker, desk.ask(worker, offer(None)).unwrap())
    });
    (desk, workers)
}

fn parks(desk: &mut Desk, peer: Peer, offer: Offer) {
    assert!(matches!(desk.ask(peer, offer), Err(Refusal::Waiting { .. })));
}

/// Hands in the segments, so that the leaf is ready.
fn make_ready(desk: &mut Desk, workers: [(Peer, TaskRef); 2]) -> Vec<Peer> {
    let mut outputs = Vec::new();
    for (worker, task) in workers {
        let proof = claimed(worker);
        desk.submit(worker, task);
        desk.checked(worker, task, Verdict::Accepted);
        outputs.extend(desk.input(Input::Persisted { task, proof }));
    }
    woken(&outputs)
}

/// The time from when a task is ready until an honest peer is woken that waits among identities
/// which do not come.
fn until_woken(desk: &mut Desk, first: Vec<Peer>, honest: Peer) -> Duration {
    let start = desk.now;
    let mut called = first;
    while !called.contains(&honest) {
        assert!(desk.now - start < Duration::from_secs(1000), "it is never woken");
        called = woken(&desk.pass(Duration::from_millis(500)));
    }
    desk.now - start
}

#[test]
fn boasters_that_do_not_come_delay_no_proven_machine() {
    let honest = peer(80_000);
    let (mut desk, workers) = busy(&[honest]);
    for number in 0..1000 {
        parks(&mut desk, peer(number), boasts(None));
    }
    let slow = Offer {
        speed: 500,
        ..offer(None)
    };
    parks(&mut desk, honest, slow);
    let first = make_ready(&mut desk, workers);
    let delay = until_woken(&mut desk, first, honest);
    assert!(delay <= Duration::from_secs(2), "{delay:?}");
}

#[test]
fn a_thousand_absent_peers_delay_a_newcomer_for_seconds() {
    let honest = peer(80_000);
    let (mut desk, workers) = busy(&[]);
    for number in 0..1000 {
        parks(&mut desk, peer(number), boasts(None));
    }
    parks(&mut desk, honest, offer(None));
    let first = make_ready(&mut desk, workers);
    assert_eq!(first.len(), 1, "one is called at first");
    let delay = until_woken(&mut desk, first, honest);
    assert!(delay <= Duration::from_secs(20), "{delay:?}");
}

#[test]
fn a_peer_that_does_not_come_is_called_after_others_next_time() {
    let (mut desk, workers) = busy(&[]);
    let [idle, honest] = [peer(1), peer(80_000)];
    parks(&mut desk, idle, boasts(None));
    assert_eq!(make_ready(&mut desk, workers), [idle]);
    // It asks again, when it is too late and another peer holds the task.
    desk.pass(Duration::from_secs(3));
    let task = desk.ask(peer(90_003), offer(None)).unwrap();
    parks(&mut desk, idle, boasts(None));
    parks(&mut desk, honest, offer(None));
    let outputs = desk.input(Input::PeerLost { peer: peer(90_003) });
    assert_eq!(woken(&outputs), [honest], "{task:?} is ready again");
}

/// A machine that says at once that it is busy with another's task costs its way to the requester
/// and back, not the patience for one that does not come.
#[test]
fn a_peer_that_declines_is_replaced_at_once_and_no_worse_for_it() {
    let [busy_one, other] = [peer(1), peer(2)];
    let (mut desk, workers) = busy(&[busy_one, other]);
    let fast = Offer {
        speed: 1200,
        ..offer(None)
    };
    parks(&mut desk, busy_one, fast);
    parks(&mut desk, other, offer(None));
    assert_eq!(make_ready(&mut desk, workers), [busy_one]);
    assert_eq!(woken(&desk.input(Input::Declined { peer: busy_one })), [other]);
    assert_eq!(
        woken(&desk.input(Input::Declined { peer: busy_one })),
        [],
        "it was not woken"
    );
    let task = desk.ask(other, offer(None)).unwrap();
    // When it is free it is the first to be woken again.
    parks(&mut desk, busy_one, fast);
    let third = peer(3);
    parks(&mut desk, third, offer(None));
    let outputs = desk.input(Input::PeerLost { peer: other });
    assert_eq!(woken(&outputs)[0], busy_one, "{task:?} is ready again");
}

/// A machine that declines late has kept others waiting.
#[test]
fn a_peer_that_declines_late_is_called_after_others_next_time() {
    let [late, other, third] = [peer(1), peer(2), peer(3)];
    let (mut desk, workers) = busy(&[late, other, third]);
    let fast = Offer {
        speed: 1200,
        ..offer(None)
    };
    parks(&mut desk, late, fast);
    parks(&mut desk, other, offer(None));
    assert_eq!(make_ready(&mut desk, workers), [late]);
    desk.pass(Duration::from_secs(1));
    assert_eq!(woken(&desk.input(Input::Declined { peer: late })), [other]);
    desk.ask(other, offer(None)).unwrap();
    parks(&mut desk, late, fast);
    parks(&mut desk, third, offer(None));
    let outputs = desk.input(Input::PeerLost { peer: other });
    assert_eq!(woken(&outputs)[0], third);
}

/// A task that a stranger was woken for is for the first peer that asks.
#[test]
fn nothing_is_kept_for_strangers_that_may_not_come() {
    let (mut desk, workers) = busy(&[]);
    parks(&mut desk, peer(1), boasts(None));
    assert_eq!(make_ready(&mut desk, workers), [peer(1)]);
    let slow = Offer {
        speed: 300,
        ..offer(None)
    };
    assert!(desk.ask(peer(2), slow).is_ok());
}

#[test]
fn one_network_has_few_newcomers_among_the_called_peers() {
    let (mut desk, workers) = busy(&[]);
    for number in 0..1000 {
        parks(&mut desk, peer(number), boasts(Some(7)));
    }
    let honest = peer(80_000);
    parks(&mut desk, honest, offer(Some(8)));
    let first = make_ready(&mut desk, workers);
    let delay = until_woken(&mut desk, first, honest);
    assert!(delay <= Duration::from_secs(6), "{delay:?}");
}

/// Identities of one network that claim proofs which do not come are no more at once than those
/// that work.
#[test]
fn unseen_proofs_count_for_the_network_that_they_come_from() {
    let policy = Policy {
        unproven_per_origin: 4,
        ..once()
    };
    let mut desk = Desk::new(policy, spec(1000));
    let crowd = offer(Some(5));
    let tasks = [1, 2, 3, 4].map(|number| {
        let task = desk.ask(peer(number), crowd).unwrap();
        desk.submit(peer(number), task);
        task
    });
    let crowded = |desk: &mut Desk, number| {
        let asked = desk.ask(peer(number), crowd);
        matches!(asked, Err(Refusal::Crowded { held: 4, allowed: 4 }))
    };
    assert!(crowded(&mut desk, 5));
    let reason = "it does not come".into();
    desk.checked(peer(1), tasks[0], Verdict::Unavailable { reason });
    assert!(desk.ask(peer(5), crowd).is_ok(), "one was looked at");
    assert!(crowded(&mut desk, 6));
    // When the job is over, so is the count.
    desk.input(Input::Cancel { job: JOB });
    desk.input(Input::Open(Box::new(spec(1000))));
    for number in 11..=14 {
        assert!(desk.ask(peer(number), crowd).is_ok());
    }
}
