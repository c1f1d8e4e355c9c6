//! Peers that do not keep to the protocol, over real connections on loopback: they are let go,
//! memory stays bounded, and others are served meanwhile.

mod support;

use std::{fs, time::Duration};

use futures::{AsyncReadExt, AsyncWriteExt, future::join_all};
use libp2p::identity::Keypair;
use myriad_net::{
    AskError, Event, Identity, Limits, Network,
    blob::BlobRef,
    wire::{FRAME_BYTES_MAX, Notice, Request, Response, Role},
};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{sleep, timeout},
};

use support::{Raw, address, node, source};

const PATIENCE: Duration = Duration::from_secs(60);
const PROTOCOLS: [&str; 3] = ["/myriad/hello/1", "/myriad/task/1", "/myriad/blob/1"];
/// The most by which the victim may grow, whatever is sent to it: the streams and connections that
/// it allows.
const GROWTH_MIB_MAX: u64 = 300;

fn attacker(victim: &str) -> Raw {
    Raw::dial(Keypair::generate_ed25519(), victim)
}

/// The answer, if one comes within seconds.
async fn send(raw: &Raw, protocol: &'static str, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut stream = raw.open(protocol).await?;
    let exchanged = async {
        stream.write_all(bytes).await.ok()?;
        stream.close().await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        Some(answer)
    };
    timeout(Duration::from_secs(10), exchanged).await.ok()?
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
    let (honest, mut events) = node(dir.path(), Role::Prover, &[at], Limits::default());
    let greeted = async { while !matches!(events.recv().await, Some(Event::Greeted { .. })) {} };
    timeout(PATIENCE, greeted)
        .await
        .expect("an honest peer is greeted");
    let request = honest.ask(victim.peer(), Request::Notice(Notice::Wake));
    let answer = timeout(PATIENCE, request).await.expect("it is answered");
    assert!(matches!(answer, Ok(Response::Received)), "{answer:?}");
    let source = source(blob, &[at]);
    let fetched = timeout(PATIENCE, honest.fetch(&source, victim.peer(), |_| ())).await;
    fetched.expect("it is served").unwrap();
    honest.close();
}

/// A driver that answers whatever gets through.
fn answers(mut events: UnboundedReceiver<Event>) {
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if let Event::Request { reply, .. } = event {
                reply.send(Response::Received);
            }
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_floods_are_borne() {
    let dir = tempfile::tempdir().unwrap();
    let (victim, events) = node(dir.path(), Role::Requester, &[], Limits::default());
    answers(events);
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
            let answer = send(&attacker(&at), protocol, bytes).await;
            // The blob protocol says that it refuses; nothing else answers.
            assert!(
                protocol.contains("blob") || answer.is_none_or(|answer| answer.is_empty()),
                "{protocol}"
            );
        }
    }
    honest_is_served(&victim, &at, blob).await;

    // A peer that keeps sending garbage is not spoken to any more, be it over ever new connections.
    for connections in [1, 3] {
        let key = Keypair::generate_ed25519();
        for _ in 0..connections {
            let raw = Raw::dial(key.clone(), &at);
            let opened = raw.open("/myriad/task/1").await;
            assert!(opened.is_some(), "it has done nothing yet that is enough");
            for _ in 0..6 / connections {
                let garbage = [3, 0, 0, 0, 0xff, 0xff, 0xff];
                send(&raw, "/myriad/task/1", &garbage).await;
            }
            drop(raw);
            // It is known to be gone.
            sleep(Duration::from_millis(300)).await;
        }
        let again = Raw::dial(key, &at).open("/myriad/task/1").await;
        assert!(again.is_none(), "it can still open streams");
    }

    // Thousands of streams that are left open, by a few peers.
    let floods = (0..4).map(|_| async {
        let raw = attacker(&at);
        let opening = |turn: usize| {
            let opened = raw.open(PROTOCOLS[turn % 3]);
            async { timeout(Duration::from_secs(3), opened).await.ok()? }
        };
        let streams = join_all((0..1000).map(opening)).await;
        (raw, streams)
    });
    let held = join_all(floods).await;
    let opened = held.iter().flat_map(|(_, streams)| streams).flatten().count();
    assert!(opened > 100, "{opened} streams are no flood");
    honest_is_served(&victim, &at, blob).await;
    let grown = resident_mib().saturating_sub(before);
    assert!(grown < GROWTH_MIB_MAX, "{grown} MiB more");
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_asks_too_often_is_told_so_and_an_absent_one_is_not_waited_for() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (victim, events) = node(dirs[0].path(), Role::Requester, &[], Limits::default());
    answers(events);
    let at = address(&victim).await;
    let (asker, mut greeted) = node(dirs[1].path(), Role::Prover, &[&at], Limits::default());
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
