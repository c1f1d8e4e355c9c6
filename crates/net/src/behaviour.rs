//! The libp2p protocols of a node, chosen and bounded.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroUsize,
    time::Duration,
};

use libp2p::{
    StreamProtocol, Swarm, SwarmBuilder, allow_block_list, connection_limits, gossipsub, identify, kad, mdns,
    memory_connection_limits, noise, ping, request_response,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
    tcp, yamux,
};

use crate::{
    config::{Config, StartError},
    wire::{ANNOUNCEMENT_BYTES_MAX, Frames, Hello, Request, Response, Role},
};

pub(crate) const BLOB_PROTOCOL: StreamProtocol = StreamProtocol::new("/myriad/blob/1");
pub(crate) const KAD_PROTOCOL: StreamProtocol = StreamProtocol::new("/myriad/kad/1");
const HELLO_PROTOCOL: StreamProtocol = StreamProtocol::new("/myriad/hello/1");
const TASK_PROTOCOL: StreamProtocol = StreamProtocol::new("/myriad/task/1");
const IDENTIFY_VERSION: &str = "/myriad/1";
/// The gossip topic of [`crate::wire::Announcement`]s.
pub(crate) const JOBS_TOPIC: &str = "/myriad/jobs/1";

/// A peer that does not answer for so long is taken for gone.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// How long a request may take: its answer needs no work, only the way there and back.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Streams that one connection may have open, of all protocols. Who opens more loses the connection.
const STREAMS_MAX: u32 = 128;
/// Most requests of one protocol that one connection handles at once.
const REQUESTS_AT_ONCE: usize = 32;
/// A home machine that leads nowhere must not block the dialling of others.
const PENDING_CONNECTIONS_MAX: u32 = 128;
/// One by QUIC and one by TCP in each direction, when both sides dial at once.
const CONNECTIONS_PER_PEER_MAX: u32 = 4;
/// Connections are for leases, which come and go; keeping them costs next to nothing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
/// Requesters that a node of the hash table remembers.
const PROVIDERS_MAX: usize = 64;

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    // Limits come first: what they refuse, the others never see.
    pub connections: connection_limits::Behaviour,
    pub memory: memory_connection_limits::Behaviour,
    pub blocked: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub hello: request_response::Behaviour<Frames<Hello, Hello>>,
    pub task: request_response::Behaviour<Frames<Request, Response>>,
    pub blobs: libp2p_stream::Behaviour,
    pub gossip: gossipsub::Behaviour,
    pub kad: kad::Behaviour<kad::store::MemoryStore>,
    pub identify: identify::Behaviour,
    pub mdns: Toggle<mdns::tokio::Behaviour>,
    pub ping: ping::Behaviour,
}

/// A swarm that is ready to listen and dial.
pub(crate) fn swarm(config: &Config) -> Result<Swarm<Behaviour>, StartError> {
    let setup = |e: &dyn std::fmt::Display| StartError::Setup(e.to_string());
    let behaviour = behaviour(config)?;
    let multiplexer = || {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(STREAMS_MAX as usize);
        config
    };
    let swarm = SwarmBuilder::with_existing_identity(config.identity.0.clone())
        .with_tokio()
        .with_tcp(
            tcp::Config::default().nodelay(true),
            noise::Config::new,
            multiplexer,
        )
        .map_err(|e| setup(&e))?
        .with_quic_config(|mut config| {
            config.max_concurrent_stream_limit = STREAMS_MAX;
            config.max_idle_timeout = SILENCE_MAX.as_millis() as u32;
            config
        })
        .with_dns()
        .map_err(|e| setup(&e))?
        .with_behaviour(|_| Ok(behaviour))
        .map_err(|e| setup(&e))?
        .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE_TIMEOUT))
        .build();
    Ok(swarm)
}

fn behaviour(config: &Config) -> Result<Behaviour, StartError> {
    let keypair = &config.identity.0;
    let id = keypair.public().to_peer_id();
    let limits = connection_limits::ConnectionLimits::default()
        .with_max_pending_incoming(Some(PENDING_CONNECTIONS_MAX))
        .with_max_pending_outgoing(Some(PENDING_CONNECTIONS_MAX))
        .with_max_established(Some(config.limits.connections))
        .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER_MAX));
    let requests = || {
        request_response::Config::default()
            .with_request_timeout(REQUEST_TIMEOUT)
            .with_max_concurrent_streams(REQUESTS_AT_ONCE)
    };
    let both_ways = request_response::ProtocolSupport::Full;
    let identify = identify::Config::new(IDENTIFY_VERSION.into(), keypair.public())
        .with_agent_version(config.build.clone())
        .with_push_listen_addr_updates(true);
    let mdns = config
        .mdns
        .then(|| mdns::tokio::Behaviour::new(mdns::Config::default(), id))
        .transpose()
        .map_err(StartError::Mdns)?;
    Ok(Behaviour {
        connections: connection_limits::Behaviour::new(limits),
        memory: memory_connection_limits::Behaviour::with_max_bytes(config.limits.memory_bytes),
        blocked: allow_block_list::Behaviour::default(),
        hello: request_response::Behaviour::new([(HELLO_PROTOCOL, both_ways.clone())], requests()),
        task: request_response::Behaviour::new([(TASK_PROTOCOL, both_ways)], requests()),
        blobs: libp2p_stream::Behaviour::new(),
        gossip: gossip(config)?,
        kad: kad(config),
        identify: identify::Behaviour::new(identify),
        mdns: mdns.into(),
        ping: ping::Behaviour::new(
            ping::Config::new()
                .with_interval(SILENCE_MAX / 3)
                .with_timeout(SILENCE_MAX),
        ),
    })
}

/// Announcements are signed by their authors, and forwarded only after [`crate::swarm`] has looked at them.
fn gossip(config: &Config) -> Result<gossipsub::Behaviour, StartError> {
    let setup = |e: &dyn std::fmt::Display| StartError::Setup(format!("gossip: {e}"));
    let topic = gossipsub::IdentTopic::new(JOBS_TOPIC);
    let gossip_config = gossipsub::ConfigBuilder::default()
        .max_transmit_size(ANNOUNCEMENT_BYTES_MAX)
        .validation_mode(gossipsub::ValidationMode::Strict)
        .validate_messages()
        .build()
        .map_err(|e| setup(&e))?;
    let authenticity = gossipsub::MessageAuthenticity::Signed(config.identity.0.clone());
    let mut gossip = gossipsub::Behaviour::new(authenticity, gossip_config).map_err(|e| setup(&e))?;

    // Announcements are rare, so that nobody is marked down for delivering few; who forwards what is
    // invalid is, and is no longer listened to after about four of them.
    let jobs = gossipsub::TopicScoreParams {
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -10.0,
        invalid_message_deliveries_decay: 0.9,
        ..Default::default()
    };
    let mut scores = gossipsub::PeerScoreParams::default();
    scores.topics.insert(topic.hash(), jobs);
    // The provers of a local cluster are many on one address.
    let here = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    scores.ip_colocation_factor_whitelist.extend(here);
    gossip
        .with_peer_score(scores, gossipsub::PeerScoreThresholds::default())
        .map_err(|e| setup(&e))?;
    gossip.subscribe(&topic).map_err(|e| setup(&e))?;
    Ok(gossip)
}

/// Only nodes that others can reach answer for the table; all can ask.
fn kad(config: &Config) -> kad::Behaviour<kad::store::MemoryStore> {
    let id = config.identity.0.public().to_peer_id();
    let store = kad::store::MemoryStoreConfig {
        // Nobody has a use for records other than who provides.
        max_records: 0,
        max_value_bytes: 0,
        max_providers_per_key: PROVIDERS_MAX,
        max_provided_keys: PROVIDERS_MAX,
    };
    let store = kad::store::MemoryStore::with_config(id, store);
    let mut settings = kad::Config::new(KAD_PROTOCOL);
    settings
        .set_record_filtering(kad::StoreInserts::Unfiltered)
        .set_parallelism(NonZeroUsize::new(3).expect("not zero"));
    let mut kad = kad::Behaviour::with_config(id, store, settings);
    let reachable = !config.external.is_empty() || config.role == Role::Bootstrap;
    kad.set_mode(Some(if reachable {
        kad::Mode::Server
    } else {
        kad::Mode::Client
    }));
    kad
}
