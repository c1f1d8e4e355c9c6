//! The rows that a sumcheck of a layer adds up, and how a round's pairs of them come from a layer's
//! packs.

use openvm_stark_backend::p3_field::{ExtensionField, PrimeCharacteristicRing};

use crate::packed::{ExtPack, PackedField, split_ext};

/// `[u, q0, p1, q1]` of one `y` or of a pack of them.
pub(super) type Row<T> = [T; ROW];
pub(crate) const ROW: usize = 4;

/// The half with a zero in the round's variable, and the half with a one.
pub(super) type Pair<T> = (T, T);

/// The sums of a round: at zero, at one if it is wanted, and the coefficient of the square.
pub(crate) type Sums<T> = [T; 3];

#[inline(always)]
pub(super) fn term<T: PrimeCharacteristicRing + Copy>([u, q0, p1, q1]: Row<T>) -> T {
    u * q1 + p1 * q0
}

#[inline(always)]
pub(super) fn add_term<T, S>(sums: &mut Sums<T>, even: Row<T>, odd: Row<T>, eq: S, at_one: bool)
where
    S: Copy,
    T: PrimeCharacteristicRing + Copy + std::ops::Mul<S, Output = T>,
{
    sums[0] += term(even) * eq;
    if at_one {
        sums[1] += term(odd) * eq;
    }
    sums[2] += term(std::array::from_fn(|i| odd[i] - even[i])) * eq;
}

pub(crate) fn add<T: PrimeCharacteristicRing + Copy>(a: Sums<T>, b: Sums<T>) -> Sums<T> {
    std::array::from_fn(|i| a[i] + b[i])
}

/// Rows with the round's variable bound to `r`.
#[inline(always)]
pub(super) fn bind<F: PackedField, EF: ExtensionField<F>>(
    (even, odd): Pair<Row<ExtPack<F, EF>>>,
    r: EF,
) -> Row<ExtPack<F, EF>> {
    std::array::from_fn(|c| even[c] + (odd[c] - even[c]) * r)
}

/// The rows of a layer's first four packs with a zero in the first variable, and those with a one.
#[inline(always)]
pub(super) fn layer_pair<F: PackedField, EF: ExtensionField<F>>(
    p: &[ExtPack<F, EF>],
    q: &[ExtPack<F, EF>],
    lambda: EF,
    phase: usize,
) -> Pair<Row<ExtPack<F, EF>>> {
    let (p0, p1) = quad::<F, EF>(|v| p[v], phase);
    let (q0, q1) = quad::<F, EF>(|v| q[v], phase);
    (
        [p0.0 + q0.0 * lambda, q0.0, p1.0, q1.0],
        [p0.1 + q0.1 * lambda, q0.1, p1.1, q1.1],
    )
}

/// The values of the first two rows with a zero in the round's variable, and those with a one.
#[inline(always)]
pub(super) fn packed_pair<F: PackedField, EF: ExtensionField<F>>(
    rows: &[ExtPack<F, EF>],
    phase: usize,
) -> Pair<Row<ExtPack<F, EF>>> {
    let pairs: Row<_> = std::array::from_fn(|c| split_ext::<F, EF>(rows[c], rows[ROW + c], phase));
    (pairs.map(|pair| pair.0), pairs.map(|pair| pair.1))
}

/// The first of two neighbours in four packs, with a zero and a one in the round's variable; and
/// the second ones.
#[inline(always)]
fn quad<F: PackedField, EF: ExtensionField<F>>(
    get: impl Fn(usize) -> ExtPack<F, EF>,
    phase: usize,
) -> Pair<Pair<ExtPack<F, EF>>> {
    let (first0, second0) = split_ext::<F, EF>(get(0), get(1), phase);
    let (first1, second1) = split_ext::<F, EF>(get(2), get(3), phase);
    (
        split_ext::<F, EF>(first0, first1, phase + 1),
        split_ext::<F, EF>(second0, second1, phase + 1),
    )
}
