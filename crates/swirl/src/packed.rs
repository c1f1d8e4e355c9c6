//! Fields in packs of as many lanes as the build's vectors have.

use openvm_stark_backend::{
    StarkProtocolConfig,
    p3_field::{
        BasedVectorSpace, ExtensionField, Field, PackedFieldPow2, PackedValue, PrimeCharacteristicRing,
    },
};

/// A configuration whose base field can be packed so that lanes can be exchanged between two packs.
///
/// All of Plonky3's fields can.
pub trait PackedConfig: StarkProtocolConfig<F: PackedField> {}

impl<SC: StarkProtocolConfig<F: PackedField>> PackedConfig for SC {}

/// A base field whose packs can exchange lanes.
pub trait PackedField: Field<Packing: PackedFieldPow2> {}

impl<F: Field<Packing: PackedFieldPow2>> PackedField for F {}

/// A pack of base field elements.
pub(crate) type Pack<F> = <F as Field>::Packing;
/// A pack of extension field elements.
pub(crate) type ExtPack<F, EF> = <EF as ExtensionField<F>>::ExtensionPacking;

/// Lanes of a pack, a power of two.
pub(crate) const fn width<F: Field>() -> usize {
    <Pack<F> as PackedValue>::WIDTH
}

/// The number of bits of a lane's number.
pub(crate) const fn log_width<F: Field>() -> usize {
    width::<F>().trailing_zeros() as usize
}

/// The lane bit that is exchanged in this phase.
///
/// Vectors start in natural order: lane bits are the low bits of an index. [`split`] takes the
/// lowest bit out, and puts in its place the lowest bit of the vector's number. So the next bit to
/// take out is in the next lane bit, and after as many splits as there are lane bits the order is
/// natural again.
const fn block<F: Field>(phase: usize) -> usize {
    if width::<F>() == 1 {
        1
    } else {
        1 << (phase % log_width::<F>())
    }
}

/// The lane bit that holds index bit `bit` in this phase.
pub(crate) const fn lane_bit<F: Field>(phase: usize, bit: usize) -> usize {
    (phase + bit) % log_width::<F>()
}

/// The index, among as many as there are lanes, that is in this lane in this phase.
pub(crate) fn index_of_lane<F: Field>(phase: usize, lane: usize) -> usize {
    (0..log_width::<F>()).fold(0, |index, bit| {
        index | (((lane >> lane_bit::<F>(phase, bit)) & 1) << bit)
    })
}

/// The values of two neighbouring vectors whose index has a zero in its lowest bit, and those that
/// have a one.
#[inline(always)]
pub(crate) fn split<F: PackedField>(a: Pack<F>, b: Pack<F>, phase: usize) -> (Pack<F>, Pack<F>) {
    a.interleave(b, block::<F>(phase))
}

/// [`split`] for extension elements.
#[inline(always)]
pub(crate) fn split_ext<F: PackedField, EF: ExtensionField<F>>(
    a: ExtPack<F, EF>,
    b: ExtPack<F, EF>,
    phase: usize,
) -> (ExtPack<F, EF>, ExtPack<F, EF>) {
    let block = block::<F>(phase);
    let (a, b) = (a.as_basis_coefficients_slice(), b.as_basis_coefficients_slice());
    let even = ExtPack::<F, EF>::from_basis_coefficients_fn(|i| a[i].interleave(b[i], block).0);
    let odd = ExtPack::<F, EF>::from_basis_coefficients_fn(|i| a[i].interleave(b[i], block).1);
    (even, odd)
}

/// Lane `i` of pack `j` becomes lane `j` of pack `i`: as many packs as there are lanes.
#[inline(always)]
pub(crate) fn transpose<F: PackedField>(packs: &mut [Pack<F>]) {
    debug_assert_eq!(packs.len(), width::<F>());
    let mut block = 1;
    while block < width::<F>() {
        for low in (0..width::<F>()).filter(|low| low & block == 0) {
            (packs[low], packs[low + block]) = packs[low].interleave(packs[low + block], block);
        }
        block *= 2;
    }
}

/// `sum_i factors[i] * values[i]`. The products of up to four are reduced together.
#[inline(always)]
pub(crate) fn dot<F: Field, EF: ExtensionField<F>>(factors: &[EF], values: &[Pack<F>]) -> ExtPack<F, EF> {
    debug_assert_eq!(factors.len(), values.len());
    let (fours, rest) = values.as_chunks::<4>();
    let (factors, of_rest) = factors.as_chunks::<4>();
    let sum_of_rest = match (of_rest, rest) {
        (&[a], &[x]) => Some(dot_of::<F, EF, 1>(&[a], &[x])),
        (&[a, b], &[x, y]) => Some(dot_of::<F, EF, 2>(&[a, b], &[x, y])),
        (&[a, b, c], &[x, y, z]) => Some(dot_of::<F, EF, 3>(&[a, b, c], &[x, y, z])),
        _ => None,
    };
    let sums = factors.iter().zip(fours);
    let mut sums = sums.map(|(factors, values)| dot_of::<F, EF, 4>(factors, values));
    let Some(first) = sum_of_rest.or_else(|| sums.next()) else {
        return ExtPack::<F, EF>::ZERO;
    };
    sums.fold(first, |sum, next| sum + next)
}

#[inline(always)]
fn dot_of<F: Field, EF: ExtensionField<F>, const N: usize>(
    factors: &[EF; N],
    values: &[Pack<F>; N],
) -> ExtPack<F, EF> {
    ExtPack::<F, EF>::from_basis_coefficients_fn(|d| {
        let factors = factors.map(|factor| Pack::<F>::from(factor.as_basis_coefficients_slice()[d]));
        Pack::<F>::dot_product(&factors, values)
    })
}

/// A pack of the values that `f` gives for the lanes.
pub(crate) fn ext_from_fn<F: Field, EF: ExtensionField<F>>(f: impl Fn(usize) -> EF) -> ExtPack<F, EF> {
    let values: Vec<EF> = (0..width::<F>()).map(f).collect();
    ExtPack::<F, EF>::from_basis_coefficients_fn(|i| {
        Pack::<F>::from_fn(|lane| values[lane].as_basis_coefficients_slice()[i])
    })
}

/// The value in a lane.
pub(crate) fn ext_lane<F: Field, EF: ExtensionField<F>>(pack: &ExtPack<F, EF>, lane: usize) -> EF {
    EF::from_basis_coefficients_fn(|i| pack.as_basis_coefficients_slice()[i].as_slice()[lane])
}

/// The sum over the lanes.
pub(crate) fn ext_sum<F: Field, EF: ExtensionField<F>>(pack: &ExtPack<F, EF>) -> EF {
    EF::from_basis_coefficients_fn(|i| {
        pack.as_basis_coefficients_slice()[i]
            .as_slice()
            .iter()
            .copied()
            .sum()
    })
}

/// Sizes in bytes of the elements of a proof.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// An element of the base field.
    pub f: usize,
    /// An element of the extension field.
    pub ef: usize,
    pub pack: usize,
    pub ext_pack: usize,
    pub digest: usize,
    pub log_lanes: usize,
}

impl Sizes {
    pub(crate) fn of<SC>() -> Self
    where
        SC: PackedConfig,
        SC::EF: ExtensionField<SC::F>,
    {
        Self {
            f: size_of::<SC::F>(),
            ef: size_of::<SC::EF>(),
            pack: size_of::<Pack<SC::F>>(),
            ext_pack: size_of::<ExtPack<SC::F, SC::EF>>(),
            digest: size_of::<SC::Digest>(),
            log_lanes: log_width::<SC::F>(),
        }
    }

    pub(crate) fn lanes(&self) -> usize {
        1 << self.log_lanes
    }
}
