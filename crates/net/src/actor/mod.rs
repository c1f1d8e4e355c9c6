//! The task that owns the swarm. No other part of the node talks to libp2p.
//!
//! ```text
//!  Network ──Command──▶ Actor ──Event──▶ the driver of the node
//!     │                   │
//!     └── streams ──▶  Swarm  ◀──▶ peers
//! ```

mod announce;
mod connections;
mod jobs;
mod peers;
mod redial;
mod requests;
mod strikes;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    num::NonZeroU32,
    sync::{Arc, atomic::AtomicUsize},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures::StreamExt;
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use libp2p::{
    Multiaddr, PeerId, Swarm, gossipsub, identify, kad, mdns,
    request_response::OutboundRequestId,
    swarm::{ConnectionId, SwarmEvent, dial_opts::DialOpts},
};
use myriad_core::{JobId, Peer};
use tokio::sync::{mpsc, oneshot};

use self::{
    announce::{greeting_numbers, news_limiter},
    jobs::Jobs,
    peers::Connected,
    redial::Redial,
    strikes::Strikes,
};
use crate::{
    behaviour::{Behaviour, BehaviourEvent},
    config::Config,
    identity::Identity,
    messages::{AskError, Command, Event},
    peer::{peer_of, split_peer},
    providers::REQUESTERS_KEY,
    reach::{Capped, Informant, ScopeOf, SharedGate, best},
    record,
    shared::{PeerStatus, Shared},
    slots::Regard,
    suspension::{Suspension, since_boot},
    wire::{Announcement, Hello, PROTOCOL_VERSION, Response, Role},
};

const TICK: Duration = Duration::from_secs(1);
/// A peer that has not greeted after this time is not a node of ours.
const GREETING_PATIENCE: Duration = Duration::from_secs(20);
/// A job is announced once more this long after it was opened, for peers that have not heard it the
/// first time.
const ANNOUNCE_SOON: Duration = Duration::from_secs(6);
/// The pause between searches of the hash table for requesters, by a prover that is connected with
/// none.
const SEARCH_EVERY: Duration = Duration::from_secs(15);
/// The pause between these searches if a requester is known to exist and its address is not: after
/// a restart it has other addresses.
const UNPLACED_EVERY: Duration = Duration::from_secs(3);
/// The most peers of the local network that a prover dials; a requester dials all.
const LAN_PEERS_MAX: usize = 16;
/// Requests that the node has not answered yet. Further ones are refused.
const UNANSWERED_MAX: usize = 4096;

/// The time since the machine was started; none where it is unknown.
pub(crate) type SinceBoot = Box<dyn Fn() -> Option<Duration> + Send>;

pub(crate) struct Actor {
    swarm: Swarm<Capped<Behaviour>>,
    role: Role,
    identity: Identity,
    hello: Hello,
    commands: mpsc::UnboundedReceiver<Command>,
    answers: mpsc::UnboundedSender<Command>,
    events: mpsc::UnboundedSender<Event>,
    unanswered: Arc<AtomicUsize>,
    peers: HashMap<PeerId, Connected>,
    /// The gate: which addresses are dialled, and which statements about them are believed.
    gate: SharedGate,
    scope_of: ScopeOf,
    redial: Redial,
    /// Bootstrap peers of which only the address is known, with the connection on which they are
    /// dialled.
    nameless: Vec<(Multiaddr, Option<PeerId>)>,
    dialling: HashMap<ConnectionId, usize>,
    own_jobs: BTreeMap<JobId, Announcement>,
    /// The latest signed record, and the addresses that it names.
    record: Option<(Vec<Multiaddr>, Vec<u8>)>,
    /// Announcements since the start.
    announced: u32,
    /// Limits the greetings that have a number of their own.
    greeting_numbers: DefaultDirectRateLimiter,
    jobs: Jobs,
    /// Requests that were sent, with the callers that wait for the answers.
    pending_requests: HashMap<OutboundRequestId, oneshot::Sender<Result<Response, AskError>>>,
    limiter: DefaultKeyedRateLimiter<PeerId>,
    /// Limits announcements, by the peer that forwards them.
    news_limiter: DefaultKeyedRateLimiter<PeerId>,
    strikes: Strikes,
    /// The time at which open jobs are announced again.
    announce_next: Instant,
    /// Something was announced while no peer was there to hear it.
    unheard: bool,
    /// Connections that are being opened with peers that seem to have been started again.
    renewing: HashSet<ConnectionId>,
    searched: Option<Instant>,
    started: Instant,
    suspension: Suspension,
    since_boot: SinceBoot,
    /// A requester was heard of, but no believed address of its is known.
    unplaced: bool,
    shared: Arc<Shared>,
}

impl Actor {
    pub(crate) fn new(
        swarm: Swarm<Capped<Behaviour>>,
        gate: SharedGate,
        config: &Config,
        channels: (mpsc::UnboundedSender<Command>, mpsc::UnboundedReceiver<Command>),
        events: mpsc::UnboundedSender<Event>,
        shared: Arc<Shared>,
    ) -> Self {
        let per_second = NonZeroU32::new(config.limits.requests_per_second.max(1)).expect("at least 1");
        let burst = per_second.saturating_mul(NonZeroU32::new(10).expect("not zero"));
        let mut redial = Redial::default();
        let mut nameless = Vec::new();
        let mut swarm = swarm;
        let now = Instant::now();
        for address in &config.bootstrap {
            match split_peer(address.0.clone()) {
                Some((id, address)) => {
                    let addresses = gate.lock().learn(id, vec![address], Informant::Owner);
                    for address in &addresses {
                        swarm.behaviour_mut().kad.add_address(&id, address.clone());
                    }
                    redial.want_for_ever(id, addresses, now);
                    swarm.behaviour_mut().slots.regard(id, Regard::Useful);
                }
                None => nameless.push((address.0.clone(), None)),
            }
        }
        Self {
            swarm,
            role: config.role,
            identity: config.identity.clone(),
            hello: Hello {
                version: PROTOCOL_VERSION,
                build: config.build.clone(),
                engines: config.engines.clone(),
                role: config.role,
                jobs: Vec::new(),
                boot: config.identity.boot,
                clock_ms: 0,
            },
            commands: channels.1,
            answers: channels.0,
            events,
            unanswered: Arc::default(),
            peers: HashMap::new(),
            gate,
            scope_of: config.limits.scope_of,
            redial,
            nameless,
            dialling: HashMap::new(),
            own_jobs: BTreeMap::new(),
            record: None,
            announced: 0,
            greeting_numbers: greeting_numbers(),
            jobs: Jobs::default(),
            pending_requests: HashMap::new(),
            limiter: RateLimiter::keyed(Quota::per_second(per_second).allow_burst(burst)),
            news_limiter: news_limiter(),
            strikes: Strikes::default(),
            announce_next: Instant::now(),
            unheard: false,
            renewing: HashSet::new(),
            searched: None,
            started: Instant::now(),
            suspension: Suspension::default(),
            since_boot: Box::new(since_boot),
            unplaced: false,
            shared,
        }
    }

    /// The actor with another clock; see [`since_boot`].
    pub(crate) fn with_clock(self, since_boot: SinceBoot) -> Self {
        Self { since_boot, ..self }
    }

    /// Runs until the last [`crate::Network`] is dropped. The actor itself has a sender of
    /// commands, for answers, so the channel's end does not show when that is.
    pub(crate) async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => return,
                },
                event = self.swarm.select_next_some() => self.event(event),
                _ = tick.tick() => self.tick(),
                () = self.shared.closed.notified() => return,
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Ask {
                peer,
                request,
                answer,
            } => {
                let id = self.swarm.behaviour_mut().task.send_request(&peer, Ok(request));
                self.pending_requests.insert(id, answer);
                self.shared.count_message();
            }
            Command::Answer { channel, response } => {
                // The caller that asked may be gone.
                let _ = self.swarm.behaviour_mut().task.send_response(channel, response);
                self.shared.count_message();
            }
            Command::Announce(announcement) => self.announce(*announcement),
            Command::Regard { peer, regard } => self.swarm.behaviour_mut().slots.regard(peer, regard),
            Command::Dial {
                peer,
                addresses,
                teller,
                dialled,
            } => {
                let addresses = match teller {
                    Some(by) => {
                        let calls_from = self.calls_from(&by);
                        self.learn(peer, addresses, Informant::Another(by, &calls_from))
                    }
                    None => Vec::new(),
                };
                self.dial(peer, addresses);
                // The caller that waits for it may have given up.
                let _ = dialled.send(());
            }
        }
    }

    fn tick(&mut self) {
        if let Some(passed) = (self.since_boot)()
            && let Some(time) = self.suspension.since_last(passed, self.started.elapsed())
        {
            self.resumed(time);
        }
        let now = Instant::now();
        let room = self.gate.lock().room(now);
        let due = self.redial.due(|id| self.peers.contains_key(id), room, now);
        for (peer, addresses) in due {
            self.dial(peer, addresses);
        }
        for place in 0..self.nameless.len() {
            let (address, id) = &self.nameless[place];
            let connected = id.is_some_and(|id| self.peers.contains_key(&id));
            if connected || self.dialling.values().any(|&other| other == place) {
                continue;
            }
            let options = DialOpts::unknown_peer_id().address(address.clone()).build();
            self.dialling.insert(options.connection_id(), place);
            self.start_dial(options);
        }
        let silent: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.hello.is_none() && peer.since.elapsed() > GREETING_PATIENCE)
            .map(|(&id, _)| id)
            .collect();
        for id in silent {
            tracing::debug!("peer {id} has not introduced itself, and is disconnected");
            let _ = self.swarm.disconnect_peer_id(id);
        }
        self.limiter.retain_recent();
        self.news_limiter.retain_recent();
        if Instant::now() > self.announce_next && !self.own_jobs.is_empty() {
            self.announce_again();
        }
        let alone = !self.peers.values().any(|peer| peer.is(Role::Requester));
        let pause = if self.unplaced {
            UNPLACED_EVERY
        } else {
            SEARCH_EVERY
        };
        let due = self.searched.is_none_or(|last| last.elapsed() > pause);
        if self.role == Role::Prover && (alone || self.unplaced) && due && !self.peers.is_empty() {
            self.searched = Some(Instant::now());
            self.unplaced = false;
            self.swarm
                .behaviour_mut()
                .kad
                .get_providers(kad::RecordKey::new(&REQUESTERS_KEY));
        }
    }

    fn own_addresses(&self) -> Vec<Multiaddr> {
        let all = self.swarm.external_addresses().chain(self.swarm.listeners());
        best(all.cloned().collect(), self.scope_of)
    }

    /// The addresses where this node is reached, signed. Each greeting has them, and peers may
    /// greet without end.
    fn own_record(&mut self) -> Vec<u8> {
        let addresses = self.own_addresses();
        match &self.record {
            Some((of, record)) if *of == addresses => record.clone(),
            _ => {
                let record = record::sign(&self.identity.keypair, addresses.clone());
                self.record.insert((addresses, record)).1.clone()
            }
        }
    }

    fn greeting(&mut self) -> Hello {
        let mut hello = self.hello.clone();
        hello.clock_ms = now_ms();
        let sequence = self.greeting_sequence();
        hello.jobs = self
            .own_jobs
            .values()
            .take(crate::wire::JOBS_MAX)
            .cloned()
            .collect();
        let record = if hello.jobs.is_empty() {
            Vec::new()
        } else {
            self.own_record()
        };
        for job in &mut hello.jobs {
            job.sequence = sequence;
            job.record.clone_from(&record);
        }
        hello
    }

    fn event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.behaviour_event(event),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => self.connected(peer_id, connection_id, &endpoint),
            SwarmEvent::ConnectionClosed {
                peer_id,
                num_established: 0,
                cause,
                ..
            } => {
                tracing::debug!("peer {peer_id} is gone: {cause:?}");
                self.unplaced |= self
                    .peers
                    .get(&peer_id)
                    .is_some_and(|peer| peer.is(Role::Requester));
                self.peers.remove(&peer_id);
                self.tell_shared(peer_id);
                self.send(peer_id, |peer| Event::Lost { peer });
            }
            SwarmEvent::OutgoingConnectionError {
                connection_id, error, ..
            } => {
                tracing::debug!("a peer cannot be reached: {error}");
                self.dialling.remove(&connection_id);
                self.renewing.remove(&connection_id);
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                tracing::debug!("listening on {address}");
                self.tell_listening();
            }
            SwarmEvent::ExpiredListenAddr { .. } | SwarmEvent::ExternalAddrConfirmed { .. } => {
                self.tell_listening();
            }
            _ => {}
        }
    }

    fn tell_listening(&self) {
        let id = *self.swarm.local_peer_id();
        let named = |address: Multiaddr| address.with_p2p(id).unwrap_or_else(|address| address).to_string();
        self.shared
            .set_listening(self.own_addresses().into_iter().map(named).collect());
    }

    fn send(&self, id: PeerId, event: impl FnOnce(Peer) -> Event) {
        if let Some(peer) = peer_of(&id) {
            // Nobody listens any more when the node is about to end.
            let _ = self.events.send(event(peer));
        }
    }

    fn behaviour_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Hello(event) => self.hello_event(event),
            BehaviourEvent::Task(event) => self.task_event(event),
            BehaviourEvent::Gossip(gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            }) => {
                let acceptance = self.gossip(&message, &propagation_source);
                self.swarm
                    .behaviour_mut()
                    .gossip
                    .report_message_validation_result(&message_id, &propagation_source, acceptance);
            }
            BehaviourEvent::Gossip(gossipsub::Event::Subscribed { .. }) if self.unheard => {
                self.announce_again();
            }
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.identified(peer_id, info);
            }
            BehaviourEvent::Mdns(mdns::Event::Discovered(found))
            | BehaviourEvent::Mdns6(mdns::Event::Discovered(found)) => self.discovered(found),
            BehaviourEvent::Kad(kad::Event::OutboundQueryProgressed {
                result:
                    kad::QueryResult::GetProviders(Ok(kad::GetProvidersOk::FoundProviders { providers, .. })),
                ..
            }) => {
                for provider in providers {
                    // Their addresses came with the answer, and the table adds them while the query
                    // lasts.
                    self.dial(provider, Vec::new());
                }
            }
            BehaviourEvent::Kad(kad::Event::InboundRequest {
                request: kad::InboundRequest::AddProvider { record: Some(record) },
            }) => self.provided(record),
            BehaviourEvent::Ping(libp2p::ping::Event {
                connection,
                result: Err(e),
                peer,
            }) => {
                tracing::debug!("peer {peer} does not answer: {e}");
                self.swarm.close_connection(connection);
            }
            _ => {}
        }
    }

    /// Lets the handles see the present state of a peer.
    fn tell_shared(&self, id: PeerId) {
        let Some(peer) = peer_of(&id) else {
            return;
        };
        let status = self.peers.get(&id).map(|connected| PeerStatus {
            peer,
            role: connected.hello.as_ref().map(|hello| hello.role),
            build: connected
                .hello
                .as_ref()
                .map(|hello| hello.build.clone())
                .unwrap_or_default(),
            addresses: connected.addresses.iter().map(Multiaddr::to_string).collect(),
        });
        self.shared.set_peer(peer, status);
    }
}

impl Connected {
    fn is_compatible(&self) -> bool {
        self.hello
            .as_ref()
            .is_some_and(|hello| hello.version == PROTOCOL_VERSION)
    }

    fn is(&self, role: Role) -> bool {
        self.is_compatible() && self.hello.as_ref().is_some_and(|hello| hello.role == role)
    }
}

/// The milliseconds that a peer's clock is ahead of this one, which says `now_ms`; below 0 if it is
/// behind.
fn clock_ahead_ms(hello: &Hello, now_ms: u64) -> i64 {
    let ahead = i128::from(hello.clock_ms) - i128::from(now_ms);
    ahead.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// Milliseconds since 1970.
fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
