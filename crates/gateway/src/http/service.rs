//! The service as a whole: what it is and does, its peers, and whether it lives.

use std::time::Duration;

use axum::{body::Body, extract::State, response::Response};
use http::{HeaderValue, StatusCode, header};
use myriad_api::{Kind, Peer, PeerState, PeerTask, Service, Standing};
use myriad_net::{peer_name, short_name, text::printable};
use myriad_node::requester::{PeerRegard, PeerView};
use tokio::task::spawn_blocking;

use super::{
    App, Stage,
    errors::{document, written},
};
use crate::{
    board::name_of,
    intake::{Disk, stopping},
    metrics::{self, Now},
    refusal::Refusal,
    time::now_ms,
};

/// The pause between the news of the service in the stream of all.
const EACH: Duration = Duration::from_secs(1);
/// In so many of them, the network is looked at even if nobody listens: for the figures.
const LOOK_IN: u32 = 5;
/// Most characters of what a peer says of itself.
const TEXT_MAX: usize = 100;

async fn disk(app: &App) -> Disk {
    let data_dir = app.config.data_dir.clone();
    // The disk may be slow.
    let looked = spawn_blocking(move || Disk::of(&data_dir)).await;
    looked.ok().and_then(Result::ok).unwrap_or_default()
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
        traffic: overview.traffic(),
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
    for turn in 0_u32.. {
        tokio::select! {
            () = tokio::time::sleep(EACH) => {}
            // The sender lives as long as the service.
            _ = stage.wait_for(|stage| *stage != Stage::Serving) => return,
        }
        if app.board.has_listeners()
            && let Ok(now) = service_now(&app).await
        {
            app.board.publish(now);
        } else if turn % LOOK_IN == 0 {
            // The figures have what it says, or say what they had.
            let _ = app.overview.get(&app).await;
        }
    }
}

/// `GET /v1/peers`.
pub(super) async fn peers(State(app): State<App>) -> Result<Response, Refusal> {
    let peers = app.overview.get(&app).await?.peers().await?;
    Ok(written(StatusCode::OK, peers))
}

pub(super) fn peer(view: &PeerView) -> Peer {
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
        build: printable(&view.build, TEXT_MAX),
        engines: view
            .engines
            .iter()
            .map(|engine| printable(&engine.to_string(), TEXT_MAX))
            .collect(),
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
    // Nobody waits for the network here: a scrape has the other figures even if it hangs.
    let traffic = app.overview.traffic();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_peers_say_of_themselves_is_cleaned_and_short() {
        let view = PeerView {
            peer: myriad_core::Peer([7; 32]),
            build: format!("my\u{1b}[31m\u{202e}build\n{}", "x".repeat(500)),
            engines: Vec::new(),
            serves: false,
            regard: PeerRegard::Stranger,
            leases: Vec::new(),
            speed: None,
            accepted: 0,
        };
        let build = peer(&view).build;
        assert!(build.starts_with("my") && build.contains("build"), "{build:?}");
        assert!(!build.contains(['\u{1b}', '\u{202e}', '\n']), "{build:?}");
        assert_eq!(build.chars().count(), TEXT_MAX);
    }
}
