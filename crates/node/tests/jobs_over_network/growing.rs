//! Jobs whose plan is still being made when their first segments are given out.

use std::collections::BTreeMap;

use myriad_core::{JobId, Tree};
use myriad_node::requester::Growth;
use tokio::sync::{mpsc, watch};

use super::{
    testbed::{Grows, costs},
    *,
};

const SEGMENTS: u32 = 6;

/// The other end of a plan that comes piece by piece.
struct Planner {
    growth: mpsc::UnboundedSender<Growth>,
    truth: watch::Sender<u32>,
    known: u32,
}

fn planner(first: u32) -> (Planner, Grows) {
    let (growth, comes) = mpsc::unbounded_channel();
    let (truth, known) = watch::channel(0);
    let grows = Grows {
        first,
        growth: comes,
        truth: known,
    };
    let planner = Planner {
        growth,
        truth,
        known: first,
    };
    (planner, grows)
}

impl Planner {
    fn cut(&mut self, more: u32, done: Vec<(TaskId, BlobRef)>) {
        self.known += more;
        let event = Event::Cut {
            segments: self.known as usize,
            provers: 1,
            reused: done.len(),
        };
        let cut = Growth::Cut {
            costs: costs(more as usize, TASK),
            done,
            instructions: u64::from(self.known) * 1000,
            event,
        };
        self.growth.send(cut).unwrap();
    }

    fn settle(&self) {
        let tree = tree(SEGMENTS);
        let settled = Growth::Settled {
            costs: costs(tree.task_count() - self.known as usize, TASK),
            done: Vec::new(),
            instructions: u64::from(SEGMENTS) * 1000,
            event: planned(&tree),
            tree,
        };
        self.growth.send(settled).unwrap();
    }
}

fn planned(tree: &Tree) -> Event {
    Event::Planned {
        instructions: u64::from(tree.segments()) * 1000,
        segments: tree.segments() as usize,
        nodes: tree.node_count(),
        provers: 1,
        reused: 0,
        public_values: Vec::new(),
    }
}

/// Waits until a prover has begun so many tasks, and makes sure that it begins no more.
async fn begins(prover: &Prover, tasks: usize) {
    let begun = async {
        while prover.begun() < tasks {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, begun).await.unwrap();
    sleep(TASK * 3).await;
    assert_eq!(prover.begun(), tasks);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_are_proven_while_the_plan_is_being_made() {
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    let prover = Prover::start(&at, honest());
    let (mut planner, grows) = planner(1);
    let asked = Request {
        growth: Some(grows),
        ..ask_once(61, SEGMENTS)
    };
    let local = tokio::task::LocalSet::new();
    let job = local.run_until(async {
        let job = tokio::task::spawn_local(request(network, events, asked));
        begins(&prover, 1).await;
        // Nobody knows yet what is true of it: it is not accepted, and the prover may go on. It has
        // delivered nothing, and so has one task at a time.
        planner.cut(2, Vec::new());
        sleep(TASK * 3).await;
        assert_eq!(prover.begun(), 1);
        planner.truth.send_replace(SEGMENTS);
        begins(&prover, 3).await;
        planner.settle();
        timeout(PATIENCE, job).await.unwrap().unwrap()
    });
    let outcome = job.await;
    all_accepted_once(&outcome, SEGMENTS);
    assert_eq!(prover.begun(), tree(SEGMENTS).task_count(), "nothing twice");
    let place = |is: fn(&Event) -> bool| outcome.events.iter().position(is).unwrap();
    let settled = place(|event| matches!(event, Event::Planned { .. }));
    assert!(place(|event| matches!(event, Event::Done { .. })) < settled);
    assert!(
        place(|event| matches!(
            event,
            Event::Started {
                task: TaskId::Node(_),
                ..
            }
        )) > settled
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_cannot_be_made_ends_the_job_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    let prover = Prover::start(&at, honest());
    let (planner, grows) = planner(2);
    let asked = Request {
        growth: Some(grows),
        ..ask(62, SEGMENTS)
    };
    let local = tokio::task::LocalSet::new();
    let job = local.run_until(async {
        let job = tokio::task::spawn_local(request(network, events, asked));
        begins(&prover, 1).await;
        let reason = "it runs too long".into();
        let failed = Growth::Failed(RunError::Truth { reason });
        planner.growth.send(failed).unwrap();
        timeout(PATIENCE, job).await.unwrap().unwrap()
    });
    let outcome = job.await;
    let error = outcome.result.unwrap_err().to_string();
    assert!(error.contains("it runs too long"), "{error}");
}

/// A requester that dies while its plan is being made finds what it had accepted, when the same
/// segments are cut again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proofs_that_an_earlier_run_accepted_before_its_plan_was_there_are_not_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    let prover = Prover::start(&at, honest());
    let proof = |index: u32| {
        let description = [JobId([63; 32]).0.as_slice(), &index.to_le_bytes()].concat();
        (TaskId::Segment(index), segment_proof(&description))
    };
    // These are on its disk.
    let left: BTreeMap<TaskId, BlobRef> = (1..4)
        .map(proof)
        .map(|(task, proof)| (task, network.blobs().put(&proof).unwrap()))
        .collect();
    let (mut planner, grows) = planner(1);
    planner.truth.send_replace(SEGMENTS);
    let asked = Request {
        growth: Some(grows),
        ..ask_once(63, SEGMENTS)
    };
    let local = tokio::task::LocalSet::new();
    let job = local.run_until(async {
        let job = tokio::task::spawn_local(request(network, events, asked));
        begins(&prover, 1).await;
        planner.cut(3, left.clone().into_iter().collect());
        begins(&prover, 1).await;
        planner.settle();
        timeout(PATIENCE, job).await.unwrap().unwrap()
    });
    let outcome = job.await;
    outcome.result.as_ref().unwrap();
    assert!(left.keys().all(|task| !outcome.accepted.contains_key(task)));
    assert_eq!(prover.begun(), tree(SEGMENTS).task_count() - left.len());
}
