//! Jobs whose final proof the caller makes.

mod desk;

use std::time::Duration;

use desk::{Desk, JOB, offer, once, peer, spec};
use myriad_core::{Blob, Event, Input, JobSpec, Output, Refusal, Stage, TaskId, TaskRef, TrialVerdict};

const FINAL: TaskRef = TaskRef {
    job: JOB,
    task: TaskId::Final,
};
const PROOF: Blob = Blob([9; 32]);

fn own_final() -> JobSpec {
    JobSpec {
        own_final: true,
        ..spec(1)
    }
}

/// One peer does everything below the final proof.
fn until_the_top(desk: &mut Desk) -> Vec<Output> {
    let mut outputs = Vec::new();
    for _ in 1..own_final().tree.task_count() {
        let task = desk.ask(peer(1), offer(None)).unwrap();
        assert_ne!(task, FINAL);
        outputs = desk.deliver(peer(1), task);
    }
    outputs
}

fn is_asked_for(outputs: &[Output]) -> bool {
    outputs.contains(&Output::Try { task: FINAL })
}

fn made() -> Input {
    Input::Tried {
        task: FINAL,
        outcome: TrialVerdict::Made {
            by: peer(99),
            proof: PROOF,
            took: Duration::from_millis(1),
        },
    }
}

#[test]
fn it_is_asked_for_when_the_top_is_there_and_no_peer_gets_it() {
    let mut desk = Desk::new(once(), own_final());
    assert!(is_asked_for(&until_the_top(&mut desk)));
    assert!(desk.requester.stages(JOB).contains(&(TaskId::Final, Stage::Own)));
    let refused = desk.ask(peer(1), offer(None));
    assert_eq!(refused, Err(Refusal::Waiting { under_way: 1 }));
    desk.input(made());
    let ended = desk.input(Input::Persisted {
        task: FINAL,
        proof: PROOF,
    });
    assert!(ended.contains(&Output::Event(Event::JobDone { job: JOB })));
}

#[test]
fn a_caller_that_was_not_able_is_asked_again_later() {
    let mut desk = Desk::new(once(), own_final());
    until_the_top(&mut desk);
    let outcome = TrialVerdict::Unable;
    let at_once = desk.input(Input::Tried { task: FINAL, outcome });
    assert!(!is_asked_for(&at_once));
    assert!(is_asked_for(&desk.pass(Duration::from_secs(600))));
    assert!(desk.ask(peer(2), offer(None)).is_err());
}

#[test]
fn the_job_of_an_earlier_run_that_has_all_but_it_asks_for_it_at_once() {
    let mut done: Vec<_> = own_final().tree.tasks().map(|task| (task, PROOF)).collect();
    done.pop();
    let job = JobSpec {
        done,
        // A peer had it, when a peer was to make it.
        leased: vec![(TaskId::Final, peer(1))],
        ..own_final()
    };
    let mut desk = Desk::new(once(), spec(1));
    desk.input(Input::Cancel { job: JOB });
    assert!(is_asked_for(&desk.input(Input::Open(Box::new(job)))));
    assert!(desk.requester.leases(JOB).is_empty());
}
