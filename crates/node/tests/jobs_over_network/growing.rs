//! Jobs whose plan is still being made when their first segments are given out.

use std::{collections::BTreeMap, sync::Arc};

use myriad_core::{JobId, NodeId, Tree};
use myriad_node::requester::Growth;
use tokio::sync::{mpsc, watch};

use super::{
    holding::until,
    testbed::{ARITIES, Grows, costs, node_proof},
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
            kept: done.iter().map(|&(task, _)| task).collect(),
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
        self.settle_with(SEGMENTS, Vec::new());
    }

    fn settle_with(&self, segments: u32, done: Vec<(TaskId, BlobRef)>) {
        let tree = tree(segments);
        let settled = Growth::Settled {
            costs: costs(tree.task_count() - self.known as usize, TASK),
            done,
            instructions: u64::from(segments) * 1000,
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
        arities: ARITIES,
        provers: 1,
        reused: 0,
        kept: Vec::new(),
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
        // It has delivered, and nobody knows what is true.
        begins(&prover, 1).await;
        let reason = "it runs too long".into();
        let failed = Growth::Failed(RunError::Truth { reason });
        planner.growth.send(failed).unwrap();
        sleep(TASK * 3).await;
        assert!(!job.is_finished(), "it hears what comes of its proof");
        planner.truth.send_replace(1);
        timeout(PATIENCE, job).await.unwrap().unwrap()
    });
    let outcome = job.await;
    let error = outcome.result.unwrap_err().to_string();
    assert!(error.contains("it runs too long"), "{error}");
    let is_done = |event: &Event| matches!(event, Event::Done { .. });
    assert_eq!(outcome.events.iter().filter(|event| is_done(event)).count(), 1);
    assert_eq!(prover.begun(), 1, "nothing was given out any more");
    let delivered = async {
        while prover.status.lock().unwrap().accepted == 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, delivered).await.expect("it was told");
}

/// Nobody knows yet what is true of any segment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_proof_at_all_keeps_nobody_waiting_for_the_truth() {
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    let liar = Prover::start(&at, Pretender::new(TASK, Fault::WrongProof));
    let (planner, grows) = planner(1);
    let asked = Request {
        growth: Some(grows),
        ..ask_once(65, 1)
    };
    let local = tokio::task::LocalSet::new();
    let job = local.run_until(async {
        let job = tokio::task::spawn_local(request(network, events, asked));
        begins(&liar, 1).await;
        let prover = Prover::start(&at, honest());
        begins(&prover, 1).await;
        planner.truth.send_replace(1);
        planner.settle_with(1, Vec::new());
        timeout(PATIENCE, job).await.unwrap().unwrap()
    });
    let outcome = job.await;
    all_accepted_once(&outcome, 1);
}

/// As `kill -9` while the plan is being made, and the same command again: segments are cut again
/// one by one, and those that are at later ones, or have done them, wait for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holders_of_segments_that_are_not_cut_again_yet_go_on_and_deliver() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (bootstrap, _events) = start(dirs[0].path(), Role::Bootstrap, &[]);
    let at = vec![address(&bootstrap).await];
    let delay = Duration::from_secs(3);
    let provers: Arc<[Prover; 2]> = Arc::new(std::array::from_fn(|_| {
        Prover::start(&at, Pretender::new(delay, Fault::None))
    }));
    let journal = Journal::default();
    let asked = |grows| Request {
        leases: journal.clone(),
        growth: Some(grows),
        ..ask_once(64, 2)
    };

    let (_first, grows) = planner(2);
    is_interrupted(dirs[1].path(), &at, asked(grows)).await;

    let (network, events) = start(dirs[1].path(), Role::Requester, &at);
    address(&network).await;
    let (mut again, grows) = planner(1);
    again.truth.send_replace(2);
    let seen = Arc::clone(&provers);
    let execution = async move {
        let is_idle =
            |prover: &Prover| matches!(prover.status.lock().unwrap().activity, Activity::Idle { .. });
        until("both have done their segments", || seen.iter().all(is_idle)).await;
        // Long enough to be told something.
        sleep(delay).await;
        true
    };
    let asked = Request {
        execution: Some(Box::pin(execution)),
        ..asked(grows)
    };
    let local = tokio::task::LocalSet::new();
    let job = local.run_until(async {
        let job = tokio::task::spawn_local(request(network, events, asked));
        until("the first segment is done again", || {
            journal.lock().unwrap().len() == 1
        })
        .await;
        sleep(delay * 2).await;
        assert_eq!(journal.lock().unwrap().len(), 1, "the other one is waited for");
        again.cut(1, Vec::new());
        again.settle_with(2, Vec::new());
        timeout(PATIENCE, job).await.unwrap().unwrap()
    });
    let outcome = job.await;
    all_accepted_once(&outcome, 2);
    let begun: usize = provers.iter().map(Prover::begun).sum();
    assert_eq!(begun, tree(2).task_count(), "no task was begun twice");
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
    let leaf = |index: u32| {
        let task = TaskId::Node(NodeId { level: 1, index });
        let children = tree(SEGMENTS).covered(task).map(|index| proof(index).1);
        (task, node_proof(1, &children.collect::<Vec<_>>()))
    };
    // These are on its disk.
    let put = |(task, proof): (TaskId, Vec<u8>)| (task, network.blobs().put(&proof).unwrap());
    let left: BTreeMap<TaskId, BlobRef> = (1..4).map(proof).map(put).collect();
    // The first leaf is over a segment that is proven now.
    assert_eq!(tree(SEGMENTS).covered(leaf(1).0), 3..=5);
    let further = [proof(4), proof(5), leaf(0), leaf(1)].map(put);
    let (mut planner, grows) = planner(1);
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
        // Nobody knows yet whether the proof of the first segment is right.
        planner.settle_with(SEGMENTS, further.to_vec());
        sleep(TASK).await;
        planner.truth.send_replace(SEGMENTS);
        timeout(PATIENCE, job).await.unwrap().unwrap()
    });
    let outcome = job.await;
    outcome.result.as_ref().unwrap();
    assert!(left.keys().all(|task| !outcome.accepted.contains_key(task)));
    for (task, _) in further {
        assert_eq!(outcome.accepted.contains_key(&task), task == leaf(0).0);
    }
    assert_eq!(prover.begun(), tree(SEGMENTS).task_count() - left.len() - 3);
}

/// From then on, the files come with leases.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holders_of_the_files_are_named_without_a_task_until_the_plan_is_there() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (network, events, at) = requester(&dirs[0]).await;
    let (prover, _events) = start(dirs[1].path(), Role::Prover, &at);
    let requester = network.peer();
    let prepare = || {
        let (job, holds) = (JobId([66; 32]), Vec::new());
        prover.ask(requester, WireRequest::Prepare { job, holds })
    };
    let (planner, grows) = planner(1);
    let asked = Request {
        growth: Some(grows),
        ..ask(66, SEGMENTS)
    };
    let answers = async {
        // Before they have met, and before the job is there, it is refused for another reason.
        while !matches!(prepare().await, Ok(Response::Files(_))) {
            sleep(Duration::from_millis(50)).await;
        }
        planner.settle();
        let later = Some(60_000);
        while !matches!(prepare().await, Ok(Response::Refused(refused)) if refused.retry_ms == later) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        _ = request(network, events, asked) => panic!("nobody has done anything"),
        answered = timeout(PATIENCE, answers) => answered.unwrap(),
    }
}
