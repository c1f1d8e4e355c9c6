//! HTTP: connections, routes, and what guards them.
//!
//! ```text
//!  connection ─▶ TLS ─▶ Steady ─▶ guard::all ─▶ router ─▶ guard::read / submit ─▶ handler
//!   (bounded)          (no stalls)  host, CORS,              key, quota
//!                                   panics, figures
//! ```

mod assets;
mod config;
mod errors;
mod extract;
mod files;
mod guard;
mod jobs;
mod listen;
mod openapi;
mod operations;
mod overview;
mod page;
mod places;
mod reads;
mod routes;
mod service;
mod steady;
mod stream;
mod tls;

use std::{future::Future, io, net::SocketAddr, sync::Arc};

use axum::Router;
use bytes::Bytes;
use myriad_node::{RunError, requester::Service};
use thiserror::Error;
use tokio::{net::TcpListener, sync::watch, task::spawn_blocking};
use tokio_rustls::TlsAcceptor;

pub use config::{Config, TlsFiles};
pub use tls::TlsError;

use self::{jobs::LastTasks, listen::Server, overview::LastOverview, places::Places, reads::Reads};
use crate::{
    Workshop,
    board::Board,
    intake::{Intake, Jobs},
    keys::{Keys, KeysError},
    metrics::Metrics,
    time::now_ms,
};

/// Why the service cannot be started, or has ended by itself.
#[derive(Debug, Error)]
pub enum ServeError {
    #[error("{what} failed: {reason}")]
    Disk { what: &'static str, reason: io::Error },
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(
        "the service cannot listen on {address}: {reason}; choose another address, or end what has this one"
    )]
    Listen { address: SocketAddr, reason: io::Error },
    #[error("the service has ended by itself: {reason}; start it again to continue its jobs")]
    Ended { reason: RunError },
}

/// What the service does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It answers all.
    Serving,
    /// It takes no more jobs, and those that there are end.
    Draining,
    /// Streams and connections end.
    Closing,
}

/// What all requests share.
struct Shared {
    config: Config,
    board: Board,
    keys: Keys,
    intake: Arc<Intake>,
    engines: Vec<String>,
    metrics: Metrics,
    overview: LastOverview,
    reads: Reads,
    tasks: LastTasks,
    /// The description of the API.
    description: Bytes,
    streams: Arc<Places>,
    connections: Arc<Places>,
    stage: watch::Sender<Stage>,
    started_ms: u64,
    is_loopback: bool,
}

type App = Arc<Shared>;

impl Shared {
    fn stage(&self) -> Stage {
        *self.stage.borrow()
    }
}

/// A service that listens.
pub struct Gateway {
    app: App,
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
}

impl Gateway {
    /// Opens the data of a service, and listens. Connections wait until it runs.
    ///
    /// # Errors
    /// See [`ServeError`].
    pub async fn open(
        config: Config,
        service: Service,
        workshop: Arc<dyn Workshop>,
    ) -> Result<Self, ServeError> {
        let tls = config.tls.as_ref().map(tls::acceptor).transpose()?;
        let listen_error = |reason| ServeError::Listen {
            address: config.listen,
            reason,
        };
        let listener = listen::bind(config.listen).map_err(listen_error)?;
        let address = listener.local_addr().map_err(listen_error)?;
        let opened = spawn_blocking(move || Shared::open(config, service, workshop, address)).await;
        let app = opened.unwrap_or_else(|e| {
            Err(ServeError::Disk {
                what: "opening the service",
                reason: io::Error::other(e),
            })
        })?;
        Ok(Self {
            app: Arc::new(app),
            listener,
            address,
            tls,
        })
    }

    /// The address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The router alone, for tests that need no connection.
    #[doc(hidden)]
    pub fn router(&self) -> Router {
        routes::router(&self.app)
    }

    /// The jobs, for tests of those that nobody has to prove.
    #[doc(hidden)]
    pub fn board(&self) -> Board {
        self.app.board.clone()
    }

    /// Answers requests until `stop` completes. Then jobs end, and are continued at the next start;
    /// streams end with what there is to tell; and requests that go on have
    /// [`Limits::stop_time`](crate::Limits::stop_time) to end.
    ///
    /// # Errors
    /// The requester's service has ended by itself: nobody would prove the jobs.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
        let Self {
            app, listener, tls, ..
        } = self;
        let server = Server {
            router: routes::router(&app),
            limits: app.config.limits.clone(),
            tls,
            connections: Arc::clone(&app.connections),
            stage: app.stage.subscribe(),
        };
        let server = tokio::spawn(server.run(listener));
        let news = tokio::spawn(service::publish(Arc::clone(&app)));
        let resume = app
            .config
            .resume
            .then(|| tokio::spawn(Arc::clone(&app.intake).resume()));
        let tidy = tokio::spawn(Arc::clone(&app.intake.jobs).keep_tidy());
        let ended = app.intake.jobs.service().map(|service| service.ended());
        let served = tokio::select! {
            () = stop => Ok(()),
            reason = async {
                match ended {
                    Ok(ended) => ended.await,
                    // It is stopped below alone.
                    Err(_) => std::future::pending().await,
                }
            } => Err(ServeError::Ended { reason }),
        };
        tidy.abort();
        app.stage.send_replace(Stage::Draining);
        if let Some(resume) = resume {
            resume.abort();
        }
        app.intake.jobs.stop(app.config.limits.stop_time).await;
        app.stage.send_replace(Stage::Closing);
        // They end by the stage; if one has panicked, it has ended, too.
        let _ = (server.await, news.await);
        served
    }
}

impl Shared {
    fn open(
        config: Config,
        service: Service,
        workshop: Arc<dyn Workshop>,
        address: SocketAddr,
    ) -> Result<Self, ServeError> {
        let of_disk = |what| move |reason| ServeError::Disk { what, reason };
        let data_dir = &config.data_dir;
        let board = Board::open(data_dir).map_err(of_disk("reading the jobs of the data folder"))?;
        let keys = Keys::open(data_dir)?;
        let engines = workshop.engines();
        let jobs = Arc::new(Jobs::new(board.clone(), data_dir.clone(), service));
        let intake = Intake::open(data_dir, config.limits.clone(), workshop, jobs)
            .map_err(of_disk("opening the folder of uploads"))?;
        let started_ms = now_ms();
        Ok(Self {
            board,
            keys,
            intake: Arc::new(intake),
            engines,
            metrics: Metrics::new(&config.build, started_ms),
            overview: LastOverview::default(),
            reads: Reads::default(),
            tasks: LastTasks::default(),
            description: openapi::describe(&config.build, config.private)
                .to_string()
                .into(),
            streams: Places::new(config.limits.streams, config.limits.streams_per_address),
            connections: Places::new(config.limits.connections, config.limits.connections_per_address),
            stage: watch::channel(Stage::Serving).0,
            started_ms,
            is_loopback: address.ip().to_canonical().is_loopback(),
            config,
        })
    }
}
