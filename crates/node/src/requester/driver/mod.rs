//! The loop of a requester. It carries out what the state machine says, with the peers of the
//! network.
//!
//! ```text
//!                 handle_event, handle_request                 apply_output
//!  network ──────────────────────────────────┐          ┌─────────────────────▶ outbox, announcements
//!                                            ▼          │
//!                                    core::Requester ───┤
//!                                            ▲          │
//!  checks, trials, journal ──────────────────┘          └─────────────────────▶ checks, trials, journal
//!                 handle_completion
//! ```
//!
//! Each kind of knowledge has one owner: [`Proofs`], [`PeerBook`], [`Holders`], [`Spreading`],
//! [`ReceiptBook`], [`JournalNotes`]. The files beside them hold the driver's own methods, by
//! subject.

mod checks;
mod completion;
mod events;
mod examiner;
mod growing;
mod holders;
mod journal_notes;
mod leases;
mod outbox;
mod peer_book;
mod proofs;
mod receipt_book;
mod receipts;
mod remaking;
mod requests;
mod sending;
mod trials;

use std::{
    collections::{BTreeSet, HashMap},
    future::Future,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use myriad_core::{
    Blob, Input, JobId, JobSpec, Kind, Output, Peer, Policy, Requester, TaskId, TaskRef, Time,
};
use myriad_engine::worker::Usage;
use myriad_net::{
    Event as NetEvent, Network, short_name,
    wire::{Extent, Hello, Notice, PROTOCOL_VERSION, Response, Role, shortened},
};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep},
};

use self::{
    completion::Completion, examiner::Examiner, growing::Unplanned, holders::Holders,
    journal_notes::JournalNotes, outbox::Outbox, peer_book::PeerBook, proofs::Proofs,
    receipt_book::ReceiptBook, trials::Trials,
};
use super::{
    Files, Growth, Joined, ServedJob,
    backend::{Ended, JobBackend, PeerBackend},
    refusals::{other_engine, refusal},
    spreading::Spreading,
};
use crate::{Event, Observer, RunError};

/// The time for which the end waits until provers have heard that their work is not wanted any
/// more.
const FAREWELL_MAX: Duration = Duration::from_secs(2);
/// The interval at which the observer hears what the network does, and the journal which peer works
/// on which task.
const TICK: Duration = Duration::from_millis(500);
/// The longest sleep of the loop where the state machine waits for nothing.
const IDLE_MAX: Duration = Duration::from_secs(3600);
/// The pause between looks at whether the tasks that are left have let go of the backend.
const RELEASE_POLL: Duration = Duration::from_millis(10);

pub struct Driver<'a, J: JobBackend> {
    // The job.
    job: JobId,
    /// Until it is opened.
    spec: Option<JobSpec>,
    /// More of the plan, while it is being made.
    growth: Option<mpsc::UnboundedReceiver<Growth>>,
    files: Files,
    extent: Extent,
    /// The expected cost of each task: time of a reference core, and bytes of memory.
    work: HashMap<TaskId, (Duration, u64)>,
    backend: Arc<J>,

    // The state machine that decides, and its clock.
    requester: Requester,
    start: Instant,

    // Its knowledge.
    proofs: Proofs<J::Finding>,
    peers: PeerBook,
    holders: Holders,
    spreading: Spreading,
    /// The blobs that the peer has whose offer is being answered.
    offered: Vec<Blob>,
    receipts: ReceiptBook,
    notes: JournalNotes,

    // Work beside the loop.
    examiner: Examiner<J>,
    trials: Trials,
    completion_sender: mpsc::UnboundedSender<Completion<J::Finding>>,
    completions: mpsc::UnboundedReceiver<Completion<J::Finding>>,

    // The outside.
    network: Network,
    events: mpsc::UnboundedReceiver<NetEvent>,
    /// The events that came before it runs.
    earlier: Vec<NetEvent>,
    outbox: Outbox,
    observer: &'a mut dyn Observer,
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,

    // The end.
    usages: Vec<(Kind, Usage)>,
    /// Proofs that are being examined or made durable.
    checks: usize,
    /// Why there will be no plan.
    unplanned: Option<Unplanned>,
    finished: bool,
    failed: Option<RunError>,
}

impl<'a, J: JobBackend> Driver<'a, J> {
    /// Serves `job` to the peers of a joined network; see [`Self::run`].
    pub fn new(
        joined: Joined,
        job: ServedJob,
        backend: J,
        peer_backend: impl PeerBackend,
        policy: Policy,
        observer: &'a mut dyn Observer,
    ) -> Self {
        let ServedJob {
            files,
            instructions,
            spec,
            done,
            growth,
            heard,
        } = job;
        let (earlier, spreading, returned) = heard.into_parts(spec.id, &files);
        let Joined {
            network,
            events,
            own,
            stop,
            ..
        } = joined;
        let (completion_sender, completions) = mpsc::unbounded_channel();
        let backend = Arc::new(backend);
        let receipts = ReceiptBook::new(peer_backend.owed());
        let returning = spec.leased.iter().map(|&(_, peer)| peer);
        let peers = PeerBook::new(Arc::new(peer_backend), own, returning, Instant::now());
        let requester = Requester::with_standings(policy, peers.standings(&network));
        let tasks = spec.tree.tasks().zip(&spec.costs);
        let leased = spec.leased.iter().copied();
        let leased = leased.filter(|lease| !returned.contains(lease)).collect();
        Self {
            job: spec.id,
            growth,
            files,
            extent: Extent {
                instructions,
                memory_min: spec.costs.iter().map(|cost| cost.memory).min().unwrap_or(0),
            },
            work: tasks
                .map(|(task, cost)| (task, (cost.work, cost.memory)))
                .collect(),
            requester,
            start: Instant::now(),
            proofs: Proofs::new(done),
            peers,
            holders: Holders::default(),
            spreading,
            offered: Vec::new(),
            receipts,
            notes: JournalNotes::new(spec.leased.iter().copied().collect()),
            spec: Some(JobSpec { leased, ..spec }),
            examiner: Examiner::new(network.clone(), Arc::clone(&backend)),
            backend,
            trials: Trials::default(),
            completion_sender,
            completions,
            outbox: Outbox::new(network.clone()),
            network,
            events,
            earlier,
            observer,
            stop,
            usages: Vec::new(),
            checks: 0,
            unplanned: None,
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
        let (backend, sender) = (Arc::clone(&self.backend), self.completion_sender.clone());
        tokio::spawn(async move {
            let ready = backend.ready().await;
            // If nobody listens, the job is over.
            let _ = sender.send(Completion::Ready(ready));
        });
        let holders: Vec<Peer> = self.spreading.holders().collect();
        for peer in holders {
            self.has_files(peer);
        }
        let tasks: Vec<TaskId> = spec.tree.tasks().collect();
        self.input(Input::Open(Box::new(spec)));
        self.show_restored(tasks);
        for event in std::mem::take(&mut self.earlier) {
            self.handle_event(event);
        }
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !self.finished && self.failed.is_none() {
            let timeout = self
                .requester
                .poll_timeout()
                .map_or(IDLE_MAX, |time| time - self.now());
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.handle_event(event),
                    None => self.failed = Some(RunError::NetworkEnded),
                },
                Some(completion) = self.completions.recv() => self.handle_completion(completion),
                growth = growing::next(&mut self.growth) => self.grow(growth),
                () = sleep(timeout) => self.input(Input::Timeout),
                _ = tick.tick() => self.tick(),
                () = &mut self.stop => self.give_up(),
            }
        }
        self.announce(false);
        self.backend.stop();
        self.remember();
        self.say_farewell().await;
        if let Some(error) = self.failed {
            return Err(error);
        }
        // The remaining tasks hold the backend, too. They end by themselves.
        let Self {
            mut backend,
            usages,
            examiner,
            ..
        } = self;
        drop(examiner);
        loop {
            match Arc::try_unwrap(backend) {
                Ok(backend) => return Ok(Ended { backend, usages }),
                Err(shared) => backend = shared,
            }
            sleep(RELEASE_POLL).await;
        }
    }

    /// Shows the provers that were at work at these tasks when an earlier run ended.
    fn show_restored(&mut self, tasks: impl IntoIterator<Item = TaskId>) {
        for task in tasks {
            for peer in self.requester.holders(TaskRef { job: self.job, task }) {
                let prover = self.place(peer);
                self.observer.event(&Event::Started { prover, task });
            }
        }
    }

    /// The user does not want to wait any longer.
    fn give_up(&mut self) {
        self.input(Input::Cancel { job: self.job });
        self.failed = Some(RunError::Interrupted);
    }

    /// Waits until peers have heard the last messages, and until the disk has the final state.
    async fn say_farewell(&mut self) {
        self.notes.written().await;
        self.note_leases();
        self.notes.written().await;
        self.outbox.close(FAREWELL_MAX).await;
        self.settle_receipts_at_last();
        self.peers.written().await;
    }

    /// Makes durable which peer works on which task, beside everything else.
    fn note_leases(&mut self) {
        if !self.notes.is_writing() {
            let mut now: BTreeSet<_> = self.requester.leases(self.job).into_iter().collect();
            now.extend(self.requester.awaited(self.job));
            self.notes.note(now, &self.backend);
        }
    }

    fn now(&self) -> Time {
        Time(self.start.elapsed().as_micros() as u64)
    }

    fn tick(&mut self) {
        self.end_unplanned();
        let now = Instant::now();
        let gone = self.peers.take_gone(now);
        self.holders.forget(&gone);
        for peer in gone {
            self.spreading.forget(peer);
            self.input(Input::PeerLost { peer });
        }
        for prover in self.peers.take_left(self.network.peer()) {
            self.observer.event(&Event::Left { prover });
        }
        self.look_for_lost();
        let (requester, job) = (&self.requester, self.job);
        self.proofs
            .forget_claims(|peer, task| requester.has_claim(peer, TaskRef { job, task }));
        if self.peers.is_due(now) {
            self.remember();
            self.settle_receipts();
        }
        self.note_leases();
        self.show_traffic();
    }

    fn show_traffic(&mut self) {
        let traffic = self.network.traffic();
        self.observer.event(&Event::Traffic {
            peers: self.network.peers().len(),
            bytes_in: traffic.blob_bytes_in,
            bytes_out: traffic.blob_bytes_out,
        });
    }

    /// Makes the knowledge of peers durable, beside everything else.
    fn remember(&mut self) {
        self.peers
            .remember(&self.requester, &self.network, Instant::now());
    }

    fn handle_event(&mut self, event: NetEvent) {
        match event {
            NetEvent::Greeted {
                peer, hello, origin, ..
            } => self.handle_greeting(peer, hello, origin),
            NetEvent::OtherVersion { peer, theirs, build } => self.tell_of_stranger(format!(
                "peer {} ({build}) speaks version {theirs} of the protocol, and this is {PROTOCOL_VERSION}: one of the two has to be updated",
                short_name(peer)
            )),
            NetEvent::Lost { peer } => self.peers.disconnected(peer, Instant::now()),
            NetEvent::Announced(_) => {}
            NetEvent::Resumed { time } => self.observer.event(&Event::Notice {
                text: format!(
                    "this machine was suspended for {} s; its provers are being found again",
                    time.as_secs()
                ),
            }),
            NetEvent::Request { peer, request, reply } => self.handle_request(peer, request, reply),
        }
    }

    fn handle_greeting(&mut self, peer: Peer, hello: Hello, origin: Option<u64>) {
        let lacks = match hello.role {
            Role::Prover => other_engine(self.files.engine.name, self.network.engines(), &hello.engines),
            Role::Requester | Role::Bootstrap => None,
        };
        let notice =
            lacks.map(|why| format!("prover {} ({}) is not used: {why}", short_name(peer), hello.build));
        if self.peers.greeted(peer, hello, origin) {
            // The new process knows nothing of the old one's leases.
            self.input(Input::PeerLost { peer });
        }
        if let Some(text) = notice {
            self.tell_of_stranger(text);
        }
        self.send_waiting_receipts(peer);
    }

    /// Tells the user of a peer that is of no use here.
    fn tell_of_stranger(&mut self, text: String) {
        if self.peers.may_tell_of_stranger() {
            self.observer.event(&Event::Notice { text });
        }
    }

    fn input(&mut self, input: Input) {
        let now = self.now();
        self.requester.handle_input(now, input);
        while let Some(output) = self.requester.poll_output() {
            self.apply_output(output);
        }
    }

    fn apply_output(&mut self, output: Output) {
        match output {
            Output::Lease { peer, task, until } => {
                let name = task.task.to_string();
                tracing::debug!(
                    stage = "lease",
                    task = name,
                    "lease of {name} to {}",
                    short_name(peer)
                );
                let lease = self.lease(peer, task, until);
                let answered = self.outbox.answer(peer, Response::Lease(Box::new(lease)));
                debug_assert!(answered, "leases answer offers");
                let prover = self.place(peer);
                self.observer.event(&Event::Started {
                    prover,
                    task: task.task,
                });
            }
            Output::Extended { peer, until, .. } => {
                let lease_ms = self.millis_until(until);
                self.outbox.answer(peer, Response::Extended { lease_ms });
            }
            Output::Refuse { peer, why } => {
                let response = refusal(&why, self.requester.is_parked(peer));
                self.outbox.answer(peer, response);
            }
            Output::Wake { peer } => {
                let sender = self.completion_sender.clone();
                self.outbox.wake(peer, move || {
                    // If nobody listens, the job is over.
                    let _ = sender.send(Completion::Declined { peer });
                });
            }
            Output::Try { task } => self.begin_trial(task),
            Output::Check { peer, task, proof } => {
                let name = task.task.to_string();
                tracing::debug!(stage = "verify", task = name, "looking at {proof:?} for {name}");
                self.begin_check(peer, task, proof);
            }
            Output::Persist { peer, task, proof } => {
                let name = task.task.to_string();
                tracing::debug!(stage = "persist", task = name, "keeping {proof:?} of {name}");
                self.persist(peer, task, proof);
            }
            Output::Revoke { peer, task, why } => {
                if let Some(prover) = self.peers.place(peer) {
                    let task = task.task;
                    self.observer.event(&Event::Idle { prover, task });
                }
                let reason = shortened(why.to_string());
                self.outbox.notify(peer, Notice::Revoke { task, reason });
            }
            Output::Announce { open, .. } => {
                tracing::debug!(
                    stage = if open { "announce" } else { "withdraw" },
                    "announcing that the job is {}",
                    if open { "open" } else { "closed" }
                );
                self.announce(open);
            }
            // The proof stays here. Its maker need not keep it any longer.
            Output::Obsolete { task } => self.obsolete(task.task),
            Output::Learned { peer } => self.peers.learned(peer),
            Output::Event(event) => self.core_event(event),
        }
    }

    fn millis_until(&self, until: Time) -> u64 {
        u64::try_from((until - self.now()).as_millis()).unwrap_or(u64::MAX)
    }
}
