//! Streams of events, as server-sent events (HTML Living Standard, "Server-sent events").

use std::{fmt::Write as _, net::IpAddr, time::Duration};

use axum::{
    body::Body,
    extract::{Extension, State},
    response::Response,
};
use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, HeaderValue, header};
use myriad_api::EventId;
use tokio::{sync::watch, time::sleep};

use super::{
    App, Stage,
    extract::{Id, Peer},
    places::{Full, Place},
};
use crate::{
    board::{Delivery, Stream, Subscription},
    intake::no_job,
    keys::{Grant, Keys},
    refusal::Refusal,
};

/// Events are put together up to this size.
const CHUNK_BYTES: usize = 16 << 10;
/// A client that found no room comes again after this time.
const COME_AGAIN: Duration = Duration::from_secs(30);
/// Clients that lose the connection come back after this time, in milliseconds.
const RETRY_MS: u64 = 2000;

/// `GET /v1/jobs/{id}/events`.
pub(super) async fn of_job(
    State(app): State<App>,
    Peer(address): Peer,
    Id(id): Id,
    grant: Option<Extension<Grant>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    answer(&app, (address, grant), Stream::Job(id), &headers)?.ok_or_else(|| no_job(id))
}

/// `GET /v1/events`.
pub(super) async fn of_all(
    State(app): State<App>,
    Peer(address): Peer,
    grant: Option<Extension<Grant>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let answer = answer(&app, (address, grant), Stream::All, &headers)?;
    Ok(answer.expect("the whole service is always there"))
}

fn answer(
    app: &App,
    (address, grant): (IpAddr, Option<Extension<Grant>>),
    of: Stream,
    headers: &HeaderMap,
) -> Result<Option<Response>, Refusal> {
    let place = app.streams.take(address).map_err(|full| {
        let most = match full {
            Full::All(most) => format!("{most} streams of events are open, which is the most"),
            Full::OfAddress(most) => {
                format!("{most} streams of events of this address are open, which is the most")
            }
        };
        Refusal::busy(format!("{most}; close some, or come again later"), COME_AGAIN)
    })?;
    let Some(subscription) = app.board.subscribe(of, last_event_id(headers)) else {
        return Ok(None);
    };
    let events = Events {
        subscription,
        key: grant.map(|Extension(grant)| (app.keys.clone(), grant)),
        _place: place,
        keep_alive: app.config.limits.keep_alive,
        stage: app.stage.subscribe(),
        part: Part::First,
    };
    let body = stream::unfold(events, |mut events| async move {
        let chunk = events.next().await?;
        Some((Ok::<_, std::convert::Infallible>(Bytes::from(chunk)), events))
    });
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream; charset=utf-8"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that gather answers would hold events back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(Some(response))
}

/// The last event that the client has. One that cannot be read is not known, and a client that
/// names one that is not known gets a snapshot.
fn last_event_id(headers: &HeaderMap) -> Option<EventId> {
    headers.get("last-event-id")?.to_str().ok()?.parse().ok()
}

struct Events {
    subscription: Subscription,
    /// The key that the stream was asked for with.
    key: Option<(Keys, Grant)>,
    _place: Place,
    keep_alive: Duration,
    stage: watch::Receiver<Stage>,
    part: Part,
}

enum Part {
    First,
    Events,
    Over,
}

impl Events {
    /// The next bytes; none at the end, when the service stops or the key is not valid any more.
    async fn next(&mut self) -> Option<String> {
        if self
            .key
            .as_ref()
            .is_some_and(|(keys, grant)| keys.is_stale(grant))
        {
            return None;
        }
        match self.part {
            Part::First => {
                self.part = Part::Events;
                return Some(format!("retry: {RETRY_MS}\n\n"));
            }
            Part::Events => {}
            Part::Over => return None,
        }
        let mut chunk = String::new();
        tokio::select! {
            biased;
            delivery = self.subscription.next() => write(&mut chunk, &delivery),
            // The sender lives as long as the service.
            _ = self.stage.wait_for(|stage| *stage == Stage::Closing) => {
                self.part = Part::Over;
                return Some(": the service stops\n\n".into());
            }
            () = sleep(self.keep_alive) => return Some(": still here\n\n".into()),
        }
        while chunk.len() < CHUNK_BYTES {
            match self.subscription.try_next() {
                Some(delivery) => write(&mut chunk, &delivery),
                None => break,
            }
        }
        Some(chunk)
    }
}

fn write(chunk: &mut String, delivery: &Delivery) {
    if let Some(id) = delivery.id {
        let _ = writeln!(chunk, "id: {id}");
    }
    let _ = write!(chunk, "event: {}\ndata: {}\n\n", delivery.name, delivery.data);
}
