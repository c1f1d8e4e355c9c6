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

pub(crate) fn add<T: PrimeCharacteristicRing + Copy, const N: usize>(a: [T; N], b: [T; N]) -> [T; N] {
    std::array::from_fn(|i| a[i] + b[i])
}

/// The sums of two rounds at once. Each has the factor of the rest of `eq`, without those of the
/// two variables; `[a][b]` is at the first one's value `a` and the second one's value `b`.
///
/// The term is of degree two in each variable. The coefficient of the square stands for the value
/// at infinity.
#[derive(Clone, Copy)]
pub(crate) struct Grid<T> {
    zero: Row3<T>,
    infinity: Row3<T>,
    /// The sums at one in the first variable. Its value at one in the second follows from the
    /// claim.
    one: [T; 2],
}

/// The values at zero, one and infinity.
type Row3<T> = [T; 3];

/// The number of a grid's sums.
pub(crate) const GRID: usize = 8;

impl<T: PrimeCharacteristicRing + Copy> Grid<T> {
    pub(super) fn new([a, b, c, d, e, f, g, h]: [T; GRID]) -> Self {
        Self {
            zero: [a, b, c],
            infinity: [d, e, f],
            one: [g, h],
        }
    }

    /// Adds the value that all rows have which are not stored.
    pub(super) fn add_constant(&mut self, value: T) {
        self.zero[0] += value;
        self.zero[1] += value;
        self.one[0] += value;
    }

    /// The sums of the first round, where the second variable's coordinate is `x`; not the one at
    /// one.
    pub(super) fn first(&self, x: T) -> Sums<T> {
        let at = |row: Row3<T>| row[0] + x * (row[1] - row[0]);
        [at(self.zero), T::ZERO, at(self.infinity)]
    }

    /// The sums of the second round, where the first variable is bound to `r`; not the one at one.
    pub(super) fn second(&self, r: T) -> Sums<T> {
        let at = |zero: T, one: T, infinity: T| zero + r * (one - zero - infinity) + r.square() * infinity;
        [
            at(self.zero[0], self.one[0], self.infinity[0]),
            T::ZERO,
            at(self.zero[2], self.one[1], self.infinity[2]),
        ]
    }
}

/// Adds the terms of four rows to the sums of a grid: `rows[a][b]` has the first variable's value
/// `a` and the second one's value `b`.
#[inline(always)]
pub(super) fn add_grid<T, S>(sums: &mut [T; GRID], rows: [[Row<T>; 2]; 2], eq: S)
where
    S: Copy,
    T: PrimeCharacteristicRing + Copy + std::ops::Mul<S, Output = T>,
{
    let less = |a: Row<T>, b: Row<T>| -> Row<T> { std::array::from_fn(|i| a[i] - b[i]) };
    let [[r00, r01], [r10, r11]] = rows;
    let (i0, i1) = (less(r10, r00), less(r11, r01));
    let terms = [
        r00,
        r01,
        less(r01, r00),
        i0,
        i1,
        less(i1, i0),
        r10,
        less(r11, r10),
    ];
    for (sum, row) in sums.iter_mut().zip(terms) {
        *sum += term(row) * eq;
    }
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
