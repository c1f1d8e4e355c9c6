//! Several jobs of one requester, over one network.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Instant};

use myriad_core::{JobId, TaskRef};
use myriad_net::{Event as NetEvent, wire::Why};
use myriad_node::requester::Growth;
use tokio::{
    join,
    sync::{mpsc::UnboundedReceiver, watch},
};

use super::*;
use crate::{
    holding::until,
    testbed::{AJob, Entered, Grows, driver, files},
};

/// What each of two jobs has come to, with what its user was told and when.
struct Ended {
    result: Result<(), RunError>,
    seen: Vec<(Instant, Event)>,
    accepted: BTreeMap<TaskId, usize>,
}

impl Ended {
    fn is_done(&self, segments: u32) {
        self.result.as_ref().unwrap();
        let tasks = tree(segments).task_count();
        assert_eq!(self.accepted.len(), tasks);
        assert!(self.accepted.values().all(|&times| times == 1));
    }

    /// When tasks of this kind were given out.
    fn started(&self, of: impl Fn(TaskId) -> bool) -> Vec<Instant> {
        let started = self.seen.iter().filter_map(|(at, event)| match event {
            Event::Started { task, .. } if of(*task) => Some(*at),
            _ => None,
        });
        started.collect()
    }

    fn done(&self, wanted: TaskId) -> Instant {
        let done = self
            .seen
            .iter()
            .find(|(_, event)| matches!(event, Event::Done { task, .. } if *task == wanted));
        done.expect("it is done").0
    }

    fn is_told(&self, of: &str) -> bool {
        let told = |event: &Event| matches!(event, Event::Notice { text } if text.contains(of));
        self.seen.iter().any(|(_, event)| told(event))
    }
}

fn is_segment(task: TaskId) -> bool {
    matches!(task, TaskId::Segment(_))
}

/// Has one requester do two jobs; the second one is submitted when `second_when` completes.
/// `meanwhile` gets what takes jobs away.
async fn two<T>(
    (network, events): (Network, UnboundedReceiver<NetEvent>),
    requests: [Request; 2],
    second_when: impl Future<Output = ()>,
    meanwhile: impl AsyncFnOnce(&[Entered; 2]) -> T,
) -> ([Ended; 2], T) {
    let (driver, jobs) = driver(&network, events, &requests[0]);
    let [mut first, mut second] = requests.map(|request| AJob::new(&network, request));
    let entered = [first.entered(), second.entered()];
    let ends = async {
        let both = async {
            let later = async {
                second_when.await;
                second.run(&jobs).await
            };
            join!(first.run(&jobs), later)
        };
        let ((one, other), found) = join!(both, meanwhile(&entered));
        drop(jobs);
        (one, other, found)
    };
    let both = async { join!(ends, driver.run(std::future::pending())) };
    let ((one, other, found), end) = timeout(PATIENCE, both).await.unwrap();
    end.unwrap();
    let ended = |job: &AJob, result| Ended {
        result,
        seen: job.seen(),
        accepted: job.accepted(),
    };
    ([ended(&first, one), ended(&second, other)], found)
}

async fn at_once() {}

async fn nothing(_: &[Entered; 2]) {}

fn withdraw(entered: &Entered) {
    entered.get().expect("the driver knows it").withdraw();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_jobs_segments_are_given_out_while_the_first_is_in_its_tree() {
    const SEGMENTS: u32 = 8;
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    let provers: Vec<Prover> = (0..3).map(|_| Prover::start(&at, honest())).collect();
    let requests = [ask_once(0xa0, SEGMENTS), ask_once(0xa1, SEGMENTS)];
    let ([first, second], ()) = two((network, events), requests, at_once(), nothing).await;
    first.is_done(SEGMENTS);
    second.is_done(SEGMENTS);
    let in_tree = first.done(TaskId::Final);
    let began = second.started(is_segment);
    assert!(
        began.iter().filter(|at| **at < in_tree).count() >= 2,
        "it did not wait"
    );
    // The first one is the older one, and gets what it can use.
    let last = first.started(is_segment).into_iter().max().unwrap();
    assert!(began.iter().all(|at| *at >= last), "its segments went first");
    drop(provers);
}

/// Which of two jobs of one requester is done first, where the second one is submitted when the
/// first has begun.
async fn done_first(first: Request, second: Request) -> usize {
    let segments = [first.segments, second.segments];
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    let prover = Prover::start(&at, honest());
    let begun = until("the first one has begun", || prover.begun() > 1);
    let (ended, ()) = two((network, events), [first, second], begun, nothing).await;
    ended
        .iter()
        .zip(segments)
        .for_each(|(job, segments)| job.is_done(segments));
    let [one, other] = ended.map(|job| job.done(TaskId::Final));
    usize::from(other < one)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_higher_priority_overtakes_and_one_of_the_same_does_not() {
    let of_priority = |seed, segments, priority| Request {
        priority,
        ..ask_once(seed, segments)
    };
    assert_eq!(
        done_first(of_priority(0xa2, 24, 0), of_priority(0xa3, 8, 1)).await,
        1
    );
    assert_eq!(
        done_first(of_priority(0xa2, 12, 0), of_priority(0xa3, 8, 0)).await,
        0
    );
    assert_eq!(
        done_first(of_priority(0xa2, 12, 0), of_priority(0xa3, 8, -1)).await,
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_job_due_first_goes_first_among_jobs_of_one_priority() {
    let due = |seed, segments, seconds: Option<u64>| Request {
        due: seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds)),
        ..ask_once(seed, segments)
    };
    assert_eq!(done_first(due(0xa4, 24, None), due(0xa5, 8, Some(100))).await, 1);
    assert_eq!(
        done_first(due(0xa4, 24, Some(200)), due(0xa5, 8, Some(100))).await,
        1
    );
    assert_eq!(
        done_first(due(0xa4, 12, Some(100)), due(0xa5, 8, Some(200))).await,
        0
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_job_is_cancelled_and_the_other_one_gets_done() {
    const SEGMENTS: u32 = 12;
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    let requester = network.peer();
    let prover = Prover::start(&at, Pretender::new(TASK * 4, Fault::None));
    let requests = [ask_once(0xa6, SEGMENTS), ask_once(0xa7, SEGMENTS)];
    let job = JobId([0xa6; 32]);
    let cancels = async |[first, _]: &[Entered; 2]| {
        until("it works at the first job", || prover.begun() > 1).await;
        withdraw(first);
        until("its task is revoked", || prover.was_stopped()).await;
        // A peer that still speaks of that job hears that it is gone.
        let task = TaskRef {
            job,
            task: TaskId::Segment(0),
        };
        let questions = [
            WireRequest::Renew { task, progress: 1 },
            WireRequest::Submit {
                task,
                proof: BlobRef::of(b"a proof"),
                spent: Spent::default(),
            },
            WireRequest::Prepare {
                job,
                holds: Vec::new(),
            },
        ];
        for question in questions {
            let answer = prover.network.ask(requester, question).await.unwrap();
            assert!(
                matches!(&answer, Response::Refused(refused) if refused.why == Why::NotLeased),
                "{answer:?}"
            );
        }
    };
    let ([first, second], ()) = two((network, events), requests, at_once(), cancels).await;
    assert!(
        matches!(first.result, Err(RunError::Interrupted)),
        "{:?}",
        first.result
    );
    second.is_done(SEGMENTS);
    drop(prover);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_job_fails_and_the_other_one_gets_done() {
    const SEGMENTS: u32 = 8;
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    // A task that fails on the requester's own machines fails because of the job.
    let fails = || Prover::start(&at, Pretender::new(TASK, Fault::FailsAt(0xa8)));
    let provers = [(); 3].map(|()| fails());
    let own = provers.iter().map(Prover::peer).collect();
    let [first, second] = [ask_once(0xa8, 1), ask_once(0xa9, SEGMENTS)];
    let requests = [Request { own, ..first }, second];
    let ([first, second], ()) = two((network, events), requests, at_once(), nothing).await;
    assert!(
        matches!(first.result, Err(RunError::Task { .. })),
        "{:?}",
        first.result
    );
    second.is_done(SEGMENTS);
    drop(provers);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_job_has_no_plan_and_the_other_one_gets_done() {
    const SEGMENTS: u32 = 8;
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    let prover = Prover::start(&at, honest());
    let (grow, growth) = tokio::sync::mpsc::unbounded_channel();
    let (_knows, truth) = watch::channel(4);
    let growing = Request {
        growth: Some(Grows {
            first: 4,
            growth,
            truth,
        }),
        ..ask_once(0xaa, SEGMENTS)
    };
    let fails = async |_: &[Entered; 2]| {
        until("its first segments are given out", || prover.begun() > 0).await;
        let reason = "the program fails".to_owned();
        grow.send(Growth::Failed(RunError::Truth { reason })).unwrap();
    };
    let requests = [growing, ask_once(0xab, SEGMENTS)];
    let ([first, second], ()) = two((network, events), requests, at_once(), fails).await;
    assert!(
        matches!(&first.result, Err(RunError::Truth { reason }) if reason == "the program fails"),
        "{:?}",
        first.result
    );
    second.is_done(SEGMENTS);
    drop(prover);
}

/// As `kill -9` and the same commands again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_requester_that_dies_with_two_jobs_in_work_loses_neither_proofs_nor_provers() {
    const SEGMENTS: u32 = 6;
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (bootstrap, _events) = start(dirs[0].path(), Role::Bootstrap, &[]);
    let at = vec![address(&bootstrap).await];
    let task = Duration::from_secs(2);
    let provers: Vec<Prover> = (0..4)
        .map(|_| Prover::start(&at, Pretender::new(task, Fault::None)))
        .collect();
    let provers_there = provers.len();
    let seeds = [0xac, 0xad];
    let (journals, kept) = (
        [Journal::default(), Journal::default()],
        [Kept::default(), Kept::default()],
    );
    let wanted = |index: usize| Request {
        task,
        leases: Arc::clone(&journals[index]),
        kept: Arc::clone(&kept[index]),
        ..ask_once(seeds[index], SEGMENTS)
    };
    {
        let (network, events) = start(dirs[1].path(), Role::Requester, &at);
        address(&network).await;
        let in_work = until("both are in work, and the first has accepted proofs", || {
            let at_both = journals.iter().all(|journal| !journal.lock().unwrap().is_empty());
            at_both && kept[0].lock().unwrap().len() >= 2
        });
        let both = two(
            (network.clone(), events),
            [wanted(0), wanted(1)],
            at_once(),
            nothing,
        );
        tokio::select! {
            _ = both => panic!("they are done already"),
            () = in_work => {}
        }
        network.close();
    }
    let before: Vec<_> = kept.iter().map(|kept| kept.lock().unwrap().clone()).collect();
    assert!(!before[0].is_empty());
    let (network, events) = start(dirs[1].path(), Role::Requester, &at);
    address(&network).await;
    let again = network.clone();
    // The second job waits for its turn for longer than its tasks take.
    let waits = async move {
        until("the provers find it again", || {
            again.peers().len() > provers_there
        })
        .await;
        sleep(2 * task).await;
        true
    };
    let second = Request {
        execution: Some(Box::pin(waits)),
        ..wanted(1)
    };
    let (ended, ()) = two((network, events), [wanted(0), second], at_once(), nothing).await;
    let tasks = tree(SEGMENTS).task_count();
    for (job, before) in ended.iter().zip(&before) {
        job.result.as_ref().unwrap();
        assert_eq!(job.accepted.len() + before.len(), tasks, "the rest");
        assert!(before.keys().all(|task| !job.accepted.contains_key(task)));
    }
    let begun: usize = provers.iter().map(Prover::begun).sum();
    assert_eq!(begun, 2 * tasks, "no task was begun twice");
    assert!(journals.iter().all(|journal| journal.lock().unwrap().is_empty()));
    drop(provers);
}

/// Gets a task of a job, and says that its proof is `proof`.
async fn claims(network: &Network, requester: Peer, job: JobId, proof: BlobRef) {
    let lease = leased(network, requester).await;
    assert_eq!(lease.task.job, job);
    submit(network, requester, lease.task, proof).await;
}

/// A liar hands in the proof of another job's task, before that job's own prover does. It is no
/// proof of its task, and stays on the disk all the same: the other job has accepted it meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_of_another_job_is_refused_and_not_taken_from_that_one() {
    let [first, second] = [JobId([0xae; 32]), JobId([0xaf; 32])];
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let (network, events, at) = requester(&dirs[0]).await;
    let requester = network.peer();
    let (liar, _liars) = start(dirs[1].path(), Role::Prover, &at);
    let (honest, _honests) = start(dirs[2].path(), Role::Prover, &at);
    let of_second = segment_proof(&[second.0.as_slice(), &[0; 4]].concat());
    let proof = BlobRef::of(&of_second);
    liar.blobs().put(&of_second).unwrap();
    honest.blobs().put(&of_second).unwrap();
    let (grow, growth) = tokio::sync::mpsc::unbounded_channel();
    let (knows, truth) = watch::channel(0);
    let growing = Request {
        growth: Some(Grows {
            first: 1,
            growth,
            truth,
        }),
        ..ask_once(0xae, 1)
    };
    let kept = Kept::default();
    let other = Request {
        kept: Arc::clone(&kept),
        ..ask_once(0xaf, 1)
    };
    let disk = network.clone();
    let (lied, has_lied) = tokio::sync::oneshot::channel();
    let meanwhile = async |entered: &[Entered; 2]| {
        claims(&liar, requester, first, proof).await;
        until("it is fetched for the first job", || {
            disk.blobs().contains(&proof.blob)
        })
        .await;
        lied.send(()).unwrap();
        claims(&honest, requester, second, proof).await;
        until("the second job accepts it", || !kept.lock().unwrap().is_empty()).await;
        // Now it is known what is true of the first job.
        knows.send(1).unwrap();
        sleep(Duration::from_secs(1)).await;
        let is_there = disk.blobs().contains(&proof.blob);
        entered.iter().for_each(withdraw);
        drop(grow);
        is_there
    };
    let second_when = async { has_lied.await.unwrap() };
    let ([first, second], is_there) = two((network, events), [growing, other], second_when, meanwhile).await;
    assert!(
        first.is_told("is banned") && !second.is_told("is banned"),
        "{:?}",
        first.seen
    );
    assert!(first.accepted.is_empty());
    assert!(is_there, "the second job needs it");
}

/// A job is announced and its files are spread while another one is being served, and both have the
/// same program. What they share is there until both are over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_is_heralded_while_another_one_with_the_same_files_is_served() {
    const SEGMENTS: u32 = 4;
    let dir = tempfile::tempdir().unwrap();
    let (network, events, at) = requester(&dir).await;
    let prover = Prover::start(&at, honest());
    let kept = Kept::default();
    let first = Request {
        kept: Arc::clone(&kept),
        ..ask_once(0xb0, SEGMENTS)
    };
    let execution = async move {
        until("the first job is done", || {
            kept.lock().unwrap().contains_key(&TaskId::Final)
        })
        .await;
        // A machine that comes now has none of the files.
        let comes = Prover::start(&at, honest());
        let (program, input) = files(0xb0);
        until("it has the files", || {
            [&program, &input]
                .iter()
                .all(|file| comes.network.blobs().contains(&BlobRef::of(file).blob))
        })
        .await;
        comes.stop().await;
        true
    };
    let second = Request {
        execution: Some(Box::pin(execution)),
        files_of: Some(0xb0),
        ..ask_once(0xb1, SEGMENTS)
    };
    let requests = [first, second];
    let ([first, second], ()) = two((network, events), requests, at_once(), nothing).await;
    first.is_done(SEGMENTS);
    second.is_done(SEGMENTS);
    drop(prover);
}
