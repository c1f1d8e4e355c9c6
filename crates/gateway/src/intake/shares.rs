//! Places of submissions: so many in all, of which one key has a share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Places, by the names of keys.
pub(super) struct Shares {
    all: usize,
    of_key: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_key: HashMap<String, usize>,
}

/// A place. It is free again when this is dropped.
pub(super) struct Place {
    shares: Arc<Shares>,
    key: String,
}

/// The places that are taken are the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    All(usize),
    OfKey(usize),
}

impl Shares {
    pub(super) fn new(all: usize, of_key: usize) -> Arc<Self> {
        Arc::new(Self {
            all,
            of_key: of_key.max(1),
            taken: Mutex::default(),
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a key may take a place. The cookie is the operator's own, and has all of them.
    pub(super) fn check(&self, key: &str) -> Result<(), Full> {
        self.allows(&self.taken(), key)
    }

    fn allows(&self, taken: &Taken, key: &str) -> Result<(), Full> {
        if taken.all >= self.all {
            return Err(Full::All(self.all));
        }
        let has = taken.by_key.get(key).copied().unwrap_or_default();
        if has >= self.of_key && key != crate::keys::COOKIE {
            return Err(Full::OfKey(self.of_key));
        }
        Ok(())
    }

    pub(super) fn take(self: &Arc<Self>, key: &str) -> Result<Place, Full> {
        let mut taken = self.taken();
        self.allows(&taken, key)?;
        taken.all += 1;
        *taken.by_key.entry(key.to_owned()).or_default() += 1;
        drop(taken);
        Ok(Place {
            shares: Arc::clone(self),
            key: key.to_owned(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.shares.taken();
        taken.all -= 1;
        if let Some(count) = taken.by_key.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.by_key.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_share_and_the_cookie_all() {
        let shares = Shares::new(4, 2);
        let first = shares.take("a").unwrap();
        let _second = shares.take("a").unwrap();
        assert_eq!(shares.take("a").map(drop), Err(Full::OfKey(2)));
        assert_eq!(shares.check("b"), Ok(()));
        drop(first);
        let _third = shares.take("a").unwrap();
        let cookies = [(); 2].map(|()| shares.take(crate::keys::COOKIE).unwrap());
        assert_eq!(shares.check("b"), Err(Full::All(4)));
        drop(cookies);
        assert_eq!(shares.taken().by_key.len(), 1, "who has none is forgotten");
        let cookies = [(); 2].map(|()| shares.take(crate::keys::COOKIE));
        assert!(cookies.iter().all(Result::is_ok));
        let all = Shares::new(4, 1);
        let held = [(); 4].map(|()| all.take(crate::keys::COOKIE));
        assert!(held.iter().all(Result::is_ok), "it has more than a share");
    }
}
