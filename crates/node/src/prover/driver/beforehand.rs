//! Fetches the files of a job while its requester executes it.

use std::time::Instant;

use super::{Driver, HOLDS_NAMED};
use crate::prover::{Engine, offers::Fetched, prefetch::Prefetch};

impl<E: Engine> Driver<E> {
    /// Begins with the next files, one job's at a time.
    pub(super) fn begin_prefetch(&mut self) {
        let now = Instant::now();
        if self.stopping.is_some() || self.prefetch.is_some() || self.disk.why_not(now).is_some() {
            return;
        }
        let Some(wanted) = self
            .offers
            .next_beforehand(&self.limits, self.current.is_some(), now)
        else {
            return;
        };
        let holds = self.network.blobs().held(HOLDS_NAMED);
        let (network, limits) = (self.network.clone(), self.limits.clone());
        self.prefetch = Some(Prefetch::begin(network, limits, wanted, holds));
    }

    pub(super) fn end_prefetch(&mut self, fetched: Fetched) {
        let prefetch = self.prefetch.take().expect("it has ended");
        self.offers.fetched(prefetch.wanted, &fetched, Instant::now());
    }

    /// Stops it if it is one of these.
    pub(super) fn stop_prefetch(&mut self, is_unwanted: impl Fn(&Prefetch) -> bool) {
        if let Some(prefetch) = self.prefetch.take_if(|prefetch| is_unwanted(prefetch)) {
            self.offers
                .fetched(prefetch.wanted, &Fetched::Failed, Instant::now());
            prefetch.stop();
        }
    }
}
