//! A layer of the tree of fraction sums.

use openvm_stark_backend::{
    p3_field::{ExtensionField, Field, PrimeCharacteristicRing},
    p3_maybe_rayon::prelude::*,
};

use crate::packed::{ExtPack, PackedField, ext_lane, index_of_lane, log_width, split_ext, width};

/// Packs that a thread sums at a time.
const CHUNK: usize = 1 << 8;

/// A layer of `2^log_len` fractions. All that are not stored are `0 / pad`.
pub(crate) struct Layer<F: Field, EF: ExtensionField<F>> {
    pub log_len: usize,
    pub nodes: Nodes<F, EF>,
    pub pad: EF,
}

pub(crate) enum Nodes<F: Field, EF: ExtensionField<F>> {
    /// All fractions, in natural order.
    Scalar { p: Vec<EF>, q: Vec<EF> },
    /// The first ones: a multiple of four packs, in the lane order of this phase.
    Packed {
        p: Vec<ExtPack<F, EF>>,
        q: Vec<ExtPack<F, EF>>,
        phase: usize,
    },
}

/// The `log2` of the shortest layer that is packed: its first sumcheck round takes two packs for
/// each of two halves.
pub(crate) const fn log_packed_min<F: Field>() -> usize {
    log_width::<F>() + 2
}

impl<F: PackedField, EF: ExtensionField<F>> Layer<F, EF> {
    /// The layer above: the sums of neighbours.
    pub(crate) fn parent(&self) -> Self {
        let log_len = self.log_len - 1;
        let pad = self.pad.square();
        let nodes = match &self.nodes {
            Nodes::Scalar { p, q } => {
                let mut sums = (Vec::new(), Vec::new());
                for (p, q) in p.chunks_exact(2).zip(q.chunks_exact(2)) {
                    sums.0.push(p[0] * q[1] + p[1] * q[0]);
                    sums.1.push(q[0] * q[1]);
                }
                Nodes::Scalar { p: sums.0, q: sums.1 }
            }
            Nodes::Packed { p, q, phase } => {
                let sums = q.len() / 2;
                let len = sums.next_multiple_of(4).min(1 << (log_len - log_width::<F>()));
                let mut above = (ExtPack::<F, EF>::zero_vec(len), denominators::<F, EF>(pad, len));
                above.0[..sums]
                    .par_chunks_mut(CHUNK)
                    .zip(above.1[..sums].par_chunks_mut(CHUNK))
                    .enumerate()
                    .for_each(|(chunk, (above_p, above_q))| {
                        for (i, (above_p, above_q)) in above_p.iter_mut().zip(above_q).enumerate() {
                            let v = 2 * (chunk * CHUNK + i);
                            (*above_p, *above_q) = sum::<F, EF>(
                                split_ext::<F, EF>(p[v], p[v + 1], *phase),
                                split_ext::<F, EF>(q[v], q[v + 1], *phase),
                            );
                        }
                    });
                let phase = phase + 1;
                if log_len < log_packed_min::<F>() {
                    Nodes::Scalar {
                        p: unpack::<F, EF>(&above.0, phase),
                        q: unpack::<F, EF>(&above.1, phase),
                    }
                } else {
                    Nodes::Packed {
                        p: above.0,
                        q: above.1,
                        phase,
                    }
                }
            }
        };
        Self { log_len, nodes, pad }
    }
}

/// This many packs of `pad`, with room behind for those that the sumcheck of a layer may have to
/// add.
pub(crate) fn denominators<F: PackedField, EF: ExtensionField<F>>(
    pad: EF,
    packs: usize,
) -> Vec<ExtPack<F, EF>> {
    let mut q = Vec::with_capacity(packs + 4);
    q.resize(packs, pad.into());
    q
}

/// The sums of the fractions in the first places and those in the second ones.
#[inline(always)]
pub(crate) fn sum<F: Field, EF: ExtensionField<F>>(
    p: (ExtPack<F, EF>, ExtPack<F, EF>),
    q: (ExtPack<F, EF>, ExtPack<F, EF>),
) -> (ExtPack<F, EF>, ExtPack<F, EF>) {
    (p.0 * q.1 + p.1 * q.0, q.0 * q.1)
}

/// The values of these packs in natural order.
pub(crate) fn unpack<F: Field, EF: ExtensionField<F>>(packs: &[ExtPack<F, EF>], phase: usize) -> Vec<EF> {
    let mut values = EF::zero_vec(packs.len() * width::<F>());
    for (pack, values) in packs.iter().zip(values.chunks_exact_mut(width::<F>())) {
        for lane in 0..width::<F>() {
            values[index_of_lane::<F>(phase, lane)] = ext_lane::<F, EF>(pack, lane);
        }
    }
    values
}
