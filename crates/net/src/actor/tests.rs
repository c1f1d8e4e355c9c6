//! The actor's own decisions, without a network.

use std::sync::atomic::Ordering;

use libp2p::{
    core::{ConnectedPoint, Endpoint, transport::PortUse},
    identity::Keypair,
};
use tempfile::TempDir;

use super::*;
use crate::{behaviour::swarm, config::Limits, reach::Gate};

fn actor(bootstrap: &[&str], limits: Limits) -> (TempDir, Actor, mpsc::UnboundedReceiver<Event>) {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        bootstrap: bootstrap.iter().map(|text| text.parse().unwrap()).collect(),
        limits,
        ..Config::of_lone_prover(dir.path())
    };
    let (events, received) = mpsc::unbounded_channel();
    let gate = SharedGate::new(Gate::new(config.limits.scope_of));
    let swarm = swarm(&config, gate.clone()).unwrap();
    let actor = Actor::new(
        swarm,
        gate,
        &config,
        mpsc::unbounded_channel(),
        events,
        Arc::default(),
    );
    (dir, actor, received)
}

fn sent(actor: &Actor) -> u64 {
    actor.shared.messages.load(Ordering::Relaxed)
}

fn here() -> Multiaddr {
    "/ip4/127.0.0.1/tcp/1".parse().unwrap()
}

fn they_dialled() -> ConnectedPoint {
    ConnectedPoint::Listener {
        local_addr: here(),
        send_back_addr: here(),
    }
}

fn we_dialled() -> ConnectedPoint {
    ConnectedPoint::Dialer {
        address: here(),
        role_override: Endpoint::Dialer,
        port_use: PortUse::Reuse,
    }
}

#[tokio::test]
async fn the_dialler_greets_until_the_other_has_said_what_it_is() {
    let (_dir, mut actor, mut events) = actor(&[], Limits::default());
    let id = Keypair::generate_ed25519().public().to_peer_id();
    let connection = ConnectionId::new_unchecked;
    actor.connected(id, connection(1), &they_dialled());
    assert_eq!(sent(&actor), 0, "they greet");
    // Both dialled at once, and theirs was first here as ours may have been there.
    actor.connected(id, connection(2), &we_dialled());
    assert_eq!(sent(&actor), 1);
    let hello = Hello {
        version: PROTOCOL_VERSION,
        build: "other".into(),
        engines: Vec::new(),
        role: Role::Requester,
        boot: 1,
        clock_ms: 0,
        jobs: Vec::new(),
    };
    actor.greeted(id, hello.clone());
    actor.connected(id, connection(3), &we_dialled());
    assert_eq!(sent(&actor), 1, "it has greeted");
    actor.greeted(id, hello);
    assert!(matches!(events.try_recv(), Ok(Event::Greeted { .. })));
    assert!(events.try_recv().is_err(), "told once");
}

#[tokio::test]
async fn a_peer_of_another_version_is_told_of_once() {
    let (_dir, mut actor, mut events) = actor(&[], Limits::default());
    let id = Keypair::generate_ed25519().public().to_peer_id();
    actor.connected(id, ConnectionId::new_unchecked(1), &they_dialled());
    for version in 1..100 {
        let hello = Hello {
            version: PROTOCOL_VERSION + version,
            ..actor.hello.clone()
        };
        actor.greeted(id, hello);
    }
    assert!(matches!(events.try_recv(), Ok(Event::OtherVersion { .. })));
    assert!(events.try_recv().is_err(), "it could fill a screen");
}

/// Each answer to a greeting says something of jobs, and so has a number.
#[tokio::test]
async fn endless_greetings_do_not_use_up_the_numbers_of_announcements() {
    const GREETINGS: u32 = 2000;
    let (_dir, mut actor, _events) = actor(&[], Limits::default());
    let job = announcement(actor.swarm.local_peer_id(), 0);
    actor.announce(job);
    let before = actor.announced;
    let mut last = 0;
    for _ in 0..GREETINGS {
        let said = actor.greeting().jobs[0].sequence;
        assert!(said >= last, "what is said later has no lower number");
        last = said;
    }
    assert!(actor.announced - before < GREETINGS / 2, "{}", actor.announced);
    let job = announcement(actor.swarm.local_peer_id(), 0);
    assert!(actor.publish(job).sequence > last);
}

/// A signature takes longer than all the rest, and has the time in it.
#[tokio::test]
async fn a_record_for_all_greetings_is_signed_once() {
    let (_dir, mut actor, _events) = actor(&[], Limits::default());
    let [first, second] = [1, 2].map(|n| format!("/ip4/8.8.8.{n}/tcp/1").parse().unwrap());
    actor.swarm.add_external_address(first);
    let record = actor.own_record();
    assert_ne!(record, Vec::new());
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(actor.own_record(), record);
    actor.swarm.add_external_address(second);
    assert_ne!(actor.own_record(), record);
}

fn announcement(requester: &PeerId, sequence: u64) -> Announcement {
    Announcement {
        version: PROTOCOL_VERSION,
        job: JobId([1; 32]),
        requester: peer_of(requester).unwrap(),
        sequence,
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

#[tokio::test]
async fn the_clock_of_a_peer_that_greets_is_compared() {
    const HOURS_MS: u64 = 3 * 3_600_000;
    let (_dir, mut actor, mut events) = actor(&[], Limits::default());
    for (is_ahead, clock_ms) in [(true, now_ms() + HOURS_MS), (false, now_ms() - HOURS_MS)] {
        let id = Keypair::generate_ed25519().public().to_peer_id();
        actor.connected(id, ConnectionId::new_unchecked(1), &they_dialled());
        let hello = Hello {
            clock_ms,
            ..actor.hello.clone()
        };
        actor.greeted(id, hello);
        let Ok(Event::Greeted { clock_ahead_ms, .. }) = events.try_recv() else {
            panic!("it has greeted")
        };
        assert_eq!(clock_ahead_ms > 0, is_ahead, "{clock_ahead_ms}");
        assert!(
            clock_ahead_ms.unsigned_abs().abs_diff(HOURS_MS) < 60_000,
            "{clock_ahead_ms}"
        );
    }
}

#[tokio::test]
async fn a_dial_that_is_refused_here_is_tried_again() {
    // No process is that small: nothing may be dialled.
    let limits = Limits {
        memory_bytes: 1,
        ..Limits::default()
    };
    let (_dir, mut refused, _events) = actor(&["/ip4/192.0.2.1/tcp/1"], limits);
    refused.tick();
    assert!(refused.dialling.is_empty(), "it would be waited for for ever");

    let (_dir, mut dialling, _events) = actor(&["/ip4/192.0.2.1/tcp/1"], Limits::default());
    dialling.tick();
    dialling.tick();
    assert_eq!(dialling.dialling.len(), 1, "one dial at a time");
}

#[tokio::test]
async fn bad_messages_are_counted_over_connections() {
    let (_dir, mut actor, _events) = actor(&[], Limits::default());
    let id = Keypair::generate_ed25519().public().to_peer_id();
    for strike in 1..=5 {
        assert!(!actor.swarm.behaviour().blocked.blocked_peers().contains(&id));
        // The connection may be gone before one of them is read.
        if strike % 2 == 0 {
            actor.connected(id, ConnectionId::new_unchecked(strike), &they_dialled());
        } else {
            actor.peers.remove(&id);
        }
        actor.strike(id, "garbage");
    }
    assert!(actor.swarm.behaviour().blocked.blocked_peers().contains(&id));
}

/// What peers say to the hash table, of their own addresses, has a rate like their requests, and
/// what no node of ours says is not looked at.
#[tokio::test]
async fn statements_to_the_hash_table_have_a_rate() {
    use libp2p::kad::store::RecordStore;
    let limits = Limits {
        requests_per_second: 1,
        ..Limits::default()
    };
    let (_dir, mut actor, _events) = actor(&[], limits);
    let provider = Keypair::generate_ed25519().public().to_peer_id();
    let said = |key: &[u8], port: u16| kad::ProviderRecord {
        key: kad::RecordKey::new(&key),
        provider,
        expires: Some(Instant::now() + crate::providers::PROVIDER_TTL),
        addresses: vec![format!("/ip4/8.8.8.8/tcp/{port}").parse().unwrap()],
    };
    for port in 1..=1000 {
        actor.provided(said(b"something else", port));
    }
    let there = |actor: &mut Actor| {
        let store = actor.swarm.behaviour_mut().kad.store_mut();
        store.providers(&kad::RecordKey::new(&REQUESTERS_KEY))
    };
    assert_eq!(there(&mut actor).len(), 0);
    for port in 1..=1000 {
        actor.provided(said(REQUESTERS_KEY, port));
    }
    let kept = there(&mut actor);
    let [kept] = &kept[..] else { panic!("{kept:?}") };
    // Ten at once, and perhaps a few more that came meanwhile.
    let heard = (10..20).any(|port| said(REQUESTERS_KEY, port).addresses == kept.addresses);
    assert!(heard, "{kept:?}");
}

#[tokio::test]
async fn what_a_requester_says_of_its_job_again_and_again_is_soon_no_news() {
    let (_dir, mut actor, mut events) = actor(&[], Limits::default());
    let id = Keypair::generate_ed25519().public().to_peer_id();
    for sequence in 1..100 {
        actor.handle_announcement(&id, announcement(&id, sequence));
    }
    let mut news = 0;
    while let Ok(event) = events.try_recv() {
        assert!(matches!(event, Event::Announced(_)));
        news += 1;
    }
    assert_eq!(news, jobs::NEWS_BURST, "of a hundred at once");
}

/// The other end may be a process that is gone, and it may be there and answer: a connection from
/// before is not to be relied on.
#[tokio::test]
async fn a_suspension_ends_connections_whose_other_end_answers() {
    const SECONDS: Duration = Duration::from_secs(5);
    let (_dir, mut here, _events) = actor(&[], Limits::default());
    let (_there, Actor { swarm: mut there, .. }, _others_events) = actor(&[], Limits::default());
    here.swarm
        .listen_on("/ip4/127.0.0.1/tcp/0".parse().unwrap())
        .unwrap();
    let mut is_connected = false;
    let mut resumed = None;
    let closed = async {
        loop {
            tokio::select! {
                event = here.swarm.select_next_some() => {
                    if let SwarmEvent::NewListenAddr { address, .. } = &event {
                        there.dial(address.clone()).unwrap();
                    }
                    here.event(event);
                }
                event = there.select_next_some() => match event {
                    SwarmEvent::ConnectionEstablished { .. } => is_connected = true,
                    SwarmEvent::ConnectionClosed { .. } => return resumed.is_some(),
                    _ => {}
                },
            }
            if is_connected && resumed.is_none() && here.peers.contains_key(there.local_peer_id()) {
                here.resumed(Duration::from_secs(3600));
                resumed = Some(Instant::now());
            }
        }
    };
    let closed = tokio::time::timeout(SECONDS, closed).await;
    assert_eq!(closed, Ok(true), "the connection from before goes on");
}
