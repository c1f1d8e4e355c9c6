//! Announces a job while it is being executed, and answers peers until its driver runs: provers
//! that mean to serve it hear where its files are. A job without a plan has never had a task, so
//! each question about one is answered at once, and no stranger's waits for the driver.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use myriad_core::{JobId, Peer, Standing};
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
/// How long the word that there is no job has to go out before the process may end.
const FAREWELL: Duration = Duration::from_millis(300);

/// Tells of a job that has no plan yet.
pub struct Herald {
    network: Network,
    /// The announcement for the case that there will be no driver.
    closed: Announcement,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Listener>,
}

/// The news of a job that came before its driver runs.
#[derive(Default)]
pub struct Heard {
    events: Vec<NetEvent>,
    spreading: Option<Spreading>,
}

impl Heard {
    /// The events that the driver has to know of, in order, and who has the files.
    pub(super) fn into_parts(self, job: JobId, files: &Files) -> (Vec<NetEvent>, Spreading) {
        let spreading = self.spreading.unwrap_or_else(|| Spreading::new(job, files));
        (self.events, spreading)
    }
}

/// The other end of a herald, which has the network's events meanwhile.
struct Listener {
    network: Network,
    events: UnboundedReceiver<NetEvent>,
    job: JobId,
    files: Files,
    banned: BTreeSet<Peer>,
    /// Those that have delivered for earlier jobs.
    proven: BTreeSet<Peer>,
    spreading: Spreading,
    /// The greeting of each connected peer.
    greetings: BTreeMap<Peer, NetEvent>,
    /// Events that the driver has to show.
    news: Vec<NetEvent>,
}

impl Herald {
    /// Announces the job, and takes the network's events until it ends. Runs in the Tokio runtime
    /// that it is called in.
    pub fn begin(
        network: Network,
        events: &mut UnboundedReceiver<NetEvent>,
        job: JobId,
        files: Files,
        standings: &[(Peer, Standing)],
    ) -> Self {
        let banned = standings.iter().filter(|(_, standing)| standing.banned.is_some());
        let proven = standings.iter().filter(|(_, standing)| standing.is_proven());
        let listener = Listener {
            network: network.clone(),
            events: std::mem::replace(events, mpsc::unbounded_channel().1),
            job,
            spreading: Spreading::new(job, &files),
            banned: banned.map(|&(peer, _)| peer).collect(),
            proven: proven.map(|&(peer, _)| peer).collect(),
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
            task: tokio::spawn(listener.listen(stopped)),
        }
    }

    /// The job is planned: gives the events back, and what the driver has to know.
    pub async fn end(self, events: &mut UnboundedReceiver<NetEvent>) -> Heard {
        // If it does not listen, the network has ended.
        let _ = self.stop.send(());
        let listener = self.task.await.expect("it does not panic, and is not aborted");
        *events = listener.events;
        let greetings = listener.greetings.into_values();
        Heard {
            events: greetings.chain(listener.news).collect(),
            spreading: Some(listener.spreading),
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
                event = self.events.recv() => match event {
                    Some(event) => self.handle(event),
                    None => return self,
                },
            }
        }
    }

    fn handle(&mut self, event: NetEvent) {
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
            NetEvent::Asked { peer, request, reply } => self.answer(peer, request, reply),
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
                let response = if self.banned.contains(&peer) || !hello.is_some_and(is_served) {
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
                reply.send(refused(Why::NotLeased, "the job has no tasks yet", None));
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
