//! Sends messages to many peers at once. Some are silent on purpose; these delay nothing that the
//! others hear.

use std::{
    collections::HashMap,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use myriad_core::Peer;
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::task::TaskTracker;

/// Messages that are on their way at once. More than these wait.
const SENT_AT_ONCE: usize = 256;
/// Messages on their way to one peer: a proof has a verdict, a receipt, and obsolete children.
const TO_PEER_AT_ONCE: usize = 4;
/// Messages to one peer that are on their way or wait. The peer need not hear any of them, and a
/// peer that answers has far fewer.
const TO_PEER_MAX: usize = 256;
/// A message counts as being on its way for this long. A peer that answers takes less.
const COUNTS_FOR: Duration = Duration::from_secs(2);

/// Messages on their way.
pub(super) struct Sending {
    counts_for: Duration,
    permits: Arc<Semaphore>,
    lanes: Arc<Lanes>,
    tasks: TaskTracker,
}

/// For each peer: the number of its queued messages, and permits to send some.
#[derive(Default)]
struct Lanes(Mutex<HashMap<Peer, (usize, Arc<Semaphore>)>>);

/// One message's place in the lane of its peer.
struct Place {
    lanes: Arc<Lanes>,
    peer: Peer,
}

impl Default for Sending {
    fn default() -> Self {
        Self {
            counts_for: COUNTS_FOR,
            permits: Arc::new(Semaphore::new(SENT_AT_ONCE)),
            lanes: Arc::default(),
            tasks: TaskTracker::new(),
        }
    }
}

impl Sending {
    /// Sends a message to a peer by `asks`. `then` gets the result. It is none if the peer has so
    /// many to answer already that this message is not sent.
    pub(super) fn send<T>(
        &self,
        peer: Peer,
        asks: impl Future<Output = T> + Send + 'static,
        then: impl FnOnce(Option<T>) + Send + 'static,
    ) where
        T: Send,
    {
        let Some((place, lane)) = Lanes::enter(&self.lanes, peer) else {
            return then(None);
        };
        let (permits, counts_for) = (Arc::clone(&self.permits), self.counts_for);
        self.tasks.spawn(async move {
            let _place = place;
            let _turn = lane.acquire().await;
            let permit = permits.acquire().await;
            let mut asks = pin!(asks);
            let answer = match timeout(counts_for, &mut asks).await {
                Ok(answer) => answer,
                Err(_) => {
                    // Peers that do not answer must not keep others from hearing anything.
                    drop(permit);
                    asks.await
                }
            };
            then(Some(answer));
        });
    }

    /// Waits until all messages are answered or given up, but no longer than `most`.
    pub(super) async fn close(&self, most: Duration) {
        self.tasks.close();
        let _ = timeout(most, self.tasks.wait()).await;
    }
}

impl Lanes {
    fn lock(&self) -> MutexGuard<'_, HashMap<Peer, (usize, Arc<Semaphore>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(lanes: &Arc<Self>, peer: Peer) -> Option<(Place, Arc<Semaphore>)> {
        let mut of_peer = lanes.lock();
        let lane = of_peer.entry(peer);
        let (count, lane) = lane.or_insert_with(|| (0, Arc::new(Semaphore::new(TO_PEER_AT_ONCE))));
        if *count == TO_PEER_MAX {
            return None;
        }
        *count += 1;
        let lanes = Arc::clone(lanes);
        Some((Place { lanes, peer }, Arc::clone(lane)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut of_peer = self.lanes.lock();
        if let Some((count, _)) = of_peer.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                of_peer.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::sync::oneshot;

    use super::*;

    /// Far more than is needed, even on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(60);
    const HONEST: Peer = Peer([1; 32]);

    fn silent(number: u16) -> Peer {
        let mut name = [9; 32];
        name[..2].copy_from_slice(&number.to_le_bytes());
        Peer(name)
    }

    fn silence(sending: &Sending, peer: Peer) {
        sending.send(peer, pending::<()>(), |_| {});
    }

    /// Whether an honest peer hears something.
    async fn is_heard(sending: &Sending) -> bool {
        let (sender, receiver) = oneshot::channel();
        sending.send(HONEST, ready(()), |answer| {
            let _ = sender.send(answer);
        });
        timeout(PATIENCE, receiver).await == Ok(Ok(Some(())))
    }

    /// All holders of a proof are told that it is obsolete, and anybody may say that it holds all.
    #[tokio::test]
    async fn silent_holders_of_many_proofs_keep_nobody_from_hearing() {
        let sending = Sending {
            // Nothing that is on its way gives way here.
            counts_for: Duration::MAX,
            ..Sending::default()
        };
        for _proof in 0..1000 {
            for holder in 0..32 {
                silence(&sending, silent(holder));
            }
        }
        assert!(is_heard(&sending).await);
        assert_eq!(sending.tasks.len(), 32 * TO_PEER_MAX);
    }

    /// Here are so many peers that each of them gets only one message, a wake.
    #[tokio::test]
    async fn silent_peers_keep_nobody_from_hearing_however_many_they_are() {
        let sending = Sending {
            counts_for: Duration::from_millis(20),
            ..Sending::default()
        };
        for peer in 0..3 * SENT_AT_ONCE as u16 {
            silence(&sending, silent(peer));
        }
        assert!(is_heard(&sending).await);
    }

    #[tokio::test]
    async fn messages_beyond_a_peers_limit_are_reported_as_unsent_and_lanes_go() {
        let sending = Sending::default();
        let (mut ends, mut receivers) = (Vec::new(), Vec::new());
        for _ in 0..=TO_PEER_MAX {
            let (end, ended) = oneshot::channel::<()>();
            let (sender, receiver) = oneshot::channel();
            sending.send(HONEST, ended, |answer| {
                let _ = sender.send(answer.is_some());
            });
            ends.push(end);
            receivers.push(receiver);
        }
        // The last one alone.
        assert!(!receivers.pop().unwrap().await.unwrap());
        drop(ends);
        for receiver in receivers {
            assert!(receiver.await.unwrap());
        }
        sending.close(PATIENCE).await;
        assert!(sending.lanes.lock().is_empty());
    }
}
