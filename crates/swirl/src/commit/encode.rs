//! The leaves of the Merkle tree over a Reed-Solomon codeword that is never kept.
//!
//! The codeword of `width` messages has `height << log_blowup` rows. Its rows fall into classes by
//! their index modulo a power of two; the rows that one leaf holds are all of one class. Classes
//! are encoded and hashed one after the other, each in two steps, as Bailey's four-step transform
//! does ("FFTs in external or hierarchical memory", 1990). With `height = n1 * n2` within a class:
//!
//! 1. for all columns, `WIDTH` transforms of length `n1` at once, over coefficients that are `n2`
//!    apart;
//! 2. for `WIDTH` of the `n1` results at once, transforms of length `n2` for all columns, in a
//!    block that stays in the cache and is hashed where it lies, each lane a row.
//!
//! The prover keeps one class at a time, after its first step: `width * height >> log_fold`
//! elements.

use openvm_stark_backend::{
    hasher::MerkleHasher,
    p3_field::{PackedValue, PrimeCharacteristicRing, TwoAdicField},
    p3_maybe_rayon::prelude::*,
    p3_util::{log2_strict_usize, reverse_bits_len},
};

use super::{
    fft::{Roots, evaluate},
    hash::RowHasher,
};
use crate::packed::{PackedField, Sizes, transpose};

/// Bytes of the block that the second step transforms and hashes: half of a usual L2 cache.
const BLOCK_BYTES: usize = 512 << 10;

/// Runs of the first step that are read together: their coefficients lie beside each other, and by
/// themselves each would be a single cache line out of every page.
const TOGETHER: usize = 4;

/// A class is at most the fourth part of the points of a coset of the message's length: with more
/// parts, each would read all of the message for ever less memory.
const MAX_LOG_FOLD: usize = 2;

/// The leaves over the codewords of `messages`, which all have the same length, a power of two. A
/// leaf holds the rows `y + t * leaves` for `t` below `rows`.
pub(crate) fn leaves<F, H>(hasher: &H, messages: &[&[F]], log_blowup: usize, rows: usize) -> Vec<H::Digest>
where
    F: PackedField + TwoAdicField,
    H: MerkleHasher<F = F>,
{
    let hasher = RowHasher::new(hasher);
    let log_height = log2_strict_usize(messages[0].len());
    match Shape::new(messages.len(), log_height, log_blowup, rows, F::Packing::WIDTH) {
        Some(shape) => Encoder::<F>::new(shape).leaves(&hasher, messages),
        None => plain_leaves(&hasher, messages, log_blowup, rows),
    }
}

/// The layers of the tree over [`leaves`], from these to the root.
pub(crate) fn tree<F, H>(hasher: &H, messages: &[&[F]], log_blowup: usize, rows: usize) -> Vec<Vec<H::Digest>>
where
    F: PackedField + TwoAdicField,
    H: MerkleHasher<F = F>,
{
    let leaves = leaves(hasher, messages, log_blowup, rows);
    RowHasher::new(hasher).layers(leaves)
}

/// Bytes of [`tree`]: the most that are allocated at once, and what of it is kept.
pub(crate) struct Bytes {
    pub peak: usize,
    pub kept: usize,
}

/// The bytes that [`tree`] allocates for these messages.
pub(crate) fn bytes(
    sizes: &Sizes,
    width: usize,
    log_height: usize,
    log_blowup: usize,
    rows: usize,
    threads: usize,
) -> Bytes {
    let leaves = (1usize << (log_height + log_blowup)) / rows;
    let kept = sizes.digest * (2 * leaves - 1);
    let encoding = match Shape::new(width, log_height, log_blowup, rows, sizes.lanes()) {
        Some(shape) => {
            let (n1, n2) = (1usize << shape.log_n1, 1usize << shape.log_n2);
            let blocks = n1 / sizes.lanes();
            // The block and its twiddles, and a state of the hasher for each row of a leaf.
            let of_thread = (width + 1) * n2 * sizes.pack + rows * size_of::<[u32; 8]>() * sizes.lanes();
            let in_class = (1usize << shape.log_class()) / rows;
            sizes.f * (width << shape.log_class())
                + sizes.f * (n1 + n1.max(n2) / 2)
                + threads.min(blocks) * of_thread
                + blocks * size_of::<Vec<u8>>()
                + sizes.digest * in_class
        }
        // The codeword, and twiddles with the roots that they are made of.
        None => ((sizes.f * (2 * width + 3)) << (log_height + log_blowup)) / 2,
    };
    Bytes {
        peak: (encoding + sizes.digest * leaves).max(kept),
        kept,
    }
}

/// The leaves of codewords so short that they have no block of whole lanes: all of it at once.
fn plain_leaves<F, H>(
    hasher: &RowHasher<H>,
    messages: &[&[F]],
    log_blowup: usize,
    rows: usize,
) -> Vec<H::Digest>
where
    F: TwoAdicField,
    H: MerkleHasher<F = F>,
{
    let log_domain = log2_strict_usize(messages[0].len()) + log_blowup;
    let twiddles = Roots::<F>::new(log_domain).twiddles(log_domain, F::ONE);
    let columns: Vec<Vec<F>> = messages
        .iter()
        .map(|message| {
            let mut column = message.to_vec();
            column.resize(1 << log_domain, F::ZERO);
            evaluate(&mut column, |i| twiddles[i]);
            column
        })
        .collect();
    let row = |index: usize| -> Vec<F> {
        let position = reverse_bits_len(index, log_domain);
        columns.iter().map(|column| column[position]).collect()
    };
    hasher.leaves_of_rows(1 << log_domain, rows, row)
}

/// The division of a codeword into classes and blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    width: usize,
    log_height: usize,
    /// Rows of the codeword are of one class if they agree modulo `2^log_classes`.
    log_classes: usize,
    log_n1: usize,
    log_n2: usize,
    rows: usize,
}

impl Shape {
    fn new(width: usize, log_height: usize, log_blowup: usize, rows: usize, lanes: usize) -> Option<Self> {
        let least_n2 = log2_strict_usize(rows.max(lanes));
        let least = least_n2 + log2_strict_usize(lanes);
        let log_fold = log_height.checked_sub(least)?.min(MAX_LOG_FOLD);
        let log_class = log_height - log_fold;
        let fitting = (BLOCK_BYTES / (width * lanes * size_of::<u32>())).max(1).ilog2() as usize;
        let log_n2 = fitting
            .min(log_class.div_ceil(2))
            .clamp(least_n2, log_class - log2_strict_usize(lanes));
        Some(Self {
            width,
            log_height,
            log_classes: log_blowup + log_fold,
            log_n1: log_class - log_n2,
            log_n2,
            rows,
        })
    }

    fn log_class(&self) -> usize {
        self.log_n1 + self.log_n2
    }
}

struct Encoder<F> {
    shape: Shape,
    roots: Roots<F>,
}

impl<F: PackedField + TwoAdicField> Encoder<F> {
    fn new(shape: Shape) -> Self {
        Self {
            shape,
            roots: Roots::new(shape.log_n1.max(shape.log_n2)),
        }
    }

    fn leaves<H: MerkleHasher<F = F>>(&self, hasher: &RowHasher<H>, messages: &[&[F]]) -> Vec<H::Digest> {
        let Shape {
            log_classes, log_n1, ..
        } = self.shape;
        let lanes = F::Packing::WIDTH;
        let classes = 1usize << log_classes;
        let in_class = (1usize << self.shape.log_class()) / self.shape.rows;
        let omega = F::two_adic_generator(self.shape.log_class() + log_classes);
        // Any digest: each place is written below.
        let mut leaves = vec![hasher.plain_digest(); classes * in_class];
        let mut partial =
            F::Packing::zero_vec(self.shape.width << self.shape.log_class() >> log2_strict_usize(lanes));
        for (class, shift) in omega.powers().take(classes).enumerate() {
            self.first_step(messages, shift, &mut partial);
            let blocks = self.second_step(hasher, &partial, shift);
            for (block, digests) in blocks.into_iter().enumerate() {
                for (y, digests) in digests.chunks_exact(lanes).enumerate() {
                    for (lane, &digest) in digests.iter().enumerate() {
                        let k1 = reverse_bits_len(block * lanes + lane, log_n1);
                        leaves[class + ((k1 + (y << log_n1)) << log_classes)] = digest;
                    }
                }
            }
        }
        leaves
    }

    /// Transforms over the coefficients that are `n2` apart. The result holds for each column and
    /// each `WIDTH` neighbours of these `n2` a run of `n1` packed elements, in bit-reversed order.
    fn first_step(&self, messages: &[&[F]], shift: F, partial: &mut [F::Packing]) {
        let Shape {
            log_height,
            log_n1,
            log_n2,
            ..
        } = self.shape;
        let lanes = F::Packing::WIDTH;
        let (n1, n2) = (1usize << log_n1, 1usize << log_n2);
        let class = 1usize << self.shape.log_class();
        // The message modulo `X^class - shift^class`: its parts, weighted by powers of the latter.
        let weights: Vec<F::Packing> = shift
            .exp_power_of_2(self.shape.log_class())
            .powers()
            .take(1 << log_height >> self.shape.log_class())
            .map(F::Packing::from)
            .collect();
        let twiddles = self.roots.twiddles(log_n1, shift.exp_power_of_2(log_n2));
        let together = TOGETHER.min(n2 / lanes);
        partial
            .par_chunks_exact_mut(together * n1)
            .enumerate()
            .for_each(|(task, out)| {
                let first = task * together;
                let message = messages[first / (n2 / lanes)];
                let start = first % (n2 / lanes) * lanes;
                for i in 0..n1 {
                    for run in 0..together {
                        let at = start + i * n2 + run * lanes;
                        let mut sum = *F::Packing::from_slice(&message[at..at + lanes]);
                        for (part, &weight) in weights.iter().enumerate().skip(1) {
                            let at = at + part * class;
                            sum += *F::Packing::from_slice(&message[at..at + lanes]) * weight;
                        }
                        out[run * n1 + i] = sum;
                    }
                }
                for run in out.chunks_exact_mut(n1) {
                    evaluate(run, |i| F::Packing::from(twiddles[i]));
                }
            });
    }

    /// Transforms of length `n2` and hashes, by blocks of `WIDTH` of the `n1` positions.
    fn second_step<H: MerkleHasher<F = F>>(
        &self,
        hasher: &RowHasher<H>,
        partial: &[F::Packing],
        shift: F,
    ) -> Vec<Vec<H::Digest>> {
        let Shape {
            width,
            log_n1,
            log_n2,
            rows,
            ..
        } = self.shape;
        let lanes = F::Packing::WIDTH;
        let (n1, n2) = (1usize << log_n1, 1usize << log_n2);
        let omega = F::two_adic_generator(self.shape.log_class());
        (0..n1 / lanes)
            .into_par_iter()
            .map_init(
                || F::Packing::zero_vec(width * n2),
                |block, k1| {
                    let first = k1 * lanes;
                    for (run, out) in block.chunks_exact_mut(lanes).enumerate() {
                        out.copy_from_slice(&partial[run * n1 + first..][..lanes]);
                        transpose::<F>(out);
                    }
                    let shifts = F::Packing::from_fn(|lane| {
                        shift * omega.exp_u64(reverse_bits_len(first + lane, log_n1) as u64)
                    });
                    let twiddles = self.roots.twiddles(log_n2, shifts);
                    for column in block.chunks_exact_mut(n2) {
                        evaluate(column, |i| twiddles[i]);
                    }
                    let mut leaves = Vec::with_capacity(n2 / rows * lanes);
                    hasher.leaves_of_block(block, n2, rows, |k2| reverse_bits_len(k2, log_n2), &mut leaves);
                    leaves
                },
            )
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use openvm_stark_backend::{
        StarkProtocolConfig,
        p3_field::{Field, PackedValue, PrimeCharacteristicRing},
        prover::{ColMajorMatrix, stacked_pcs::MerkleTree},
    };
    use openvm_stark_sdk::config::{
        app_params_with_100_bits_security,
        baby_bear_poseidon2::{BabyBearPoseidon2Config, F},
    };
    use p3_dft::{Radix2DitParallel, TwoAdicSubgroupDft};

    use super::{Shape, tree};

    #[test]
    fn the_tree_is_that_of_openvm() {
        let config = BabyBearPoseidon2Config::default_from_params(app_params_with_100_bits_security(16));
        for (width, log_height, log_blowup, log_rows) in [
            (1, 4, 1, 4),
            (3, 7, 2, 4),
            (8, 9, 1, 4),
            (17, 10, 1, 4),
            (4, 12, 3, 4),
            (9, 11, 1, 0),
            (4, 9, 6, 3),
            (2, 14, 1, 4),
        ] {
            let height = 1usize << log_height;
            let messages: Vec<Vec<F>> = (0..width)
                .map(|j| {
                    (0..height)
                        .map(|i| F::from_usize(i * i + 31 * j + 7 * i * j))
                        .collect()
                })
                .collect();
            let codewords: Vec<F> = messages
                .iter()
                .flat_map(|message| {
                    let mut padded = message.clone();
                    padded.resize(height << log_blowup, F::ZERO);
                    Radix2DitParallel::default().dft(padded)
                })
                .collect();
            let expected = MerkleTree::new(
                config.hasher(),
                ColMajorMatrix::new(codewords, width),
                1 << log_rows,
            )
            .unwrap();
            let messages: Vec<&[F]> = messages.iter().map(Vec::as_slice).collect();
            let layers = tree(config.hasher(), &messages, log_blowup, 1 << log_rows);
            assert!(
                layers == *expected.digest_layers(),
                "{width} columns of 2^{log_height}, blow-up 2^{log_blowup}, 2^{log_rows} rows"
            );
        }
    }

    #[test]
    fn tall_codewords_are_cut_into_blocks_that_fit() {
        let lanes = <F as Field>::Packing::WIDTH;
        let shape = Shape::new(16, 21, 1, 16, lanes).unwrap();
        assert_eq!(shape.log_classes, 3);
        assert!((shape.width * lanes * size_of::<F>()) << shape.log_n2 <= super::BLOCK_BYTES);
        assert_eq!(Shape::new(16, 4, 1, 16, 16), None);
    }
}
