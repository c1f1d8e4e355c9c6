//! Every checker finds the fault that it is there for: each test shows one a made-up history that
//! breaks its rule.

mod growing;

use std::time::Duration;

use myriad_core::{
    Arities, Blob, Cost, Event, Input, JobId, JobSpec, NodeId, Offer, Output, Peer, Policy, Refusal,
    Requester, Return, Revocation, SPEED_ONE, TaskId, TaskRef, Time, Tree, TrialVerdict, Trust, Verdict,
    invariants::{Accepted, Banned, Checker, Fitting, Grown, Kept, Moving, Obsolete, Served},
};

const JOB: JobId = JobId([7; 32]);
const PEER: Peer = Peer([1; 32]);
const PROOF: Blob = Blob([2; 32]);
const NOW: Time = Time(1);

fn task(task: TaskId) -> TaskRef {
    TaskRef { job: JOB, task }
}

fn segment(index: u32) -> TaskRef {
    task(TaskId::Segment(index))
}

fn leaf() -> TaskRef {
    task(TaskId::Node(NodeId { level: 1, index: 0 }))
}

/// A job of two segments under one leaf; each task needs 100 bytes.
fn open() -> Input {
    let arities = Arities {
        leaf: 2,
        internal_for_leaf: 1,
        internal_recursive: 2,
    };
    let tree = Tree::new(2, arities);
    let cost = Cost {
        work: Duration::from_secs(1),
        memory: 100,
    };
    Input::Open(Box::new(JobSpec {
        id: JOB,
        costs: vec![cost; tree.task_count()],
        tree,
        priority: 0,
        deadline: None,
        own_final: false,
        done: Vec::new(),
        leased: Vec::new(),
    }))
}

fn offer(memory: u64) -> Input {
    Input::Offer {
        peer: PEER,
        offer: Offer {
            memory,
            speed: SPEED_ONE,
            trust: Trust::Stranger,
            origin: None,
        },
    }
}

fn lease(task: TaskRef) -> Output {
    Output::Lease {
        peer: PEER,
        task,
        until: NOW,
    }
}

fn persist(task: TaskRef, proof: Blob) -> Output {
    Output::Persist {
        peer: PEER,
        task,
        proof,
    }
}

/// The checker's verdict on the last of several outputs; it must not mind the others.
fn last(mut checker: impl Checker, inputs: &[Input], outputs: &[Output]) -> Result<(), String> {
    for input in inputs {
        checker.input(NOW, input);
    }
    let (last, before) = outputs.split_last().expect("there is one");
    for output in before {
        checker.output(NOW, output).expect("it is in order");
    }
    checker.output(NOW, last)
}

#[test]
fn a_proof_that_nobody_accepted_is_noticed() {
    let submitted = Input::Submitted {
        peer: PEER,
        task: segment(0),
        proof: PROOF,
    };
    let accepted = Input::Checked {
        peer: PEER,
        task: segment(0),
        proof: PROOF,
        verdict: Verdict::Accepted,
    };
    let refused = Input::Checked {
        peer: PEER,
        task: segment(0),
        proof: PROOF,
        verdict: Verdict::Invalid {
            reason: String::new(),
        },
    };
    let outputs = [persist(segment(0), PROOF)];
    assert!(
        last(
            Accepted::default(),
            &[submitted.clone(), accepted.clone()],
            &outputs
        )
        .is_ok()
    );
    assert!(last(Accepted::default(), &[submitted, refused], &outputs).is_err());
    let check = Output::Check {
        peer: PEER,
        task: segment(0),
        proof: PROOF,
    };
    assert!(
        last(Accepted::default(), &[], &[check]).is_err(),
        "nobody submitted it"
    );
    let done = Output::Event(Event::TaskDone {
        task: segment(0),
        peer: PEER,
        took: Duration::ZERO,
    });
    assert!(
        last(Accepted::default(), &[accepted], &[done]).is_err(),
        "it is not durable"
    );
}

#[test]
fn a_banned_peer_with_a_lease_is_noticed() {
    let banned = Output::Event(Event::Banned {
        peer: PEER,
        task: segment(0),
        reason: String::new(),
    });
    assert!(last(Banned::default(), &[], &[banned.clone(), lease(segment(1))]).is_err());

    let requester = Requester::new(Policy::default());
    let mut holding = Banned::default();
    holding.output(NOW, &lease(segment(1))).unwrap();
    holding.output(NOW, &banned).unwrap();
    assert!(holding.settled(&requester).is_err(), "it still holds segment 1");
    let revoked = Output::Revoke {
        peer: PEER,
        task: segment(1),
        why: Revocation::Banned,
    };
    holding.output(NOW, &revoked).unwrap();
    assert!(holding.settled(&requester).is_ok());
}

#[test]
fn a_lease_that_does_not_fit_is_noticed() {
    let leased = |inputs: &[Input], of| last(Fitting::default(), inputs, &[lease(of)]);
    assert!(leased(&[open(), offer(100)], segment(0)).is_ok());
    assert!(
        leased(&[open(), offer(99)], segment(0)).is_err(),
        "a byte too little"
    );
    assert!(leased(&[open()], segment(0)).is_err(), "nobody asked");
    assert!(leased(&[offer(100)], segment(0)).is_err(), "there is no such job");
    assert!(
        leased(&[open(), offer(100)], leaf()).is_err(),
        "its children are missing"
    );
}

#[test]
fn a_lease_of_the_callers_own_final_proof_is_noticed() {
    let with_own_final = |own_final| {
        let Input::Open(mut spec) = open() else {
            unreachable!("it opens a job")
        };
        spec.own_final = own_final;
        spec.done = spec.tree.tasks().map(|task| (task, PROOF)).collect();
        spec.done.pop();
        let inputs = [Input::Open(spec), offer(100)];
        last(Fitting::default(), &inputs, &[lease(task(TaskId::Final))])
    };
    assert!(with_own_final(false).is_ok());
    assert!(with_own_final(true).is_err());
}

/// The checker, once a proof of a segment is kept.
fn kept() -> Kept {
    let mut kept = Kept::default();
    kept.output(NOW, &persist(segment(0), PROOF)).unwrap();
    kept.input(
        NOW,
        &Input::Persisted {
            task: segment(0),
            proof: PROOF,
        },
    );
    kept
}

#[test]
fn a_proof_that_is_lost_or_replaced_is_noticed() {
    let other = Blob([3; 32]);
    let replaced = [persist(segment(0), PROOF), persist(segment(0), other)];
    assert!(last(Kept::default(), &[], &replaced).is_err());

    let mut kept = kept();
    let mut forgetful = Requester::new(Policy::default());
    forgetful.handle_input(NOW, open());
    assert!(
        kept.settled(&forgetful).is_err(),
        "the requester knows nothing of it"
    );
}

#[test]
fn a_proof_that_is_dropped_too_early_is_noticed() {
    let asked = persist(leaf(), PROOF);
    let dropped = Output::Obsolete { task: segment(0) };
    assert!(last(Obsolete::default(), &[open()], &[asked.clone(), dropped.clone()]).is_err());

    let mut checker = Obsolete::default();
    checker.input(NOW, &open());
    checker.output(NOW, &asked).unwrap();
    checker.input(
        NOW,
        &Input::Persisted {
            task: leaf(),
            proof: PROOF,
        },
    );
    checker.output(NOW, &dropped).unwrap();
    let last_segment = Output::Obsolete { task: segment(1) };
    assert!(
        checker.output(NOW, &last_segment).is_err(),
        "the final proof takes it too"
    );
}

#[test]
fn a_job_that_nobody_knows_is_noticed() {
    let mut checker = Moving::default();
    let announced = Output::Announce { job: JOB, open: true };
    checker.output(NOW, &announced).unwrap();
    let mut requester = Requester::new(Policy::default());
    assert!(checker.settled(&requester).is_err(), "it was never opened");
    requester.handle_input(NOW, open());
    assert!(checker.settled(&requester).is_ok());
}

/// The requester asks its caller to do the leaf, which finds that the proof of segment 0 is to
/// blame.
fn refute(checker: &mut impl Checker) {
    checker.output(NOW, &Output::Try { task: leaf() }).unwrap();
    let outcome = TrialVerdict::Refuted {
        child: TaskId::Segment(0),
        proof: PROOF,
        reason: String::new(),
    };
    checker.input(
        NOW,
        &Input::Tried {
            task: leaf(),
            outcome,
        },
    );
}

#[test]
fn a_proof_that_is_given_up_and_was_not_lost_is_noticed() {
    let task = segment(0);
    let given_up = Output::Event(Event::Reopened {
        task,
        proof: PROOF,
        reason: String::new(),
    });
    let mut kept = Kept::default();
    kept.output(NOW, &persist(task, PROOF)).unwrap();
    kept.input(NOW, &Input::Persisted { task, proof: PROOF });
    assert!(kept.clone().output(NOW, &given_up).is_err());
    kept.input(NOW, &Input::Lost { task, proof: PROOF });
    kept.output(NOW, &given_up).unwrap();
    // The same bytes may come again, and are kept then.
    kept.output(NOW, &persist(task, PROOF)).unwrap();
    assert!(kept.output(NOW, &given_up).is_err(), "it was lost once");
}

#[test]
fn a_proof_that_is_given_up_without_evidence_is_noticed() {
    let given_up = Output::Event(Event::Refuted {
        task: segment(0),
        proof: PROOF,
        maker: Some(PEER),
        reason: String::new(),
    });
    assert!(kept().output(NOW, &given_up).is_err(), "nobody has refuted it");
    let mut unasked = kept();
    let outcome = TrialVerdict::Refuted {
        child: TaskId::Segment(0),
        proof: PROOF,
        reason: String::new(),
    };
    unasked.input(
        NOW,
        &Input::Tried {
            task: leaf(),
            outcome,
        },
    );
    assert!(unasked.output(NOW, &given_up).is_err(), "nobody was asked to");

    let mut refuted = kept();
    refute(&mut refuted);
    refuted.output(NOW, &given_up).unwrap();
    assert!(refuted.settled(&Requester::new(Policy::default())).is_ok());
    let again = persist(segment(0), PROOF);
    assert!(
        refuted.clone().output(NOW, &again).is_err(),
        "it is no better now"
    );
    refuted.output(NOW, &persist(segment(0), Blob([3; 32]))).unwrap();
}

#[test]
fn a_pardon_without_evidence_is_noticed() {
    let banned = Output::Event(Event::Banned {
        peer: PEER,
        task: leaf(),
        reason: String::new(),
    });
    let pardoned = |task| Output::Event(Event::Pardoned { peer: PEER, task });
    assert!(last(Banned::default(), &[], &[banned.clone(), pardoned(leaf())]).is_err());

    let mut checker = Banned::default();
    checker.output(NOW, &banned).unwrap();
    refute(&mut checker);
    let other = checker.clone().output(NOW, &pardoned(segment(0)));
    assert!(other.is_err(), "it was banned for something else");
    checker.output(NOW, &pardoned(leaf())).unwrap();
    checker.output(NOW, &lease(segment(1))).unwrap();
}

#[test]
fn a_proof_that_the_caller_made_unasked_is_noticed() {
    let outcome = TrialVerdict::Made {
        by: PEER,
        proof: PROOF,
        took: Duration::ZERO,
    };
    let made = Input::Tried {
        task: leaf(),
        outcome,
    };
    assert!(
        last(
            Accepted::default(),
            std::slice::from_ref(&made),
            &[persist(leaf(), PROOF)]
        )
        .is_err()
    );
    let mut asked = Accepted::default();
    asked.output(NOW, &Output::Try { task: leaf() }).unwrap();
    asked.input(NOW, &made);
    asked.output(NOW, &persist(leaf(), PROOF)).unwrap();
}

/// A refuted proof is gone: a task over it cannot start, and it is not obsolete.
#[test]
fn what_is_made_of_a_refuted_proof_is_noticed() {
    let mut fitting = Fitting::default();
    let mut obsolete = Obsolete::default();
    let gone = Output::Event(Event::Refuted {
        task: segment(0),
        proof: PROOF,
        maker: None,
        reason: String::new(),
    });
    fn done(checker: &mut impl Checker, gone: &Output) {
        checker.input(NOW, &open());
        for task in [segment(0), segment(1), leaf()] {
            if task != leaf() || !matches!(gone, Output::Event(_)) {
                checker.output(NOW, &persist(task, PROOF)).unwrap();
                checker.input(NOW, &Input::Persisted { task, proof: PROOF });
            }
        }
        checker.output(NOW, gone).unwrap();
        checker.input(NOW, &offer(100));
    }
    done(&mut fitting, &gone);
    assert!(
        fitting.output(NOW, &lease(leaf())).is_err(),
        "segment 0 is missing"
    );
    done(&mut obsolete, &gone);
    let dropped = Output::Obsolete { task: segment(0) };
    assert!(obsolete.output(NOW, &dropped).is_err());
}

/// The verdict on a peer that is told to wait twice, given the inputs in between.
fn told_to_wait_for(seconds: u32, between: &[Input], woken: bool, memory: u64) -> Result<(), String> {
    let mut requester = Requester::new(Policy::default());
    let mut served = Served::default();
    served.input(NOW, &open());
    requester.handle_input(NOW, open());
    let later = NOW + Duration::from_secs(1) * seconds;
    let mut told = Ok(());
    for now in [NOW, later] {
        told.expect("nobody has waited yet");
        if now == later {
            between.iter().for_each(|input| served.input(now, input));
        }
        served.input(now, &offer(memory));
        if woken {
            served.output(now, &Output::Wake { peer: PEER }).unwrap();
        }
        let why = Refusal::Waiting { under_way: 0 };
        served.output(now, &Output::Refuse { peer: PEER, why }).unwrap();
        told = served.settled(&requester);
    }
    told
}

#[test]
fn a_task_that_is_kept_for_too_long_is_noticed() {
    // A task takes a second.
    assert!(told_to_wait_for(1, &[], false, 100).is_ok());
    assert!(told_to_wait_for(2, &[], false, 100).is_err());
    assert!(
        told_to_wait_for(2, &[], true, 100).is_ok(),
        "somebody was just woken"
    );
    assert!(
        told_to_wait_for(2, &[], false, 99).is_ok(),
        "it has not the memory"
    );
    let failed = |segment| Input::Returned {
        peer: PEER,
        task: segment,
        why: Return::Failed {
            message: String::new(),
        },
    };
    assert!(told_to_wait_for(2, &[failed(segment(0))], false, 100).is_err());
    let both = [failed(segment(0)), failed(segment(1))];
    assert!(
        told_to_wait_for(2, &both, false, 100).is_ok(),
        "it has failed at all of them"
    );
}
