//! The libp2p protocols of a node, chosen and bounded.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroUsize,
    time::Duration,
};

use libp2p::{
    PeerId, StreamProtocol, Swarm, SwarmBuilder, Transport, allow_block_list, connection_limits,
    core::{muxing::StreamMuxerBox, upgrade::Version},
    dns, gossipsub, identify,
    identity::Keypair,
    kad, mdns, memory_connection_limits, noise, ping, quic, request_response,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
    tcp, yamux,
};

use crate::{
    config::{Config, StartError},
    providers::{PROVIDER_TTL, PROVIDERS_MAX},
    reach::{Capped, Gated, Named, SharedGate},
    slots,
    wire::{ANNOUNCEMENT_BYTES_MAX, Frames, Hello, Request, Response, Role},
};

pub(crate) const BLOB_PROTOCOL: StreamProtocol = StreamProtocol::new("/myriad/blob/1");
pub(crate) const KAD_PROTOCOL: StreamProtocol = StreamProtocol::new("/myriad/kad/1");
const HELLO_PROTOCOL: StreamProtocol = StreamProtocol::new("/myriad/hello/1");
const TASK_PROTOCOL: StreamProtocol = StreamProtocol::new("/myriad/task/1");
const IDENTIFY_VERSION: &str = "/myriad/4";
/// The gossip topic of [`crate::wire::Announcement`]s.
pub(crate) const JOBS_TOPIC: &str = "/myriad/jobs/4";

/// A peer that does not answer for this long counts as gone.
const CONNECTION_SILENCE_MAX: Duration = Duration::from_secs(15);
/// The longest time of a request. Its answer takes no work, only the way there and back.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Streams that one connection may have open, of all protocols. A peer that opens more loses the
/// connection.
const STREAMS_MAX: u32 = 128;
/// The most requests of one protocol that one connection handles at once.
const REQUESTS_AT_ONCE: usize = 32;
/// Dials that lead nowhere must not block others, so this is twice the number of peers that are
/// dialled again and again.
const PENDING_CONNECTIONS_MAX: u32 = 256;
/// When both sides dial at once, a peer has one by QUIC and one by TCP in each direction.
const CONNECTIONS_PER_PEER_MAX: u32 = 4;
/// Connections are for leases, which come and go; keeping them costs next to nothing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);
/// The most bytes of a message of the hash table. Twenty requesters and twenty nodes of the table
/// are named in one, each with eight addresses of 160 bytes.
const KAD_MESSAGE_BYTES_MAX: usize = 64 << 10;
/// The time for which the score of a peer that is gone is kept. Most peers have no score to keep,
/// and identities cost nothing, so it is short.
const SCORE_KEPT: Duration = Duration::from_secs(600);
/// Peers on one address that do not lower their scores: the machines of a firm or a school behind
/// one router.
const COLOCATED_MAX: f64 = 64.0;

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    // Limits come first: the other behaviours never see what they refuse.
    pub memory: memory_connection_limits::Behaviour,
    pub blocked: allow_block_list::Behaviour<allow_block_list::BlockedPeers>,
    pub connections: connection_limits::Behaviour,
    // Slots come last: a connection that they admit may replace another.
    pub slots: slots::Behaviour,
    pub hello: request_response::Behaviour<Frames<Hello, Hello>>,
    pub task: request_response::Behaviour<Frames<Request, Response>>,
    pub blobs: libp2p_stream::Behaviour,
    pub gossip: gossipsub::Behaviour,
    pub kad: kad::Behaviour<kad::store::MemoryStore>,
    pub identify: identify::Behaviour,
    pub mdns: Toggle<mdns::tokio::Behaviour>,
    /// mDNS by IPv6: each of the two speaks one family.
    pub mdns6: Toggle<mdns::tokio::Behaviour>,
    pub ping: ping::Behaviour,
}

/// A swarm that is ready to listen and dial.
pub(crate) fn swarm(config: &Config, gate: SharedGate) -> Result<Swarm<Capped<Behaviour>>, StartError> {
    let setup = |e: &dyn std::fmt::Display| StartError::Setup(e.to_string());
    let behaviour = Capped::new(behaviour(config)?, config.limits.scope_of);
    let swarm = SwarmBuilder::with_existing_identity(config.identity.keypair.clone())
        .with_tokio()
        .with_other_transport(|key| transport(key, gate))
        .map_err(|e| setup(&e))?
        .with_behaviour(|_| Ok(behaviour))
        .map_err(|e| setup(&e))?
        .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE_TIMEOUT))
        .build();
    Ok(swarm)
}

/// QUIC and TCP go through the gate, and names are looked up above it. So the gate checks the
/// addresses of names like all others. Before, it is asked whether the name may be looked up.
fn transport(
    key: &Keypair,
    gate: SharedGate,
) -> Result<
    impl Transport<Output = (PeerId, StreamMuxerBox), Dial: Send, ListenerUpgrade: Send, Error: Send + Sync>
    + Send
    + Unpin
    + use<>,
    Box<dyn std::error::Error + Send + Sync>,
> {
    let mut multiplexer = yamux::Config::default();
    multiplexer.set_max_num_streams(STREAMS_MAX as usize);
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(key)?)
        .multiplex(multiplexer)
        .map(|(id, muxer), _| (id, StreamMuxerBox::new(muxer)));
    let mut config = quic::Config::new(key);
    config.max_concurrent_stream_limit = STREAMS_MAX;
    config.max_idle_timeout = CONNECTION_SILENCE_MAX.as_millis() as u32;
    let quic = quic::tokio::Transport::new(config).map(|(id, muxer), _| (id, StreamMuxerBox::new(muxer)));
    let both = tcp.or_transport(quic).map(|either, _| either.into_inner());
    let gated = Gated::new(both, gate.clone());
    Ok(Named::new(dns::tokio::Transport::system(gated)?, gate))
}

fn behaviour(config: &Config) -> Result<Behaviour, StartError> {
    let keypair = &config.identity.keypair;
    let id = keypair.public().to_peer_id();
    let limits = connection_limits::ConnectionLimits::default()
        .with_max_pending_outgoing(Some(PENDING_CONNECTIONS_MAX))
        .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER_MAX));
    let requests = || {
        request_response::Config::default()
            .with_request_timeout(REQUEST_TIMEOUT)
            .with_max_concurrent_streams(REQUESTS_AT_ONCE)
    };
    let both_ways = request_response::ProtocolSupport::Full;
    let identify = identify::Config::new(IDENTIFY_VERSION.into(), keypair.public())
        .with_agent_version(config.build.clone())
        .with_push_listen_addr_updates(true)
        // The actor passes on the addresses that are believed.
        .with_cache_size(0);
    let mdns = |enable_ipv6| {
        let settings = mdns::Config {
            enable_ipv6,
            ..mdns::Config::default()
        };
        let mdns = config.mdns.then(|| mdns::tokio::Behaviour::new(settings, id));
        mdns.transpose().map_err(StartError::Mdns)
    };
    Ok(Behaviour {
        connections: connection_limits::Behaviour::new(limits),
        slots: slots::Behaviour::new(config.limits.connections, config.limits.scope_of),
        memory: memory_connection_limits::Behaviour::with_max_bytes(config.limits.memory_bytes),
        blocked: allow_block_list::Behaviour::default(),
        hello: request_response::Behaviour::new([(HELLO_PROTOCOL, both_ways.clone())], requests()),
        task: request_response::Behaviour::new([(TASK_PROTOCOL, both_ways)], requests()),
        blobs: libp2p_stream::Behaviour::new(),
        gossip: gossip(config)?,
        kad: kad(config),
        identify: identify::Behaviour::new(identify),
        mdns: mdns(false)?.into(),
        mdns6: mdns(true)?.into(),
        ping: ping::Behaviour::new(
            ping::Config::new()
                .with_interval(CONNECTION_SILENCE_MAX / 3)
                .with_timeout(CONNECTION_SILENCE_MAX),
        ),
    })
}

/// Announcements are signed by their authors, and forwarded only after [`crate::actor`] has looked
/// at them.
fn gossip(config: &Config) -> Result<gossipsub::Behaviour, StartError> {
    let setup = |e: &dyn std::fmt::Display| StartError::Setup(format!("gossip: {e}"));
    let topic = gossipsub::IdentTopic::new(JOBS_TOPIC);
    let gossip_config = gossipsub::ConfigBuilder::default()
        .max_transmit_size(ANNOUNCEMENT_BYTES_MAX)
        .validation_mode(gossipsub::ValidationMode::Strict)
        .validate_messages()
        // A neighbour that wants to be rid of this node cannot make it dial others.
        .prune_peers(0)
        .build()
        .map_err(|e| setup(&e))?;
    let authenticity = gossipsub::MessageAuthenticity::Signed(config.identity.keypair.clone());
    let mut gossip = gossipsub::Behaviour::new(authenticity, gossip_config).map_err(|e| setup(&e))?;

    let (scores, thresholds) = scores(&topic);
    gossip
        .with_peer_score(scores, thresholds)
        .map_err(|e| setup(&e))?;
    gossip.subscribe(&topic).map_err(|e| setup(&e))?;
    Ok(gossip)
}

/// The scores that gossip holds peers to. A score is a sum of these parts, and never above 0: no
/// good deed makes up for a bad one.
///
/// - An invalid message counts 1, of which 1 % is lost each second, and `n` of them cost 6 `n`²:
///   one 6, two 24, three 54, four 96.
/// - `n` peers on one address more than [`COLOCATED_MAX`] cost each of them 0.1 `n`²: ten 10, 28
///   78, 29 84.
///
/// Below 0, messages are not forwarded to a peer at once. Below -10 it is not told which messages
/// there are, below -50 it is sent none, and below -80 nobody listens to it. The fourth invalid
/// message within 18 s leads there, and so does one every half a minute for ever.
fn scores(topic: &gossipsub::IdentTopic) -> (gossipsub::PeerScoreParams, gossipsub::PeerScoreThresholds) {
    let jobs = gossipsub::TopicScoreParams {
        topic_weight: 1.0,
        // Being there and bringing news earns nothing; by default it would soon make up for two
        // dozen invalid messages. Announcements are rare, so delivering few is not a fault either.
        time_in_mesh_weight: 0.0,
        first_message_deliveries_weight: 0.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -6.0,
        invalid_message_deliveries_decay: 0.99,
        ..Default::default()
    };
    let mut scores = gossipsub::PeerScoreParams {
        ip_colocation_factor_weight: -0.1,
        ip_colocation_factor_threshold: COLOCATED_MAX,
        retain_score: SCORE_KEPT,
        ..Default::default()
    };
    scores.topics.insert(topic.hash(), jobs);
    // A local cluster has many provers on one address.
    let here = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    scores.ip_colocation_factor_whitelist.extend(here);
    let thresholds = gossipsub::PeerScoreThresholds {
        gossip_threshold: -10.0,
        publish_threshold: -50.0,
        graylist_threshold: -80.0,
        ..Default::default()
    };
    (scores, thresholds)
}

/// Only nodes that others can reach answer for the table; all can ask.
fn kad(config: &Config) -> kad::Behaviour<kad::store::MemoryStore> {
    let id = config.identity.keypair.public().to_peer_id();
    let store = kad::store::MemoryStoreConfig {
        // The table is used only for records of providers.
        max_records: 0,
        max_value_bytes: 0,
        max_providers_per_key: PROVIDERS_MAX,
        // The key of the requesters.
        max_provided_keys: 1,
    };
    let store = kad::store::MemoryStore::with_config(id, store);
    let mut settings = kad::Config::new(KAD_PROTOCOL);
    settings
        // Records that others ask to be kept go to the actor, which keeps those that it knows the
        // use of.
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_provider_record_ttl(Some(PROVIDER_TTL))
        // The actor does this itself, with each announcement.
        .set_provider_publication_interval(None)
        // No records are sent on. libp2p would remember the keys of all that were sent here.
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_max_packet_size(KAD_MESSAGE_BYTES_MAX)
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

#[cfg(test)]
mod tests {
    use libp2p::{Multiaddr, core::Endpoint, multiaddr::Protocol, swarm::ConnectionId};

    use super::*;
    use crate::{limits::ADDRESSES_MAX, reach::Gate};

    /// The best possible score after `invalid` invalid messages just now, by libp2p's formula: that
    /// of a peer that is in the mesh for ever and brings all the news.
    fn best_score(invalid: f64) -> f64 {
        let topic = gossipsub::IdentTopic::new(JOBS_TOPIC);
        let (scores, _) = scores(&topic);
        let jobs = &scores.topics[&topic.hash()];
        let earned = jobs.time_in_mesh_weight * jobs.time_in_mesh_cap
            + jobs.first_message_deliveries_weight * jobs.first_message_deliveries_cap;
        let lost = jobs.invalid_message_deliveries_weight * invalid * invalid;
        (earned + lost) * jobs.topic_weight
    }

    fn score_among(peers_on_its_address: u32) -> f64 {
        let (scores, _) = scores(&gossipsub::IdentTopic::new(JOBS_TOPIC));
        let more = (f64::from(peers_on_its_address) - scores.ip_colocation_factor_threshold).max(0.0);
        scores.ip_colocation_factor_weight * more * more
    }

    #[test]
    fn the_fourth_invalid_message_shuts_a_peer_out_whatever_it_did_before() {
        let topic = gossipsub::IdentTopic::new(JOBS_TOPIC);
        let (scores, thresholds) = scores(&topic);
        scores.validate().unwrap();
        thresholds.validate().unwrap();
        assert!(best_score(0.0) <= 0.0);
        assert!(best_score(3.0) > thresholds.graylist_threshold);
        assert!(best_score(4.0) < thresholds.graylist_threshold);

        let decay = scores.topics[&topic.hash()].invalid_message_deliveries_decay;
        let counted = |count: i32, pause: i32| (0..count).map(|n| decay.powi(n * pause)).sum::<f64>();
        assert!(
            best_score(counted(4, 6)) < thresholds.graylist_threshold,
            "within 18 s"
        );
        assert!(best_score(counted(100, 30)) < thresholds.graylist_threshold);
        assert!(best_score(counted(100, 60)) > thresholds.graylist_threshold);
    }

    #[test]
    fn the_machines_of_a_firm_behind_one_router_are_heard() {
        let (_, thresholds) = scores(&gossipsub::IdentTopic::new(JOBS_TOPIC));
        assert!(score_among(64) >= 0.0);
        assert!(score_among(92) > thresholds.graylist_threshold);
        assert!(score_among(1000) < thresholds.graylist_threshold);
    }

    /// A liar of the hash table names all of them in one answer.
    #[tokio::test]
    async fn a_dial_tries_no_more_addresses_than_a_peer_may_have() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::of_lone_prover(dir.path());
        let gate = SharedGate::new(Gate::new(config.limits.scope_of));
        let mut swarm = swarm(&config, gate).unwrap();
        let id = PeerId::random();
        let named = |from: u8| {
            (0..50u8).map(move |n| Multiaddr::from(Ipv4Addr::new(8, 8, from, n)).with(Protocol::Tcp(1)))
        };
        for address in named(1) {
            swarm.behaviour_mut().kad.add_address(&id, address);
        }
        let mut tried = |given: &[Multiaddr]| {
            let connection = ConnectionId::new_unchecked(1);
            let more = swarm.behaviour_mut().handle_pending_outbound_connection(
                connection,
                Some(id),
                given,
                Endpoint::Dialer,
            );
            given.len() + more.unwrap().len()
        };
        assert_eq!(tried(&[]), ADDRESSES_MAX);
        let given: Vec<Multiaddr> = named(2).take(5).collect();
        assert_eq!(tried(&given), ADDRESSES_MAX);
        let given: Vec<Multiaddr> = named(2).collect();
        assert_eq!(tried(&given), given.len(), "the owner may name more");
    }

    /// Dialling does nothing before it is polled, and it is not here.
    #[tokio::test]
    async fn a_node_looks_up_few_names_of_strangers() {
        let [owners, chained] = [(); 2].map(|()| PeerId::random());
        let named =
            |id: PeerId| -> Multiaddr { format!("/dns4/a{id}.example/tcp/1/p2p/{id}").parse().unwrap() };
        let chain: Multiaddr = format!("/dnsaddr/example.org/p2p/{chained}").parse().unwrap();
        let gate = SharedGate::new(Gate::new(crate::reach::Scope::of));
        gate.lock()
            .learn(owners, Vec::new(), crate::reach::Informant::Owner);
        let mut transport = transport(&Keypair::generate_ed25519(), gate).unwrap();
        let mut is_dialled = |address: Multiaddr| {
            let opts = libp2p::core::transport::DialOpts {
                role: Endpoint::Dialer,
                port_use: libp2p::core::transport::PortUse::New,
            };
            transport.dial(address, opts).is_ok()
        };
        let dialled = (0..1000).filter(|_| is_dialled(named(PeerId::random()))).count();
        assert!((16..20).contains(&dialled), "{dialled}");
        assert!(
            (0..100).all(|_| is_dialled(named(owners))),
            "the owner's are looked up"
        );
        assert!(is_dialled("/dnsaddr/example.org".parse().unwrap()));
        assert!(!is_dialled(chain));
    }
}
