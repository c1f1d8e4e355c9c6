//! Jobs whose plan grows: their segments are given out before it is settled, and nothing is lost
//! then.

mod desk;

use std::{collections::BTreeMap, time::Duration};

use desk::{Desk, GIB, JOB, WORK, claimed, invalid, offer, once, peer, spec};
use myriad_core::{
    Blob, Cost, Event, Input, JobId, JobSpec, NodeId, Offer, Output, Policy, Refusal, Return, Revocation,
    Stage, TaskId, TaskRef, Tree, TrialVerdict, Trust, Verdict,
};

const PROOF: Blob = Blob([9; 32]);

fn segment(index: u32) -> TaskRef {
    let task = TaskId::Segment(index);
    TaskRef { job: JOB, task }
}

fn leaf(index: u32) -> TaskRef {
    let task = TaskId::Node(NodeId { level: 1, index });
    TaskRef { job: JOB, task }
}

/// The job of [`spec`], of which this many segments are known.
fn growing(known: u32) -> JobSpec {
    JobSpec {
        tree: Tree::growing(known),
        costs: spec(9).costs[..known as usize].to_vec(),
        ..spec(9)
    }
}

fn grow(desk: &mut Desk, more: usize) -> Vec<Output> {
    grow_with(desk, more, Vec::new())
}

fn grow_with(desk: &mut Desk, more: usize, done: Vec<(TaskId, Blob)>) -> Vec<Output> {
    desk.input(Input::Grow {
        job: JOB,
        costs: spec(9).costs[..more].to_vec(),
        done,
    })
}

/// The plan has this many segments, of which the job has `known`.
fn settle(desk: &mut Desk, known: usize, segments: u32) -> Vec<Output> {
    settle_with(desk, known, segments, Vec::new())
}

fn settle_with(desk: &mut Desk, known: usize, segments: u32, done: Vec<(TaskId, Blob)>) -> Vec<Output> {
    let JobSpec { tree, costs, .. } = spec(segments);
    let costs = costs[known..].to_vec();
    desk.input(Input::Settle {
        job: JOB,
        tree,
        costs,
        done,
    })
}

fn stage(desk: &Desk, task: TaskRef) -> Option<Stage> {
    let stages: BTreeMap<_, _> = desk.requester.stages(JOB).into_iter().collect();
    stages.get(&task.task).copied()
}

#[test]
fn segments_are_given_out_before_the_plan_is_there() {
    let mut desk = Desk::new(once(), growing(1));
    let first = desk.ask(peer(1), offer(None)).unwrap();
    assert_eq!(first, segment(0));
    let nothing = desk.ask(peer(2), offer(None));
    assert_eq!(nothing, Err(Refusal::Waiting { under_way: 1 }));
    desk.deliver(peer(1), first);
    let cut = grow(&mut desk, 2);
    assert_eq!(cut, [Output::Wake { peer: peer(2) }], "one waits, for two tasks");
    assert_eq!(desk.ask(peer(2), offer(None)), Ok(segment(1)));
    assert_eq!(desk.ask(peer(1), offer(None)), Ok(segment(2)));
    // All segments that are known are done, and the job is not.
    for (prover, index) in [(2, 1), (1, 2)] {
        desk.deliver(peer(prover), segment(index));
    }
    assert!(desk.ask(peer(1), offer(None)).is_err());
    assert!(desk.requester.progress(JOB).is_some());
    settle(&mut desk, 3, 3);
    assert_eq!(desk.ask(peer(1), offer(None)), Ok(leaf(0)));
}

/// A lease, a claim, a proof that is being written and one that is durable, when the plan is
/// settled: each goes on.
#[test]
fn what_is_under_way_when_the_plan_is_settled_goes_on() {
    let mut desk = Desk::new(once(), growing(4));
    for index in 0..4 {
        assert_eq!(desk.ask(peer(index), offer(None)), Ok(segment(index)));
    }
    desk.deliver(peer(3), segment(3));
    desk.submit(peer(2), segment(2));
    desk.checked(peer(2), segment(2), Verdict::Accepted);
    desk.submit(peer(1), segment(1));
    let outputs = settle(&mut desk, 4, 5);
    assert_eq!(outputs, [], "nobody is told anything");
    let stages = [
        Stage::Leased(1),
        Stage::Checking,
        Stage::Persisting,
        Stage::Done,
        Stage::Ready,
    ];
    for (index, expected) in stages.into_iter().enumerate() {
        assert_eq!(stage(&desk, segment(index as u32)), Some(expected));
    }
    let missing = |desk: &Desk, index| match stage(desk, leaf(index)) {
        Some(Stage::Waiting(missing)) => missing,
        other => panic!("{other:?}"),
    };
    let before: u32 = (0..3).map(|index| missing(&desk, index)).sum();
    assert_eq!(before, 4);
    desk.input(Input::Persisted {
        task: segment(2),
        proof: claimed(peer(2)),
    });
    desk.checked(peer(1), segment(1), Verdict::Accepted);
    desk.input(Input::Persisted {
        task: segment(1),
        proof: claimed(peer(1)),
    });
    // The holder of the first segment is heard as before.
    let renewed = desk.input(Input::Renewed {
        peer: peer(0),
        task: segment(0),
        progress: 500,
    });
    assert!(matches!(renewed[..], [Output::Extended { .. }]));
    desk.deliver(peer(0), segment(0));
    for index in 0..4 {
        assert_eq!(stage(&desk, segment(index)), Some(Stage::Done));
    }
}

#[test]
fn what_an_earlier_run_left_is_there_as_soon_as_its_segment() {
    let job = JobSpec {
        done: vec![(TaskId::Segment(0), PROOF)],
        leased: vec![(TaskId::Segment(3), peer(8)), (TaskId::Segment(4), peer(9))],
        ..growing(1)
    };
    let mut desk = Desk::new(once(), job);
    assert_eq!(desk.requester.proof(segment(0)), Some(PROOF));
    assert_eq!(desk.requester.proof(segment(2)), None);
    assert!(!desk.requester.may_submit(peer(8), segment(3)));
    let left = (TaskId::Segment(2), PROOF);
    // One that the job has already is no matter of the segments that come.
    grow_with(&mut desk, 3, vec![left, (TaskId::Segment(0), Blob([1; 32]))]);
    assert_eq!(desk.requester.proof(segment(0)), Some(PROOF));
    assert_eq!(desk.requester.proof(segment(2)), Some(PROOF));
    assert_eq!(stage(&desk, segment(3)), Some(Stage::Leased(1)));
    assert!(desk.requester.may_submit(peer(8), segment(3)));
    // A node counts where all segments below are done: peers may be at those of others.
    let nodes = [(leaf(0).task, PROOF), (leaf(1).task, PROOF)];
    let left = [(TaskId::Segment(5), PROOF)].into_iter().chain(nodes).collect();
    settle_with(&mut desk, 4, 7, left);
    assert!(desk.requester.may_submit(peer(9), segment(4)));
    assert_eq!(desk.requester.proof(segment(5)), Some(PROOF));
    assert_eq!(desk.requester.proof(leaf(0)), Some(PROOF), "over segment 0 alone");
    assert_eq!(desk.requester.proof(leaf(1)), None);
    assert_eq!(desk.ask(peer(1), offer(None)), Ok(segment(1)));
    assert_eq!(desk.ask(peer(2), offer(None)), Ok(segment(6)));
    assert!(desk.ask(peer(3), offer(None)).is_err());
}

/// They hear something else than that there is no such task, and go on.
#[test]
fn a_peer_at_a_segment_that_is_not_cut_again_yet_is_waited_for() {
    let leased = (2..5)
        .map(|index| (TaskId::Segment(index), peer(index)))
        .collect();
    let mut desk = Desk::new(once(), JobSpec { leased, ..growing(1) });
    let renew = |desk: &mut Desk, index| {
        desk.input(Input::Renewed {
            peer: peer(index),
            task: segment(index),
            progress: 10,
        })
    };
    let refused = |why| vec![Output::Refuse { peer: peer(3), why }];
    assert!(matches!(renew(&mut desk, 3)[..], [Output::Extended { .. }]));
    let submit = |desk: &mut Desk, task| {
        desk.input(Input::Submitted {
            peer: peer(3),
            task,
            proof: PROOF,
        })
    };
    assert_eq!(submit(&mut desk, segment(3)), refused(Refusal::NotYet));
    assert_eq!(submit(&mut desk, segment(4)), refused(Refusal::NoSuchTask));
    desk.input(Input::PeerLost { peer: peer(2) });
    desk.input(Input::Returned {
        peer: peer(4),
        task: segment(4),
        why: Return::Stopping,
    });
    assert_eq!(desk.requester.awaited(JOB), [(TaskId::Segment(3), peer(3))]);
    grow(&mut desk, 4);
    assert_eq!(desk.requester.awaited(JOB), []);
    for (index, expected) in [(2, 0), (3, 1), (4, 0)] {
        assert_eq!(desk.requester.holders(segment(index)).len(), expected);
    }
    desk.submit(peer(3), segment(3));
    assert_eq!(stage(&desk, segment(3)), Some(Stage::Checking));
}

/// Nobody can judge proofs of segments that the requester has cut and not executed yet.
#[test]
fn a_proven_peer_cannot_claim_all_segments_before_anybody_can_judge_it() {
    let policy = once();
    let mut desk = Desk::new(policy, growing(9));
    for _ in 0..4 {
        let task = desk.ask(peer(1), offer(None)).unwrap();
        desk.deliver(peer(1), task);
    }
    let mut claims = 0;
    while let Ok(task) = desk.ask(peer(1), offer(None)) {
        desk.submit(peer(1), task);
        claims += 1;
    }
    assert_eq!(claims, policy.leases_max);
    assert_eq!(desk.ask(peer(2), offer(None)), Ok(segment(4 + claims as u32)));
}

/// Whatever the tree will be, something in it takes the proof.
#[test]
fn a_proof_that_is_lost_before_the_plan_is_there_is_made_again() {
    let mut desk = Desk::new(once(), growing(1));
    let task = desk.ask(peer(1), offer(None)).unwrap();
    desk.deliver(peer(1), task);
    let proof = claimed(peer(1));
    let lost = desk.input(Input::Lost { task, proof });
    assert!(matches!(lost[..], [Output::Event(Event::Reopened { .. })]));
    settle(&mut desk, 1, 1);
    assert_eq!(stage(&desk, leaf(0)), Some(Stage::Waiting(1)));
    assert_eq!(desk.ask(peer(2), offer(None)), Ok(task));
}

#[test]
fn a_peer_that_lies_or_goes_while_the_plan_grows_keeps_nobody_from_a_segment() {
    let mut desk = Desk::new(once(), growing(3));
    for index in 0..3 {
        assert_eq!(desk.ask(peer(index), offer(None)), Ok(segment(index)));
    }
    desk.submit(peer(0), segment(0));
    let banned = desk.checked(peer(0), segment(0), invalid());
    assert!(
        banned
            .iter()
            .any(|output| matches!(output, Output::Event(Event::Banned { .. })))
    );
    desk.input(Input::PeerLost { peer: peer(1) });
    desk.input(Input::Returned {
        peer: peer(2),
        task: segment(2),
        why: Return::Stopping,
    });
    settle(&mut desk, 3, 3);
    for index in 0..3 {
        assert_eq!(desk.ask(peer(10 + index), offer(None)), Ok(segment(index)));
    }
    assert!(desk.ask(peer(0), offer(None)).is_err(), "it is banned");
}

/// Another job gets all peers at once, and those that are at the job's tasks deliver them.
#[test]
fn a_job_that_will_have_no_plan_gives_nothing_out() {
    let mut desk = Desk::new(once(), growing(3));
    let first = desk.ask(peer(1), offer(None)).unwrap();
    let waits = desk.ask(
        peer(2),
        Offer {
            memory: GIB / 2,
            ..offer(None)
        },
    );
    assert!(matches!(waits, Err(Refusal::Memory { .. })));
    desk.input(Input::Halt { job: JOB });
    assert_eq!(desk.ask(peer(3), offer(None)), Err(Refusal::NoJob));
    desk.deliver(peer(1), first);
    assert_eq!(stage(&desk, first), Some(Stage::Done));
    assert_eq!(grow(&mut desk, 1), [], "nobody is woken for it");
    let other = JobSpec {
        id: JobId([8; 32]),
        ..growing(1)
    };
    assert!(
        desk.input(Input::Open(Box::new(other)))
            .contains(&Output::Wake { peer: peer(3) })
    );
    let task = TaskRef {
        job: JobId([8; 32]),
        task: TaskId::Segment(0),
    };
    assert_eq!(desk.ask(peer(3), offer(None)), Ok(task));
    // One that has delivered may take it over, and gets none of the tasks that are ready.
    assert!(desk.ask(peer(1), offer(None)).is_ok_and(|task| task.job != JOB));
}

#[test]
fn a_job_is_cancelled_or_fails_while_its_plan_grows() {
    let mut desk = Desk::new(once(), growing(2));
    desk.ask(peer(1), offer(None)).unwrap();
    let ended = desk.input(Input::Cancel { job: JOB });
    let revoked =
        |output: &Output| matches!(output, Output::Revoke { why, .. } if *why == Revocation::Cancelled);
    assert!(ended.iter().any(revoked));
    // The execution may be cut further before it hears of that.
    assert_eq!(grow(&mut desk, 1), []);
    assert_eq!(settle(&mut desk, 2, 3), []);
    assert!(desk.requester.progress(JOB).is_none());

    let mut desk = Desk::new(once(), growing(1));
    let own = Offer {
        trust: Trust::Own,
        ..offer(None)
    };
    let mut outputs = Vec::new();
    for _ in 0..once().own_failures_max {
        let task = desk.ask(peer(1), own).unwrap();
        let message = "the program is wrong".into();
        outputs = desk.input(Input::Returned {
            peer: peer(1),
            task,
            why: Return::Failed { message },
        });
        desk.pass(Duration::from_secs(3600));
    }
    assert!(
        outputs
            .iter()
            .any(|output| matches!(output, Output::Event(Event::JobFailed { .. })))
    );
    assert_eq!(grow(&mut desk, 1), []);
}

/// A lease runs out, and a late proof of it counts, on both sides of the settling.
#[test]
fn a_late_proof_of_a_segment_counts_after_the_plan_is_there() {
    let mut desk = Desk::new(once(), growing(1));
    let task = desk.ask(peer(1), offer(None)).unwrap();
    let expired = desk.pass(WORK * 100);
    assert!(
        expired
            .iter()
            .any(|output| matches!(output, Output::Revoke { why, .. } if *why == Revocation::Expired))
    );
    settle(&mut desk, 1, 1);
    assert!(desk.requester.may_submit(peer(1), task));
    desk.deliver(peer(1), task);
    assert_eq!(stage(&desk, leaf(0)), Some(Stage::Ready));
}

/// Segments that need more memory than a machine has are no more for it than in a whole plan.
#[test]
fn each_segment_has_the_cost_that_it_came_with() {
    let mut desk = Desk::new(once(), growing(0));
    let none = desk.ask(peer(1), offer(None));
    assert_eq!(none, Err(Refusal::Waiting { under_way: 0 }));
    let large = Cost {
        work: WORK,
        memory: 2 * GIB,
    };
    desk.input(Input::Grow {
        job: JOB,
        costs: vec![large],
        done: Vec::new(),
    });
    let refused = desk.ask(peer(1), offer(None));
    let (offered, needed) = (GIB, 2 * GIB);
    assert_eq!(refused, Err(Refusal::Memory { offered, needed }));
    assert!(
        !grow(&mut desk, 1).is_empty(),
        "it is woken for one that it can do"
    );
    assert_eq!(desk.ask(peer(1), offer(None)), Ok(segment(1)));
}

/// The caller's own final proof is asked for in a job that grew, too.
#[test]
fn the_callers_final_proof_comes_last() {
    let job = JobSpec {
        own_final: true,
        ..growing(1)
    };
    let mut desk = Desk::new(Policy::default(), job);
    let task = desk.ask(peer(1), offer(None)).unwrap();
    desk.deliver(peer(1), task);
    settle(&mut desk, 1, 1);
    let nodes = spec(1).tree.node_count();
    let mut outputs = Vec::new();
    for _ in 0..nodes {
        let task = desk.ask(peer(1), offer(None)).unwrap();
        outputs = desk.deliver(peer(1), task);
    }
    let last = TaskRef {
        job: JOB,
        task: TaskId::Final,
    };
    assert!(outputs.contains(&Output::Try { task: last }));
    let (by, took) = (peer(99), Duration::from_secs(1));
    let outcome = TrialVerdict::Made {
        by,
        proof: PROOF,
        took,
    };
    desk.input(Input::Tried { task: last, outcome });
    let ended = desk.input(Input::Persisted {
        task: last,
        proof: PROOF,
    });
    assert!(ended.contains(&Output::Event(Event::JobDone { job: JOB })));
}

#[test]
#[should_panic(expected = "the plan has 2 segments, and 3 were known")]
fn a_plan_that_lacks_a_segment_that_is_given_out_is_refused() {
    let mut desk = Desk::new(once(), growing(3));
    settle(&mut desk, 3, 2);
}
