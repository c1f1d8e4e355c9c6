//! The loop of a prover: one task at a time, and what is between two of them.

mod ended;
mod view;

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use myriad_core::{Blob, JobId, Peer, SPEED_ONE, TaskRef};
use myriad_net::{
    AskError, Event as NetEvent, Network, Regard, parse_peer, short_name,
    wire::{Lease, Notice, OfferMessage, Request, Response, Returned, Role, Why},
};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    Engine, Limits, MEMORY_SLACK, Status, StatusFile,
    disk::Disk,
    finished::{Kept, Submission, Unpaid},
    offers::Offers,
    progress::share_done,
    receipts::Receipts,
    status::now_s,
    task::{End, Progress, Tools, carry_out},
    tenure::Tenure,
};
use crate::StoreError;

const TICK: Duration = Duration::from_millis(250);
/// How often the status is written at least.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// A lease is renewed at least so often, so that its requester sees how far the task is.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// How long the end may take, in which a task is handed back and proofs are fetched that were just made.
const FAREWELL_MAX: Duration = Duration::from_secs(10);
/// Requesters that have signed for proofs and are let in whoever else is there: as many as there are connections.
const PAYERS_MAX: usize = 2048;
/// Blobs that an offer says are held.
const HOLDS_NAMED: usize = 32;

pub(super) struct Current {
    pub(super) requester: Peer,
    pub(super) task: TaskRef,
    pub(super) work: Duration,
    /// Since when it was asked for.
    pub(super) since: Instant,
    pub(super) tenure: Tenure,
    renewed: Instant,
    pub(super) progress: Arc<Progress>,
    pub(super) done: u16,
    /// Why it is being stopped by this machine, if it is.
    pub(super) stopped: Option<Stop>,
    handle: JoinHandle<End>,
}

pub(super) enum Stop {
    /// The requester does not want it any more; it need not be told.
    Revoked,
    Owner,
    Memory(u64),
    /// What it is made from does not come in time, its lease is over, or it takes longer than any task does.
    Overdue(String),
}

/// What the requests that the driver has started tell it.
pub(super) enum Told {
    Offered {
        peer: Peer,
        /// When it was offered to.
        since: Instant,
        answer: Result<Response, AskError>,
    },
    Renewed {
        task: TaskRef,
        answer: Result<Response, AskError>,
    },
    Submitted {
        task: TaskRef,
        answer: Result<Response, AskError>,
    },
}

pub(super) struct Driver<E: Engine> {
    tools: Arc<Tools<E>>,
    pub(super) network: Network,
    pub(super) limits: Limits,
    pub(super) offers: Offers,
    pub(super) current: Option<Current>,
    pub(super) submissions: BTreeMap<TaskRef, Submission>,
    pub(super) unpaid: Unpaid,
    pub(super) receipts: Arc<Receipts>,
    /// Proofs that others may still fetch from here, each for the job of a requester.
    pub(super) kept: HashMap<Blob, Kept>,
    /// CPU seconds of the machine that costs are measured on, for each of this machine's, as learned.
    pub(super) core_speed: f64,
    /// Work done for each second, in thousandths, as learned.
    pub(super) speed: f64,
    /// For tasks as the engine reckons their memory.
    memory_offered: u64,
    /// What no task takes longer than here.
    longest: Duration,
    pub(super) status: Status,
    pub(super) written: Instant,
    /// For how long this machine was suspended last, and since when it goes on.
    pub(super) resumed: Option<(Duration, Instant)>,
    tell: mpsc::UnboundedSender<Told>,
    pub(super) disk: Disk,
    /// Since when it is to end.
    pub(super) stopping: Option<Instant>,
    /// Tasks that are being handed back, each until its requester has heard of it.
    pub(super) returning: JoinSet<()>,
}

/// Serves requesters until `stop` is done; then hands back the task at hand and ends.
///
/// # Errors
/// [`StoreError`] where the disk does not serve.
pub async fn run<E: Engine>(
    network: Network,
    mut events: mpsc::UnboundedReceiver<NetEvent>,
    engine: E,
    limits: Limits,
    status: &StatusFile,
    observe: impl Fn(&Status),
    stop: impl Future<Output = ()>,
) -> Result<Status, StoreError> {
    let (tell, mut told) = mpsc::unbounded_channel();
    let pace = engine.pace(limits.threads);
    let tools = Tools {
        network: network.clone(),
        engine: Arc::new(engine),
        limits: limits.clone(),
        files: std::sync::Mutex::new(None),
    };
    let receipts = Receipts::open(status.dir())?;
    let earned = receipts.earned(PAYERS_MAX);
    for earned in earned.iter().filter(|earned| earned.is_useful()) {
        if let Some(peer) = parse_peer(&earned.requester) {
            network.regard(peer, Regard::Useful);
        }
    }
    let mut driver = Driver {
        tools: Arc::new(tools),
        offers: Offers::new(crate::engine_fingerprint(), Instant::now()),
        current: None,
        submissions: BTreeMap::new(),
        unpaid: Unpaid::new(),
        receipts: Arc::new(receipts),
        kept: HashMap::new(),
        core_speed: pace.core_speed,
        speed: f64::from(SPEED_ONE) * pace.speed,
        memory_offered: pace.memory_offered(limits.memory.bytes()),
        longest: pace.longest(&limits),
        status: Status {
            peer: myriad_net::peer_name(network.peer()),
            started: now_s(),
            memory_bytes: limits.memory.bytes(),
            ..Status::default()
        },
        written: Instant::now(),
        resumed: None,
        disk: Disk::new(network.blobs().quota_bytes()),
        network,
        limits,
        tell,
        stopping: None,
        returning: JoinSet::new(),
    };
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stop = std::pin::pin!(stop);
    driver.write(status, &observe);
    loop {
        let task = async {
            match &mut driver.current {
                Some(current) => (&mut current.handle).await,
                None => std::future::pending().await,
            }
        };
        let mut disk = None;
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => driver.event(event),
                None => return Ok(driver.status),
            },
            Some(told) = told.recv() => driver.told(told),
            end = task => {
                let end = end.unwrap_or_else(|e| End::Failed(format!("a bug in myriad: {e}")));
                disk = driver.ended(end);
            }
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
    }
}

impl<E: Engine> Driver<E> {
    fn event(&mut self, event: NetEvent) {
        match event {
            NetEvent::Greeted {
                peer,
                hello,
                clock_ahead_ms,
                ..
            } if hello.role == Role::Requester => {
                let now = Instant::now();
                self.offers.greeted(peer, hello.engine, &hello.build, now);
                self.offers.has_clock(peer, clock_ahead_ms);
                // What was made while the connection was broken goes there now.
                let waiting = self
                    .submissions
                    .values_mut()
                    .filter(|waiting| waiting.requester == peer);
                waiting.for_each(|waiting| waiting.next = now);
            }
            NetEvent::Greeted { .. } => {}
            NetEvent::OtherVersion { peer, theirs, build } => tracing::warn!(
                "peer {} ({build}) speaks version {theirs} of the protocol: one of the two has to be updated",
                short_name(peer)
            ),
            NetEvent::Lost { peer } => self.offers.lost(peer),
            NetEvent::Resumed { time } => self.resumed = Some((time, Instant::now())),
            NetEvent::Announced(said) => {
                if self.offers.announced(&said, Instant::now()) {
                    self.closed(said.job, said.requester);
                }
            }
            NetEvent::Asked { peer, request, reply } => {
                reply.send(Response::Received);
                if let Request::Notice(notice) = request {
                    self.notice(peer, notice);
                }
            }
        }
    }

    fn notice(&mut self, peer: Peer, notice: Notice) {
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
            } => self.judged(peer, task, accepted, &reason),
            Notice::Obsolete { proofs } => {
                let proofs = proofs.into_iter();
                // Only who it was made for can say so.
                let of_peer =
                    proofs.filter(|proof| self.kept.get(proof).is_some_and(|kept| kept.requester == peer));
                of_peer
                    .collect::<Vec<_>>()
                    .into_iter()
                    .for_each(|proof| self.drop_proof(proof));
            }
            Notice::Receipt(receipt) => self.receipt(peer, *receipt),
            // The network has told of it already.
            Notice::Job(_) => {}
        }
    }

    /// Nobody wants anything of a job any more.
    fn closed(&mut self, job: JobId, requester: Peer) {
        if self
            .current
            .as_ref()
            .is_some_and(|current| current.task.job == job && current.requester == requester)
        {
            self.stop_current(Stop::Revoked);
        }
        self.submissions
            .retain(|task, waiting| task.job != job || waiting.requester != requester);
        let proofs: Vec<Blob> = self
            .kept
            .iter()
            .filter(|(_, kept)| kept.job == job && kept.requester == requester)
            .map(|(&blob, _)| blob)
            .collect();
        proofs.into_iter().for_each(|proof| self.drop_proof(proof));
    }

    fn stop_current(&mut self, why: Stop) {
        let Some(current) = &mut self.current else {
            return;
        };
        if current.stopped.is_some() {
            return;
        }
        current.stopped = Some(why);
        current.progress.cancelled.store(true, Ordering::SeqCst);
        if current.progress.proving.load(Ordering::SeqCst) {
            self.tools.engine.stop();
        } else {
            // What it has fetched stays, for the next time.
            current.handle.abort();
        }
    }

    fn stop(&mut self) {
        self.stopping = Some(Instant::now());
        self.stop_current(Stop::Owner);
    }

    /// Whether it is to end and nobody waits for it any more: its task is handed back, and its proofs are
    /// where they belong, unless that takes too long.
    fn may_end(&self) -> bool {
        self.stopping.is_some_and(|since| {
            let done = self.current.is_none() && self.returning.is_empty() && self.submissions.is_empty();
            done || since.elapsed() > FAREWELL_MAX
        })
    }

    fn tick(&mut self) {
        let now = Instant::now();
        self.offers.forget_silent(now);
        self.look_at_disk(now);
        self.drop_forgotten();
        let stopped = self
            .current
            .as_ref()
            .is_some_and(|current| current.stopped.is_some());
        if stopped {
            // It may have been about to begin when it was stopped.
            self.tools.engine.stop();
        }
        self.renew();
        self.submit();
    }

    fn renew(&mut self) {
        let sample = self.tools.engine.sample();
        let Some(current) = &mut self.current else {
            return;
        };
        let now = Instant::now();
        if current.progress.proving.load(Ordering::SeqCst) {
            current.tenure.proves(now);
            let expected = current.work.as_secs_f64() / self.core_speed;
            current.done = current.done.max(share_done(sample.cpu.as_secs_f64(), expected));
            let allowed = self.limits.memory.bytes() as f64 * MEMORY_SLACK;
            if sample.memory_bytes as f64 > allowed {
                return self.stop_current(Stop::Memory(sample.memory_bytes));
            }
        }
        let end = match current.tenure.proving_since() {
            Some(_) => current.tenure.end_of_proving(current.done, now),
            None => {
                let came = current.progress.came.load(Ordering::Relaxed);
                current.tenure.end_of_fetching(came, now)
            }
        };
        if let Some(why) = end {
            return self.stop_current(Stop::Overdue(why));
        }
        if current.renewed.elapsed() < RENEW_EVERY || current.stopped.is_some() {
            return;
        }
        current.renewed = Instant::now();
        let (peer, task, progress) = (current.requester, current.task, current.done);
        self.ask(peer, Request::Renew { task, progress }, move |answer| {
            Told::Renewed { task, answer }
        });
    }

    pub(super) fn ask(
        &self,
        peer: Peer,
        request: Request,
        told: impl FnOnce(Result<Response, AskError>) -> Told + Send + 'static,
    ) {
        let (network, tell) = (self.network.clone(), self.tell.clone());
        tokio::spawn(async move {
            let answer = network.ask(peer, request).await;
            // If nobody listens, the prover has ended.
            let _ = tell.send(told(answer));
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
            holds: self.network.blobs().held(HOLDS_NAMED),
        };
        self.ask(peer, Request::Offer(offer), move |answer| Told::Offered {
            peer,
            since,
            answer,
        });
    }

    fn told(&mut self, told: Told) {
        match told {
            Told::Offered { peer, since, answer } => {
                let now = Instant::now();
                match answer {
                    Ok(Response::Lease(lease)) => self.leased(peer, *lease, since),
                    Ok(Response::Refused(refused)) => self.offers.refused(peer, Some(&refused), now),
                    Ok(Response::Received | Response::Extended { .. }) | Err(_) => {
                        self.offers.refused(peer, None, now)
                    }
                }
            }
            Told::Renewed { task, answer } => self.renewed(task, answer),
            Told::Submitted { task, answer } => self.submitted(task, answer),
        }
    }

    fn renewed(&mut self, task: TaskRef, answer: Result<Response, AskError>) {
        let Some(current) = self.current.as_mut().filter(|current| current.task == task) else {
            return;
        };
        match answer {
            Ok(Response::Extended { lease_ms }) => current.tenure.extended(lease_ms, Instant::now()),
            Ok(Response::Refused(refused))
                if refused.why == Why::NotLeased && !Tenure::is_worth_finishing(current.done) =>
            {
                tracing::info!("{} has gone to somebody else", task.task);
                self.stop_current(Stop::Revoked);
            }
            Ok(_) | Err(_) => {}
        }
    }

    fn leased(&mut self, requester: Peer, lease: Lease, since: Instant) {
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
        tracing::info!("{} for requester {}", lease.task.task, short_name(requester));
        let progress: Arc<Progress> = Arc::default();
        let (task, work) = (lease.task, Duration::from_millis(lease.work_ms));
        let tenure = Tenure::new(lease.lease_ms, self.longest, now);
        let handle = tokio::spawn(carry_out(
            Arc::clone(&self.tools),
            requester,
            lease,
            Arc::clone(&progress),
        ));
        self.current = Some(Current {
            requester,
            task,
            work,
            since,
            tenure,
            renewed: now,
            progress,
            done: 0,
            stopped: None,
            handle,
        });
    }
}
