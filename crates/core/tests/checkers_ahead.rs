//! The checkers of leases ahead find the faults that they are there for, as those of `checkers.rs`.

use std::time::Duration;

use myriad_core::{
    Arities, Blob, Cost, Event, Input, JobId, JobSpec, NodeId, Offer, Output, Peer, Requester, Revocation,
    SPEED_ONE, TaskId, TaskRef, Time, Tree, Trust,
    invariants::{Ahead, Banned, Checker, Fitting},
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
fn a_lease_ahead_that_keeps_others_from_a_task_is_noticed() {
    let open = |done: &[TaskId]| match open() {
        Input::Open(mut spec) => {
            spec.done = done.iter().map(|&task| (task, PROOF)).collect();
            Input::Open(spec)
        }
        other => other,
    };
    let submitted = Input::Submitted {
        peer: PEER,
        task: segment(0),
        proof: PROOF,
    };
    let ahead = Output::LeaseAhead {
        peer: PEER,
        task: leaf(),
        until: NOW,
    };
    let revoked = Output::Revoke {
        peer: PEER,
        task: leaf(),
        why: Revocation::Free,
    };
    let verdict = |inputs: &[Input], outputs: &[&Output]| {
        let outputs: Vec<Output> = outputs.iter().copied().cloned().collect();
        last(Ahead::default(), inputs, &outputs)
    };
    let in_order = [open(&[TaskId::Segment(1)]), submitted.clone()];
    assert!(verdict(&in_order, &[&ahead]).is_ok());
    assert!(
        verdict(&[open(&[]), submitted], &[&ahead]).is_err(),
        "a segment is missing"
    );
    assert!(
        verdict(&[open(&[TaskId::Segment(1)])], &[&ahead]).is_err(),
        "it is another one's"
    );
    assert!(verdict(&in_order, &[&ahead, &ahead]).is_err());
    let lease = lease(leaf());
    assert!(
        verdict(&in_order, &[&ahead, &lease]).is_err(),
        "it was not revoked"
    );
    assert!(verdict(&in_order, &[&ahead, &revoked, &lease]).is_ok());
    let begun = Output::Begun {
        peer: PEER,
        task: leaf(),
        until: NOW,
    };
    assert!(verdict(&in_order, &[&begun]).is_err());
    let mut checker = Ahead::default();
    in_order.iter().for_each(|input| checker.input(NOW, input));
    checker.output(NOW, &ahead).unwrap();
    assert!(checker.settled(&Requester::default()).is_err(), "it is forgotten");

    // What is begun has to be possible.
    let begins = |done: &[TaskId]| {
        let mut checker = Fitting::default();
        checker.input(NOW, &open(done));
        checker.input(NOW, &offer(100));
        checker.output(NOW, &ahead).unwrap();
        checker.output(NOW, &begun)
    };
    assert!(begins(&[TaskId::Segment(0), TaskId::Segment(1)]).is_ok());
    assert!(begins(&[TaskId::Segment(1)]).is_err());
    let banned = Output::Event(Event::Banned {
        peer: PEER,
        task: segment(0),
        reason: String::new(),
    });
    assert!(last(Banned::default(), &[], &[banned, ahead]).is_err());
}
