//! Jobs of one service whose engine children never answer: they wait for their turns, fail and are
//! cancelled, each alone.

use std::{path::Path, sync::mpsc};

use myriad_core::JobId;
use myriad_engine::{EngineFacts, FinalForm, Input, Loaded, MemoryBudget, worker::WorkerConfig};
use myriad_net::{Config, Identity, Limits as NetLimits, Listen, wire::Role};
use tokio::{runtime::Runtime, time::timeout};

use super::*;
use crate::{
    Event, Fleet, StoreError, job_id, open_blobs,
    records::{Jobs as Records, State},
};

/// Far more than any of this takes, on a machine that does other work too.
const PATIENCE: Duration = Duration::from_secs(60);

struct Bench {
    dir: tempfile::TempDir,
    runtime: Runtime,
    service: Option<Service>,
}

/// A job of a service, and what its user is told.
struct Submitted {
    id: JobId,
    handle: JobHandle,
    events: mpsc::Receiver<Event>,
}

impl Bench {
    fn new(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new().unwrap();
        let entered = runtime.enter();
        let (network, events) = Network::start(Config {
            identity: Identity::ephemeral(),
            role: Role::Requester,
            build: "test".into(),
            engines: vec![EngineFacts::pretended().id],
            listen: Listen::At(vec!["/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()]),
            external: Vec::new(),
            bootstrap: Vec::new(),
            mdns: false,
            blobs: open_blobs(dir.path(), u64::MAX).unwrap(),
            limits: NetLimits::default(),
        })
        .unwrap();
        let joined = Joined {
            network,
            events,
            own: std::collections::BTreeSet::new(),
            provers_expected: 1,
            threads_expected: 1,
            stop: Box::pin(std::future::pending()),
        };
        let service = Service::start(joined, dir.path(), limits, runtime.handle());
        drop(entered);
        Self {
            dir,
            runtime,
            service: Some(service),
        }
    }

    fn options(&self, priority: i32) -> Options {
        Options {
            data_dir: self.dir.path().to_owned(),
            out_dir: self.dir.path().join("out"),
            memory: MemoryBudget::from_bytes(1 << 30),
            children: 1,
            max_instructions: 1000,
            final_form: FinalForm::Small,
            deadline: None,
            priority,
            fleet: Fleet::Network { provers: 1 },
            keep_jobs: None,
            worker: WorkerConfig {
                engine: EngineFacts::pretended(),
                command: "/bin/sh".into(),
                args: vec!["-c".into(), "exec sleep 600".into()],
                keys: self.dir.path().join("keys"),
                threads: 1,
            },
        }
    }

    fn submit_by(
        &self,
        input: u8,
        priority: i32,
        observer: impl FnMut(&Event) + Send + 'static,
    ) -> Result<JobHandle, Refused> {
        let submission = self.submission(input, priority, observer);
        let service = self.service.as_ref().unwrap();
        service
            .submit(vec![submission])
            .map(|mut handles| handles.remove(0))
    }

    fn submission(
        &self,
        input: u8,
        priority: i32,
        observer: impl FnMut(&Event) + Send + 'static,
    ) -> Submission {
        let job = Job {
            name: format!("job-{input}"),
            image: vec![7],
            program_config: None,
            input: Input::from_bytes(vec![input]).unwrap(),
            loaded: loaded(input),
            verify: String::new(),
        };
        Submission {
            job: Arc::new(job),
            options: self.options(priority),
            observer: Box::new(observer),
        }
    }

    fn submit(&self, input: u8, priority: i32) -> Submitted {
        let (tell, events) = mpsc::channel();
        let told = move |event: &Event| drop(tell.send(event.clone()));
        Submitted {
            id: job_id(&loaded(input)),
            handle: self.submit_by(input, priority, told).unwrap(),
            events,
        }
    }

    fn outcome(&self, handle: JobHandle) -> Result<Outcome, RunError> {
        let ended = async { timeout(PATIENCE, handle.outcome()).await };
        self.runtime.block_on(ended).expect("it ends")
    }

    fn is_recorded(&self, handle: &mut JobHandle) -> bool {
        let recorded = async { timeout(PATIENCE, handle.recorded()).await };
        self.runtime.block_on(recorded).expect("it is known soon")
    }

    fn is_interrupted(&self, handle: JobHandle) {
        let outcome = self.outcome(handle);
        assert!(matches!(outcome, Err(RunError::Interrupted)), "{outcome:?}");
    }

    fn is_cancelled(&self, handle: JobHandle) {
        let outcome = self.outcome(handle);
        assert!(matches!(outcome, Err(RunError::Cancelled)), "{outcome:?}");
    }

    fn records(&self) -> Records {
        Records::of(self.dir.path())
    }
}

impl Submitted {
    fn is_queued(&self) {
        let event = self.events.recv_timeout(PATIENCE);
        assert!(matches!(event, Ok(Event::Queued)), "{event:?}");
    }

    /// Its turn has come.
    fn begins(&self) {
        let event = self.events.recv_timeout(PATIENCE);
        assert!(matches!(event, Ok(Event::Preparing)), "{event:?}");
    }
}

/// What an engine says of the one program with this input.
fn loaded(input: u8) -> Loaded {
    Loaded {
        input: [input; 32],
        ..Loaded::pretended()
    }
}

fn is_running(dir: &Path, id: JobId) -> bool {
    let jobs = Records::of(dir).list().unwrap();
    jobs.iter().any(|job| job.id == id && job.running)
}

#[test]
fn jobs_wait_for_their_turns_and_each_fails_and_is_cancelled_alone() {
    let mut bench = Bench::new(Limits::default());
    let mut first = bench.submit(1, 0);
    assert!(bench.is_recorded(&mut first.handle));
    assert_eq!(bench.records().record(first.id).unwrap().state, State::Open);
    first.begins();
    let second = bench.submit(2, 0);
    second.is_queued();
    let urgent = bench.submit(3, 1);
    urgent.is_queued();

    let mut busy = bench.submit(1, 9).handle;
    assert!(!bench.is_recorded(&mut busy), "another one has its journal");
    let outcome = bench.outcome(busy);
    assert!(
        matches!(outcome, Err(RunError::Store(StoreError::Busy { .. }))),
        "{outcome:?}"
    );
    let panics = |_: &Event| panic!("an observer's own fault");
    let given_up = bench.submit_by(5, 8, panics).unwrap();
    let outcome = bench.outcome(given_up);
    assert!(
        matches!(&outcome, Err(RunError::Panicked { reason }) if reason == "an observer's own fault"),
        "{outcome:?}"
    );

    first.handle.canceller().cancel();
    bench.is_cancelled(first.handle);
    urgent.begins();
    assert!(second.events.try_recv().is_err(), "it comes after the urgent one");
    // As `myriad jobs cancel` does it, in another process.
    bench.records().cancel(urgent.id, PATIENCE).unwrap();
    bench.is_cancelled(urgent.handle);
    assert_eq!(bench.records().record(urgent.id).unwrap().state, State::Cancelled);
    second.begins();
    assert!(is_running(bench.dir.path(), second.id));

    let service = bench.service.take().unwrap();
    let stopped = async { timeout(PATIENCE, service.stop()).await };
    bench.runtime.block_on(stopped).expect("it stops");
    bench.is_interrupted(second.handle);
    assert!(!is_running(bench.dir.path(), second.id));
    let record = bench.records().record(second.id).unwrap();
    assert_eq!(record.state, State::Open, "it can be resumed");
}

#[test]
fn jobs_that_wait_are_cancelled_and_more_than_there_is_room_for_are_refused() {
    let bench = Bench::new(Limits {
        jobs: 2,
        ..Limits::default()
    });
    let first = bench.submit(1, 0);
    first.begins();
    let second = bench.submit(2, 0);
    second.is_queued();
    let refused = bench.submit_by(3, 0, |_| {}).map(drop);
    assert_eq!(
        refused,
        Err(Refused {
            jobs: 2,
            more: 1,
            max: 2
        })
    );
    second.handle.canceller().cancel();
    bench.is_cancelled(second.handle);
    let third = bench.submit(3, 0);
    third.is_queued();
    first.handle.canceller().cancel();
    third.begins();
}

#[test]
fn a_service_tells_of_its_peers_until_it_ends() {
    let mut bench = Bench::new(Limits::default());
    let service = bench.service.take().unwrap();
    let overview = bench.runtime.block_on(service.overview()).unwrap();
    assert_eq!((overview.connected, overview.leases), (0, 0));
    assert!(overview.peers.is_empty());
    let mut by_itself = Box::pin(service.ended());
    let early = bench
        .runtime
        .block_on(async { timeout(Duration::from_millis(50), &mut by_itself).await });
    assert!(early.is_err(), "it has not ended");
    service.shared.network.close();
    let ended = async {
        while service.overview().await.is_some() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    bench
        .runtime
        .block_on(async { timeout(PATIENCE, ended).await })
        .expect("a service whose network has ended gives no answer");
    let why = bench
        .runtime
        .block_on(async { timeout(PATIENCE, by_itself).await })
        .expect("it says that it has ended");
    assert!(matches!(why, RunError::NetworkEnded), "{why}");
}

/// The more important one is submitted last, with the others, and all of them are loaded by threads
/// of their own.
#[test]
fn the_most_important_of_jobs_submitted_together_goes_first() {
    let bench = Bench::new(Limits::default());
    let (tell, told) = mpsc::channel();
    let submissions = (0..4).map(|input| {
        let tell = tell.clone();
        let observer = move |event: &Event| drop(tell.send((input, event.clone())));
        bench.submission(input, i32::from(input), observer)
    });
    let service = bench.service.as_ref().unwrap();
    let handles = service.submit(submissions.collect()).unwrap();
    let mut queued = std::collections::BTreeSet::new();
    let mut begun = None;
    while queued.len() < 3 || begun.is_none() {
        match told.recv_timeout(PATIENCE).unwrap() {
            (input, Event::Queued) => drop(queued.insert(input)),
            (input, Event::Preparing) => begun = Some(input),
            (_, event) => panic!("{event:?}"),
        }
    }
    assert_eq!(begun, Some(3));
    assert!(!queued.contains(&3), "it did not wait");
    drop(handles);
}
