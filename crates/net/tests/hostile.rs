//! Peers that do not keep to the protocol, over real connections on loopback: they are let go, memory
//! stays bounded, and others are served meanwhile.

use std::{fs, path::Path, time::Duration};

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, future::join_all};
use libp2p::{Multiaddr, PeerId, StreamProtocol, SwarmBuilder};
use libp2p_stream::Control;
use myriad_net::{
    AskError, Config, Event, Identity, Limits, Network,
    blob::{BlobRef, BlobStore},
    wire::{Contact, FRAME_BYTES_MAX, Notice, Request, Response, Role, Source},
};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{sleep, timeout},
};

const PATIENCE: Duration = Duration::from_secs(60);
const PROTOCOLS: [&str; 3] = ["/myriad/hello/1", "/myriad/task/1", "/myriad/blob/1"];
/// What the victim may grow by, whatever is sent to it: the streams and connections that it allows.
const GROWTH_MIB_MAX: u64 = 300;

fn node(dir: &Path, role: Role, bootstrap: &[String]) -> (Network, UnboundedReceiver<Event>) {
    let config = Config {
        identity: Identity::ephemeral(),
        role,
        build: "test".into(),
        engine: [7; 32],
        listen: vec!["/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()],
        external: Vec::new(),
        bootstrap: bootstrap.iter().map(|text| text.parse().unwrap()).collect(),
        mdns: false,
        blobs: BlobStore::open(dir, 1 << 30).unwrap(),
        limits: Limits::default(),
    };
    Network::start(config).unwrap()
}

async fn address(network: &Network) -> String {
    while network.listening().is_empty() {
        sleep(Duration::from_millis(5)).await;
    }
    network.listening()[0].clone()
}

/// A peer that is connected with the victim and opens streams of any protocol.
async fn attacker(victim: &str) -> (PeerId, Control) {
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_quic()
        .with_behaviour(|_| libp2p_stream::Behaviour::new())
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(PATIENCE))
        .build();
    let address: Multiaddr = victim.parse().unwrap();
    let id = victim.rsplit('/').next().unwrap().parse().unwrap();
    swarm.dial(address).unwrap();
    let control = swarm.behaviour().new_control();
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    (id, control)
}

async fn send(
    control: &mut Control,
    victim: PeerId,
    protocol: &'static str,
    bytes: &[u8],
) -> Option<Vec<u8>> {
    let mut stream = control
        .open_stream(victim, StreamProtocol::new(protocol))
        .await
        .ok()?;
    stream.write_all(bytes).await.ok()?;
    stream.close().await.ok()?;
    let mut answer = Vec::new();
    timeout(Duration::from_secs(5), stream.read_to_end(&mut answer))
        .await
        .ok()?
        .ok()?;
    Some(answer)
}

fn resident_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() >> 10
}

/// An honest peer greets, asks and fetches, in good time.
async fn honest_is_served(victim: &Network, at: &str, blob: BlobRef) {
    let dir = tempfile::tempdir().unwrap();
    let (honest, mut events) = node(dir.path(), Role::Prover, &[at.to_owned()]);
    let greeted = async { while !matches!(events.recv().await, Some(Event::Greeted { .. })) {} };
    timeout(PATIENCE, greeted)
        .await
        .expect("an honest peer is greeted");
    let asked = honest.ask(victim.peer(), Request::Notice(Notice::Wake));
    let answer = timeout(PATIENCE, asked).await.expect("it is answered");
    assert!(matches!(answer, Ok(Response::Received)), "{answer:?}");
    let source = Source {
        blob,
        holders: vec![Contact {
            peer: victim.peer(),
            addresses: vec![at.rsplit_once("/p2p/").unwrap().0.to_owned()],
        }],
    };
    let fetched = timeout(PATIENCE, honest.fetch(&source, victim.peer())).await;
    fetched.expect("it is served").unwrap();
    honest.close();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_floods_are_borne() {
    let dir = tempfile::tempdir().unwrap();
    let (victim, mut events) = node(dir.path(), Role::Requester, &[]);
    // Its driver answers whatever gets through.
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if let Event::Asked { reply, .. } = event {
                reply.send(Response::Received);
            }
        }
    });
    let at = address(&victim).await;
    let blob = victim.blobs().put(&vec![1; 1 << 20]).unwrap();
    honest_is_served(&victim, &at, blob).await;
    let before = resident_mib();

    // Bytes that are no message, lengths that are no frame's, frames that never end.
    let oversize = [&(FRAME_BYTES_MAX as u32 + 1).to_le_bytes(), [0; 64].as_slice()].concat();
    let endless = [&u32::MAX.to_le_bytes(), vec![0xff; 1 << 20].as_slice()].concat();
    let short = [&100u32.to_le_bytes(), [1; 10].as_slice()].concat();
    for bytes in [&[0xff; 100][..], &oversize, &endless, &short, &[]] {
        for protocol in PROTOCOLS {
            let (id, mut control) = attacker(&at).await;
            let answer = send(&mut control, id, protocol, bytes).await;
            // The blob protocol says that it refuses; nothing else answers.
            assert!(
                protocol.contains("blob") || answer.is_none_or(|answer| answer.is_empty()),
                "{protocol}"
            );
        }
    }
    honest_is_served(&victim, &at, blob).await;

    // A peer that keeps sending garbage is not spoken to any more.
    let (id, mut control) = attacker(&at).await;
    for _ in 0..8 {
        send(
            &mut control,
            id,
            "/myriad/task/1",
            &[3, 0, 0, 0, 0xff, 0xff, 0xff],
        )
        .await;
    }
    sleep(Duration::from_millis(500)).await;
    let again = control
        .open_stream(id, StreamProtocol::new("/myriad/task/1"))
        .await;
    assert!(again.is_err(), "it can still open streams");

    // Thousands of streams that are left open, by a few peers.
    let floods = (0..4).map(|_| async {
        let (id, control) = attacker(&at).await;
        let streams = (0..1000).map(|turn| {
            let mut control = control.clone();
            async move {
                let protocol = StreamProtocol::new(PROTOCOLS[turn % 3]);
                let opened = timeout(Duration::from_secs(3), control.open_stream(id, protocol)).await;
                opened.ok()?.ok()
            }
        });
        join_all(streams).await
    });
    let held = join_all(floods).await;
    honest_is_served(&victim, &at, blob).await;
    let grown = resident_mib().saturating_sub(before);
    assert!(grown < GROWTH_MIB_MAX, "{grown} MiB more");
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_too_often_is_told_so_and_who_is_not_there_is_not_waited_for() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (victim, mut events) = node(dirs[0].path(), Role::Requester, &[]);
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if let Event::Asked { reply, .. } = event {
                reply.send(Response::Received);
            }
        }
    });
    let at = address(&victim).await;
    let (asker, mut greeted) = node(dirs[1].path(), Role::Prover, &[at]);
    while !matches!(greeted.recv().await, Some(Event::Greeted { .. })) {}
    let mut refused = 0;
    for _ in 0..20 {
        let asks = (0..25).map(|_| asker.ask(victim.peer(), Request::Notice(Notice::Wake)));
        let answers = join_all(asks).await;
        refused += answers
            .iter()
            .filter(|answer| matches!(answer, Ok(Response::Refused(_))))
            .count();
    }
    assert!(refused > 100, "{refused} of 500 were refused");
    let nobody = asker
        .ask(Identity::ephemeral().peer(), Request::Notice(Notice::Wake))
        .await;
    assert_eq!(nobody, Err(AskError::Unreachable));
}
