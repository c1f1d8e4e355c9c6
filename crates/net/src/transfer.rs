//! Fetches blobs from peers. [`crate::serving`] is the other end.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use libp2p::Stream;
use libp2p_stream::Control;
use myriad_core::Peer;
use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, timeout},
};

use crate::{
    behaviour::BLOB_PROTOCOL,
    blob::{self, BlobError, BlobRef, BlobStore, FetchError, GROUP_BYTES},
    counting_stream::CountingStream,
    messages::Command,
    patience::{Patience, Round, limits, opening},
    peer::{id_of, short_name},
    shared::Shared,
    wire::{Contact, Source},
};

/// Why a blob could not be fetched.
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
        teller: Peer,
        mut came: impl FnMut(u64) + Send,
    ) -> Result<(), FetchFailed> {
        let want = source.blob;
        if blobs.contains(&want.blob) {
            return Ok(());
        }
        let mut last: Vec<(Peer, String)> = Vec::new();
        // Holders that sent other bytes than the blob's are not asked again.
        let mut liars = Vec::new();
        let mut patience = Patience::new(want.bytes, seed(own, want), Instant::now());
        loop {
            let mut more = Arrivals::default();
            let mut busy: Option<Duration> = None;
            let mut absent = true;
            let holders: Vec<&Contact> = source
                .holders
                .iter()
                .filter(|holder| holder.peer != own && !liars.contains(&holder.peer))
                .collect();
            for (place, &holder) in holders.iter().enumerate() {
                let is_last = place + 1 == holders.len();
                let attempt = Attempt {
                    want,
                    holder,
                    teller,
                    is_last,
                };
                let why = match self
                    .fetch_from(blobs, attempt, |there| came(more.since(there)))
                    .await
                {
                    Ok(()) => return Ok(()),
                    Err(Failure::Open(why)) => {
                        absent = false;
                        why
                    }
                    Err(Failure::Fetch(FetchError::Disk(e))) if !can_pass(&e) => {
                        return Err(FetchFailed::Disk(e));
                    }
                    Err(Failure::Fetch(e)) => {
                        absent &= matches!(e, FetchError::NotFound);
                        if let Some(pause) = busy_for(&e) {
                            busy = Some(busy.map_or(pause, |others| others.min(pause)));
                        }
                        if e.blames_sender() {
                            liars.push(holder.peer);
                        }
                        e.to_string()
                    }
                };
                match last.iter_mut().find(|(peer, _)| *peer == holder.peer) {
                    Some((_, before)) => *before = why,
                    None => last.push((holder.peer, why)),
                }
            }
            if holders.iter().all(|holder| liars.contains(&holder.peer)) {
                break;
            }
            match patience.after(Round::of(more.any(), busy, absent), Instant::now()) {
                Some(pause) => sleep(pause).await,
                None => break,
            }
        }
        Err(FetchFailed::Nobody {
            blob: want.blob,
            bytes: want.bytes,
            tried: last,
        })
    }

    /// Asks one peer. `there` gets the number of bytes of the blob that are there, whenever some
    /// have come.
    async fn fetch_from(
        &self,
        blobs: &BlobStore,
        attempt: Attempt<'_>,
        there: impl FnMut(u64) + Send,
    ) -> Result<(), Failure> {
        let Attempt {
            want,
            holder,
            teller,
            is_last,
        } = attempt;
        let opened = self.open(holder, teller, opening(is_last)).await;
        let stream = CountingStream {
            stream: opened.map_err(Failure::Open)?,
            read: &self.shared.blob_bytes_in,
            written: &self.shared.blob_bytes_out,
        };
        let limits = limits(want.bytes, is_last);
        let fetched = blob::fetch(blobs, want, stream, &limits, there).await;
        fetched.map(drop).map_err(Failure::Fetch)
    }

    async fn open(&self, holder: &Contact, teller: Peer, patience: Duration) -> Result<Stream, String> {
        let id = id_of(holder.peer).ok_or("there is no such peer")?;
        let addresses = holder
            .addresses
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect();
        // Does nothing if there is a connection. Opening a stream without one would dial the peer
        // without its addresses.
        let (dialled, ready) = oneshot::channel();
        let _ = self.commands.send(Command::Dial {
            peer: id,
            addresses,
            teller: id_of(teller),
            dialled,
        });
        ready.await.map_err(|_| "the network has ended")?;
        let mut control = self.control.clone();
        match timeout(patience, control.open_stream(id, BLOB_PROTOCOL)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(e)) => Err(e.to_string()),
            Err(_) => Err(format!("no connection after {} s", patience.as_secs())),
        }
    }
}

/// The bytes that have come in one round, of a blob of which more may have been there before.
#[derive(Default)]
struct Arrivals {
    there: Option<u64>,
}

impl Arrivals {
    /// The number of further bytes that are there now, one group or more; the first group that
    /// comes begins the count.
    fn since(&mut self, there: u64) -> u64 {
        let before = self.there.replace(there);
        there.saturating_sub(before.unwrap_or(there.saturating_sub(GROUP_BYTES)))
    }

    fn any(&self) -> bool {
        self.there.is_some()
    }
}

/// The request to one peer.
struct Attempt<'a> {
    want: BlobRef,
    holder: &'a Contact,
    teller: Peer,
    /// Whether no other holder is left to be asked.
    is_last: bool,
}

enum Failure {
    Open(String),
    Fetch(FetchError),
}

/// Whether the failure passes: a damaged file is removed from the disk, and another process's fetch
/// ends.
fn can_pass(e: &BlobError) -> bool {
    matches!(e, BlobError::Damaged { .. } | BlobError::Busy { .. })
}

/// The time until something that is only busy is asked again: a peer, or another process that has
/// half of the blob.
fn busy_for(e: &FetchError) -> Option<Duration> {
    match *e {
        FetchError::Busy { retry_ms } => Some(Duration::from_millis(retry_ms.into())),
        FetchError::Unanswered | FetchError::Disk(BlobError::Busy { .. }) => Some(Duration::ZERO),
        _ => None,
    }
}

/// A seed that differs for each peer and blob.
fn seed(own: Peer, want: BlobRef) -> u64 {
    let start = |bytes: [u8; 32]| u64::from_le_bytes(*bytes.first_chunk().expect("longer than that"));
    start(own.0) ^ start(want.blob.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_peer_is_not_taken_for_one_that_has_nothing() {
        let busy = FetchError::Busy { retry_ms: 500 };
        assert_eq!(busy_for(&busy), Some(Duration::from_millis(500)));
        assert_eq!(busy_for(&FetchError::Unanswered), Some(Duration::ZERO));
        let held = BlobError::Busy { path: "held".into() };
        assert!(can_pass(&held));
        assert_eq!(busy_for(&held.into()), Some(Duration::ZERO));
        let idle = Duration::from_secs(1);
        for failed in [FetchError::NotFound, FetchError::Stalled { idle }] {
            assert_eq!(busy_for(&failed), None);
        }
        let damaged = BlobError::Damaged {
            path: "damaged".into(),
        };
        assert!(can_pass(&damaged));
        assert_eq!(busy_for(&damaged.into()), None);
    }
}
