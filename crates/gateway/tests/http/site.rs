//! A service that listens on this machine, with jobs whose engine children never answer.

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use myriad_api::{JobRequest, Kind, Problem};
use myriad_core::JobId;
use myriad_engine::{EngineFacts, FinalForm, Input, Loaded, MemoryBudget, worker::WorkerConfig};
use myriad_gateway::{
    Config, Gateway, Limits, Made, ServeError, Upload, Workshop,
    keys::{self, NewKey, Quota, Role},
};
use myriad_net::{Identity, Limits as NetLimits, Listen, Network, wire};
use myriad_node::{
    Fleet, Job, Options, job_id, open_blobs,
    requester::{self, Joined, Service},
};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::oneshot, task::JoinHandle, time::timeout};

use crate::client::{self, Answer, Events, FORM, PATIENCE, Part, form};

/// A running service.
pub struct Site {
    pub dir: Arc<TempDir>,
    pub address: SocketAddr,
    pub key: String,
    pub made: Arc<AtomicUsize>,
    /// Of the requests without a connection.
    pub router: axum::Router,
    pub board: myriad_gateway::board::Board,
    runtime: Option<Runtime>,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<Result<(), ServeError>>>,
    pub network: Network,
}

/// How a site is to be.
pub struct Plan {
    pub dir: Arc<TempDir>,
    pub config: Config,
    pub jobs: requester::Limits,
}

impl Plan {
    pub fn new() -> Self {
        Self::of(Arc::new(tempfile::tempdir().unwrap()))
    }

    /// A service with the data of an earlier one.
    pub fn of(dir: Arc<TempDir>) -> Self {
        let config = Config {
            data_dir: dir.path().to_owned(),
            build: "myriad 0.1.0".into(),
            peer: "the-peer".into(),
            jobs_max: requester::JOBS_MAX,
            listen: "127.0.0.1:0".parse().unwrap(),
            hosts: Vec::new(),
            origins: Vec::new(),
            tls: None,
            private: false,
            resume: false,
            limits: Limits {
                disk_reserve: 0,
                ..Limits::default()
            },
        };
        Self {
            dir,
            config,
            jobs: requester::Limits::default(),
        }
    }

    pub fn limits(mut self, limits: impl FnOnce(&mut Limits)) -> Self {
        limits(&mut self.config.limits);
        self
    }

    pub fn config(mut self, config: impl FnOnce(&mut Config)) -> Self {
        config(&mut self.config);
        self
    }

    pub fn start(self) -> Site {
        Site::start(self)
    }
}

/// The key of this name, which is made.
pub fn key(dir: &Path, name: &str, role: Role, quota: Quota) -> String {
    let new = NewKey {
        name: name.into(),
        role,
        quota,
    };
    keys::add(dir, &new).unwrap().0.as_str().to_owned()
}

impl Site {
    pub fn new() -> Self {
        Plan::new().start()
    }

    fn start(plan: Plan) -> Self {
        let Plan { dir, config, jobs } = plan;
        let keys = fs::read_dir(dir.path().join("gateway").join("keys")).map_or(0, Iterator::count);
        let name = format!("test-{keys}");
        let key = key(dir.path(), &name, Role::Submit, Quota::default());
        let runtime = Runtime::new().unwrap();
        let entered = runtime.enter();
        let (network, events) = Network::start(myriad_net::Config {
            identity: Identity::ephemeral(),
            role: wire::Role::Requester,
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
            network: network.clone(),
            events,
            own: BTreeSet::new(),
            provers_expected: 1,
            threads_expected: 1,
            stop: Box::pin(std::future::pending()),
        };
        let service = Service::start(joined, dir.path(), jobs, runtime.handle());
        drop(entered);
        let made = Arc::new(AtomicUsize::new(0));
        let workshop = Arc::new(TestWorkshop {
            dir: dir.path().to_owned(),
            made: Arc::clone(&made),
        });
        let gateway = runtime
            .block_on(Gateway::open(config, service, workshop))
            .unwrap();
        let (stop, stopped) = oneshot::channel();
        let (address, router, board) = (gateway.address(), gateway.router(), gateway.board());
        let running = runtime.spawn(gateway.run(async {
            let _ = stopped.await;
        }));
        Self {
            dir,
            address,
            key,
            made,
            router,
            board,
            runtime: Some(runtime),
            stop: Some(stop),
            running: Some(running),
            network,
        }
    }

    /// Asks it to stop.
    pub fn begin_stop(&mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
    }

    /// Stops it, and returns its data.
    pub fn stop(mut self) -> Arc<TempDir> {
        self.begin_stop();
        let running = self.running.take().unwrap();
        let runtime = self.runtime.take().unwrap();
        let stopped = runtime.block_on(async { timeout(PATIENCE, running).await });
        stopped.expect("it stops").unwrap().unwrap();
        Arc::clone(&self.dir)
    }

    /// Waits until it has ended by itself: why.
    pub fn ended(&mut self) -> ServeError {
        let running = self.running.take().unwrap();
        let ended = self.block_on(async { timeout(PATIENCE, running).await });
        ended
            .expect("it ends")
            .unwrap()
            .expect_err("nobody has stopped it")
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.as_ref().unwrap().block_on(future)
    }

    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.key)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[])
    }

    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        client::ask(self.address, method, path, headers, b"")
    }

    pub fn delete(&self, id: &str) -> Answer {
        let bearer = self.bearer();
        self.ask("DELETE", &format!("/v1/jobs/{id}"), &[("authorization", &bearer)])
    }

    /// Submits these parts, with further headers.
    pub fn submit_with(&self, parts: &[Part<'_>], headers: &[(&str, &str)]) -> Answer {
        let bearer = self.bearer();
        let mut all = vec![("authorization", bearer.as_str()), FORM];
        all.extend_from_slice(headers);
        client::ask(self.address, "POST", "/v1/jobs", &all, &form(parts))
    }

    /// Submits a program with this input.
    pub fn submit(&self, input: &str) -> Answer {
        self.submit_with(&[PROGRAM, ("input", input.as_bytes())], &[])
    }

    /// A new job with this input: its id.
    pub fn job(&self, input: &str) -> String {
        let job = self.submit(input).is(201);
        job["id"].as_str().unwrap().to_owned()
    }

    pub fn events(&self, path: &str, headers: &[(&str, &str)]) -> Events {
        Events::open(self.address, path, headers)
    }

    /// Waits until the job is in this state.
    pub fn wait_for(&self, id: &str, state: &str) {
        let path = format!("/v1/jobs/{id}");
        wait(|| self.get(&path).json()["state"] == state);
    }

    /// The uploads that there are.
    pub fn uploads(&self) -> usize {
        let dir = self.dir.path().join("gateway").join("uploads");
        fs::read_dir(dir).unwrap().count()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.begin_stop();
        if let (Some(running), Some(runtime)) = (self.running.take(), self.runtime.take()) {
            let _ = runtime.block_on(async { timeout(PATIENCE, running).await });
        }
    }
}

/// Waits until something is so.
#[track_caller]
pub fn wait(is_it: impl Fn() -> bool) {
    let begun = std::time::Instant::now();
    while !is_it() {
        assert!(begun.elapsed() < PATIENCE, "it does not become so");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A program's part.
pub const PROGRAM: Part<'static> = ("program; filename=\"fib.vmexe\"", b"run");

/// Makes jobs of uploads. What the program consists of says what happens.
struct TestWorkshop {
    dir: PathBuf,
    made: Arc<AtomicUsize>,
}

impl TestWorkshop {
    fn made(&self, name: &str, input: &[u8], request: &JobRequest) -> Made {
        let loaded = Loaded {
            input: *blake3::hash(input).as_bytes(),
            ..Loaded::pretended()
        };
        let kept = self.dir.join(format!("input-{}", job_id(&loaded)));
        fs::write(kept, input).unwrap();
        let job = Job {
            name: request.name.clone().unwrap_or_else(|| name.into()),
            image: vec![7],
            program_config: None,
            input: Input::from_bytes(input.to_vec()).unwrap(),
            loaded,
            verify: "--test".into(),
        };
        let options = Options {
            data_dir: self.dir.clone(),
            out_dir: self.dir.join("out"),
            memory: MemoryBudget::from_bytes(1 << 30),
            children: 1,
            max_instructions: 1000,
            final_form: FinalForm::Small,
            deadline: request.deadline_s.map(Duration::from_secs),
            priority: request.priority,
            fleet: Fleet::Network { provers: 1 },
            keep_jobs: None,
            worker: WorkerConfig {
                engine: EngineFacts::pretended(),
                command: "/bin/sh".into(),
                args: vec!["-c".into(), "exec sleep 600".into()],
                keys: self.dir.join("keys"),
                threads: 1,
            },
        };
        Made {
            job: Arc::new(job),
            options,
            block: None,
            expected_public_values: None,
        }
    }
}

impl Workshop for TestWorkshop {
    fn make(&self, upload: &Upload<'_>, request: &JobRequest) -> Result<Made, Problem> {
        self.made.fetch_add(1, Ordering::SeqCst);
        let (program, name, files) = match *upload {
            Upload::Program {
                program, name, input, ..
            } => (program, name, input),
            Upload::Blocks { files, name } => (files[0].as_path(), name, files),
        };
        match fs::read(program).unwrap().as_slice() {
            b"panic" => panic!("a fault of the workshop"),
            b"refuse" => return Err(Problem::new(Kind::Invalid, "the program is no program")),
            b"slow" => {
                // Until the test removes the file that says so.
                let waits = self.dir.join("wait");
                wait(|| !waits.exists());
            }
            _ => {}
        }
        let input: Vec<u8> = files.iter().flat_map(|file| fs::read(file).unwrap()).collect();
        Ok(self.made(name.unwrap_or("unnamed"), &input, request))
    }

    fn resume(&self, id: JobId) -> Result<Made, Problem> {
        let input = fs::read(self.dir.join(format!("input-{id}")))
            .map_err(|_| Problem::new(Kind::NotFound, "the input is gone"))?;
        Ok(self.made("resumed", &input, &JobRequest::default()))
    }

    fn engines(&self) -> Vec<String> {
        vec!["pretended".into()]
    }
}
