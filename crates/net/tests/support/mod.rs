//! Nodes on loopback, and peers that are none.

use std::{path::Path, time::Duration};

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder,
    identity::Keypair,
    ping,
    swarm::{NetworkBehaviour, SwarmEvent},
};
use libp2p_stream::Control;
use myriad_net::{
    Config, Event, Identity, Limits, Listen, Network,
    blob::{BlobRef, BlobStore},
    parse_peer,
    wire::{Contact, Role, Source},
};
use tokio::{
    sync::{mpsc::UnboundedReceiver, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};

pub fn node(
    dir: &Path,
    role: Role,
    bootstrap: &[&str],
    limits: Limits,
) -> (Network, UnboundedReceiver<Event>) {
    let listen = ["/ip4/127.0.0.1/udp/0/quic-v1"];
    node_at(dir, Identity::ephemeral(), role, &listen, bootstrap, limits)
}

pub fn node_at(
    dir: &Path,
    identity: Identity,
    role: Role,
    listen: &[&str],
    bootstrap: &[&str],
    limits: Limits,
) -> (Network, UnboundedReceiver<Event>) {
    let config = Config {
        identity,
        role,
        build: "test".into(),
        engines: Vec::new(),
        listen: Listen::At(listen.iter().map(|text| text.parse().unwrap()).collect()),
        external: Vec::new(),
        bootstrap: bootstrap.iter().map(|text| text.parse().unwrap()).collect(),
        mdns: false,
        blobs: BlobStore::open(dir, 1 << 30).unwrap(),
        limits,
    };
    Network::start(config).unwrap()
}

pub async fn address(network: &Network) -> String {
    while network.listening().is_empty() {
        sleep(Duration::from_millis(5)).await;
    }
    network.listening()[0].clone()
}

/// A blob that these have, each by its address and name.
pub fn source(blob: BlobRef, holders: &[&str]) -> Source {
    let contact = |at: &&str| {
        let (address, name) = at.rsplit_once("/p2p/").unwrap();
        Contact {
            peer: parse_peer(name).unwrap(),
            addresses: vec![address.to_owned()],
        }
    };
    Source {
        blob,
        holders: holders.iter().map(contact).collect(),
    }
}

/// The least that a peer has to know: one that does not answer pings counts as gone.
#[derive(NetworkBehaviour)]
pub struct Alive<B: NetworkBehaviour> {
    ping: ping::Behaviour,
    pub speaks: B,
}

/// A peer that knows libp2p and the given protocols, and no more.
pub fn stranger<B: NetworkBehaviour>(key: Keypair, speaks: impl FnOnce(&Keypair) -> B) -> Swarm<Alive<B>> {
    SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_quic()
        .with_behaviour(|key| Alive {
            ping: ping::Behaviour::default(),
            speaks: speaks(key),
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build()
}

/// The time that a stranger waits for a connection or a stream.
const OPENS_WITHIN: Duration = Duration::from_secs(20);

/// A peer that opens streams of any protocol, until this is dropped.
pub struct Raw {
    victim: PeerId,
    control: Control,
    /// None before the dial has come to an end.
    connected: watch::Receiver<Option<bool>>,
    running: JoinHandle<()>,
}

impl Raw {
    pub fn dial(key: Keypair, victim: &str) -> Self {
        let mut swarm = stranger(key, |_| libp2p_stream::Behaviour::new());
        let address: Multiaddr = victim.parse().unwrap();
        let victim = victim.rsplit('/').next().unwrap().parse().unwrap();
        swarm.dial(address).unwrap();
        let control = swarm.behaviour().speaks.new_control();
        let (connects, connected) = watch::channel(None);
        let running = tokio::spawn(async move {
            loop {
                match swarm.select_next_some().await {
                    SwarmEvent::ConnectionEstablished { .. } => connects.send_replace(Some(true)),
                    SwarmEvent::ConnectionClosed { .. } | SwarmEvent::OutgoingConnectionError { .. } => {
                        connects.send_replace(Some(false))
                    }
                    _ => continue,
                };
            }
        });
        Self {
            victim,
            control,
            connected,
            running,
        }
    }

    /// None where the other side refuses, or says nothing for long.
    ///
    /// Opens a stream over a connection that the swarm has reported. A stream that is asked for in
    /// the moment before waits for another connection, which never comes (libp2p-stream
    /// 0.5.0-alpha).
    pub async fn open(&self, protocol: &'static str) -> Option<Stream> {
        let mut connected = self.connected.clone();
        let dialled = connected.wait_for(Option::is_some);
        if *timeout(OPENS_WITHIN, dialled).await.ok()?.ok()? != Some(true) {
            return None;
        }
        let mut control = self.control.clone();
        let opened = control.open_stream(self.victim, StreamProtocol::new(protocol));
        timeout(OPENS_WITHIN, opened).await.ok()?.ok()
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.running.abort();
    }
}
