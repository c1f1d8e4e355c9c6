//! Places that clients take: so many in all, and so many of one address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::limits::network_of;

/// Places for clients.
#[derive(Debug)]
pub(crate) struct Places {
    all: usize,
    per_address: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place. It is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

/// The most places that are allowed are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    All(usize),
    OfAddress(usize),
}

impl Places {
    pub(crate) fn new(all: usize, per_address: usize) -> Arc<Self> {
        Arc::new(Self {
            all,
            per_address,
            taken: Mutex::default(),
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Place, Full> {
        let address = network_of(address);
        let mut taken = self.taken();
        if taken.all >= self.all {
            return Err(Full::All(self.all));
        }
        if taken.by_address.get(&address).copied().unwrap_or_default() >= self.per_address {
            return Err(Full::OfAddress(self.per_address));
        }
        taken.all += 1;
        *taken.by_address.entry(address).or_default() += 1;
        drop(taken);
        Ok(Place {
            places: Arc::clone(self),
            address,
        })
    }

    pub(crate) fn count(&self) -> usize {
        self.taken().all
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        if let Some(count) = taken.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_for_all_and_for_each_address_and_come_back() {
        let places = Places::new(3, 2);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = places.take(address("2001:db8::1")).unwrap();
        let _second = places.take(address("2001:db8::2")).unwrap();
        let third = places.take(address("2001:db8::3")).map(drop);
        assert_eq!(third, Err(Full::OfAddress(2)), "it is the same network");
        let _other = places.take(address("127.0.0.1")).unwrap();
        assert_eq!(places.take(address("127.0.0.2")).map(drop), Err(Full::All(3)));
        drop(first);
        assert_eq!(places.count(), 2);
        drop(places.take(address("::ffff:127.0.0.1")).unwrap());
        assert_eq!(places.count(), 2);
    }
}
