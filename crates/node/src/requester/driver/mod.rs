//! The loop of a requester. It carries out what the state machine says about its jobs, with the
//! peers of the network.
//!
//! ```text
//!                 handle_event, handle_request                 apply_output
//!  network ──────────────────────────────────┐          ┌─────────────────────▶ outbox, announcements
//!                                            ▼          │
//!  Jobs ── handle_command ─────────▶ core::Requester ───┤
//!                                            ▲          │
//!  checks, trials, journals ─────────────────┘          └─────────────────────▶ checks, trials, journals
//!                 handle_completion
//! ```
//!
//! Jobs come and go while it runs: [`Jobs`] is the other end. A job is [`Heralded`] until it has
//! tasks, and an [`OfJob`] from then on.
//!
//! Each kind of knowledge has one owner: [`PeerBook`], [`Spreading`], [`ReceiptBook`]; that of a
//! job is in its [`OfJob`]. The files beside them hold the driver's own methods, by subject.

mod checks;
mod completion;
mod endings;
mod events;
mod examiner;
mod growing;
mod heralding;
mod holders;
mod jobs;
mod journal_notes;
mod messages;
mod of_job;
mod outbox;
mod outputs;
mod overview;
mod peer_book;
mod proofs;
mod receipt_book;
mod receipts;
mod remaking;
mod requests;
mod sending;
mod trials;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use myriad_core::{Blob, Input, JobId, Peer, Policy, Requester, TaskId, TaskRef, Time};
use myriad_net::{
    Event as NetEvent, Network, short_name,
    wire::{Hello, PROTOCOL_VERSION, Role},
};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::task::TaskTracker;

use self::{
    completion::Completion,
    examiner::Examiner,
    jobs::Command,
    of_job::{Heralded, OfJob},
    outbox::Outbox,
    peer_book::PeerBook,
    receipt_book::ReceiptBook,
    trials::Trials,
};
pub use self::{
    jobs::{Entered, Jobs, NewJob, Withdrawal},
    overview::{OVERVIEW_MAX, Overview, PeerRegard, PeerView},
};
use super::{
    backend::{JobBackend, PeerBackend},
    spreading::Spreading,
};
use crate::{Event, RunError};

/// The interval at which the observers hear what the network does, and the journals which peer
/// works on which task.
const TICK: Duration = Duration::from_millis(500);
/// The interval at which the driver looks which provers have the files of jobs without tasks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The longest sleep of the loop where the state machine waits for nothing.
const IDLE_MAX: Duration = Duration::from_secs(3600);

/// Serves jobs to the peers of a network.
pub struct Driver<J: JobBackend> {
    // The jobs.
    heralded: BTreeMap<JobId, Heralded>,
    jobs: BTreeMap<JobId, OfJob<J>>,
    commands: mpsc::UnboundedReceiver<Command<J>>,

    // The state machine that decides, and its clock.
    requester: Requester,
    start: Instant,

    // Its knowledge of peers.
    peers: PeerBook,
    spreading: Spreading,
    /// The blobs that the peer has whose offer is being answered.
    offered: Vec<Blob>,
    receipts: ReceiptBook,

    // Work beside the loop.
    examiner: Examiner,
    trials: Trials,
    completion_sender: mpsc::UnboundedSender<Completion<J::Finding>>,
    completions: mpsc::UnboundedReceiver<Completion<J::Finding>>,
    /// The ends of jobs.
    endings: TaskTracker,

    // The outside.
    network: Network,
    events: mpsc::UnboundedReceiver<NetEvent>,
    /// Whether the events are taken.
    listens: bool,
    outbox: Outbox,
    /// Notices to the users of all jobs, so far.
    notices: u64,

    // The end.
    /// Nobody wants any more jobs done.
    stopped: bool,
    /// When a job was closed last.
    closed: Option<Instant>,
}

impl<J: JobBackend> Driver<J> {
    /// A driver without jobs; see [`Self::run`]. `own` are provers on the requester's own machines.
    pub fn new(
        network: Network,
        events: mpsc::UnboundedReceiver<NetEvent>,
        own: BTreeSet<Peer>,
        peer_backend: impl PeerBackend,
        policy: Policy,
    ) -> (Self, Jobs<J>) {
        let (completion_sender, completions) = mpsc::unbounded_channel();
        let (jobs, commands) = Jobs::channel();
        let receipts = ReceiptBook::new(peer_backend.owed());
        let peers = PeerBook::new(Arc::new(peer_backend), own, Instant::now());
        let driver = Self {
            heralded: BTreeMap::new(),
            jobs: BTreeMap::new(),
            commands,
            requester: Requester::with_standings(policy, peers.standings(&network)),
            start: Instant::now(),
            peers,
            spreading: Spreading::default(),
            offered: Vec::new(),
            receipts,
            examiner: Examiner::new(network.clone()),
            trials: Trials::default(),
            completion_sender,
            completions,
            endings: TaskTracker::new(),
            outbox: Outbox::new(network.clone()),
            notices: 0,
            network,
            events,
            listens: false,
            stopped: false,
            closed: None,
        };
        (driver, jobs)
    }

    /// Serves jobs until `stop` completes, or until all [`Jobs`] are dropped. Jobs that are not
    /// done then end with [`RunError::Interrupted`], and their provers are told.
    ///
    /// # Errors
    /// [`RunError::NetworkEnded`], with which all jobs end, too.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), RunError> {
        let mut stop = std::pin::pin!(stop);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut result = Ok(());
        while !self.stopped && result.is_ok() {
            let timeout = self
                .requester
                .poll_timeout()
                .map_or(IDLE_MAX, |time| time - self.now());
            tokio::select! {
                event = self.events.recv(), if self.listens => match event {
                    Some(event) => self.handle_event(event),
                    None => {
                        self.end_all(|| RunError::NetworkEnded);
                        result = Err(RunError::NetworkEnded);
                    }
                },
                Some(completion) = self.completions.recv() => self.handle_completion(completion),
                (job, growth) = growing::next(&mut self.jobs) => self.grow(job, growth),
                command = self.commands.recv() => match command {
                    Some(command) => self.handle_command(command),
                    None => self.give_up(),
                },
                () = sleep(timeout) => self.input(Input::Timeout),
                _ = tick.tick() => self.tick(),
                _ = look.tick(), if self.heralded.values().any(|job| job.announced) => self.look(),
                () = &mut stop => self.give_up(),
            }
            self.conclude_jobs(result.is_err());
        }
        self.remember();
        self.say_farewell().await;
        result
    }

    fn handle_command(&mut self, command: Command<J>) {
        match command {
            Command::Enter {
                job,
                number,
                enough_for,
            } => self.enter(*job, number, enough_for),
            Command::Listen => self.listens = true,
            Command::Announce(entry) => self.herald(entry),
            Command::Open {
                entry,
                job,
                backend,
                ended,
            } => self.open(entry, *job, backend, ended),
            Command::Overview(asker) => self.answer_overview(asker),
            Command::Withdraw(entry) => self.withdraw(entry),
        }
    }

    /// Shows the provers that were at work at these tasks when an earlier run ended.
    fn show_restored(&mut self, job: JobId, tasks: impl IntoIterator<Item = TaskId>) {
        for task in tasks {
            for peer in self.requester.holders(TaskRef { job, task }) {
                let prover = self.place(peer);
                self.show(job, &Event::Started { prover, task });
            }
        }
    }

    /// Makes durable which peer works on which task, beside everything else.
    fn note_leases(&mut self) {
        for job in self.jobs.values_mut() {
            if !job.notes.is_writing() {
                let mut now: BTreeSet<_> = self.requester.leases(job.id).into_iter().collect();
                now.extend(self.requester.awaited(job.id));
                job.notes.note(now, &job.backend);
            }
        }
    }

    fn now(&self) -> Time {
        self.time_of(Instant::now())
    }

    /// An instant by the state machine's clock.
    fn time_of(&self, instant: Instant) -> Time {
        Time(instant.saturating_duration_since(self.start).as_micros() as u64)
    }

    fn tick(&mut self) {
        self.end_unplanned();
        let now = Instant::now();
        let gone = self.peers.take_gone(now);
        for job in self.jobs.values_mut() {
            job.holders.forget(&gone);
            while job.examining.try_join_next().is_some() {}
        }
        for peer in gone {
            self.spreading.forget(peer);
            self.input(Input::PeerLost { peer });
        }
        for prover in self.peers.take_left(self.network.peer()) {
            let left = Event::Left { prover };
            self.show_all(&left);
            // Their users may have heard of it from a job that has ended.
            for job in self.heralded.values_mut() {
                job.observer.event(&left);
            }
        }
        self.look_for_lost();
        for (&id, job) in &mut self.jobs {
            let requester = &self.requester;
            job.proofs
                .forget_claims(|peer, task| requester.has_claim(peer, TaskRef { job: id, task }));
        }
        if self.peers.is_due(now) {
            self.remember();
            self.settle_receipts();
        }
        self.note_leases();
        self.show_traffic();
    }

    fn show_traffic(&mut self) {
        let traffic = self.network.traffic();
        self.show_all(&Event::Traffic {
            peers: self.network.peers().len(),
            bytes_in: traffic.blob_bytes_in,
            bytes_out: traffic.blob_bytes_out,
        });
    }

    /// Tells a job's observer of an event.
    fn show(&mut self, job: JobId, event: &Event) {
        if let Some(job) = self.jobs.get_mut(&job) {
            job.observer.event(event);
        }
    }

    /// Tells the observers of all jobs that have tasks of an event that is none of a single job.
    fn show_all(&mut self, event: &Event) {
        for job in self.jobs.values_mut() {
            job.observer.event(event);
        }
    }

    /// Tells the users of all jobs.
    fn notice(&mut self, text: String) {
        let number = self.notices;
        self.notices += 1;
        let event = Event::NoticeToAll { number, text };
        self.show_all(&event);
        for job in self.heralded.values_mut() {
            job.observer.event(&event);
        }
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
            NetEvent::Resumed { time } => self.notice(format!(
                "this machine was suspended for {} s; its provers are being found again",
                time.as_secs()
            )),
            NetEvent::Request { peer, request, reply } => self.handle_request(peer, request, reply),
        }
    }

    fn handle_greeting(&mut self, peer: Peer, hello: Hello, origin: Option<u64>) {
        let lacks = match hello.role {
            Role::Prover => self.lacks_engine(&self.engine_names(), &hello.engines),
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
            self.notice(text);
        }
    }

    fn input(&mut self, input: Input) {
        let now = self.now();
        self.requester.handle_input(now, input);
        while let Some(output) = self.requester.poll_output() {
            self.apply_output(output);
        }
    }
}
