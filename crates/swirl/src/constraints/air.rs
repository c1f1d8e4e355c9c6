//! An AIR's constraints and interactions, compiled, with its trace.

use std::{collections::HashMap, ops::Range};

use openvm_stark_backend::{
    air_builders::symbolic::SymbolicConstraintsDag,
    p3_field::{ExtensionField, PrimeCharacteristicRing},
};

use super::{
    program::{Context, Input, Program, inputs_of},
    trace::Trace,
};
use crate::packed::{ExtPack, Pack, PackedField, dot};

/// The sums of a sumcheck: over constraints, numerators and denominators.
pub(crate) const TARGETS: usize = 3;
pub(crate) const CONSTRAINTS: usize = 0;
pub(crate) const NUMERATORS: usize = 1;
pub(crate) const DENOMINATORS: usize = 2;

pub(crate) type Sums<T> = [T; TARGETS];

/// An AIR that is present in the proof.
pub(crate) struct Air<'a, F: PackedField> {
    pub dag: &'a SymbolicConstraintsDag<F>,
    pub trace: Trace<'a, F>,
    pub needs_next: bool,
    /// The highest degree of a constraint or interaction.
    pub degree: usize,
    pub inputs: Vec<Input>,
    /// All constraints and interactions; the sinks are those of `sinks`.
    pub all: Program<F>,
    /// Interactions alone: the first of the sinks.
    pub interactions: Program<F>,
    /// Target and node of each sink.
    sinks: Vec<(usize, usize)>,
}

impl<'a, F: PackedField> Air<'a, F> {
    pub(crate) fn new(
        dag: &'a SymbolicConstraintsDag<F>,
        trace: Trace<'a, F>,
        context: &Context<'_, F>,
        needs_next: bool,
        degree: usize,
    ) -> Self {
        let mut sinks: Vec<(usize, usize)> = vec![];
        for interaction in &dag.interactions {
            sinks.push((NUMERATORS, interaction.count));
            sinks.extend(interaction.message.iter().map(|&node| (DENOMINATORS, node)));
        }
        sinks.sort_unstable();
        sinks.dedup();
        let of_interactions = sinks.len();
        sinks.extend(
            dag.constraints
                .constraint_idx
                .iter()
                .map(|&node| (CONSTRAINTS, node)),
        );
        let nodes = &dag.constraints.nodes;
        let sink_nodes: Vec<usize> = sinks.iter().map(|&(_, node)| node).collect();
        let inputs = inputs_of(nodes, context, sink_nodes.iter().copied());
        let all = Program::compile(nodes, context, &sink_nodes, &inputs);
        let interactions = Program::compile(nodes, context, &sink_nodes[..of_interactions], &inputs);
        Self {
            dag,
            trace,
            needs_next,
            degree,
            inputs,
            all,
            interactions,
            sinks,
        }
    }

    /// The number of sinks of constraints and interactions.
    pub(crate) fn sinks(&self) -> usize {
        self.sinks.len()
    }

    /// Bytes of all but the trace.
    pub(crate) fn bytes(&self) -> usize {
        self.inputs.capacity() * size_of::<Input>()
            + self.sinks.capacity() * size_of::<(usize, usize)>()
            + self.all.bytes()
            + self.interactions.bytes()
    }

    pub(crate) fn has_interactions(&self) -> bool {
        !self.dag.interactions.is_empty()
    }

    /// `log2` of the number of times that the trace fits into the rows that are skipped at once.
    pub(crate) fn log_repeated(&self, l_skip: usize) -> usize {
        l_skip.saturating_sub(self.trace.height.trailing_zeros() as usize)
    }
}

/// The factor with which each sink adds to each sum.
pub(crate) struct Weights<EF> {
    factors: Vec<EF>,
    /// The sinks of each sum. The sinks of constraints come last.
    sinks: Sums<Range<usize>>,
    /// The part that does not depend on the row.
    pub all_constant: Sums<EF>,
    pub interactions_constant: Sums<EF>,
}

impl<EF> Weights<EF> {
    /// `lambda` has a power for each constraint, `eq_3b` a factor for each interaction, `beta` a
    /// power for each field of a message and one more.
    pub(crate) fn new<F>(air: &Air<'_, F>, lambda: &[EF], eq_3b: &[EF], beta: &[EF]) -> Self
    where
        F: PackedField,
        EF: ExtensionField<F>,
    {
        let mut factors: HashMap<(usize, usize), EF> = HashMap::new();
        let mut add = |target: usize, node: usize, factor: EF| {
            *factors.entry((target, node)).or_insert(EF::ZERO) += factor;
        };
        let mut constant = [EF::ZERO; TARGETS];
        for (interaction, &eq) in air.dag.interactions.iter().zip(eq_3b) {
            add(NUMERATORS, interaction.count, eq);
            for (&node, &beta) in interaction.message.iter().zip(beta) {
                add(DENOMINATORS, node, eq * beta);
            }
            constant[DENOMINATORS] +=
                eq * bus_term::<F, EF>(beta, interaction.message.len(), interaction.bus_index);
        }
        for (&node, &lambda) in air.dag.constraints.constraint_idx.iter().zip(lambda) {
            add(CONSTRAINTS, node, lambda);
        }
        let factors: Vec<EF> = air
            .sinks
            .iter()
            .map(|sink| factors.get(sink).copied().unwrap_or(EF::ZERO))
            .collect();
        let with_constants = |program: &Program<F>| {
            let mut constant = constant;
            for &(sink, value) in &program.constant_sinks {
                constant[air.sinks[sink].0] += factors[sink] * value;
            }
            constant
        };
        let of = |target: usize| {
            let first = air.sinks.iter().position(|sink| sink.0 == target).unwrap_or(0);
            first..first + air.sinks.iter().filter(|sink| sink.0 == target).count()
        };
        Self {
            all_constant: with_constants(&air.all),
            interactions_constant: with_constants(&air.interactions),
            sinks: std::array::from_fn(of),
            factors,
        }
    }

    /// The sums of what these sinks have, those of constraints only where wanted.
    #[inline(always)]
    pub(crate) fn sums<F>(&self, values: &[Pack<F>], with_constraints: bool) -> Sums<ExtPack<F, EF>>
    where
        F: PackedField,
        EF: ExtensionField<F>,
    {
        std::array::from_fn(|target| {
            if target == CONSTRAINTS && !with_constraints {
                return ExtPack::<F, EF>::ZERO;
            }
            let sinks = self.sinks[target].clone();
            dot::<F, EF>(&self.factors[sinks.clone()], &values[sinks])
        })
    }

    /// Adds a sink's value to its sum.
    #[inline(always)]
    pub(crate) fn add_ext<F>(&self, sums: &mut Sums<ExtPack<F, EF>>, sink: usize, value: ExtPack<F, EF>)
    where
        F: PackedField,
        EF: ExtensionField<F>,
    {
        let target = match sink {
            _ if sink < self.sinks[NUMERATORS].end => NUMERATORS,
            _ if sink < self.sinks[DENOMINATORS].end => DENOMINATORS,
            _ => CONSTRAINTS,
        };
        sums[target] += value * self.factors[sink];
    }
}

/// The term that the bus adds to the denominator of a message of this length.
pub(crate) fn bus_term<F: PackedField, EF: ExtensionField<F>>(beta: &[EF], len: usize, bus: u16) -> EF {
    beta[len] * F::from_u32(u32::from(bus) + 1)
}
