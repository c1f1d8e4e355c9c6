//! Memory that compiled constraints take.

use openvm_stark_backend::{air_builders::symbolic::SymbolicConstraintsDag, p3_field::ExtensionField};

use super::{air::Air, leaves::Fractions, program::Context, trace::Trace};
use crate::packed::{Pack, PackedField};

/// The sizes of an AIR's compiled constraints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compiled {
    /// Columns of this row and the next one that are read, and selectors.
    pub inputs: usize,
    /// Registers of constraints and interactions together.
    pub registers: usize,
    /// Packs that a thread works on for the interactions, each by itself.
    pub fraction_packs: usize,
    /// The sums that constraints and interactions add to, each with a weight.
    pub sinks: usize,
    /// Bytes of the programs.
    pub programs: usize,
    /// Bytes of the program of the interactions, each by itself, and of its tables.
    pub fractions: usize,
}

/// Compiles an AIR as a proof does, to say what that takes.
pub(crate) fn compiled<F: PackedField, EF: ExtensionField<F>>(
    dag: &SymbolicConstraintsDag<F>,
    public_values: &[F],
    has_preprocessed: bool,
    l_skip: usize,
) -> Compiled {
    let context = Context {
        public_values,
        has_preprocessed,
    };
    let air = Air::new(dag, Trace::new(1, l_skip, vec![]), &context, false, 0);
    let longest = dag.interactions.iter().map(|i| i.message.len()).max();
    let powers = vec![EF::ONE; longest.unwrap_or(0) + 1];
    let fractions = Fractions::new(&air, &context, l_skip, EF::ONE, &powers);
    // Other public values may be constants of their own.
    let constants = public_values.len() * size_of::<Pack<F>>();
    Compiled {
        inputs: air.inputs.len(),
        registers: air.all.registers().max(air.interactions.registers()),
        fraction_packs: fractions.scratch_packs(),
        sinks: air.sinks(),
        programs: size_of::<Air<'_, F>>() + air.bytes() + 2 * constants,
        fractions: size_of::<Fractions<F, EF>>() + fractions.bytes() + constants,
    }
}
