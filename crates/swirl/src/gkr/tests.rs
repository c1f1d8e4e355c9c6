//! The proof of the sum of fractions against that of the reference backend.

use openvm_stark_backend::{
    p3_field::{BasedVectorSpace, PackedValue},
    prover::fractional_sumcheck_gkr::{Frac, fractional_sumcheck},
};
use openvm_stark_sdk::config::baby_bear_poseidon2::{
    BabyBearPoseidon2Config as SC, EF, F, default_duplex_sponge,
};

use super::*;
use crate::packed::{Pack, ext_from_fn, log_width, width};

struct Given {
    p: Vec<F>,
    q: Vec<EF>,
    log_len: usize,
    alpha: EF,
}

impl Leaves<F, EF> for Given {
    fn log_len(&self) -> usize {
        self.log_len
    }

    fn pad(&self) -> EF {
        self.alpha
    }

    fn groups<const G: usize>(&self) -> usize {
        self.p.len().div_ceil(G * width::<F>())
    }

    fn short(&self) -> (Vec<F>, Vec<EF>) {
        (self.p.clone(), self.q.clone())
    }

    fn each<S: Sink<F, EF, G>, const G: usize>(&self, sink: S) -> Added<ExtPack<F, EF>> {
        let w = width::<F>();
        let p = |i: usize| self.p.get(i).copied().unwrap_or(F::ZERO);
        let q = |i: usize| self.q.get(i).copied().unwrap_or(self.alpha);
        let mut sums = [ExtPack::<F, EF>::ZERO; GRID];
        // The groups come by two parts, as from several threads.
        let first = self.groups::<G>() / 3;
        let (low, high) = sink.split_at(first);
        for (mut part, from, to) in [(high, first, self.groups::<G>()), (low, 0, first)] {
            for group in from..to {
                let packs = (
                    std::array::from_fn(|i| Pack::<F>::from_fn(|l| p((group * G + i) * w + l))),
                    std::array::from_fn(|i| ext_from_fn::<F, EF>(|l| q((group * G + i) * w + l))),
                );
                part.put(&mut sums, group - from, &packs);
            }
        }
        sums
    }
}

fn element(seed: &mut u64) -> F {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    F::from_u32((*seed >> 34) as u32)
}

/// Fractions whose sum is zero: each with its negative, at another place.
fn fractions(len: usize, log_len: usize, seed: &mut u64) -> Given {
    let mut ext = || EF::from_basis_coefficients_fn(|_| element(seed));
    let q: Vec<EF> = (0..len.div_ceil(2)).map(|_| ext()).collect();
    let alpha = ext();
    let p: Vec<F> = (0..q.len()).map(|_| element(seed)).collect();
    let negative = (0..len / 2).map(|i| -p[i]);
    let mut all: (Vec<F>, Vec<EF>) = (
        p.iter().copied().chain(negative).collect(),
        q.iter().copied().chain(q[..len / 2].iter().copied()).collect(),
    );
    if len % 2 == 1 {
        all.0[len / 2] = F::ZERO;
    }
    Given {
        p: all.0,
        q: all.1,
        log_len,
        alpha,
    }
}

#[test]
fn every_message_is_that_of_the_stock_prover() {
    let mut seed = 17;
    let min = log_packed_min::<F>();
    for log_len in 1..min + 8 {
        let full = 1 << log_len;
        let lens = [
            full,
            full / 2 + 1,
            full - 1,
            full / 2 + full / 4 + 3,
            full / 2 + 5,
        ];
        for len in lens.into_iter().filter(|&len| len <= full) {
            let given = fractions(len, log_len, &mut seed);
            let mut evals: Vec<Frac<EF>> = given
                .p
                .iter()
                .zip(&given.q)
                .map(|(&p, &q)| Frac { p: p.into(), q })
                .collect();
            evals.resize(
                full,
                Frac {
                    p: EF::ZERO,
                    q: given.alpha,
                },
            );
            let mut transcript = default_duplex_sponge();
            let (expected, point) = fractional_sumcheck::<SC, _>(&mut transcript, &evals, true).unwrap();
            for kept in Kept::ALL {
                let mut transcript = default_duplex_sponge();
                let (actual, our_point) = prove::<SC, _, _>(&mut transcript, &given, kept).unwrap();
                let what = format!("{len} of 2^{log_len} fractions, {kept:?}");
                assert_eq!(actual.fractional_sum, expected.fractional_sum, "{what}");
                assert_eq!(actual.sumcheck_polys, expected.sumcheck_polys, "{what}");
                assert_eq!(our_point, point, "{what}");
                for (actual, expected) in actual.claims_per_layer.iter().zip(&expected.claims_per_layer) {
                    assert_eq!(actual.p_xi_0, expected.p_xi_0, "{what}");
                    assert_eq!(actual.q_xi_0, expected.q_xi_0, "{what}");
                    assert_eq!(actual.p_xi_1, expected.p_xi_1, "{what}");
                    assert_eq!(actual.q_xi_1, expected.q_xi_1, "{what}");
                }
            }
        }
    }
}

#[test]
fn a_sum_that_is_not_zero_is_refused() {
    let mut seed = 5;
    for log_len in [2, 9] {
        let mut given = fractions(1 << log_len, log_len, &mut seed);
        given.p[1] += F::ONE;
        assert!(matches!(
            prove::<SC, _, _>(&mut default_duplex_sponge(), &given, Kept::DEFAULT),
            Err(LogupZerocheckError::NonZeroRootSum)
        ));
    }
}

#[test]
fn lanes_are_in_natural_order_again_after_as_many_splits_as_they_have_bits() {
    let lanes: Vec<usize> = (0..width::<F>()).collect();
    for phase in 0..2 * log_width::<F>() {
        let mut indices: Vec<usize> = lanes
            .iter()
            .map(|&lane| crate::packed::index_of_lane::<F>(phase, lane))
            .collect();
        if log_width::<F>() == 0 || phase % log_width::<F>() == 0 {
            assert_eq!(indices, lanes);
        }
        indices.sort_unstable();
        assert_eq!(indices, lanes);
    }
}
