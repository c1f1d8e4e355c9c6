//! Peers with a job's files, and peers that only say that they have them.

mod desk;

use std::time::Duration;

use desk::{Desk, JOB, offer, once, peer, spec};
use myriad_core::{Input, JobId, JobSpec, Output, Peer, Policy};

const NEXT: JobId = JobId([9; 32]);
const NEWCOMER: u32 = 9;

/// Peers 1 to 4 have delivered, are alike and wait, and so does a newcomer.
fn waiting() -> Desk {
    let policy = Policy {
        // The measured speeds do not matter here.
        look_ahead: false,
        ..once()
    };
    let mut desk = Desk::new(policy, spec(4));
    for number in 1..5 {
        let task = desk.ask(peer(number), offer(None)).unwrap();
        desk.deliver(peer(number), task);
    }
    while let Ok(task) = desk.ask(peer(1), offer(None)) {
        desk.deliver(peer(1), task);
    }
    assert!(desk.requester.progress(JOB).is_none(), "it is done");
    for number in [1, 2, 3, 4, NEWCOMER] {
        desk.ask(peer(number), offer(None)).unwrap_err();
    }
    desk
}

fn holds_files(desk: &mut Desk, number: u32) {
    desk.input(Input::FilesHeld {
        peer: peer(number),
        job: NEXT,
        spares: Duration::ZERO,
    });
}

fn woken(outputs: &[Output]) -> Vec<Peer> {
    let wakes = outputs.iter().filter_map(|output| match output {
        Output::Wake { peer } => Some(*peer),
        _ => None,
    });
    wakes.collect()
}

fn opens(desk: &mut Desk) -> Vec<Peer> {
    let next = JobSpec { id: NEXT, ..spec(1) };
    let outputs = desk.input(Input::Open(Box::new(next)));
    woken(&outputs)
}

#[test]
fn a_peer_with_the_files_is_woken_first() {
    for number in 1..5 {
        let mut desk = waiting();
        holds_files(&mut desk, number);
        assert_eq!(opens(&mut desk), [peer(number)]);
    }
}

#[test]
fn a_liar_without_a_proof_is_not_woken_first() {
    let usual = opens(&mut waiting());
    let mut desk = waiting();
    holds_files(&mut desk, NEWCOMER);
    assert_eq!(opens(&mut desk), usual);
}

/// It does not come, and another one is woken in its place.
#[test]
fn no_task_is_left_undone_for_want_of_a_peer_with_the_files() {
    let mut desk = waiting();
    holds_files(&mut desk, 3);
    assert_eq!(opens(&mut desk), [peer(3)]);
    let outputs = desk.pass(Duration::from_secs(3));
    let instead = woken(&outputs);
    assert!(!instead.is_empty() && !instead.contains(&peer(3)), "{instead:?}");
    assert!(desk.ask(instead[0], offer(None)).is_ok());
}

/// A peer that makes progress with a job has its files.
#[test]
fn those_that_work_at_a_job_are_woken_for_its_nodes() {
    let mut desk = waiting();
    let first = opens(&mut desk)[0];
    let task = desk.ask(first, offer(None)).unwrap();
    desk.input(Input::Renewed {
        peer: first,
        task,
        progress: 100,
    });
    for number in 1..5 {
        let _ = desk.ask(peer(number), offer(None));
    }
    desk.submit(first, task);
    desk.ask(first, offer(None)).unwrap_err();
    desk.checked(first, task, myriad_core::Verdict::Accepted);
    let proof = desk::claimed(first);
    let outputs = desk.input(Input::Persisted { task, proof });
    assert_eq!(woken(&outputs), [first]);
}
