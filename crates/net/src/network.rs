//! The handle of a running node: what drivers use.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use libp2p::{Swarm, request_response::ResponseChannel};
use myriad_core::Peer;
use thiserror::Error;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::{
    actor::{Actor, Command},
    behaviour::{Behaviour, swarm},
    blob::BlobStore,
    config::{Config, StartError},
    identity::Identity,
    peer::id_of,
    reach::{Capped, Gate, SharedGate},
    receipt::{Receipt, SignedReceipt},
    slots::Regard,
    suspension::since_boot,
    transfer::{FetchFailed, Fetcher, serve},
    wire::{Announcement, Contact, HOLDERS_MAX, Hello, Request, Response, Role, Source},
};

/// A node of the network. Clones are handles of the same; the last one that is dropped ends it.
#[derive(Clone)]
pub struct Network(Arc<Inner>);

struct Inner {
    peer: Peer,
    identity: Identity,
    commands: mpsc::UnboundedSender<Command>,
    shared: Arc<Shared>,
    fetcher: Fetcher,
    blobs: BlobStore,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.closed.notify_one();
    }
}

/// What happens on the network.
#[derive(Debug)]
pub enum Event {
    /// A peer has said what it is. It can be asked from now on.
    Greeted {
        peer: Peer,
        hello: Hello,
        /// The network that it calls from, as a number; none where its address says nothing, as on a LAN.
        origin: Option<u64>,
        /// By how many milliseconds its clock is ahead of this one, less what the greeting was on its way; below 0 where
        /// it is behind.
        clock_ahead_ms: i64,
    },
    /// A peer speaks another version of the protocol: one of the two has to be updated.
    OtherVersion { peer: Peer, theirs: u32, build: String },
    /// The last connection with a peer is gone.
    Lost { peer: Peer },
    /// A requester has a job, or has it no more. Signed by the requester, and newer than what it said before.
    Announced(Announcement),
    /// This machine was suspended for so long; all connections are lost and opened anew.
    Resumed { time: Duration },
    /// A peer asks, and waits for the reply.
    Asked {
        peer: Peer,
        request: Request,
        reply: Reply,
    },
}

/// What a peer waits for. Dropped without an answer, the peer is told that the connection failed.
#[derive(Debug)]
pub struct Reply {
    channel: Option<ResponseChannel<Response>>,
    commands: mpsc::UnboundedSender<Command>,
    unanswered: Arc<AtomicUsize>,
}

impl Reply {
    pub(crate) fn new(
        channel: ResponseChannel<Response>,
        commands: mpsc::UnboundedSender<Command>,
        unanswered: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            channel: Some(channel),
            commands,
            unanswered,
        }
    }

    pub fn send(mut self, response: Response) {
        if let Some(channel) = self.channel.take() {
            // If the network has ended, nobody waits any more.
            let _ = self.commands.send(Command::Answer { channel, response });
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.unanswered.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a peer gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AskError {
    #[error("the peer cannot be reached")]
    Unreachable,
    #[error("the peer does not answer")]
    Timeout,
    #[error("the peer does not speak this protocol")]
    NoNode,
    #[error("the peer's answer is no message: {0}")]
    Garbage(String),
    #[error("the connection broke: {0}")]
    Broken(String),
}

/// What is known of a connected peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    pub peer: Peer,
    /// None until it has greeted.
    pub role: Option<Role>,
    pub build: String,
    /// Where it says that it listens.
    pub addresses: Vec<String>,
}

/// What went over the network since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes of blobs with their hashes, sent and received.
    pub blob_bytes_out: u64,
    pub blob_bytes_in: u64,
    /// Requests, answers and announcements, in both directions.
    pub messages: u64,
}

/// What the actor and the transfers let the handles see.
#[derive(Default)]
pub(crate) struct Shared {
    pub closed: Notify,
    peers: Mutex<BTreeMap<Peer, PeerStatus>>,
    listening: Mutex<Vec<String>>,
    pub messages: AtomicU64,
    pub blob_bytes_out: AtomicU64,
    pub blob_bytes_in: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn set_peer(&self, peer: Peer, status: Option<PeerStatus>) {
        match status {
            Some(status) => lock(&self.peers).insert(peer, status),
            None => lock(&self.peers).remove(&peer),
        };
    }

    pub(crate) fn set_listening(&self, addresses: Vec<String>) {
        *lock(&self.listening) = addresses;
    }

    pub(crate) fn count_message(&self) {
        self.messages.fetch_add(1, Ordering::Relaxed);
    }
}

/// Listens where the node is to, or, unless its owner said where, on at least one address.
fn listen(swarm: &mut Swarm<Capped<Behaviour>>, config: &Config) -> Result<(), StartError> {
    let (addresses, each) = config.listen.addresses();
    let mut listens = false;
    let mut failed = None;
    for address in addresses {
        match swarm.listen_on(address.0.clone()) {
            Ok(_) => listens = true,
            Err(e) => {
                let (address, reason) = (address.to_string(), e.to_string());
                tracing::debug!("not listening on {address}: {reason}");
                failed.get_or_insert(StartError::Listen { address, reason });
            }
        }
    }
    match failed {
        Some(error) if each || !listens => Err(error),
        _ => Ok(()),
    }
}

impl Network {
    /// Joins the network; what happens there comes out of the second value, in order.
    ///
    /// Runs in the Tokio runtime that it is called in.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start(config: Config) -> Result<(Self, mpsc::UnboundedReceiver<Event>), StartError> {
        Self::start_with_clock(config, since_boot)
    }

    /// The same with another clock: `since_boot` says how long ago the machine was started, with all the time in which it
    /// was suspended, and none where that is not known.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start_with_clock(
        config: Config,
        since_boot: impl Fn() -> Option<Duration> + Send + 'static,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Event>), StartError> {
        let gate = SharedGate::new(Gate::new(config.limits.scope_of));
        let mut swarm = swarm(&config, gate.clone())?;
        listen(&mut swarm, &config)?;
        for address in &config.external {
            swarm.add_external_address(address.0.clone());
        }
        let shared = Arc::new(Shared::default());
        let mut control = swarm.behaviour().blobs.new_control();
        let incoming = control
            .accept(crate::behaviour::BLOB_PROTOCOL)
            .map_err(|e| StartError::Setup(e.to_string()))?;
        tokio::spawn(serve(
            incoming,
            config.blobs.clone(),
            config.limits,
            Arc::clone(&shared),
        ));

        let (events, received) = mpsc::unbounded_channel();
        let channels = mpsc::unbounded_channel();
        let commands = channels.0.clone();
        let (peer, identity) = (config.identity.peer(), config.identity.clone());
        let blobs = config.blobs.clone();
        let actor = Actor::new(swarm, gate, &config, channels, events, Arc::clone(&shared));
        tokio::spawn(actor.with_clock(Box::new(since_boot)).run());
        let fetcher = Fetcher::new(control, commands.clone(), Arc::clone(&shared));
        let inner = Inner {
            peer,
            identity,
            commands,
            shared,
            fetcher,
            blobs,
        };
        Ok((Self(Arc::new(inner)), received))
    }

    /// Leaves the network at once, whoever still holds a handle.
    pub fn close(&self) {
        self.0.shared.closed.notify_one();
    }

    /// This node, as others see it.
    pub fn peer(&self) -> Peer {
        self.0.peer
    }

    /// The blobs that this node holds and serves.
    pub fn blobs(&self) -> &BlobStore {
        &self.0.blobs
    }

    /// Where this node listens, with its name at the end; empty until it does.
    pub fn listening(&self) -> Vec<String> {
        lock(&self.0.shared.listening).clone()
    }

    /// The connected peers.
    pub fn peers(&self) -> Vec<PeerStatus> {
        lock(&self.0.shared.peers).values().cloned().collect()
    }

    pub fn traffic(&self) -> Traffic {
        let shared = &self.0.shared;
        Traffic {
            blob_bytes_out: shared.blob_bytes_out.load(Ordering::Relaxed),
            blob_bytes_in: shared.blob_bytes_in.load(Ordering::Relaxed),
            messages: shared.messages.load(Ordering::Relaxed),
        }
    }

    /// Asks a peer, and waits for its answer.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask(&self, peer: Peer, request: Request) -> Result<Response, AskError> {
        let id = id_of(peer).ok_or(AskError::NoNode)?;
        let (answer, answered) = oneshot::channel();
        let command = Command::Ask {
            peer: id,
            request,
            answer,
        };
        let ended = |_| AskError::Broken("the network has ended".into());
        self.0.commands.send(command).map_err(|_| ended(()))?;
        answered.await.unwrap_or_else(|_| Err(ended(())))
    }

    /// Tells the network of a job of this node's, again and again until it is closed. Who, when and where
    /// are filled in.
    pub fn announce(&self, announcement: Announcement) {
        // If the network has ended, nobody listens.
        let _ = self.0.commands.send(Command::Announce(Box::new(announcement)));
    }

    /// Says what a peer is to this node: who is of use keeps its connection, and gets one, whoever else is there.
    pub fn regard(&self, peer: Peer, regard: Regard) {
        if let Some(id) = id_of(peer) {
            // If the network has ended, there are no connections.
            let _ = self.0.commands.send(Command::Regard { peer: id, regard });
        }
    }

    /// Signs a receipt as this node.
    ///
    /// # Panics
    /// Where its requester is another node.
    pub fn sign(&self, receipt: Receipt) -> SignedReceipt {
        receipt.sign(&self.0.identity)
    }

    /// Where a peer may be reached; itself for this node.
    pub fn contact(&self, peer: Peer) -> Contact {
        let addresses = if peer == self.0.peer {
            let mut own = self.listening();
            // The name is not part of an address.
            own.iter_mut().for_each(|address| {
                if let Some(at) = address.rfind("/p2p/") {
                    address.truncate(at);
                }
            });
            own
        } else {
            let peers = lock(&self.0.shared.peers);
            peers
                .get(&peer)
                .map(|status| status.addresses.clone())
                .unwrap_or_default()
        };
        Contact { peer, addresses }
    }

    /// Where a blob is: with those of `holders` who come first, and with this node as the last resort.
    pub fn source(&self, blob: crate::blob::BlobRef, holders: impl IntoIterator<Item = Peer>) -> Source {
        let others = holders.into_iter().filter(|&peer| peer != self.0.peer);
        let holders = others.take(HOLDERS_MAX - 1).chain([self.0.peer]);
        Source {
            blob,
            holders: holders.map(|peer| self.contact(peer)).collect(),
        }
    }

    /// Fetches a blob from whoever has it, in the order of its holders, and keeps it. `told_by` said
    /// where it is.
    ///
    /// A holder that is slow or silent is left for the next one within seconds, and what it sent is kept.
    /// Busy ones are asked again for five minutes; longer than that and a second for every 64 KiB it does
    /// not take. `came` is told how many more bytes of it have come, whenever some have. The future may be dropped at
    /// any time.
    ///
    /// # Errors
    /// See [`FetchFailed`].
    pub async fn fetch(
        &self,
        source: &Source,
        told_by: Peer,
        came: impl FnMut(u64) + Send,
    ) -> Result<(), FetchFailed> {
        self.0
            .fetcher
            .fetch(&self.0.blobs, self.0.peer, source, told_by, came)
            .await
    }
}
