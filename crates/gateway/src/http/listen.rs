//! Takes connections, and speaks HTTP with them.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{Router, body::Body};
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use myriad_api::{Kind, MEDIA_TYPE, Problem};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tower_service::Service as _;

use super::{Stage, places::Places, steady::Steady};
use crate::limits::Limits;

/// Bytes that the system keeps of what a client has not taken yet: with more of them, clients that
/// stall would take the memory of the machine.
const SEND_BUFFER_BYTES: u32 = 256 << 10;
/// Bytes of a body that are read at once.
const READ_BYTES: usize = 64 << 10;
/// Connections that the system keeps until they are taken.
const BACKLOG: u32 = 1024;
/// The pause when no connection can be taken, because there are no file descriptors for one.
const PAUSE: Duration = Duration::from_millis(100);
/// The time to tell a client that there is no room for it.
const REFUSAL: Duration = Duration::from_secs(1);

/// The address that a request came from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client(pub(super) IpAddr);

pub(super) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // A service that was ended is started again at once.
    socket.set_reuseaddr(true)?;
    // Connections have it from their listener.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What connections need.
pub(super) struct Server {
    pub(super) router: Router,
    pub(super) limits: Limits,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) connections: Arc<Places>,
    pub(super) stage: watch::Receiver<Stage>,
}

impl Server {
    /// Takes connections until the service stops, and waits until they have ended.
    pub(super) async fn run(self, listener: TcpListener) {
        let this = Arc::new(self);
        let tracker = TaskTracker::new();
        let mut stage = this.stage.clone();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                // The sender lives as long as the service.
                _ = stage.wait_for(|stage| *stage == Stage::Closing) => break,
            };
            match accepted {
                Ok((stream, address)) => {
                    let connection = Arc::clone(&this).connection(stream, address.ip());
                    tracker.spawn(connection);
                }
                Err(error) if is_of_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "no connection can be taken");
                    sleep(PAUSE).await;
                }
            }
        }
        drop(listener);
        tracker.close();
        if timeout(this.limits.stop_time, tracker.wait()).await.is_err() {
            tracing::warn!(
                connections = tracker.len(),
                "the service stops before all requests have ended"
            );
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, address: IpAddr) {
        let Ok(_place) = self.connections.take(address) else {
            if self.tls.is_none() {
                // Nobody waits for a client that does not take it.
                let _ = timeout(REFUSAL, refuse(stream)).await;
            }
            return;
        };
        // Events are small, and wanted at once.
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => self.speak(stream, address).await,
            Some(tls) => {
                if let Ok(Ok(stream)) = timeout(self.limits.header_time, tls.accept(stream)).await {
                    self.speak(stream, address).await;
                }
            }
        }
    }

    async fn speak(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, address: IpAddr) {
        let router = self.router.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Client(address));
            router.clone().call(request.map(Body::new))
        });
        let io = TokioIo::new(Steady::new(stream, self.limits.stall));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_time)
            .max_headers(self.limits.headers)
            .max_header_size(self.limits.header_bytes)
            .max_buf_size(READ_BYTES.max(self.limits.header_bytes))
            .serve_connection(io, service);
        tokio::pin!(connection);
        let mut stage = self.stage.clone();
        tokio::select! {
            // That the client is gone, or was too slow, is no news.
            _ = connection.as_mut() => return,
            _ = stage.wait_for(|stage| *stage == Stage::Closing) => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}

/// Errors of one connection, which say nothing about the next one.
fn is_of_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

/// Tells a client that there is no room.
async fn refuse(mut stream: TcpStream) {
    let problem = Problem::new(
        Kind::Unavailable,
        "the service has the most connections that it takes, in all or of this address; close some, or come \
         again later",
    );
    let body = serde_json::to_string(&problem).expect("a problem is plain data");
    let head = format!(
        "HTTP/1.1 {} Service Unavailable\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {}\r\nretry-after: \
         10\r\nconnection: close\r\n\r\n",
        problem.status,
        body.len()
    );
    // A client that is gone has heard enough.
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
    let _ = stream.shutdown().await;
}
