//! Hashing rows and pairs of digests, many at once.
//!
//! If the field is BabyBear and the hasher is that of `BabyBearPoseidon2Config`, one permutation of
//! packed elements does the work of `WIDTH`: each lane is a row. Any other hasher is called row by
//! row.

use std::any::Any;

use openvm_stark_backend::{
    hasher::MerkleHasher,
    p3_field::{Field, PackedValue, PrimeCharacteristicRing, TwoAdicField},
    p3_maybe_rayon::prelude::*,
    p3_symmetric::Permutation,
};
use openvm_stark_sdk::p3_baby_bear::{BabyBear, Poseidon2BabyBear, default_babybear_poseidon2_16};

/// Elements of the sponge's state: a permutation takes in [`RATE`] of a row.
const WIDTH: usize = 16;
const RATE: usize = 8;

type Packed = <BabyBear as Field>::Packing;
type State = [Packed; WIDTH];
type Half = [Packed; RATE];
type Digest = [BabyBear; RATE];

/// A hasher of a Merkle tree, with the packed permutation where it computes the same.
pub(crate) struct RowHasher<'a, H> {
    plain: &'a H,
    packed: Option<Poseidon2BabyBear<WIDTH>>,
}

impl<'a, H: MerkleHasher> RowHasher<'a, H>
where
    H::F: TwoAdicField,
{
    /// Compares the two on one row and one pair, because a hasher of the same types could have
    /// other constants.
    pub(crate) fn new(plain: &'a H) -> Self {
        let packed = default_babybear_poseidon2_16();
        let row: Vec<H::F> = (1..=RATE as u32 + 3).map(H::F::from_u32).collect();
        let digest = plain.hash_slice(&row);
        let pair = plain.compress(digest, digest);
        let same = (|| {
            let digest: &Digest = (&digest as &dyn Any).downcast_ref()?;
            let pair: &Digest = (&pair as &dyn Any).downcast_ref()?;
            let row: Vec<Packed> = (1..=RATE as u32 + 3).map(Packed::from_u32).collect();
            let mine = hash_row(&packed, row.len(), |column| row[column]);
            (lane(&mine, 0) == *digest && lane(&compress(&packed, &mine, &mine), 0) == *pair).then_some(())
        })();
        Self {
            plain,
            packed: same.map(|()| packed),
        }
    }

    /// Hashes the rows of a block and compresses them into leaves.
    ///
    /// The block has `width` columns of `height` packed elements, one after the other; each lane is
    /// a row. Leaf `y` is of the rows at `position(y + t * height / rows)` for `t` in `0..rows`.
    /// Leaves are appended to `leaves`, those of one `y` and all lanes beside each other.
    #[allow(
        clippy::ptr_arg,
        reason = "a slice has no size, so that its type cannot be asked for"
    )]
    pub(crate) fn leaves_of_block(
        &self,
        block: &Vec<<H::F as Field>::Packing>,
        height: usize,
        rows: usize,
        position: impl Fn(usize) -> usize,
        leaves: &mut Vec<H::Digest>,
    ) {
        let width = block.len() / height;
        let packed = self.packed.as_ref().and_then(|perm| {
            let block: &Vec<Packed> = (block as &dyn Any).downcast_ref()?;
            let leaves: &mut Vec<Digest> = (leaves as &mut dyn Any).downcast_mut()?;
            Some((perm, block, leaves))
        });
        if let Some((perm, block, leaves)) = packed {
            let mut level: Vec<Half> = Vec::with_capacity(rows);
            for y in 0..height / rows {
                level.clear();
                for t in 0..rows {
                    let at = position(y + t * (height / rows));
                    level.push(hash_row(perm, width, |column| block[column * height + at]));
                }
                fold_level(&mut level, |left, right| compress(perm, left, right));
                leaves.extend((0..Packed::WIDTH).map(|i| lane(&level[0], i)));
            }
            return;
        }
        let mut row = vec![H::F::ZERO; width];
        let mut level = Vec::with_capacity(rows);
        for y in 0..height / rows {
            for lane in 0..<H::F as Field>::Packing::WIDTH {
                level.clear();
                for t in 0..rows {
                    let at = position(y + t * (height / rows));
                    for (column, value) in row.iter_mut().enumerate() {
                        *value = block[column * height + at].as_slice()[lane];
                    }
                    level.push(self.plain.hash_slice(&row));
                }
                fold_level(&mut level, |left, right| self.plain.compress(*left, *right));
                leaves.push(level[0]);
            }
        }
    }

    /// The leaves over `height` rows, each hashed by itself: leaf `y` is of the rows `y + t *
    /// height / rows`.
    pub(crate) fn leaves_of_rows(
        &self,
        height: usize,
        rows: usize,
        row: impl Fn(usize) -> Vec<H::F> + Sync,
    ) -> Vec<H::Digest> {
        (0..height / rows)
            .into_par_iter()
            .map(|y| {
                let mut level = (0..rows)
                    .map(|t| self.plain.hash_slice(&row(y + t * (height / rows))))
                    .collect();
                fold_level(&mut level, |left, right| self.plain.compress(*left, *right));
                level[0]
            })
            .collect()
    }

    /// A digest to fill places with that are written later.
    pub(crate) fn plain_digest(&self) -> H::Digest {
        self.plain.hash_slice(&[])
    }

    /// The layers of the tree over `leaves`, from these to the root.
    pub(crate) fn layers(&self, leaves: Vec<H::Digest>) -> Vec<Vec<H::Digest>> {
        let mut layers = vec![leaves];
        while layers[layers.len() - 1].len() > 1 {
            let layer = self.compress_pairs(&layers[layers.len() - 1]);
            layers.push(layer);
        }
        layers
    }

    #[allow(
        clippy::ptr_arg,
        reason = "a slice has no size, so that its type cannot be asked for"
    )]
    fn compress_pairs(&self, layer: &Vec<H::Digest>) -> Vec<H::Digest> {
        let packed = self
            .packed
            .as_ref()
            .and_then(|perm| Some((perm, (layer as &dyn Any).downcast_ref::<Vec<Digest>>()?)));
        if let Some((perm, layer)) = packed {
            let pairs = Packed::WIDTH;
            let mut compressed = vec![[BabyBear::ZERO; RATE]; layer.len() / 2];
            compressed
                .par_chunks_mut(pairs)
                .zip(layer.par_chunks(2 * pairs))
                .for_each(|(out, chunk)| {
                    let side = |odd: usize| -> Half {
                        core::array::from_fn(|d| {
                            Packed::from_fn(|i| {
                                chunk.get(2 * i + odd).map_or(BabyBear::ZERO, |digest| digest[d])
                            })
                        })
                    };
                    let digests = compress(perm, &side(0), &side(1));
                    for (i, out) in out.iter_mut().enumerate() {
                        *out = lane(&digests, i);
                    }
                });
            if let Ok(compressed) = (Box::new(compressed) as Box<dyn Any>).downcast() {
                return *compressed;
            }
        }
        layer
            .par_chunks_exact(2)
            .map(|pair| self.plain.compress(pair[0], pair[1]))
            .collect()
    }
}

/// Compresses neighbours until one is left.
fn fold_level<D: Copy>(level: &mut Vec<D>, compress: impl Fn(&D, &D) -> D) {
    while level.len() > 1 {
        for i in 0..level.len() / 2 {
            level[i] = compress(&level[2 * i], &level[2 * i + 1]);
        }
        level.truncate(level.len() / 2);
    }
}

/// The sponge of `PaddingFreeSponge` in overwrite mode.
#[inline(always)]
fn hash_row(perm: &Poseidon2BabyBear<WIDTH>, width: usize, element: impl Fn(usize) -> Packed) -> Half {
    let mut state: State = [Packed::ZERO; WIDTH];
    let mut column = 0;
    while column < width {
        let taken = RATE.min(width - column);
        for (i, slot) in state.iter_mut().enumerate().take(taken) {
            *slot = element(column + i);
        }
        perm.permute_mut(&mut state);
        column += taken;
    }
    core::array::from_fn(|i| state[i])
}

#[inline(always)]
fn compress(perm: &Poseidon2BabyBear<WIDTH>, left: &Half, right: &Half) -> Half {
    let mut state: State = core::array::from_fn(|i| if i < RATE { left[i] } else { right[i - RATE] });
    perm.permute_mut(&mut state);
    core::array::from_fn(|i| state[i])
}

#[inline(always)]
fn lane(digests: &Half, lane: usize) -> Digest {
    core::array::from_fn(|i| digests[i].as_slice()[lane])
}
