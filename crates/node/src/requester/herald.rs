//! Announces a job while it is being executed, and answers peers until its driver runs: provers
//! that mean to serve it hear where its files are. Each question about a task is answered at once,
//! so that no stranger's waits for the driver. Where an earlier run gave out segments before its
//! plan was there, their holders are told to go on until they are cut again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use myriad_core::{JobId, Peer, Refusal, Standing, TaskId};
use myriad_net::{
    Event as NetEvent, Network, Reply,
    wire::{Announcement, Request, Response, Why},
};
use tokio::{
    sync::{
        mpsc::{self, UnboundedReceiver},
        oneshot,
    },
    task::JoinHandle,
};

use super::{
    Files,
    refusals::{NOT_SERVED, is_served, no_such_job, refused},
    spreading::{Prover, Spreading},
};

/// When a prover is to ask again that offers itself all the same. It hears of the plan before.
const RETRY: Duration = Duration::from_secs(5);
/// Events that are kept for the driver, beside the greetings of connected peers.
const NEWS_MAX: usize = 64;
/// How long the holder of a segment may go on that is not cut again yet, before it says that it
/// still does.
const EXTENDED: Duration = Duration::from_secs(60);
/// How often it is found out who has the files.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long the word that there is no job has to go out before the process may end.
const FAREWELL: Duration = Duration::from_millis(300);

/// Tells of a job that has no plan yet.
pub struct Herald {
    network: Network,
    /// The announcement for the case that there will be no driver.
    closed: Announcement,
    stop: oneshot::Sender<()>,
    enough_for: Arc<AtomicUsize>,
    task: JoinHandle<Listener>,
}

/// The news of a job that came before its driver runs.
#[derive(Default)]
pub struct Heard {
    events: Vec<NetEvent>,
    spreading: Option<Spreading>,
    returned: BTreeSet<(TaskId, Peer)>,
}

impl Heard {
    /// The events that the driver has to know of, in order, the holders of the files, and the
    /// leases of an earlier run that were given back.
    pub(super) fn into_parts(
        self,
        job: JobId,
        files: &Files,
    ) -> (Vec<NetEvent>, Spreading, BTreeSet<(TaskId, Peer)>) {
        let spreading = self.spreading.unwrap_or_else(|| Spreading::new(job, files));
        (self.events, spreading, self.returned)
    }
}

/// The other end of a herald, which has the network's events meanwhile.
struct Listener {
    network: Network,
    events: UnboundedReceiver<NetEvent>,
    job: JobId,
    files: Files,
    banned: BTreeSet<Peer>,
    /// The peers that have delivered for earlier jobs.
    proven: BTreeSet<Peer>,
    /// The leases of segments that an earlier run gave out before its plan was there, and those of
    /// them that were given back.
    leased: BTreeSet<(TaskId, Peer)>,
    returned: BTreeSet<(TaskId, Peer)>,
    spreading: Spreading,
    /// How many tasks could be given out.
    enough_for: Arc<AtomicUsize>,
    /// When that was looked at.
    looked: Instant,
    /// The greeting of each connected peer.
    greetings: BTreeMap<Peer, NetEvent>,
    /// Events that the driver has to show.
    news: Vec<NetEvent>,
}

impl Herald {
    /// Announces the job, and takes the network's events until it ends. `leased` are leases of an
    /// earlier run that was making the same plan. Runs in the Tokio runtime that it is called in.
    pub fn begin(
        network: Network,
        events: &mut UnboundedReceiver<NetEvent>,
        job: JobId,
        files: Files,
        standings: &[(Peer, Standing)],
        leased: impl IntoIterator<Item = (TaskId, Peer)>,
    ) -> Self {
        let enough_for: Arc<AtomicUsize> = Arc::default();
        let banned = standings.iter().filter(|(_, standing)| standing.banned.is_some());
        let proven = standings.iter().filter(|(_, standing)| standing.is_proven());
        let listener = Listener {
            network: network.clone(),
            events: std::mem::replace(events, mpsc::unbounded_channel().1),
            job,
            spreading: Spreading::new(job, &files),
            enough_for: Arc::clone(&enough_for),
            looked: Instant::now(),
            banned: banned.map(|&(peer, _)| peer).collect(),
            proven: proven.map(|&(peer, _)| peer).collect(),
            leased: leased.into_iter().collect(),
            returned: BTreeSet::new(),
            greetings: BTreeMap::new(),
            news: Vec::new(),
            files,
        };
        let say = |open| listener.files.announcement(&network, job, None, open);
        let closed = say(false);
        tracing::debug!(stage = "herald", "announcing a job that is being executed");
        network.announce(say(true));
        let (stop, stopped) = oneshot::channel();
        Self {
            network,
            closed,
            stop,
            enough_for,
            task: tokio::spawn(listener.listen(stopped)),
        }
    }

    /// Whether so many tasks can be given out already: enough provers have the files
    /// ([`myriad_core::spreading::Spreading::enough_for`]).
    pub fn is_spread(&self, tasks: usize) -> bool {
        self.enough_for.load(Ordering::Relaxed) >= tasks
    }

    /// The job has tasks: gives the events back, and what the driver has to know.
    pub async fn end(self, events: &mut UnboundedReceiver<NetEvent>) -> Heard {
        // If it does not listen, the network has ended.
        let _ = self.stop.send(());
        let listener = self.task.await.expect("it does not panic, and is not aborted");
        *events = listener.events;
        let greetings = listener.greetings.into_values();
        Heard {
            events: greetings.chain(listener.news).collect(),
            spreading: Some(listener.spreading),
            returned: listener.returned,
        }
    }

    /// There will be no tasks: the job could not be planned, or is done.
    pub async fn withdraw(self) {
        self.task.abort();
        self.network.announce(self.closed);
        if !self.network.peers().is_empty() {
            tokio::time::sleep(FAREWELL).await;
        }
    }
}

impl Listener {
    async fn listen(mut self, mut stopped: oneshot::Receiver<()>) -> Self {
        loop {
            tokio::select! {
                // Events that have come belong to the driver already.
                biased;
                _ = &mut stopped => return self,
                () = tokio::time::sleep(LOOK_EVERY) => self.look(),
                event = self.events.recv() => match event {
                    Some(event) => self.handle(event),
                    None => return self,
                },
            }
        }
    }

    fn handle(&mut self, event: NetEvent) {
        if self.looked.elapsed() >= LOOK_EVERY {
            self.look();
        }
        match event {
            NetEvent::Greeted { peer, .. } => {
                self.greetings.insert(peer, event);
            }
            NetEvent::Lost { peer } => {
                self.greetings.remove(&peer);
                self.spreading.forget(peer);
            }
            NetEvent::Announced(_) => {}
            NetEvent::OtherVersion { .. } | NetEvent::Resumed { .. } => {
                if self.news.len() < NEWS_MAX {
                    self.news.push(event);
                }
            }
            NetEvent::Request { peer, request, reply } => self.answer(peer, request, reply),
        }
    }

    /// Finds out for how many tasks enough provers have the files.
    fn look(&mut self) {
        self.looked = Instant::now();
        let (name, own) = (self.files.engine.name, self.network.engines());
        let is_served = |event: &NetEvent| matches!(event, NetEvent::Greeted { hello, .. } if is_served(hello, name, own));
        let served = self.greetings.iter().filter(|(_, event)| is_served(event));
        let (proven, strangers): (Vec<_>, Vec<_>) = served.partition(|(peer, _)| self.proven.contains(peer));
        // Strangers count as little here as those of them that say that they have the files.
        let provers = if proven.is_empty() { strangers } else { proven };
        let enough_for = self.spreading.enough_for(provers.len());
        self.enough_for.store(enough_for, Ordering::Relaxed);
    }

    /// Answers to a question about a task, which only those can have that were given it before.
    fn answer_holder(&mut self, peer: Peer, task: TaskId, request: &Request) -> Response {
        let lease = (task, peer);
        if !self.leased.contains(&lease) {
            return refused(Why::NotLeased, "the job has no tasks yet", None);
        }
        match request {
            Request::Renew { .. } => Response::Extended {
                lease_ms: EXTENDED.as_millis() as u64,
            },
            Request::Return { .. } => {
                self.leased.remove(&lease);
                self.returned.insert(lease);
                Response::Received
            }
            _ => refused(Why::NotNow, &Refusal::NotYet.to_string(), None),
        }
    }

    fn answer(&mut self, peer: Peer, request: Request, reply: Reply) {
        match request {
            Request::Offer(_) => {
                let reason = "the job is being executed, and there are tasks when that is done";
                reply.send(refused(Why::NotNow, reason, Some(RETRY.as_millis() as u64)));
            }
            Request::Prepare { job, holds } if job == self.job => {
                let (hello, origin) = match self.greetings.get(&peer) {
                    Some(NetEvent::Greeted { hello, origin, .. }) => (Some(hello), *origin),
                    _ => (None, None),
                };
                let (name, own) = (self.files.engine.name, self.network.engines());
                let is_served = hello.is_some_and(|hello| is_served(hello, name, own));
                let response = if self.banned.contains(&peer) || !is_served {
                    refused(Why::NotServed, NOT_SERVED, None)
                } else {
                    let prover = Prover {
                        peer,
                        is_proven: self.proven.contains(&peer),
                        origin,
                        holds: &holds,
                    };
                    self.spreading.answer(&self.network, &self.files, &prover)
                };
                reply.send(response);
            }
            Request::Renew { task, .. } | Request::Submit { task, .. } | Request::Return { task, .. }
                if task.job == self.job =>
            {
                reply.send(self.answer_holder(peer, task.task, &request));
            }
            Request::Prepare { .. }
            | Request::Renew { .. }
            | Request::Submit { .. }
            | Request::Return { .. } => reply.send(no_such_job()),
            // Requesters give notice; nobody gives them any.
            Request::Notice(_) => reply.send(Response::Received),
        }
    }
}
