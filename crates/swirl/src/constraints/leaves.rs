//! The input layer of the fraction sums: a fraction for each interaction of each row.

use openvm_stark_backend::{
    p3_field::{ExtensionField, PackedValue, PrimeCharacteristicRing},
    p3_maybe_rayon::prelude::*,
};

use super::{
    air::{Air, bus_term},
    program::{Context, Program},
};
use crate::{
    gkr::{Leaves, Sink, Sums, add},
    packed::{ExtPack, Pack, PackedField, ext_from_fn, ext_lane, width},
};

/// Groups of packs of rows that a thread computes at a time.
pub(crate) const GROUPS: usize = 8;

/// Interactions of an AIR, each by itself.
pub(crate) struct Fractions<F: PackedField, EF> {
    program: Program<F>,
    /// For each sink, its interaction and the power of beta, if it is a field of the message and
    /// not the count.
    sinks: Vec<(usize, Option<EF>)>,
    /// The numerators and denominators of each interaction, as far as they do not depend on the
    /// row.
    constants: Vec<(F, EF)>,
    norm: F,
}

impl<F: PackedField, EF: ExtensionField<F>> Fractions<F, EF> {
    pub(crate) fn new(
        air: &Air<'_, F>,
        context: &Context<'_, F>,
        l_skip: usize,
        alpha: EF,
        beta: &[EF],
    ) -> Self {
        let mut nodes = vec![];
        let mut sinks = vec![];
        let mut constants = vec![];
        for (index, interaction) in air.dag.interactions.iter().enumerate() {
            nodes.push(interaction.count);
            sinks.push((index, None));
            for (&node, &beta) in interaction.message.iter().zip(beta) {
                nodes.push(node);
                sinks.push((index, Some(beta)));
            }
            let bus = bus_term::<F, EF>(beta, interaction.message.len(), interaction.bus_index);
            constants.push((F::ZERO, alpha + bus));
        }
        let program = Program::compile(&air.dag.constraints.nodes, context, &nodes, &air.inputs);
        for &(sink, value) in &program.constant_sinks {
            match sinks[sink] {
                (index, None) => constants[index].0 += value,
                (index, Some(beta)) => constants[index].1 += beta * value,
            }
        }
        Self {
            program,
            sinks,
            constants,
            norm: F::from_usize(1 << air.log_repeated(l_skip)).inverse(),
        }
    }

    /// The fractions of as many rows as there are lanes, to `out`.
    fn eval(
        &self,
        air: &Air<'_, F>,
        row: usize,
        registers: &mut [Pack<F>],
        out: &mut [(Pack<F>, ExtPack<F, EF>)],
    ) {
        for ((register, &input), &read) in registers.iter_mut().zip(&air.inputs).zip(&self.program.reads) {
            if read {
                *register = air.trace.rows(input, row);
            }
        }
        for (fraction, &(p, q)) in out.iter_mut().zip(&self.constants) {
            *fraction = (p.into(), q.into());
        }
        self.program.run(registers, |sink, value| match self.sinks[sink] {
            (index, None) => out[index].0 += value,
            (index, Some(beta)) => out[index].1 += ExtPack::<F, EF>::from(beta) * value,
        });
    }

    pub(crate) fn register_count(&self) -> usize {
        self.program.registers()
    }

    /// Bytes of the fractions' program and its tables.
    pub(crate) fn bytes(&self) -> usize {
        self.program.bytes()
            + self.sinks.capacity() * size_of::<(usize, Option<EF>)>()
            + self.constants.capacity() * size_of::<(F, EF)>()
    }

    fn registers(&self) -> Vec<Pack<F>> {
        vec![Pack::<F>::ZERO; self.program.registers()]
    }

    fn scratch(&self) -> Vec<(Pack<F>, ExtPack<F, EF>)> {
        vec![(Pack::<F>::ZERO, ExtPack::<F, EF>::ZERO); self.constants.len()]
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

    fn each<S: Sink<F, EF, G>, const G: usize>(&self, mut sink: S) -> Sums<ExtPack<F, EF>> {
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

const fn zero<F: PackedField, EF: ExtensionField<F>>() -> Sums<ExtPack<F, EF>> {
    [ExtPack::<F, EF>::ZERO; 3]
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
            let mut registers = fractions.registers();
            let mut packs: Vec<Vec<_>> = vec![];
            for row in (0..height).step_by(width::<F>()) {
                let mut out = fractions.scratch();
                fractions.eval(air, row, &mut registers, &mut out);
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
) -> (Sums<ExtPack<F, EF>>, S)
where
    F: PackedField,
    EF: ExtensionField<F>,
    S: Sink<F, EF, G>,
{
    if fractions.constants.is_empty() {
        return (zero::<F, EF>(), sink);
    }
    let groups = air.trace.height / (G * width::<F>());
    let chunk = GROUPS.min(groups);
    // For each chunk of rows, its part of each interaction's column.
    let mut chunks: Vec<Vec<S>> = (0..groups / chunk)
        .map(|_| Vec::with_capacity(fractions.constants.len()))
        .collect();
    for _ in 0..fractions.constants.len() {
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
                let rows: [_; G] = std::array::from_fn(|_| fractions.scratch());
                (zero::<F, EF>(), fractions.registers(), rows)
            },
            |(mut sums, mut registers, mut rows), (index, mut parts)| {
                for group in 0..chunk {
                    for (i, out) in rows.iter_mut().enumerate() {
                        let pack = (index * chunk + group) * G + i;
                        fractions.eval(air, pack * width::<F>(), &mut registers, out);
                    }
                    for (column, part) in parts.iter_mut().enumerate() {
                        let packs = (
                            std::array::from_fn(|i| rows[i][column].0),
                            std::array::from_fn(|i| rows[i][column].1),
                        );
                        part.put(&mut sums, group, &packs);
                    }
                }
                (sums, registers, rows)
            },
        )
        .map(|(sums, ..)| sums)
        .reduce(zero::<F, EF>, add);
    (sums, sink)
}
