//! Blobs between peers: which streams are served, and whom to fetch from.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use libp2p::{PeerId, Stream};
use libp2p_stream::{Control, IncomingStreams};
use myriad_core::Peer;
use thiserror::Error;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{sleep, timeout},
};

use crate::{
    actor::Command,
    behaviour::BLOB_PROTOCOL,
    blob::{self, BlobError, BlobRef, BlobStore, FetchError, FetchLimits, ServeLimits},
    config::Limits,
    counted::Counted,
    network::Shared,
    peer::{id_of, short_name},
    wire::{Contact, Source},
};

/// How long it may take to reach a peer and open a stream.
const OPEN_PATIENCE: Duration = Duration::from_secs(20);
/// How often all holders of a blob are asked before it is given up.
const ROUNDS: u32 = 4;
/// Between rounds; each further pause is twice as long. A link that was cut for half a minute is back then.
const ROUND_PAUSE: Duration = Duration::from_secs(3);
/// Turning streams away is work too: of those beyond the permits, so many at once are told when to come
/// again, and the rest are just closed.
const TURNED_AWAY_AT_ONCE: usize = 64;
/// When those who were turned away should come again.
const RETRY_MS: u32 = 500;

/// Serves blobs to whoever asks, within the limits, until the swarm ends.
pub(crate) async fn serve(
    mut incoming: IncomingStreams,
    blobs: BlobStore,
    limits: Limits,
    shared: Arc<Shared>,
) {
    let limits_served = ServeLimits {
        slots: Arc::new(Semaphore::new(limits.blobs_sent_at_once)),
        retry_ms: RETRY_MS,
        ..ServeLimits::default()
    };
    // Without a slot, all that is told is when to come again.
    let limits_turned_away = ServeLimits {
        slots: Arc::new(Semaphore::new(0)),
        ..limits_served.clone()
    };
    let turned_away = Arc::new(Semaphore::new(TURNED_AWAY_AT_ONCE));
    let of_peer: Arc<Mutex<HashMap<PeerId, usize>>> = Arc::default();
    while let Some((peer, stream)) = incoming.next().await {
        let place = Place::take(&of_peer, peer, limits.blobs_sent_per_peer);
        let (limits, held) = match (place, Arc::clone(&turned_away).try_acquire_owned()) {
            (Some(place), _) => (limits_served.clone(), Held::Place(place)),
            (None, Ok(permit)) => (limits_turned_away.clone(), Held::TurnedAway(permit)),
            (None, Err(_)) => continue,
        };
        let (blobs, shared) = (blobs.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let _held = held;
            let stream = Counted {
                stream,
                read: &shared.blob_bytes_in,
                written: &shared.blob_bytes_out,
            };
            if let Err(e) = blob::serve(&blobs, stream, &limits).await {
                tracing::debug!("peer {peer} was not served a blob: {e}");
            }
        });
    }
}

/// What a stream takes up for as long as it lives.
#[expect(dead_code, reason = "only held")]
enum Held {
    Place(Place),
    TurnedAway(OwnedSemaphorePermit),
}

/// One of the streams that a peer may have.
struct Place {
    of_peer: Arc<Mutex<HashMap<PeerId, usize>>>,
    peer: PeerId,
}

impl Place {
    fn take(of_peer: &Arc<Mutex<HashMap<PeerId, usize>>>, peer: PeerId, allowed: usize) -> Option<Self> {
        let mut counts = of_peer.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(peer).or_default();
        if *count >= allowed {
            return None;
        }
        *count += 1;
        Some(Self {
            of_peer: Arc::clone(of_peer),
            peer,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.of_peer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

/// Why a blob could not be had.
#[derive(Debug, Error)]
pub enum FetchFailed {
    #[error("none of {} peers gave the blob {blob} of {bytes} bytes: {}", tried.len(), list(tried))]
    Nobody {
        blob: myriad_core::Blob,
        bytes: u64,
        /// The last word of each.
        tried: Vec<(Peer, String)>,
    },
    /// This machine cannot keep it.
    #[error(transparent)]
    Disk(BlobError),
}

fn list(tried: &[(Peer, String)]) -> String {
    let each = tried
        .iter()
        .map(|(peer, why)| format!("{}: {why}", short_name(*peer)));
    each.collect::<Vec<_>>().join("; ")
}

pub(crate) struct Fetcher {
    control: Control,
    commands: mpsc::UnboundedSender<Command>,
    shared: Arc<Shared>,
}

impl Fetcher {
    pub(crate) fn new(
        control: Control,
        commands: mpsc::UnboundedSender<Command>,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            control,
            commands,
            shared,
        }
    }

    pub(crate) async fn fetch(
        &self,
        blobs: &BlobStore,
        own: Peer,
        source: &Source,
        told_by: Peer,
    ) -> Result<(), FetchFailed> {
        let want = source.blob;
        if blobs.contains(&want.blob) {
            return Ok(());
        }
        let mut last: Vec<(Peer, String)> = Vec::new();
        // Those who sent what is not the blob are not asked again.
        let mut liars = Vec::new();
        let mut pause = ROUND_PAUSE;
        for round in 0..ROUNDS {
            let mut busy_ms = None;
            for holder in &source.holders {
                if holder.peer == own || liars.contains(&holder.peer) {
                    continue;
                }
                let why = match self.fetch_from(blobs, want, holder, told_by).await {
                    Ok(()) => return Ok(()),
                    // What was damaged here is removed, and who else fetches it will be done.
                    Err(Attempt::Fetch(FetchError::Disk(
                        e @ (BlobError::Damaged { .. } | BlobError::Busy { .. }),
                    ))) => e.to_string(),
                    Err(Attempt::Fetch(FetchError::Disk(e))) => return Err(FetchFailed::Disk(e)),
                    Err(Attempt::Fetch(e)) => {
                        if e.blames_sender() {
                            liars.push(holder.peer);
                        }
                        if let FetchError::Busy { retry_ms } = e {
                            busy_ms = Some(busy_ms.unwrap_or(u32::MAX).min(retry_ms));
                        }
                        e.to_string()
                    }
                    Err(Attempt::Open(why)) => why,
                };
                match last.iter_mut().find(|(peer, _)| *peer == holder.peer) {
                    Some((_, before)) => *before = why,
                    None => last.push((holder.peer, why)),
                }
            }
            let nobody_left = source.holders.iter().all(|holder| liars.contains(&holder.peer));
            if nobody_left || round + 1 == ROUNDS {
                break;
            }
            match busy_ms {
                Some(busy_ms) => sleep(Duration::from_millis(busy_ms.into())).await,
                None => sleep(pause).await,
            }
            pause *= 2;
        }
        Err(FetchFailed::Nobody {
            blob: want.blob,
            bytes: want.bytes,
            tried: last,
        })
    }

    async fn fetch_from(
        &self,
        blobs: &BlobStore,
        want: BlobRef,
        holder: &Contact,
        told_by: Peer,
    ) -> Result<(), Attempt> {
        let stream = self.open(holder, told_by).await.map_err(Attempt::Open)?;
        let stream = Counted {
            stream,
            read: &self.shared.blob_bytes_in,
            written: &self.shared.blob_bytes_out,
        };
        let fetched = blob::fetch(blobs, want, stream, &FetchLimits::default(), |_| ()).await;
        fetched.map(drop).map_err(Attempt::Fetch)
    }

    async fn open(&self, holder: &Contact, told_by: Peer) -> Result<Stream, String> {
        let id = id_of(holder.peer).ok_or("there is no such peer")?;
        let addresses = holder
            .addresses
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect();
        // Does nothing where a connection is there. A stream that is asked for earlier would have the peer
        // dialled without its addresses.
        let (dialled, ready) = oneshot::channel();
        let _ = self.commands.send(Command::Dial {
            peer: id,
            addresses,
            told_by: id_of(told_by),
            dialled,
        });
        ready.await.map_err(|_| "the network has ended")?;
        let mut control = self.control.clone();
        match timeout(OPEN_PATIENCE, control.open_stream(id, BLOB_PROTOCOL)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(e)) => Err(e.to_string()),
            Err(_) => Err(format!("no connection after {} s", OPEN_PATIENCE.as_secs())),
        }
    }
}

enum Attempt {
    Open(String),
    Fetch(FetchError),
}
