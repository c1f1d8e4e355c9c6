//! The first round of the batch sumcheck, in the univariate coordinate.
//!
//! A column is a polynomial of degree below `2^l_skip` over each block of `2^l_skip` rows. The sums
//! over the blocks are polynomials too, and the degree of the constraints raises their degree. They
//! are found from their values on as many cosets as that takes. As many blocks as there are lanes
//! are computed at once, so that transforms and constraints are the same instructions for each.

use openvm_stark_backend::{
    p3_field::{ExtensionField, Field, PrimeCharacteristicRing, TwoAdicField},
    p3_maybe_rayon::prelude::*,
};

use super::{
    air::{Air, CONSTRAINTS, Sums, TARGETS, Weights},
    trace::reverse_bits,
};
use crate::{
    gkr::{SplitEq, small_eq},
    packed::{ExtPack, Pack, PackedField, ext_sum, log_width},
};

/// `log2` of the units that a thread computes at a time.
pub(crate) const LOG_UNITS: usize = 3;

/// The sums, without their factor in the univariate coordinate, at each point: first by the place
/// in its coset, then by coset.
pub(crate) fn sums<F, EF>(
    air: &Air<'_, F>,
    weights: &Weights<EF>,
    l_skip: usize,
    point: &[EF],
) -> Vec<Sums<EF>>
where
    F: PackedField + TwoAdicField,
    EF: ExtensionField<F>,
{
    let cosets = if air.has_interactions() {
        air.degree
    } else {
        air.degree.saturating_sub(1)
    };
    let places = 1usize << l_skip;
    let transform = Transform::<F>::new(l_skip, cosets);
    let units = air.trace.units();
    let eq = unit_eq::<F, EF>(point, l_skip);
    let zero = || vec![[ExtPack::<F, EF>::ZERO; TARGETS]; places * cosets];
    let sums = (0..units.div_ceil(eq.block()))
        .into_par_iter()
        .map_init(
            || Scratch::<F>::new(air, places),
            |scratch, block| {
                let mut sums = zero();
                let start = block * eq.block();
                for (unit, &factor) in (start..units).zip(&eq.low) {
                    scratch.load(air, unit, &transform);
                    for coset in 0..cosets {
                        let with_constraints = coset + 1 < air.degree;
                        scratch.eval(air, weights, &transform, coset, with_constraints, |place, at| {
                            let sums = &mut sums[reverse_bits(place, l_skip) * cosets + coset];
                            for (sum, value) in sums.iter_mut().zip(at) {
                                *sum += value * factor;
                            }
                        });
                    }
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
    sums.into_iter()
        .enumerate()
        .map(|(index, sums)| {
            let coset = index % cosets;
            let constant = if coset + 1 < air.degree {
                weights.all_constant
            } else {
                weights.interactions_constant
            };
            std::array::from_fn(|target| {
                let sum = ext_sum::<F, EF>(&(sums[target] * eq.lanes)) + constant[target];
                if target == CONSTRAINTS {
                    sum * transform.zerofier_inverses[coset]
                } else {
                    sum
                }
            })
        })
        .collect()
}

/// `eq` for units of blocks: their lanes are in the order of phase `l_skip`.
pub(crate) fn unit_eq<F: PackedField, EF: ExtensionField<F>>(point: &[EF], l_skip: usize) -> SplitEq<F, EF> {
    if point.len() >= log_width::<F>() {
        SplitEq::with_block(point, l_skip, LOG_UNITS)
    } else {
        small_eq::<F, EF>(point, l_skip)
    }
}

/// Transforms of `2^l_skip` packs, from the values on the subgroup to those on cosets of it.
///
/// Values are in bit-reversed order, coefficients in natural order.
struct Transform<F> {
    /// Roots of unity of order `2^l_skip`.
    roots: Vec<F>,
    inverse_roots: Vec<F>,
    /// For each coset, the powers of its shift, over the size.
    twists: Vec<Vec<F>>,
    /// For each coset, the inverse of the polynomial that vanishes on the subgroup.
    zerofier_inverses: Vec<F>,
}

impl<F: PackedField + TwoAdicField> Transform<F> {
    fn new(l_skip: usize, cosets: usize) -> Self {
        let size = 1usize << l_skip;
        let root = F::two_adic_generator(l_skip);
        let size_inverse = F::from_usize(size).inverse();
        let shifts: Vec<F> = F::GENERATOR.powers().skip(1).take(cosets).collect();
        Self {
            roots: root.powers().take(size).collect(),
            inverse_roots: root.inverse().powers().take(size).collect(),
            twists: shifts
                .iter()
                .map(|shift| shift.shifted_powers(size_inverse).take(size).collect())
                .collect(),
            zerofier_inverses: shifts
                .iter()
                .map(|shift| (shift.exp_power_of_2(l_skip) - F::ONE).inverse())
                .collect(),
        }
    }

    /// Transforms values to coefficients, times the size.
    fn to_coefficients(&self, packs: &mut [Pack<F>]) {
        let size = packs.len();
        let mut half = 1;
        while half < size {
            for chunk in packs.chunks_exact_mut(2 * half) {
                let (low, high) = chunk.split_at_mut(half);
                for (j, (a, b)) in low.iter_mut().zip(high).enumerate() {
                    let t = if j == 0 {
                        *b
                    } else {
                        *b * self.inverse_roots[j * (size / (2 * half))]
                    };
                    (*a, *b) = (*a + t, *a - t);
                }
            }
            half *= 2;
        }
    }

    /// Transforms coefficients to values.
    fn to_values(&self, packs: &mut [Pack<F>]) {
        let size = packs.len();
        let mut half = size / 2;
        while half > 0 {
            for chunk in packs.chunks_exact_mut(2 * half) {
                let (low, high) = chunk.split_at_mut(half);
                for (j, (a, b)) in low.iter_mut().zip(high).enumerate() {
                    let difference = *a - *b;
                    *a += *b;
                    *b = if j == 0 {
                        difference
                    } else {
                        difference * self.roots[j * (size / (2 * half))]
                    };
                }
            }
            half /= 2;
        }
    }
}

/// The working memory of a thread.
struct Scratch<F: Field> {
    places: usize,
    /// Coefficients of each input.
    coefficients: Vec<Pack<F>>,
    /// The inputs at each place of a coset.
    points: Vec<Pack<F>>,
    registers: Vec<Pack<F>>,
    /// The input of each sink. It stays zero where that is a constant, which is added apart.
    sinks: Vec<Pack<F>>,
}

impl<F: PackedField + TwoAdicField> Scratch<F> {
    fn new(air: &Air<'_, F>, places: usize) -> Self {
        let zero = Pack::<F>::ZERO;
        Self {
            places,
            coefficients: vec![zero; air.inputs.len() * places],
            points: vec![zero; air.inputs.len() * places],
            registers: vec![zero; air.all.registers().max(air.interactions.registers())],
            sinks: vec![zero; air.sinks()],
        }
    }

    fn load(&mut self, air: &Air<'_, F>, unit: usize, transform: &Transform<F>) {
        for (&input, packs) in air
            .inputs
            .iter()
            .zip(self.coefficients.chunks_exact_mut(self.places))
        {
            air.trace.load(input, unit, packs);
            transform.to_coefficients(packs);
        }
    }

    fn eval<EF: ExtensionField<F>>(
        &mut self,
        air: &Air<'_, F>,
        weights: &Weights<EF>,
        transform: &Transform<F>,
        coset: usize,
        with_constraints: bool,
        mut result: impl FnMut(usize, Sums<ExtPack<F, EF>>),
    ) {
        let program = if with_constraints {
            &air.all
        } else {
            &air.interactions
        };
        let inputs = air.inputs.len();
        let twists = &transform.twists[coset];
        // The values of one input on the coset.
        let mut values = vec![Pack::<F>::ZERO; self.places];
        for (input, coefficients) in self.coefficients.chunks_exact(self.places).enumerate() {
            if !program.reads[input] {
                continue;
            }
            for ((value, &coefficient), &twist) in values.iter_mut().zip(coefficients).zip(twists) {
                *value = coefficient * twist;
            }
            transform.to_values(&mut values);
            for (place, &value) in values.iter().enumerate() {
                self.points[place * inputs + input] = value;
            }
        }
        for place in 0..self.places {
            self.registers[..inputs].copy_from_slice(&self.points[place * inputs..][..inputs]);
            program.run(&mut self.registers, |sink, value| self.sinks[sink] = value);
            result(place, weights.sums::<F>(&self.sinks, with_constraints));
        }
    }
}
