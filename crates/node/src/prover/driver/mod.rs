//! The loop of a prover. It does one task at a time, and looks for the next one in between.
//!
//! Each kind of knowledge has one owner: [`Offers`] for requesters, [`Prefetch`] for the files of a
//! job that has no tasks yet, [`Current`] for the task at hand, [`Finished`] for proofs, [`Disk`]
//! for the disk. The files beside this one hold the driver's own methods, by subject.

mod beforehand;
mod endings;
mod view;

use std::{
    future::Future,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use myriad_core::{JobId, Peer, SPEED_ONE, TaskRef};
use myriad_net::{
    AskError, Event as NetEvent, Network, Regard, parse_peer, short_name,
    wire::{Lease, Notice, OfferMessage, Refused, Request, Response, Returned, Role, Why},
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    Engine, Limits, Status, StatusFile,
    current::{Current, Stop},
    disk::Disk,
    finished::Finished,
    offers::Offers,
    prefetch::Prefetch,
    receipts::Receipts,
    status::now_s,
    task::Tools,
};
use crate::StoreError;

const TICK: Duration = Duration::from_millis(250);
/// The status is written at least this often.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// The time that shutting down may take: a task is handed back, and requesters fetch the proofs
/// that were just made.
const FAREWELL_MAX: Duration = Duration::from_secs(10);
/// Requesters that have signed for proofs and are let in whichever others are there: as many as
/// there are connections.
const PAYERS_MAX: usize = 2048;
/// The most blobs that an offer names as held.
const HOLDS_NAMED: usize = 32;

/// The answers to requests that the driver has made.
enum Answer {
    Offer {
        peer: Peer,
        /// When it was offered to.
        since: Instant,
        answer: Result<Response, AskError>,
    },
    Renewal {
        task: TaskRef,
        answer: Result<Response, AskError>,
    },
    Submission {
        peer: Peer,
        task: TaskRef,
        answer: Result<Response, AskError>,
    },
    /// A requester has signed for so much work that it is not a stranger.
    Useful { peer: Peer },
}

struct Driver<E: Engine> {
    // The tools for tasks, and the share of them that is offered.
    tools: Arc<Tools<E>>,
    limits: Limits,
    /// CPU seconds of the machine that costs are measured on, for each of this machine's, as
    /// learned.
    core_speed: f64,
    /// Work done for each second, in thousandths, as learned.
    speed: f64,
    /// The offered memory, as the engine reckons the memory of tasks.
    memory_offered: u64,
    /// The longest that any task may take here.
    longest: Duration,
    disk: Disk,

    // The work: before it, at hand, after it.
    offers: Offers,
    prefetch: Option<Prefetch>,
    current: Option<Current>,
    finished: Finished,
    receipts: Arc<Receipts>,

    // The outside.
    network: Network,
    answer_sender: mpsc::UnboundedSender<Answer>,
    /// Tasks that are being handed back, each until its requester has heard of it.
    returning: JoinSet<()>,
    status: Status,
    written: Instant,
    /// Peers of another version that its owner was told of.
    other_versions: u32,
    /// The length of this machine's last suspension, and the time of its end.
    resumed: Option<(Duration, Instant)>,

    // The end.
    /// Since when it is to end.
    stopping: Option<Instant>,
}

/// Serves requesters until `stop` is done; then hands back the task at hand and ends.
///
/// # Errors
/// [`StoreError`] if the disk fails.
pub async fn run<E: Engine>(
    network: Network,
    mut events: mpsc::UnboundedReceiver<NetEvent>,
    engine: E,
    limits: Limits,
    status: &StatusFile,
    observe: impl Fn(&Status),
    stop: impl Future<Output = ()>,
) -> Result<Status, StoreError> {
    let (answer_sender, mut answers) = mpsc::unbounded_channel();
    let mut driver = Driver::new(network, engine, limits, status.dir(), answer_sender)?;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stop = std::pin::pin!(stop);
    driver.write(status, &observe);
    loop {
        let (current, prefetch) = (&mut driver.current, &mut driver.prefetch);
        let task = async {
            match current {
                Some(current) => current.end().await,
                None => std::future::pending().await,
            }
        };
        let beforehand = async {
            match prefetch {
                Some(prefetch) => prefetch.end().await,
                None => std::future::pending().await,
            }
        };
        let mut disk = None;
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => driver.handle_event(event),
                None => return Ok(driver.status),
            },
            Some(answer) = answers.recv() => driver.handle_answer(answer),
            end = task => disk = driver.end_current(end),
            end = beforehand => driver.end_prefetch(end),
            Some(_) = driver.returning.join_next() => {}
            _ = tick.tick() => driver.tick(),
            () = &mut stop, if driver.stopping.is_none() => driver.stop(),
        }
        if let Some(reason) = disk {
            // Without a disk nothing can be fetched or kept: say so, and leave the task to others.
            driver.stop();
            let _ = timeout(FAREWELL_MAX, driver.returning.join_all()).await;
            return Err(StoreError::Disk { reason });
        }
        if driver.written.elapsed() > STATUS_EVERY {
            driver.write(status, &observe);
        }
        if driver.may_end() {
            driver.write(status, &observe);
            return Ok(driver.status);
        }
        driver.offer();
        driver.begin_prefetch();
    }
}

impl<E: Engine> Driver<E> {
    /// A driver without a task. `dir` has the receipts of earlier runs.
    fn new(
        network: Network,
        engine: E,
        limits: Limits,
        dir: &Path,
        answer_sender: mpsc::UnboundedSender<Answer>,
    ) -> Result<Self, StoreError> {
        let calibration = engine.calibration(limits.threads);
        let tools = Tools {
            network: network.clone(),
            engine: Arc::new(engine),
            limits: limits.clone(),
            files: std::sync::Mutex::new(None),
        };
        let receipts = Receipts::open(dir)?;
        let earned = receipts.earned(PAYERS_MAX);
        let useful = earned.iter().filter(|earned| earned.is_useful());
        let payers: Vec<Peer> = useful
            .filter_map(|earned| parse_peer(&earned.requester))
            .collect();
        for &peer in &payers {
            network.regard(peer, Regard::Useful);
        }
        Ok(Self {
            tools: Arc::new(tools),
            offers: Offers::new(network.engines().to_vec(), payers, Instant::now()),
            prefetch: None,
            current: None,
            finished: Finished::new(network.blobs().clone()),
            receipts: Arc::new(receipts),
            core_speed: calibration.core_speed,
            speed: f64::from(SPEED_ONE) * calibration.speed,
            memory_offered: calibration.memory_offered(limits.memory.bytes()),
            longest: calibration.longest(&limits, network.engines()),
            status: Status {
                engines: network.engines().iter().map(|id| id.name).collect(),
                peer: myriad_net::peer_name(network.peer()),
                started: now_s(),
                memory_bytes: limits.memory.bytes(),
                ..Status::default()
            },
            written: Instant::now(),
            other_versions: 0,
            resumed: None,
            disk: Disk::new(network.blobs().quota_bytes()),
            network,
            limits,
            answer_sender,
            stopping: None,
            returning: JoinSet::new(),
        })
    }

    fn handle_event(&mut self, event: NetEvent) {
        match event {
            NetEvent::Greeted {
                peer,
                hello,
                clock_ahead_ms,
                ..
            } if hello.role == Role::Requester => {
                let now = Instant::now();
                self.offers.greeted(peer, &hello.engines, &hello.build, now);
                self.offers.has_clock(peer, clock_ahead_ms, now);
                self.finished.submit_again(peer, now);
            }
            NetEvent::Greeted { .. } => {}
            NetEvent::OtherVersion { peer, theirs, build } => self.tell_version(peer, theirs, &build),
            NetEvent::Lost { peer } => self.offers.lost(peer),
            NetEvent::Resumed { time } => self.resumed = Some((time, Instant::now())),
            NetEvent::Announced(said) => {
                if self.offers.announced(&said, Instant::now()) {
                    self.close(said.job, said.requester);
                }
            }
            NetEvent::Request { peer, request, reply } => {
                let is_wake = matches!(request, Request::Notice(Notice::Wake));
                reply.send(if is_wake && self.current.is_some() {
                    // The requester need not wait for this machine.
                    Response::Refused(Refused {
                        why: Why::NotNow,
                        reason: "this machine is at a task".into(),
                        retry_ms: None,
                    })
                } else {
                    Response::Received
                });
                if let Request::Notice(notice) = request {
                    self.handle_notice(peer, notice);
                }
            }
        }
    }

    fn handle_notice(&mut self, peer: Peer, notice: Notice) {
        match notice {
            Notice::Wake => self.offers.woken(peer),
            Notice::Revoke { task, reason } => {
                let current = self
                    .current
                    .as_ref()
                    .filter(|current| current.task == task && current.requester == peer);
                if current.is_some() {
                    tracing::info!("{} is revoked: {reason:?}", task.task);
                    self.stop_current(Stop::Revoked);
                }
            }
            Notice::Verdict {
                task,
                accepted,
                reason,
            } => {
                if self.finished.judged(peer, task, accepted, &reason) {
                    let count = if accepted {
                        &mut self.status.accepted
                    } else {
                        &mut self.status.rejected
                    };
                    *count += 1;
                }
            }
            Notice::Obsolete { proofs } => self.finished.obsolete(peer, proofs),
            Notice::Receipt(receipt) => self.keep_receipt(peer, *receipt),
            // The network has told of it already.
            Notice::Job(_) => {}
        }
    }

    /// Nobody wants anything of a job any more.
    fn close(&mut self, job: JobId, requester: Peer) {
        if self
            .current
            .as_ref()
            .is_some_and(|current| current.is_of(job, requester))
        {
            self.stop_current(Stop::Revoked);
        }
        self.stop_prefetch(|prefetch| prefetch.is_of(job, requester));
        self.finished.close(job, requester);
    }

    fn stop_current(&mut self, why: Stop) {
        if let Some(current) = &mut self.current {
            current.stop(why, &*self.tools.engine);
        }
    }

    fn stop(&mut self) {
        self.stopping = Some(Instant::now());
        self.stop_current(Stop::Owner);
        self.stop_prefetch(|_| true);
    }

    /// Whether it is to end and nobody waits for it any more: its task is handed back, and its
    /// proofs are where they belong, unless that takes too long.
    fn may_end(&self) -> bool {
        self.stopping.is_some_and(|since| {
            let done = self.current.is_none() && self.returning.is_empty() && self.finished.submitted() == 0;
            done || since.elapsed() > FAREWELL_MAX
        })
    }

    fn tick(&mut self) {
        let now = Instant::now();
        self.offers.forget_silent(now);
        self.look_at_disk(now);
        let offers = &self.offers;
        self.finished
            .drop_forgotten(|requester, job| offers.has_job(requester, job));
        if self.current.as_ref().is_some_and(Current::is_stopped) {
            // It may have been about to begin when it was stopped.
            self.tools.engine.stop();
        }
        self.renew();
        self.submit();
    }

    /// Lends no more of the disk than there is.
    fn look_at_disk(&mut self, now: Instant) {
        let blobs = self.network.blobs();
        if self.disk.look(blobs, now) {
            self.finished.bound_kept();
            self.disk.note_room(blobs.room_bytes());
        }
    }

    /// Stops the task at hand where that has to be, and otherwise tells its requester how far it
    /// is.
    fn renew(&mut self) {
        let sample = self.tools.engine.sample();
        let Some(current) = &mut self.current else {
            return;
        };
        let lent_bytes = self.limits.memory.bytes();
        if let Some(why) = current.watch(sample, lent_bytes, self.core_speed, Instant::now()) {
            return self.stop_current(why);
        }
        if let Some(renewal) = current.renewal() {
            let (peer, task) = (current.requester, current.task);
            self.ask(peer, renewal, move |answer| Answer::Renewal { task, answer });
        }
    }

    /// Submits what is due.
    fn submit(&mut self) {
        for (peer, task, submission) in self.finished.due(Instant::now()) {
            self.ask(peer, submission, move |answer| Answer::Submission {
                peer,
                task,
                answer,
            });
        }
    }

    /// Asks a peer, beside everything else. Its answer is handled as `answer`.
    fn ask(
        &self,
        peer: Peer,
        request: Request,
        answer: impl FnOnce(Result<Response, AskError>) -> Answer + Send + 'static,
    ) {
        let (network, sender) = (self.network.clone(), self.answer_sender.clone());
        tokio::spawn(async move {
            let answered = network.ask(peer, request).await;
            // If nobody listens, the prover has ended.
            let _ = sender.send(answer(answered));
        });
    }

    /// Offers this machine to those whose turn it is, if it is free.
    fn offer(&mut self) {
        let now = Instant::now();
        if self.stopping.is_some() || self.current.is_some() || self.disk.why_not(now).is_some() {
            return;
        }
        while let Some(peer) = self.offers.next(&self.limits, now) {
            self.offer_to(peer, now);
        }
    }

    fn offer_to(&mut self, peer: Peer, since: Instant) {
        let offer = OfferMessage {
            memory: self.memory_offered,
            threads: u16::try_from(self.limits.threads).unwrap_or(u16::MAX),
            speed: self.speed as u32,
            engines: self.network.engines().iter().map(|id| id.name).collect(),
            holds: self.network.blobs().held(HOLDS_NAMED),
        };
        self.ask(peer, Request::Offer(offer), move |answer| Answer::Offer {
            peer,
            since,
            answer,
        });
    }

    fn handle_answer(&mut self, answer: Answer) {
        match answer {
            Answer::Offer { peer, since, answer } => {
                let now = Instant::now();
                match answer {
                    Ok(Response::Lease(lease)) => self.begin(peer, *lease, since),
                    Ok(Response::Refused(refused)) => self.offers.refused(peer, Some(&refused), now),
                    Ok(Response::Received | Response::Extended { .. } | Response::Files(_)) | Err(_) => {
                        self.offers.refused(peer, None, now);
                    }
                }
            }
            Answer::Renewal { task, answer } => self.renewed(task, answer),
            Answer::Submission { peer, task, answer } => self.finished.answered(peer, task, answer),
            Answer::Useful { peer } => self.offers.is_useful(peer),
        }
    }

    fn renewed(&mut self, task: TaskRef, answer: Result<Response, AskError>) {
        let Some(current) = self.current.as_mut().filter(|current| current.task == task) else {
            return;
        };
        match answer {
            Ok(Response::Extended { lease_ms }) => current.extend(lease_ms, Instant::now()),
            Ok(Response::Refused(refused))
                if refused.why == Why::NotLeased && !current.is_worth_finishing() =>
            {
                tracing::info!("{} has gone to somebody else", task.task);
                self.stop_current(Stop::Revoked);
            }
            Ok(_) | Err(_) => {}
        }
    }

    /// A requester has given a task.
    fn begin(&mut self, requester: Peer, lease: Lease, since: Instant) {
        let now = Instant::now();
        if self.stopping.is_some() {
            return self.give_back(requester, lease.task, Returned::Stopping);
        }
        if self.current.is_some() {
            // Several were asked, and another one was faster.
            self.offers.too_late(requester, now);
            return self.give_back(requester, lease.task, Returned::Surplus);
        }
        self.offers.granted(requester);
        self.offers.leased(requester, lease.task.job);
        // The lease names the peers that have the files now. It continues the fetch that ends here.
        self.stop_prefetch(|prefetch| prefetch.is_of(lease.task.job, requester));
        let name = lease.task.task.to_string();
        tracing::info!(stage = "lease", "{name} for requester {}", short_name(requester));
        let current = Current::begin(&self.tools, requester, lease, self.longest, since, now);
        self.current = Some(current);
    }
}
