//! Values of a codeword at the queried positions, computed again from the message.
//!
//! A hundred queries open a few thousand of millions of values, so the codeword is not worth its
//! memory. A query asks for the values at `w^(y + t * stride)` for all `t` below `rows`: a coset of
//! a small subgroup. Remainders lead there as in [`super::fft`], but only along the branches with a
//! query.

use openvm_stark_backend::{
    p3_field::{Field, PackedValue, TwoAdicField},
    p3_maybe_rayon::prelude::*,
    p3_util::log2_strict_usize,
};

/// Elements of a remainder that a task computes.
const TASK: usize = 1 << 14;

/// For each query, the `rows` values of the codeword of `message` at `query + t * stride`, where
/// the codeword has `message.len() << log_blowup` values and `stride` is its length over `rows`.
/// This thread computes them alone: see [`super::message::Chunks::encode_alone`].
pub(crate) fn open<F: TwoAdicField>(
    message: &[F],
    log_blowup: usize,
    rows: usize,
    queries: &[usize],
) -> Vec<Vec<F>> {
    open_by(message, log_blowup, rows, queries, usize::MAX)
}

/// [`open`] by all threads.
pub(crate) fn open_together<F: TwoAdicField>(
    message: &[F],
    log_blowup: usize,
    rows: usize,
    queries: &[usize],
) -> Vec<Vec<F>> {
    open_by(message, log_blowup, rows, queries, TASK)
}

/// The elements of a remainder that one task computes.
fn open_by<F: TwoAdicField>(
    message: &[F],
    log_blowup: usize,
    rows: usize,
    queries: &[usize],
    task: usize,
) -> Vec<Vec<F>> {
    let log_domain = log2_strict_usize(message.len()) + log_blowup;
    let mut opening = Opening {
        omega: F::two_adic_generator(log_domain),
        log_domain,
        rows,
        task,
        values: vec![Vec::new(); queries.len()],
    };
    let stride = (1usize << log_domain) / rows;
    assert!(
        queries.iter().all(|&query| query < stride),
        "a query past {stride}"
    );
    if message.len() <= rows {
        let queries: Vec<(usize, usize)> = queries.iter().copied().enumerate().collect();
        opening.evaluate(message, &queries);
        return opening.values;
    }
    let mut scratch = vec![F::ZERO; message.len()];
    for class in 0..1usize << log_blowup {
        let queries: Vec<(usize, usize)> = queries
            .iter()
            .copied()
            .enumerate()
            .filter(|(_, query)| query % (1 << log_blowup) == class)
            .collect();
        opening.descend(message, log_blowup, class, &queries, &mut scratch);
    }
    opening.values
}

struct Opening<F> {
    omega: F,
    log_domain: usize,
    rows: usize,
    task: usize,
    values: Vec<Vec<F>>,
}

impl<F: TwoAdicField> Opening<F> {
    /// `remainder` agrees with the message at all `w^k` for `k = class` modulo `2^depth`; the
    /// queries, with their indices, are all in that class.
    fn descend(
        &mut self,
        remainder: &[F],
        depth: usize,
        class: usize,
        queries: &[(usize, usize)],
        scratch: &mut [F],
    ) {
        if queries.is_empty() {
            return;
        }
        if remainder.len() <= self.rows {
            return self.evaluate(remainder, queries);
        }
        let half = remainder.len() / 2;
        let root = self
            .omega
            .exp_u64(class as u64)
            .exp_power_of_2(self.log_domain - depth - 1);
        let (child, scratch) = scratch.split_at_mut(half);
        for odd in 0..2 {
            let below: Vec<(usize, usize)> = queries
                .iter()
                .copied()
                .filter(|(_, query)| query >> depth & 1 == odd)
                .collect();
            if below.is_empty() {
                continue;
            }
            let root = if odd == 0 { root } else { -root };
            if half <= self.task {
                reduce(remainder.split_at(half), root, child);
            } else {
                let (low, high) = remainder.split_at(half);
                low.par_chunks(self.task)
                    .zip(high.par_chunks(self.task))
                    .zip(child.par_chunks_mut(self.task))
                    .for_each(|((low, high), child)| reduce((low, high), root, child));
            }
            self.descend(child, depth + 1, class + (odd << depth), &below, scratch);
        }
    }

    fn evaluate(&mut self, remainder: &[F], queries: &[(usize, usize)]) {
        let step = self
            .omega
            .exp_u64(((1u64 << self.log_domain) / self.rows as u64) % (1u64 << self.log_domain));
        for &(index, query) in queries {
            self.values[index] = step
                .shifted_powers(self.omega.exp_u64(query as u64))
                .take(self.rows)
                .map(|x| remainder.iter().rev().fold(F::ZERO, |sum, &c| sum * x + c))
                .collect();
        }
    }
}

/// The remainder modulo `X^(n/2) - root` of a polynomial, by the lower and the upper half of its
/// coefficients; or as many places of each.
fn reduce<F: Field>((low, high): (&[F], &[F]), root: F, remainder: &mut [F]) {
    if low.len().is_multiple_of(F::Packing::WIDTH) {
        let root = F::Packing::from(root);
        let low = F::Packing::pack_slice(low)
            .iter()
            .zip(F::Packing::pack_slice(high));
        for (out, (&low, &high)) in F::Packing::pack_slice_mut(remainder).iter_mut().zip(low) {
            *out = low + high * root;
        }
    } else {
        for ((out, &low), &high) in remainder.iter_mut().zip(low).zip(high) {
            *out = low + high * root;
        }
    }
}

#[cfg(test)]
mod tests {
    use openvm_stark_backend::p3_field::PrimeCharacteristicRing;
    use openvm_stark_sdk::config::baby_bear_poseidon2::F;
    use p3_dft::{Radix2DitParallel, TwoAdicSubgroupDft};

    use super::{open, open_by};

    #[test]
    fn opened_values_are_those_of_the_codeword() {
        for (log_height, log_blowup, log_rows) in
            [(10, 1, 4), (6, 3, 4), (4, 2, 4), (3, 4, 4), (9, 0, 2), (0, 4, 1)]
        {
            let message: Vec<F> = (0..1u32 << log_height)
                .map(|i| F::from_u32(i * i * 5 + 9))
                .collect();
            let mut padded = message.clone();
            padded.resize(1 << (log_height + log_blowup), F::ZERO);
            let codeword = Radix2DitParallel::default().dft(padded);
            let stride = codeword.len() >> log_rows;
            let queries: Vec<usize> = [0, 1, stride - 1, stride / 2, stride / 3, 1]
                .into_iter()
                .map(|query| query.min(stride - 1))
                .collect();
            let opened = open(&message, log_blowup, 1 << log_rows, &queries);
            let by_parts = open_by(&message, log_blowup, 1 << log_rows, &queries, 32);
            assert_eq!(by_parts, opened, "2^{log_height} by 2^{log_blowup}, by parts");
            for (query, values) in queries.iter().zip(&opened) {
                let expected: Vec<F> = (0..1 << log_rows).map(|t| codeword[query + t * stride]).collect();
                assert_eq!(
                    values, &expected,
                    "2^{log_height} by 2^{log_blowup}, query {query}"
                );
            }
        }
    }
}
