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
        engine: [7; 32],
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

fn announcement(requester: &PeerId, sequence: u64) -> Announcement {
    Announcement {
        version: PROTOCOL_VERSION,
        job: JobId([1; 32]),
        requester: peer_of(requester).unwrap(),
        sequence,
        open: true,
        engine: [7; 32],
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
