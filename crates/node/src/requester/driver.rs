//! The loop that does what the state machine says, with the peers of the network.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use myriad_core::{
    Blob, Event as CoreEvent, Input, JobSpec, Kind, Offer, Output, Peer, Policy, Requester, Return, TaskId,
    TaskRef, Time, Trust, Verdict,
};
use myriad_engine::worker::Usage;
use myriad_net::{
    AskError, Event as NetEvent, Network, Reply,
    blob::BlobRef,
    short_name,
    wire::{
        Announcement, Hello, Lease, Notice, OfferMessage, PROTOCOL_VERSION, Request, Response, Returned,
        Role, Source, Sources, Spent, Why, Work, cut,
    },
};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    Files, Joined,
    answers::{refusal, refused},
    check::{Checked, look_at},
    holders::Holders,
    traffic,
};
use crate::{Event, Observer, RunError, StoreError, engine_fingerprint};

/// How long a peer whose connection broke may take to come back before its tasks go to others.
const LOST_PATIENCE: Duration = Duration::from_secs(10);
/// How often the observer hears what the network does.
const TICK: Duration = Duration::from_millis(500);
/// Proofs that are fetched at once. Each is in memory for a moment, with at most some megabytes.
const FETCHED_AT_ONCE: usize = 16;
/// Notices that are on their way at once; what is more waits.
const NOTICES_AT_ONCE: usize = 256;
/// Holders that a lease names for each blob, beside this node.
const HOLDERS_NAMED: usize = 3;

/// What a job is to the driver: what its tasks are, whether a proof is one, and where accepted ones go.
pub trait Backend: Send + Sync + 'static {
    /// What is known of a proof that was accepted.
    type Said: Send + 'static;

    /// Waits until proofs can be examined.
    fn ready(&self) -> impl Future<Output = Result<(), RunError>> + Send;

    /// The description of a segment, as the engine of a prover takes it.
    fn segment(&self, index: u32) -> Vec<u8>;

    /// Whether `proof` is the proof of this very task. Blocks.
    ///
    /// # Errors
    /// What is wrong with it.
    fn examine(&self, task: TaskId, proof: &[u8]) -> Result<Self::Said, String>;

    /// Makes durable that a proof, which is among the blobs, is accepted. Blocks.
    ///
    /// # Errors
    /// Where the disk does not serve.
    fn persist(&self, task: TaskId, proof: BlobRef, said: Self::Said) -> Result<(), StoreError>;
}

/// What is left when the final proof is durable.
pub struct Ended<B> {
    pub backend: B,
    /// What the tasks took: the time as this requester saw it, memory and CPU as the provers say.
    pub usages: Vec<(Kind, Usage)>,
}

/// What the tasks that the driver has started tell it.
enum Done<S> {
    Ready(Result<(), RunError>),
    Checked {
        peer: Peer,
        task: TaskRef,
        proof: Blob,
        checked: Checked<(S, BlobRef)>,
    },
    Persisted {
        task: TaskRef,
        proof: Blob,
        result: Result<(), StoreError>,
    },
}

pub struct Driver<'a, B: Backend> {
    network: Network,
    events: mpsc::UnboundedReceiver<NetEvent>,
    own: BTreeSet<Peer>,
    files: Files,
    backend: Arc<B>,
    spec: Option<JobSpec>,
    job: myriad_core::JobId,
    memory_min: u64,
    work: HashMap<TaskId, (Duration, u64)>,
    requester: Requester,
    start: Instant,
    observer: &'a mut dyn Observer,
    /// The peer that is being answered, with what it waits for.
    asking: Option<(Peer, Reply)>,
    /// Claims: what each peer says that its proof of a task is.
    claimed: HashMap<(Peer, TaskRef), (BlobRef, Spent)>,
    /// What the tasks took whose proofs are being looked at.
    spent: HashMap<TaskRef, Spent>,
    /// How many checks are under way of each blob: several peers may say that theirs is the same.
    checking: HashMap<Blob, usize>,
    /// What accepted proofs say, until that is durable.
    said: HashMap<TaskRef, B::Said>,
    proofs: HashMap<TaskId, BlobRef>,
    holders: Holders,
    /// When the last connection with a peer broke.
    lost: BTreeMap<Peer, Instant>,
    hellos: HashMap<Peer, Hello>,
    /// The place of each prover on the observer's screen.
    places: HashMap<Peer, usize>,
    usages: Vec<(Kind, Usage)>,
    permits: Arc<Semaphore>,
    verifying: Arc<Semaphore>,
    notices: Arc<Semaphore>,
    tell: mpsc::UnboundedSender<Done<B::Said>>,
    told: mpsc::UnboundedReceiver<Done<B::Said>>,
    finished: bool,
    failed: Option<RunError>,
}

impl<'a, B: Backend> Driver<'a, B> {
    /// `done` is what an earlier run has left.
    pub fn new(
        joined: Joined,
        files: Files,
        backend: B,
        spec: JobSpec,
        done: HashMap<TaskId, BlobRef>,
        observer: &'a mut dyn Observer,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let (tell, told) = mpsc::unbounded_channel();
        let tasks = spec.tree.tasks().zip(&spec.costs);
        Self {
            network: joined.network,
            events: joined.events,
            own: joined.own,
            files,
            backend: Arc::new(backend),
            job: spec.id,
            memory_min: spec.costs.iter().map(|cost| cost.memory).min().unwrap_or(0),
            work: tasks
                .map(|(task, cost)| (task, (cost.work, cost.memory)))
                .collect(),
            spec: Some(spec),
            requester: Requester::new(Policy::default()),
            start: Instant::now(),
            observer,
            asking: None,
            claimed: HashMap::new(),
            spent: HashMap::new(),
            checking: HashMap::new(),
            said: HashMap::new(),
            proofs: done,
            holders: Holders::default(),
            lost: BTreeMap::new(),
            hellos: HashMap::new(),
            places: HashMap::new(),
            usages: Vec::new(),
            permits: Arc::new(Semaphore::new(FETCHED_AT_ONCE)),
            verifying: Arc::new(Semaphore::new(cores)),
            notices: Arc::new(Semaphore::new(NOTICES_AT_ONCE)),
            tell,
            told,
            finished: false,
            failed: None,
        }
    }

    /// Works until the final proof is durable or something fails for good.
    ///
    /// # Errors
    /// See [`RunError`].
    pub async fn run(mut self) -> Result<Ended<B>, RunError> {
        let spec = self.spec.take().expect("it runs once");
        let (backend, tell) = (Arc::clone(&self.backend), self.tell.clone());
        tokio::spawn(async move {
            let ready = backend.ready().await;
            // If nobody listens, the job is over.
            let _ = tell.send(Done::Ready(ready));
        });
        self.input(Input::Open(Box::new(spec)));
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.finished && self.failed.is_none() {
            let timeout = self
                .requester
                .poll_timeout()
                .map_or(Duration::from_secs(3600), |time| time - self.now());
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.event(event),
                    None => self.failed = Some(RunError::NetworkEnded),
                },
                Some(done) = self.told.recv() => self.done(done),
                () = sleep(timeout) => self.input(Input::Timeout),
                _ = tick.tick() => self.tick(),
            }
        }
        self.announce(false);
        if let Some(error) = self.failed {
            return Err(error);
        }
        // What is left of the tasks holds the backend, too; they end by themselves.
        let Self {
            mut backend, usages, ..
        } = self;
        loop {
            match Arc::try_unwrap(backend) {
                Ok(backend) => return Ok(Ended { backend, usages }),
                Err(shared) => backend = shared,
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn now(&self) -> Time {
        Time(self.start.elapsed().as_micros() as u64)
    }

    fn tick(&mut self) {
        let gone: Vec<Peer> = self
            .lost
            .iter()
            .filter(|(_, since)| since.elapsed() > LOST_PATIENCE)
            .map(|(&peer, _)| peer)
            .collect();
        for peer in gone {
            self.lost.remove(&peer);
            self.holders.forget(peer);
            self.input(Input::PeerLost { peer });
            if let Some(&prover) = self.places.get(&peer) {
                self.observer.event(&Event::Left { prover });
            }
        }
        self.observer.event(&traffic(&self.network));
    }

    fn event(&mut self, event: NetEvent) {
        match event {
            NetEvent::Greeted { peer, hello } => {
                self.lost.remove(&peer);
                if hello.role == Role::Prover && hello.engine != engine_fingerprint() {
                    self.observer.event(&Event::Notice {
                        text: format!(
                            "prover {} has another engine ({}) and is not used: one of the two has to be updated",
                            short_name(peer),
                            hello.build
                        ),
                    });
                }
                self.hellos.insert(peer, hello);
            }
            NetEvent::OtherVersion { peer, theirs, build } => self.observer.event(&Event::Notice {
                text: format!(
                    "peer {} ({build}) speaks version {theirs} of the protocol, and this is {PROTOCOL_VERSION}: one of the two has to be updated",
                    short_name(peer)
                ),
            }),
            NetEvent::Lost { peer } => {
                self.hellos.remove(&peer);
                self.lost.insert(peer, Instant::now());
            }
            NetEvent::Announced(_) => {}
            NetEvent::Asked { peer, request, reply } => self.asked(peer, request, reply),
        }
    }

    fn asked(&mut self, peer: Peer, request: Request, reply: Reply) {
        let task = match &request {
            Request::Offer(_) => None,
            Request::Renew { task, .. } | Request::Submit { task, .. } | Request::Return { task, .. } => {
                Some(*task)
            }
            // Requesters give notice; nobody gives them any.
            Request::Notice(_) => return reply.send(Response::Received),
        };
        if task.is_some_and(|task| task.job != self.job) {
            return reply.send(refused(Why::NotLeased, "there is no such job", None));
        }
        match request {
            Request::Offer(offer) => self.offered(peer, offer, reply),
            Request::Renew { task, progress } => {
                self.answering(peer, reply, Input::Renewed { peer, task, progress });
            }
            Request::Submit { task, proof, spent } => {
                // Of what is not leased nothing is kept: a peer could claim without end.
                if self.requester.may_submit(peer, task) {
                    self.claimed.insert((peer, task), (proof, spent));
                }
                let input = Input::Submitted {
                    peer,
                    task,
                    proof: proof.blob,
                };
                self.answering(peer, reply, input);
            }
            Request::Return { task, why } => {
                let why = match why {
                    Returned::Stopping | Returned::Unwilling { .. } => Return::Stopping,
                    Returned::Failed { message } => Return::Failed { message },
                };
                self.answering(peer, reply, Input::Returned { peer, task, why });
            }
            Request::Notice(_) => unreachable!("answered above"),
        }
    }

    fn offered(&mut self, peer: Peer, offer: OfferMessage, reply: Reply) {
        match self.hellos.get(&peer) {
            Some(hello) if hello.engine == engine_fingerprint() => {}
            _ => {
                let reason =
                    "this requester's engine is another one: one of the two builds has to be updated";
                return reply.send(refused(Why::NotServed, reason, None));
            }
        }
        for blob in offer.holds {
            self.holders.add(blob, peer);
        }
        let trust = if self.own.contains(&peer) {
            Trust::Own
        } else {
            Trust::Stranger
        };
        let offer = Offer {
            memory: offer.memory,
            speed: offer.speed,
            trust,
        };
        self.answering(peer, reply, Input::Offer { peer, offer });
    }

    /// Tells the state machine what a peer said; what it makes of it answers the peer.
    fn answering(&mut self, peer: Peer, reply: Reply, input: Input) {
        self.asking = Some((peer, reply));
        self.input(input);
        if let Some((_, reply)) = self.asking.take() {
            reply.send(Response::Received);
        }
    }

    fn answer(&mut self, peer: Peer, response: Response) -> bool {
        match self.asking.take_if(|(asking, _)| *asking == peer) {
            Some((_, reply)) => {
                reply.send(response);
                true
            }
            None => false,
        }
    }

    fn input(&mut self, input: Input) {
        let now = self.now();
        self.requester.handle_input(now, input);
        while let Some(output) = self.requester.poll_output() {
            self.output(output);
        }
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Lease { peer, task, until } => {
                let lease = self.lease(task, until);
                let answered = self.answer(peer, Response::Lease(Box::new(lease)));
                debug_assert!(answered, "leases answer offers");
                let prover = self.place(peer);
                self.observer.event(&Event::Started {
                    prover,
                    task: task.task,
                });
            }
            Output::Extended { peer, until, .. } => {
                let lease_ms = self.millis_until(until);
                self.answer(peer, Response::Extended { lease_ms });
            }
            Output::Refuse { peer, why } => {
                let response = refusal(&why);
                self.answer(peer, response);
            }
            Output::Wake { peer } => self.notify(peer, Notice::Wake),
            Output::Check { peer, task, proof } => self.check(peer, task, proof),
            Output::Persist { peer, task, proof } => self.persist(peer, task, proof),
            Output::Revoke { peer, task, why } => {
                if let Some(&prover) = self.places.get(&peer) {
                    self.observer.event(&Event::Idle { prover });
                }
                let reason = cut(why.to_string());
                self.notify(peer, Notice::Revoke { task, reason });
            }
            Output::Announce { open, .. } => self.announce(open),
            // The proof stays here. Whoever made it need not keep it any longer.
            Output::Obsolete { task } => self.obsolete(task.task),
            Output::Event(event) => self.core_event(event),
        }
    }

    fn core_event(&mut self, event: CoreEvent) {
        match event {
            CoreEvent::TaskDone { task, peer, took } => self.task_done(task, peer, took),
            CoreEvent::JobDone { .. } => self.finished = true,
            CoreEvent::JobFailed { task, failures, .. } => {
                self.failed = Some(RunError::Task {
                    task,
                    attempts: failures.len(),
                    last: failures.last().map(|(_, said)| said.clone()).unwrap_or_default(),
                });
            }
            CoreEvent::TaskFailed { task, message, peer } => {
                let prover = self.place(peer);
                self.observer.event(&Event::Idle { prover });
                self.observer.event(&Event::Retrying {
                    task: task.task,
                    reason: format!("prover {}: {message}", short_name(peer)),
                });
            }
            CoreEvent::Banned { peer, task, reason } => {
                self.holders.forget(peer);
                self.observer.event(&Event::Notice {
                    text: format!("prover {} is banned: {}: {reason}", short_name(peer), task.task),
                });
                let text = cut(&*reason);
                let verdict = Notice::Verdict {
                    task,
                    accepted: false,
                    reason: text,
                };
                self.notify(peer, verdict);
            }
        }
    }

    fn task_done(&mut self, task: TaskRef, peer: Peer, took: Duration) {
        let proof = self.proofs.get(&task.task).copied();
        let spent = self.spent.remove(&task).unwrap_or_default();
        let usage = Usage {
            wall: took,
            cpu: Duration::from_millis(spent.cpu_ms),
            peak_bytes: spent.memory_bytes,
        };
        self.usages.push((task.task.kind(), usage));
        let prover = self.place(peer);
        self.observer.event(&Event::Done {
            prover,
            task: task.task,
            usage,
            proof_bytes: proof.map_or(0, |proof| proof.bytes as usize),
        });
        let verdict = Notice::Verdict {
            task,
            accepted: true,
            reason: String::new(),
        };
        self.notify(peer, verdict);
    }

    fn obsolete(&mut self, task: TaskId) {
        let Some(proof) = self.proofs.get(&task) else {
            return;
        };
        let blob = proof.blob;
        for peer in self.holders.some(blob, usize::MAX) {
            self.notify(peer, Notice::Obsolete { proofs: vec![blob] });
        }
    }

    fn place(&mut self, peer: Peer) -> usize {
        let next = self.places.len();
        let place = *self.places.entry(peer).or_insert(next);
        if place == next {
            self.observer.event(&Event::Joined {
                prover: place,
                name: short_name(peer),
            });
        }
        place
    }

    fn millis_until(&self, until: Time) -> u64 {
        u64::try_from((until - self.now()).as_millis()).unwrap_or(u64::MAX)
    }

    fn announce(&self, open: bool) {
        let Files {
            program,
            openvm_toml,
            input,
            engine,
            instructions,
        } = &self.files;
        let bytes = [Some(program), openvm_toml.as_ref(), Some(input)];
        self.network.announce(Announcement {
            version: PROTOCOL_VERSION,
            job: self.job,
            requester: self.network.peer(),
            // These two are filled in when it is sent.
            sequence: 0,
            addresses: Vec::new(),
            open,
            engine: *engine,
            instructions: *instructions,
            memory_min: self.memory_min,
            bytes: bytes.into_iter().flatten().map(|file| file.bytes).sum(),
        });
    }

    fn lease(&mut self, task: TaskRef, until: Time) -> Lease {
        let Files {
            program,
            openvm_toml,
            input,
            engine,
            instructions,
        } = self.files.clone();
        let sources = Sources {
            program: self.source(program),
            openvm_toml: openvm_toml.map(|file| self.source(file)),
            input: self.source(input),
            engine,
            instructions,
        };
        let inputs = self.requester.inputs(task);
        let work = match task.task {
            TaskId::Segment(index) => Work::Segment(self.backend.segment(index)),
            TaskId::Node(node) => Work::Aggregate {
                level: node.level,
                children: inputs.iter().map(|&child| self.proof_source(child)).collect(),
            },
            TaskId::Final => {
                let top = inputs.iter().find(|input| matches!(input, TaskId::Node(_)));
                let last = inputs.iter().find(|input| matches!(input, TaskId::Segment(_)));
                let &TaskId::Node(node) = top.expect("the final proof is made of the top node") else {
                    unreachable!("only nodes were looked for");
                };
                Work::Finish {
                    level: node.level,
                    top: self.proof_source(TaskId::Node(node)),
                    last_segment: self.proof_source(*last.expect("and of the last segment")),
                }
            }
        };
        let (work_time, memory) = self.work[&task.task];
        Lease {
            task,
            lease_ms: self.millis_until(until),
            work_ms: work_time.as_millis() as u64,
            memory,
            sources,
            work,
        }
    }

    fn proof_source(&mut self, task: TaskId) -> Source {
        let proof = self.proofs[&task];
        self.source(proof)
    }

    fn source(&mut self, blob: BlobRef) -> Source {
        let holders = self.holders.some(blob.blob, HOLDERS_NAMED);
        self.network.source(blob, holders)
    }

    /// Tells a peer something, whether it hears it or not: all that is told also follows from the answers
    /// to what it asks.
    fn notify(&self, peer: Peer, notice: Notice) {
        let (network, permits) = (self.network.clone(), Arc::clone(&self.notices));
        tokio::spawn(async move {
            let _permit = permits.acquire().await;
            if let Err(e) = network.ask(peer, Request::Notice(notice)).await
                && e != AskError::Unreachable
            {
                tracing::debug!("prover {} was told in vain: {e}", short_name(peer));
            }
        });
    }

    /// Fetches a proof and looks at it, beside everything else.
    fn check(&mut self, peer: Peer, task: TaskRef, proof: Blob) {
        let claim = self
            .claimed
            .remove(&(peer, task))
            .filter(|(claim, _)| claim.blob == proof);
        let claim = claim.map(|(claim, spent)| {
            self.spent.insert(task, spent);
            claim
        });
        let (network, backend, tell) = (self.network.clone(), Arc::clone(&self.backend), self.tell.clone());
        let (permits, verifying) = (Arc::clone(&self.permits), Arc::clone(&self.verifying));
        *self.checking.entry(proof).or_default() += 1;
        tokio::spawn(async move {
            let checked = match claim {
                Some(claim) => {
                    let _permit = permits.acquire().await;
                    look_at(&network, backend, verifying, peer, task.task, claim).await
                }
                None => Checked::Unavailable("it was submitted twice".into()),
            };
            // If nobody listens, the job is over.
            let _ = tell.send(Done::Checked {
                peer,
                task,
                proof,
                checked,
            });
        });
    }

    fn persist(&mut self, peer: Peer, task: TaskRef, proof: Blob) {
        let said = self.said.remove(&task).expect("it was examined before");
        let reference = self.proofs[&task.task];
        self.holders.add(proof, peer);
        let (backend, tell) = (Arc::clone(&self.backend), self.tell.clone());
        tokio::task::spawn_blocking(move || {
            let result = backend.persist(task.task, reference, said);
            drop(backend);
            let _ = tell.send(Done::Persisted { task, proof, result });
        });
    }

    fn done(&mut self, done: Done<B::Said>) {
        match done {
            Done::Ready(Ok(())) => {}
            Done::Ready(Err(error)) => self.failed = Some(error),
            Done::Checked {
                peer,
                task,
                proof,
                checked,
            } => {
                let refused = !matches!(checked, Checked::Accepted(_));
                self.checking.entry(proof).and_modify(|count| *count -= 1);
                self.checking.retain(|_, count| *count > 0);
                if refused {
                    self.discard(proof);
                }
                let verdict = match checked {
                    Checked::Accepted((said, reference)) => {
                        self.said.insert(task, said);
                        self.proofs.insert(task.task, reference);
                        Verdict::Accepted
                    }
                    Checked::Invalid(reason) => Verdict::Invalid { reason },
                    Checked::Unavailable(reason) => Verdict::Unavailable { reason },
                    Checked::Failed(error) => {
                        self.failed = Some(error.into());
                        return;
                    }
                };
                self.input(Input::Checked {
                    peer,
                    task,
                    proof,
                    verdict,
                });
            }
            Done::Persisted { task, proof, result } => match result {
                Ok(()) => self.input(Input::Persisted { task, proof }),
                Err(error) => self.failed = Some(error.into()),
            },
        }
    }
}

impl<B: Backend> Driver<'_, B> {
    /// Removes what a peer sent that is no proof of its task, unless it is one of another task: a liar may
    /// send an honest peer's proof.
    fn discard(&self, proof: Blob) {
        let files = [
            Some(self.files.program),
            self.files.openvm_toml,
            Some(self.files.input),
        ];
        let mut needed = self
            .proofs
            .values()
            .chain(files.iter().flatten())
            .chain(self.claimed.values().map(|(claim, _)| claim));
        if !self.checking.contains_key(&proof) && !needed.any(|needed| needed.blob == proof) {
            let blobs = self.network.blobs().clone();
            tokio::task::spawn_blocking(move || {
                // What stays takes some room, and does no other harm.
                let _ = blobs.remove(&proof);
            });
        }
    }
}
