//! Reads of the disk, which do not take the threads of those who prove: so many at once, and so
//! many that wait.

use std::{sync::Arc, time::Duration};

use myriad_api::Kind;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
};

use crate::refusal::Refusal;

/// Reads at once.
const RUNNING_MAX: usize = 8;
/// Reads that wait for a place among these.
const WAITING_MAX: usize = 64;
/// A client that found no room comes again after this time.
const COME_AGAIN: Duration = Duration::from_secs(2);

/// The places of reads.
#[derive(Clone)]
pub(super) struct Reads {
    running: Arc<Semaphore>,
    /// Of those that run or wait.
    all: Arc<Semaphore>,
}

impl Default for Reads {
    fn default() -> Self {
        Self {
            running: Arc::new(Semaphore::new(RUNNING_MAX)),
            all: Arc::new(Semaphore::new(RUNNING_MAX + WAITING_MAX)),
        }
    }
}

impl Reads {
    /// Answers in a thread that may wait.
    pub(super) async fn answer<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let place = Arc::clone(&self.all).try_acquire_owned().map_err(|_| {
            Refusal::busy(
                format!(
                    "{} reads of the disk run or wait, which is the most; send it again later",
                    RUNNING_MAX + WAITING_MAX
                ),
                COME_AGAIN,
            )
        })?;
        self.run(Some(place), read).await.unwrap_or_else(Err)
    }

    /// Reads a piece of an answer that goes on: there are no more of these than connections.
    pub(super) async fn piece<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        self.run(None, read).await
    }

    async fn run<T: Send + 'static>(
        &self,
        place: Option<OwnedSemaphorePermit>,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let turn = Arc::clone(&self.running).acquire_owned().await;
        let answered = spawn_blocking(move || {
            // The thread's own: whoever goes away does not make room for another thread.
            let _held = (turn, place);
            read()
        });
        answered.await.map_err(|_| {
            Refusal::new(
                Kind::Internal,
                "a bug in myriad kept this request from being answered; the service's log says more",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    };

    use tokio::time::{sleep, timeout};

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn reads_of_clients_that_went_away_keep_their_places_until_they_end() {
        let (reads, begun) = (Reads::default(), Arc::new(AtomicUsize::new(0)));
        let gate = Arc::new(Mutex::new(()));
        let shut = Arc::clone(&gate);
        let (open, opened) = std::sync::mpsc::channel::<()>();
        // A thread holds the gate, since a guard may not be held while this waits.
        let (held, holds) = std::sync::mpsc::channel();
        let holder = std::thread::spawn(move || {
            let _shut = shut.lock().unwrap();
            held.send(()).unwrap();
            let _ = opened.recv();
        });
        holds.recv().unwrap();
        let clients: Vec<_> = (0..200)
            .map(|_| {
                let (reads, begun, gate) = (reads.clone(), Arc::clone(&begun), Arc::clone(&gate));
                tokio::spawn(async move {
                    let read = move || {
                        begun.fetch_add(1, Ordering::SeqCst);
                        drop(gate.lock());
                        Ok(())
                    };
                    reads.answer(read).await
                })
            })
            .collect();
        let begins = async {
            while begun.load(Ordering::SeqCst) < RUNNING_MAX {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(Duration::from_secs(30), begins).await.unwrap();
        // Wait until all have asked, then let all go away.
        sleep(Duration::from_millis(200)).await;
        let refused = reads.answer(|| Ok(())).await.unwrap_err();
        assert_eq!(refused.problem().kind, Kind::Unavailable);
        assert!(refused.retry_after_s.is_some());
        for client in &clients {
            client.abort();
        }
        for client in clients {
            let _ = client.await;
        }
        assert_eq!(begun.load(Ordering::SeqCst), RUNNING_MAX);
        assert_eq!(reads.running.available_permits(), 0, "the threads still read");
        drop(open);
        holder.join().unwrap();
        let answered = timeout(Duration::from_secs(30), reads.answer(|| Ok(7)));
        assert_eq!(answered.await.unwrap().unwrap(), 7);
    }
}
