//! The service as a whole: what it is and does, its peers, and whether it lives.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, extract::State, response::Response};
use http::{HeaderValue, StatusCode, header};
use myriad_api::{Kind, Peer, PeerState, PeerTask, Peers, Service, Standing, Traffic};
use myriad_net::{peer_name, short_name};
use myriad_node::requester::{Overview, PeerRegard, PeerView};
use tokio::{
    sync::Mutex,
    task::spawn_blocking,
    time::{Instant, timeout},
};

use super::{App, Stage, errors::document};
use crate::{
    board::name_of,
    intake::{Disk, stopping},
    metrics::{self, Now},
    refusal::Refusal,
    time::now_ms,
};

/// An overview is as good as a new one for so long. The loop that serves all jobs makes them.
const FRESH: Duration = Duration::from_millis(500);
/// The loop answers sooner, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause between the news of the service in the stream of all.
const EACH: Duration = Duration::from_secs(1);

/// The last overview.
#[derive(Default)]
pub(super) struct LastOverview(Mutex<Option<(Instant, Arc<Overview>)>>);

impl LastOverview {
    /// The overview. Those who ask at once wait for the same one.
    async fn get(&self, app: &App) -> Result<Arc<Overview>, Refusal> {
        let mut last = self.0.lock().await;
        if let Some((at, overview)) = &*last
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(overview));
        }
        let service = app.intake.jobs.service()?;
        let asked = timeout(PATIENCE, service.overview()).await;
        drop(service);
        let overview = asked.ok().flatten().ok_or_else(|| {
            Refusal::busy(
                "the network of the service does not answer; its operator has to look at the log",
                PATIENCE,
            )
        })?;
        let overview = Arc::new(overview);
        *last = Some((Instant::now(), Arc::clone(&overview)));
        Ok(overview)
    }
}

async fn disk(app: &App) -> Disk {
    let data_dir = app.config.data_dir.clone();
    // The disk may be slow.
    let looked = spawn_blocking(move || Disk::of(&data_dir)).await;
    looked.ok().and_then(Result::ok).unwrap_or_default()
}

fn traffic_of(overview: &Overview) -> Traffic {
    Traffic {
        peers: overview.connected as u64,
        received_bytes: overview.traffic.blob_bytes_in,
        sent_bytes: overview.traffic.blob_bytes_out,
    }
}

async fn service_now(app: &App) -> Result<Service, Refusal> {
    let overview = app.overview.get(app).await?;
    let disk = disk(app).await;
    let counts = app.board.counts();
    let live = myriad_api::JobState::ALL
        .into_iter()
        .zip(counts.jobs)
        .filter(|(state, _)| !state.is_over())
        .map(|(_, count)| count)
        .sum();
    Ok(Service {
        build: app.config.build.clone(),
        peer: app.config.peer.clone(),
        started_ms: app.started_ms,
        now_ms: now_ms(),
        engines: app.engines.clone(),
        jobs: live,
        jobs_max: app.config.jobs_max as u64,
        running: counts.running,
        accepted: counts.accepted,
        traffic: traffic_of(&overview),
        disk_free_bytes: disk.free,
        disk_bytes: disk.all,
    })
}

/// `GET /v1/service`.
pub(super) async fn service(State(app): State<App>) -> Result<Response, Refusal> {
    Ok(document(StatusCode::OK, &service_now(&app).await?))
}

/// Tells those who follow the stream of all, until the service stops.
pub(super) async fn publish(app: App) {
    let mut stage = app.stage.subscribe();
    loop {
        tokio::select! {
            () = tokio::time::sleep(EACH) => {}
            // The sender lives as long as the service.
            _ = stage.wait_for(|stage| *stage != Stage::Serving) => return,
        }
        if app.board.has_listeners()
            && let Ok(now) = service_now(&app).await
        {
            app.board.publish(now);
        }
    }
}

/// `GET /v1/peers`.
pub(super) async fn peers(State(app): State<App>) -> Result<Response, Refusal> {
    let overview = app.overview.get(&app).await?;
    // There may be 10,000 of them.
    let written = spawn_blocking(move || {
        let peers = Peers {
            connected: overview.connected as u64,
            peers: overview.peers.iter().map(peer).collect(),
        };
        document(StatusCode::OK, &peers)
    });
    written
        .await
        .map_err(|_| Refusal::new(Kind::Internal, "the list of peers could not be written"))
}

fn peer(view: &PeerView) -> Peer {
    let state = match (view.leases.is_empty(), view.serves) {
        (false, _) => PeerState::Proving,
        (true, true) => PeerState::Idle,
        (true, false) => PeerState::Bystander,
    };
    let standing = match view.regard {
        PeerRegard::Own => Standing::Own,
        PeerRegard::Proven => Standing::Proven,
        PeerRegard::Stranger => Standing::Stranger,
        PeerRegard::Banned => Standing::Banned,
    };
    Peer {
        id: peer_name(view.peer),
        name: short_name(view.peer),
        build: view.build.clone(),
        engines: view.engines.iter().map(ToString::to_string).collect(),
        state,
        standing,
        tasks: view
            .leases
            .iter()
            .map(|lease| PeerTask {
                job: lease.job.to_string(),
                task: name_of(lease.task),
            })
            .collect(),
        speed_milli: view.speed,
        accepted: view.accepted.into(),
    }
}

fn plain(text: String, media_type: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// `GET /healthz`.
pub(super) async fn healthz() -> Response {
    plain("ok\n".into(), "text/plain; charset=utf-8")
}

/// `GET /readyz`.
pub(super) async fn readyz(State(app): State<App>) -> Result<Response, Refusal> {
    if app.stage() != Stage::Serving {
        return Err(stopping());
    }
    app.overview.get(&app).await?;
    Ok(plain("ready\n".into(), "text/plain; charset=utf-8"))
}

/// `GET /metrics`.
pub(super) async fn figures(State(app): State<App>) -> Response {
    let counts = app.board.counts();
    let disk = disk(&app).await;
    // Without the network, the other figures are as good.
    let traffic = app.overview.get(&app).await.map(|overview| traffic_of(&overview));
    let traffic = traffic.unwrap_or_default();
    let now = Now {
        jobs: counts.jobs,
        running: counts.running,
        accepted: counts.accepted,
        peers: traffic.peers,
        received_bytes: traffic.received_bytes,
        sent_bytes: traffic.sent_bytes,
        disk_free_bytes: disk.free,
        disk_bytes: disk.all,
        streams: app.streams.count() as u64,
        connections: app.connections.count() as u64,
    };
    plain(app.metrics.text(&now), metrics::MEDIA_TYPE)
}

/// `GET /problems/{kind}`.
pub(super) async fn problem(uri: http::Uri) -> Result<Response, Refusal> {
    let named = uri.path().strip_prefix("/problems/");
    let kind = Kind::ALL.into_iter().find(|kind| Some(kind.as_str()) == named);
    let kind = kind.ok_or_else(|| Refusal::new(Kind::NotFound, "there is no such kind of problem"))?;
    let text = format!("{}: {} (status {})\n", kind.as_str(), kind.title(), kind.status());
    Ok(plain(text, "text/plain; charset=utf-8"))
}
