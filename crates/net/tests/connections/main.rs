//! Nodes that have to do with each other, and with peers that are slow, busy or lying, over real
//! connections on loopback.

mod addresses;
#[path = "../support/mod.rs"]
mod support;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, future::join_all};
use libp2p::{Multiaddr, Swarm, gossipsub, identity::Keypair, swarm::SwarmEvent};
use myriad_core::{JobId, Peer};
use myriad_net::{
    Config, Event, Identity, Limits, Listen, Network,
    blob::{BlobRef, BlobStore},
    parse_peer,
    wire::{ANNOUNCEMENT_BYTES_MAX, Announcement, PROTOCOL_VERSION, Role, encode},
};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{sleep, timeout},
};

use support::{Alive, AliveEvent, Raw, address, node, node_at, source, stranger};

const PATIENCE: Duration = Duration::from_secs(60);

/// A prover that is connected with a requester, and so believes it where others are on this
/// machine.
async fn client(dir: &Path, requester: &str) -> Network {
    let (client, mut events) = node(dir, Role::Prover, &[requester], Limits::default());
    let greeted = async { while !matches!(events.recv().await, Some(Event::Greeted { .. })) {} };
    timeout(PATIENCE, greeted).await.expect("they are connected");
    client
}

/// The request for a whole blob, as a frame.
fn request(blob: BlobRef) -> Vec<u8> {
    let body = postcard::to_stdvec(&(blob.blob.0, blob.bytes, 0_u64, blob.bytes)).unwrap();
    [&(body.len() as u32).to_le_bytes(), body.as_slice()].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_peer_is_waited_for() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let limits = Limits {
        blobs_sent_at_once: 1,
        ..Limits::default()
    };
    let (server, _events) = node(dirs[0].path(), Role::Requester, &[], limits);
    let at = address(&server).await;
    // More than the connection takes up when nobody reads.
    let large = server.blobs().put(&vec![1; 64 << 20]).unwrap();
    let small = server.blobs().put(b"small").unwrap();
    let hog = Raw::dial(Keypair::generate_ed25519(), &at);
    let mut stream = hog.open("/myriad/blob/1").await.expect("a stream is opened");
    stream.write_all(&request(large)).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = [0; 16];
    stream.read_exact(&mut answer).await.unwrap();

    let client = client(dirs[1].path(), &at).await;
    let held = Duration::from_secs(4);
    let releasing = async {
        sleep(held).await;
        drop(stream);
        drop(hog);
    };
    let begun = Instant::now();
    let source = source(small, &[&at]);
    let fetching = async {
        let fetched = timeout(PATIENCE, client.fetch(&source, server.peer(), |_| ())).await;
        (fetched, begun.elapsed())
    };
    let ((), (fetched, took)) = tokio::join!(releasing, fetching);
    fetched.expect("it is served at last").unwrap();
    assert!(took >= held, "it was not busy: {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_blobs_come_from_one_peer_at_once() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (server, _events) = node(dirs[0].path(), Role::Requester, &[], Limits::default());
    let at = address(&server).await;
    let client = client(dirs[1].path(), &at).await;
    // Far more than it sends to one peer, and than it can look at when they come at once.
    let blobs = (0..48_u8).map(|n| server.blobs().put(&vec![n; 1 << 20]).unwrap());
    let fetches = blobs.map(|blob| {
        let source = source(blob, &[&at]);
        let (client, server) = (client.clone(), server.peer());
        async move { client.fetch(&source, server, |_| ()).await }
    });
    let fetched = timeout(PATIENCE, join_all(fetches)).await.expect("in good time");
    for result in fetched {
        result.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_peer_costs_seconds_where_there_is_another() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (server, _events) = node(dirs[0].path(), Role::Requester, &[], Limits::default());
    let at = address(&server).await;
    let blob = server.blobs().put(&vec![1; 1 << 20]).unwrap();

    // It takes every request and answers none.
    let mut silent = stranger(Keypair::generate_ed25519(), |_| libp2p_stream::Behaviour::new());
    let protocol = libp2p::StreamProtocol::new("/myriad/blob/1");
    let mut requests = silent.behaviour().speaks.new_control().accept(protocol).unwrap();
    silent
        .listen_on("/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap())
        .unwrap();
    let silent_at = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = silent.select_next_some().await {
            break format!("{address}/p2p/{}", silent.local_peer_id());
        }
    };
    tokio::spawn(async move {
        let mut held = Vec::new();
        loop {
            tokio::select! {
                _ = silent.select_next_some() => {}
                Some(request) = requests.next() => held.push(request),
            }
        }
    });

    let client = client(dirs[1].path(), &at).await;
    let begun = Instant::now();
    let source = source(blob, &[&silent_at, &at]);
    let fetched = timeout(PATIENCE, client.fetch(&source, server.peer(), |_| ())).await;
    fetched.expect("it is served").unwrap();
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

fn gossip(key: &Keypair) -> gossipsub::Behaviour {
    let author = gossipsub::MessageAuthenticity::Signed(key.clone());
    gossipsub::Behaviour::new(author, gossipsub::Config::default()).unwrap()
}

/// A peer that says on the jobs topic whatever it likes.
struct Herald {
    swarm: Swarm<Alive<gossipsub::Behaviour>>,
    topic: gossipsub::IdentTopic,
}

impl Herald {
    /// Is connected with `victim` and known to it.
    async fn dial(victim: &str) -> Self {
        let topic = gossipsub::IdentTopic::new("/myriad/jobs/4");
        let mut swarm = stranger(Keypair::generate_ed25519(), gossip);
        swarm.behaviour_mut().speaks.subscribe(&topic).unwrap();
        swarm.dial(victim.parse::<Multiaddr>().unwrap()).unwrap();
        loop {
            let event = swarm.select_next_some().await;
            if let SwarmEvent::Behaviour(AliveEvent::Speaks(gossipsub::Event::Subscribed { .. })) = event {
                break;
            }
        }
        Self { swarm, topic }
    }

    async fn publish(&mut self, bytes: Vec<u8>) {
        let topic = self.topic.clone();
        self.swarm.behaviour_mut().speaks.publish(topic, bytes).unwrap();
        self.rest(Duration::from_millis(100)).await;
    }

    /// Stays for a while, and answers requests.
    async fn rest(&mut self, time: Duration) {
        let _ = timeout(time, async {
            loop {
                self.swarm.select_next_some().await;
            }
        })
        .await;
    }

    fn job(&self, number: u8) -> Vec<u8> {
        let requester = parse_peer(&self.swarm.local_peer_id().to_base58()).unwrap();
        encode(&announcement(number, requester), ANNOUNCEMENT_BYTES_MAX).unwrap()
    }
}

/// A job of this number that this peer announces.
fn announcement(number: u8, requester: Peer) -> Announcement {
    Announcement {
        version: PROTOCOL_VERSION,
        job: JobId([number; 32]),
        requester,
        sequence: 1,
        open: true,
        engine: myriad_core::EngineId {
            name: "any".parse().unwrap(),
            fingerprint: [7; 32],
        },
        extent: None,
        bytes: 1,
        record: Vec::new(),
    }
}

/// The next job that is announced.
async fn job(events: &mut UnboundedReceiver<Event>) -> u8 {
    let announced = async {
        loop {
            if let Some(Event::Announced(said)) = events.recv().await {
                break said.job.0[0];
            }
        }
    };
    timeout(PATIENCE, announced).await.expect("a job is announced")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_forwards_invalid_messages_is_not_listened_to_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let (victim, mut events) = node(dir.path(), Role::Prover, &[], Limits::default());
    let at = address(&victim).await;
    let mut liar = Herald::dial(&at).await;
    let job_1 = liar.job(1);
    liar.publish(job_1).await;
    assert_eq!(job(&mut events).await, 1);
    // It behaves for long enough to be one of those that messages are forwarded to.
    liar.rest(Duration::from_secs(3)).await;
    for turn in 0..4 {
        liar.publish(vec![0xff, turn]).await;
    }
    let job_2 = liar.job(2);
    liar.publish(job_2).await;

    // Announcements of others are heard.
    let mut honest = Herald::dial(&at).await;
    let job_3 = honest.job(3);
    honest.publish(job_3).await;
    assert_eq!(job(&mut events).await, 3);
}

/// Both families, each by both transports, and the address that is told is one that leads there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_meet_by_ipv6() {
    for transport in ["udp/0/quic-v1", "tcp/0"] {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let listen = format!("/ip6/::1/{transport}");
        let at = |dir: &Path, role, bootstrap: &[&str]| {
            node_at(
                dir,
                Identity::ephemeral(),
                role,
                &[&listen],
                bootstrap,
                Limits::default(),
            )
        };
        let (server, _events) = at(dirs[0].path(), Role::Requester, &[]);
        let listening = address(&server).await;
        assert!(listening.starts_with("/ip6/::1/"), "{listening}");
        let (prover, mut events) = at(dirs[1].path(), Role::Prover, &[&listening]);
        let greeted = async { while !matches!(events.recv().await, Some(Event::Greeted { .. })) {} };
        timeout(PATIENCE, greeted).await.expect("they meet");
        let blob = server.blobs().put(b"over IPv6").unwrap();
        let source = source(blob, &[&listening]);
        let fetched = timeout(PATIENCE, prover.fetch(&source, server.peer(), |_| ())).await;
        fetched.expect("in good time").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_not_told_where_listens_by_both_families() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        identity: Identity::ephemeral(),
        role: Role::Prover,
        build: "test".into(),
        engines: Vec::new(),
        listen: Listen::Anywhere,
        external: Vec::new(),
        bootstrap: Vec::new(),
        mdns: false,
        blobs: BlobStore::open(dir.path(), 1 << 20).unwrap(),
        limits: Limits::default(),
    };
    let (network, _events) = Network::start(config).unwrap();
    let all = [
        "/ip4/127.0.0.1/udp/",
        "/ip4/127.0.0.1/tcp/",
        "/ip6/::1/udp/",
        "/ip6/::1/tcp/",
    ];
    let listens = async {
        let is_bound = |start: &&str| {
            network
                .listening()
                .iter()
                .any(|address| address.starts_with(start))
        };
        while !all.iter().all(is_bound) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let waited = timeout(Duration::from_secs(10), listens).await;
    assert!(waited.is_ok(), "{:?}", network.listening());
}
