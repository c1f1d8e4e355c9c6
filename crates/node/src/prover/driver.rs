//! The loop of a prover: one task at a time, and what is between two of them.

use std::{
    collections::{BTreeMap, HashMap},
    future::Future,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use myriad_core::{Blob, JobId, Peer, SPEED_ONE, TaskRef};
use myriad_engine::worker::Usage;
use myriad_net::{
    AskError, Event as NetEvent, Network, Receipt, SignedReceipt,
    blob::{BlobRef, Pin},
    short_name,
    wire::{Lease, Notice, OfferMessage, Request, Response, Returned, Role, Spent, Why, cut},
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    Engine, Limits, Status, StatusFile,
    offers::Offers,
    progress::share_done,
    receipts::Receipts,
    status::now_s,
    task::{End, Progress, Tools, carry_out},
};
use crate::StoreError;

const TICK: Duration = Duration::from_millis(250);
/// How often the status is written at least.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// A lease is renewed at least so often, so that its requester sees how far the task is.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// How often a proof is submitted again that its requester has not answered to.
const SUBMIT_EVERY: Duration = Duration::from_secs(3);
/// How long a proof is offered to a requester that cannot be reached.
const SUBMIT_FOR: Duration = Duration::from_secs(3600);
/// How long the end may take, in which a task is handed back and proofs are fetched that were just made.
const FAREWELL_MAX: Duration = Duration::from_secs(10);
/// Proofs that are waited for receipts of. A prover makes a few hundred a day.
const UNPAID_MAX: usize = 10_000;
/// Blobs that an offer says are held.
const HOLDS_NAMED: usize = 32;
/// An engine child may take this share more than is lent: what a requester expects is measured, and the allocator
/// of one machine is not that of another.
const MEMORY_SLACK: f64 = 1.06;
/// A lease that has run out is given up, unless so much of the task is done, in thousandths: a late proof
/// is heard as long as nobody was faster.
const WORTH_FINISHING: u16 = 500;

pub(super) struct Current {
    pub(super) requester: Peer,
    pub(super) task: TaskRef,
    work: Duration,
    /// Since when it was asked for.
    since: Instant,
    /// Since when the engine is at it.
    pub(super) proving_since: Option<Instant>,
    renewed: Instant,
    pub(super) progress: Arc<Progress>,
    pub(super) done: u16,
    /// Why it is being stopped by this machine, if it is.
    stopped: Option<Stop>,
    handle: JoinHandle<End>,
}

enum Stop {
    /// The requester does not want it any more; it need not be told.
    Revoked,
    Owner,
    Memory(u64),
}

pub(super) struct Submission {
    requester: Peer,
    proof: BlobRef,
    spent: Spent,
    since: Instant,
    next: Instant,
    /// One is on its way.
    sent: bool,
}

/// Proofs that were submitted and for which there is no receipt: whose, and which.
type Unpaid = BTreeMap<TaskRef, (Peer, Blob)>;

struct Kept {
    requester: Peer,
    job: JobId,
    _pin: Pin,
}

/// What the requests that the driver has started tell it.
enum Told {
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
    /// An offer is on its way.
    offering: bool,
    pub(super) current: Option<Current>,
    pub(super) submissions: BTreeMap<TaskRef, Submission>,
    unpaid: Unpaid,
    pub(super) receipts: Arc<Receipts>,
    /// Proofs that others may still fetch from here, each for the job of a requester.
    kept: HashMap<Blob, Kept>,
    /// CPU seconds of the machine that costs are measured on, for each of this machine's, as learned.
    core_speed: f64,
    /// Work done for each second, in thousandths, as learned.
    speed: f64,
    /// For tasks as the engine reckons their memory.
    memory_offered: u64,
    pub(super) status: Status,
    pub(super) written: Instant,
    tell: mpsc::UnboundedSender<Told>,
    /// Since when it is to end.
    pub(super) stopping: Option<Instant>,
    /// A task is being handed back.
    returning: Option<JoinHandle<()>>,
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
    let mut driver = Driver {
        tools: Arc::new(tools),
        offers: Offers::new(crate::engine_fingerprint()),
        offering: false,
        current: None,
        submissions: BTreeMap::new(),
        unpaid: Unpaid::new(),
        receipts: Arc::new(Receipts::open(status.dir())?),
        kept: HashMap::new(),
        core_speed: pace.core_speed,
        speed: f64::from(SPEED_ONE) * pace.speed,
        memory_offered: pace.memory_offered(limits.memory.bytes()),
        status: Status {
            peer: myriad_net::peer_name(network.peer()),
            started: now_s(),
            memory_bytes: limits.memory.bytes(),
            ..Status::default()
        },
        written: Instant::now(),
        network,
        limits,
        tell,
        stopping: None,
        returning: None,
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
            _ = tick.tick() => driver.tick(),
            () = &mut stop, if driver.stopping.is_none() => driver.stop(),
        }
        if let Some(reason) = disk {
            // Without a disk nothing can be fetched or kept: say so, and leave the task to others.
            driver.stop();
            if let Some(returning) = driver.returning.take() {
                let _ = timeout(FAREWELL_MAX, returning).await;
            }
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
            NetEvent::Greeted { peer, hello, .. } if hello.role == Role::Requester => {
                self.offers.greeted(peer, hello.engine, &hello.build);
                // What was made while the connection was broken goes there now.
                let now = Instant::now();
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
            NetEvent::Announced(said) => {
                if self.offers.announced(&said) {
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
            } => {
                let submission = self
                    .submissions
                    .get(&task)
                    .filter(|waiting| waiting.requester == peer);
                let Some(proof) = submission.map(|waiting| waiting.proof) else {
                    return;
                };
                self.submissions.remove(&task);
                if accepted {
                    self.status.accepted += 1;
                } else {
                    self.status.rejected += 1;
                    self.unpaid.remove(&task);
                    self.kept.remove(&proof.blob);
                    tracing::warn!("the proof of {} was rejected: {reason:?}", task.task);
                }
            }
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

    /// Keeps a receipt for what was made here, from who has it, once.
    fn receipt(&mut self, peer: Peer, signed: SignedReceipt) {
        let Receipt {
            requester,
            prover,
            task,
            proof,
            ..
        } = signed.receipt;
        let due = self.unpaid.get(&task) == Some(&(peer, proof));
        if !due || requester != peer || prover != self.network.peer() || !signed.is_genuine() {
            return tracing::warn!("requester {} sends a receipt that is none", short_name(peer));
        }
        self.unpaid.remove(&task);
        let receipts = Arc::clone(&self.receipts);
        tokio::task::spawn_blocking(move || {
            if let Err(e) = receipts.keep(&signed) {
                tracing::error!("a receipt is lost: {e}");
            }
        });
    }

    fn drop_proof(&mut self, proof: Blob) {
        if self.kept.remove(&proof).is_some() {
            self.network.blobs().release(&proof);
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
            let returned = self.returning.as_ref().is_none_or(JoinHandle::is_finished);
            let done = self.current.is_none() && returned && self.submissions.is_empty();
            done || since.elapsed() > FAREWELL_MAX
        })
    }

    /// Lets go of proofs whose requesters have fallen silent.
    fn drop_forgotten(&mut self) {
        let (offers, submissions) = (&self.offers, &self.submissions);
        let forgotten = |kept: &Kept| {
            let waits = submissions.keys().any(|task| task.job == kept.job);
            !waits && !offers.has_job(kept.requester, kept.job)
        };
        let proofs = self
            .kept
            .iter()
            .filter(|(_, kept)| forgotten(kept))
            .map(|(&blob, _)| blob);
        proofs
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|proof| self.drop_proof(proof));
    }

    fn tick(&mut self) {
        self.offers.forget_silent();
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
        if current.progress.proving.load(Ordering::SeqCst) {
            current.proving_since.get_or_insert_with(Instant::now);
            let expected = current.work.as_secs_f64() / self.core_speed;
            current.done = current.done.max(share_done(sample.cpu.as_secs_f64(), expected));
            let allowed = self.limits.memory.bytes() as f64 * MEMORY_SLACK;
            if sample.memory_bytes as f64 > allowed {
                return self.stop_current(Stop::Memory(sample.memory_bytes));
            }
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

    fn submit(&mut self) {
        let now = Instant::now();
        self.submissions
            .retain(|_, waiting| waiting.since.elapsed() < SUBMIT_FOR);
        let due: Vec<TaskRef> = self
            .submissions
            .iter()
            .filter(|(_, waiting)| !waiting.sent && waiting.next <= now)
            .map(|(&task, _)| task)
            .collect();
        for task in due {
            let waiting = self.submissions.get_mut(&task).expect("it is in the list");
            waiting.sent = true;
            let (peer, proof, spent) = (waiting.requester, waiting.proof, waiting.spent);
            let submit = Request::Submit { task, proof, spent };
            self.ask(peer, submit, move |answer| Told::Submitted { task, answer });
        }
    }

    fn ask(
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

    /// Offers this machine to the next requester, if there is one and this machine is free.
    fn offer(&mut self) {
        if self.offering || self.stopping.is_some() || self.current.is_some() {
            return;
        }
        let Some(peer) = self.offers.next(&self.limits) else {
            return;
        };
        self.offering = true;
        let offer = OfferMessage {
            memory: self.memory_offered,
            threads: u16::try_from(self.limits.threads).unwrap_or(u16::MAX),
            speed: self.speed as u32,
            holds: self.network.blobs().held(HOLDS_NAMED),
        };
        let since = Instant::now();
        self.ask(peer, Request::Offer(offer), move |answer| Told::Offered {
            peer,
            since,
            answer,
        });
    }

    fn told(&mut self, told: Told) {
        match told {
            Told::Offered { peer, since, answer } => {
                self.offering = false;
                match answer {
                    Ok(Response::Lease(lease)) => self.leased(peer, *lease, since),
                    Ok(Response::Refused(refused)) => self.offers.refused(peer, Some(&refused)),
                    Ok(Response::Received | Response::Extended { .. }) | Err(_) => {
                        self.offers.refused(peer, None)
                    }
                }
            }
            Told::Renewed { task, answer } => {
                let Ok(Response::Refused(refused)) = answer else {
                    return;
                };
                let given_up = self.current.as_ref().is_some_and(|current| {
                    current.task == task && refused.why == Why::NotLeased && current.done < WORTH_FINISHING
                });
                if given_up {
                    tracing::info!("{} has gone to somebody else", task.task);
                    self.stop_current(Stop::Revoked);
                }
            }
            Told::Submitted { task, answer } => {
                let Some(waiting) = self.submissions.get_mut(&task) else {
                    return;
                };
                match answer {
                    // The verdict comes as a notice; if it is lost on the way, nothing is.
                    Ok(Response::Received) => {
                        waiting.next = Instant::now() + 20 * SUBMIT_EVERY;
                        waiting.sent = false;
                    }
                    Ok(Response::Refused(refused))
                        if refused.why == Why::NotLeased || refused.why == Why::Banned =>
                    {
                        let proof = waiting.proof.blob;
                        tracing::info!("the proof of {} is not wanted: {:?}", task.task, refused.reason);
                        self.submissions.remove(&task);
                        // It may be there already: a second submission of what is accepted is refused, too.
                        if !self.kept.contains_key(&proof) {
                            self.network.blobs().release(&proof);
                        }
                    }
                    Ok(_) | Err(_) => {
                        waiting.next = Instant::now() + SUBMIT_EVERY;
                        waiting.sent = false;
                    }
                }
            }
        }
    }

    fn leased(&mut self, requester: Peer, lease: Lease, since: Instant) {
        self.offers.granted(requester);
        if self.stopping.is_some() {
            return self.give_back(requester, lease.task, Returned::Stopping);
        }
        tracing::info!("{} for requester {}", lease.task.task, short_name(requester));
        let progress: Arc<Progress> = Arc::default();
        let (task, work) = (lease.task, Duration::from_millis(lease.work_ms));
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
            proving_since: None,
            renewed: Instant::now(),
            progress,
            done: 0,
            stopped: None,
            handle,
        });
    }

    fn give_back(&mut self, requester: Peer, task: TaskRef, why: Returned) {
        let network = self.network.clone();
        self.returning = Some(tokio::spawn(async move {
            // If it is not heard, the lease runs out.
            let _ = network.ask(requester, Request::Return { task, why }).await;
        }));
    }

    /// The task at hand has ended. Gives the reason if this machine's disk does not serve.
    fn ended(&mut self, end: End) -> Option<String> {
        let current = self.current.take().expect("its task has ended");
        let Current { requester, task, .. } = current;
        let in_vain = !matches!(end, End::Proven(..)) && !matches!(current.stopped, Some(Stop::Revoked));
        self.offers.worked(requester, current.since.elapsed(), in_vain);
        match (end, current.stopped) {
            (End::Proven(proof, pin, usage), _) => {
                self.learn(*usage, current.work);
                tracing::info!(
                    "{} is proven, in {:.1} s",
                    task.task,
                    current.since.elapsed().as_secs_f64()
                );
                let kept = Kept {
                    requester,
                    job: task.job,
                    _pin: pin,
                };
                self.kept.insert(proof.blob, kept);
                let now = Instant::now();
                let submission = Submission {
                    requester,
                    proof,
                    spent: Spent {
                        wall_ms: usage.wall.as_millis() as u64,
                        cpu_ms: usage.cpu.as_millis() as u64,
                        memory_bytes: usage.peak_bytes,
                    },
                    since: now,
                    next: now,
                    sent: false,
                };
                self.submissions.insert(task, submission);
                if self.unpaid.len() < UNPAID_MAX {
                    self.unpaid.insert(task, (requester, proof.blob));
                }
                self.submit();
                return None;
            }
            (_, Some(Stop::Revoked)) => {}
            (_, Some(Stop::Owner)) => self.give_back(requester, task, Returned::Stopping),
            (_, Some(Stop::Memory(bytes))) => {
                let why = format!(
                    "it took {bytes} bytes of memory, and {} are lent",
                    self.limits.memory.bytes()
                );
                self.failed(requester, task, why);
            }
            (End::Unwilling(reason), None) => {
                tracing::warn!(
                    "a job of requester {} is not served: {reason}",
                    short_name(requester)
                );
                self.offers.unwilling(requester, reason.clone());
                self.give_back(requester, task, Returned::Unwilling { reason: cut(reason) });
            }
            (End::Failed(message), None) => self.failed(requester, task, message),
            (End::Stopped, None) => self.failed(requester, task, "the engine child was stopped".into()),
            (End::Disk(reason), None) => {
                self.give_back(requester, task, Returned::Stopping);
                return Some(reason);
            }
        }
        None
    }

    fn failed(&mut self, requester: Peer, task: TaskRef, message: String) {
        self.status.failed += 1;
        tracing::warn!("{} failed: {message}", task.task);
        self.give_back(
            requester,
            task,
            Returned::Failed {
                message: cut(message),
            },
        );
    }

    /// New measurements weigh a quarter, so that one good or bad day does not decide; and since what a task takes is
    /// what its requester says, none counts for more than twice or less than half of what was believed.
    fn learn(&mut self, usage: Usage, work: Duration) {
        let (cpu, wall) = (usage.cpu.as_secs_f64(), usage.wall.as_secs_f64());
        let mix = |before: f64, seen: f64| 0.75 * before + 0.25 * seen.clamp(before / 2.0, before * 2.0);
        if wall > 0.1 {
            self.speed = mix(self.speed, f64::from(SPEED_ONE) * work.as_secs_f64() / wall);
        }
        if cpu > 0.1 {
            self.core_speed = mix(self.core_speed, work.as_secs_f64() / cpu);
        }
    }
}
