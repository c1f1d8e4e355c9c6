//! The last overview of the network, which all who ask share.

use std::{
    future::Future,
    sync::{Arc, Mutex as SyncMutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use myriad_api::{Kind, Peers, Traffic};
use myriad_node::requester::Overview;
use tokio::{
    sync::{Mutex, OnceCell},
    task::spawn_blocking,
    time::{Instant, timeout},
};

use super::{App, service::peer};
use crate::refusal::Refusal;

/// An overview is as good as a new one for so long, and so is that there is none. The loop that
/// serves all jobs makes them.
const FRESH: Duration = Duration::from_millis(500);
/// The loop answers sooner, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// When an overview was asked for, and the overview, if there was one.
type Answer = (Instant, Option<Arc<Seen>>);

/// The last overview, or that the network did not answer.
#[derive(Default)]
pub(super) struct LastOverview {
    last: Arc<Mutex<Option<Answer>>>,
    /// Of the last overview that there was.
    traffic: Arc<SyncMutex<Traffic>>,
}

/// An overview, and the document of its peers.
pub(super) struct Seen {
    overview: Overview,
    /// Made once: there may be 10,000 peers, and many who read of them slowly.
    peers: OnceCell<Bytes>,
}

impl LastOverview {
    /// The overview. Those who ask at once wait for the same one.
    pub(super) async fn get(&self, app: &App) -> Result<Arc<Seen>, Refusal> {
        let service = app.intake.jobs.service()?;
        self.of(async move { service.overview().await }).await
    }

    /// `ask` goes on if whoever waits for it goes away: the next one has its answer, too.
    async fn of(
        &self,
        ask: impl Future<Output = Option<Overview>> + Send + 'static,
    ) -> Result<Arc<Seen>, Refusal> {
        let mut last = Arc::clone(&self.last).lock_owned().await;
        let fresh = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH);
        let seen = match fresh {
            Some((_, seen)) => seen.clone(),
            None => {
                let traffic = Arc::clone(&self.traffic);
                let asked = tokio::spawn(async move {
                    let overview = timeout(PATIENCE, ask).await.ok().flatten();
                    let seen = overview.map(|overview| Arc::new(Seen::new(overview)));
                    if let Some(seen) = &seen {
                        *traffic.lock().unwrap_or_else(PoisonError::into_inner) = seen.traffic();
                    }
                    *last = Some((Instant::now(), seen.clone()));
                    seen
                });
                asked.await.ok().flatten()
            }
        };
        seen.ok_or_else(|| {
            Refusal::busy(
                "the network of the service does not answer; its operator has to look at the log",
                PATIENCE,
            )
        })
    }

    /// The traffic of the last overview that there was. It waits for nothing.
    pub(super) fn traffic(&self) -> Traffic {
        *self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn new(overview: Overview) -> Self {
        Self {
            overview,
            peers: OnceCell::new(),
        }
    }

    pub(super) fn traffic(&self) -> Traffic {
        Traffic {
            peers: self.overview.connected as u64,
            received_bytes: self.overview.traffic.blob_bytes_in,
            sent_bytes: self.overview.traffic.blob_bytes_out,
        }
    }

    /// The document of the peers, which all share.
    pub(super) async fn peers(self: &Arc<Self>) -> Result<Bytes, Refusal> {
        let made = self.peers.get_or_try_init(|| {
            let this = Arc::clone(self);
            async move {
                spawn_blocking(move || {
                    let peers = Peers {
                        connected: this.overview.connected as u64,
                        peers: this.overview.peers.iter().map(peer).collect(),
                    };
                    Bytes::from(serde_json::to_vec(&peers).expect("a document is plain data"))
                })
                .await
            }
        });
        made.await
            .cloned()
            .map_err(|_| Refusal::new(Kind::Internal, "the list of peers could not be written"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::sleep;

    use super::*;

    #[tokio::test]
    async fn a_network_that_does_not_answer_is_asked_once_for_all_who_wait() {
        let last = LastOverview::default();
        let asked = Arc::new(AtomicUsize::new(0));
        let ask = || {
            let asked = Arc::clone(&asked);
            async move {
                asked.fetch_add(1, Ordering::Relaxed);
                sleep(FRESH / 5).await;
                None
            }
        };
        let waiting = (0..20).map(|_| last.of(ask()));
        for answer in futures::future::join_all(waiting).await {
            assert_eq!(answer.err().unwrap().problem().kind, Kind::Unavailable);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert_eq!(last.traffic(), Traffic::default());
        // Whoever goes away takes the answer from nobody.
        sleep(FRESH).await;
        assert!(timeout(FRESH / 20, last.of(ask())).await.is_err());
        assert!(last.of(ask()).await.is_err());
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn the_document_of_an_overview_is_made_once_and_shared() {
        let last = LastOverview::default();
        let overview = Overview {
            connected: 3,
            ..Overview::default()
        };
        let seen = last.of(std::future::ready(Some(overview))).await.ok().unwrap();
        assert_eq!(last.traffic().peers, 3);
        let (first, second) = (seen.peers().await.unwrap(), seen.peers().await.unwrap());
        assert!(first.starts_with(b"{\"connected\":3"), "{first:?}");
        assert_eq!(first.as_ptr(), second.as_ptr());
    }
}
