//! The connections that a node has room for. A behaviour refuses those that [`table::Table`] does
//! not admit, and closes those that it chooses to go.

mod table;

use std::{
    collections::VecDeque,
    convert::Infallible,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
    },
};

pub use self::table::Regard;
use self::table::Table;
use crate::reach::{ScopeOf, ip_of};

/// The peers that have a connection, and their worth, for other parts of the node.
#[derive(Clone)]
pub(crate) struct Visitors(Arc<Mutex<Table>>);

impl Visitors {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The worth of a peer, and the address of its oldest connection, if it is known.
    pub(crate) fn look(&self, peer: &PeerId) -> (Regard, Option<IpAddr>) {
        self.lock().look(peer)
    }
}

pub(crate) struct Behaviour {
    table: Visitors,
    leaving: VecDeque<(PeerId, ConnectionId)>,
    waker: Option<Waker>,
}

impl Behaviour {
    /// A behaviour with room for this many connections.
    pub(crate) fn new(most: u32, scope_of: ScopeOf) -> Self {
        Self {
            table: Visitors(Arc::new(Mutex::new(Table::new(most as usize, scope_of)))),
            leaving: VecDeque::new(),
            waker: None,
        }
    }

    pub(crate) fn visitors(&self) -> Visitors {
        self.table.clone()
    }

    pub(crate) fn regard(&mut self, id: PeerId, regard: Regard) {
        self.table.lock().regard(id, regard);
    }

    fn admit(&mut self, peer: PeerId, address: &Multiaddr) -> Result<THandler<Self>, ConnectionDenied> {
        let instead = self.table.lock().admit(peer, ip_of(address)).map_err(|e| {
            tracing::debug!("a connection with {peer} is refused: {e}");
            ConnectionDenied::new(e)
        })?;
        if let Some(leaving) = instead {
            self.leaving.push_back(leaving);
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
        Ok(dummy::ConnectionHandler)
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        from: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let knocked = self.table.lock().knock(connection, ip_of(from));
        knocked.map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        from: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.table.lock().knocked(connection);
        self.admit(peer, from)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        to: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit(peer, to)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) => {
                let ip = ip_of(established.endpoint.get_remote_address());
                self.table
                    .lock()
                    .opened(established.connection_id, established.peer_id, ip);
            }
            FromSwarm::ConnectionClosed(closed) => self.table.lock().closed(closed.connection_id),
            FromSwarm::ListenFailure(failure) => self.table.lock().knocked(failure.connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some((peer_id, connection)) = self.leaving.pop_front() {
            tracing::debug!("a connection with {peer_id} is closed, to make room");
            return Poll::Ready(ToSwarm::CloseConnection {
                peer_id,
                connection: CloseConnection::One(connection),
            });
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
