//! Tests of looking ahead: a slow machine leaves to faster ones the tasks that these would end
//! sooner, to nobody else, and not for ever.

mod desk;

use std::time::Duration;

use desk::{Desk, GIB, JOB, WORK, claimed, offer, once, peer, spec};
use myriad_core::{
    Arities, Cost, Input, JobSpec, NodeId, Offer, Output, Peer, Policy, Refusal, Return, Revocation, TaskId,
    TaskRef, Tree, Verdict,
};

const SECOND: Duration = Duration::from_secs(1);

/// Machines that are twice and half as fast as the one that costs are measured on.
const FAST: u32 = 1;
const SLOW: u32 = 2;

fn offer_of(speed: u32) -> Offer {
    Offer { speed, ..offer(None) }
}

fn ask(desk: &mut Desk, number: u32) -> Result<TaskRef, Refusal> {
    let speed = if number == FAST { 2000 } else { 500 };
    desk.ask(peer(number), offer_of(speed))
}

fn woken(outputs: &[Output]) -> Vec<Peer> {
    let woken = outputs.iter().filter_map(|output| match output {
        Output::Wake { peer } => Some(*peer),
        _ => None,
    });
    woken.collect()
}

fn task(task: TaskId) -> TaskRef {
    TaskRef { job: JOB, task }
}

fn leaf(index: u32) -> TaskId {
    TaskId::Node(NodeId { level: 1, index })
}

/// Four segments, of which the fast machine has made three of 10 s each; it has just begun with the
/// leaf over the last two. Six seconds later the slow one is done with its segment, and the other
/// leaf is ready.
fn desk(policy: Policy) -> Desk {
    desk_of(policy, spec(4))
}

fn desk_of(policy: Policy, spec: JobSpec) -> Desk {
    let mut desk = Desk::new(policy, spec);
    let of_fast = ask(&mut desk, FAST).unwrap();
    assert_eq!(of_fast.task, TaskId::Segment(0));
    let of_slow = ask(&mut desk, SLOW).unwrap();
    assert_eq!(
        of_slow.task,
        TaskId::Segment(1),
        "nothing is known of the fast one yet"
    );
    desk.pass(SECOND * 10);
    desk.deliver(peer(FAST), of_fast);
    for _ in 0..2 {
        let task = ask(&mut desk, FAST).unwrap();
        desk.pass(SECOND * 10);
        desk.deliver(peer(FAST), task);
    }
    assert_eq!(ask(&mut desk, FAST).unwrap().task, leaf(1));
    desk.pass(SECOND * 6);
    desk.deliver(peer(SLOW), of_slow);
    desk
}

fn waits(answer: &Result<TaskRef, Refusal>) -> bool {
    matches!(answer, Err(Refusal::Waiting { .. }))
}

#[test]
fn a_slow_machine_leaves_what_a_fast_one_ends_sooner() {
    // The slow one would take 36 s for the leaf. The fast one is free in 4 s, and takes 10 s.
    let mut desk = desk(once());
    assert!(waits(&ask(&mut desk, SLOW)));
    desk.pass(SECOND * 4);
    desk.deliver(peer(FAST), task(leaf(1)));
    assert_eq!(ask(&mut desk, FAST).unwrap().task, leaf(0));
}

#[test]
fn without_looking_ahead_it_takes_it() {
    let mut desk = desk(Policy {
        look_ahead: false,
        ..once()
    });
    assert_eq!(ask(&mut desk, SLOW).unwrap().task, leaf(0));
}

#[test]
fn a_peer_that_is_gone_keeps_nobody_waiting() {
    let mut desk = desk(once());
    assert!(waits(&ask(&mut desk, SLOW)));
    let outputs = desk.input(Input::PeerLost { peer: peer(FAST) });
    assert!(woken(&outputs).contains(&peer(SLOW)), "{outputs:?}");
    assert!(ask(&mut desk, SLOW).is_ok());
}

#[test]
fn a_late_peer_keeps_nobody_waiting() {
    let mut desk = desk(once());
    assert!(waits(&ask(&mut desk, SLOW)));
    // Nothing is heard of the fast one for 12 s, of which 6 have passed.
    assert_eq!(woken(&desk.pass(SECOND * 5)), []);
    assert!(woken(&desk.pass(SECOND * 2)).contains(&peer(SLOW)));
    assert_eq!(ask(&mut desk, SLOW).unwrap().task, leaf(0));
}

/// Leaves are ready that fast machines, which are free in four seconds, end sooner than a slow one;
/// and a small one, which its holder gives back when two slow machines have waited for a while.
/// Returns the small one, and the machines that are woken then.
fn small_leaf_is_given_back(leaves: u32, small: Duration, after: Duration) -> (Desk, TaskId, Vec<Peer>) {
    let arities = Arities {
        leaf: 2,
        internal_for_leaf: 3,
        internal_recursive: 3,
    };
    let tree = Tree::new(2 * leaves, arities);
    let last = leaf(leaves - 1);
    let work = |task| if task == last { small } else { WORK };
    let costs = tree.tasks().map(|task| Cost {
        work: work(task),
        memory: GIB,
    });
    let spec = JobSpec {
        costs: costs.collect(),
        tree,
        ..spec(2 * leaves)
    };
    let mut desk = Desk::new(once(), spec);
    let fast = |number: u32| peer(10 + number);
    let holders = (0..2 * leaves).map(|number| if number == 1 { peer(SLOW) } else { fast(number) });
    let segments: Vec<_> = holders
        .map(|holder| {
            let speed = if holder == peer(SLOW) { 500 } else { 2000 };
            (holder, desk.ask(holder, offer_of(speed)).unwrap())
        })
        .collect();
    let of_slow = segments[1].1;
    assert_eq!(of_slow.task, TaskId::Segment(1));
    desk.pass(SECOND * 10);
    for &(holder, task) in segments.iter().filter(|(_, task)| *task != of_slow) {
        desk.deliver(holder, task);
    }
    desk.pass(SECOND * 20);
    // The first leaf waits for the slow machine's segment.
    for index in 1..leaves {
        if leaf(index) == last {
            desk.pass(SECOND * 6);
        }
        let task = desk.ask(fast(2 * index), offer_of(2000)).unwrap().task;
        assert_eq!(task, leaf(index));
    }
    desk.deliver(peer(SLOW), of_slow);
    for number in [SLOW, 3] {
        assert!(waits(&desk.ask(peer(number), offer_of(500))), "{number}");
    }
    desk.pass(after);
    let outputs = desk.input(Input::Returned {
        peer: fast(2 * leaves - 2),
        task: task(last),
        why: Return::Stopping,
    });
    (desk, last, woken(&outputs))
}

/// No fast machine ends the leaf of a second sooner, so that a slow one is woken for it, and gets
/// it. It would be refused if the first leaf stood for both, and the other slow machine be woken,
/// and so on for ever.
#[test]
fn a_machine_gets_the_task_that_it_was_woken_for() {
    let (mut desk, small, woken) = small_leaf_is_given_back(3, SECOND, Duration::ZERO);
    let [slow] = woken[..] else {
        panic!("one is woken: {woken:?}");
    };
    assert_eq!(desk.ask(slow, offer_of(500)).unwrap().task, small);
}

/// Fast machines would end the leaf of four seconds sooner. But leaves were left for them for four
/// seconds, so that a slow one is woken for this one, and gets it. The larger leaf, which it would
/// get otherwise, is left for longer.
#[test]
fn a_woken_machine_gets_what_was_left_for_long() {
    let small = SECOND * 4;
    let (_, _, woken) = small_leaf_is_given_back(6, small, SECOND * 3);
    assert_eq!(woken, [], "it is left for the fast ones");
    let (mut desk, small, woken) = small_leaf_is_given_back(6, small, SECOND * 4);
    let [slow] = woken[..] else {
        panic!("one is woken: {woken:?}");
    };
    assert_eq!(desk.ask(slow, offer_of(500)).map(|task| task.task), Ok(small));
}

/// A machine that says again and again that it makes progress, and never ends, keeps a task from
/// others for as long as it takes on the reference machine, and no longer.
#[test]
fn a_task_is_not_left_for_ever() {
    let mut desk = desk(once());
    let held = task(leaf(1));
    assert!(waits(&ask(&mut desk, SLOW)));
    let mut outputs = Vec::new();
    for progress in 0..WORK.as_secs() as u16 {
        assert!(woken(&outputs).is_empty(), "after {progress} s");
        // Each report says that it is nearly done.
        desk.input(Input::Renewed {
            peer: peer(FAST),
            task: held,
            progress: 960 + progress,
        });
        outputs = desk.pass(SECOND);
    }
    assert_eq!(woken(&outputs), [peer(SLOW)]);
    assert_eq!(ask(&mut desk, SLOW).unwrap().task, leaf(0));
}

/// One of the segments that are left for fast machines is taken by one of them. The others are left
/// again from then on: for as long as a segment takes, and no longer, though the fast ones never
/// end what they are at.
#[test]
fn what_is_left_is_left_anew_when_some_of_it_is_taken_and_not_for_ever() {
    const OTHER: u32 = 3;
    let fast = |desk: &mut Desk, number| desk.ask(peer(number), offer_of(2000)).unwrap();
    let arities = Arities {
        leaf: 4,
        internal_for_leaf: 2,
        internal_recursive: 2,
    };
    let tree = Tree::new(6, arities);
    let costs = vec![spec(6).costs[0]; tree.task_count()];
    let mut desk = Desk::new(
        once(),
        JobSpec {
            tree,
            costs,
            ..spec(6)
        },
    );
    let begun = [FAST, OTHER].map(|number| (number, fast(&mut desk, number)));
    desk.pass(SECOND * 6);
    for (number, task) in begun {
        desk.deliver(peer(number), task);
    }
    let mut held = vec![(OTHER, fast(&mut desk, OTHER))];
    assert!(waits(&ask(&mut desk, SLOW)));
    let mut outputs = Vec::new();
    // The fast one comes when the others were left for two seconds.
    for passed in 0..2 + WORK.as_secs() as u16 {
        assert_eq!(woken(&outputs), [], "after {passed} s");
        if passed == 2 {
            held.push((FAST, fast(&mut desk, FAST)));
        }
        for &(number, task) in &held {
            // As if it were done in a moment, always.
            desk.input(Input::Renewed {
                peer: peer(number),
                task,
                progress: 960 + passed,
            });
        }
        outputs = desk.pass(SECOND);
    }
    assert_eq!(woken(&outputs), [peer(SLOW)]);
    assert_eq!(ask(&mut desk, SLOW).unwrap().task, TaskId::Segment(4));
}

#[test]
fn a_fast_machine_that_declines_keeps_nobody_waiting() {
    let mut desk = desk(once());
    desk.pass(SECOND * 4);
    desk.deliver(peer(FAST), task(leaf(1)));
    let last = ask(&mut desk, FAST).unwrap();
    assert!(waits(&ask(&mut desk, SLOW)));
    desk.pass(SECOND * 10);
    desk.submit(peer(FAST), last);
    assert!(waits(&ask(&mut desk, FAST)));
    desk.checked(peer(FAST), last, Verdict::Accepted);
    let outputs = desk.input(Input::Persisted {
        task: last,
        proof: claimed(peer(FAST)),
    });
    assert_eq!(woken(&outputs), [peer(FAST)]);
    let outputs = desk.input(Input::Declined { peer: peer(FAST) });
    assert_eq!(woken(&outputs), [peer(SLOW)]);
}

#[test]
fn a_slow_machine_takes_what_is_too_much_for_the_fast_one() {
    let mut desk = Desk::new(once(), spec(64));
    let task = ask(&mut desk, FAST).unwrap();
    desk.pass(SECOND * 10);
    desk.deliver(peer(FAST), task);
    ask(&mut desk, FAST).unwrap();
    assert!(ask(&mut desk, SLOW).is_ok(), "there are 62 others");
}

/// Speed is what proofs have shown. A machine that says it is fifty times as fast as the reference,
/// and has not delivered yet, keeps nobody from anything; and one that has delivered counts as fast
/// as it was.
#[test]
fn a_boast_keeps_nobody_from_a_task() {
    const BOASTER: u32 = 3;
    let boast = |desk: &mut Desk| desk.ask(peer(BOASTER), offer_of(50_000));
    let mut desk = Desk::new(once(), spec(2));
    boast(&mut desk).unwrap();
    assert!(ask(&mut desk, SLOW).is_ok());

    let mut desk = Desk::new(once(), spec(3));
    let task = boast(&mut desk).unwrap();
    desk.pass(SECOND * 40);
    desk.deliver(peer(BOASTER), task);
    boast(&mut desk).unwrap();
    assert!(ask(&mut desk, SLOW).is_ok(), "it is as slow as this one");
}

/// A task that does not fit the fast machines is not left for them.
#[test]
fn a_task_is_left_only_for_peers_that_have_the_memory() {
    let small = |desk: &mut Desk| desk.ask(peer(FAST), offer_of(2000));
    let large = |desk: &mut Desk| {
        let memory = 2 * GIB;
        desk.ask(
            peer(SLOW),
            Offer {
                memory,
                ..offer_of(500)
            },
        )
    };
    let mut spec = spec(2);
    spec.costs[1] = Cost {
        memory: 2 * GIB,
        ..spec.costs[1]
    };
    let mut desk = Desk::new(once(), spec);
    let task = small(&mut desk).unwrap();
    desk.pass(SECOND * 10);
    desk.deliver(peer(FAST), task);
    assert!(small(&mut desk).is_err());
    assert_eq!(large(&mut desk).unwrap().task, TaskId::Segment(1));
}

/// The smaller of two machines that wait is woken, since it is nearly as fast as the other.
/// The task is not left for the faster one, which nobody would wake.
#[test]
fn a_task_is_not_left_for_a_machine_that_waits() {
    const LARGE: u32 = 3;
    const SMALL: u32 = 4;
    let offers = [(LARGE, 2 * GIB), (SMALL, GIB)].map(|(number, memory)| {
        let offer = Offer {
            memory,
            ..offer_of(2000)
        };
        (peer(number), offer)
    });
    let mut desk = Desk::new(once(), spec(2));
    let tasks = offers.map(|(peer, offer)| desk.ask(peer, offer).unwrap());
    desk.pass(SECOND * 9);
    desk.deliver(peer(LARGE), tasks[0]);
    desk.pass(SECOND * 3 / 2);
    desk.deliver(peer(SMALL), tasks[1]);
    desk.input(Input::Cancel { job: JOB });
    for (peer, offer) in offers {
        assert_eq!(desk.ask(peer, offer), Err(Refusal::NoJob));
    }
    let outputs = desk.input(Input::Open(Box::new(spec(1))));
    assert_eq!(woken(&outputs), [peer(SMALL)]);
    let (peer, offer) = offers[1];
    assert!(desk.ask(peer, offer).is_ok(), "it was woken for this task");
}

/// A machine that hands in an invalid proof was never relied on.
#[test]
fn a_banned_machine_keeps_nobody_from_a_task() {
    let mut desk = desk(once());
    let held = task(leaf(1));
    assert!(waits(&ask(&mut desk, SLOW)));
    desk.submit(peer(FAST), held);
    desk.checked(peer(FAST), held, desk::invalid());
    assert!(ask(&mut desk, SLOW).is_ok());
}

fn revoked(outputs: &[Output]) -> Vec<(Peer, Revocation)> {
    let revoked = outputs.iter().filter_map(|output| match output {
        Output::Revoke { peer, why, .. } => Some((*peer, why.clone())),
        _ => None,
    });
    revoked.collect()
}

fn newcomer(desk: &mut Desk, number: u32, speed: u32) -> Vec<Output> {
    let offer = offer_of(speed);
    let peer = peer(number);
    desk.input(Input::Offer { peer, offer })
}

/// The fast machine has delivered the first of two segments after ten seconds; the slow one has
/// worked on the other for `seconds`.
fn desk_when_slow_has_worked(seconds: u32) -> (Desk, TaskRef) {
    let mut desk = Desk::new(once(), spec(2));
    let first = ask(&mut desk, FAST).unwrap();
    desk.pass(SECOND * (10 - seconds));
    let second = ask(&mut desk, SLOW).unwrap();
    desk.pass(SECOND * seconds);
    desk.deliver(peer(FAST), first);
    (desk, second)
}

#[test]
fn a_fast_machine_takes_over_what_a_slow_one_has_hardly_begun() {
    // It would take 40 s.
    let (mut desk, second) = desk_when_slow_has_worked(5);
    let outputs = newcomer(&mut desk, FAST, 2000);
    assert_eq!(revoked(&outputs), [(peer(SLOW), Revocation::Faster)]);
    assert!(
        matches!(&outputs[..], [.., Output::Lease { peer: to, task, .. }] if *to == peer(FAST) && *task == second),
        "{outputs:?}"
    );
    assert!(
        waits(&ask(&mut desk, SLOW)),
        "nobody is to blame, and it waits for the next"
    );

    let (mut desk, _) = desk_when_slow_has_worked(6);
    assert!(waits(&ask(&mut desk, FAST)), "too much would be wasted");
}

/// A newcomer's claims beyond the machine that costs are measured on count for nothing, and it
/// takes nothing from peers that have delivered.
#[test]
fn a_newcomer_takes_over_from_newcomers_alone() {
    let mut desk = Desk::new(once(), spec(1));
    ask(&mut desk, SLOW).unwrap();
    assert_eq!(revoked(&newcomer(&mut desk, 3, 50_000)).len(), 1);
    // 40 s less than the one before, if it were believed.
    assert_eq!(revoked(&newcomer(&mut desk, 4, 50_000)), []);

    let mut desk = Desk::new(once(), spec(2));
    let of_slow = ask(&mut desk, SLOW).unwrap();
    desk.pass(SECOND * 40);
    desk.deliver(peer(SLOW), of_slow);
    ask(&mut desk, SLOW).unwrap();
    assert_eq!(revoked(&newcomer(&mut desk, 3, 50_000)), []);
}

/// Nobody knows how far the holder of a task from an earlier run is.
#[test]
fn a_task_of_an_earlier_run_is_not_taken_over() {
    let taken_over = |leased: Vec<(TaskId, Peer)>| {
        let mut desk = Desk::new(once(), JobSpec { leased, ..spec(2) });
        if desk.requester.leases(JOB).is_empty() {
            // The peer gets the same task in this run.
            desk.ask(peer(SLOW), offer(None)).unwrap();
        }
        let own = ask(&mut desk, FAST).unwrap();
        desk.pass(SECOND);
        desk.deliver(peer(FAST), own);
        revoked(&newcomer(&mut desk, FAST, 2000))
    };
    assert_eq!(taken_over(vec![]), [(peer(SLOW), Revocation::Faster)]);
    assert_eq!(taken_over(vec![(TaskId::Segment(1), peer(SLOW))]), []);
}

#[test]
fn a_task_is_taken_over_three_times_at_most() {
    // The seconds that each takes for a segment of 20 s, as its proof has shown.
    let machines = [(11, 50), (12, 33), (13, 22), (14, 4)];
    let mut desk = Desk::new(once(), spec(4));
    let tasks = machines.map(|(number, _)| ask(&mut desk, number).unwrap());
    let mut passed = 0;
    for (task, (number, takes)) in tasks.into_iter().zip(machines).rev() {
        desk.pass(SECOND * (takes - passed));
        passed = takes;
        desk.deliver(peer(number), task);
    }
    desk.input(Input::Cancel { job: JOB });
    desk.input(Input::Open(Box::new(spec(1))));
    newcomer(&mut desk, 10, 250);
    let taken_over = machines.map(|(number, _)| revoked(&newcomer(&mut desk, number, 500)).len());
    assert_eq!(taken_over, [1, 1, 1, 0]);
}
