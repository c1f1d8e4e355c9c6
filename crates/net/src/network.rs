//! The handle of a running node, for drivers.

use std::{sync::Arc, time::Duration};

use libp2p::Swarm;
use myriad_core::{EngineId, Peer};
use tokio::sync::{mpsc, oneshot};

use crate::{
    actor::Actor,
    behaviour::{Behaviour, swarm},
    blob::BlobStore,
    config::{Config, StartError},
    identity::Identity,
    messages::{AskError, Command, Event},
    peer::id_of,
    reach::{Capped, Gate, SharedGate},
    receipt::{Receipt, SignedReceipt},
    serving::serve,
    shared::{PeerStatus, Shared, Traffic},
    slots::Regard,
    suspension::since_boot,
    transfer::{FetchFailed, Fetcher},
    wire::{Announcement, Contact, ENGINES_MAX, HOLDERS_MAX, Request, Response, Source},
};

/// A node of the network. Clones are handles of the same; the last one that is dropped ends it.
#[derive(Clone)]
pub struct Network(Arc<Inner>);

struct Inner {
    peer: Peer,
    engines: Vec<EngineId>,
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

    /// [`Self::start`] with another clock: `since_boot` says how long ago the machine was started,
    /// with all the time in which it was suspended. It gives none where that is not known.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn start_with_clock(
        config: Config,
        since_boot: impl Fn() -> Option<Duration> + Send + 'static,
    ) -> Result<(Self, mpsc::UnboundedReceiver<Event>), StartError> {
        let actual = config.engines.len();
        if actual > ENGINES_MAX {
            return Err(StartError::Engines { actual });
        }
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
            swarm.behaviour().slots.visitors(),
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
            engines: config.engines.clone(),
            identity,
            commands,
            shared,
            fetcher,
            blobs,
        };
        Ok((Self(Arc::new(inner)), received))
    }

    /// Leaves the network at once, even if others still hold a handle.
    pub fn close(&self) {
        self.0.shared.closed.notify_one();
    }

    /// This node, as others see it.
    pub fn peer(&self) -> Peer {
        self.0.peer
    }

    /// The engines that this node greets with.
    pub fn engines(&self) -> &[EngineId] {
        &self.0.engines
    }

    /// The blobs that this node holds and serves.
    pub fn blobs(&self) -> &BlobStore {
        &self.0.blobs
    }

    /// The addresses where this node listens, with its name at the end; empty until it does.
    pub fn listening(&self) -> Vec<String> {
        self.0.shared.listening()
    }

    /// The connected peers.
    pub fn peers(&self) -> Vec<PeerStatus> {
        self.0.shared.peers()
    }

    pub fn traffic(&self) -> Traffic {
        self.0.shared.traffic()
    }

    /// Asks a peer, and waits for its answer.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask(&self, peer: Peer, request: Request) -> Result<Response, AskError> {
        let id = id_of(peer).ok_or(AskError::NoNode)?;
        let (answer, receiver) = oneshot::channel();
        let command = Command::Ask {
            peer: id,
            request,
            answer,
        };
        let ended = |_| AskError::Broken("the network has ended".into());
        self.0.commands.send(command).map_err(|_| ended(()))?;
        receiver.await.unwrap_or_else(|_| Err(ended(())))
    }

    /// Tells the network of a job of this node's, again and again until it is closed. The network
    /// fills in the peer, the time and the addresses.
    pub fn announce(&self, announcement: Announcement) {
        // Once the network has ended, nobody listens.
        let _ = self.0.commands.send(Command::Announce(Box::new(announcement)));
    }

    /// Sets the worth of a peer to this node. A useful peer keeps its connection, and gets one,
    /// whichever others are there.
    pub fn regard(&self, peer: Peer, regard: Regard) {
        if let Some(id) = id_of(peer) {
            // Once the network has ended, there are no connections.
            let _ = self.0.commands.send(Command::Regard { peer: id, regard });
        }
    }

    /// Signs a receipt as this node.
    ///
    /// # Panics
    /// If its requester is another node.
    pub fn sign(&self, receipt: Receipt) -> SignedReceipt {
        receipt.sign(&self.0.identity)
    }

    /// The addresses where a peer may be reached; those of this node itself for its own name.
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
            self.0.shared.addresses_of(peer)
        };
        Contact { peer, addresses }
    }

    /// The source of a blob: the first of `holders`, with this node as the last resort.
    pub fn source(&self, blob: crate::blob::BlobRef, holders: impl IntoIterator<Item = Peer>) -> Source {
        let others = holders.into_iter().filter(|&peer| peer != self.0.peer);
        let holders = others.take(HOLDERS_MAX - 1).chain([self.0.peer]);
        Source {
            blob,
            holders: holders.map(|peer| self.contact(peer)).collect(),
        }
    }

    /// Fetches a blob from the peers that have it, in the order of its holders, and keeps it.
    /// `teller` is the peer that named the holders.
    ///
    /// A holder that is slow or silent is left for the next one within seconds, and the bytes that
    /// it sent are kept. Busy ones are asked again for five minutes; the whole takes no longer than
    /// that and a second for every 64 KiB. `came` gets the number of new bytes whenever some have
    /// come. The future may be dropped at any time.
    ///
    /// # Errors
    /// See [`FetchFailed`].
    pub async fn fetch(
        &self,
        source: &Source,
        teller: Peer,
        came: impl FnMut(u64) + Send,
    ) -> Result<(), FetchFailed> {
        self.0
            .fetcher
            .fetch(&self.0.blobs, self.0.peer, source, teller, came)
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_with_more_engines_than_fit_a_greeting_does_not_start() {
        let dir = tempfile::tempdir().unwrap();
        let id = EngineId {
            name: "pretended".parse().unwrap(),
            fingerprint: [0; 32],
        };
        let config = Config {
            engines: vec![id; ENGINES_MAX + 1],
            ..Config::of_lone_prover(dir.path())
        };
        let error = Network::start(config).err().unwrap();
        assert!(
            error
                .to_string()
                .contains("has 9 engines, and a greeting has room for 8"),
            "{error}"
        );
    }
}
