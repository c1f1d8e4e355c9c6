//! Tests of what peers get from a requester, by what they have done before.

mod desk;

use std::time::Duration;

use desk::*;
use myriad_core::{
    Adaptive, Blob, Event, Input, JobId, JobSpec, Offer, Output, Policy, Redundancy, Refusal, Requester,
    Return, Standing, TaskId, TaskRef, Time, Trust, Verdict,
};

#[test]
fn a_peer_that_hands_a_task_back_does_not_get_it_again_at_once() {
    let mut desk = Desk::new(once(), spec(1));
    let task = desk.ask(peer(1), offer(None)).unwrap();
    let why = Return::Stopping;
    desk.input(Input::Returned {
        peer: peer(1),
        task,
        why,
    });
    assert!(matches!(
        desk.ask(peer(1), offer(None)),
        Err(Refusal::Cooling { .. })
    ));
    assert_eq!(desk.ask(peer(2), offer(None)), Ok(task));
    assert_eq!(
        desk.requester.standing(peer(1)),
        Some(&Standing::default()),
        "it is no shame"
    );
}

/// A prover that asks several requesters at once gives back the lease that comes second. Its pause
/// does not grow, however often that happens.
#[test]
fn a_peer_that_got_another_task_first_may_come_again_after_a_moment() {
    let policy = once();
    let mut desk = Desk::new(policy, spec(1));
    for _ in 0..10 {
        let task = desk.ask(peer(1), offer(None)).unwrap();
        desk.input(Input::Returned {
            peer: peer(1),
            task,
            why: Return::Surplus,
        });
        let refused = desk.ask(peer(1), offer(None)).unwrap_err();
        assert!(matches!(refused, Refusal::Cooling { setbacks: 0, .. }));
        assert!(refused.to_string().contains("for another one"), "{refused}");
        desk.pass(policy.rest);
    }
    assert_eq!(desk.requester.standing(peer(1)), Some(&Standing::default()));
}

/// All may try again where all have failed once: the reason may have passed.
#[test]
fn a_peer_that_failed_may_try_again_if_nobody_else_does() {
    let mut desk = Desk::new(once(), spec(1));
    for number in 1..=3 {
        let task = desk.ask(peer(number), offer(None)).unwrap();
        let message = "no luck".to_owned();
        desk.input(Input::Returned {
            peer: peer(number),
            task,
            why: Return::Failed { message },
        });
    }
    desk.pass(Duration::from_secs(60));
    let task = desk.ask(peer(1), offer(None)).unwrap();
    assert_eq!(task.task, TaskId::Segment(0));
}

#[test]
fn a_peer_that_failed_gets_another_task_first() {
    let mut desk = Desk::new(once(), spec(2));
    let first = desk.ask(peer(1), offer(None)).unwrap();
    let message = "no luck".to_owned();
    desk.input(Input::Returned {
        peer: peer(1),
        task: first,
        why: Return::Failed { message },
    });
    desk.pass(Duration::from_secs(60));
    assert_ne!(desk.ask(peer(1), offer(None)).unwrap(), first);
}

#[test]
fn one_network_has_few_newcomers_at_work_and_any_number_of_proven_machines() {
    let policy = once();
    let mut desk = Desk::new(policy, spec(1000));
    let crowd = offer(Some(5));
    let mut first = None;
    for number in 0..policy.unproven_per_origin as u32 {
        let task = desk.ask(peer(number), crowd).unwrap();
        first.get_or_insert(task);
    }
    assert!(matches!(
        desk.ask(peer(100), crowd),
        Err(Refusal::Crowded { held: 4, allowed: 4 })
    ));
    assert!(desk.ask(peer(101), offer(Some(6))).is_ok(), "another network");
    assert!(desk.ask(peer(102), offer(None)).is_ok(), "a LAN");
    desk.deliver(peer(0), first.unwrap());
    assert!(desk.ask(peer(0), crowd).is_ok());
    assert!(desk.ask(peer(0), crowd).is_ok(), "it has delivered");
    assert!(desk.ask(peer(100), crowd).is_ok(), "in its place");
    assert!(desk.ask(peer(103), crowd).is_err());
}

#[test]
fn peers_that_never_delivered_are_forgotten_first() {
    let policy = Policy {
        peers_max: 10,
        ..once()
    };
    let mut desk = Desk::new(policy, spec(1000));
    let task = desk.ask(peer(0), offer(None)).unwrap();
    desk.deliver(peer(0), task);
    desk.ask(peer(1), offer(None)).unwrap();
    desk.input(Input::Cancel { job: JOB });
    for number in 2..1000 {
        assert_eq!(desk.ask(peer(number), offer(None)), Err(Refusal::NoJob));
    }
    assert_eq!(desk.requester.standing(peer(0)).unwrap().accepted, 1);
    assert_eq!(desk.requester.standing(peer(5)), None);
}

#[test]
fn a_lease_of_an_earlier_run_is_one_still() {
    let mut spec = spec(2);
    let task = TaskRef {
        job: JOB,
        task: TaskId::Segment(0),
    };
    spec.leased = vec![
        (task.task, peer(1)),
        // Impossible tasks: one waits for others, one is not in the tree.
        (TaskId::Final, peer(2)),
        (TaskId::Segment(9), peer(2)),
    ];
    let mut desk = Desk::new(once(), spec);
    assert_ne!(desk.ask(peer(3), offer(None)).unwrap(), task, "somebody is at it");
    desk.deliver(peer(1), task);
    assert_eq!(desk.requester.proof(task), Some(claimed(peer(1))));
}

#[test]
fn a_lease_of_an_earlier_run_runs_out() {
    let mut spec = spec(1);
    spec.leased = vec![(TaskId::Segment(0), peer(1))];
    let mut desk = Desk::new(once(), spec);
    assert!(matches!(
        desk.ask(peer(2), offer(None)),
        Err(Refusal::Waiting { .. })
    ));
    desk.pass(20 * WORK);
    assert!(desk.ask(peer(3), offer(None)).is_ok());
}

#[test]
fn a_peer_that_was_banned_before_stays_banned() {
    let standing = Standing {
        banned: Some("it lied".into()),
        ..Standing::default()
    };
    let mut desk = Desk {
        requester: Requester::with_standings(once(), [(peer(1), standing)]),
        now: Time(1),
    };
    desk.input(Input::Open(Box::new(spec(1))));
    assert!(matches!(
        desk.ask(peer(1), offer(None)),
        Err(Refusal::Banned { .. })
    ));
}

#[test]
fn the_job_with_the_earliest_deadline_goes_first_and_a_missed_one_is_told() {
    let mut desk = Desk::new(once(), spec(2));
    let urgent = JobSpec {
        id: JobId([8; 32]),
        deadline: Some(Time(1) + WORK),
        ..spec(1)
    };
    let id = urgent.id;
    desk.input(Input::Open(Box::new(urgent)));
    assert_eq!(desk.ask(peer(1), offer(None)).unwrap().job, id);
    let outputs = desk.pass(2 * WORK);
    assert!(outputs.contains(&Output::Event(Event::DeadlineMissed { job: id })));
}

/// A silent holder is doubted, and the next machine gets its task too; the first proof ends both.
#[test]
fn a_silent_holder_is_not_waited_for() {
    let mut desk = Desk::new(Policy::default(), spec(1));
    let task = desk.ask(peer(1), offer(None)).unwrap();
    desk.pass(Duration::from_secs(13));
    assert_eq!(desk.ask(peer(2), offer(None)), Ok(task));
    let proof = Blob([1; 32]);
    desk.input(Input::Submitted {
        peer: peer(2),
        task,
        proof,
    });
    let outputs = desk.input(Input::Checked {
        peer: peer(2),
        task,
        proof,
        verdict: Verdict::Accepted,
    });
    let revoked = outputs
        .iter()
        .any(|output| matches!(output, Output::Revoke { peer: revoked, .. } if *revoked == peer(1)));
    assert!(revoked, "{outputs:?}");
    assert_eq!(desk.requester.standing(peer(1)).unwrap().expired, 1);
}

/// Machines of one's own are not doubted, however long they take and whatever they report.
#[test]
fn an_own_machine_that_is_slow_is_waited_for() {
    let mut desk = Desk::new(Policy::default(), spec(1));
    let own = Offer {
        trust: Trust::Own,
        ..offer(None)
    };
    let task = desk.ask(peer(1), own).unwrap();
    desk.pass(WORK / 2);
    let progress = 100;
    desk.input(Input::Renewed {
        peer: peer(1),
        task,
        progress,
    });
    let outputs = desk.pass(100 * WORK);
    assert_eq!(outputs, [], "nothing is revoked, and nobody else is called");
    assert_eq!(desk.requester.poll_timeout(), None);
}

/// A newcomer is not left alone with a node of the tree, and is not blamed if the other one is
/// faster.
#[test]
fn a_newcomer_on_trial_has_company_and_no_blame() {
    let known = Standing {
        accepted: 8,
        ..Standing::default()
    };
    let mut desk = Desk {
        requester: Requester::with_standings(Policy::default(), [(peer(2), known)]),
        now: Time(1),
    };
    let mut half_done = spec(2);
    half_done.done = (0..2)
        .map(|index| (TaskId::Segment(index), Blob([1; 32])))
        .collect();
    desk.input(Input::Open(Box::new(half_done)));
    let task = desk.ask(peer(1), offer(None)).unwrap();
    assert!(matches!(task.task, TaskId::Node(_)));
    desk.pass(Duration::from_secs(5));
    let progress = 200;
    desk.input(Input::Renewed {
        peer: peer(1),
        task,
        progress,
    });
    assert_eq!(
        desk.ask(peer(2), offer(None)),
        Ok(task),
        "whatever the newcomer says"
    );
    desk.deliver(peer(2), task);
    assert_eq!(desk.requester.standing(peer(1)), Some(&Standing::default()));
}

/// Nobody begins a copy of another's task a moment before there is a task that nobody holds.
#[test]
fn a_peer_that_is_needed_in_a_moment_is_not_given_a_copy() {
    let copies = Adaptive {
        waste_unsure: 1000,
        ..Adaptive::default()
    };
    let policy = Policy {
        redundancy: Redundancy::Adaptive(copies),
        // The first one takes no time at all.
        look_ahead: false,
        ..Policy::default()
    };
    let mut desk = Desk::new(policy, spec(4));
    let first = desk.ask(peer(1), offer(None)).unwrap();
    desk.deliver(peer(1), first);
    let second = desk.ask(peer(1), offer(None)).unwrap();
    let strangers = [2, 5].map(|number| desk.ask(peer(number), offer(None)).unwrap());
    let proof = Blob([2; 32]);
    desk.input(Input::Submitted {
        peer: peer(1),
        task: second,
        proof,
    });
    // The leaf over both comes as soon as the second is looked at.
    assert!(matches!(
        desk.ask(peer(3), offer(None)),
        Err(Refusal::Waiting { .. })
    ));
    let copy = desk.ask(peer(4), offer(None)).unwrap();
    assert!(strangers.contains(&copy), "one is enough for the leaf");
    desk.input(Input::Checked {
        peer: peer(1),
        task: second,
        proof,
        verdict: Verdict::Accepted,
    });
    let outputs = desk.input(Input::Persisted { task: second, proof });
    assert!(outputs.contains(&Output::Wake { peer: peer(3) }), "{outputs:?}");
    let leaf = desk.ask(peer(3), offer(None)).unwrap();
    assert!(matches!(leaf.task, TaskId::Node(_)));
}

/// Three identities that claim to have proofs and send nothing, against one that has one: it is
/// looked at as soon as the one before it is seen to stall, and none of them keeps others from the
/// task.
#[test]
fn what_does_not_come_is_not_waited_for() {
    let mut desk = Desk::new(Policy::default(), spec(1));
    let task = desk.ask(peer(1), offer(None)).unwrap();
    assert_eq!(desk.submit(peer(1), task), Some(peer(1)));
    assert!(desk.ask(peer(2), offer(None)).is_err(), "one is on its way");
    let stalled = |peer| Input::Stalled {
        peer,
        task,
        proof: claimed(peer),
    };
    assert_eq!(desk.input(stalled(peer(2))), Vec::new(), "it was not asked");
    let woken = desk.input(stalled(peer(1)));
    assert_eq!(woken, vec![Output::Wake { peer: peer(2) }]);
    assert_eq!(desk.ask(peer(2), offer(None)), Ok(task));
    desk.pass(Duration::from_secs(13));
    assert_eq!(desk.ask(peer(3), offer(None)), Ok(task));
    assert_eq!(desk.submit(peer(2), task), Some(peer(2)), "beside the first");
    assert_eq!(desk.submit(peer(3), task), None, "one after the other");
    assert_eq!(looked_at(&desk.input(stalled(peer(2)))), Some(peer(3)));
    for (peer, awaited) in [(peer(1), true), (peer(3), true), (peer(4), false)] {
        assert_eq!(desk.requester.awaits(peer, task, claimed(peer)), awaited);
    }
    let outputs = desk.checked(peer(3), task, Verdict::Accepted);
    let kept = |output: &Output| matches!(output, Output::Persist { peer: kept, .. } if *kept == peer(3));
    assert!(outputs.iter().any(kept), "{outputs:?}");
    assert!(!desk.requester.awaits(peer(1), task, claimed(peer(1))));
    // The fate of the others' proofs changes nothing about it.
    assert_eq!(desk.checked(peer(1), task, Verdict::Accepted), Vec::new());
    desk.checked(peer(2), task, invalid());
    let standing = |number| desk.requester.standing(peer(number)).unwrap().clone();
    assert_eq!((standing(1), standing(3).accepted), (Standing::default(), 1));
    assert!(standing(2).banned.is_some(), "a lie is one, however late");
}

/// A proof that comes after all is as good as any.
#[test]
fn what_comes_late_is_taken() {
    let mut desk = Desk::new(Policy::default(), spec(1));
    let task = desk.ask(peer(1), offer(None)).unwrap();
    desk.submit(peer(1), task);
    let proof = claimed(peer(1));
    let first = peer(1);
    desk.input(Input::Stalled {
        peer: first,
        task,
        proof,
    });
    assert_eq!(desk.ask(peer(2), offer(None)), Ok(task));
    let outputs = desk.checked(first, task, Verdict::Accepted);
    let revoked = |output: &Output| matches!(output, Output::Revoke { peer: other, .. } if *other == peer(2));
    assert!(outputs.iter().any(revoked), "{outputs:?}");
    desk.input(Input::Persisted { task, proof });
    assert_eq!(desk.requester.proof(task), Some(proof));
}

/// Jobs that matter as much: all that the oldest has ready goes out first.
#[test]
fn the_oldest_job_goes_first() {
    let mut desk = Desk::new(once(), spec(3));
    let younger = JobId([1; 32]);
    let second = JobSpec {
        id: younger,
        ..spec(3)
    };
    desk.input(Input::Open(Box::new(second)));
    let order: Vec<JobId> = (1..=6)
        .map(|number| desk.ask(peer(number), offer(None)).unwrap().job)
        .collect();
    assert_eq!(order, [JOB, JOB, JOB, younger, younger, younger]);
}

/// Jobs do not share machines evenly: that would make the first one as late as the last. A younger
/// one gets those that the oldest has no task for, and gives way as soon as it has one.
#[test]
fn a_younger_job_gets_the_machines_that_the_oldest_has_no_task_for() {
    let mut desk = Desk::new(once(), spec(2));
    let younger = JobId([1; 32]);
    desk.input(Input::Open(Box::new(JobSpec {
        id: younger,
        ..spec(4)
    })));
    let segments = [1, 2].map(|number| desk.ask(peer(number), offer(None)).unwrap());
    let next = desk.ask(peer(3), offer(None)).unwrap();
    assert_eq!([segments[0].job, segments[1].job, next.job], [JOB, JOB, younger]);
    desk.deliver(peer(1), segments[0]);
    let next = desk.ask(peer(1), offer(None)).unwrap();
    assert_eq!(next.job, younger, "the leaf needs both segments");
    desk.deliver(peer(2), segments[1]);
    let next = desk.ask(peer(2), offer(None)).unwrap();
    assert_eq!(next.job, JOB, "the younger one has two segments left");
    let kept = desk.requester.leases(younger).len();
    assert_eq!(kept, 2, "nothing is taken from it");
}

/// Priority comes before deadlines, and both before age.
#[test]
fn the_most_important_job_goes_first_and_then_the_one_that_is_due_first() {
    let late = Time(2_000_000_000);
    let jobs = [
        (0, None),
        (0, Some(late)),
        (0, Some(Time(late.0 - 1))),
        (1, None),
        (-1, Some(Time(late.0 - 2))),
    ];
    let of = |number: usize| JobId([number as u8; 32]);
    let specs = jobs
        .iter()
        .enumerate()
        .map(|(number, &(priority, deadline))| JobSpec {
            id: of(number),
            priority,
            deadline,
            ..spec(1)
        });
    let mut specs = specs.collect::<Vec<_>>().into_iter();
    let mut desk = Desk::new(once(), specs.next().expect("there are five"));
    for spec in specs {
        desk.input(Input::Open(Box::new(spec)));
    }
    let order: Vec<JobId> = (1..=5)
        .map(|number| desk.ask(peer(number), offer(None)).unwrap().job)
        .collect();
    assert_eq!(order, [3, 2, 1, 0, 4].map(of));
}
