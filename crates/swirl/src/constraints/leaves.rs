//! The input layer of the fraction sums: a fraction for each interaction of each row.

use std::ops::Range;

use openvm_stark_backend::{
    p3_field::{ExtensionField, PackedValue, PrimeCharacteristicRing},
    p3_maybe_rayon::prelude::*,
};

use super::{
    air::{Air, bus_term},
    program::{Context, Program},
};
use crate::{
    gkr::{Added, GRID, Leaves, Sink, add},
    packed::{ExtPack, Pack, PackedField, dot, ext_from_fn, ext_lane, width},
};

/// Groups of packs of rows that a thread computes at a time.
pub(crate) const GROUPS: usize = 8;

/// Interactions of an AIR, each by itself.
pub(crate) struct Fractions<F: PackedField, EF> {
    program: Program<F>,
    interactions: Vec<Interaction<F, EF>>,
    /// For each place among a row's values, the power of beta that its field of a message is
    /// multiplied with; zero for counts.
    factors: Vec<EF>,
    norm: F,
}

/// One interaction: where its parts that depend on the row are among the row's values, and the sum
/// of those that do not.
struct Interaction<F, EF> {
    count: Count<F>,
    fields: Range<usize>,
    /// The denominator without those fields.
    constant: EF,
}

enum Count<F> {
    Constant(F),
    Value(usize),
}

impl<F: PackedField, EF: ExtensionField<F>> Fractions<F, EF> {
    pub(crate) fn new(
        air: &Air<'_, F>,
        context: &Context<'_, F>,
        l_skip: usize,
        alpha: EF,
        beta: &[EF],
    ) -> Self {
        let of = &air.dag.interactions;
        let sinks = of
            .iter()
            .flat_map(|i| [i.count].into_iter().chain(i.message.iter().copied()));
        let sinks: Vec<usize> = sinks.collect();
        let mut program = Program::compile(&air.dag.constraints.nodes, context, &sinks, &air.inputs);
        let mut constants: Vec<Option<F>> = vec![None; sinks.len()];
        for (sink, value) in program.constant_sinks.drain(..) {
            constants[sink] = Some(value);
        }
        let mut factors = Vec::with_capacity(sinks.len());
        let mut places: Vec<usize> = Vec::with_capacity(sinks.len());
        let mut interactions = Vec::with_capacity(of.len());
        let mut constants = constants.into_iter();
        // The place of the next value, or the constant that stands for it.
        let mut place = |factors: &mut Vec<EF>, factor: EF| {
            places.push(factors.len());
            let constant = constants.next().expect("each sink has its place");
            if constant.is_none() {
                factors.push(factor);
            }
            constant
        };
        for interaction in of {
            let at = factors.len();
            let count = place(&mut factors, EF::ZERO).map_or(Count::Value(at), Count::Constant);
            let first = factors.len();
            let len = interaction.message.len();
            let mut constant = alpha + bus_term::<F, EF>(beta, len, interaction.bus_index);
            for &beta in &beta[..len] {
                if let Some(value) = place(&mut factors, beta) {
                    constant += beta * value;
                }
            }
            interactions.push(Interaction {
                count,
                fields: first..factors.len(),
                constant,
            });
        }
        program.renumber_sinks(&places);
        Self {
            program,
            interactions,
            factors,
            norm: F::from_usize(1 << air.log_repeated(l_skip)).inverse(),
        }
    }

    /// The fractions of as many rows as there are lanes, to `out`; `scratch` is that of
    /// [`Self::scratch`].
    fn eval(
        &self,
        air: &Air<'_, F>,
        row: usize,
        scratch: &mut [Pack<F>],
        out: &mut [(Pack<F>, ExtPack<F, EF>)],
    ) {
        let (registers, values) = scratch.split_at_mut(self.program.registers());
        for ((register, &input), &read) in registers.iter_mut().zip(&air.inputs).zip(&self.program.reads) {
            if read {
                *register = air.trace.rows(input, row);
            }
        }
        self.program.run(registers, |sink, value| values[sink] = value);
        for (fraction, interaction) in out.iter_mut().zip(&self.interactions) {
            fraction.0 = match interaction.count {
                Count::Constant(count) => count.into(),
                Count::Value(at) => values[at],
            };
            let fields = interaction.fields.clone();
            fraction.1 = dot::<F, EF>(&self.factors[fields.clone()], &values[fields]) + interaction.constant;
        }
    }

    /// Packs that a thread works on: the program's registers, and the values that it gives.
    pub(crate) fn scratch_packs(&self) -> usize {
        self.program.registers() + self.factors.len()
    }

    /// Bytes of the fractions' program and its tables.
    pub(crate) fn bytes(&self) -> usize {
        self.program.bytes()
            + self.interactions.capacity() * size_of::<Interaction<F, EF>>()
            + self.factors.capacity() * size_of::<EF>()
    }

    fn scratch(&self) -> Vec<Pack<F>> {
        vec![Pack::<F>::ZERO; self.scratch_packs()]
    }

    fn row(&self) -> Vec<(Pack<F>, ExtPack<F, EF>)> {
        vec![(Pack::<F>::ZERO, ExtPack::<F, EF>::ZERO); self.interactions.len()]
    }
}

/// The fractions of all AIRs, in the order of their traces.
pub(crate) struct TraceLeaves<'a, F: PackedField, EF> {
    pub airs: &'a [Air<'a, F>],
    pub fractions: Vec<Fractions<F, EF>>,
    pub alpha: EF,
    pub l_skip: usize,
    /// `log2` of the length of the input layer.
    pub log_len: usize,
}

impl<F: PackedField, EF: ExtensionField<F>> Leaves<F, EF> for TraceLeaves<'_, F, EF> {
    fn log_len(&self) -> usize {
        self.log_len
    }

    fn pad(&self) -> EF {
        self.alpha
    }

    fn groups<const G: usize>(&self) -> usize {
        let fractions = |air| self.len(air) * air.dag.interactions.len();
        let total: usize = self.airs.iter().map(fractions).sum();
        total.div_ceil(G * width::<F>())
    }

    fn short(&self) -> (Vec<F>, Vec<EF>) {
        self.scalars(0)
    }

    fn each<S: Sink<F, EF, G>, const G: usize>(&self, mut sink: S) -> Added<ExtPack<F, EF>> {
        let mut sums = zero::<F, EF>();
        // The traces are sorted by height, so those that are long enough come first.
        let long = self.airs.partition_point(|air| self.is_long::<G>(air));
        for (air, fractions) in self.airs[..long].iter().zip(&self.fractions) {
            let part;
            (part, sink) = fill::<_, _, _, G>(air, fractions, sink);
            sums = add(sums, part);
        }
        let (p, q) = self.scalars(long);
        let w = width::<F>();
        for (group, start) in (0..p.len()).step_by(G * w).enumerate() {
            let at = |pack: usize, lane: usize| start + pack * w + lane;
            let packs = (
                std::array::from_fn(|i| {
                    Pack::<F>::from_fn(|lane| p.get(at(i, lane)).copied().unwrap_or(F::ZERO))
                }),
                std::array::from_fn(|i| {
                    ext_from_fn::<F, EF>(|lane| q.get(at(i, lane)).copied().unwrap_or(self.alpha))
                }),
            );
            sink.put(&mut sums, group, &packs);
        }
        sums
    }
}

const fn zero<F: PackedField, EF: ExtensionField<F>>() -> Added<ExtPack<F, EF>> {
    [ExtPack::<F, EF>::ZERO; GRID]
}

impl<F: PackedField, EF: ExtensionField<F>> TraceLeaves<'_, F, EF> {
    /// Fractions of one interaction.
    fn len(&self, air: &Air<'_, F>) -> usize {
        air.trace.height.max(1 << self.l_skip)
    }

    fn is_long<const G: usize>(&self, air: &Air<'_, F>) -> bool {
        air.trace.height >= G * width::<F>() && air.trace.height == self.len(air)
    }

    /// The fractions of the AIRs from this one on, one by one.
    fn scalars(&self, first: usize) -> (Vec<F>, Vec<EF>) {
        let mut all: (Vec<F>, Vec<EF>) = (vec![], vec![]);
        for (air, fractions) in self.airs[first..].iter().zip(&self.fractions[first..]) {
            if !air.has_interactions() {
                continue;
            }
            let height = air.trace.height;
            let mut scratch = fractions.scratch();
            let mut packs: Vec<Vec<_>> = vec![];
            for row in (0..height).step_by(width::<F>()) {
                let mut out = fractions.row();
                fractions.eval(air, row, &mut scratch, &mut out);
                packs.push(out);
            }
            let fraction = |index: usize, row: usize| {
                let (p, q) = &packs[row / width::<F>()][index];
                let lane = row % width::<F>();
                (p.as_slice()[lane] * fractions.norm, ext_lane::<F, EF>(q, lane))
            };
            let len = self.len(air);
            let of_all = (0..air.dag.interactions.len()).flat_map(|index| {
                let fraction = &fraction;
                (0..len).map(move |row| fraction(index, row % height))
            });
            all.extend(of_all);
        }
        all
    }
}

/// Gives the fractions of this AIR to the first part of `sink`, and gives back the rest of it.
fn fill<F, EF, S, const G: usize>(
    air: &Air<'_, F>,
    fractions: &Fractions<F, EF>,
    mut sink: S,
) -> (Added<ExtPack<F, EF>>, S)
where
    F: PackedField,
    EF: ExtensionField<F>,
    S: Sink<F, EF, G>,
{
    if fractions.interactions.is_empty() {
        return (zero::<F, EF>(), sink);
    }
    let groups = air.trace.height / (G * width::<F>());
    let chunk = GROUPS.min(groups);
    // For each chunk of rows, its part of each interaction's column.
    let mut chunks: Vec<Vec<S>> = (0..groups / chunk)
        .map(|_| Vec::with_capacity(fractions.interactions.len()))
        .collect();
    for _ in 0..fractions.interactions.len() {
        for chunk_parts in &mut chunks {
            let part;
            (part, sink) = sink.split_at(chunk);
            chunk_parts.push(part);
        }
    }
    let sums = chunks
        .into_par_iter()
        .enumerate()
        .fold(
            || {
                let rows: [_; G] = std::array::from_fn(|_| fractions.row());
                (zero::<F, EF>(), fractions.scratch(), rows)
            },
            |(mut sums, mut scratch, mut rows), (index, mut parts)| {
                for group in 0..chunk {
                    for (i, out) in rows.iter_mut().enumerate() {
                        let pack = (index * chunk + group) * G + i;
                        fractions.eval(air, pack * width::<F>(), &mut scratch, out);
                    }
                    for (column, part) in parts.iter_mut().enumerate() {
                        let packs = (
                            std::array::from_fn(|i| rows[i][column].0),
                            std::array::from_fn(|i| rows[i][column].1),
                        );
                        part.put(&mut sums, group, &packs);
                    }
                }
                (sums, scratch, rows)
            },
        )
        .map(|(sums, ..)| sums)
        .reduce(zero::<F, EF>, add);
    (sums, sink)
}
