//! Addresses that hostile peers name, and connections that they take: over real connections on
//! loopback, each of whose addresses stands for a machine of the internet.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::StreamExt;
use libp2p::{Multiaddr, Swarm, core::PeerRecord, gossipsub, identity::Keypair, swarm::SwarmEvent};
use myriad_net::{
    Event, Identity, Limits, Network, Regard, Scope, parse_peer,
    wire::{ANNOUNCEMENT_BYTES_MAX, Announcement, Role, encode},
};
use tempfile::TempDir;
use tokio::{
    net::TcpListener,
    sync::mpsc::UnboundedReceiver,
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    announcement,
    support::{Alive, AliveEvent, address, node_at, stranger},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// Every address is of the internet, but for the first one, which keeps its scope.
fn internet(ip: IpAddr) -> Option<Scope> {
    if ip == IpAddr::from([127, 0, 0, 1]) {
        Some(Scope::Machine)
    } else {
        Some(Scope::Global)
    }
}

fn all_internet(_: IpAddr) -> Option<Scope> {
    Some(Scope::Global)
}

struct Node {
    _dir: TempDir,
    network: Network,
    events: UnboundedReceiver<Event>,
}

fn start(role: Role, at: &str, bootstrap: &[&str], limits: Limits) -> Node {
    start_as(Identity::ephemeral(), role, at, bootstrap, limits)
}

fn start_as(identity: Identity, role: Role, at: &str, bootstrap: &[&str], limits: Limits) -> Node {
    let dir = tempfile::tempdir().unwrap();
    let listen = format!("/ip4/{at}/udp/0/quic-v1");
    let (network, events) = node_at(dir.path(), identity, role, &[&listen], bootstrap, limits);
    Node {
        _dir: dir,
        network,
        events,
    }
}

impl Node {
    async fn meets_a(&mut self, role: Role) {
        let greeted = async {
            loop {
                if let Some(Event::Greeted { hello, .. }) = self.events.recv().await
                    && hello.role == role
                {
                    break;
                }
            }
        };
        timeout(PATIENCE, greeted).await.expect("they meet");
    }
}

/// A server that knows nothing of this network, and counts the connections that come.
async fn victim(at: &str) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((at, 0)).await.unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let (counted, address) = (Arc::clone(&count), listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            drop(connection);
        }
    });
    (address, count)
}

fn gossip(key: &Keypair) -> gossipsub::Behaviour {
    let author = gossipsub::MessageAuthenticity::Signed(key.clone());
    gossipsub::Behaviour::new(author, gossipsub::Config::default()).unwrap()
}

/// A peer at `from` that says once that it has a job, and is reached at these addresses; until the
/// handle is aborted.
async fn herald(from: &str, to: &str, addresses: &[String]) -> JoinHandle<()> {
    let key = Keypair::generate_ed25519();
    let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
    let record = PeerRecord::new_interop(&key, addresses).unwrap();
    let topic = gossipsub::IdentTopic::new("/myriad/jobs/4");
    let mut swarm: Swarm<Alive<gossipsub::Behaviour>> = stranger(key, gossip);
    swarm.behaviour_mut().speaks.subscribe(&topic).unwrap();
    // It dials from where it listens.
    let from = format!("/ip4/{from}/udp/0/quic-v1");
    swarm.listen_on(from.parse().unwrap()).unwrap();
    swarm.dial(to.parse::<Multiaddr>().unwrap()).unwrap();
    let subscribed = async {
        loop {
            let event = swarm.select_next_some().await;
            if let SwarmEvent::Behaviour(AliveEvent::Speaks(gossipsub::Event::Subscribed { .. })) = event {
                break;
            }
        }
    };
    timeout(PATIENCE, subscribed).await.expect("it is heard");
    let announcement = Announcement {
        record: record.into_signed_envelope().into_protobuf_encoding(),
        ..announcement(7, parse_peer(&swarm.local_peer_id().to_base58()).unwrap())
    };
    let bytes = encode(&announcement, ANNOUNCEMENT_BYTES_MAX).unwrap();
    swarm.behaviour_mut().speaks.publish(topic, bytes).unwrap();
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    })
}

/// Waits until the node has heard of this many jobs.
async fn hears(node: &mut Node, jobs: usize) {
    let heard = async {
        for _ in 0..jobs {
            while !matches!(node.events.recv().await, Some(Event::Announced(_))) {}
        }
    };
    timeout(PATIENCE, heard).await.expect("the news come");
}

/// Each of these nodes would dial the victim for each of the names without a gate, again and again
/// for 15 minutes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_becomes_a_victim_of_what_is_announced() {
    const NODES: usize = 3;
    const NAMES: usize = 12;
    let limits = Limits {
        scope_of: all_internet,
        ..Limits::default()
    };
    let forwarder = start(Role::Bootstrap, "127.0.0.5", &[], limits);
    let at = address(&forwarder.network).await;
    let mut nodes: Vec<Node> = (0..NODES)
        .map(|n| start(Role::Prover, &format!("127.1.{n}.1"), &[&at], limits))
        .collect();
    for node in &mut nodes {
        node.meets_a(Role::Bootstrap).await;
    }
    let (victim, came) = victim("127.2.0.1").await;
    let mut heralds = Vec::new();
    for _ in 0..NAMES {
        heralds.push(
            herald(
                "127.8.0.1",
                &at,
                &[format!("/ip4/{}/tcp/{}", victim.ip(), victim.port())],
            )
            .await,
        );
    }
    for node in &mut nodes {
        hears(node, NAMES).await;
    }
    sleep(Duration::from_secs(12)).await;
    let came = came.load(Ordering::Relaxed);
    assert!(came > 0, "nobody has dialled, so that nothing is shown");
    assert!(came <= NODES * 4, "{came} connections of {NODES} nodes");
    heralds.iter().for_each(JoinHandle::abort);
}

/// A peer's own statement is held to where it calls from, and names to where they lead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_sent_elsewhere_or_inwards() {
    let limits = Limits {
        scope_of: internet,
        ..Limits::default()
    };
    let forwarder = start(Role::Bootstrap, "127.0.0.5", &[], limits);
    let at = address(&forwarder.network).await;
    let mut node = start(Role::Prover, "127.1.0.1", &[&at], limits);
    node.meets_a(Role::Bootstrap).await;
    let (inside, came) = victim("127.0.0.1").await;
    let (elsewhere, came_elsewhere) = victim("127.2.0.1").await;
    let inwards = [
        format!("/ip4/127.0.0.1/tcp/{}", inside.port()),
        format!("/dns4/localhost/tcp/{}", inside.port()),
        format!("/ip6/::ffff:127.0.0.1/tcp/{}", inside.port()),
    ];
    let one = herald("127.8.0.1", &at, &inwards).await;
    hears(&mut node, 1).await;
    let node_at = address(&node.network).await;
    let direct = [format!("/ip4/{}/tcp/{}", elsewhere.ip(), elsewhere.port())];
    let other = herald("127.8.0.2", &node_at, &direct).await;
    hears(&mut node, 1).await;
    one.abort();
    other.abort();
    sleep(Duration::from_secs(6)).await;
    assert_eq!(came.load(Ordering::Relaxed), 0, "connections into the machine");
    assert_eq!(came_elsewhere.load(Ordering::Relaxed), 0, "connections elsewhere");
}

/// More requesters that are nowhere than a prover looks for at once keep it from none that is
/// there. The newcomer's first words may reach nobody, and are said again after 6 s and 20 s more.
/// If its turn came last, a hundred others would be dialled before, one in two seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_are_nowhere_keep_no_newcomer_out() {
    let forwarder = start(Role::Bootstrap, "127.0.0.5", &[], Limits::default());
    let at = address(&forwarder.network).await;
    let limits = Limits {
        scope_of: all_internet,
        ..Limits::default()
    };
    let mut node = start(Role::Prover, "127.1.0.1", &[&at], limits);
    node.meets_a(Role::Bootstrap).await;
    let mut heralds = Vec::new();
    for n in 0..150 {
        // Nothing answers at these addresses, and nothing says so.
        let nowhere: Vec<String> = (0..8)
            .map(|part| format!("/ip4/127.{}.{n}.{part}/udp/9/quic-v1", 100 + part))
            .collect();
        heralds.push(herald("127.0.0.1", &at, &nowhere).await);
    }
    hears(&mut node, 150).await;
    let honest = start(Role::Requester, "127.3.0.1", &[&at], limits);
    honest.network.announce(announcement(8, honest.network.peer()));
    node.meets_a(Role::Requester).await;
    heralds.iter().for_each(JoinHandle::abort);
}

/// Strangers of a few networks that take all connections there are, and come again when they are
/// let go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sybils_do_not_take_all_connections() {
    let limits = Limits {
        scope_of: all_internet,
        connections: 16,
        ..Limits::default()
    };
    let node = start(Role::Requester, "127.0.0.5", &[], limits);
    let at = address(&node.network).await;
    let taken = Arc::new(AtomicUsize::new(0));
    let mut sybils = Vec::new();
    for n in 0..60 {
        let taken = Arc::clone(&taken);
        let mut swarm = stranger(Keypair::generate_ed25519(), |_| libp2p_stream::Behaviour::new());
        // It dials from there.
        let from = format!("/ip4/127.4.{}.1/udp/0/quic-v1", n % 5);
        swarm.listen_on(from.parse().unwrap()).unwrap();
        let to: Multiaddr = at.parse().unwrap();
        sybils.push(tokio::spawn(async move {
            loop {
                match swarm.select_next_some().await {
                    SwarmEvent::ConnectionEstablished { .. } => {
                        taken.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    SwarmEvent::ConnectionClosed { .. } => {
                        taken.fetch_sub(1, Ordering::Relaxed);
                    }
                    SwarmEvent::NewListenAddr { .. } | SwarmEvent::OutgoingConnectionError { .. } => {}
                    _ => continue,
                }
                sleep(Duration::from_millis(50)).await;
                let _ = swarm.dial(to.clone());
            }
        }));
    }
    let besieged = async {
        while taken.load(Ordering::Relaxed) < 12 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, besieged).await.expect("it is a siege");
    // All of them come again meanwhile.
    sleep(Duration::from_secs(2)).await;

    let mut newcomer = start(Role::Prover, "127.5.0.1", &[&at], limits);
    newcomer.meets_a(Role::Requester).await;
    // One that has been of use comes from where the siege does.
    let identity = Identity::ephemeral();
    node.network.regard(identity.peer(), Regard::Useful);
    let mut known = start_as(identity, Role::Prover, "127.4.0.1", &[&at], limits);
    known.meets_a(Role::Requester).await;
    sleep(Duration::from_secs(3)).await;
    let there = |node: &Node, other: &Node| {
        let peer = other.network.peer();
        node.network.peers().iter().any(|status| status.peer == peer)
    };
    assert!(there(&node, &newcomer), "it was let go for those that came later");
    assert!(there(&node, &known));
    sybils.iter().for_each(JoinHandle::abort);
}
