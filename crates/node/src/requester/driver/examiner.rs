//! Fetches a proof that a peer claims to have, and examines it, beside the driver's loop.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use myriad_core::{Kind, Peer, TaskId, stalled_after};
use myriad_engine::{FINAL_PROOF_BYTES_MAX, NODE_PROOF_BYTES_MAX, SEGMENT_PROOF_BYTES_MAX};
use myriad_net::{FetchFailed, Network, blob::BlobRef, wire::Source};
use tokio::{
    pin,
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use crate::{StoreError, requester::backend::JobBackend, verifier_pool::Objection};

/// Proofs that are fetched at once: so many that slow peers do not keep others waiting. Fetched
/// bytes go to the disk as they come.
const FETCHED_AT_ONCE: usize = 64;
/// Proofs that are in memory at once to be verified, each of at most 16 MiB: as many as make a
/// second child worthwhile, and a few more.
const VERIFIED_AT_ONCE: usize = 6;

/// The most bytes of a proof of this kind of task: as many as the engine's verifier takes. Nobody
/// has made a larger one.
fn bytes_max(kind: Kind) -> u64 {
    let max = match kind {
        Kind::Segment => SEGMENT_PROOF_BYTES_MAX,
        Kind::Leaf | Kind::InternalForLeaf | Kind::InternalRecursive => NODE_PROOF_BYTES_MAX,
        Kind::Final => FINAL_PROOF_BYTES_MAX,
    };
    max as u64
}

/// The result of examining the proof that a peer claims to have.
pub(super) enum Examination<F> {
    Accepted(F),
    Invalid(String),
    Unavailable(String),
    /// It cannot be judged, which is not its maker's fault: the job has failed.
    Moot,
    /// This machine's own disk fails.
    Failed(StoreError),
}

/// Fetches and examines proofs, so many at once. Clones share what may be under way.
#[derive(Clone)]
pub(super) struct Examiner {
    network: Network,
    fetching: Arc<Semaphore>,
    verifying: Arc<Semaphore>,
}

impl Examiner {
    pub(super) fn new(network: Network) -> Self {
        Self {
            network,
            fetching: Arc::new(Semaphore::new(FETCHED_AT_ONCE)),
            verifying: Arc::new(Semaphore::new(VERIFIED_AT_ONCE)),
        }
    }

    /// Fetches and examines the proof that `peer` claims to have of a task of the backend's job;
    /// `stalled` is called if it does not come.
    pub(super) async fn examine<J: JobBackend>(
        self,
        backend: Arc<J>,
        peer: Peer,
        task: TaskId,
        claim: BlobRef,
        stalled: impl FnOnce(),
    ) -> Examination<J::Finding> {
        let Self {
            network,
            fetching,
            verifying,
        } = self;
        let allowed = bytes_max(task.kind());
        if claim.bytes > allowed {
            return Examination::Invalid(format!(
                "a proof of {} bytes, and {allowed} are allowed",
                claim.bytes
            ));
        }
        if backend.verifiable(task).await.is_err() {
            return Examination::Moot;
        }
        let blobs = network.blobs().clone();
        // It stays until it is judged, which may be long after it has come.
        let _pin = blobs.pin(&claim.blob);
        let source = Source {
            blob: claim,
            holders: vec![network.contact(peer)],
        };
        // A proof that waits for something else than its turn holds no place.
        let fetched = {
            let permit = fetching.acquire().await;
            let came = AtomicU64::new(0);
            let fetch = network.fetch(&source, peer, |bytes| {
                came.fetch_add(bytes, Ordering::Relaxed);
            });
            pin!(fetch);
            let patience = || stalled_after(claim.bytes, came.load(Ordering::Relaxed));
            match unless_it_stalls(&mut fetch, patience).await {
                Some(fetched) => fetched,
                None => {
                    // Peers that send nothing must not hold up the fetches from others.
                    drop(permit);
                    stalled();
                    fetch.await
                }
            }
        };
        match fetched {
            Ok(_) => {}
            Err(FetchFailed::Disk(e)) => return Examination::Failed(e.into()),
            Err(e) => return Examination::Unavailable(e.to_string()),
        }
        let verified = {
            let _permit = verifying.acquire().await;
            let backend = Arc::clone(&backend);
            let verify = move || match blobs.get(claim) {
                Ok(Some(proof)) => backend.verify(task, &proof).map_err(|why| objected(task, why)),
                Ok(None) => Err(Examination::Unavailable("it was damaged on the disk".into())),
                Err(e) => Err(Examination::Failed(e.into())),
            };
            tokio::task::spawn_blocking(verify).await
        };
        let shown = match verified {
            Ok(Ok(shown)) => shown,
            Ok(Err(examination)) => return examination,
            Err(e) => return Examination::Unavailable(format!("it could not be examined: {e}")),
        };
        // An invalid one is refused before that.
        if backend.judgeable(task).await.is_err() {
            return Examination::Moot;
        }
        match backend.judge(task, shown) {
            Ok(finding) => Examination::Accepted(finding),
            Err(why) => objected(task, why),
        }
    }
}

/// The examination of a proof that there is this objection to.
fn objected<F>(task: TaskId, why: Objection) -> Examination<F> {
    match why {
        Objection::Invalid(reason) | Objection::OtherProgram(reason) => Examination::Invalid(reason),
        Objection::Unable(reason) => {
            tracing::warn!("a proof of {task} is not looked at: {reason}");
            Examination::Unavailable(reason)
        }
    }
}

/// The result of a fetch, unless it takes longer from now on than `patience`, which grows with the
/// bytes that have come.
async fn unless_it_stalls<T>(
    mut fetch: impl Future<Output = T> + Unpin,
    patience: impl Fn() -> Duration,
) -> Option<T> {
    let start = Instant::now();
    loop {
        let until = start + patience();
        match timeout_at(until, &mut fetch).await {
            Ok(fetched) => return Some(fetched),
            Err(_) if start + patience() > until => {}
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fetch_is_waited_for_as_long_as_something_comes() {
        let start = Instant::now();
        let silent = std::future::pending::<()>();
        let patience = Duration::from_millis(50);
        assert_eq!(unless_it_stalls(Box::pin(silent), || patience).await, None);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());

        let start = Instant::now();
        let takes = Duration::from_millis(300);
        let slow = Box::pin(tokio::time::sleep(takes));
        // At each look, bytes have come that are worth some more time.
        let more = || start.elapsed() + Duration::from_millis(100);
        assert_eq!(unless_it_stalls(slow, more).await, Some(()));
        assert!(start.elapsed() >= takes);
    }

    #[test]
    fn no_kind_of_proof_may_be_larger_than_the_engine_takes() {
        assert!(bytes_max(Kind::Leaf) < bytes_max(Kind::Segment));
        assert!(
            Kind::ALL
                .iter()
                .all(|&kind| bytes_max(kind) <= bytes_max(Kind::Segment))
        );
    }
}
