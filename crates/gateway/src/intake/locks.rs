//! Locks by name, which are there while somebody holds them or waits for them.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

type Held<K> = Arc<Mutex<HashMap<K, Arc<AsyncMutex<()>>>>>;

/// Locks by name.
pub(crate) struct Locks<K>(Held<K>);

impl<K> Default for Locks<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// A lock that is held, or waited for.
pub(crate) struct Locked<K: Eq + Hash> {
    locks: Held<K>,
    key: K,
    guard: Option<OwnedMutexGuard<()>>,
}

impl<K: Clone + Eq + Hash> Locks<K> {
    /// Waits for the lock of this name.
    pub(crate) async fn lock(&self, key: K) -> Locked<K> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(locks.entry(key.clone()).or_default())
        };
        let mut locked = Locked {
            locks: Arc::clone(&self.0),
            key,
            guard: None,
        };
        locked.guard = Some(lock.lock_owned().await);
        locked
    }
}

impl<K: Eq + Hash> Drop for Locked<K> {
    fn drop(&mut self) {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        // The guard has the lock, too.
        self.guard = None;
        if locks
            .get(&self.key)
            .is_some_and(|lock| Arc::strong_count(lock) == 1)
        {
            locks.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn names_are_held_once_and_forgotten_when_nobody_wants_them() {
        let locks = Locks::default();
        let first = locks.lock("a").await;
        let other = locks.lock("b").await;
        let second = locks.lock("a");
        tokio::pin!(second);
        assert!(futures::poll!(second.as_mut()).is_pending(), "it is held");
        drop((first, other));
        let second = second.await;
        assert_eq!(locks.0.lock().unwrap().len(), 1);
        drop(second);
        assert!(locks.0.lock().unwrap().is_empty());
    }
}
