//! The rounds of the batch sumcheck after the first one, over folded columns.

use openvm_stark_backend::{
    p3_field::{ExtensionField, PrimeCharacteristicRing, TwoAdicField, batch_multiplicative_inverse},
    p3_maybe_rayon::prelude::*,
};

use super::{
    air::{Air, Sums, TARGETS, Weights},
    program::Input,
    trace::reverse_bits,
};
use crate::{
    gkr::{SplitEq, small_eq, unpack},
    packed::{ExtPack, Pack, PackedField, dot, ext_from_fn, ext_lane, ext_sum, log_width, split_ext},
};

/// The columns that constraints and interactions read, folded.
pub(crate) struct Folded<F: PackedField, EF: ExtensionField<F>> {
    columns: Columns<F, EF>,
    /// The variables that are left.
    variables: usize,
}

enum Columns<F: PackedField, EF: ExtensionField<F>> {
    Packed {
        columns: Vec<Vec<ExtPack<F, EF>>>,
        phase: usize,
    },
    /// No more values than there are lanes.
    Scalar(Vec<Vec<EF>>),
}

/// The factors of the places of a block, in bit-reversed order, that make its value at `r`
/// (barycentric interpolation).
pub(crate) fn place_factors<F, EF>(l_skip: usize, r: EF) -> Vec<EF>
where
    F: TwoAdicField,
    EF: ExtensionField<F>,
{
    let size = 1usize << l_skip;
    let roots: Vec<F> = F::two_adic_generator(l_skip).powers().take(size).collect();
    let differences: Vec<EF> = roots.iter().map(|&root| r - root).collect();
    let inverses = batch_multiplicative_inverse(&differences);
    let scale = (r.exp_power_of_2(l_skip) - EF::ONE) * F::from_usize(size).inverse();
    (0..size)
        .map(|place| {
            let place = reverse_bits(place, l_skip);
            inverses[place] * roots[place] * scale
        })
        .collect()
}

/// The value of a unit's blocks at the point of these factors.
#[inline]
fn fold_unit<F: PackedField, EF: ExtensionField<F>>(
    air: &Air<'_, F>,
    input: Input,
    unit: usize,
    factors: &[EF],
    packs: &mut [Pack<F>],
) -> ExtPack<F, EF> {
    air.trace.load(input, unit, packs);
    dot::<F, EF>(factors, packs)
}

impl<F, EF> Folded<F, EF>
where
    F: PackedField + TwoAdicField,
    EF: ExtensionField<F>,
{
    /// The columns at `r` in the univariate coordinate.
    pub(crate) fn new(air: &Air<'_, F>, l_skip: usize, factors: &[EF]) -> Self {
        let variables = air.trace.log_blocks();
        let columns: Vec<Vec<ExtPack<F, EF>>> = air
            .inputs
            .par_iter()
            .map(|&input| {
                let mut packs = vec![Pack::<F>::ZERO; 1 << l_skip];
                (0..air.trace.units())
                    .map(|unit| fold_unit::<F, EF>(air, input, unit, factors, &mut packs))
                    .collect()
            })
            .collect();
        let mut folded = Self {
            columns: Columns::Packed {
                columns,
                phase: l_skip,
            },
            variables,
        };
        folded.unpack_short();
        folded
    }

    /// Once no more values are left than there are lanes, they are no longer packed.
    fn unpack_short(&mut self) {
        if self.variables > log_width::<F>() {
            return;
        }
        if let Columns::Packed { columns, phase } = &self.columns {
            self.columns = Columns::Scalar(
                columns
                    .iter()
                    .map(|column| {
                        let mut values = unpack::<F, EF>(column, *phase);
                        values.truncate(1 << self.variables);
                        values
                    })
                    .collect(),
            );
        }
    }

    /// Binds the lowest variable to `r`, if one is left.
    pub(crate) fn bind(&mut self, r: EF) {
        if self.variables == 0 {
            return;
        }
        self.variables -= 1;
        match &mut self.columns {
            Columns::Packed { columns, phase } => {
                columns.par_iter_mut().for_each(|column| {
                    for i in 0..column.len() / 2 {
                        let (even, odd) = split_ext::<F, EF>(column[2 * i], column[2 * i + 1], *phase);
                        column[i] = even + (odd - even) * r;
                    }
                    column.truncate(column.len() / 2);
                    column.shrink_to_fit();
                });
                *phase += 1;
            }
            Columns::Scalar(columns) => {
                for column in columns {
                    for i in 0..column.len() / 2 {
                        column[i] = column[2 * i] + r * (column[2 * i + 1] - column[2 * i]);
                    }
                    column.truncate(column.len() / 2);
                }
            }
        }
        self.unpack_short();
    }

    /// The sums at `1, ..., points` in the lowest variable; `point` is that of `eq` in those above
    /// it.
    pub(crate) fn sums(
        &self,
        air: &Air<'_, F>,
        weights: &Weights<EF>,
        points: usize,
        point: &[EF],
    ) -> Vec<Sums<EF>> {
        debug_assert_eq!(point.len() + 1, self.variables);
        let zero = || vec![[ExtPack::<F, EF>::ZERO; TARGETS]; points];
        let with_constants = |sums: Vec<Sums<ExtPack<F, EF>>>, lanes: ExtPack<F, EF>| -> Vec<Sums<EF>> {
            sums.into_iter()
                .map(|sums| {
                    std::array::from_fn(|t| ext_sum::<F, EF>(&(sums[t] * lanes)) + weights.all_constant[t])
                })
                .collect()
        };
        match &self.columns {
            Columns::Packed { columns, phase } => {
                let pairs = columns.first().map_or(0, |column| column.len() / 2);
                let eq = SplitEq::<F, EF>::with_block(point, phase + 1, LOG_PAIRS);
                let sums = (0..pairs.div_ceil(eq.block()))
                    .into_par_iter()
                    .map_init(
                        || Scratch::<F, EF>::new(air),
                        |scratch, block| {
                            let mut sums = zero();
                            let start = block * eq.block();
                            for (pair, &factor) in (start..pairs).zip(&eq.low) {
                                scratch.load(columns.iter().map(|column| {
                                    split_ext::<F, EF>(column[2 * pair], column[2 * pair + 1], *phase)
                                }));
                                scratch.eval(air, weights, &mut sums, |sum| sum * factor);
                            }
                            for sum in sums.iter_mut().flatten() {
                                *sum *= eq.high[block];
                            }
                            sums
                        },
                    )
                    .reduce(zero, |mut a, b| {
                        for (a, b) in a.iter_mut().flatten().zip(b.into_iter().flatten()) {
                            *a += b;
                        }
                        a
                    });
                with_constants(sums, eq.lanes)
            }
            Columns::Scalar(columns) => {
                let eq = small_eq::<F, EF>(point, 0);
                let mut scratch = Scratch::<F, EF>::new(air);
                let mut sums = zero();
                scratch.load(columns.iter().map(|column| {
                    let half = |odd: usize| {
                        ext_from_fn::<F, EF>(|lane| {
                            // Lanes past the last value have the factor zero.
                            column.get(2 * lane + odd).copied().unwrap_or(EF::ZERO)
                        })
                    };
                    (half(0), half(1))
                }));
                scratch.eval(air, weights, &mut sums, |sum| sum);
                with_constants(sums, eq.lanes)
            }
        }
    }

    /// The constraints and interactions at the point to which all variables are bound.
    pub(crate) fn at_point(&self, air: &Air<'_, F>, weights: &Weights<EF>) -> Sums<EF> {
        let mut scratch = Scratch::<F, EF>::new(air);
        let mut sums = [[ExtPack::<F, EF>::ZERO; TARGETS]];
        let value = |index: usize| ExtPack::<F, EF>::from(self.claim(index));
        scratch.load((0..air.inputs.len()).map(|index| (value(index), value(index))));
        scratch.eval(air, weights, &mut sums, |sum| sum);
        std::array::from_fn(|t| ext_lane::<F, EF>(&sums[0][t], 0) + weights.all_constant[t])
    }

    /// The value of the input of this number at the point to which all variables are bound.
    pub(crate) fn claim(&self, index: usize) -> EF {
        match &self.columns {
            Columns::Scalar(columns) => columns[index][0],
            Columns::Packed { .. } => unreachable!("the last values are scalars"),
        }
    }
}

/// `log2` of the pairs of packs that a thread computes at a time.
pub(crate) const LOG_PAIRS: usize = 3;

/// The working memory of a thread.
struct Scratch<F: PackedField, EF: ExtensionField<F>> {
    /// Each input at the next point, and its growth from point to point.
    values: Vec<(ExtPack<F, EF>, ExtPack<F, EF>)>,
    registers: Vec<ExtPack<F, EF>>,
}

impl<F: PackedField, EF: ExtensionField<F>> Scratch<F, EF> {
    fn new(air: &Air<'_, F>) -> Self {
        Self {
            values: Vec::with_capacity(air.inputs.len()),
            registers: vec![ExtPack::<F, EF>::ZERO; air.all.registers()],
        }
    }

    /// Takes the values at zero and one.
    #[inline]
    fn load(&mut self, pairs: impl Iterator<Item = (ExtPack<F, EF>, ExtPack<F, EF>)>) {
        self.values.clear();
        self.values.extend(pairs.map(|(zero, one)| (one, one - zero)));
    }

    /// Adds the values at one and the points after it, each changed by `scale`.
    #[inline]
    fn eval(
        &mut self,
        air: &Air<'_, F>,
        weights: &Weights<EF>,
        sums: &mut [Sums<ExtPack<F, EF>>],
        scale: impl Fn(ExtPack<F, EF>) -> ExtPack<F, EF>,
    ) {
        for total in sums {
            for (register, (value, step)) in self.registers.iter_mut().zip(&mut self.values) {
                *register = *value;
                *value += *step;
            }
            let mut at = [ExtPack::<F, EF>::ZERO; TARGETS];
            air.all.run(&mut self.registers, |sink, value| {
                weights.add_ext::<F>(&mut at, sink, value);
            });
            for (total, at) in total.iter_mut().zip(at) {
                *total += scale(at);
            }
        }
    }
}

/// The value of a column, or of the column a row further, at a point: `factors` are those of the
/// univariate coordinate.
pub(crate) fn open<F, EF>(
    air: &Air<'_, F>,
    input: Input,
    l_skip: usize,
    factors: &[EF],
    eq: &SplitEq<F, EF>,
) -> EF
where
    F: PackedField,
    EF: ExtensionField<F>,
{
    let units = air.trace.units();
    let mut packs = vec![Pack::<F>::ZERO; 1 << l_skip];
    let mut total = ExtPack::<F, EF>::ZERO;
    for block in 0..units.div_ceil(eq.block()) {
        let start = block * eq.block();
        let mut sum = ExtPack::<F, EF>::ZERO;
        for (unit, &factor) in (start..units).zip(&eq.low) {
            sum += fold_unit::<F, EF>(air, input, unit, factors, &mut packs) * factor;
        }
        total += sum * eq.high[block];
    }
    ext_sum::<F, EF>(&(total * eq.lanes))
}
