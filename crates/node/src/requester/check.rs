//! Fetching a proof that a peer says it has, and looking at it; beside the driver's loop.

use std::sync::Arc;

use myriad_core::{Peer, TaskId, stalled_after};
use myriad_engine::SEGMENT_PROOF_BYTES_MAX;
use myriad_net::{FetchFailed, Network, blob::BlobRef, wire::Source};
use tokio::{pin, sync::Semaphore, time::timeout};

use super::Backend;
use crate::StoreError;

/// Most bytes of a proof: those of segments are the largest.
const PROOF_BYTES_MAX: u64 = SEGMENT_PROOF_BYTES_MAX as u64;

/// What became of a claim.
pub(super) enum Checked<S> {
    Accepted(S),
    Invalid(String),
    Unavailable(String),
    /// This machine's own disk fails.
    Failed(StoreError),
}

/// What it takes to look at a proof.
pub(super) struct Check<B> {
    pub network: Network,
    pub backend: Arc<B>,
    /// How many are fetched at once, and how many verified.
    pub fetching: Arc<Semaphore>,
    pub verifying: Arc<Semaphore>,
}

impl<B: Backend> Check<B> {
    /// Fetches and examines the proof that `peer` claims to have of a task; `stalled` is called if it does not come.
    pub async fn look_at(
        self,
        peer: Peer,
        task: TaskId,
        claim: BlobRef,
        stalled: impl FnOnce(),
    ) -> Checked<(B::Said, BlobRef)> {
        let Self {
            network,
            backend,
            fetching,
            verifying,
        } = self;
        if claim.bytes > PROOF_BYTES_MAX {
            return Checked::Invalid(format!(
                "a proof of {} bytes, and {PROOF_BYTES_MAX} are allowed",
                claim.bytes
            ));
        }
        let blobs = network.blobs().clone();
        let source = Source {
            blob: claim,
            holders: vec![network.contact(peer)],
        };
        let permit = fetching.acquire().await;
        let fetch = network.fetch(&source, peer);
        pin!(fetch);
        let fetched = match timeout(stalled_after(claim.bytes), &mut fetch).await {
            Ok(fetched) => fetched,
            Err(_) => {
                // Those who send nothing must not keep others from being fetched from.
                drop(permit);
                stalled();
                fetch.await
            }
        };
        match fetched {
            Ok(_) => {}
            Err(FetchFailed::Disk(e)) => return Checked::Failed(e.into()),
            Err(e) => return Checked::Unavailable(e.to_string()),
        }
        if backend.ready().await.is_err() {
            return Checked::Unavailable("the job has failed".into());
        }
        let _permit = verifying.acquire().await;
        let examined = tokio::task::spawn_blocking(move || match blobs.get(claim) {
            Ok(Some(proof)) => match backend.examine(task, &proof) {
                Ok(said) => Checked::Accepted((said, claim)),
                Err(reason) => Checked::Invalid(reason),
            },
            Ok(None) => Checked::Unavailable("it was damaged on the disk".into()),
            Err(e) => Checked::Failed(e.into()),
        });
        examined
            .await
            .unwrap_or_else(|e| Checked::Unavailable(format!("it could not be examined: {e}")))
    }
}
