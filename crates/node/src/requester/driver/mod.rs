//! The loop that does what the state machine says, with the peers of the network.

mod checks;
mod completion;
mod events;
mod examiner;
mod holders;
mod leases;
mod proofs;
mod receipt_book;
mod receipts;
mod refusals;
mod remaking;
mod trials;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use myriad_core::{
    Blob, Input, JobSpec, Kind, Offer, Output, Peer, Policy, Requester, Return, Standing, TaskId, TaskRef,
    Time, Trust,
};
use myriad_engine::worker::Usage;
use myriad_net::{
    AskError, Event as NetEvent, Network, Regard, Reply, short_name,
    wire::{Hello, Notice, OfferMessage, PROTOCOL_VERSION, Request, Response, Returned, Role, Why, cut},
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::task::TaskTracker;

use self::{
    completion::Completion,
    holders::Holders,
    proofs::Proofs,
    receipt_book::ReceiptBook,
    refusals::{refusal, refused},
    trials::Trials,
};
use super::{
    Files, Joined, ServedJob,
    backend::{Ended, JobBackend, PeerBackend},
    traffic,
};
use crate::{Event, Observer, RunError, engine_fingerprint};

/// How long a peer whose connection broke may take to come back before its tasks go to others.
const LOST_PATIENCE: Duration = Duration::from_secs(10);
/// How long a peer that was at a task may take to find this requester again after a restart.
const RETURN_PATIENCE: Duration = Duration::from_secs(30);
/// How long the end waits for provers to hear that their work is not wanted any more.
const FAREWELL_MAX: Duration = Duration::from_secs(2);
/// How often the observer hears what the network does, and the journal who is at which task.
const TICK: Duration = Duration::from_millis(500);
/// Proofs that are fetched at once: enough that peers which send slowly do not keep others waiting. What is fetched
/// goes to the disk as it comes.
const FETCHED_AT_ONCE: usize = 64;
/// Proofs that are in memory at once to be verified, each of 16 MiB at most: as many as make another child worth while, and some.
const VERIFIED_AT_ONCE: usize = 6;
/// How often what was learned of peers is made durable.
const REMEMBER_EVERY: Duration = Duration::from_secs(10);
/// Notices that are on their way at once; what is more waits.
const NOTICES_AT_ONCE: usize = 256;

pub struct Driver<'a, J: JobBackend> {
    network: Network,
    events: mpsc::UnboundedReceiver<NetEvent>,
    own: BTreeSet<Peer>,
    files: Files,
    backend: Arc<J>,
    peer_backend: Arc<dyn PeerBackend>,
    spec: Option<JobSpec>,
    job: myriad_core::JobId,
    memory_min: u64,
    work: HashMap<TaskId, (Duration, u64)>,
    requester: Requester,
    start: Instant,
    observer: &'a mut dyn Observer,
    /// The peer that is being answered, with what it waits for.
    asking: Option<(Peer, Reply)>,
    proofs: Proofs<J::Finding>,
    holders: Holders,
    trials: Trials,
    receipts: ReceiptBook,
    /// Peers without a connection, and until when they are waited for.
    lost: BTreeMap<Peer, Instant>,
    /// What the journal says of who is at which task, or will when `noting` is done.
    noted: BTreeSet<(TaskId, Peer)>,
    noting: Option<JoinHandle<()>>,
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// What each peer said of itself, and the network that it calls from.
    hellos: HashMap<Peer, (Hello, Option<u64>)>,
    /// The number of the start of each peer that is connected or waited for.
    processes: HashMap<Peer, u32>,
    /// Peers of whom something was learned that is not durable yet.
    learned: BTreeSet<Peer>,
    remembered: Instant,
    /// The place of each prover on the observer's screen.
    places: HashMap<Peer, usize>,
    usages: Vec<(Kind, Usage)>,
    fetching: Arc<Semaphore>,
    verifying: Arc<Semaphore>,
    notices: Arc<Semaphore>,
    /// The tasks that say something to peers.
    saying: TaskTracker,
    tell: mpsc::UnboundedSender<Completion<J::Finding>>,
    told: mpsc::UnboundedReceiver<Completion<J::Finding>>,
    finished: bool,
    failed: Option<RunError>,
}

/// Whose connections are kept when there are too many.
fn regard(standing: &Standing) -> Regard {
    if standing.banned.is_some() {
        Regard::Harmful
    } else if standing.is_proven() {
        Regard::Useful
    } else {
        Regard::Stranger
    }
}

impl<'a, J: JobBackend> Driver<'a, J> {
    pub fn new(
        joined: Joined,
        job: ServedJob,
        backend: J,
        peer_backend: impl PeerBackend,
        policy: Policy,
        observer: &'a mut dyn Observer,
    ) -> Self {
        let ServedJob { files, spec, done } = job;
        let (tell, told) = mpsc::unbounded_channel();
        let tasks = spec.tree.tasks().zip(&spec.costs);
        let waited_for = Instant::now() + RETURN_PATIENCE;
        let returning = spec.leased.iter().map(|&(_, peer)| (peer, waited_for)).collect();
        let standings = peer_backend.standings();
        for (peer, standing) in &standings {
            joined.network.regard(*peer, regard(standing));
        }
        for &peer in &joined.own {
            joined.network.regard(peer, Regard::Useful);
        }
        let requester = Requester::with_standings(policy, standings);
        Self {
            network: joined.network,
            events: joined.events,
            own: joined.own,
            files,
            receipts: ReceiptBook::new(peer_backend.owed()),
            backend: Arc::new(backend),
            peer_backend: Arc::new(peer_backend),
            job: spec.id,
            memory_min: spec.costs.iter().map(|cost| cost.memory).min().unwrap_or(0),
            work: tasks
                .map(|(task, cost)| (task, (cost.work, cost.memory)))
                .collect(),
            noted: spec.leased.iter().copied().collect(),
            spec: Some(spec),
            requester,
            start: Instant::now(),
            observer,
            asking: None,
            proofs: Proofs::new(done),
            holders: Holders::default(),
            trials: Trials::default(),
            lost: returning,
            noting: None,
            stop: joined.stop,
            hellos: HashMap::new(),
            processes: HashMap::new(),
            learned: BTreeSet::new(),
            remembered: Instant::now(),
            places: HashMap::new(),
            usages: Vec::new(),
            fetching: Arc::new(Semaphore::new(FETCHED_AT_ONCE)),
            verifying: Arc::new(Semaphore::new(VERIFIED_AT_ONCE)),
            notices: Arc::new(Semaphore::new(NOTICES_AT_ONCE)),
            saying: TaskTracker::new(),
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
    pub async fn run(mut self) -> Result<Ended<J>, RunError> {
        let spec = self.spec.take().expect("it runs once");
        let (backend, tell) = (Arc::clone(&self.backend), self.tell.clone());
        tokio::spawn(async move {
            let ready = backend.ready().await;
            // If nobody listens, the job is over.
            let _ = tell.send(Completion::Ready(ready));
        });
        self.input(Input::Open(Box::new(spec)));
        self.show_restored();
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
                Some(completion) = self.told.recv() => self.handle_completion(completion),
                () = sleep(timeout) => self.input(Input::Timeout),
                _ = tick.tick() => self.tick(),
                () = &mut self.stop => self.give_up(),
            }
        }
        self.announce(false);
        self.backend.stop();
        let remembering = self.remember();
        self.say_farewell().await;
        if let Some(remembering) = remembering {
            // Where the disk does not serve, that was said.
            let _ = remembering.await;
        }
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

    /// Shows those at work who were so when an earlier run ended.
    fn show_restored(&mut self) {
        for (task, peer) in self.requester.leases(self.job) {
            let prover = self.place(peer);
            self.observer.event(&Event::Started { prover, task });
        }
    }

    /// The user does not want to wait any longer.
    fn give_up(&mut self) {
        self.input(Input::Cancel { job: self.job });
        self.failed = Some(RunError::Interrupted);
    }

    /// Waits until what was said last is heard, and the journal has what is true at the end.
    async fn say_farewell(&mut self) {
        if let Some(noting) = self.noting.take() {
            let _ = noting.await;
        }
        self.note_leases();
        if let Some(noting) = self.noting.take() {
            let _ = noting.await;
        }
        self.saying.close();
        // Who does not hear it will find out.
        let _ = timeout(FAREWELL_MAX, self.saying.wait()).await;
        self.settle_at_last().await;
    }

    /// Makes durable who is at which task, beside everything else.
    fn note_leases(&mut self) {
        if self.noting.as_ref().is_some_and(|noting| !noting.is_finished()) {
            return;
        }
        let now: BTreeSet<_> = self.requester.leases(self.job).into_iter().collect();
        let begun: Vec<_> = now.difference(&self.noted).copied().collect();
        let ended: Vec<_> = self.noted.difference(&now).copied().collect();
        if begun.is_empty() && ended.is_empty() {
            return;
        }
        self.noted = now;
        let backend = Arc::clone(&self.backend);
        self.noting = Some(tokio::task::spawn_blocking(move || {
            backend.note_leases(&begun, &ended);
        }));
    }

    fn now(&self) -> Time {
        Time(self.start.elapsed().as_micros() as u64)
    }

    fn tick(&mut self) {
        let gone: Vec<Peer> = self
            .lost
            .iter()
            .filter(|(_, until)| until.elapsed() > Duration::ZERO)
            .map(|(&peer, _)| peer)
            .collect();
        for peer in gone {
            self.lost.remove(&peer);
            self.holders.forget(peer);
            self.processes.remove(&peer);
            self.input(Input::PeerLost { peer });
            if let Some(&prover) = self.places.get(&peer) {
                self.observer.event(&Event::Left { prover });
            }
        }
        self.look_for_lost();
        let (requester, job) = (&self.requester, self.job);
        self.proofs
            .forget_claims(|peer, task| requester.has_claim(peer, TaskRef { job, task }));
        if self.remembered.elapsed() > REMEMBER_EVERY {
            drop(self.remember());
            drop(self.settle());
        }
        self.note_leases();
        self.observer.event(&traffic(&self.network));
    }

    /// Makes durable what was learned of peers, beside everything else.
    fn remember(&mut self) -> Option<JoinHandle<()>> {
        self.remembered = Instant::now();
        let learned = std::mem::take(&mut self.learned).into_iter();
        let standings: Vec<_> = learned
            .filter_map(|peer| Some((peer, self.requester.standing(peer)?.clone())))
            .collect();
        for (peer, standing) in &standings {
            self.network.regard(*peer, regard(standing));
        }
        if standings.is_empty() {
            return None;
        }
        let backend = Arc::clone(&self.peer_backend);
        Some(tokio::task::spawn_blocking(move || backend.remember(&standings)))
    }

    fn event(&mut self, event: NetEvent) {
        match event {
            NetEvent::Greeted {
                peer, hello, origin, ..
            } => {
                self.lost.remove(&peer);
                let before = self.processes.insert(peer, hello.boot);
                if before.is_some_and(|before| before != hello.boot) {
                    // What the process that is gone was at, this one knows nothing of.
                    self.input(Input::PeerLost { peer });
                }
                if hello.role == Role::Prover && hello.engine != engine_fingerprint() {
                    self.observer.event(&Event::Notice {
                        text: format!(
                            "prover {} has another engine ({}) and is not used: one of the two has to be updated",
                            short_name(peer),
                            hello.build
                        ),
                    });
                }
                self.hellos.insert(peer, (hello, origin));
                self.send_receipts(peer);
            }
            NetEvent::OtherVersion { peer, theirs, build } => self.observer.event(&Event::Notice {
                text: format!(
                    "peer {} ({build}) speaks version {theirs} of the protocol, and this is {PROTOCOL_VERSION}: one of the two has to be updated",
                    short_name(peer)
                ),
            }),
            NetEvent::Lost { peer } => {
                self.hellos.remove(&peer);
                self.lost.insert(peer, Instant::now() + LOST_PATIENCE);
            }
            NetEvent::Announced(_) => {}
            NetEvent::Resumed { time } => self.observer.event(&Event::Notice {
                text: format!(
                    "this machine was suspended for {} s; its provers are being found again",
                    time.as_secs()
                ),
            }),
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
                // Who proves has the files, and spares this node the next copy.
                if progress > 0 && self.requester.may_submit(peer, task) {
                    for file in self.files.all().collect::<Vec<_>>() {
                        self.holders.add(file.blob, peer);
                    }
                }
                self.answering(peer, reply, Input::Renewed { peer, task, progress });
            }
            Request::Submit { task, proof, spent } => {
                tracing::debug!("claim of {} by {}", task.task, short_name(peer));
                // Of what is not leased nothing is kept: a peer could claim without end.
                if self.requester.may_submit(peer, task) {
                    self.proofs.claim(peer, task.task, proof, spent);
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
                    Returned::Surplus => Return::Surplus,
                    Returned::Failed { message } => Return::Failed { message },
                };
                self.answering(peer, reply, Input::Returned { peer, task, why });
            }
            Request::Notice(_) => unreachable!("answered above"),
        }
    }

    fn offered(&mut self, peer: Peer, offer: OfferMessage, reply: Reply) {
        let origin = match self.hellos.get(&peer) {
            Some((hello, origin)) if hello.engine == engine_fingerprint() => *origin,
            _ => {
                let reason =
                    "this requester's engine is another one: one of the two builds has to be updated";
                return reply.send(refused(Why::NotServed, reason, None));
            }
        };
        // What this job is not made of is not remembered: anyone can name any number of blobs.
        for blob in offer.holds {
            if self.is_of_job(blob) {
                self.holders.add(blob, peer);
            }
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
            origin,
        };
        self.answering(peer, reply, Input::Offer { peer, offer });
    }

    /// Whether a blob is one of the job's files, or an accepted proof of it.
    pub(super) fn is_of_job(&self, blob: Blob) -> bool {
        self.files.all().any(|file| file.blob == blob) || self.proofs.has(blob)
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

    pub(super) fn input(&mut self, input: Input) {
        let now = self.now();
        self.requester.handle_input(now, input);
        while let Some(output) = self.requester.poll_output() {
            self.output(output);
        }
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Lease { peer, task, until } => {
                tracing::debug!("lease of {} to {}", task.task, short_name(peer));
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
            Output::Try { task } => self.begin_trial(task),
            Output::Check { peer, task, proof } => {
                tracing::debug!("looking at {proof:?} for {}", task.task);
                self.begin_check(peer, task, proof);
            }
            Output::Persist { peer, task, proof } => {
                tracing::debug!("keeping {proof:?} of {}", task.task);
                self.persist(peer, task, proof);
            }
            Output::Revoke { peer, task, why } => {
                if let Some(&prover) = self.places.get(&peer) {
                    let task = task.task;
                    self.observer.event(&Event::Idle { prover, task });
                }
                let reason = cut(why.to_string());
                self.notify(peer, Notice::Revoke { task, reason });
            }
            Output::Announce { open, .. } => {
                tracing::debug!(
                    "announcing that the job is {}",
                    if open { "open" } else { "closed" }
                );
                self.announce(open);
            }
            // The proof stays here. Whoever made it need not keep it any longer.
            Output::Obsolete { task } => self.obsolete(task.task),
            Output::Learned { peer } => {
                self.learned.insert(peer);
            }
            Output::Event(event) => self.core_event(event),
        }
    }

    pub(super) fn millis_until(&self, until: Time) -> u64 {
        u64::try_from((until - self.now()).as_millis()).unwrap_or(u64::MAX)
    }

    /// Tells a peer something, whether it hears it or not: all that is told also follows from the answers
    /// to what it asks.
    pub(super) fn notify(&self, peer: Peer, notice: Notice) {
        let (network, permits) = (self.network.clone(), Arc::clone(&self.notices));
        self.saying.spawn(async move {
            let _permit = permits.acquire().await;
            if let Err(e) = network.ask(peer, Request::Notice(notice)).await
                && e != AskError::Unreachable
            {
                tracing::debug!("prover {} was told in vain: {e}", short_name(peer));
            }
        });
    }
}
