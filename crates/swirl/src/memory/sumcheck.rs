//! The batch sumcheck: [`crate::constraints`] without the fractions.

use openvm_stark_backend::p3_util::log2_ceil_usize;

use super::{Present, Walk};
use crate::constraints::{LOG_PAIRS, LOG_UNITS, TARGETS};

impl Walk<'_> {
    /// The factor of each sink.
    pub(super) fn weights(&self) -> usize {
        let sinks: usize = self.present.iter().map(|p| p.air.compiled.sinks).sum();
        sinks * self.model.sizes.ef
    }

    /// The univariate polynomials of all AIRs.
    pub(super) fn univariate_kept(&self) -> usize {
        let places = 1usize << self.model.params.l_skip;
        let coefficients = |p: &Present<'_>| (3 * p.air.degree + 1) * places;
        self.model.sizes.ef * self.present.iter().map(coefficients).sum::<usize>()
    }

    pub(super) fn univariate(&self) -> usize {
        let sizes = &self.model.sizes;
        let l_skip = self.model.params.l_skip;
        let places = 1usize << l_skip;
        // Coefficients and values of each input, registers, and what these give to sinks.
        let scratch = |p: &Present<'_>| {
            let compiled = &p.air.compiled;
            (2 * compiled.inputs * places + compiled.registers + places + compiled.sinks) * sizes.pack
        };
        let parts = |p: &Present<'_>| p.units(l_skip, sizes.lanes()).div_ceil(1 << LOG_UNITS);
        // Each thread has the sums of its work so far and those that it adds to them, and holds
        // sums that wait for others.
        let sums = self.model.max_degree * places * TARGETS * sizes.ext_pack;
        let domain = (places * (self.model.max_degree + 2)).next_power_of_two();
        let products = 2 * domain * self.present.len() + 4 * domain;
        let eq: usize = self.present.iter().map(|p| parts(p) * sizes.ef).sum();
        self.univariate_kept()
            + (self.at_once(scratch, parts) + self.waiting(parts) * sums + eq).max(products * sizes.ef)
    }

    /// The number of sums of a loop's parts that exist at once: each thread has one of its work so
    /// far and one that it adds to it. A thread alone halves the loop once, and holds the sum of
    /// the first half. Several threads halve again the parts that they take from each other, and
    /// each may hold a sum for every time that a loop can be halved.
    fn waiting(&self, parts: impl Fn(&Present<'_>) -> usize) -> usize {
        let most = self.present.iter().map(parts).max().unwrap_or(0).max(1);
        let halvings = if self.threads > 1 {
            log2_ceil_usize(most)
        } else {
            0
        };
        self.threads * (2 + halvings) + 1
    }

    pub(super) fn rounds(&self) -> usize {
        let sizes = &self.model.sizes;
        let l_skip = self.model.params.l_skip;
        let folded: usize = self
            .present
            .iter()
            .map(|p| {
                let column = p.units(l_skip, sizes.lanes()) * sizes.ext_pack + size_of::<Vec<u8>>();
                p.air.compiled.inputs * column
            })
            .sum();
        let scratch = |p: &Present<'_>| {
            let compiled = &p.air.compiled;
            (2 * compiled.inputs + compiled.registers) * sizes.ext_pack
        };
        let parts = |p: &Present<'_>| p.units(l_skip, sizes.lanes()).div_ceil(2 << LOG_PAIRS);
        let sums = self.model.max_degree * TARGETS * sizes.ext_pack;
        let eq: usize = self.present.iter().map(|p| parts(p) * sizes.ef).sum();
        folded + self.at_once(scratch, parts) + self.waiting(parts) * sums + eq + self.column_openings()
    }
}
