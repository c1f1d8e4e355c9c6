//! The gate at work: a transport, below DNS and above TCP and QUIC, that asks the gate about every
//! attempt, and one above DNS that asks it about every name.

use std::{
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Instant,
};

use futures::{
    FutureExt, TryFutureExt,
    future::{BoxFuture, MapErr},
};
use libp2p::{
    Multiaddr, PeerId, Transport,
    core::transport::{DialOpts, ListenerId, TransportError, TransportEvent},
};
use thiserror::Error;

use super::{
    gate::{Attempt, Gate, Refusal},
    scope::{has_name, ip_of, peer_at_end},
};

/// The gate of a node, for its actor and its transport.
#[derive(Clone)]
pub(crate) struct SharedGate(Arc<Mutex<Gate>>);

impl SharedGate {
    pub(crate) fn new(gate: Gate) -> Self {
        Self(Arc::new(Mutex::new(gate)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Gate> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why an attempt came to nothing.
#[derive(Debug, Error)]
pub(crate) enum GateError<E: std::error::Error + 'static> {
    #[error(transparent)]
    Refused(Refusal),
    #[error(transparent)]
    Transport(E),
}

/// A transport through a gate. Incoming connections are not its business.
pub(crate) struct Gated<T> {
    inner: T,
    gate: SharedGate,
}

impl<T> Gated<T> {
    pub(crate) fn new(inner: T, gate: SharedGate) -> Self {
        Self { inner, gate }
    }
}

/// Incoming connections of a transport, with the errors of a gate.
type Incoming<T> = TransportEvent<
    Upgraded<<T as Transport>::ListenerUpgrade, <T as Transport>::Error>,
    GateError<<T as Transport>::Error>,
>;

fn listen_on<T: Transport<Error: 'static>>(
    inner: &mut T,
    id: ListenerId,
    address: Multiaddr,
) -> Result<(), TransportError<GateError<T::Error>>> {
    let listening = inner.listen_on(id, address);
    listening.map_err(|e| e.map(GateError::Transport))
}

fn poll<T: Transport<Error: 'static> + Unpin>(inner: &mut T, cx: &mut Context<'_>) -> Poll<Incoming<T>> {
    let wrapped: fn(T::Error) -> GateError<T::Error> = GateError::Transport;
    Pin::new(inner).poll(cx).map(|event| {
        let event = event.map_upgrade(|upgrade| upgrade.map_err(wrapped));
        event.map_err(wrapped)
    })
}

type Dialled<M, E> = BoxFuture<'static, Result<(PeerId, M), GateError<E>>>;
type Upgraded<F, E> = MapErr<F, fn(E) -> GateError<E>>;

impl<T, M> Transport for Gated<T>
where
    T: Transport<Output = (PeerId, M)> + Unpin,
    T::Dial: Send + 'static,
    T::Error: Send + 'static,
    M: Send + 'static,
{
    type Output = T::Output;
    type Error = GateError<T::Error>;
    type ListenerUpgrade = Upgraded<T::ListenerUpgrade, T::Error>;
    type Dial = Dialled<M, T::Error>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<Self::Error>> {
        listen_on(&mut self.inner, id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        opts: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        // Names have been looked up, and nothing else is dialled.
        let Some(ip) = ip_of(&address) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        let expected = peer_at_end(&address);
        let attempt = self.admit(expected, ip).inspect_err(|e| {
            tracing::debug!("{address} is not dialled: {e}");
        });
        let attempt = attempt.map_err(|e| TransportError::Other(GateError::Refused(e)))?;
        let dialled = self.inner.dial(address, opts);
        let dialled = dialled.map_err(|e| e.map(GateError::Transport))?;
        let gate = self.gate.clone();
        let dialled = async move {
            let dialled = dialled.await;
            if let Ok((id, _)) = &dialled
                && expected.is_none_or(|expected| expected == *id)
            {
                gate.lock().reached(attempt, *id);
            }
            dialled.map_err(GateError::Transport)
        };
        Ok(dialled.boxed())
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        poll(&mut self.inner, cx)
    }
}

impl<T> Gated<T> {
    fn admit(&self, expected: Option<PeerId>, ip: IpAddr) -> Result<Attempt, Refusal> {
        self.gate.lock().admit(expected, ip, Instant::now())
    }
}

/// A transport that looks names up, when the gate lets it.
pub(crate) struct Named<T> {
    inner: T,
    gate: SharedGate,
}

impl<T> Named<T> {
    pub(crate) fn new(inner: T, gate: SharedGate) -> Self {
        Self { inner, gate }
    }
}

impl<T> Transport for Named<T>
where
    T: Transport + Unpin,
    T::Error: 'static,
{
    type Output = T::Output;
    type Error = GateError<T::Error>;
    type ListenerUpgrade = Upgraded<T::ListenerUpgrade, T::Error>;
    type Dial = Upgraded<T::Dial, T::Error>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<Self::Error>> {
        listen_on(&mut self.inner, id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        opts: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        if has_name(&address) {
            let of = peer_at_end(&address);
            let admitted = self.gate.lock().admit_name(of, &address, Instant::now());
            admitted.map_err(|e| {
                tracing::debug!("{address} is not looked up: {e}");
                TransportError::Other(GateError::Refused(e))
            })?;
        }
        let wrapped: fn(T::Error) -> Self::Error = GateError::Transport;
        let dialled = self.inner.dial(address, opts);
        let dialled = dialled.map_err(|e| e.map(GateError::Transport))?;
        Ok(dialled.map_err(wrapped))
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        poll(&mut self.inner, cx)
    }
}
